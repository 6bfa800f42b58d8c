use crate::latency::{InvalidLatency, SparseLatency};
use cofferdam_proto::v1;

/// The histogram that a message holds; an empty one where it holds none.
///
/// # Errors
///
/// [`InvalidLatency`] where the message breaks the contract's rules.
pub fn latency_from_wire(wire: Option<&v1::LatencyHistogram>) -> Result<SparseLatency, InvalidLatency> {
    match wire {
        Some(v1::LatencyHistogram { buckets, counts }) => SparseLatency::new(buckets, counts),
        None => Ok(SparseLatency::default()),
    }
}

/// A histogram as messages hold it; nothing where it is empty.
pub fn latency_to_wire(latency: &SparseLatency) -> Option<v1::LatencyHistogram> {
    let (buckets, counts) = latency.iter().map(|(bucket, count)| (u32::from(bucket), count)).unzip();
    (!latency.is_empty()).then_some(v1::LatencyHistogram { buckets, counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    proptest! {
        #[test]
        fn histograms_round_trip(durations in proptest::collection::vec(any::<u64>(), 0..50)) {
            let mut latency = SparseLatency::default();
            durations.iter().for_each(|nanos| latency.record(Duration::from_nanos(*nanos)));
            let wire = latency_to_wire(&latency);
            prop_assert_eq!(wire.is_none(), durations.is_empty());
            prop_assert_eq!(latency_from_wire(wire.as_ref()), Ok(latency));
        }

        /// Whatever a peer says is a histogram that can be added to others, or none.
        #[test]
        fn nothing_that_is_said_panics(
            buckets in proptest::collection::vec(prop_oneof![0_u32..260, any::<u32>()], 0..40),
            counts in proptest::collection::vec(any::<u64>(), 0..40),
        ) {
            let wire = v1::LatencyHistogram { buckets, counts };
            if let Ok(latency) = latency_from_wire(Some(&wire)) {
                let mut sum = latency.clone();
                sum.merge(&latency);
                prop_assert!(sum.count() >= latency.count() && latency.quantile(0.5).is_some() != latency.is_empty());
            }
        }
    }
}
