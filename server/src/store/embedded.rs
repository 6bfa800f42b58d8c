//! The store of a single manager: one file in its data directory, nothing to set up.
//!
//! The whole state is in memory and the file (redb) is what makes it last. Reads and watches never touch the disk, so
//! they go on while it is full or failing. All writes go through one thread: it takes every transaction that is
//! waiting, judges each on top of the ones before it, writes them as one durable commit, and only then makes them
//! visible and answers (group commit: the price of one `fsync` is shared by all who wait for it).
//!
//! - **One process.** The file is locked; a second manager is refused at once with [`StoreError::InUse`].
//! - **A write the disk refuses did not happen.** The file is opened anew and read back to be sure; the store goes on
//!   by itself when there is room again. Until a write has succeeded it is a [`Concern`] that the last one did not.
//! - **Leases** are in the file with their time to live, not with a deadline. After a restart each starts over with
//!   its full time, so a leased key outlives its owner by at most one restart plus one lease, and needs no wall clock.
//! - **A damaged file is refused**, by name, rather than read as empty, and is left as it is. A file torn by a crash opens
//!   with the last committed state.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    disk::Disk,
    writer::{Command, QUEUE, Writer},
};
use super::{
    CommitError, Committed, Concern, LeaseId, Listing, Store, StoreError, StoreIdentity, StoreRevision, Txn, Watch,
    lease::check_ttl, state::Shared, txn::check_prefix,
};
use crate::supervise::supervised;

mod copy;
mod create;
mod disk;
mod layout;
mod record;
mod trouble;
mod writer;

/// The name of the store's file within the data directory.
const FILE_NAME: &str = "cofferdam.redb";

/// The embedded [`Store`]. Dropping it waits for writes under way, ends its watches and releases the file.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    identity: StoreIdentity,
    path: PathBuf,
    _expiry: AbortOnDropHandle<()>,
    /// Present until the store is dropped.
    commands: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    refused: Refused,
}

/// Why the last write was refused. `None`: it was not.
type Refused = Arc<Mutex<Option<StoreError>>>;

impl EmbeddedStore {
    /// Opens the store in the directory `dir`, making both if they are not there (the directory for its owner only).
    ///
    /// Must be called within a Tokio runtime, whose clock times the leases.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another manager has it; [`StoreError::Corrupt`] when the file is damaged or is no
    /// Cofferdam store; [`StoreError::Incompatible`] when a newer Cofferdam wrote it; [`StoreError::Unavailable`] or
    /// [`StoreError::Full`] when the directory or file cannot be made or read. Each names the file.
    pub async fn open(dir: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::start(dir.into(), Arc::new(disk::open_file)).await
    }

    /// Whether there is a store's file in the directory `dir`, or something in its place. Where that cannot be told,
    /// opening it says why.
    pub fn exists(dir: &Path) -> bool {
        let found = dir.join(FILE_NAME).symlink_metadata();
        !found.is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }

    /// What the store in the directory `dir` holds, its file checked from end to end and left as it is.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`StoreError::Unavailable`] also where there is no such file.
    pub async fn examine(dir: impl Into<PathBuf>) -> Result<(StoreIdentity, Listing), StoreError> {
        let dir = dir.into();
        let examined = tokio::task::spawn_blocking(move || Disk::examine(&dir)).await;
        let contents = examined.unwrap_or_else(|stopped| {
            Err(StoreError::Unavailable { reason: format!("reading the store: {stopped}") })
        })?;
        Ok((contents.identity, contents.state.list("")))
    }

    async fn start(dir: PathBuf, open_file: disk::OpenFile) -> Result<Self, StoreError> {
        let opened = tokio::task::spawn_blocking(move || Disk::open(&dir, open_file)).await;
        let (disk, contents) = match opened {
            Ok(opened) => opened?,
            Err(stopped) => {
                return Err(StoreError::Unavailable { reason: format!("opening the store: {stopped}") });
            }
        };
        let path = disk.path().to_owned();
        let shared = Arc::new(Shared::new(contents.state));
        let (commands, queue) = mpsc::channel(QUEUE);
        let refused = Refused::default();
        let writer = Writer::new(disk, Arc::clone(&shared), queue, Arc::clone(&refused));
        let runtime = tokio::runtime::Handle::current();
        let writer = std::thread::Builder::new()
            .name("cofferdam-store".to_owned())
            .spawn(move || {
                // Leases are timed by the runtime's clock, which a test may have paused.
                let _clock = runtime.enter();
                writer.run();
            })
            .map_err(|error| StoreError::Unavailable { reason: format!("starting the writer thread: {error}") })?;
        let (timed, wakened) = (Arc::clone(&shared), commands.downgrade());
        let expiry = supervised("leases", move || wake_for_leases(Arc::clone(&timed), wakened.clone()));
        Ok(Self {
            shared,
            identity: contents.identity,
            path,
            _expiry: expiry,
            commands: Some(commands),
            writer: Some(writer),
            refused,
        })
    }

    /// The store's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands a command to the writer and waits for its answer.
    async fn ask<T, E: From<StoreError>>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Command,
    ) -> Result<T, E> {
        let stopped = |reason: &str| format!("the writer of {} stopped {reason}", self.path.display());
        let (reply, answer) = oneshot::channel();
        let sent = match &self.commands {
            Some(commands) => commands.send(command(reply)).await.is_ok(),
            None => false,
        };
        if !sent {
            return Err(StoreError::Unavailable { reason: stopped("earlier") }.into());
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::Unknown { reason: stopped("before it answered") }.into()),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        // The queue closes, the writer finishes what is in it, closes the file and ends: whoever opens the store next,
        // in this process or another, finds it free.
        drop(self.commands.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.path.display(), "the store's writer thread panicked");
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        check_prefix(prefix)?;
        Ok(self.shared.lock().list(prefix))
    }

    async fn list_without(&self, prefixes: &[&str]) -> Result<Listing, StoreError> {
        prefixes.iter().try_for_each(|prefix| check_prefix(prefix))?;
        Ok(self.shared.lock().list_without(prefixes))
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        txn.check()?;
        self.ask(|reply| Command::Commit { txn, reply }).await
    }

    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
        check_prefix(prefix)?;
        Ok(self.shared.lock().feed.watch(prefix, after))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        check_ttl(ttl)?;
        self.ask(|reply| Command::Grant { ttl, reply }).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.shared.lock().leases.keep_alive(lease, Instant::now())
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.ask(|reply| Command::Revoke { lease, reply }).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(self.identity.clone())
    }

    async fn concerns(&self) -> Result<Vec<Concern>, StoreError> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let concern = |error: &StoreError| Concern {
            what: format!("the last write was refused, mend that and write again: {error}"),
            refuses_writes: true,
        };
        Ok(refused.iter().map(concern).collect())
    }
}

/// Wakes the writer whenever a lease has run out; it ends those on its own.
async fn wake_for_leases(shared: Arc<Shared>, commands: mpsc::WeakSender<Command>) {
    /// How soon to try again when the end of a lease could not be written.
    const RETRY: Duration = Duration::from_secs(1);

    loop {
        shared.lease_expired().await;
        let Some(commands) = commands.upgrade() else { return };
        // A full queue needs no waking. The sender is not held across an await, or it could keep the queue open while
        // the store is being dropped.
        let _ = commands.try_send(Command::Wake);
        drop(commands);
        tokio::select! {
            () = shared.leases_changed.notified() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

#[cfg(test)]
mod tests;
