//! What an instance is told.

use super::*;
use cofferdam_core::level::Level;
use v1::sync_request::Message;

#[tokio::test]
async fn each_service_asked_for_then_the_end_then_what_changes() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments", "orders"])).await;
    let removal = instance.removal().await;
    assert_eq!(removal.service, "orders");
    let update = instance.update().await;
    assert_eq!((update.service.as_str(), update.enabled), ("payments", true));
    assert_eq!(update.policy_hash, policy_hash(&policy(&update)).as_bytes().as_slice());
    let complete = instance.complete().await;
    assert_eq!(complete.revision, removal.revision, "never registered: the revision of the store");

    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    let newer = instance.update().await;
    assert_eq!(policy(&newer).level, Level::Full);
    assert!(newer.revision.unwrap().revision > update.revision.unwrap().revision);
    register(&manager, "unrelated").await;
    register(&manager, "orders").await;
    assert_eq!(instance.update().await.service, "orders");
    unregister(&manager, "orders").await;
    let removal = instance.removal().await;
    assert_eq!(removal.service, "orders");
    assert!(removal.revision.unwrap().revision > newer.revision.unwrap().revision);
}

#[tokio::test]
async fn a_preset_arrives_expanded_and_a_disabled_service_as_such() {
    let manager = Manager::start().await;
    let mut request = registration("orders-db");
    request.service.as_mut().unwrap().enabled = Some(false);
    request.policy = Some(v1::IsolationPolicy { preset: "database".to_owned(), ..v1::IsolationPolicy::default() });
    manager.registry.register(request).await.unwrap();
    let mut instance = Instance::connect(&manager, hello("one", &["orders-db"])).await;
    let update = instance.update().await;
    assert!(!update.enabled);
    assert_eq!(update.policy.as_ref().unwrap().preset, "");
    let policy = policy(&update);
    assert_eq!((policy.level, policy.breaker.failure_count), (Level::Enhanced, 3));
}

#[tokio::test]
async fn what_is_current_is_not_sent_again() {
    let manager = Manager::start().await;
    for name in ["current", "older", "other-content", "gone"] {
        register(&manager, name).await;
    }
    let mut first = Instance::connect(&manager, hello("one", &["current", "older", "other-content", "gone"])).await;
    let mut applied = Vec::new();
    for _ in 0..4 {
        let update = first.update().await;
        applied.push(v1::AppliedPolicy {
            service: update.service.clone(),
            revision: update.revision,
            policy_hash: update.policy_hash,
        });
    }
    drop(first);
    set_level(&manager, "older", v1::IsolationLevel::Full).await;
    unregister(&manager, "gone").await;
    for applied in &mut applied {
        if applied.service == "other-content" {
            applied.policy_hash = vec![0; 16].into();
        }
    }
    let services = ["current", "older", "other-content", "gone"];
    let mut again = Instance::connect(&manager, v1::SyncHello { applied, ..hello("one", &services) }).await;
    let mut told = vec![again.removal().await.service];
    told.push(again.update().await.service);
    told.push(again.update().await.service);
    assert_eq!(told, ["gone", "older", "other-content"]);
    again.complete().await;
    // What it came with counts as applied without another word.
    stats_become(&manager, "current", |stats| stats.applied_instances == 1).await;
    assert_eq!(stats(&manager, "older").await.applied_instances, 0);
}

#[tokio::test]
async fn a_whole_namespace_with_what_is_to_come_and_what_is_gone() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut elsewhere = registration("payments");
    elsewhere.service.as_mut().unwrap().namespace = "eu".to_owned();
    manager.registry.register(elsewhere).await.unwrap();
    let stale = v1::AppliedPolicy {
        service: "gone".to_owned(),
        revision: Some(v1::Revision { epoch: 1, revision: 1 }),
        policy_hash: vec![1; 16].into(),
    };
    let hello = v1::SyncHello { all_services: true, applied: vec![stale], ..hello("one", &[]) };
    let mut instance = Instance::connect(&manager, hello).await;
    assert_eq!(instance.update().await.service, "payments");
    assert_eq!(instance.removal().await.service, "gone");
    instance.complete().await;
    register(&manager, "orders").await;
    assert_eq!(instance.update().await.service, "orders");
    stats_become(&manager, "orders", |stats| stats.instances == 1).await;
}

#[tokio::test]
async fn namespaces_are_apart() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let hello = v1::SyncHello { namespace: "eu".to_owned(), ..hello("one", &["payments"]) };
    let mut instance = Instance::connect(&manager, hello).await;
    assert_eq!(instance.removal().await.service, "payments");
    instance.complete().await;
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    let mut in_eu = registration("payments");
    in_eu.service.as_mut().unwrap().namespace = "eu".to_owned();
    manager.registry.register(in_eu).await.unwrap();
    assert_eq!(policy(&instance.update().await).level, Level::Basic, "its own, not the other one's");
}

#[tokio::test]
async fn further_services_may_be_asked_for() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &[])).await;
    instance.complete().await;
    let services = vec!["payments".to_owned(), "orders".to_owned(), "payments".to_owned()];
    instance.say(Message::Subscribe(v1::SyncSubscribe { services, unfollow: vec![] })).await;
    assert_eq!(instance.removal().await.service, "orders");
    assert_eq!(instance.update().await.service, "payments");
    stats_become(&manager, "payments", |stats| stats.instances == 1).await;
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    assert_eq!(policy(&instance.update().await).level, Level::Full);
}

#[tokio::test]
async fn services_may_be_left() {
    let manager = Manager::start().await;
    for name in ["payments", "orders"] {
        register(&manager, name).await;
    }
    let mut instance = Instance::connect(&manager, hello("one", &["payments", "orders", "nobody"])).await;
    instance.removal().await;
    instance.update().await;
    instance.update().await;
    instance.complete().await;
    let unfollow = vec!["payments".to_owned(), "nobody".to_owned(), "never-followed".to_owned()];
    instance.say(Message::Subscribe(v1::SyncSubscribe { services: vec![], unfollow })).await;
    stats_become(&manager, "payments", |stats| stats.instances == 0).await;
    assert!(manager.instances.abandoned().iter().all(|key| key.name.as_str() == "payments"), "no sums to keep");
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    set_level(&manager, "orders", v1::IsolationLevel::Full).await;
    assert_eq!(instance.update().await.service, "orders", "the other one is left");

    // The place of one that is left is free for another, in the same message.
    let all: Vec<_> = (0..10_000).map(|n| format!("s{n}")).collect();
    let mut full = Instance::connect(&manager, hello("two", &[])).await;
    full.complete().await;
    full.say(Message::Subscribe(v1::SyncSubscribe { services: all.clone(), unfollow: vec![] })).await;
    let another = v1::SyncSubscribe { services: vec!["payments".to_owned()], unfollow: vec!["s0".to_owned()] };
    full.say(Message::Subscribe(another)).await;
    stats_become(&manager, "payments", |stats| stats.instances == 1).await;
    let back = v1::SyncSubscribe { services: vec!["s0".to_owned()], unfollow: all };
    full.say(Message::Subscribe(back)).await;
    stats_become(&manager, "payments", |stats| stats.instances == 1).await;
}

#[tokio::test]
async fn a_service_of_the_namespace_that_is_left_stays_followed() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let hello = v1::SyncHello { all_services: true, ..hello("one", &["payments"]) };
    let mut instance = Instance::connect(&manager, hello).await;
    instance.update().await;
    instance.complete().await;
    let unfollow = vec!["payments".to_owned()];
    instance.say(Message::Subscribe(v1::SyncSubscribe { services: vec![], unfollow })).await;
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    assert_eq!(policy(&instance.update().await).level, Level::Full);
    assert_eq!(stats(&manager, "payments").await.instances, 1);
}

#[tokio::test]
async fn a_store_that_is_swapped_is_followed_into_its_new_epoch() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    let before = instance.update().await.revision.unwrap();
    instance.complete().await;
    manager.store.swap(crate::store::MemoryStore::new());
    let removal = instance.removal().await;
    assert!(removal.revision.unwrap().epoch > before.epoch, "an empty store, and says so with a newer epoch");
    register(&manager, "payments").await;
    assert!(instance.update().await.revision.unwrap().epoch > before.epoch);
}
