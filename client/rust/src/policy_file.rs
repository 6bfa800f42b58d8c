//! The last policies on disk, for a start with no manager in reach.
//!
//! One file for each application and namespace. It is read once, before anything else happens, and what is in it passes
//! the check that a push passes; so the first protected call runs under the last policy that the manager had, and the
//! hello says so. It is written by a task of its own: the newest state, at most once a second, into another file that
//! then takes its place. So there is always a whole file, of before or of after.
//!
//! The file can be anything: torn, of another release, of another application, a device. What is not certain to be ours
//! and whole is refused in one piece, and left as it is until there is something better to put in its place. Neither a
//! file that cannot be read nor a disk that cannot be written has any effect but a count and a warning.
//!
//! The manager's word goes before the file's. Within one epoch an older revision is refused as ever; a revision of
//! another epoch is taken whichever is newer, for else the file of a store that is gone could keep a process from its
//! manager for good.

mod disk;
mod keeper;

pub(crate) use disk::make_dir;
pub(crate) use keeper::run;

use crate::client::Identity;
use crate::panics::tell;
use crate::runtime::Tokio;
use crate::sync::message::Update;
use crate::transport::{Damage, Seal, UnusableBody, decode_policies};
use cofferdam_core::orders::Orders;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::Timestamp;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How the file does that keeps the last policies; see [`Builder::policy_dir`](crate::Builder::policy_dir).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Policies that the start found in it and could use.
    pub found: usize,
    /// Policies that it found and could not use: the built-in default took their place until the manager was heard.
    pub unusable: usize,
    /// Why the start could not use the file, or the first of the policies counted in [`unusable`](Self::unusable).
    /// `None`: it could use all there was, or there was no file.
    pub refusal: Option<Arc<str>>,
    /// How often it was written.
    pub writes: u64,
    /// How often it could not be.
    pub failures: u64,
    /// Why it could not be written the last time. `None`: the last write went well, or there was none yet.
    pub failure: Option<Arc<str>>,
    /// How long ago it was last written by this process. `None`: never.
    pub written_ago: Option<Duration>,
    /// Policies that found no room in it when it was last written: it holds 10,000 and 64 MiB at the most.
    pub left_out: usize,
}

/// A policy that is kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) service: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) revision: Revision,
    pub(crate) is_enabled: bool,
    pub(crate) orders: Orders,
}

/// The file of a process.
#[derive(Debug)]
pub(crate) struct KeptFile {
    path: PathBuf,
    state: Mutex<State>,
    /// Counts changes of what is in force.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    shown: PolicyFile,
    written_at: Option<Timestamp>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no regular file")]
    NotAFile,
    #[error("it is larger than {} MiB", disk::MAX_BYTES >> 20)]
    TooLarge,
    #[error(transparent)]
    Format(#[from] Damage),
    #[error(transparent)]
    Body(#[from] UnusableBody),
}

impl KeptFile {
    /// The file of an application and a namespace in a directory, and the policies in it.
    pub(crate) fn open(dir: &Path, identity: &Identity) -> (Self, Vec<Kept>) {
        let path = dir.join(disk::file_name(&identity.application, &identity.namespace));
        disk::remove_leftovers(&path);
        let mut shown = PolicyFile { path: path.clone(), ..PolicyFile::default() };
        let found = match look(&path, identity) {
            Ok(found) => found,
            Err(unusable) => {
                shown.refusal = Some(unusable.to_string().into());
                Vec::new()
            }
        };
        let mut kept = Vec::new();
        for update in found {
            match usable(update) {
                Ok(policy) => kept.push(policy),
                Err(reason) => {
                    shown.unusable += 1;
                    shown.refusal.get_or_insert(reason);
                }
            }
        }
        shown.found = kept.len();
        tell(|| match &shown.refusal {
            Some(reason) => {
                tracing::warn!(path = %path.display(), %reason, found = shown.found, "kept policies refused")
            }
            None => tracing::info!(path = %path.display(), found = shown.found, "kept policies read"),
        });
        let state = Mutex::new(State { shown, written_at: None });
        (Self { path, state, changes: watch::Sender::new(0) }, kept)
    }

    /// Takes note that there is something new to keep.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    pub(crate) fn look(&self) -> PolicyFile {
        let state = self.lock();
        let written_ago = state.written_at.map(|at| Tokio.now().saturating_since(at));
        PolicyFile { written_ago, ..state.shown.clone() }
    }

    /// Takes note of how writing went; `left_out` policies found no room.
    fn wrote(&self, outcome: Result<usize, Arc<str>>) {
        let mut state = self.lock();
        let path = self.path.display();
        match outcome {
            Ok(left_out) => {
                state.shown.writes += 1;
                state.shown.left_out = left_out;
                state.written_at = Some(Tokio.now());
                if state.shown.failure.take().is_some() {
                    tell(|| tracing::info!(%path, "policies are kept again"));
                }
            }
            Err(reason) => {
                state.shown.failures += 1;
                if state.shown.failure.is_none() {
                    tell(|| tracing::warn!(%path, %reason, "policies cannot be kept; calls and sync go on"));
                }
                state.shown.failure = Some(reason);
            }
        }
    }

    /// Nothing that is done under the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is in the file. Nothing where there is none.
fn look(path: &Path, identity: &Identity) -> Result<Vec<Update>, Unusable> {
    let Some(bytes) = disk::read(path)? else { return Ok(Vec::new()) };
    Ok(decode_policies(Seal::POLICY_FILE.open(&bytes)?, identity)?)
}

fn usable(update: Update) -> Result<Kept, Arc<str>> {
    let Update { service, revision, policy, is_enabled, is_insisted: _, orders, as_of: _ } = update;
    let refused = |reason: &str| -> Arc<str> { format!("service {service:?}: {reason}").into() };
    let revision = revision.ok_or_else(|| refused("no revision"))?;
    let policy = policy.map_err(|refusal| refused(&refusal.reason))?;
    Ok(Kept { service: service.into(), policy, revision, is_enabled, orders })
}

#[cfg(test)]
mod tests;
