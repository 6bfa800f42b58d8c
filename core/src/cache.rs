//! The last good answers of a service, for the cached fallback.
//!
//! This is no cache in front of a service: a live answer is always preferred, and what is kept here stands in only when
//! there is none. So answers are stored all the time and looked up rarely, which decides two things.
//!
//! *Which answers leave when there are too many*, or too many bytes of them: those stored longest ago. While a service
//! works, what is asked for often is stored often, so the order of storing is also the order of use; and as all answers
//! live equally long, the one stored longest ago is also the first to expire. One order serves both, and a look-up
//! changes nothing.
//!
//! *What is kept of an answer:* a copy. The bytes of an answer are often a slice of a much larger buffer that a
//! transport has read, and keeping the slice would keep all of it.
//!
//! An answer is fresh for `ttl`, and may stand in for `stale_if_error` after that (RFC 5861). An answer too large to
//! keep leaves the one before it in place: that one is still within the age that the policy allows. An answer that the
//! service has taken back, with a NOT_FOUND or another error that is no failure, is forgotten.
//!
//! *One call at a time refreshes a stale answer* of a service that is failing; see [`Refresh`].
//!
//! The policy comes with each call, so a new one is in force at once. A lower `max_entries` or `max_bytes` shows at the
//! next answer that is stored; a lower `max_entry_bytes` does not drop what is already kept.

mod entries;
mod key;
mod refresh;

pub use key::CacheKey;
pub use refresh::{Refresh, Turn};

use crate::policy::CachedFallback;
use crate::sync::{AtomicU64, Mutex, MutexGuard};
use crate::time::Timestamp;
use bytes::Bytes;
use entries::Entries;
use std::sync::PoisonError;
use std::time::Duration;

/// What an answer takes in memory beside its bytes and those of its key, about: its places in two maps, and their spare
/// room.
pub const ENTRY_BYTES: u64 = 512;

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
    /// How many answers have stood in and not been refreshed since. Where there is none, no call needs to ask whether
    /// it is the one to refresh.
    unrefreshed: AtomicU64,
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

impl AnswerCache {
    /// A cache without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps a live answer, in place of the one before it; skips one of more than `max_entry_bytes` (with its key, of
    /// more than `max_bytes`), or older than the one it would replace. Past `max_entries` and `max_bytes`, what was
    /// stored longest ago leaves.
    pub fn store(&self, policy: &CachedFallback, key: CacheKey, payload: Bytes, now: Timestamp) {
        let is_too_large = entries::size(&key, &payload) > u64::from(policy.max_bytes);
        if is_too_large || payload.len() > policy.max_entry_bytes as usize {
            self.refreshed(&key);
            return;
        }
        let payload = Bytes::copy_from_slice(&payload);
        let mut entries = self.lock();
        if entries.get(&key).is_some_and(|last| last.stored > now) {
            return;
        }
        entries.insert(key, payload, now);
        while entries.len() > policy.max_entries as usize
            || entries.bytes() > u64::from(policy.max_bytes)
            || entries.first_stored().is_some_and(|first| now.saturating_since(first) >= lifetime(policy))
        {
            entries.remove_first();
        }
        self.count_unrefreshed(&entries);
    }

    /// The last good answer for a key; `None` where there is none, or where `ttl` and `stale_if_error` are over.
    pub fn lookup(&self, policy: &CachedFallback, key: &CacheKey, now: Timestamp) -> Option<CachedAnswer> {
        self.lock().get(key)?.answer(policy, now)
    }

    /// Drops the answer for a key: the service has since said something else.
    pub fn forget(&self, key: &CacheKey) {
        let mut entries = self.lock();
        entries.remove(key);
        self.count_unrefreshed(&entries);
    }

    /// Answers kept, those included that have expired since the last one was stored.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no answer is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of all answers kept and of their keys.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    /// About what it takes in memory, in bytes: those of answers and keys, and [`ENTRY_BYTES`] for each answer.
    pub fn weight(&self) -> u64 {
        self.lock().weight()
    }

    /// Drops those stored longest ago until it weighs no more than so many bytes.
    pub fn shrink_to(&self, weight: u64) {
        let mut entries = self.lock();
        while entries.weight() > weight {
            entries.remove_first();
        }
        self.count_unrefreshed(&entries);
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lifetime(policy: &CachedFallback) -> Duration {
    policy.ttl.saturating_add(policy.stale_if_error)
}

#[cfg(test)]
mod tests;
