//! What stands over the rules: the policy's mode, and holds.

use super::*;
use crate::hold::{Forced, Hold, HoldSpec, Target};
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);

fn hold(forced: Forced, until: Option<Timestamp>) -> Arc<Hold> {
    let spec = HoldSpec {
        target: Target::All,
        forced,
        since: Timestamp::ZERO,
        until,
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
    };
    Arc::new(Hold::new(spec).unwrap())
}

/// A breaker whose rules say closed, open, and half-open with a probe out.
fn in_each_state() -> [Bench; 3] {
    [Bench::new(consecutive()), opened(), half_open()]
}

#[test]
fn modes_stand_above_what_was_learned() {
    for bench in in_each_state() {
        let learned = bench.state();
        bench.breaker.set_mode(BreakerMode::Disabled, None);
        assert_eq!(bench.calls(Outcome::Failure, 10), None);
        assert_eq!(bench.state(), State::Closed);
        bench.breaker.set_mode(BreakerMode::ForcedOpen, None);
        let rejected = bench.admit().unwrap_err();
        assert_eq!((rejected.state, rejected.retry_after, rejected.by), (State::Open, None, OpenedBy::Policy));
        assert_eq!(bench.state(), State::Open);
        bench.breaker.set_mode(BreakerMode::Auto, None);
        assert_eq!(bench.state(), learned);
    }
}

#[test]
fn a_disabled_breaker_counts_and_does_not_trip_until_it_is_enabled() {
    let bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::Disabled, None);
    assert_eq!(bench.calls(Outcome::Failure, 100), None);
    assert_eq!(bench.breaker.window_counts(bench.now), (0, 100));
    bench.breaker.set_mode(BreakerMode::Auto, None);
    assert_eq!(bench.state(), State::Closed, "only a failure opens");
    assert_eq!(bench.call(Outcome::Failure).unwrap().cause, Cause::ConsecutiveFailures);

    let bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::Disabled, None);
    bench.calls(Outcome::Failure, 100);
    bench.call(Outcome::Success);
    bench.breaker.set_mode(BreakerMode::Auto, None);
    assert_eq!(bench.calls(Outcome::Failure, 4), None, "the success counted, too");
}

#[test]
fn slow_calls_do_not_trip_a_disabled_breaker() {
    let policy = BreakerPolicy { slow_call_duration: SECOND, minimum_calls: 1, ..consecutive() };
    let bench = Bench::new(policy.clone());
    bench.breaker.set_mode(BreakerMode::Disabled, None);
    let slow = |outcome| {
        let admission = bench.admit().unwrap().admission;
        admission.record(&policy, outcome, SECOND, bench.now, || 0).transition
    };
    assert_eq!([slow(Outcome::Success), slow(Outcome::Failure)], [None, None]);
    bench.breaker.set_mode(BreakerMode::Auto, None);
    assert_eq!(slow(Outcome::Success).unwrap().cause, Cause::SlowCallRate);
}

#[test]
fn a_mode_is_over_at_its_end_and_not_before() {
    let mut bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::ForcedOpen, Some(bench.now.saturating_add(10 * SECOND)));
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(10 * SECOND));
    bench.advance(10 * SECOND - Duration::from_nanos(1));
    assert_eq!(bench.admit().unwrap_err().retry_after, Some(Duration::from_nanos(1)));
    assert_eq!(bench.breaker.would_reject(bench.now).unwrap().by, OpenedBy::Policy);
    bench.advance(Duration::from_nanos(1));
    assert_eq!((bench.state(), bench.breaker.would_reject(bench.now)), (State::Closed, None));
    assert!(bench.admit().is_ok());
    assert!(!bench.breaker.load().is_ordered(), "a call without orders pays for none");

    // What is over when it is set.
    bench.breaker.set_mode(BreakerMode::ForcedOpen, Some(bench.now));
    assert!(bench.admit().is_ok());
}

#[test]
fn a_hold_counts_before_the_policys_mode_and_the_first_before_the_second() {
    let mut bench = Bench::new(consecutive());
    let at = |seconds: u64| Some(bench.now.saturating_add(Duration::from_secs(seconds)));
    let (first, second) = (hold(Forced::Open, at(10)), hold(Forced::Disabled, at(20)));
    bench.breaker.set_mode(BreakerMode::ForcedOpen, at(30));
    bench.breaker.set_holds(vec![Arc::clone(&first), second]);
    let rejected = bench.admit().unwrap_err();
    assert_eq!((rejected.retry_after, rejected.by), (Some(10 * SECOND), OpenedBy::Hold(first)));
    bench.advance(10 * SECOND);
    assert!(bench.admit().is_ok(), "the second hold is left");
    bench.advance(10 * SECOND);
    let rejected = bench.admit().unwrap_err();
    assert_eq!((rejected.retry_after, rejected.by), (Some(10 * SECOND), OpenedBy::Policy));
    bench.advance(10 * SECOND);
    assert!(bench.admit().is_ok());
    bench.breaker.set_holds(vec![hold(Forced::Open, None)]);
    assert!(bench.admit().is_err(), "orders that ran out do not come in the way of new ones");
}

#[test]
fn what_a_call_tells_under_an_order_moves_nothing() {
    for mode in [BreakerMode::ForcedOpen, BreakerMode::Disabled] {
        // A failure that would have opened.
        let bench = Bench::new(consecutive());
        bench.calls(Outcome::Failure, 4);
        let late = bench.admit().unwrap().admission;
        bench.breaker.set_mode(mode, None);
        assert_eq!(bench.record(late, Outcome::Failure), Recorded::default());
        assert_eq!(bench.breaker.window_counts(bench.now), (0, 5), "it is counted all the same");

        // Probes that would have closed or opened.
        let bench = half_open();
        let probes = [bench.admit().unwrap().admission, bench.admit().unwrap().admission];
        bench.breaker.set_mode(mode, None);
        let told = probes.map(|probe| bench.record(probe, Outcome::Failure));
        assert_eq!(told, [Recorded::default(), Recorded::default()]);
        bench.breaker.set_mode(BreakerMode::Auto, None);
        assert_eq!(bench.state(), State::HalfOpen);
        assert!(bench.admit().unwrap().admission.is_probe(), "their slots are free again");
    }
}

#[test]
fn under_a_hold_that_watches_the_rules_go_on() {
    let bench = Bench::new(consecutive());
    bench.breaker.set_holds(vec![hold(Forced::MetricsOnly, None)]);
    let opened = bench.calls(Outcome::Failure, 5).unwrap();
    assert_eq!((opened.to, opened.is_enforced), (State::Open, false));
    assert_eq!((bench.state(), bench.breaker.learned_state(bench.now)), (State::Closed, State::Open));
    bench.breaker.set_holds(Vec::new());
    assert_eq!(bench.state(), State::Open);
}

/// <https://github.com/kubeflow/mcp-server/issues/222>: the engine has one clock, and it never goes back; a caller that
/// was paused brings an older time than others have brought, and finds nothing that has ended come back.
#[test]
fn t16_a_time_that_goes_back_finds_an_order_gone() {
    let mut bench = Bench::new(consecutive());
    bench.breaker.set_mode(BreakerMode::ForcedOpen, Some(bench.now.saturating_add(SECOND)));
    let before = bench.now;
    bench.advance(SECOND);
    assert!(bench.admit().is_ok());
    bench.now = before;
    assert!(bench.admit().is_ok());
}

/// Orders that run out while others are put up: what is in force at the end is the last that was put up.
#[test]
fn an_order_is_never_lost_to_one_that_runs_out() {
    let bench = Bench::new(consecutive());
    let (breaker, now) = (&bench.breaker, bench.now);
    for round in 0..300_u32 {
        breaker.set_mode(BreakerMode::ForcedOpen, Some(now));
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    barrier.wait();
                    drop(breaker.admit(&bench.policy, now, || 0));
                });
            }
            scope.spawn(|| {
                barrier.wait();
                breaker.set_mode(BreakerMode::ForcedOpen, None);
            });
        });
        assert!(bench.admit().is_err(), "round {round}");
    }
}
