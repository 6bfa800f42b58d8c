//! How long attempts take: counts in fixed buckets, which add up across threads, processes and languages.
//!
//! A mean hides the tail, and quantiles of quantiles mean nothing. So what is kept, and may be sent, is counts. The
//! buckets are the same everywhere and never change, so that two histograms are added, or an earlier one taken from a
//! later one, bucket by bucket.
//!
//! **The buckets** are log-linear: each power of two is cut into eight of one width. Of a latency of `n` nanoseconds,
//!
//! | bucket | counts |
//! |---|---|
//! | 0 | `n < 2^10` (1,024 ns) |
//! | `1 + 8 * (e - 10) + s` | `2^e + s * 2^(e-3) <= n < 2^e + (s+1) * 2^(e-3)`, for `e` from 10 to 35, `s` from 0 to 7 |
//! | 209 | `n >= 2^36` (68.7 s) |
//!
//! `e` is the position of the highest bit of `n`, and `s` is the three bits below it: finding a bucket takes no
//! division and no table.
//!
//! **The value of a bucket** with the bounds `a` and `b` is `2ab / (a + b)`, which is off by the same share at both
//! ends: by at most 1/17, or 5.9 %, the widest buckets being an eighth of their lower bound. The first bucket's value
//! is its upper bound and the last one's its lower bound.
//!
//! [`LatencyHistogram`] counts, [`LatencySnapshot`] is what it counted at one time, [`SparseLatency`] the same without
//! its zeros, and [`RecentLatency`] says what a quantile was of late. [`CallLatencies`] counts what is reported of a
//! service.

mod bucket;
mod recent;
mod recorder;
mod snapshot;
mod sparse;

#[cfg(test)]
mod tests;

pub use bucket::{BUCKETS, bucket_bounds, bucket_of};
pub use recent::{RecentLatency, enough_for};
pub use recorder::{CallLatencies, CallLatencySnapshot};
pub use snapshot::LatencySnapshot;
pub use sparse::{InvalidLatency, SparseLatency};

use crate::stripe::{Stripe, Striped};
use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts latencies, from any number of threads: each counts on a stripe of its own, of 1.75 KiB, made when it first
/// counts.
///
/// ```
/// use cofferdam_core::latency::LatencyHistogram;
/// use std::time::Duration;
///
/// let histogram = LatencyHistogram::new();
/// let earlier = histogram.snapshot();
/// (1..=100).for_each(|millis| histogram.record(Duration::from_millis(millis)));
/// let since = histogram.snapshot().since(&earlier);
/// assert_eq!(since.count(), 100);
/// let median = since.quantile(0.5).unwrap_or_default();
/// assert!((47..=53).contains(&median.as_millis()));
/// ```
#[derive(Debug, Default)]
pub struct LatencyHistogram {
    stripes: Striped<Counts>,
}

/// What one thread counted. Whole lines wide, two by two, for some processors fetch the neighbour of a line along with it.
#[derive(Debug)]
#[repr(align(128))]
struct Counts([AtomicU64; BUCKETS]);

impl LatencyHistogram {
    /// A histogram that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a latency.
    #[inline]
    pub fn record(&self, latency: Duration) {
        let bucket = bucket_of(latency);
        match self.stripes.mine() {
            Stripe::Own(own) => {
                let count = &own.get().0[bucket];
                count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
            }
            Stripe::Shared(counts) => {
                counts.0[bucket].fetch_add(1, Relaxed);
            }
        }
    }

    /// What was counted so far. It is taken while others count: each bucket is right, at a moment of its own.
    pub fn snapshot(&self) -> LatencySnapshot {
        let mut sums = [0_u64; BUCKETS];
        for counts in self.stripes.all() {
            for (sum, count) in sums.iter_mut().zip(&counts.0) {
                *sum = sum.wrapping_add(count.load(Relaxed));
            }
        }
        LatencySnapshot::from_counts(sums)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}
