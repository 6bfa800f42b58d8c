//! What the cached answers of all services may take together.
//!
//! A policy bounds the answers of its service (`max_bytes`), and a manager may have ten thousand services. So there is one
//! more bound over all of them. Caches know nothing of each other; now and then, when so many bytes have been relayed that
//! the bound could be near, somebody adds up, and where it is too much takes from those who have most, down to a level
//! that is the same for all: a service with little keeps it all, however much others relay.

use cofferdam_core::cache::{AnswerCache, ENTRY_BYTES};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What all answers take at most, about, with their keys and what it takes to find them.
pub(super) const MAX_BYTES: u64 = 256 << 20;
/// After how many relayed bytes somebody adds up.
const STEP: u64 = MAX_BYTES / 16;
/// A key is kept by its digest, or is shorter than this.
const MAX_KEY_BYTES: u64 = 256;

/// How much may have come, ever.
#[derive(Debug, Default)]
pub(super) struct Memory {
    grown: AtomicU64,
}

impl Memory {
    /// Takes note of an answer that may be kept. `true`: it is time to [`share`].
    pub(super) fn note(&self, payload: usize) -> bool {
        let most = payload as u64 + MAX_KEY_BYTES + ENTRY_BYTES;
        let before = self.grown.fetch_add(most, Relaxed);
        // One of those who relay at the same time makes the step.
        before / STEP != before.wrapping_add(most) / STEP
    }
}

/// Takes from the largest caches what is too much, with a step to spare.
pub(super) fn share(caches: &[Arc<AnswerCache>]) {
    let mut weights: Vec<u64> = caches.iter().map(|cache| cache.weight()).collect();
    let Some(level) = level(&mut weights, MAX_BYTES - STEP) else { return };
    caches.iter().for_each(|cache| cache.shrink_to(level));
}

/// The level that, where nobody has more, makes the sum no more than `total`. `None`: it is no more.
fn level(weights: &mut [u64], total: u64) -> Option<u64> {
    weights.sort_unstable();
    let mut left = total;
    for (index, weight) in weights.iter().enumerate() {
        let share = left / (weights.len() - index) as u64;
        if *weight > share {
            return Some(share);
        }
        left -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cofferdam_core::cache::CacheKey;
    use cofferdam_core::policy::CachedFallback;
    use cofferdam_core::time::Timestamp;

    #[test]
    fn the_level_takes_from_those_who_have_most() {
        assert_eq!(level(&mut [5, 5, 5], 15), None);
        assert_eq!(level(&mut [], 0), None);
        assert_eq!(level(&mut [100, 1, 100], 61), Some(30), "who has little keeps it");
        assert_eq!(level(&mut [0, 40, 10, 30], 60), Some(25));
        assert_eq!(level(&mut [7], 3), Some(3));
    }

    #[test]
    fn all_caches_together_stay_within_the_bound_and_the_small_ones_lose_nothing() {
        let policy = CachedFallback { max_entry_bytes: 1 << 20, max_bytes: 1 << 30, ..CachedFallback::default() };
        let caches: Vec<_> = (0..40).map(|_| Arc::new(AnswerCache::new())).collect();
        let memory = Memory::default();
        let payload = Bytes::from(vec![7; 1 << 20]);
        let total = || caches.iter().map(|cache| cache.weight()).sum::<u64>();
        let mut shares = 0;
        for number in 0..600_u32 {
            // The last of them has a few, at first; then the others relay more than the bound.
            let cache = if number < 4 { &caches[39] } else { &caches[number as usize % 39] };
            cache.store(&policy, CacheKey::new("m", &number.to_be_bytes()), payload.clone(), Timestamp::from_millis(1));
            if memory.note(payload.len()) {
                share(&caches);
                shares += 1;
            }
            assert!(total() <= MAX_BYTES, "{number}");
        }
        assert!(shares > 30, "{shares}");
        assert!(total() > MAX_BYTES / 2, "and no more is dropped than has to be: {}", total());
        assert_eq!(caches[39].len(), 4);
    }

    #[test]
    fn answers_without_bytes_count_too() {
        let memory = Memory::default();
        let notes = (0..STEP).take_while(|_| !memory.note(0)).count() as u64;
        assert!(notes <= STEP / ENTRY_BYTES);
        assert!(!memory.note(0), "one adds up, for all that has come");
    }
}
