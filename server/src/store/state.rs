//! What the memory and embedded stores hold in memory: every entry, the leases, the recent history.
//!
//! Only what is decided (and, for the embedded store, on disk) gets in here, so whoever reads it under the lock reads
//! a committed state at one revision.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

use super::{Entry, Listing, StoreRevision, WatchEvent, draft::Draft, feed::Feed, lease::LeaseTable};

#[derive(Debug)]
pub(super) struct State {
    entries: BTreeMap<String, Entry>,
    pub(super) leases: LeaseTable,
    pub(super) feed: Feed,
}

impl State {
    /// The state in which `entries` and `leases` are what all of `feed` led to.
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>, leases: LeaseTable, feed: Feed) -> Self {
        let mut state = Self { entries: BTreeMap::new(), leases, feed };
        for entry in entries {
            if let Some(lease) = entry.lease {
                state.leases.attach(&entry.key, lease);
            }
            state.entries.insert(entry.key.clone(), entry);
        }
        state
    }

    /// The state before everything.
    pub(super) fn empty() -> Self {
        Self::new([], LeaseTable::default(), Feed::new([], StoreRevision::ZERO))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn list(&self, prefix: &str) -> Listing {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let matching = self.entries.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Listing { revision: self.feed.head(), entries: matching.map(|(_, entry)| entry.clone()).collect() }
    }

    pub(super) fn list_without(&self, prefixes: &[&str]) -> Listing {
        let is_wanted = |(key, _): &(&String, &Entry)| !prefixes.iter().any(|prefix| key.starts_with(prefix));
        let wanted = self.entries.iter().filter(is_wanted).map(|(_, entry)| entry.clone());
        Listing { revision: self.feed.head(), entries: wanted.collect() }
    }

    /// Makes a draft that was judged on this very state part of it, and tells the watches.
    pub(super) fn apply(&mut self, draft: Draft, now: Instant) {
        for (lease, ttl) in draft.granted {
            self.leases.grant(lease, ttl, now);
        }
        for event in draft.batches.iter().flat_map(|batch| &batch.events) {
            self.leases.detach(event.key());
            match event {
                WatchEvent::Put(entry) => {
                    if let Some(lease) = entry.lease {
                        self.leases.attach(&entry.key, lease);
                    }
                    self.entries.insert(entry.key.clone(), entry.clone());
                }
                WatchEvent::Delete { key, .. } => {
                    self.entries.remove(key);
                }
            }
        }
        for lease in draft.ended {
            self.leases.forget(lease);
        }
        self.feed.publish(draft.batches);
    }
}

/// A [`State`] that a store, its lease timer and its writer share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Signalled when the earliest lease deadline may have moved.
    pub(super) leases_changed: Notify,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), leases_changed: Notify::new() }
    }

    /// A poisoned lock is taken all the same: nothing that changes the state can panic half-way.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once a lease has run out.
    pub(super) async fn lease_expired(&self) {
        loop {
            let changed = self.leases_changed.notified();
            let next = self.lock().leases.next_deadline();
            let due = async {
                match next {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => if !self.lock().leases.expired(Instant::now()).is_empty() { return },
                () = changed => {}
            }
        }
    }
}
