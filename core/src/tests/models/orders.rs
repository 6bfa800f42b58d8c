//! Orders over a breaker: one runs out while another is put up.

use super::{Part, check, race, shared};
use crate::breaker::{Breaker, OpenedBy, State};
use crate::hold::{Forced, Hold, HoldSpec, Target};
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn hold(until: Timestamp) -> Arc<Hold> {
    let text = || "test".to_owned();
    let (forced, since) = (Forced::Open, Timestamp::ZERO);
    let spec = HoldSpec { target: Target::All, forced, since, until: Some(until), owner: text(), reason: text() };
    Arc::new(Hold::new(spec).unwrap())
}

/// A caller finds that the hold is over and takes it down, while an operator puts up the next one.
#[test]
fn a_hold_that_runs_out_takes_no_newer_one_with_it() {
    check(|| {
        let policy: &BreakerPolicy = shared(BreakerPolicy::default());
        let breaker = shared(Breaker::new(policy));
        breaker.set_holds(vec![hold(at(1))]);
        let parts: [Part<()>; 3] = [
            Box::new(move || drop(breaker.admit(policy, at(2), || 0))),
            Box::new(move || breaker.set_holds(vec![hold(at(9))])),
            Box::new(move || drop(breaker.admit(policy, at(2), || 0))),
        ];
        race(parts);
        let rejected = breaker.admit(policy, at(2), || 0).unwrap_err();
        assert!(matches!(rejected.by, OpenedBy::Hold(_)));
        assert!(breaker.admit(policy, at(9), || 0).is_ok(), "and it runs out as well");
    });
}

/// A mode and a hold come at once, and neither is lost.
#[test]
fn orders_that_come_at_once_are_all_kept() {
    check(|| {
        let policy: &BreakerPolicy = shared(BreakerPolicy::default());
        let breaker = shared(Breaker::new(policy));
        let parts: [Part<()>; 2] = [
            Box::new(move || breaker.set_holds(vec![hold(at(9))])),
            Box::new(move || breaker.set_mode(BreakerMode::ForcedOpen, None)),
        ];
        race(parts);
        let by = |now| breaker.admit(policy, now, || 0).unwrap_err().by;
        assert!(matches!((by(at(1)), by(at(9))), (OpenedBy::Hold(_), OpenedBy::Policy)));
    });
}

/// An order is given and taken back while the breaker changes its state: the transition is made, or the order was there
/// before it, and the state is whole in either case.
#[test]
fn an_order_and_a_transition_at_once_are_both_whole() {
    check(|| {
        let policy: &BreakerPolicy =
            shared(BreakerPolicy { consecutive_failures: 1, open_jitter_ratio: 0.0, ..BreakerPolicy::default() });
        let breaker = shared(Breaker::new(policy));
        let parts: [Part<bool>; 2] = [
            Box::new(move || {
                let admission = breaker.admit(policy, at(1), || 0).unwrap().admission;
                admission.record(policy, Outcome::Failure, Duration::ZERO, at(1), || 0).transition.is_some()
            }),
            Box::new(move || {
                breaker.set_mode(BreakerMode::Disabled, None);
                assert_eq!(breaker.state(at(1)), State::Closed);
                breaker.set_mode(BreakerMode::Auto, None);
                false
            }),
        ];
        let has_opened = race(parts)[0];
        assert_eq!(breaker.state(at(1)), if has_opened { State::Open } else { State::Closed });
        assert_eq!(breaker.window_counts(at(1)), if has_opened { (0, 0) } else { (0, 1) });
    });
}
