//! How long calls are rejected.

use super::*;

#[test]
fn any_origin_of_the_clock_will_do() {
    for origin in [0, 1 << 37, u64::MAX / 1_000_000 - 3_600_000] {
        let mut bench = Bench::new(consecutive());
        bench.now = Timestamp::from_millis(origin);
        bench.calls(Outcome::Failure, 5).unwrap();
        bench.advance(Duration::from_millis(29_999));
        let rejected = bench.admit().unwrap_err();
        assert_eq!(rejected.retry_after, Some(Duration::from_millis(1)), "{origin}");
        bench.advance(Duration::from_millis(1));
        bench.calls(Outcome::Success, 2).unwrap();
        assert_eq!(bench.state(), State::Closed);
    }
}

#[test]
fn the_end_of_time_does_no_harm() {
    let mut bench = Bench::new(BreakerPolicy {
        open_duration: Duration::from_secs(24 * 3600),
        max_open_duration: Duration::from_secs(24 * 3600),
        open_backoff_multiplier: 10.0,
        open_jitter_ratio: 1.0,
        ..BreakerPolicy::default()
    });
    bench.now = Timestamp::from_nanos(u64::MAX - 1);
    bench.calls(Outcome::Failure, 5).unwrap();
    assert!(bench.admit().is_err());
    bench.breaker.reconfigure(&bench.policy);
    bench.now = Timestamp::from_nanos(u64::MAX);
    assert!(bench.admit().unwrap().admission.is_probe());
}

#[test]
fn an_unchecked_policy_does_not_panic() {
    for number in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        for (open_duration, max_open_duration) in [(Duration::MAX, Duration::MAX), (Duration::ZERO, Duration::MAX)] {
            let mut bench = Bench::new(BreakerPolicy {
                open_duration,
                max_open_duration,
                open_backoff_multiplier: number,
                open_jitter_ratio: number,
                ..consecutive()
            });
            let random = || u64::MAX;
            bench.breaker.trip(&bench.policy, None, bench.now, random);
            bench.breaker.reconfigure(&bench.policy);
            bench.advance(Duration::from_secs(40 * 24 * 3600));
            drop(bench.admit().unwrap());
            bench.breaker.trip(&bench.policy, None, bench.now, random);
            bench.breaker.reconfigure(&bench.policy);
            assert!(bench.breaker.open_until().is_some());
        }
    }
}

#[test]
fn a_wait_of_a_day_with_all_its_jitter_is_kept() {
    let day = Duration::from_secs(24 * 3600);
    let policy = BreakerPolicy {
        open_duration: day,
        max_open_duration: day,
        open_backoff_multiplier: 10.0,
        open_jitter_ratio: 1.0,
        ..BreakerPolicy::default()
    };
    let breaker = Breaker::new(&policy);
    let now = Timestamp::from_millis(1);
    for _ in 0..5 {
        let admitted = breaker.admit(&policy, now, || 0).unwrap();
        admitted.admission.record(&policy, Outcome::Failure, Duration::ZERO, now, || u64::MAX);
    }
    let wait = breaker.admit(&policy, now, || 0).unwrap_err().retry_after.unwrap();
    assert!(wait > 2 * day - Duration::from_millis(2) && wait <= 2 * day, "{wait:?}");
}

/// Seen in <https://github.com/failsafe-lib/failsafe/issues/70>, <https://github.com/envoyproxy/envoy/issues/19869>.
#[test]
fn t26_jitter_only_lengthens_the_open_time() {
    let policy = BreakerPolicy { open_jitter_ratio: 0.5, ..consecutive() };
    for (random, millis) in [(0, 30_000), (1 << 63, 37_500), (u64::MAX, 45_000)] {
        let breaker = Breaker::new(&policy);
        let now = Timestamp::from_millis(7);
        for _ in 0..5 {
            let admitted = breaker.admit(&policy, now, || 0).unwrap();
            admitted.admission.record(&policy, Outcome::Failure, Duration::ZERO, now, || random);
        }
        let rejected = breaker.admit(&policy, now, || 0).unwrap_err();
        assert_eq!(rejected.retry_after, Some(Duration::from_millis(millis)));
    }
}

#[test]
fn an_open_breaker_rejects_until_its_time_is_over_and_says_when() {
    let mut bench = opened();
    let rejected = bench.admit().unwrap_err();
    assert_eq!((rejected.state, rejected.retry_after), (State::Open, Some(Duration::from_secs(30))));
    bench.advance(Duration::from_millis(29_999));
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_millis(1)));
    assert_eq!(bench.state(), State::Open);
    bench.advance(Duration::from_millis(1));
    assert_eq!(bench.state(), State::HalfOpen);
    let admitted = bench.admit().unwrap();
    assert!(admitted.admission.is_probe());
    assert_eq!(admitted.transition.unwrap().cause, Cause::OpenElapsed);
}

#[test]
fn a_lease_is_as_long_as_a_probe_is_out_and_not_as_the_round() {
    let mut bench = Bench::new(BreakerPolicy { half_open_max_in_flight: 1, ..consecutive() });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(30));
    bench.call(Outcome::Success);
    bench.advance(Duration::from_secs(40));
    let probe = bench.admit().unwrap();
    assert_eq!(
        bench.admit().unwrap_err().retry_after,
        Some(Duration::from_secs(30)),
        "the probe has just left, though the round is older than its lease"
    );
    let transition = bench.record(probe.admission, Outcome::Success).transition;
    assert_eq!(transition.unwrap().to, State::Closed);
}

/// Seen in <https://github.com/nodeshift/opossum/issues/385>,
/// <https://github.com/resilience4j/resilience4j/issues/975>.
#[test]
fn t12_t24_a_policy_change_while_open_keeps_the_state_and_can_only_shorten_the_wait() {
    let mut bench = opened();
    bench.policy.open_duration = Duration::from_secs(60);
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(30)));
    bench.advance(Duration::from_secs(5));
    bench.policy.open_duration = Duration::from_secs(10);
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_secs(5)));
}

/// A tenth of whole milliseconds is whole milliseconds, though in floating point 30,000 x 1.1 is more than 33,000: rounding
/// up must not make one more of them, neither where it opens nor where a policy shortens the wait.
#[test]
fn no_millisecond_is_added_by_the_arithmetic() {
    let policy = BreakerPolicy { open_jitter_ratio: 0.1, ..consecutive() };
    let bench = Bench::new(BreakerPolicy { open_duration: Duration::from_secs(60), ..policy });
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.breaker.reconfigure(&policy);
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_millis(33_000)));
    let breaker = Breaker::new(&policy);
    breaker.trip(&policy, None, bench.now, || u64::MAX);
    breaker.reconfigure(&policy);
    let wait = breaker.admit(&policy, bench.now, || 0).unwrap_err().retry_after;
    assert_eq!(wait, Some(Duration::from_millis(33_000)), "the same policy takes nothing off");
}
