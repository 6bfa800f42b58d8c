//! Leases of the stores that have no server of their own: who lives until when, and which keys die with whom.
//!
//! Pure bookkeeping. The caller brings the time, asks what is due, deletes those keys in a transaction and forgets the
//! lease; so expiry goes the same way as every other write, in order and seen by every watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    num::NonZeroU64,
    time::Duration,
};

use tokio::time::Instant;

use super::{InvalidRequest, StoreError};

/// The shortest lease.
pub const MIN_LEASE_TTL: Duration = Duration::from_secs(1);

/// The longest lease (one day).
pub const MAX_LEASE_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Names a lease within one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroU64);

impl LeaseId {
    /// The lease with this number; `None` for 0, which everywhere stands for "no lease".
    pub const fn new(id: u64) -> Option<Self> {
        match NonZeroU64::new(id) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// An id that no lease of this store has had, before or after a restart. Positive as an `i64`, as etcd's are.
    pub(super) fn random() -> Self {
        Self(NonZeroU64::MIN.saturating_add(rand::random_range(1..i64::MAX as u64)))
    }
}

impl Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Checks a time to live, for every backend.
pub(super) fn check_ttl(ttl: Duration) -> Result<(), InvalidRequest> {
    if (MIN_LEASE_TTL..=MAX_LEASE_TTL).contains(&ttl) { Ok(()) } else { Err(InvalidRequest::LeaseTtl { ttl }) }
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
    /// Its end is being written: it cannot be used or prolonged any more.
    ending: bool,
}

/// Every lease of one store.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    leases: BTreeMap<LeaseId, Lease>,
    /// Which lease each leased key hangs on.
    holder: BTreeMap<String, LeaseId>,
}

impl LeaseTable {
    /// Adds a lease that runs out `ttl` after `now`.
    pub(super) fn grant(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.leases.insert(id, Lease { ttl, deadline: now + ttl, keys: BTreeSet::new(), ending: false });
    }

    /// Whether the lease can be used. One past its deadline can, until its end has begun.
    pub(super) fn contains(&self, id: LeaseId) -> bool {
        self.leases.get(&id).is_some_and(|lease| !lease.ending)
    }

    /// Gives the lease its full time from `now` and returns it.
    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<Duration, StoreError> {
        match self.leases.get_mut(&id) {
            Some(lease) if !lease.ending => {
                lease.deadline = now + lease.ttl;
                Ok(lease.ttl)
            }
            _ => Err(StoreError::LeaseNotFound { lease: id }),
        }
    }

    /// When the next lease runs out; `None` without leases.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.usable().map(|(_, lease)| lease.deadline).min()
    }

    /// The leases that have run out at `now`.
    pub(super) fn expired(&self, now: Instant) -> Vec<LeaseId> {
        self.usable().filter(|(_, lease)| lease.deadline <= now).map(|(id, _)| *id).collect()
    }

    /// The keys that hang on the lease, sorted.
    pub(super) fn keys(&self, id: LeaseId) -> impl Iterator<Item = &str> {
        self.leases.get(&id).into_iter().flat_map(|lease| &lease.keys).map(String::as_str)
    }

    /// Marks that the lease's end is being written.
    pub(super) fn set_ending(&mut self, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.ending = true;
        }
    }

    /// Takes all such marks back: no end was written.
    pub(super) fn none_ending(&mut self) {
        self.leases.values_mut().for_each(|lease| lease.ending = false);
    }

    /// Removes the lease, after its keys.
    pub(super) fn forget(&mut self, id: LeaseId) {
        for key in self.leases.remove(&id).map(|lease| lease.keys).unwrap_or_default() {
            self.holder.remove(&key);
        }
    }

    /// Hangs the key on the lease.
    pub(super) fn attach(&mut self, key: &str, id: LeaseId) {
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.keys.insert(key.to_owned());
            self.holder.insert(key.to_owned(), id);
        }
    }

    /// Takes the key off whatever lease it hangs on.
    pub(super) fn detach(&mut self, key: &str) {
        if let Some(id) = self.holder.remove(key)
            && let Some(lease) = self.leases.get_mut(&id)
        {
            lease.keys.remove(key);
        }
    }

    fn usable(&self) -> impl Iterator<Item = (&LeaseId, &Lease)> {
        self.leases.iter().filter(|(_, lease)| !lease.ending)
    }
}

#[cfg(test)]
mod tests;
