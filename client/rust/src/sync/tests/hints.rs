//! What the manager says of other instances.

use super::reports::calls;
use super::*;
use crate::FleetHint;
use crate::runtime::Tokio;
use cofferdam_core::breaker::State;
use cofferdam_core::policy::{BreakerPolicy, FleetHintMode, FleetHintPolicy};
use cofferdam_core::runtime::Runtime;

const TTL: Duration = Duration::from_secs(30);

fn with_mode(mode: FleetHintMode) -> Policy {
    let spec = PolicySpec {
        level: Level::Enhanced,
        breaker: BreakerPolicy { failure_rate: 0.0, ..BreakerPolicy::default() },
        fleet_hint: FleetHintPolicy { mode, ..FleetHintPolicy::default() },
        ..PolicySpec::default()
    };
    Policy::new(spec).unwrap()
}

fn hint(service: &str, open_instances: u32, ttl: Duration) -> FromManager {
    FromManager::FleetHint { service: service.to_owned(), open_instances, instances: 4, ttl }
}

/// A service under a policy, and what has been said after it.
async fn scene(mode: FleetHintMode, messages: Vec<FromManager>) -> (Scene, Stream) {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(1, 1), Ok(with_mode(mode)));
    messages.into_iter().for_each(|message| stream.say(message));
    // An answer to what comes last says that all before it was taken in.
    stream.update("a", at(1, 2), Ok(with_mode(mode)));
    for _ in 0..2 {
        assert!(matches!(scene.event().await, Event::PolicyApplied { .. } | Event::FleetHint { .. }));
    }
    loop {
        if let ToManager::Applied(applied) = stream.answer().await
            && applied.revision == at(1, 2)
        {
            return (scene, stream);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_that_is_enforced_shortens_the_trip_for_failures_of_ones_own() {
    let (mut scene, _stream) = scene(FleetHintMode::Enforce, vec![hint("a", 2, TTL), hint("a", 3, TTL)]).await;
    let service = scene.service("a");
    let now = Tokio.now();
    let FleetHint { open_instances: 3, instances: 4, is_enforced: true, ends_in, .. } =
        service.fleet_hint(now).unwrap()
    else {
        panic!("{:?}", service.fleet_hint(now));
    };
    assert!(ends_in > Duration::ZERO && ends_in <= TTL);
    calls(&scene, "a", 100, Ok(())).await;
    calls(&scene, "a", 2, Err(())).await;
    assert_eq!(service.isolation.breaker_state(Tokio.now()), Some(State::Closed));
    calls(&scene, "a", 1, Err(())).await;
    assert_eq!(service.isolation.breaker_state(Tokio.now()), Some(State::Open));
    loop {
        match scene.event().await {
            Event::Transition { is_hinted, .. } => break assert!(is_hinted),
            Event::PolicyApplied { .. } => {}
            other => panic!("a renewal is no news: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_ends_without_the_manager() {
    let (scene, stream) = scene(FleetHintMode::Enforce, vec![hint("a", 2, TTL)]).await;
    drop(stream);
    let service = scene.service("a");
    assert!(service.fleet_hint(Tokio.now()).is_some());
    tokio::time::sleep(TTL).await;
    assert_eq!(service.fleet_hint(Tokio.now()), None);
    calls(&scene, "a", 4, Err(())).await;
    assert_eq!(service.isolation.breaker_state(Tokio.now()), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn an_advisory_hint_is_told_and_changes_nothing() {
    let mut scene = Scene::new(&["a"]);
    let (stream, _) = scene.accept().await;
    stream.update("a", at(1, 1), Ok(with_mode(FleetHintMode::Advisory)));
    stream.say(hint("a", 2, TTL));
    assert!(matches!(scene.event().await, Event::PolicyApplied { .. }));
    let Event::FleetHint { service, hint } = scene.event().await else { panic!("not told") };
    assert_eq!((&*service, hint.open_instances, hint.is_enforced), ("a", 2, false));
    calls(&scene, "a", 4, Err(())).await;
    assert_eq!(scene.service("a").isolation.breaker_state(Tokio.now()), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_hint_or_for_nobody_is_passed_over() {
    let none = vec![hint("a", 1, TTL), hint("a", 5, TTL), hint("a", 2, Duration::ZERO), hint("b", 2, TTL)];
    let (scene, _stream) = scene(FleetHintMode::Enforce, none).await;
    assert_eq!(scene.service("a").fleet_hint(Tokio.now()), None);
    let (scene, _stream) = self::scene(FleetHintMode::Off, vec![hint("a", 2, TTL)]).await;
    assert_eq!(scene.service("a").fleet_hint(Tokio.now()), None);
}
