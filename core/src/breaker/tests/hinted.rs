//! What a fleet hint changes, and what it does not.

use super::*;

/// A bench under a hint of so many seconds.
fn hinted(policy: BreakerPolicy, seconds: u64) -> Bench {
    let bench = Bench::new(policy);
    bench.breaker.set_hinted(Some(bench.now.saturating_add(Duration::from_secs(seconds))));
    bench
}

/// By its rate of failures alone, over ten calls.
fn by_rate() -> BreakerPolicy {
    BreakerPolicy { consecutive_failures: 0, failure_rate: 0.5, ..BreakerPolicy::default() }
}

#[test]
fn half_of_the_failures_in_a_row_open_and_not_one_less() {
    for (failures, half) in [(5, 3), (4, 2), (3, 2), (2, 1), (1, 1)] {
        let bench = hinted(BreakerPolicy { consecutive_failures: failures, ..consecutive() }, 30);
        assert_eq!(bench.calls(Outcome::Failure, half - 1), None, "{failures}");
        let made = bench.call(Outcome::Failure).unwrap();
        assert_eq!((made.to, made.cause), (State::Open, Cause::ConsecutiveFailures));
        assert_eq!(made.is_hinted, failures > 1, "one is one with or without a hint");
    }
}

#[test]
fn half_of_the_calls_are_enough_for_a_rate() {
    let bench = hinted(by_rate(), 30);
    bench.calls(Outcome::Success, 2);
    assert_eq!(bench.calls(Outcome::Failure, 2), None, "four calls are less than half of ten");
    let made = bench.call(Outcome::Failure).unwrap();
    assert_eq!((made.cause, made.is_hinted), (Cause::FailureRate, true));

    let bench = hinted(BreakerPolicy { failure_count: 3, failure_rate: 0.0, ..by_rate() }, 30);
    bench.calls(Outcome::Success, 9);
    assert_eq!(bench.calls(Outcome::Failure, 2), None, "the count itself is not halved");
    let made = bench.call(Outcome::Failure).unwrap();
    assert_eq!((made.cause, made.is_hinted), (Cause::FailureCount, false), "there are ten calls anyway");
}

#[test]
fn what_trips_without_the_hint_is_not_laid_to_it() {
    let bench = Bench::new(consecutive());
    bench.calls(Outcome::Failure, 4);
    bench.breaker.set_hinted(Some(bench.now.saturating_add(Duration::from_secs(30))));
    let made = bench.call(Outcome::Failure).unwrap();
    assert_eq!((made.cause, made.is_hinted), (Cause::ConsecutiveFailures, false));
}

#[test]
fn an_instance_without_a_failure_of_its_own_never_opens() {
    let mut bench = hinted(consecutive(), 30);
    for _ in 0..1_000 {
        assert_eq!(bench.call(Outcome::Success), None);
        assert_eq!(bench.call(Outcome::Neutral), None);
        bench.advance(Duration::from_millis(20));
    }
    // Nor does a hint open by itself where there were failures enough for it: the next one does.
    let bench = Bench::new(consecutive());
    bench.calls(Outcome::Failure, 4);
    bench.breaker.set_hinted(Some(bench.now.saturating_add(Duration::from_secs(30))));
    assert_eq!(bench.state(), State::Closed);
    assert_eq!(bench.call(Outcome::Success), None);
    assert_eq!(bench.calls(Outcome::Failure, 2), None);
    assert!(bench.call(Outcome::Failure).unwrap().is_hinted);
}

#[test]
fn a_trigger_that_is_off_stays_off() {
    let bench = hinted(BreakerPolicy { consecutive_failures: 0, ..consecutive() }, 30);
    assert_eq!(bench.calls(Outcome::Failure, 1_000), None);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn a_hint_is_over_at_its_time() {
    let just_before = Duration::from_secs(30) - Duration::from_nanos(1);
    for (after, opens) in [(just_before, true), (Duration::from_secs(30), false)] {
        let mut bench = hinted(consecutive(), 30);
        bench.calls(Outcome::Failure, 2);
        bench.advance(after);
        assert_eq!(bench.call(Outcome::Failure).is_some(), opens, "{after:?}");
    }
    let bench = hinted(consecutive(), 30);
    bench.breaker.set_hinted(None);
    assert_eq!(bench.calls(Outcome::Failure, 4), None, "or when it is taken back");
}

#[test]
fn slow_calls_wait_for_all_of_their_calls() {
    let slow = Duration::from_secs(1);
    let policy = BreakerPolicy { slow_call_duration: slow, slow_call_rate: 0.5, ..by_rate() };
    let bench = hinted(policy, 30);
    let call = || {
        let admission = bench.admit().unwrap().admission;
        admission.record(&bench.policy, Outcome::Success, slow, bench.now, || 0).transition
    };
    assert_eq!((0..9).filter_map(|_| call()).count(), 0);
    let made = call().unwrap();
    assert_eq!((made.cause, made.is_hinted), (Cause::SlowCallRate, false));
}

#[test]
fn recovery_is_as_without_a_hint() {
    let policy = BreakerPolicy { half_open_allowed_failures: 1, ..consecutive() };
    let run = |is_hinted: bool| {
        let mut bench = Bench::new(policy.clone());
        if is_hinted {
            bench.breaker.set_hinted(Some(bench.now.saturating_add(Duration::from_secs(3_600))));
        }
        let failures = if is_hinted { 3 } else { 5 };
        bench.calls(Outcome::Failure, failures).unwrap();
        let mut states = vec![bench.state()];
        bench.advance(Duration::from_secs(30));
        for outcome in [Outcome::Failure, Outcome::Success, Outcome::Success] {
            states.push(bench.state());
            let _ = bench.call(outcome);
        }
        states.push(bench.state());
        states
    };
    use State::{Closed, HalfOpen, Open};
    assert_eq!(run(true), [Open, HalfOpen, HalfOpen, HalfOpen, Closed]);
    assert_eq!(run(true), run(false));
}

#[test]
fn orders_stand_over_hints() {
    let bench = hinted(consecutive(), 30);
    bench.breaker.set_mode(BreakerMode::Disabled, None);
    assert_eq!(bench.calls(Outcome::Failure, 100), None);
    let bench = hinted(consecutive(), 30);
    bench.breaker.set_mode(BreakerMode::MetricsOnly, None);
    let made = bench.calls(Outcome::Failure, 3).unwrap();
    assert_eq!((made.is_enforced, made.is_hinted), (false, true));
}
