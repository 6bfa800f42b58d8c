mod recent;
mod sparse;

use super::bucket::value_of;
use super::*;
use proptest::prelude::*;

fn nanos(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

fn counted(latencies: &[u64]) -> LatencySnapshot {
    let histogram = LatencyHistogram::new();
    latencies.iter().for_each(|latency| histogram.record(nanos(*latency)));
    histogram.snapshot()
}

/// The table of the module's documentation, bound by bound, for whoever repeats it elsewhere.
#[test]
fn the_buckets_are_those_of_the_table() {
    let mut bounds = vec![0];
    for e in 10..=35_u32 {
        bounds.extend((0..8_u64).map(|s| 2_u64.pow(e) + s * 2_u64.pow(e - 3)));
    }
    bounds.push(2_u64.pow(36));
    assert_eq!(bounds.len(), BUCKETS);
    for (bucket, lower) in bounds.iter().enumerate() {
        let upper = bounds.get(bucket + 1).map_or(Duration::MAX, |upper| nanos(*upper));
        assert_eq!(bucket_bounds(bucket), (nanos(*lower), upper));
        assert_eq!(bucket_of(nanos(*lower)), bucket);
        assert_eq!(bucket_of(upper - nanos(1)), bucket);
    }
    assert_eq!(bucket_of(Duration::MAX), 209);
    assert_eq!(bucket_bounds(210), (Duration::MAX, Duration::MAX));
}

#[test]
fn values_at_known_places() {
    let value = |micros| value_of(bucket_of(Duration::from_micros(micros)));
    assert_eq!(value(0), nanos(1024));
    assert_eq!(value(1_000_000), nanos(971_921_478), "of 939,524,096 to 1,006,632,960 ns");
    assert_eq!(value(100_000_000), nanos(1 << 36));
}

proptest! {
    #[test]
    fn no_value_is_off_by_more_than_a_seventeenth(latency in 1_u64 << 10..1 << 36) {
        let value = value_of(bucket_of(nanos(latency))).as_nanos() as f64;
        // A nanosecond for the rounding.
        prop_assert!((value - latency as f64).abs() <= latency as f64 / 17.0 + 1.0, "{value}");
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies(
        latencies in proptest::collection::vec((10_u32..36, 0_u64..1 << 35), 1..200),
        share in 0.0..=1.0_f64,
    ) {
        let mut latencies: Vec<u64> = latencies.iter().map(|(e, n)| (1 << e) + n % (1 << e)).collect();
        let snapshot = counted(&latencies);
        latencies.sort_unstable();
        let rank = ((share * latencies.len() as f64).ceil() as usize).max(1);
        prop_assert_eq!(snapshot.quantile(share), Some(value_of(bucket_of(nanos(latencies[rank - 1])))));
    }

    #[test]
    fn snapshots_add_and_subtract(
        one in proptest::collection::vec(any::<u64>(), 0..50),
        other in proptest::collection::vec(any::<u64>(), 0..50),
    ) {
        let all = counted(&[one.clone(), other.clone()].concat());
        let mut sum = counted(&one);
        sum.merge(&counted(&other));
        prop_assert_eq!(&sum, &all);
        prop_assert_eq!(all.since(&counted(&one)), counted(&other));
        prop_assert_eq!(all.since(&all), LatencySnapshot::default());
        prop_assert_eq!(all.count(), (one.len() + other.len()) as u64);
    }
}

#[test]
fn no_sum_overflows() {
    let mut most = LatencySnapshot::from_counts([u64::MAX; BUCKETS]);
    most.merge(&counted(&[5]));
    assert_eq!((most.count(), most.counts()), (u64::MAX, &[u64::MAX; BUCKETS]));
    assert_eq!(most.quantile(1.0), Some(nanos(1024)));
    assert_eq!(counted(&[5]).since(&most), LatencySnapshot::default());
}

#[test]
fn shares_out_of_range_are_the_nearest_in_it() {
    let snapshot = counted(&[2_000, 3_000, 4_000_000]);
    for share in [-1.0, 0.0, f64::NEG_INFINITY, f64::NAN] {
        assert_eq!(snapshot.quantile(share), Some(value_of(bucket_of(nanos(2_000)))));
    }
    for share in [1.0, 7.0, f64::INFINITY] {
        assert_eq!(snapshot.quantile(share), Some(value_of(bucket_of(nanos(4_000_000)))));
    }
    assert_eq!(LatencySnapshot::default().quantile(0.5), None);
}

#[test]
fn a_snapshot_shows_what_it_counts_and_no_more() {
    assert_eq!(format!("{:?}", counted(&[1, 1_024, 1_024])), "{0: 1, 1: 2}");
}

#[test]
fn threads_lose_no_count() {
    let histogram = LatencyHistogram::new();
    std::thread::scope(|scope| {
        for thread in 0..16_u64 {
            let histogram = &histogram;
            scope.spawn(move || (0..10_000).for_each(|n| histogram.record(nanos((thread + n) << 10))));
        }
    });
    let expected: Vec<u64> = (0..16).flat_map(|thread| (0..10_000).map(move |n| (thread + n) << 10)).collect();
    assert_eq!(histogram.snapshot(), counted(&expected));
}
