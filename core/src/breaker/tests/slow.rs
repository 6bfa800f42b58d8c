//! Slow calls.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn slow_policy() -> BreakerPolicy {
    BreakerPolicy { consecutive_failures: 0, slow_call_duration: SECOND, slow_call_rate: 0.5, ..consecutive() }
}

impl Bench {
    fn took(&self, outcome: Outcome, latency: Duration) -> Option<Transition> {
        let admission = self.admit().unwrap().admission;
        admission.record(&self.policy, outcome, latency, self.now, || 0).transition
    }
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/6>.
#[test]
fn t22_the_share_of_slow_successes_opens_at_its_threshold_once_there_are_calls_enough() {
    let bench = Bench::new(slow_policy());
    bench.calls(Outcome::Success, 5);
    for _ in 0..4 {
        assert_eq!(bench.took(Outcome::Success, SECOND), None, "fewer than 10 calls");
    }
    let transition = bench.took(Outcome::Success, SECOND).unwrap();
    assert_eq!((transition.to, transition.cause), (State::Open, Cause::SlowCallRate));
}

#[test]
fn a_call_below_the_duration_is_not_slow_and_does_not_open_even_where_the_share_is_reached() {
    let bench = Bench::new(slow_policy());
    for _ in 0..9 {
        assert_eq!(bench.took(Outcome::Success, 2 * SECOND), None);
    }
    assert_eq!(bench.took(Outcome::Success, SECOND - Duration::from_nanos(1)), None, "it makes things better");
    assert!(bench.took(Outcome::Success, SECOND).is_some());
}

#[test]
fn a_call_that_is_slow_and_failed_counts_once() {
    let bench = Bench::new(BreakerPolicy { slow_call_rate: 1.0, ..slow_policy() });
    for _ in 0..9 {
        assert_eq!(bench.took(Outcome::Failure, SECOND), None);
    }
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 9));
    assert_eq!(bench.took(Outcome::Failure, SECOND).unwrap().cause, Cause::SlowCallRate);
}

#[test]
fn slow_calls_are_off_at_zero() {
    for policy in [
        BreakerPolicy { slow_call_duration: Duration::ZERO, ..slow_policy() },
        BreakerPolicy { slow_call_rate: 0.0, ..slow_policy() },
    ] {
        let bench = Bench::new(policy);
        for _ in 0..100 {
            assert_eq!(bench.took(Outcome::Success, 60 * SECOND), None);
        }
    }
}

#[test]
fn slow_calls_leave_the_window_with_their_buckets() {
    let mut bench = Bench::new(slow_policy());
    for _ in 0..9 {
        bench.took(Outcome::Success, SECOND);
    }
    bench.advance(Duration::from_secs(30));
    bench.calls(Outcome::Success, 10);
    assert_eq!(bench.took(Outcome::Success, SECOND), None, "1 of 11");
}

/// A service that answers, too slowly to be called, has not recovered: closed, it would only be opened again. So it is
/// with resilience4j, whose half-open state looks at the slow calls among its probes.
#[test]
fn a_slow_probe_fails_where_slow_calls_trip() {
    let mut bench = Bench::new(BreakerPolicy { consecutive_failures: 5, ..slow_policy() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.took(Outcome::Success, SECOND).unwrap().cause, Cause::ProbeSlow);
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.took(Outcome::Failure, SECOND).unwrap().cause, Cause::ProbeFailed, "it did not even succeed");
    bench.advance(Duration::from_secs(30));
    assert_eq!(bench.calls(Outcome::Success, 2).unwrap().to, State::Closed);
}

#[test]
fn a_slow_probe_is_forgiven_as_a_failed_one_is_and_counts_where_no_slow_call_trips() {
    let policy = BreakerPolicy { consecutive_failures: 5, half_open_allowed_failures: 1, ..slow_policy() };
    for (policy, closes) in [(policy.clone(), false), (BreakerPolicy { slow_call_rate: 0.0, ..policy }, true)] {
        let mut bench = Bench::new(policy);
        bench.calls(Outcome::Failure, 5).unwrap();
        bench.advance(Duration::from_secs(30));
        bench.took(Outcome::Success, SECOND);
        assert_eq!(bench.state(), State::HalfOpen);
        let second = bench.call(Outcome::Success);
        assert_eq!(second.is_some_and(|made| made.to == State::Closed), closes, "successes must be in a row");
    }
}
