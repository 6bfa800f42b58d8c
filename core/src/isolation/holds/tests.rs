use super::*;
use crate::breaker::{Cause, State};
use crate::hold::HoldSpec;
use crate::isolation::Observer;
use crate::level::Level;
use crate::policy::{BreakerMode, BulkheadPolicy, MethodOverride, Policy, PolicySpec, PoolPolicy};
use crate::time::{Clocks, WallTime};
use std::sync::Mutex;

const SECOND: Duration = Duration::from_secs(1);
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

#[derive(Default)]
struct Told(Mutex<Vec<(Part, State, Cause)>>);

impl Observer for Told {
    fn transition(&self, part: &Part, made: &crate::breaker::Transition) {
        self.0.lock().unwrap().push((part.clone(), made.to, made.cause));
    }
}

fn reads() -> Part {
    Part::Pool("reads".into())
}

fn gets() -> Part {
    Part::Methods("Get*".into())
}

/// A service with a breaker of its own, one of a pool and one of an override.
fn spec() -> PolicySpec {
    let pool = PoolPolicy { name: "reads".to_owned(), isolate_breaker: true, ..PoolPolicy::default() };
    let own = MethodOverride { glob: "Get*".to_owned(), breaker: Some(BreakerPolicy::default()), ..Default::default() };
    PolicySpec {
        level: Level::Full,
        bulkhead: BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() },
        method_overrides: vec![own],
        ..PolicySpec::default()
    }
}

fn isolation() -> (Isolation, Arc<Told>) {
    let told = Arc::new(Told::default());
    let policy = Policy::new(spec()).unwrap();
    (Isolation::new(policy, None, Clocks::default(), Arc::<Told>::clone(&told)), told)
}

fn held(target: Target, forced: Forced, until: impl Into<Option<Timestamp>>) -> HoldSpec {
    let (owner, reason) = ("alice".to_owned(), "the disk is being changed".to_owned());
    HoldSpec { target, forced, since: NOW, until: until.into(), owner, reason }
}

fn open_ones(isolation: &Isolation, now: Timestamp) -> Vec<Part> {
    let states = isolation.breaker_states(now).into_iter();
    states.filter(|(_, state)| *state == State::Open).map(|(part, _)| part).collect()
}

#[test]
fn a_hold_is_for_what_it_names() {
    let (isolation, _) = isolation();
    for part in [reads(), gets()] {
        isolation.hold(held(Target::Part(part.clone()), Forced::Open, None), NOW);
        assert_eq!(open_ones(&isolation, NOW), std::slice::from_ref(&part));
        let [hold] = &isolation.holds(NOW)[..] else { panic!("one") };
        assert_eq!((hold.owner(), hold.target()), ("alice", &Target::Part(part.clone())));
        isolation.release(&Target::Part(part), NOW);
        assert!(open_ones(&isolation, NOW).is_empty());
    }
    isolation.hold(held(Target::All, Forced::Open, None), NOW);
    assert_eq!(open_ones(&isolation, NOW), [Part::Service, reads(), gets()]);
    assert_eq!(isolation.health(NOW), crate::health::HealthStatus::CircuitOpen);
}

#[test]
fn a_narrow_hold_counts_before_a_wide_one() {
    let (isolation, _) = isolation();
    isolation.hold(held(Target::Part(reads()), Forced::Disabled, NOW.saturating_add(SECOND)), NOW);
    isolation.hold(held(Target::All, Forced::Open, None), NOW);
    assert_eq!(open_ones(&isolation, NOW), [Part::Service, gets()]);
    let later = NOW.saturating_add(SECOND);
    assert_eq!(open_ones(&isolation, later), [Part::Service, reads(), gets()], "it has run out");
    assert_eq!(isolation.holds(later).len(), 1);
}

#[test]
fn holds_are_seen_with_their_age_and_replaced_by_target() {
    let (isolation, _) = isolation();
    isolation.hold(held(Target::All, Forced::Open, None), NOW);
    isolation.hold(held(Target::All, Forced::Disabled, None), NOW);
    let [hold] = &isolation.holds(NOW)[..] else { panic!("one for a target") };
    assert_eq!((hold.forced(), hold.age(NOW.saturating_add(3 * SECOND))), (Forced::Disabled, 3 * SECOND));
    assert!(open_ones(&isolation, NOW).is_empty());
}

#[test]
fn a_hold_stays_when_the_policy_changes_and_meets_breakers_that_come_later() {
    let (isolation, _) = isolation();
    isolation.hold(held(Target::Part(reads()), Forced::Open, None), NOW);
    let bare = Policy::new(PolicySpec { level: Level::Full, ..PolicySpec::default() }).unwrap();
    isolation.apply(bare, None, true, Clocks::default());
    assert!(open_ones(&isolation, NOW).is_empty(), "there is no such pool");
    isolation.apply(Policy::new(spec()).unwrap(), None, true, Clocks::default());
    assert_eq!(open_ones(&isolation, NOW), [reads()]);
}

/// An operator who forces a breaker closed says that the service works.
#[test]
fn forced_closed_forgets_what_was_learned_and_disabled_does_not() {
    for (forced, after) in [(Forced::Closed, State::Closed), (Forced::Disabled, State::Open)] {
        let (isolation, told) = isolation();
        assert_eq!(isolation.trip(&Target::All, Some(60 * SECOND), NOW, || 0), 3);
        told.0.lock().unwrap().clear();
        isolation.hold(held(Target::All, forced, None), NOW);
        assert!(open_ones(&isolation, NOW).is_empty());
        isolation.hold(held(Target::All, forced, NOW.saturating_add(SECOND)), NOW);
        let expected = if forced == Forced::Closed { 3 } else { 0 };
        assert_eq!(told.0.lock().unwrap().len(), expected, "told once: a hold that is renewed closes nothing again");
        isolation.release(&Target::All, NOW);
        assert_eq!(isolation.breaker_state(NOW), Some(after));
    }
}

#[test]
fn by_hand_parts_are_tripped_and_reset_and_told() {
    let (isolation, told) = isolation();
    assert_eq!(isolation.trip(&Target::Part(reads()), None, NOW, || 0), 1);
    assert_eq!(open_ones(&isolation, NOW), [reads()]);
    assert_eq!(isolation.counters().breaker_opened, 1);
    assert_eq!(isolation.reset(&Target::All, NOW), 3);
    let expected = [(reads(), State::Open, Cause::Tripped), (reads(), State::Closed, Cause::Reset)];
    assert_eq!(*told.0.lock().unwrap(), expected);
    assert_eq!(isolation.trip(&Target::Part(Part::Pool("writes".into())), None, NOW, || 0), 0);
}

/// The open time of the service's own breaker was taken for that of all.
#[test]
fn breakers_that_are_tripped_are_open_as_long_as_their_own_policies_say() {
    let mut spec = spec();
    let longer = BreakerPolicy { open_duration: 90 * SECOND, max_open_duration: 90 * SECOND, ..Default::default() };
    spec.method_overrides[0].breaker = Some(longer);
    let policy = Policy::new(spec).unwrap();
    let isolation = Isolation::new(policy, None, Clocks::default(), Arc::new(Told::default()));
    assert_eq!(isolation.open_until(), None);
    isolation.trip(&Target::All, None, NOW, || 0);
    assert_eq!(isolation.open_until(), Some(NOW.saturating_add(90 * SECOND)));
    isolation.reset(&Target::Part(gets()), NOW);
    assert_eq!(isolation.open_until(), Some(NOW.saturating_add(30 * SECOND)));
}

#[test]
fn an_isolation_under_a_hold_is_not_at_rest() {
    let (isolation, _) = isolation();
    assert!(isolation.is_at_rest(NOW));
    isolation.hold(held(Target::Part(gets()), Forced::Closed, NOW.saturating_add(SECOND)), NOW);
    assert!(!isolation.is_at_rest(NOW));
    assert!(isolation.is_at_rest(NOW.saturating_add(SECOND)));
}

fn until(mode: BreakerMode, mode_until: WallTime) -> Policy {
    let mut spec = spec();
    spec.breaker = BreakerPolicy { mode, mode_until: Some(mode_until), ..BreakerPolicy::default() };
    Policy::new(spec).unwrap()
}

/// Wall-clock times are only labels: a clock that is set an hour forth or back changes no state.
/// <https://github.com/kubeflow/mcp-server/issues/222>
#[test]
fn t16_a_wall_clock_that_jumps_changes_no_mode_in_force() {
    let noon = 1_800_000_000;
    let wall = |seconds: i64| WallTime::new(noon + seconds, 0).unwrap();
    let (isolation, _) = isolation();
    isolation.apply(until(BreakerMode::ForcedOpen, wall(60)), None, true, Clocks { monotonic: NOW, wall: wall(0) });
    let at = |seconds: u64| NOW.saturating_add(Duration::from_secs(seconds));
    // Whatever the wall clock reads from here on, nobody asks it.
    for seconds in [0, 59] {
        assert_eq!(open_ones(&isolation, at(seconds)), [Part::Service, reads()], "the override has its own");
    }
    assert!(open_ones(&isolation, at(60)).is_empty());

    // Put in force anew, it is read against the clocks of then.
    isolation.apply(until(BreakerMode::ForcedOpen, wall(60)), None, true, Clocks { monotonic: at(60), wall: wall(30) });
    assert_eq!(open_ones(&isolation, at(89)).len(), 2);
    assert!(open_ones(&isolation, at(90)).is_empty());
    for (mode_until, is_open) in
        [(wall(0), false), (wall(-3_600), false), (WallTime::new(253_402_300_799, 0).unwrap(), true)]
    {
        let clocks = Clocks { monotonic: at(100), wall: wall(0) };
        isolation.apply(until(BreakerMode::ForcedOpen, mode_until), None, true, clocks);
        assert_eq!(!open_ones(&isolation, at(100)).is_empty(), is_open, "{mode_until:?}");
    }
}

#[test]
fn an_override_has_a_mode_of_its_own() {
    let wall = |seconds: i64| WallTime::new(seconds, 0).unwrap();
    let mut spec = spec();
    let own = BreakerPolicy { mode: BreakerMode::ForcedOpen, mode_until: Some(wall(10)), ..BreakerPolicy::default() };
    spec.method_overrides[0].breaker = Some(own);
    let (isolation, _) = isolation();
    isolation.apply(Policy::new(spec).unwrap(), None, true, Clocks { monotonic: NOW, wall: wall(0) });
    assert_eq!(open_ones(&isolation, NOW), [gets()]);
    assert!(open_ones(&isolation, NOW.saturating_add(10 * SECOND)).is_empty());
}
