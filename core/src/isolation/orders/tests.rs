use super::*;
use crate::breaker::State;
use crate::hold::{Forced, Target};
use crate::isolation::{Part, Unobserved};
use crate::orders::{Aim, OrdersSpec, TemporaryLevel};
use crate::policy::{BreakerPolicy, BulkheadPolicy, Policy, PolicySpec, PoolPolicy};
use crate::time::WallTime;
use std::time::Duration;

const HERE: Option<&str> = Some("checkout-1");

/// What the clocks read so many seconds after they read ten days and a thousand.
fn clocks(seconds: u64) -> Clocks {
    Clocks { monotonic: Timestamp::from_millis((1_000 + seconds) * 1_000), wall: wall(seconds) }
}

fn wall(seconds: u64) -> WallTime {
    WallTime::after_1970(Duration::from_secs(864_000 + seconds))
}

fn now(seconds: u64) -> Timestamp {
    clocks(seconds).monotonic
}

fn policy() -> Policy {
    let pool = PoolPolicy { name: "reads".to_owned(), isolate_breaker: true, ..PoolPolicy::default() };
    Policy::new(PolicySpec {
        level: Level::Full,
        breaker: BreakerPolicy { open_jitter_ratio: 0.0, ..BreakerPolicy::default() },
        bulkhead: BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() },
        ..PolicySpec::default()
    })
    .unwrap()
}

fn isolation() -> Isolation {
    Isolation::new(policy(), None, clocks(0), Arc::new(Unobserved))
}

fn reads() -> Target {
    Target::Part(Part::Pool("reads".into()))
}

fn hold(breakers: Target, instance: Option<&str>, forced: Forced, until: Option<u64>) -> WrittenHold {
    let aim = Aim { breakers, instance_id: instance.map(str::to_owned) };
    let (owner, reason) = ("alice".to_owned(), "the disk is being changed".to_owned());
    WrittenHold { aim, forced, owner, reason, since: wall(0), until: until.map(wall) }
}

fn holds(holds: impl IntoIterator<Item = WrittenHold>) -> Orders {
    Orders::new(OrdersSpec { holds: holds.into_iter().collect(), ..OrdersSpec::default() }).unwrap()
}

fn commands(actions: &[(Aim, Action)]) -> Orders {
    let mut spec = OrdersSpec::default();
    for (aim, action) in actions {
        spec.command(aim.clone(), *action, "alice".to_owned(), "a drill".to_owned(), wall(0));
    }
    Orders::new(spec).unwrap()
}

fn trip_for_a_minute() -> Orders {
    commands(&[(Aim::ALL, Action::Trip(Some(Duration::from_secs(60))))])
}

fn level(level: Level, until: u64) -> Orders {
    let (until, actor, reason) = (wall(until), "alice".to_owned(), "a drill".to_owned());
    let level = Some(TemporaryLevel { level, until, actor, reason });
    Orders::new(OrdersSpec { level, ..OrdersSpec::default() }).unwrap()
}

fn states(isolation: &Isolation, seconds: u64) -> Vec<State> {
    isolation.breaker_states(now(seconds)).into_iter().map(|(_, state)| state).collect()
}

#[test]
fn a_hold_is_in_force_here_where_it_is_for_all_or_for_this_instance() {
    let isolation = isolation();
    let open = |instance| holds([hold(Target::All, instance, Forced::Open, None)]);
    isolation.obey(open(Some("checkout-2")), HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Closed, State::Closed]);
    assert_eq!(isolation.in_force().orders.holds.len(), 1, "it is known all the same");
    isolation.obey(open(Some("checkout-1")), HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Open, State::Open]);
    isolation.obey(Orders::default(), HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Closed, State::Closed], "it is released");
}

#[test]
fn what_is_for_the_instance_counts_before_what_is_for_all_and_gives_way_when_it_runs_out() {
    let isolation = isolation();
    let orders = holds([
        hold(Target::All, None, Forced::Open, None),
        hold(Target::All, HERE, Forced::Disabled, Some(10)),
        hold(reads(), None, Forced::Open, Some(5)),
    ]);
    isolation.obey(orders, HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Closed, State::Open], "that for a part counts before both");
    assert_eq!(states(&isolation, 5), [State::Closed, State::Closed]);
    assert_eq!(states(&isolation, 10), [State::Open, State::Open]);
}

/// A wall clock that is put back must not make a hold longer that was heard of before.
#[test]
fn an_order_that_is_heard_again_ends_when_it_would_have_ended() {
    let isolation = isolation();
    let first = hold(Target::All, None, Forced::Open, Some(10));
    isolation.obey(holds([first.clone()]), HERE, clocks(0));
    let put_back = Clocks { wall: wall(0), ..clocks(9) };
    isolation.obey(holds([first, hold(reads(), None, Forced::Closed, None)]), HERE, put_back);
    assert_eq!(states(&isolation, 9), [State::Open, State::Closed]);
    assert_eq!(states(&isolation, 10), [State::Closed, State::Closed]);
    let [first, _] = &isolation.holds(now(9))[..] else { panic!("both") };
    assert_eq!(first.age(now(9)), Duration::from_secs(9));
}

#[test]
fn what_has_run_out_before_it_is_heard_of_does_nothing() {
    let isolation = isolation();
    isolation.obey(holds([hold(Target::All, None, Forced::Closed, Some(10))]), HERE, clocks(10));
    assert!(isolation.holds(now(0)).is_empty());
    isolation.obey(level(Level::None, 10), HERE, clocks(10));
    assert_eq!(isolation.in_force().policy.level, Level::Full);
}

#[test]
fn a_hold_that_is_forced_closed_resets_once() {
    let isolation = isolation();
    isolation.trip(&Target::All, None, now(0), || 0);
    isolation.obey(holds([hold(reads(), None, Forced::Closed, None)]), HERE, clocks(0));
    isolation.trip(&reads(), None, now(0), || 0);
    let renewed = hold(reads(), None, Forced::Closed, Some(5));
    isolation.obey(holds([renewed]), HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Open, State::Closed]);
    isolation.obey(Orders::default(), HERE, clocks(0));
    assert_eq!(states(&isolation, 0), [State::Open, State::Open], "a hold that is renewed resets nothing again");
}

#[test]
fn holds_and_level_stay_when_the_policy_changes() {
    let isolation = isolation();
    let spec =
        OrdersSpec { holds: vec![hold(Target::All, None, Forced::Open, None)], ..level(Level::Enhanced, 10).to_spec() };
    isolation.obey(Orders::new(spec.clone()).unwrap(), HERE, clocks(0));
    isolation.apply(policy(), None, true, clocks(1));
    let in_force = isolation.in_force();
    assert_eq!((in_force.policy.level, in_force.lasting_level), (Level::Enhanced, Level::Full));
    assert_eq!((in_force.lasting_policy(), &**in_force.orders), (policy(), &spec));
    assert_eq!(states(&isolation, 1), [State::Open], "pools have no breakers at this level");
}

#[test]
fn a_temporary_level_is_over_at_its_time_and_nothing_learned_is_lost() {
    let isolation = isolation();
    isolation.trip(&Target::All, None, now(0), || 0);
    isolation.obey(level(Level::Basic, 10), HERE, clocks(0));
    assert_eq!(isolation.breaker_state(now(0)), None);
    assert_eq!(isolation.in_force().level_until, Some(now(10)));
    assert_eq!(isolation.settle(now(9)), None);
    assert_eq!(isolation.breaker_state(now(9)), None);
    assert_eq!(isolation.settle(now(10)), Some(Level::Full));
    assert_eq!(states(&isolation, 10), [State::Open, State::Open]);
    assert_eq!((isolation.in_force().level_until, isolation.settle(now(10))), (None, None));
    // A change of the policy goes back as well.
    isolation.obey(level(Level::None, 20), HERE, clocks(10));
    isolation.apply(policy(), None, true, clocks(20));
    assert_eq!(isolation.in_force().policy.level, Level::Full);
}

#[test]
fn a_temporary_level_is_replaced_and_taken_back() {
    let isolation = isolation();
    isolation.obey(level(Level::None, 10), HERE, clocks(0));
    isolation.obey(level(Level::Basic, 20), HERE, clocks(1));
    assert_eq!((isolation.settle(now(10)), isolation.in_force().policy.level), (None, Level::Basic));
    isolation.obey(Orders::default(), HERE, clocks(11));
    assert_eq!(isolation.in_force().policy.level, Level::Full);
}

#[test]
fn a_command_is_done_once_and_one_of_before_the_start_never() {
    let isolation = isolation();
    let here = Aim { instance_id: HERE.map(str::to_owned), ..Aim::ALL };
    let elsewhere = Aim { instance_id: Some("checkout-2".to_owned()), ..Aim::ALL };
    let part = Aim { breakers: reads(), instance_id: None };
    let mut given = vec![(Aim::ALL, Action::Trip(None))];
    let mut give = |more: &[(Aim, Action)]| {
        given.extend_from_slice(more);
        isolation.obey(commands(&given), HERE, clocks(0));
        isolation.perform(HERE, now(0), || 0).len()
    };
    assert_eq!(give(&[]), 0, "it has just started");
    assert_eq!(states(&isolation, 0), [State::Closed, State::Closed]);
    assert_eq!(give(&[(elsewhere, Action::Trip(None))]), 0);
    assert_eq!(give(&[(part.clone(), Action::Trip(None)), (here, Action::Reset), (part, Action::Trip(None))]), 3);
    assert_eq!(states(&isolation, 0), [State::Closed, State::Open], "in their order");
    assert_eq!(give(&[]), 0, "once");
    // What is forgotten is not done again when it is heard of anew.
    isolation.obey(Orders::default(), HERE, clocks(0));
    assert_eq!(isolation.perform(HERE, now(0), || 0), []);
    assert_eq!(give(&[]), 0);
}

#[test]
fn a_trip_by_command_recovers_by_probes() {
    let isolation = isolation();
    isolation.perform(HERE, now(0), || 0);
    isolation.obey(trip_for_a_minute(), HERE, clocks(0));
    assert_eq!(isolation.perform(HERE, now(0), || 0).len(), 1);
    assert_eq!(
        (isolation.breaker_state(now(59)), isolation.breaker_state(now(60))),
        (Some(State::Open), Some(State::HalfOpen))
    );
}

#[test]
fn the_hold_that_counts_is_the_first_of_those_that_are_told() {
    let target = [Target::All, reads()];
    let forced = [Forced::Open, Forced::Disabled, Forced::MetricsOnly, Forced::Closed];
    let aims = target.iter().flat_map(|target| [None, HERE].map(|instance| (target.clone(), instance)));
    let all: Vec<_> = aims.zip(forced).map(|((target, at), forced)| hold(target, at, forced, None)).collect();
    for mask in 0..16_u8 {
        let orders = holds(all.iter().enumerate().filter(|(n, _)| mask & (1 << n) != 0).map(|(_, hold)| hold.clone()));
        let isolation = isolation();
        isolation.obey(orders.clone(), HERE, clocks(0));
        for part in [Part::Service, Part::Pool("reads".into())] {
            let told = orders.holds_over(&part, HERE, wall(0)).first().map(|hold| hold.forced);
            assert_eq!(isolation.known().holds.of(&part).first().map(|hold| hold.forced()), told, "{mask:b} {part}");
        }
    }
    let elsewhere = holds([hold(Target::All, Some("checkout-2"), Forced::Open, None)]);
    assert!(elsewhere.holds_over(&Part::Service, HERE, wall(0)).is_empty());
    assert_eq!(elsewhere.holds_over(&Part::Service, None, wall(0)).len(), 1);
}

/// A command that was missed was marked as done under a temporary level without breakers, and was not done.
#[test]
fn a_command_under_a_level_without_breakers_is_done_and_felt_when_the_level_is_over() {
    let isolation = isolation();
    isolation.perform(HERE, now(0), || 0);
    let both = OrdersSpec { level: level(Level::None, 10).level.clone(), ..trip_for_a_minute().to_spec() };
    isolation.obey(Orders::new(both).unwrap(), HERE, clocks(0));
    assert_eq!(isolation.perform(HERE, now(0), || 0).len(), 1);
    assert_eq!((isolation.breaker_state(now(0)), isolation.counters().breaker_opened), (None, 0), "nobody feels it");
    assert_eq!(isolation.settle(now(10)), Some(Level::Full));
    assert_eq!(states(&isolation, 10), [State::Open, State::Open]);
    assert_eq!(states(&isolation, 60), [State::HalfOpen, State::HalfOpen]);
}

/// The orders of a first revision that was refused were forgotten, and all of its commands done with the next one.
#[test]
fn commands_that_came_with_a_refused_policy_are_of_before_the_start() {
    let isolation = isolation();
    // Nothing can be said of orders that are none.
    isolation.pass_over(&Orders::default());
    isolation.pass_over(&trip_for_a_minute());
    let mut more = trip_for_a_minute().to_spec();
    more.command(Aim::ALL, Action::Trip(None), "alice".to_owned(), "a drill".to_owned(), wall(0));
    isolation.pass_over(&Orders::new(more.clone()).unwrap());
    isolation.obey(Orders::new(more).unwrap(), HERE, clocks(0));
    let [done] = &isolation.perform(HERE, now(0), || 0)[..] else { panic!("the one that was given since") };
    assert_eq!(done.action, Action::Trip(None));
}
