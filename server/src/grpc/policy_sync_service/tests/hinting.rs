//! What instances hear of each other's breakers.

use super::*;
use v1::sync_request::Message;

async fn set_mode(manager: &Manager, mode: v1::FleetHintMode) {
    let policy = v1::IsolationPolicy {
        level: v1::IsolationLevel::Enhanced.into(),
        fleet_hint: Some(v1::FleetHintPolicy { mode: mode.into(), ..Default::default() }),
        ..Default::default()
    };
    let request =
        v1::UpdateIsolationPolicyRequest { service: "payments".to_owned(), policy: Some(policy), ..Default::default() };
    manager.registry.update_policy(request).await.unwrap();
}

async fn learned(instance: &Instance, sequence: u64, state: v1::BreakerState) {
    let service = v1::ServiceReport {
        service: "payments".to_owned(),
        learned_state: state.into(),
        ..v1::ServiceReport::default()
    };
    instance.say(Message::Report(v1::SyncReport { sequence, interval: None, services: vec![service] })).await;
}

async fn connect(manager: &Manager, id: &str) -> Instance {
    let mut instance = Instance::connect(manager, hello(id, &["payments"])).await;
    instance.update().await;
    instance.complete().await;
    learned(&instance, 1, v1::BreakerState::Closed).await;
    instance
}

#[tokio::test]
async fn when_half_have_opened_all_hear_of_it_and_operators_see_it() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    set_mode(&manager, v1::FleetHintMode::Advisory).await;
    let mut instances = Vec::new();
    for id in ["one", "two", "three", "four"] {
        instances.push(connect(&manager, id).await);
    }
    learned(&instances[0], 2, v1::BreakerState::Open).await;
    learned(&instances[1], 2, v1::BreakerState::HalfOpen).await;
    // An open breaker of something else, or one that is held open, is none of this.
    let other = v1::ServiceReport {
        service: "payments".to_owned(),
        breaker_state: v1::BreakerState::Open.into(),
        learned_state: v1::BreakerState::Closed.into(),
        ..v1::ServiceReport::default()
    };
    instances[2].say(Message::Report(v1::SyncReport { sequence: 2, interval: None, services: vec![other] })).await;
    for instance in &mut instances {
        let Some(Answer::FleetHint(hint)) = instance.next().await.unwrap() else { panic!("not told") };
        assert_eq!((hint.service.as_str(), hint.open_instances, hint.instances), ("payments", 2, 4));
        let ttl = Duration::try_from(hint.ttl.unwrap()).unwrap();
        assert!(ttl > Duration::ZERO && ttl <= Duration::from_secs(30), "{ttl:?}");
    }
    let shown = stats(&manager, "payments").await.fleet_hint.unwrap();
    assert_eq!((shown.mode(), shown.open_instances, shown.instances), (v1::FleetHintMode::Advisory, 2, 4));
    assert!(shown.ends_in.is_some() && shown.age.is_some());

    set_mode(&manager, v1::FleetHintMode::Off).await;
    stats_become(&manager, "payments", |stats| stats.fleet_hint.is_none()).await;
}

#[tokio::test]
async fn an_instance_that_comes_later_hears_after_its_policy() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    set_mode(&manager, v1::FleetHintMode::Enforce).await;
    for id in ["one", "two"] {
        let instance = connect(&manager, id).await;
        learned(&instance, 2, v1::BreakerState::Open).await;
        // Kept open: an instance that leaves takes its word with it.
        std::mem::forget(instance);
    }
    stats_become(&manager, "payments", |stats| stats.fleet_hint.is_some()).await;
    let mut late = connect(&manager, "late").await;
    assert!(matches!(late.next().await.unwrap(), Some(Answer::FleetHint(_))));
}
