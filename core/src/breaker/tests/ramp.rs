//! The ramp after a close.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A breaker that has just closed, with a ramp of ten seconds.
fn closed_again() -> Bench {
    let mut bench = Bench::new(BreakerPolicy { ramp_duration: 10 * SECOND, ..consecutive() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(30 * SECOND);
    assert_eq!(bench.calls(Outcome::Success, 2).unwrap().to, State::Closed);
    bench
}

impl Bench {
    /// How many of a thousand evenly spread numbers the ramp lets through.
    fn passing(&self) -> usize {
        let numbers = (0..1_000).map(|n| n * (u64::MAX / 1_000));
        numbers.filter(|number| self.breaker.ramp(&self.policy, self.now, || *number).is_ok()).count()
    }
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1647>.
#[test]
fn t27_the_share_grows_with_time_and_never_begins_below_the_least() {
    let mut bench = closed_again();
    for (advance, share) in [(0, 100), (500, 100), (1_500, 200), (3_000, 500), (4_999, 1_000), (1, 1_000)] {
        bench.advance(Duration::from_millis(advance));
        assert!(bench.passing().abs_diff(share) <= 1, "{} of {share}", bench.passing());
    }
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1647>.
#[test]
fn t27_what_was_counted_before_does_not_open_a_breaker_that_has_closed() {
    let mut bench = Bench::new(BreakerPolicy { failure_count: 5, minimum_calls: 0, ..consecutive() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(30));
    bench.calls(Outcome::Success, 2).unwrap();
    assert_eq!(bench.calls(Outcome::Failure, 4), None, "the first five are within the window, and do not count");
}

#[test]
fn a_rejection_says_when_the_ramp_is_over_and_teaches_nothing() {
    let mut bench = closed_again();
    bench.advance(4 * SECOND);
    let rejected = bench.breaker.ramp(&bench.policy, bench.now, || u64::MAX).unwrap_err();
    assert_eq!((rejected.state, rejected.retry_after, rejected.transition), (State::Closed, Some(6 * SECOND), None));
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 0));
    bench.advance(6 * SECOND);
    assert_eq!(bench.breaker.ramp(&bench.policy, bench.now, || u64::MAX), Ok(()));
}

#[test]
fn a_ratio_of_zero_starts_with_nothing_and_one_is_no_ramp() {
    let mut bench = closed_again();
    bench.policy.ramp_min_ratio = 0.0;
    assert_eq!(bench.passing(), 0);
    bench.policy.ramp_min_ratio = 1.0;
    assert_eq!(bench.passing(), 1_000);
}

#[test]
fn only_a_breaker_that_has_closed_ramps_up() {
    let policy = BreakerPolicy { ramp_duration: 10 * SECOND, ..consecutive() };
    let mut bench = Bench { now: Timestamp::ZERO, ..Bench::new(policy) };
    assert_eq!(bench.passing(), 1_000, "it has never closed");
    bench.calls(Outcome::Failure, 5).unwrap();
    assert_eq!(bench.passing(), 1_000, "an open one rejects by itself");
    bench.advance(30 * SECOND);
    assert_eq!(bench.passing(), 1_000, "probes are few enough");
    bench.calls(Outcome::Success, 2).unwrap();
    assert!(bench.passing() < 1_000);
    for mode in [BreakerMode::Disabled, BreakerMode::MetricsOnly] {
        bench.breaker.set_mode(mode, None);
        assert_eq!(bench.passing(), 1_000, "{mode:?} rejects nothing");
    }
}

/// A trip that another caller forestalls has written its time by then. It once stayed behind as the time from which a
/// breaker ramped up that was reset and had never closed.
#[test]
fn a_trip_that_was_too_late_leaves_no_ramp_behind() {
    let mut bench = Bench::new(BreakerPolicy { ramp_duration: 10 * SECOND, ..consecutive() });
    let seen_before = bench.breaker.load();
    assert_eq!(bench.call(Outcome::Failure), None);
    let late = bench.breaker.open(seen_before, Cause::ConsecutiveFailures, &bench.policy, bench.now, 0);
    assert_eq!(late, None);
    bench.advance(SECOND);
    assert_eq!(bench.breaker.reset(bench.now), None);
    assert_eq!(bench.passing(), 1_000);
}

#[test]
fn a_reset_of_a_closed_breaker_goes_on_with_its_ramp() {
    let mut bench = closed_again();
    bench.advance(5 * SECOND);
    let seen_before = bench.breaker.load();
    assert_eq!(bench.call(Outcome::Failure), None);
    assert_eq!(bench.breaker.open(seen_before, Cause::ConsecutiveFailures, &bench.policy, bench.now, 0), None);
    assert_eq!(bench.breaker.reset(bench.now), None);
    assert!(bench.passing().abs_diff(500) <= 1, "{}", bench.passing());
}
