use super::bucket::{BUCKETS, value_of};
use super::sparse::quantile_bucket;
use std::fmt;
use std::time::Duration;

/// The counts of a histogram at one time, or the sum or difference of such.
#[derive(Clone, PartialEq, Eq)]
pub struct LatencySnapshot {
    counts: [u64; BUCKETS],
}

impl Default for LatencySnapshot {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl LatencySnapshot {
    /// A snapshot of these counts, by bucket.
    pub const fn from_counts(counts: [u64; BUCKETS]) -> Self {
        Self { counts }
    }

    /// The counts, by bucket.
    pub const fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// How many latencies were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What was counted since an earlier snapshot; zero in buckets where that one says more.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let of = |bucket: usize| self.counts[bucket].saturating_sub(earlier.counts[bucket]);
        Self { counts: std::array::from_fn(of) }
    }

    /// Adds the counts of another, which may be of another process.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// The latency that this share of those counted does not exceed, by nearest rank, within 5.9 % between 1.024 us and
    /// 68.7 s. A share below 0 is 0, which is the shortest latency; one above 1 is 1, the longest. `None`: nothing was
    /// counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        self.quantile_bucket(share).map(value_of)
    }

    /// The bucket of a quantile.
    pub(super) fn quantile_bucket(&self, share: f64) -> Option<usize> {
        quantile_bucket(self.counts.iter().copied().enumerate(), self.count(), share)
    }
}

impl fmt::Debug for LatencySnapshot {
    /// The buckets that count something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.counts.iter().enumerate().filter(|(_, count)| **count > 0)).finish()
    }
}
