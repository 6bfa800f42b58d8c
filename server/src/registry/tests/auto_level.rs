//! A level that is left to the policy: it follows each change, is kept as it was written, and every release can read it.

use super::events::told;
use super::writes::{fresh, paths, register, set_level};
use crate::{
    clock::SystemClock,
    events::Events,
    registry::{Registry, key},
    store::{Store, Txn},
    testing::{
        FaultyStore, eventually, key as service_key, registration, registry as another_registry, registry_telling,
    },
};
use cofferdam_core::{level::Level, wire::duration_to_wire};
use cofferdam_proto::{storage::v1 as storage, v1, v1::IsolationLevel, v1::event::Detail};
use prost::Message;
use std::{sync::Arc, time::Duration};

fn update(policy: v1::IsolationPolicy, paths: &[&str]) -> v1::UpdateIsolationPolicyRequest {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(policy),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..v1::UpdateIsolationPolicyRequest::default()
    }
}

fn breaker() -> v1::IsolationPolicy {
    v1::IsolationPolicy { circuit_breaker: Some(v1::CircuitBreakerPolicy::default()), ..Default::default() }
}

/// The level in force, and the one that is written.
fn levels(registry: &Registry) -> Option<(Level, IsolationLevel)> {
    let registered = registry.get(&service_key("default/payments"))?;
    Some((registered.policy().level, registered.written_policy().level()))
}

async fn auto(registry: &Registry) {
    register(registry, "payments").await;
    registry.set_level(set_level("payments", IsolationLevel::Auto)).await.unwrap();
}

async fn stored(store: &FaultyStore) -> storage::ServiceRecord {
    let listing = store.list(&key::service(&service_key("default/payments"))).await.unwrap();
    storage::ServiceRecord::decode(listing.entries[0].value.clone()).unwrap()
}

#[tokio::test]
async fn c11_the_level_follows_each_change_of_the_policy_and_stays_left_to_it() {
    let (store, registry) = fresh().await;
    auto(&registry).await;
    assert_eq!(levels(&registry), Some((Level::Basic, IsolationLevel::Auto)));
    registry.update_policy(update(breaker(), &["circuit_breaker"])).await.unwrap();
    assert_eq!(levels(&registry), Some((Level::Enhanced, IsolationLevel::Auto)));
    let rate_limit = Some(v1::RateLimitPolicy { permits: 5, ..Default::default() });
    let with_rate = v1::IsolationPolicy { rate_limit, ..Default::default() };
    let answer = registry.update_policy(update(with_rate, &["rate_limit"])).await.unwrap().service.unwrap();
    assert_eq!(answer.policy.unwrap().level(), IsolationLevel::Full);
    assert_eq!(answer.written_policy.unwrap().level(), IsolationLevel::Auto);

    // Who registers it again without a word of a level leaves it to the policy, the new one.
    let request = v1::RegisterServiceRequest { policy: Some(breaker()), ..registration("payments") };
    registry.register(request).await.unwrap();
    assert_eq!(levels(&registry), Some((Level::Enhanced, IsolationLevel::Auto)));
    // Another manager reads the same.
    let other = another_registry(&store).await;
    assert_eq!(levels(&other), levels(&registry));
    registry.set_level(set_level("payments", IsolationLevel::None)).await.unwrap();
    assert_eq!(levels(&registry), Some((Level::None, IsolationLevel::None)));
}

/// A release that does not know the word would serve nothing that has it.
#[tokio::test]
async fn what_is_stored_is_read_by_a_release_that_does_not_know_of_it() {
    let (store, registry) = fresh().await;
    auto(&registry).await;
    registry.update_policy(update(breaker(), &["circuit_breaker"])).await.unwrap();
    let mut record = stored(&store).await;
    assert_eq!(record.policy.as_ref().unwrap().level(), IsolationLevel::Enhanced);
    let changes = store.list(&key::changes(&service_key("default/payments"))).await.unwrap();
    for entry in &changes.entries {
        let change = storage::ChangeRecord::decode(entry.value.clone()).unwrap();
        let level = storage::ServiceRecord::decode(change.after).unwrap().policy.unwrap().level();
        assert_ne!(level, IsolationLevel::Auto);
    }
    // Such a release keeps the field that it does not know, and so what it says of anything but the level is followed.
    let put = async |record: &storage::ServiceRecord, expected| {
        let at = key::service(&service_key("default/payments"));
        store.inner().commit(Txn::new().put(at, record.encode_to_vec())).await.unwrap();
        eventually(&registry, || levels(&registry) == Some(expected)).await;
    };
    record.policy.as_mut().unwrap().hedge = Some(v1::HedgePolicy::default());
    put(&record, (Level::Full, IsolationLevel::Auto)).await;
    record.policy.as_mut().unwrap().set_level(IsolationLevel::Basic);
    put(&record, (Level::Basic, IsolationLevel::Basic)).await;
}

#[tokio::test]
async fn a_rollback_leaves_it_to_the_policy_again() {
    let (_, registry) = fresh().await;
    auto(&registry).await;
    let answer = registry.update_policy(update(breaker(), &["circuit_breaker"])).await.unwrap();
    let revision = answer.service.unwrap().revision.unwrap();
    registry.set_level(set_level("payments", IsolationLevel::Full)).await.unwrap();
    let to = Some(v1::RevisionPoint { point: Some(v1::revision_point::Point::Revision(revision)) });
    let request = v1::RollbackRequest { service: "payments".to_owned(), to, ..Default::default() };
    let answer = registry.rollback(request.clone()).await.unwrap();
    let change = &answer.services[0].changes[0];
    assert_eq!((&*change.path, change.after_default.as_deref()), ("level", Some("ISOLATION_LEVEL_ENHANCED")));
    assert_eq!(levels(&registry), Some((Level::Enhanced, IsolationLevel::Auto)));
    let again = registry.rollback(request).await.unwrap();
    assert_eq!(again.services[0].outcome(), v1::RollbackOutcome::Unchanged);
}

#[tokio::test]
async fn it_is_for_good_and_for_the_service_alone() {
    let (_, registry) = fresh().await;
    register(&registry, "payments").await;
    let ttl = Some(duration_to_wire(Duration::from_secs(60)));
    let for_a_time = v1::SetIsolationLevelRequest { ttl, ..set_level("payments", IsolationLevel::Auto) };
    let error = registry.set_level(for_a_time).await.unwrap_err();
    assert_eq!(paths(&error), ["level"]);
    assert!(error.to_string().contains("auto is for good"), "{error}");
    let policy = Some(v1::IsolationPolicy { level: IsolationLevel::Auto.into(), ..Default::default() });
    let entry = v1::MethodOverride { glob: "*".to_owned(), policy, ..Default::default() };
    let overridden = v1::IsolationPolicy { method_overrides: vec![entry], ..Default::default() };
    let error = registry.update_policy(update(overridden, &["method_overrides"])).await.unwrap_err();
    assert_eq!(paths(&error), ["policy.method_overrides[0].policy.level"]);
}

/// Before, a service was told to be at basic where its preset or a change of its policy had another level in force.
#[tokio::test]
async fn events_tell_the_level_in_force_and_whether_the_policy_has_chosen_it() {
    let store = FaultyStore::new();
    let events = Arc::new(Events::new(Arc::new(SystemClock), Default::default()));
    let registry = registry_telling(&store, Arc::clone(&events)).await;
    let preset = v1::IsolationPolicy { preset: "stripe".to_owned(), ..Default::default() };
    registry.register(v1::RegisterServiceRequest { policy: Some(preset), ..registration("payments") }).await.unwrap();
    registry.set_level(set_level("payments", IsolationLevel::Auto)).await.unwrap();
    let hedge = v1::IsolationPolicy { hedge: Some(v1::HedgePolicy::default()), ..Default::default() };
    registry.update_policy(update(hedge, &["hedge"])).await.unwrap();
    let told = told(&events, 3).await;
    let summaries: Vec<_> = told.iter().map(|event| event.summary.as_str()).collect();
    let expected = ["registered, level enhanced", "level enhanced -> enhanced (auto)"];
    let last = "policy changed, level enhanced -> full (auto)";
    assert_eq!(summaries, [expected[0], expected[1], last].map(|what| format!("default/payments: {what}")));
    let auto_level = |event: &Arc<v1::Event>| match &event.detail {
        Some(Detail::Change(change)) => change.auto_level,
        other => panic!("{other:?}"),
    };
    assert_eq!(told.iter().map(auto_level).collect::<Vec<_>>(), [false, true, true]);
}
