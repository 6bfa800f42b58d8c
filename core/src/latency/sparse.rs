use super::bucket::{BUCKETS, value_of};
use super::snapshot::LatencySnapshot;
use std::time::Duration;

/// The counts of a histogram as far as they are not zero: a tenth of a [`LatencySnapshot`] in most cases, for whoever
/// keeps many, and what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseLatency {
    /// By bucket, in ascending order; no count is zero.
    counts: Vec<(u8, u64)>,
}

/// These are not the counts of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLatency {
    /// Buckets and counts do not go together.
    #[error("has {buckets} buckets and {counts} counts")]
    Lengths {
        /// How many buckets there are.
        buckets: usize,
        /// How many counts.
        counts: usize,
    },
    /// There is no such bucket.
    #[error("has no bucket {0}: the last one is {last}", last = BUCKETS - 1)]
    OutOfRange(u32),
    /// A bucket is named twice, or after a higher one.
    #[error("must name its buckets in ascending order, not {0} after the one before")]
    NotAscending(u32),
    /// There are more than 2^64 - 1 durations.
    #[error("counts more than 2^64 - 1 durations")]
    TooMany,
}

impl SparseLatency {
    /// The histogram of these counts, each of the bucket at its place. Counts of zero are passed over.
    ///
    /// # Errors
    ///
    /// [`InvalidLatency`] where the buckets are not as many as the counts, in ascending order and below [`BUCKETS`], or
    /// where the sum of the counts does not fit into 64 bits.
    pub fn new(buckets: &[u32], counts: &[u64]) -> Result<Self, InvalidLatency> {
        if buckets.len() != counts.len() {
            return Err(InvalidLatency::Lengths { buckets: buckets.len(), counts: counts.len() });
        }
        let mut sum: u64 = 0;
        let mut last = None;
        let mut checked = Self::default();
        // Each is higher than the one before: there are never more than there are buckets.
        for (&bucket, &count) in buckets.iter().zip(counts) {
            let index = u8::try_from(bucket).ok().filter(|index| usize::from(*index) < BUCKETS);
            let index = index.ok_or(InvalidLatency::OutOfRange(bucket))?;
            if last.is_some_and(|last| index <= last) {
                return Err(InvalidLatency::NotAscending(bucket));
            }
            last = Some(index);
            sum = sum.checked_add(count).ok_or(InvalidLatency::TooMany)?;
            if count > 0 {
                checked.counts.push((index, count));
            }
        }
        Ok(checked)
    }

    /// The buckets that count something, in ascending order, and their counts.
    pub fn iter(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// How long all of them took together, within 5.9 %: each counts as what stands for its bucket. Never less than that of
    /// an earlier histogram.
    pub fn sum(&self) -> Duration {
        let nanos = self.iter().fold(0_u128, |sum, (bucket, count)| {
            sum.saturating_add(value_of(usize::from(bucket)).as_nanos().saturating_mul(count.into()))
        });
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        // There are fewer buckets than a byte has values.
        let bucket = super::bucket_of(duration) as u8;
        self.add(bucket, 1);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(bucket, count)| self.add(bucket, count));
    }

    /// What was counted since an earlier histogram; zero in buckets where that one says more.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: u8| {
            let place = earlier.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket);
            place.ok().and_then(|place| earlier.counts.get(place)).map_or(0, |(_, count)| *count)
        };
        let more = self.iter().map(|(bucket, count)| (bucket, count.saturating_sub(before(bucket))));
        Self { counts: more.filter(|(_, count)| *count > 0).collect() }
    }

    /// As [`LatencySnapshot::quantile`].
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile_bucket(self.iter().map(|(bucket, count)| (usize::from(bucket), count)), self.count(), share)
            .map(value_of)
    }

    fn add(&mut self, bucket: u8, more: u64) {
        match self.counts.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(place) => {
                if let Some((_, count)) = self.counts.get_mut(place) {
                    *count = count.saturating_add(more);
                }
            }
            Err(place) => self.counts.insert(place, (bucket, more)),
        }
    }
}

impl From<&LatencySnapshot> for SparseLatency {
    fn from(snapshot: &LatencySnapshot) -> Self {
        let counts = snapshot.counts().iter().enumerate().filter(|(_, count)| **count > 0);
        Self { counts: counts.map(|(bucket, count)| (bucket as u8, *count)).collect() }
    }
}

/// The bucket that a share of all `count` durations does not exceed, by nearest rank, where buckets come in ascending
/// order.
pub(super) fn quantile_bucket(counts: impl Iterator<Item = (usize, u64)>, count: u64, share: f64) -> Option<usize> {
    let rank = ((share * count as f64).ceil() as u64).clamp(1, count.max(1));
    let mut sum: u64 = 0;
    for (bucket, count) in counts {
        sum = sum.saturating_add(count);
        if sum >= rank {
            return Some(bucket);
        }
    }
    None
}
