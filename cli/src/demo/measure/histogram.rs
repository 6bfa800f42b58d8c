use std::time::Duration;

/// Powers of two that are told apart: from 1 us to more than an hour.
const OCTAVES: usize = 33;

/// Buckets of each power of two, as a power of two itself.
const STEP_BITS: u32 = 4;

const STEPS: usize = 1 << STEP_BITS;

/// Latencies in buckets that are fixed, so that histograms of any two times or groups merge.
///
/// Below 16 us each microsecond has its bucket; above, each power of two has 16 of equal width, so a quantile is never
/// more than 6.25 % above the truth, and never below it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    buckets: [u32; OCTAVES * STEPS],
}

impl Histogram {
    /// Counts one latency. What is longer than the last bucket goes into it.
    pub(crate) fn record(&mut self, latency: Duration) {
        let bucket = bucket(latency).min(self.buckets.len() - 1);
        self.buckets[bucket] = self.buckets[bucket].saturating_add(1);
    }

    /// Takes another histogram's counts in.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// The latency that the given share of calls, in [0, 1], did not exceed. `None`: nothing was counted.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is between zero and a count far below 2^52"
    )]
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let count: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        self.buckets.iter().enumerate().find_map(|(bucket, count)| {
            seen += u64::from(*count);
            (*count > 0 && seen >= rank).then(|| upper_bound(bucket))
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [0; OCTAVES * STEPS] }
    }
}

/// The bucket of a latency; may be beyond the last.
fn bucket(latency: Duration) -> usize {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    let octave = micros.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS);
    // The lowest `STEPS` values are their own bucket; each later octave adds `STEPS`.
    let step = micros >> octave;
    usize::try_from(u64::from(octave) * STEPS as u64 + step).unwrap_or(usize::MAX)
}

/// The latency just below the next bucket.
fn upper_bound(bucket: usize) -> Duration {
    let (octave, step) = match bucket.checked_sub(STEPS) {
        None => (0, bucket),
        Some(above) => (above / STEPS, above % STEPS + STEPS),
    };
    Duration::from_micros(((step as u64 + 1) << octave) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_where_the_next_begins() {
        for index in 0..OCTAVES * STEPS - 1 {
            let end = upper_bound(index);
            assert_eq!(bucket(end), index, "{end:?}");
            assert_eq!(bucket(end + Duration::from_micros(1)), index + 1, "{end:?}");
        }
    }

    #[test]
    fn a_quantile_is_at_most_a_sixteenth_too_high() {
        let mut histogram = Histogram::default();
        for millis in 1..=1000 {
            histogram.record(Duration::from_millis(millis));
        }
        for (share, exact) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let measured = histogram.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((exact..=exact * 1.0625).contains(&measured), "{share}: {measured}");
        }
    }

    #[test]
    fn extremes_have_a_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        histogram.record(Duration::ZERO);
        assert_eq!(histogram.quantile(1.0), Some(Duration::ZERO));
        histogram.record(Duration::MAX);
        assert!(histogram.quantile(1.0).unwrap() > Duration::from_secs(3600));
    }

    #[test]
    fn merging_adds_every_count() {
        let mut one = Histogram::default();
        one.record(Duration::from_millis(1));
        let mut other = Histogram::default();
        other.record(Duration::from_secs(1));
        one.merge(&other);
        assert!(one.quantile(0.5).unwrap() < Duration::from_millis(2));
        assert!(one.quantile(1.0).unwrap() >= Duration::from_secs(1));
    }
}
