//! A store that lives and dies with its process: for tests, and for `--store memory`.
//!
//! It is also the reference: the whole contract in one mutex, against which the other two can be read. Each write
//! holds the lock from the first comparison to the publication, so revisions, history and state move together.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    CommitError, Committed, Entry, LeaseId, Listing, Store, StoreError, StoreIdentity, StoreRevision, Txn, Watch,
    WatchBatch, WatchEvent,
    feed::Feed,
    lease::{LeaseTable, check_ttl},
    plan::{Plan, plan},
    txn::check_prefix,
};

/// The in-memory [`Store`]. Dropping it ends its watches and loses everything.
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    identity: StoreIdentity,
    _expiry: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when the earliest lease deadline may have moved.
    deadline_moved: Notify,
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<String, Entry>,
    leases: LeaseTable,
    last_lease: u64,
    feed: Feed,
}

impl MemoryStore {
    /// An empty store. Must be called within a Tokio runtime, whose clock times the leases.
    pub fn new() -> Self {
        let state = State {
            entries: BTreeMap::new(),
            leases: LeaseTable::default(),
            last_lease: 0,
            feed: Feed::new(Vec::new(), StoreRevision::ZERO, StoreRevision::ZERO),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            deadline_moved: Notify::new(),
        });
        let expiry = tokio::spawn(expire_leases(Arc::clone(&shared)));
        Self {
            shared,
            identity: StoreIdentity::random(),
            _expiry: AbortOnDropHandle::new(expiry),
        }
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
        let state = self.shared.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let matching = state
            .entries
            .range::<str, _>(from)
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(Listing {
            revision: state.feed.head(),
            entries: matching.map(|(_, entry)| entry.clone()).collect(),
        })
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        txn.check()?;
        self.shared.lock().commit(&txn)
    }

    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
        check_prefix(prefix)?;
        Ok(self.shared.lock().feed.watch(prefix, after))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        check_ttl(ttl)?;
        let mut state = self.shared.lock();
        state.last_lease += 1;
        let lease = LeaseId::new(state.last_lease).ok_or_else(|| StoreError::Full {
            reason: "no lease id is left".to_owned(),
        })?;
        state.leases.grant(lease, ttl, Instant::now());
        self.shared.deadline_moved.notify_one();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.shared.lock().leases.keep_alive(lease, Instant::now())
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.shared.lock().end_lease(lease)
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        Ok(self.identity.clone())
    }
}

impl Shared {
    /// A poisoned state is still whole: `commit` changes nothing before all that can fail is done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn commit(&mut self, txn: &Txn) -> Result<Committed, CommitError> {
        let head = self.feed.head();
        let verdict = plan(txn, head, |key| Ok::<_, Infallible>(self.entries.get(key).cloned()));
        let events = match verdict {
            Ok(Plan::Apply(events)) => events,
            Ok(Plan::Conflict(conflict)) => return Err(conflict.into()),
            Err(never) => match never {},
        };
        self.leases.check(txn)?;
        if events.is_empty() {
            return Ok(Committed { revision: head });
        }
        for event in &events {
            match event {
                WatchEvent::Put(entry) => self.entries.insert(entry.key.clone(), entry.clone()),
                WatchEvent::Delete { key, .. } => self.entries.remove(key),
            };
        }
        self.leases.record(&events);
        let revision = head.next();
        self.feed.publish([WatchBatch { revision, events }]);
        Ok(Committed { revision })
    }

    /// Deletes the lease's keys and the lease.
    fn end_lease(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        let farewell = self.leases.farewell(lease).ok_or(StoreError::LeaseNotFound { lease })?;
        match self.commit(&farewell) {
            Ok(_) => {
                self.leases.forget(lease);
                Ok(())
            }
            Err(CommitError::Store(error)) => Err(error),
            Err(CommitError::Conflict(conflict)) => Err(StoreError::Unavailable {
                reason: conflict.to_string(),
            }),
        }
    }
}

/// Ends each lease when its time has come, for as long as the store lives.
async fn expire_leases(shared: Arc<Shared>) {
    loop {
        let next = shared.lock().leases.next_deadline();
        let due = async {
            match next {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {
                let mut state = shared.lock();
                for lease in state.leases.expired(Instant::now()) {
                    if let Err(error) = state.end_lease(lease) {
                        tracing::error!(%lease, %error, "a lease could not be ended");
                    }
                }
            }
            () = shared.deadline_moved.notified() => {}
        }
    }
}
