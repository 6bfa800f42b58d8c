//! Leases of the stores that have no server of their own: who lives until when, and which keys die with whom.
//!
//! Pure bookkeeping. The caller brings the time, asks what is due, deletes those keys in a transaction and records
//! it here; so expiry goes the same way as every other write, in order and seen by every watch.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display},
    num::NonZeroU64,
    time::Duration,
};

use tokio::time::Instant;

use super::{InvalidRequest, Op, StoreError, Txn, WatchEvent};

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
}

impl Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// Checks a time to live, for every backend.
pub(super) fn check_ttl(ttl: Duration) -> Result<(), InvalidRequest> {
    if (MIN_LEASE_TTL..=MAX_LEASE_TTL).contains(&ttl) {
        Ok(())
    } else {
        Err(InvalidRequest::LeaseTtl { ttl })
    }
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
}

/// Every lease of one store.
#[derive(Debug, Default)]
pub(super) struct LeaseTable {
    leases: BTreeMap<LeaseId, Lease>,
    /// Which lease each leased key hangs on.
    holder: BTreeMap<String, LeaseId>,
}

impl LeaseTable {
    /// Adds a lease that runs out `ttl` after `now`. An id already there is replaced, with no keys.
    pub(super) fn grant(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.leases.insert(
            id,
            Lease {
                ttl,
                deadline: now + ttl,
                keys: BTreeSet::new(),
            },
        );
    }

    /// Whether there is such a lease. One past its deadline exists until it is forgotten.
    pub(super) fn contains(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Gives the lease its full time from `now` and returns it.
    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<Duration, StoreError> {
        let lease = self
            .leases
            .get_mut(&id)
            .ok_or(StoreError::LeaseNotFound { lease: id })?;
        lease.deadline = now + lease.ttl;
        Ok(lease.ttl)
    }

    /// When the next lease runs out; `None` without leases.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.deadline).min()
    }

    /// The leases that have run out at `now`.
    pub(super) fn expired(&self, now: Instant) -> Vec<LeaseId> {
        let due = self.leases.iter().filter(|(_, lease)| lease.deadline <= now);
        due.map(|(id, _)| *id).collect()
    }

    /// The transaction that ends the lease: it deletes every key attached. `None` when there is no such lease.
    pub(super) fn farewell(&self, id: LeaseId) -> Option<Txn> {
        let ops = self
            .leases
            .get(&id)?
            .keys
            .iter()
            .map(|key| Op::Delete { key: key.clone() });
        Some(Txn {
            preconditions: Vec::new(),
            ops: ops.collect(),
        })
    }

    /// Removes the lease, after its farewell was committed.
    pub(super) fn forget(&mut self, id: LeaseId) {
        for key in self.leases.remove(&id).map(|lease| lease.keys).unwrap_or_default() {
            self.holder.remove(&key);
        }
    }

    /// Checks that every lease the transaction names exists.
    pub(super) fn check(&self, txn: &Txn) -> Result<(), StoreError> {
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.contains(*lease)
            {
                return Err(StoreError::LeaseNotFound { lease: *lease });
            }
        }
        Ok(())
    }

    /// Takes note of committed changes: a put attaches the key to its lease or detaches it, a deletion detaches it.
    pub(super) fn record(&mut self, events: &[WatchEvent]) {
        for event in events {
            if let Some(before) = self.holder.remove(event.key())
                && let Some(lease) = self.leases.get_mut(&before)
            {
                lease.keys.remove(event.key());
            }
            if let WatchEvent::Put(entry) = event
                && let Some(id) = entry.lease
                && let Some(lease) = self.leases.get_mut(&id)
            {
                lease.keys.insert(entry.key.clone());
                self.holder.insert(entry.key.clone(), id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
