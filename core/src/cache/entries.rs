use super::{CacheKey, CachedAnswer, ENTRY_BYTES, lifetime};
use crate::policy::{CachedFallback, FallbackTrigger};
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// The answers, in the order of their storing, and how many bytes they are.
#[derive(Debug, Default)]
pub(super) struct Entries {
    by_key: HashMap<CacheKey, Entry>,
    /// The keys by the number of their storing: the first was stored longest ago.
    by_number: BTreeMap<u64, CacheKey>,
    next_number: u64,
    /// Of payloads and keys, each key once.
    bytes: u64,
    unrefreshed: u64,
}

#[derive(Debug)]
pub(super) struct Entry {
    number: u64,
    pub(super) payload: Bytes,
    pub(super) stored: Timestamp,
    /// Why the last live call for it failed. `None`: none has failed since it was stored.
    failed: Option<FallbackTrigger>,
    /// The call that is trying to refresh it, by a number of its own, and since when.
    pub(super) refresher: Option<(u64, Timestamp)>,
}

impl Entries {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// About what they take in memory, in bytes; zero if there are none.
    pub(super) fn weight(&self) -> u64 {
        self.bytes + ENTRY_BYTES * self.by_key.len() as u64
    }

    /// How many have failed to be refreshed.
    pub(super) fn unrefreshed(&self) -> u64 {
        self.unrefreshed
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn get(&self, key: &CacheKey) -> Option<&Entry> {
        self.by_key.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &CacheKey) -> Option<&mut Entry> {
        self.by_key.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: CacheKey, payload: Bytes, stored: Timestamp) {
        self.remove(&key);
        let number = self.number();
        self.bytes += size(&key, &payload);
        self.by_number.insert(number, key.clone());
        self.by_key.insert(key, Entry { number, payload, stored, failed: None, refresher: None });
    }

    pub(super) fn remove(&mut self, key: &CacheKey) {
        self.set_failed(key, None);
        if let Some(entry) = self.by_key.remove(key) {
            self.by_number.remove(&entry.number);
            self.bytes -= size(key, &entry.payload);
        }
    }

    /// Drops the answer that was stored longest ago.
    pub(super) fn remove_first(&mut self) {
        if let Some(key) = self.by_number.first_key_value().map(|(_, key)| key.clone()) {
            self.remove(&key);
        }
    }

    /// When the answer stored longest ago was stored.
    pub(super) fn first_stored(&self) -> Option<Timestamp> {
        let (_, key) = self.by_number.first_key_value()?;
        Some(self.get(key)?.stored)
    }

    /// All keys, the one whose answer was stored longest ago first.
    #[cfg(test)]
    pub(super) fn keys_in_order(&self) -> Vec<CacheKey> {
        assert_eq!(self.by_number.len(), self.by_key.len());
        self.by_number.values().cloned().collect()
    }

    /// Takes note of whether the last live call for a key failed, and why.
    pub(super) fn set_failed(&mut self, key: &CacheKey, failed: Option<FallbackTrigger>) {
        if let Some(entry) = self.by_key.get_mut(key) {
            self.unrefreshed += u64::from(failed.is_some());
            self.unrefreshed -= u64::from(entry.failed.is_some());
            entry.failed = failed;
        }
    }
}

impl Entry {
    /// The answer, if it is not too old.
    pub(super) fn answer(&self, policy: &CachedFallback, now: Timestamp) -> Option<CachedAnswer> {
        let age = now.saturating_since(self.stored);
        let payload = self.payload.clone();
        (age < lifetime(policy)).then(|| CachedAnswer { payload, age, is_fresh: age < policy.ttl })
    }

    /// Why the last live call for it failed.
    pub(super) fn failed(&self) -> Option<FallbackTrigger> {
        self.failed
    }
}

/// What an answer counts for.
pub(super) fn size(key: &CacheKey, payload: &Bytes) -> u64 {
    (key.len() + payload.len()) as u64
}
