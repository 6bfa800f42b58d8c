//! The buckets of histograms that Prometheus is shown: some of the bounds of the many that there are.
//!
//! A histogram here has eight buckets to each power of two (`core/src/latency.rs`); each of them is a row of its own for
//! Prometheus. So buckets are put together, and as each bound is one of those that there are, every duration is counted
//! on the right side of it: to be exact, what is as long as a bound counts as longer.

use std::time::Duration;

use cofferdam_core::latency::{SparseLatency, bucket_bounds};

/// The bounds of latencies, as powers of two of a nanosecond: 66 us, 0.26 ms, and from 1 ms on each is twice the one
/// before, up to 8.6 s, and 34 s.
const LATENCIES: [u32; 17] = [16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 35];

/// The bounds of recoveries, whose histogram is of a thousandth of the time: as powers of two of a microsecond, 0.13 s to
/// 9.5 hours.
const RECOVERIES: [u32; 10] = [17, 20, 21, 22, 23, 24, 26, 28, 31, 35];

/// By how much a recovery is longer than what its histogram has.
const SCALE: f64 = 1_000.0;

/// Latencies by their upper bounds in seconds; the last one is infinite.
pub(super) fn latencies(times: &SparseLatency) -> Vec<(f64, u64)> {
    under(times, &LATENCIES, 1.0)
}

/// Recoveries by their upper bounds in seconds; the last one is infinite.
pub(super) fn recoveries(scaled: &SparseLatency) -> Vec<(f64, u64)> {
    under(scaled, &RECOVERIES, SCALE)
}

fn under(times: &SparseLatency, powers: &[u32], scale: f64) -> Vec<(f64, u64)> {
    let bounds = powers.iter().map(|power| Duration::from_nanos(1 << power));
    let mut buckets: Vec<(f64, u64)> = bounds.map(|bound| (bound.as_secs_f64() * scale, 0)).collect();
    buckets.push((f64::INFINITY, 0));
    for (bucket, count) in times.iter() {
        let (_, upper) = bucket_bounds(usize::from(bucket));
        let place = powers.partition_point(|power| Duration::from_nanos(1 << power) < upper);
        if let Some((_, sum)) = buckets.get_mut(place) {
            *sum = sum.saturating_add(count);
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(durations: &[Duration]) -> SparseLatency {
        let mut histogram = SparseLatency::default();
        durations.iter().for_each(|duration| histogram.record(*duration));
        histogram
    }

    #[test]
    fn every_duration_is_on_its_side_of_every_bound() {
        for power in LATENCIES {
            let bound = Duration::from_nanos(1 << power);
            let just_under = bound - Duration::from_nanos(1);
            let buckets = latencies(&histogram(&[just_under, bound]));
            let place = buckets.iter().position(|(upper, _)| *upper == bound.as_secs_f64()).unwrap();
            let counts: Vec<_> = buckets.iter().map(|(_, count)| *count).collect();
            assert_eq!((counts[place], counts[place + 1], counts.iter().sum::<u64>()), (1, 1, 2), "2^{power} ns");
        }
    }

    #[test]
    fn what_is_longer_than_all_is_infinite() {
        let buckets = latencies(&histogram(&[Duration::ZERO, Duration::from_secs(3600)]));
        assert_eq!((buckets[0], buckets.last()), ((0.000_065_536, 1), Some(&(f64::INFINITY, 1))));
    }

    #[test]
    fn a_recovery_of_half_a_minute_lies_between_its_bounds() {
        let buckets = recoveries(&histogram(&[Duration::from_secs(30) / 1000]));
        let place = buckets.iter().position(|(_, count)| *count == 1).unwrap();
        let (lower, upper) = (buckets[place - 1].0, buckets[place].0);
        assert!(lower < 30.0 && 30.0 < upper, "{lower} {upper}");
    }
}
