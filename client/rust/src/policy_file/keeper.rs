//! The task that keeps the file.

use super::{Kept, KeptFile, disk};
use crate::client::{Identity, Shared};
use crate::transport::{EncodedPolicy, Seal, encode_policies, encode_policy};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The shortest time from one write to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Policies that one file holds.
const MAX_POLICIES: usize = 10_000;
/// Room for the header and the names of application and namespace.
const OVERHEAD: u64 = 4096;

/// Keeps the file in line with what is in force until it is to stop, and once more then.
pub(crate) async fn run(shared: Arc<Shared>, file: Arc<KeptFile>, stop: CancellationToken) {
    let mut changes = file.changes.subscribe();
    // What changed before this task began is as new.
    let mut written = 0;
    let mut is_stopping = false;
    let mut not_before = Instant::now();
    let mut retry: Option<Instant> = None;
    while !is_stopping {
        tokio::select! {
            () = stop.cancelled() => is_stopping = true,
            // The sender lives as long as the file.
            _ = changes.wait_for(|newest| *newest != written), if retry.is_none() => {}
            () = sleep_until(retry.unwrap_or(not_before)), if retry.is_some() => {}
        }
        if !is_stopping {
            tokio::select! {
                () = stop.cancelled() => is_stopping = true,
                () = sleep_until(not_before) => {}
            }
        }
        let newest = *changes.borrow();
        if newest == written {
            continue;
        }
        let outcome = keep(&shared, &file).await;
        not_before = Instant::now() + INTERVAL;
        if outcome.is_ok() {
            (written, retry) = (newest, None);
        } else {
            retry = Some(Instant::now() + RETRY);
        }
        file.wrote(outcome);
    }
}

/// Writes what is in force. How many policies found no room.
async fn keep(shared: &Arc<Shared>, file: &Arc<KeptFile>) -> Result<usize, Arc<str>> {
    let (shared, file) = (Arc::clone(shared), Arc::clone(file));
    let work = move || {
        let (body, left_out) = encode(&shared.identity, &shared.registry.kept(), disk::MAX_BYTES);
        disk::replace(&file.path, &Seal::POLICY_FILE.seal(&body)).map(|()| left_out)
    };
    let worked = tokio::task::spawn_blocking(work).await;
    worked.map_err(|error| error.to_string())?.map_err(|error| error.to_string().into())
}

/// As many policies as there is room for in a file of so many bytes, the smallest first; and how many found none.
fn encode(identity: &Identity, kept: &[Kept], max_bytes: u64) -> (Vec<u8>, usize) {
    let mut policies: Vec<EncodedPolicy> = kept.iter().map(encode_policy).collect();
    policies.sort_by_cached_key(EncodedPolicy::len);
    let mut room = max_bytes.saturating_sub(OVERHEAD);
    let fitting = policies.iter().take(MAX_POLICIES).take_while(|policy| match room.checked_sub(policy.len()) {
        Some(rest) => {
            room = rest;
            true
        }
        None => false,
    });
    let fitting = fitting.count();
    policies.truncate(fitting);
    policies.sort_by(|a, b| a.service().cmp(b.service()));
    (encode_policies(identity, policies), kept.len() - fitting)
}

#[cfg(test)]
mod tests;
