use super::*;
use crate::breaker::{Admission, Transition};
use crate::isolation::Unobserved;
use crate::level::Level;
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy, BulkheadPolicy, FleetHintPolicy, PolicySpec, PoolPolicy};
use crate::time::Clocks;
use std::sync::Arc;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const TTL: Duration = Duration::from_secs(30);

/// A service with a breaker of its own, and one of a pool.
fn policy(mode: FleetHintMode) -> Policy {
    policy_with(mode, |_| {})
}

fn policy_with(mode: FleetHintMode, change: impl FnOnce(&mut PolicySpec)) -> Policy {
    let pool = PoolPolicy { name: "reads".to_owned(), isolate_breaker: true, ..PoolPolicy::default() };
    let mut spec = PolicySpec {
        level: Level::Full,
        breaker: BreakerPolicy { failure_rate: 0.0, ..BreakerPolicy::default() },
        bulkhead: BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() },
        fleet_hint: FleetHintPolicy { mode, ..FleetHintPolicy::default() },
        ..PolicySpec::default()
    };
    change(&mut spec);
    Policy::new(spec).unwrap()
}

fn isolation(policy: Policy) -> Isolation {
    Isolation::new(policy, None, Clocks::default(), Arc::new(Unobserved))
}

fn apply(isolation: &Isolation, policy: Policy) {
    isolation.apply(policy, None, true, Clocks::default());
}

fn hint(now: Timestamp) -> FleetHint {
    FleetHint::new(2, 4, TTL, now).unwrap()
}

fn after(duration: Duration) -> Timestamp {
    NOW.saturating_add(duration)
}

/// How many failures open the breaker that a call meets which names a pool, or none.
fn failures_to_open(isolation: &Isolation, pool: Option<&str>, now: Timestamp) -> (usize, bool) {
    let current = isolation.in_force();
    let own = &current.scope("Get").lane(pool, "Get").breaker;
    let policy = &current.policy.breaker;
    let fail = |admission: Admission<'_>| admission.record(policy, Outcome::Failure, Duration::ZERO, now, || 0);
    let made = |_| -> Option<Transition> { fail(own.breaker.admit(policy, now, || 0).unwrap().admission).transition };
    let (before, made) = (0..20).map(made).enumerate().find_map(|(n, made)| Some((n, made?))).unwrap();
    (before + 1, made.is_hinted)
}

#[test]
fn a_hint_that_is_enforced_halves_what_the_services_own_breaker_waits_for() {
    let isolation = isolation(policy(FleetHintMode::Enforce));
    assert_eq!(isolation.fleet_hint(NOW), None);
    assert!(isolation.hint(hint(NOW), NOW));
    assert_eq!(isolation.fleet_hint(NOW), Some(hint(NOW)));
    assert_eq!(failures_to_open(&isolation, Some("reads"), NOW), (5, false), "a pool's own breaker");
    assert_eq!(failures_to_open(&isolation, None, NOW), (3, true));
}

#[test]
fn an_advisory_one_is_shown_and_changes_nothing() {
    let isolation = isolation(policy(FleetHintMode::Advisory));
    assert!(isolation.hint(hint(NOW), NOW));
    assert_eq!(isolation.fleet_hint(NOW), Some(hint(NOW)));
    assert_eq!(failures_to_open(&isolation, None, NOW), (5, false));
}

#[test]
fn where_the_policy_has_no_use_for_hints_there_is_none() {
    let below = policy_with(FleetHintMode::Enforce, |spec| spec.level = Level::Basic);
    for policy in [policy(FleetHintMode::Off), below] {
        let isolation = isolation(policy);
        assert!(!isolation.hint(hint(NOW), NOW));
        assert_eq!(isolation.fleet_hint(NOW), None);
        assert_eq!(failures_to_open(&isolation, None, NOW), (5, false));
    }
}

#[test]
fn a_hint_is_over_at_its_time_and_begins_anew_after_it() {
    let isolation = isolation(policy(FleetHintMode::Enforce));
    isolation.hint(hint(NOW), NOW);
    let last = after(TTL - Duration::from_nanos(1));
    assert!(isolation.fleet_hint(last).is_some());
    assert_eq!(isolation.fleet_hint(after(TTL)), None);
    assert_eq!(failures_to_open(&isolation, None, after(TTL)), (5, false));
    assert!(isolation.hint(hint(after(TTL)), after(TTL)), "that is another hint");
    assert_eq!(isolation.fleet_hint(after(TTL)).unwrap().since(), after(TTL));
}

#[test]
fn a_renewal_goes_on_and_is_no_beginning() {
    let isolation = isolation(policy(FleetHintMode::Enforce));
    isolation.hint(hint(NOW), NOW);
    let later = after(TTL / 2);
    assert!(!isolation.hint(FleetHint::new(3, 4, TTL, later).unwrap(), later));
    let hint = isolation.fleet_hint(after(TTL)).unwrap();
    assert_eq!((hint.open_instances(), hint.since(), hint.until()), (3, NOW, later.saturating_add(TTL)));
    assert_eq!(failures_to_open(&isolation, None, after(TTL)), (3, true));
}

#[test]
fn a_change_of_policy_changes_what_a_hint_does() {
    let isolation = isolation(policy(FleetHintMode::Advisory));
    isolation.hint(hint(NOW), NOW);
    apply(&isolation, policy(FleetHintMode::Enforce));
    assert_eq!(isolation.fleet_hint(NOW), Some(hint(NOW)));
    assert_eq!(failures_to_open(&isolation, None, NOW), (3, true));
}

#[test]
fn a_policy_that_is_off_ends_a_hint_for_good() {
    let isolation = isolation(policy(FleetHintMode::Enforce));
    isolation.hint(hint(NOW), NOW);
    apply(&isolation, policy(FleetHintMode::Off));
    assert_eq!(isolation.fleet_hint(NOW), None);
    apply(&isolation, policy(FleetHintMode::Enforce));
    assert_eq!(isolation.fleet_hint(NOW), None, "it does not come back");
    assert_eq!(failures_to_open(&isolation, None, NOW), (5, false));
}

#[test]
fn an_instance_tells_what_it_has_learned_whatever_stands_over_it() {
    let isolation = isolation(policy(FleetHintMode::Enforce));
    assert_eq!(isolation.learned_state(NOW), Some(State::Closed));
    let forced = policy_with(FleetHintMode::Enforce, |spec| spec.breaker.mode = BreakerMode::ForcedOpen);
    apply(&isolation, forced);
    assert_eq!(isolation.breaker_state(NOW), Some(State::Open));
    assert_eq!(isolation.learned_state(NOW), Some(State::Closed), "an operator's word says nothing of the service");
    let watched = policy_with(FleetHintMode::Enforce, |spec| spec.breaker.mode = BreakerMode::MetricsOnly);
    apply(&isolation, watched);
    failures_to_open(&isolation, None, NOW);
    assert_eq!(isolation.breaker_state(NOW), Some(State::Closed));
    assert_eq!(isolation.learned_state(NOW), Some(State::Open));
    apply(&isolation, policy_with(FleetHintMode::Enforce, |spec| spec.level = Level::Basic));
    assert_eq!(isolation.learned_state(NOW), None);
}
