//! The store of many managers: an etcd cluster, version 3.4 or later.
//!
//! etcd-client gives the wire and nothing else: by default no call has a deadline, nothing reconnects, resumes or fails
//! over, and a watch on a compacted revision stays open and silent for ever. What a manager needs on top is here, and
//! etcd's names and types end here:
//!
//! - **Members.** One client per member, not one balanced over all, which goes on to pick a dead one. What was
//!   certainly not sent is retried at once on the next member; a read, on any failure; a write that may have arrived
//!   is [`StoreError::Unknown`].
//! - **Deadlines.** Each attempt at a call has [`EtcdOptions::call_timeout`].
//! - **Writes** that wait at the same time go as one transaction where they are independent ([`group`](super::group)).
//! - **Watches** have a connection of their own, so that a slow reader holds up nobody, need a leader, ask for signs of
//!   life when they hear nothing, and put fragments of a transaction together again.
//! - **Credentials** are renewed once when etcd says that the token is old.
//!
//! Keys are stored below [`EtcdOptions::prefix`]. What others put there and could not be a key of ours is skipped.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use self::session::Session;
use super::{
    CommitError, Committed, Concern, LeaseId, Listing, Store, StoreError, StoreIdentity, StoreRevision, Txn, Watch,
    group::Group, lease::check_ttl, txn::check_prefix,
};

mod commit;
mod failure;
mod keys;
mod leases;
mod list;
mod member;
mod options;
mod posture;
mod session;
mod watch;

pub use self::options::{DEFAULT_CALL_TIMEOUT, DEFAULT_PREFIX, EtcdIdentity, EtcdOptions, EtcdTls, EtcdUser};

/// The etcd-backed [`Store`].
#[derive(Debug)]
pub struct EtcdStore {
    session: Arc<Session>,
    writes: Group,
}

impl EtcdStore {
    /// A store on this cluster. Nothing is connected yet: ask for the [`identity`](Store::identity) to see whether it
    /// can be reached. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when an option cannot be used.
    pub fn new(options: EtcdOptions) -> Result<Self, StoreError> {
        Ok(Self::over(Session::new(options)?))
    }

    fn over(session: Session) -> Self {
        let session = Arc::new(session);
        let writer = Arc::clone(&session);
        let writes = Group::new(move |txn| {
            let session = Arc::clone(&writer);
            Box::pin(async move { commit::commit(&session, &txn).await })
        });
        Self { session, writes }
    }
}

#[async_trait]
impl Store for EtcdStore {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        check_prefix(prefix)?;
        list::list(&self.session, prefix).await
    }

    async fn list_without(&self, prefixes: &[&str]) -> Result<Listing, StoreError> {
        prefixes.iter().try_for_each(|prefix| check_prefix(prefix))?;
        list::list_without(&self.session, prefixes).await
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        txn.check()?;
        self.writes.commit(txn).await
    }

    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
        check_prefix(prefix)?;
        watch::watch(&self.session, prefix, after).await
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        check_ttl(ttl)?;
        leases::grant(&self.session, ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        leases::keep_alive(&self.session, lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        leases::revoke(&self.session, lease).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let head = list::head(&self.session).await?;
        Ok(StoreIdentity { cluster: format!("{:016x}", head.cluster) })
    }

    async fn concerns(&self) -> Result<Vec<Concern>, StoreError> {
        posture::concerns(&self.session).await
    }
}

#[cfg(test)]
mod tests;
