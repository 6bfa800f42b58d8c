//! A store that lives and dies with its process: for tests, and for `--store memory`.
//!
//! It is also the reference: the whole contract in one mutex, against which the other two can be read. Each write
//! holds the lock from the first comparison to the publication, so revisions, history and state move together.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    CommitError, Committed, LeaseId, Listing, Store, StoreError, StoreIdentity, StoreRevision, Txn, Watch,
    draft::Draft,
    lease::check_ttl,
    state::{Shared, State},
    txn::check_prefix,
};
use crate::supervise::supervised;

/// The in-memory [`Store`]. Dropping it ends its watches and loses everything.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    identity: StoreIdentity,
    _expiry: AbortOnDropHandle<()>,
}

impl MemoryStore {
    /// An empty store. Must be called within a Tokio runtime, whose clock times the leases.
    pub fn new() -> Self {
        let shared = Arc::new(Shared::new(State::empty()));
        let timed = Arc::clone(&shared);
        let expiry = supervised("leases", move || expire_leases(Arc::clone(&timed)));
        Self { shared, identity: StoreIdentity::random(), _expiry: expiry }
    }

    /// An empty store that passes for another one.
    #[cfg(test)]
    pub(crate) fn with_identity(identity: StoreIdentity) -> Self {
        Self { identity, ..Self::new() }
    }

    /// Judges and applies, with nothing in between.
    fn write<T, E>(&self, judge: impl FnOnce(&mut Draft, &State) -> Result<T, E>) -> Result<T, E> {
        write(&self.shared, judge)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
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
        self.write(|draft, state| draft.commit(state, &txn))
    }

    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
        check_prefix(prefix)?;
        Ok(self.shared.lock().feed.watch(prefix, after))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        check_ttl(ttl)?;
        let lease = self.write(|draft, _| Ok::<_, StoreError>(draft.grant(ttl)))?;
        self.shared.leases_changed.notify_one();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.shared.lock().leases.keep_alive(lease, Instant::now())
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.write(|draft, state| draft.end_lease(state, lease))
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(self.identity.clone())
    }
}

fn write<T, E>(shared: &Shared, judge: impl FnOnce(&mut Draft, &State) -> Result<T, E>) -> Result<T, E> {
    let mut state = shared.lock();
    let mut draft = Draft::new(&state);
    let verdict = judge(&mut draft, &state)?;
    state.apply(draft, Instant::now());
    Ok(verdict)
}

/// Ends each lease when its time has come, for as long as the store lives.
async fn expire_leases(shared: Arc<Shared>) {
    loop {
        shared.lease_expired().await;
        let ended: Result<(), StoreError> = write(&shared, |draft, state| {
            state.leases.expired(Instant::now()).into_iter().try_for_each(|lease| draft.end_lease(state, lease))
        });
        if let Err(error) = ended {
            tracing::error!(%error, "expired leases could not be ended");
        }
    }
}

#[cfg(test)]
mod tests;
