//! What operators order for a service, from the push to its end, with a manager and without.

use super::reports::calls;
use super::*;
use crate::levels;
use crate::policy_file::Kept;
use crate::runtime::{Tokio, clocks};
use cofferdam_core::breaker::State;
use cofferdam_core::hold::{Forced, Target};
use cofferdam_core::isolation::Part;
use cofferdam_core::orders::{Action, Aim, OrdersSpec, TemporaryLevel, WrittenHold};
use cofferdam_core::policy::{BulkheadPolicy, PoolPolicy};
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::WallTime;
use cofferdam_core::wire::fingerprint;

const SECOND: Duration = Duration::from_secs(1);

/// The time of day in so long.
fn wall(after: Duration) -> WallTime {
    let now = clocks().wall;
    let since_1970 = now.saturating_since(WallTime::after_1970(Duration::ZERO));
    WallTime::after_1970(since_1970 + after)
}

/// All breakers held open, at one instance or at all, for a time.
fn held_open(instance: Option<&str>, ttl: Option<Duration>) -> Orders {
    let aim = Aim { instance_id: instance.map(str::to_owned), ..Aim::ALL };
    let (owner, reason) = ("alice".to_owned(), "the disk is being changed".to_owned());
    let hold =
        WrittenHold { aim, forced: Forced::Open, owner, reason, since: wall(Duration::ZERO), until: ttl.map(wall) };
    Orders::new(OrdersSpec { holds: vec![hold], ..OrdersSpec::default() }).unwrap()
}

fn commands(actions: &[Action]) -> Orders {
    let mut spec = OrdersSpec::default();
    for action in actions {
        spec.command(Aim::ALL, *action, "alice".to_owned(), "a drill".to_owned(), WallTime::default());
    }
    Orders::new(spec).unwrap()
}

fn level_for(level: Level, ttl: Duration) -> Orders {
    let level = TemporaryLevel { level, until: wall(ttl), actor: "alice".to_owned(), reason: String::new() };
    Orders::new(OrdersSpec { level: Some(level), ..OrdersSpec::default() }).unwrap()
}

fn full() -> Policy {
    let pool = PoolPolicy { name: "reads".to_owned(), isolate_breaker: true, ..PoolPolicy::default() };
    let bulkhead = BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() };
    Policy::new(PolicySpec { level: Level::Full, bulkhead, ..PolicySpec::default() }).unwrap()
}

fn acknowledged(revision: Revision, orders: &Orders) -> ToManager {
    ToManager::Applied(Applied { service: "a".into(), revision, hash: fingerprint(&full(), orders) })
}

fn state(scene: &Scene) -> Option<State> {
    scene.service("a").isolation.breaker_state(Tokio.now())
}

fn level(scene: &Scene) -> Level {
    scene.service("a").isolation.in_force().policy.level
}

/// An instance with a policy in force and orders beside it.
async fn ordered(orders: &Orders) -> (Scene, Stream) {
    let mut scene = Scene::new(&["a"]);
    tokio::spawn(levels::run(Arc::clone(&scene.shared), scene.stop.clone()));
    let (mut stream, _) = scene.accept().await;
    stream.order("a", at(1, 1), Ok(full()), orders.clone());
    assert_eq!(stream.answer().await, acknowledged(at(1, 1), orders));
    (scene, stream)
}

/// The next orders, acknowledged.
async fn order(stream: &mut Stream, revision: Revision, orders: &Orders) {
    stream.order("a", revision, Ok(full()), orders.clone());
    assert_eq!(stream.answer().await, acknowledged(revision, orders));
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_acknowledged_rejects_calls_is_reported_and_released() {
    let (scene, mut stream) = ordered(&Orders::default()).await;
    order(&mut stream, at(1, 2), &held_open(None, None)).await;
    assert_eq!(state(&scene), Some(State::Open));
    calls(&scene, "a", 3, Ok(())).await;
    assert_eq!(scene.service("a").isolation.counters().rejected_open, 3);
    let held = loop {
        let report = stream.report().await;
        if report.services[0].held > 0 {
            break report.services[0].held;
        }
    };
    assert_eq!(held, 2, "the service's own breaker and that of the pool");
    order(&mut stream, at(1, 3), &Orders::default()).await;
    assert_eq!(state(&scene), Some(State::Closed));
    assert_eq!(stream.report().await.services[0].held, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hold_runs_out_with_no_manager_there() {
    let (mut scene, stream) = ordered(&held_open(None, Some(10 * SECOND))).await;
    drop(stream);
    drop(scene.attempt().await);
    tokio::time::sleep(9 * SECOND).await;
    assert_eq!(state(&scene), Some(State::Open));
    tokio::time::sleep(SECOND).await;
    assert_eq!(state(&scene), Some(State::Closed));
    calls(&scene, "a", 1, Ok(())).await;
    assert_eq!(scene.service("a").isolation.counters().served_live, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hold_for_another_instance_is_acknowledged_and_not_obeyed() {
    let (scene, mut stream) = ordered(&held_open(Some("checkout-2"), None)).await;
    assert_eq!(state(&scene), Some(State::Closed));
    order(&mut stream, at(1, 2), &held_open(Some("checkout-1"), None)).await;
    assert_eq!(state(&scene), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn a_removal_ends_what_was_ordered() {
    let (mut scene, stream) = ordered(&held_open(None, None)).await;
    stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(1, 2)) });
    while !matches!(scene.event().await, Event::PolicyRemoved { .. }) {}
    let service = scene.service("a");
    assert!(service.isolation.holds(Tokio.now()).is_empty() && service.isolation.in_force().orders.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_refused_changes_no_order() {
    let (scene, mut stream) = ordered(&held_open(None, None)).await;
    let refusal = Refusal { reason: "invalid orders".to_owned(), field_path: "orders.holds[0].owner".to_owned() };
    stream.order("a", at(1, 2), Err(refusal.clone()), Orders::default());
    let ToManager::Refused { refusal: told, in_force, .. } = stream.answer().await else { panic!("taken") };
    let stays = in_force.map(|applied| applied.revision);
    assert_eq!((told, stays, state(&scene)), (refusal, Some(at(1, 1)), Some(State::Open)));
}

#[tokio::test(start_paused = true)]
async fn a_command_is_done_once_and_one_that_was_missed_on_the_next_stream() {
    let given = [Action::Trip(None), Action::Reset, Action::Trip(Some(60 * SECOND))];
    let (mut scene, mut stream) = ordered(&commands(&given[..1])).await;
    assert_eq!(state(&scene), Some(State::Closed), "it was given before this process started");
    order(&mut stream, at(1, 2), &commands(&given[..2])).await;
    assert_eq!(state(&scene), Some(State::Closed));
    drop(stream);
    let (mut stream, hello) = scene.accept().await;
    let hash = fingerprint(&full(), &commands(&given[..2]));
    assert_eq!(hello.applied, [Applied { service: "a".into(), revision: at(1, 2), hash }]);
    order(&mut stream, at(1, 3), &commands(&given)).await;
    assert_eq!(state(&scene), Some(State::Open));
    // Nothing is done again, neither with the next change nor when the same one is sent twice.
    order(&mut stream, at(1, 4), &commands(&[&given[..], &[Action::Reset]].concat())).await;
    assert_eq!(state(&scene), Some(State::Closed));
    for _ in 0..2 {
        order(&mut stream, at(1, 5), &commands(&[&given[..], &[Action::Reset]].concat())).await;
        assert_eq!(state(&scene), Some(State::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_registered_while_it_is_followed_does_its_first_command() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(1, 1)) });
    order(&mut stream, at(1, 3), &commands(&[Action::Trip(None)])).await;
    assert_eq!(state(&scene), Some(State::Open));
}

/// A new process did all commands that were kept, where the manager had at first said nothing, because it knows nothing to
/// hand out in the place of a contained policy, or something that was refused.
#[tokio::test(start_paused = true)]
async fn a_process_that_gets_its_first_policy_late_does_no_command_of_before_and_those_to_come() {
    let given = [Action::Trip(None), Action::Trip(None)];
    for is_refused in [false, true] {
        let mut scene = Scene::new(&["a"]);
        let (mut stream, _) = scene.accept().await;
        if is_refused {
            let refusal = Refusal { reason: "too much".to_owned(), field_path: String::new() };
            stream.order("a", at(1, 1), Err(refusal), commands(&given[..1]));
            assert!(matches!(stream.answer().await, ToManager::Refused { .. }));
        }
        stream.say(FromManager::Complete(None));
        stream.say(FromManager::Bookmark(None));
        order(&mut stream, at(1, 2), &commands(&given[..1])).await;
        assert_eq!(state(&scene), Some(State::Closed), "{is_refused}");
        order(&mut stream, at(1, 3), &commands(&given)).await;
        assert_eq!(state(&scene), Some(State::Open), "{is_refused}");
    }
}

/// A process that begins under what an earlier one kept.
fn restarted(orders: Orders) -> Scene {
    let scene = Scene::start(&[], vec![("test", Way::IsOpen)], |shared| {
        let kept = Kept { service: "a".into(), policy: full(), revision: at(1, 1), is_enabled: true, orders };
        shared.registry.restore(vec![kept], "checkout-1");
        shared.registry.service("a");
        shared
    });
    tokio::spawn(levels::run(Arc::clone(&scene.shared), scene.stop.clone()));
    scene
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_again_does_no_command_of_before_and_those_to_come() {
    let given = [Action::Trip(None), Action::Trip(None)];
    // Whether the manager has something newer, given while the process was away, or not.
    for has_missed in [true, false] {
        let mut scene = restarted(commands(&given[..1]));
        let (mut stream, hello) = scene.accept().await;
        assert_eq!(hello.applied.len(), 1);
        if has_missed {
            order(&mut stream, at(1, 2), &commands(&given)).await;
        }
        stream.say(FromManager::Complete(None));
        order(&mut stream, at(1, 3), &commands(&given)).await;
        let expected = if has_missed { State::Closed } else { State::Open };
        assert_eq!(state(&scene), Some(expected), "{has_missed}");
        order(&mut stream, at(1, 4), &commands(&[&given[..], &[Action::Reset, Action::Trip(None)]].concat())).await;
        assert_eq!(state(&scene), Some(State::Open), "{has_missed}");
    }
}

/// The manager ends its answer to the hello before it has read what was asked for after it.
#[tokio::test(start_paused = true)]
async fn a_service_that_is_named_after_the_hello_does_no_command_of_before_and_those_to_come() {
    let mut scene = Scene::new(&[]);
    let (mut stream, _) = scene.accept().await;
    scene.shared.registry.service("a");
    let ToManager::Subscribe { .. } = stream.answer().await else { panic!("not asked for") };
    stream.say(FromManager::Complete(None));
    let given = [Action::Trip(None), Action::Trip(None)];
    order(&mut stream, at(1, 1), &commands(&given[..1])).await;
    assert_eq!(state(&scene), Some(State::Closed));
    order(&mut stream, at(1, 2), &commands(&given)).await;
    assert_eq!(state(&scene), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_is_obeyed_before_the_manager_has_spoken() {
    let spec = OrdersSpec {
        level: level_for(Level::Enhanced, 5 * SECOND).level.clone(),
        ..held_open(None, Some(10 * SECOND)).to_spec()
    };
    let orders = Orders::new(spec).unwrap();
    let scene = restarted(orders.clone());
    assert_eq!((state(&scene), level(&scene)), (Some(State::Open), Level::Enhanced));
    tokio::time::sleep(5 * SECOND).await;
    tokio::time::sleep(SECOND / 100).await;
    assert_eq!((state(&scene), level(&scene)), (Some(State::Open), Level::Full));
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(state(&scene), Some(State::Closed));
    let [kept] = &scene.shared.registry.kept()[..] else { panic!("one service") };
    assert_eq!((&kept.policy, &kept.orders), (&full(), &orders), "it is kept as it was written");
}

#[tokio::test(start_paused = true)]
async fn a_temporary_level_goes_back_on_time_with_no_manager_there_and_nothing_learned_is_lost() {
    let (mut scene, mut stream) = ordered(&Orders::default()).await;
    calls(&scene, "a", 5, Err(())).await;
    assert_eq!(state(&scene), Some(State::Open));
    order(&mut stream, at(1, 2), &level_for(Level::None, 10 * SECOND)).await;
    assert_eq!((level(&scene), state(&scene)), (Level::None, None));
    drop(stream);
    let over = loop {
        if let Event::TemporaryLevelOver { service, level } = scene.event().await {
            break (service, level);
        }
    };
    assert_eq!(over, ("a".into(), Level::Full));
    assert_eq!((level(&scene), state(&scene)), (Level::Full, Some(State::Open)));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_level_is_replaced_by_another_and_by_none() {
    let (scene, mut stream) = ordered(&level_for(Level::None, 10 * SECOND)).await;
    order(&mut stream, at(1, 2), &level_for(Level::Basic, 5 * SECOND)).await;
    assert_eq!(level(&scene), Level::Basic);
    tokio::time::sleep(6 * SECOND).await;
    assert_eq!(level(&scene), Level::Full, "the shorter one counts");
    order(&mut stream, at(1, 3), &level_for(Level::Basic, 5 * SECOND)).await;
    order(&mut stream, at(1, 4), &Orders::default()).await;
    assert_eq!(level(&scene), Level::Full);
}

#[tokio::test(start_paused = true)]
async fn a_hold_for_a_pool_is_for_its_breaker_alone() {
    let mut spec = held_open(None, None).to_spec();
    spec.holds[0].aim.breakers = Target::Part(Part::Pool("reads".into()));
    let (scene, _stream) = ordered(&Orders::new(spec).unwrap()).await;
    let states = scene.service("a").isolation.breaker_states(Tokio.now());
    assert_eq!(states, [(Part::Service, State::Closed), (Part::Pool("reads".into()), State::Open)]);
}

/// The next event about holds: the service, the hold's owner, and whether it is over.
async fn hold_event(scene: &mut Scene) -> (String, String, bool) {
    loop {
        let (service, hold, is_over) = match scene.event().await {
            Event::Held { service, hold } => (service, hold, false),
            Event::HoldOver { service, hold } => (service, hold, true),
            _ => continue,
        };
        assert_eq!((hold.forced(), hold.reason()), (Forced::Open, "the disk is being changed"));
        return (service.to_string(), hold.owner().to_owned(), is_over);
    }
}

fn hold(is_over: bool) -> (String, String, bool) {
    ("a".to_owned(), "alice".to_owned(), is_over)
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_told_as_an_event_when_it_is_set_and_when_it_is_released() {
    let (mut scene, mut stream) = ordered(&Orders::default()).await;
    order(&mut stream, at(1, 2), &held_open(None, None)).await;
    assert_eq!(hold_event(&mut scene).await, hold(false));
    // That it goes on is no news.
    let and_a_command = {
        let mut spec = OrdersSpec { holds: held_open(None, None).holds.clone(), ..OrdersSpec::default() };
        spec.command(Aim::ALL, Action::Reset, "alice".to_owned(), "a drill".to_owned(), WallTime::default());
        Orders::new(spec).unwrap()
    };
    order(&mut stream, at(1, 3), &and_a_command).await;
    order(&mut stream, at(1, 4), &Orders::default()).await;
    assert_eq!(hold_event(&mut scene).await, hold(true));
    order(&mut stream, at(1, 5), &held_open(None, None)).await;
    assert_eq!(hold_event(&mut scene).await, hold(false));
    stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(1, 6)) });
    assert_eq!(hold_event(&mut scene).await, hold(true));
}

#[tokio::test(start_paused = true)]
async fn that_a_hold_has_run_out_is_told_on_time_with_no_manager_there() {
    let begin = tokio::time::Instant::now();
    let (mut scene, stream) = ordered(&held_open(None, Some(10 * SECOND))).await;
    assert_eq!(hold_event(&mut scene).await, hold(false));
    drop(stream);
    drop(scene.attempt().await);
    assert_eq!(hold_event(&mut scene).await, hold(true));
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_an_earlier_process_kept_is_told() {
    let orders = held_open(None, None);
    let mut scene = Scene::start(&[], vec![("test", Way::IsOpen)], |shared| {
        let kept = Kept { service: "a".into(), policy: full(), revision: at(1, 1), is_enabled: true, orders };
        shared.registry.restore(vec![kept], "checkout-1");
        shared
    });
    scene.shared.registry.service("a");
    assert_eq!(hold_event(&mut scene).await, hold(false));
}
