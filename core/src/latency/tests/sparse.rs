use super::*;
use crate::latency::{CallLatencies, InvalidLatency, SparseLatency};

fn sparse(latencies: &[u64]) -> SparseLatency {
    SparseLatency::from(&counted(latencies))
}

proptest! {
    /// It says what the histogram says that has its zeros.
    #[test]
    fn a_sparse_histogram_is_a_histogram(
        one in proptest::collection::vec(any::<u64>(), 0..50),
        other in proptest::collection::vec(any::<u64>(), 0..50),
        share in 0.0..=1.0_f64,
    ) {
        let all = counted(&[one.clone(), other.clone()].concat());
        let mut sum = sparse(&one);
        sum.merge(&sparse(&other));
        prop_assert_eq!(&sum, &SparseLatency::from(&all));
        prop_assert_eq!(sum.since(&sparse(&one)), sparse(&other));
        prop_assert_eq!((sum.count(), sum.is_empty()), (all.count(), all.count() == 0));
        prop_assert_eq!(sum.quantile(share), all.quantile(share));
        let (buckets, counts): (Vec<u32>, Vec<u64>) = sum.iter().map(|(bucket, count)| (u32::from(bucket), count)).unzip();
        prop_assert_eq!(SparseLatency::new(&buckets, &counts), Ok(sum));
    }
}

#[test]
fn a_histogram_that_breaks_the_rules_is_none() {
    use InvalidLatency::{Lengths, NotAscending, OutOfRange, TooMany};
    let refused = |buckets: &[u32], counts: &[u64]| SparseLatency::new(buckets, counts).unwrap_err();
    assert_eq!(refused(&[1, 2], &[1]), Lengths { buckets: 2, counts: 1 });
    assert_eq!(refused(&[], &[1]), Lengths { buckets: 0, counts: 1 });
    assert_eq!((refused(&[210], &[1]), refused(&[u32::MAX], &[0])), (OutOfRange(210), OutOfRange(u32::MAX)));
    assert_eq!((refused(&[5, 5], &[1, 1]), refused(&[5, 4], &[1, 1])), (NotAscending(5), NotAscending(4)));
    assert_eq!(refused(&[5, 6], &[u64::MAX, 1]), TooMany);
    let many: Vec<u32> = (0..=210).collect();
    assert_eq!(refused(&many, &vec![1; many.len()]), OutOfRange(210));

    let all = SparseLatency::new(&many[..210], &[1; 210]).unwrap();
    assert_eq!(all.count(), 210);
    let zeros = SparseLatency::new(&[3, 4, 209], &[0, 7, 0]).unwrap();
    assert_eq!(zeros.iter().collect::<Vec<_>>(), [(4, 7)]);
}

#[test]
fn sums_of_sparse_histograms_saturate() {
    let mut most = SparseLatency::new(&[0], &[u64::MAX]).unwrap();
    most.merge(&sparse(&[1, 5_000]));
    assert_eq!((most.count(), most.quantile(0.5)), (u64::MAX, Some(nanos(1024))));
    assert_eq!(sparse(&[1]).since(&most), SparseLatency::default());
}

#[test]
fn a_call_of_one_attempt_is_both() {
    let latencies = CallLatencies::default();
    let earlier = latencies.snapshot();
    latencies.record_alone(nanos(5_000));
    latencies.record_attempt(nanos(9_000));
    latencies.record_call(nanos(2_000_000));
    let since = latencies.snapshot().since(&earlier);
    assert_eq!((since.attempts, since.calls), (sparse(&[5_000, 9_000]), sparse(&[5_000, 2_000_000])));
}
