//! Transactions judged on top of a [`State`] but not yet part of it: the one definition of what a transaction does
//! that the memory and embedded stores share.
//!
//! The embedded store puts many transactions into one draft, each of which sees the ones before it, writes the whole
//! draft to disk at once and only then applies it (group commit). If the disk refuses, the draft is dropped and
//! nothing has happened. The memory store does the same with one transaction at a time.

use std::{collections::BTreeMap, time::Duration};

use super::{
    CommitError, Committed, Conflict, Entry, FailedPrecondition, LeaseId, Op, Precondition, StoreError, StoreRevision,
    Txn, WatchBatch, WatchEvent, state::State,
};

#[derive(Debug)]
pub(super) struct Draft {
    /// The revision after the last batch.
    pub(super) head: StoreRevision,
    /// One per transaction that changes something, in order.
    pub(super) batches: Vec<WatchBatch>,
    pub(super) granted: Vec<(LeaseId, Duration)>,
    pub(super) ended: Vec<LeaseId>,
    /// Every key that the batches touch, as they leave it.
    overlay: BTreeMap<String, Option<Entry>>,
}

impl Draft {
    /// A draft of nothing, to be judged on `state`, which must not change until the draft is applied or dropped.
    pub(super) fn new(state: &State) -> Self {
        Self {
            head: state.feed.head(),
            batches: Vec::new(),
            granted: Vec::new(),
            ended: Vec::new(),
            overlay: BTreeMap::new(),
        }
    }

    /// A draft of transactions that were judged before and turned out to be committed.
    pub(super) fn found(batches: Vec<WatchBatch>) -> Self {
        Self {
            head: batches.last().map_or(StoreRevision::ZERO, |batch| batch.revision),
            batches,
            granted: Vec::new(),
            ended: Vec::new(),
            overlay: BTreeMap::new(),
        }
    }

    /// Whether applying it changes anything.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.granted.is_empty() && self.ended.is_empty()
    }

    /// Adds the transaction if its preconditions hold and its leases exist.
    pub(super) fn commit(&mut self, state: &State, txn: &Txn) -> Result<Committed, CommitError> {
        let mut failed = Vec::new();
        for precondition in &txn.preconditions {
            let current = self.get(state, precondition.key());
            if !holds(precondition, current) {
                failed.push(FailedPrecondition { precondition: precondition.clone(), current: current.cloned() });
            }
        }
        if !failed.is_empty() {
            return Err(Conflict { revision: self.head, failed }.into());
        }
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.has_lease(state, *lease)
            {
                return Err(StoreError::LeaseNotFound { lease: *lease }.into());
            }
        }
        Ok(Committed { revision: self.add(state, &txn.ops) })
    }

    /// Adds a lease of this time and returns its id.
    pub(super) fn grant(&mut self, ttl: Duration) -> LeaseId {
        let lease = LeaseId::random();
        self.granted.push((lease, ttl));
        lease
    }

    /// Adds the end of a lease and the deletion of its keys.
    pub(super) fn end_lease(&mut self, state: &State, lease: LeaseId) -> Result<(), StoreError> {
        if !self.has_lease(state, lease) {
            return Err(StoreError::LeaseNotFound { lease });
        }
        let attached_before = state.leases.keys(lease).map(str::to_owned);
        let mut keys: Vec<String> = attached_before.chain(self.overlay.keys().cloned()).collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| self.get(state, key).is_some_and(|entry| entry.lease == Some(lease)));
        let ops: Vec<Op> = keys.into_iter().map(|key| Op::Delete { key }).collect();
        self.add(state, &ops);
        self.ended.push(lease);
        Ok(())
    }

    /// Adds the changes of `ops` as one batch, or none if there are none. Returns the revision after them.
    fn add(&mut self, state: &State, ops: &[Op]) -> StoreRevision {
        let mod_revision = self.head.next();
        let mut events = Vec::with_capacity(ops.len());
        for op in ops {
            let before = self.get(state, op.key());
            match op {
                Op::Put { key, value, lease } => events.push(WatchEvent::Put(Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: before.map_or(mod_revision, |entry| entry.create_revision),
                    mod_revision,
                    lease: *lease,
                })),
                Op::Delete { key } if before.is_some() => {
                    events.push(WatchEvent::Delete { key: key.clone(), mod_revision });
                }
                Op::Delete { .. } => {}
            }
        }
        if !events.is_empty() {
            for event in &events {
                let after = match event {
                    WatchEvent::Put(entry) => Some(entry.clone()),
                    WatchEvent::Delete { .. } => None,
                };
                self.overlay.insert(event.key().to_owned(), after);
            }
            self.batches.push(WatchBatch { revision: mod_revision, events });
            self.head = mod_revision;
        }
        self.head
    }

    fn get<'a>(&'a self, state: &'a State, key: &str) -> Option<&'a Entry> {
        match self.overlay.get(key) {
            Some(entry) => entry.as_ref(),
            None => state.get(key),
        }
    }

    fn has_lease(&self, state: &State, lease: LeaseId) -> bool {
        let granted = state.leases.contains(lease) || self.granted.iter().any(|(id, _)| *id == lease);
        granted && !self.ended.contains(&lease)
    }
}

/// Whether the precondition is true of the key's entry, or of its absence.
pub(super) fn holds(precondition: &Precondition, current: Option<&Entry>) -> bool {
    match precondition {
        Precondition::Absent { .. } => current.is_none(),
        Precondition::Revision { mod_revision, .. } => current.is_some_and(|entry| entry.mod_revision == *mod_revision),
    }
}

#[cfg(test)]
mod tests;
