//! What an operator does by hand.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn trip(bench: &Bench, open_for: impl Into<Option<Duration>>) -> Option<Transition> {
    bench.breaker.trip(&bench.policy, open_for.into(), bench.now, || 0)
}

fn left(bench: &Bench) -> Option<Duration> {
    bench.admit().unwrap_err().retry_after
}

#[test]
fn a_trip_opens_and_recovers_by_the_rules() {
    let mut bench = Bench::new(consecutive());
    let late = Bench::new(consecutive());
    let tripped = trip(&bench, 5 * SECOND).unwrap();
    let expected = Transition {
        from: State::Closed,
        to: State::Open,
        cause: Cause::Tripped,
        at: bench.now,
        is_enforced: true,
        is_hinted: false,
    };
    assert_eq!((tripped, left(&bench)), (expected, Some(5 * SECOND)));
    bench.advance(5 * SECOND);
    assert_eq!(bench.calls(Outcome::Success, 2).unwrap().cause, Cause::ProbesSucceeded);
    trip(&late, None).unwrap();
    assert_eq!(left(&late), Some(30 * SECOND), "the policy's");
}

/// Seen in <https://github.com/App-vNext/Polly/issues/217>.
#[test]
fn t09_a_call_admitted_before_a_trip_or_a_reset_changes_nothing() {
    let bench = Bench::new(BreakerPolicy { consecutive_failures: 1, ..consecutive() });
    let before = bench.admit().unwrap().admission;
    trip(&bench, SECOND);
    assert!(bench.record(before, Outcome::Success).is_stale);
    bench.breaker.reset(bench.now).unwrap();
    let before = bench.admit().unwrap().admission;
    assert_eq!(bench.breaker.reset(bench.now), None, "it was closed already");
    assert!(bench.record(before, Outcome::Failure).is_stale);
    assert_eq!((bench.state(), bench.breaker.window_counts(bench.now)), (State::Closed, (0, 0)));
}

/// <https://github.com/nodeshift/opossum/issues/385>, <https://github.com/nodeshift/opossum/issues/277>: the second
/// `open()` threw the recovery timer away.
#[test]
fn t12_a_second_trip_while_open_neither_shortens_nor_cancels_the_recovery() {
    let mut bench = opened();
    assert_eq!(trip(&bench, SECOND), None);
    assert_eq!(left(&bench), Some(30 * SECOND), "not shortened");
    bench.advance(10 * SECOND);
    assert_eq!(trip(&bench, None), None);
    assert_eq!(left(&bench), Some(30 * SECOND), "it begins again");
    assert_eq!(trip(&bench, 60 * SECOND), None);
    assert_eq!(left(&bench), Some(60 * SECOND));
    bench.advance(60 * SECOND);
    assert!(bench.admit().unwrap().admission.is_probe(), "and it ends");
    let tripped = trip(&bench, SECOND).unwrap();
    assert_eq!((tripped.from, tripped.to), (State::HalfOpen, State::Open));
    bench.advance(2 * SECOND);
    trip(&bench, 5 * SECOND);
    assert_eq!(left(&bench), Some(5 * SECOND), "one whose time is over, and that nobody has asked since");
}

/// A push that has nothing to do with the breaker once ended a trip of ten minutes after the policy's half of one.
#[test]
fn a_policy_does_not_cut_short_the_time_of_a_trip() {
    let mut bench = Bench::new(consecutive());
    let shorter = BreakerPolicy { open_duration: 10 * SECOND, ..bench.policy.clone() };
    trip(&bench, 600 * SECOND).unwrap();
    bench.breaker.reconfigure(&bench.policy);
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(600 * SECOND));
    bench.breaker.reset(bench.now);
    bench.calls(Outcome::Failure, 5).unwrap();
    trip(&bench, 20 * SECOND);
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(30 * SECOND), "until both times are over, the shorter one being an operator's");
    trip(&bench, 60 * SECOND);
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(60 * SECOND), "lengthened by hand");
    bench.advance(60 * SECOND);
    bench.call(Outcome::Failure).unwrap();
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(10 * SECOND), "opened by the rules again");
    bench.breaker.reset(bench.now);
    trip(&bench, None).unwrap();
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(10 * SECOND), "a trip for the policy's time");
}

/// A trip for the policy's time took the mark of an earlier one away, and a policy then what was left of it.
#[test]
fn a_policy_does_not_cut_short_the_time_of_a_trip_after_another_trip() {
    let bench = Bench::new(consecutive());
    let shorter = BreakerPolicy { open_duration: 10 * SECOND, ..consecutive() };
    trip(&bench, 20 * SECOND).unwrap();
    assert_eq!(trip(&bench, None), None);
    bench.breaker.reconfigure(&shorter);
    assert_eq!(left(&bench), Some(30 * SECOND));
}

/// A push that changed nothing once ended what a trip without a time had added to a breaker that was open already.
#[test]
fn a_policy_does_not_cut_short_a_trip_of_an_open_breaker() {
    let mut bench = opened();
    bench.advance(40 * SECOND);
    assert_eq!(trip(&bench, None), None);
    bench.breaker.reconfigure(&bench.policy);
    assert_eq!(left(&bench), Some(30 * SECOND), "by the same policy");
    bench.breaker.reconfigure(&BreakerPolicy { open_duration: 10 * SECOND, ..bench.policy.clone() });
    assert_eq!(left(&bench), Some(30 * SECOND), "by one with a shorter time");
}

/// The count of reopenings once ended at 63, at which a factor of 1.01 has not made five minutes of a second.
#[test]
fn an_open_time_that_grows_slowly_reaches_its_bound() {
    let policy = BreakerPolicy { open_duration: SECOND, open_backoff_multiplier: 1.01, ..consecutive() };
    let mut bench = Bench::new(policy);
    bench.calls(Outcome::Failure, 5).unwrap();
    for _ in 0..600 {
        bench.advance(left(&bench).unwrap());
        bench.call(Outcome::Failure).unwrap();
    }
    assert_eq!(left(&bench), Some(300 * SECOND));
}

#[test]
fn a_trip_of_any_length_ends() {
    let mut bench = Bench::new(consecutive());
    trip(&bench, Duration::MAX).unwrap();
    assert!(left(&bench).unwrap() > Duration::from_secs(24 * 24 * 3600));
    trip(&bench, Duration::MAX);
    bench.advance(left(&bench).unwrap());
    assert!(bench.admit().unwrap().admission.is_probe());
    trip(&bench, Duration::ZERO).unwrap();
    assert!(bench.admit().unwrap().admission.is_probe());
}

/// What opened it is longer ago than the word has room for.
#[test]
fn a_trip_opens_a_breaker_that_nobody_has_called_for_a_month() {
    let mut bench = Bench::new(consecutive());
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(Duration::from_secs(31 * 24 * 3600));
    assert_eq!(bench.state(), State::HalfOpen);
    assert_eq!(trip(&bench, 5 * SECOND), None, "it has not closed in between");
    assert_eq!((bench.state(), left(&bench)), (State::Open, Some(5 * SECOND)));
    trip(&bench, None);
    assert_eq!(left(&bench), Some(30 * SECOND));
    bench.advance(30 * SECOND);
    assert_eq!(bench.calls(Outcome::Success, 2).unwrap().cause, Cause::ProbesSucceeded);
}

#[test]
fn a_trip_keeps_the_growth_of_the_open_time_and_a_reset_forgets_it() {
    let policy = BreakerPolicy { open_backoff_multiplier: 2.0, ..consecutive() };
    let mut bench = Bench::new(policy);
    bench.calls(Outcome::Failure, 5).unwrap();
    bench.advance(30 * SECOND);
    bench.call(Outcome::Failure).unwrap();
    assert_eq!(left(&bench), Some(60 * SECOND));
    bench.advance(60 * SECOND);
    drop(bench.admit().unwrap());
    trip(&bench, None).unwrap();
    assert_eq!(left(&bench), Some(60 * SECOND));
    let reset = bench.breaker.reset(bench.now).unwrap();
    assert_eq!((reset.from, reset.to, reset.cause), (State::Open, State::Closed, Cause::Reset));
    bench.calls(Outcome::Failure, 5).unwrap();
    assert_eq!(left(&bench), Some(30 * SECOND));
}

#[test]
fn a_reset_ramps_up_a_breaker_that_was_open_and_no_other() {
    let mut bench = Bench::new(BreakerPolicy { ramp_duration: 10 * SECOND, ..consecutive() });
    // Early on the clock, whose origin is no close.
    bench.now = Timestamp::from_millis(1);
    bench.breaker.reset(bench.now);
    let ramps = |bench: &Bench| bench.breaker.ramp(&bench.policy, bench.now, || u64::MAX).is_err();
    assert!(!ramps(&bench));
    trip(&bench, SECOND);
    bench.breaker.reset(bench.now);
    assert!(ramps(&bench));
    bench.advance(9 * SECOND);
    bench.breaker.reset(bench.now);
    assert!(ramps(&bench));
    bench.advance(SECOND);
    assert!(!ramps(&bench), "a reset of a closed one does not begin it again");
}

#[test]
fn by_hand_what_was_learned_changes_under_an_order_too() {
    let bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::Disabled, None);
    assert!(!trip(&bench, 5 * SECOND).unwrap().is_enforced);
    assert!(bench.admit().is_ok());
    bench.breaker.set_mode(BreakerMode::Auto, None);
    assert_eq!(left(&bench), Some(5 * SECOND));
}
