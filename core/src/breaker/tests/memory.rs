//! What the documentation of [`Breaker`] says it takes.

use super::*;
use std::mem::size_of;

/// The bytes that are left allocated after a step, by the thread that made it.
fn bytes(step: impl FnOnce()) -> usize {
    usize::try_from(allocation_counter::measure(step).bytes_current).unwrap()
}

#[test]
fn an_idle_breaker_takes_at_most_512_bytes() {
    let mut breaker = None;
    let allocated = bytes(|| breaker = Some(Breaker::new(&BreakerPolicy::default())));
    let whole = size_of::<Breaker>() + allocated;
    assert!(whole <= 512, "{whole}");
}

#[test]
fn a_breaker_grows_by_threads_and_by_what_has_happened_and_not_by_calls() {
    let few = BreakerPolicy { consecutive_failures: 0, failure_rate: 0.0, ..BreakerPolicy::default() };
    let many = BreakerWindow::Time(TimeWindow { buckets: 60, ..TimeWindow::default() });
    let many = BreakerPolicy { window: many, slow_call_duration: Duration::from_nanos(1), ..few };
    for (policy, success, failure) in [(few, 384, 344), (many, 384 + 1024, 344 + 1024)] {
        let mut bench = Bench::new(policy);
        // Where other tests' threads have the nearer slots, a table of the others comes with it.
        let first = bytes(|| assert_eq!(bench.call(Outcome::Success), None));
        assert!([success, success + 48 * 16].contains(&first), "{first}");
        assert_eq!(bytes(|| assert_eq!(bench.call(Outcome::Failure), None)), failure);
        for _ in 0..100 {
            bench.advance(Duration::from_millis(700));
            let more = bytes(|| {
                bench.calls(Outcome::Success, 10);
                bench.calls(Outcome::Failure, 10);
            });
            assert_eq!(more, 0);
        }
    }
}
