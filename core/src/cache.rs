//! The last good answers of a service, for the cached fallback.
//!
//! This is no cache in front of a service: a live answer is always preferred, and what is kept here stands in only when
//! there is none. So answers are stored all the time and looked up rarely, which decides two things.
//!
//! *Which answers leave when there are too many:* those stored longest ago. While a service works, what is asked for
//! often is stored often, so the order of storing is also the order of use; and as all answers live equally long, the
//! one stored longest ago is also the first to expire. One order serves both, and a look-up changes nothing.
//!
//! *What is kept of an answer:* a copy. The bytes of an answer are often a slice of a much larger buffer that a
//! transport has read, and keeping the slice would keep all of it.
//!
//! An answer is fresh for `ttl`, and may stand in for `stale_if_error` after that (RFC 5861). An answer too large to
//! keep leaves the one before it in place: that one is still within the age that the policy allows.
//!
//! The policy comes with each call, so a new one is in force at once. A lower `max_entries` shows at the next answer
//! that is stored; a lower `max_entry_bytes` does not drop what is already kept.

mod key;

pub use key::CacheKey;

use crate::policy::CachedFallback;
use crate::sync::{Mutex, MutexGuard};
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::PoisonError;
use std::time::Duration;

/// Keeps the last good answer for each method and key.
///
/// ```
/// use bytes::Bytes;
/// use cofferdam_core::cache::{AnswerCache, CacheKey};
/// use cofferdam_core::policy::CachedFallback;
/// use cofferdam_core::time::Timestamp;
/// use std::time::Duration;
///
/// let policy = CachedFallback::default();
/// let cache = AnswerCache::new();
/// let key = CacheKey::new("shop.v1.Prices/Get", b"book-1");
/// cache.store(&policy, key.clone(), Bytes::from("12.50"), Timestamp::ZERO);
///
/// let answer = cache.lookup(&policy, &key, Timestamp::from_millis(400_000)).expect("kept for 3900 s");
/// assert_eq!(answer.payload, "12.50");
/// assert_eq!(answer.age, Duration::from_secs(400));
/// assert!(!answer.is_fresh);
/// ```
#[derive(Debug, Default)]
pub struct AnswerCache {
    // One lock: only services with a cached step in force come here, once a call, for less than a microsecond.
    entries: Mutex<Entries>,
}

/// An answer of some time ago.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedAnswer {
    /// Its bytes.
    pub payload: Bytes,
    /// The time since it was stored.
    pub age: Duration,
    /// Whether that is within `ttl`.
    pub is_fresh: bool,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<CacheKey, Entry>,
    /// The keys by the number of their storing: the first was stored longest ago.
    by_number: BTreeMap<u64, CacheKey>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    payload: Bytes,
    stored: Timestamp,
}

impl AnswerCache {
    /// A cache without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a live answer, in place of the one before it; skips one of more than `max_entry_bytes`, or older than the
    /// one it would replace. Past `max_entries`, what was stored longest ago leaves.
    pub fn store(&self, policy: &CachedFallback, key: CacheKey, payload: Bytes, now: Timestamp) {
        if payload.len() > policy.max_entry_bytes as usize {
            return;
        }
        let payload = Bytes::copy_from_slice(&payload);
        let mut entries = self.lock();
        if entries.by_key.get(&key).is_some_and(|last| last.stored > now) {
            return;
        }
        entries.insert(key, payload, now);
        while entries.by_key.len() > policy.max_entries as usize || entries.has_expired(policy, now) {
            entries.remove_first();
        }
    }

    /// The last good answer for a key; `None` where there is none, or where `ttl` and `stale_if_error` are over.
    pub fn lookup(&self, policy: &CachedFallback, key: &CacheKey, now: Timestamp) -> Option<CachedAnswer> {
        let entries = self.lock();
        let entry = entries.by_key.get(key)?;
        let age = now.saturating_since(entry.stored);
        (age < lifetime(policy)).then(|| CachedAnswer {
            payload: entry.payload.clone(),
            age,
            is_fresh: age < policy.ttl,
        })
    }

    /// Answers kept, those included that have expired since the last one was stored.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether no answer is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, key: CacheKey, payload: Bytes, stored: Timestamp) {
        let number = self.next_number;
        self.next_number += 1;
        if let Some(last) = self.by_key.insert(key.clone(), Entry { number, payload, stored }) {
            self.by_number.remove(&last.number);
        }
        self.by_number.insert(number, key);
    }

    fn remove_first(&mut self) {
        if let Some((_, key)) = self.by_number.pop_first() {
            self.by_key.remove(&key);
        }
    }

    /// Whether the answer stored longest ago is of no use any more.
    fn has_expired(&self, policy: &CachedFallback, now: Timestamp) -> bool {
        let first = self.by_number.first_key_value().and_then(|(_, key)| self.by_key.get(key));
        first.is_some_and(|entry| now.saturating_since(entry.stored) >= lifetime(policy))
    }
}

fn lifetime(policy: &CachedFallback) -> Duration {
    policy.ttl.saturating_add(policy.stale_if_error)
}

#[cfg(test)]
mod tests;
