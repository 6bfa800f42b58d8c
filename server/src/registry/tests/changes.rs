//! What changes to a registered service do, and what they refuse.

use super::writes::{fresh, paths, register, set_level};
use crate::{
    error::Error,
    testing::{key, registration},
};
use cofferdam_core::{health::HealthStatus, wire::revision_from_wire};
use cofferdam_proto::v1;

#[tokio::test]
async fn an_unknown_service_is_not_found_with_the_nearest_names() {
    let (_, registry) = fresh().await;
    register(&registry, "payments").await;
    register(&registry, "orders").await;
    let refused = registry.set_level(set_level("paymets", v1::IsolationLevel::Full)).await.unwrap_err();
    let Error::ServiceNotFound { key, nearest } = &refused else { panic!("{refused}") };
    assert_eq!((key.to_string().as_str(), nearest.as_slice()), ("default/paymets", ["payments".to_owned()].as_slice()));
    assert!(refused.to_string().contains("did you mean payments?"), "{refused}");
}

#[tokio::test]
async fn a_level_must_be_named_and_setting_the_same_changes_nothing() {
    let (_, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    let refused = registry.set_level(set_level("payments", v1::IsolationLevel::Unspecified)).await.unwrap_err();
    assert_eq!(paths(&refused), ["level"]);
    let same = registry.set_level(set_level("payments", v1::IsolationLevel::Basic)).await.unwrap();
    // It was the default; now it is written down.
    let same_again = registry.set_level(set_level("payments", v1::IsolationLevel::Basic)).await.unwrap();
    assert_eq!(same.service.as_ref().unwrap().policy_hash, same_again.service.as_ref().unwrap().policy_hash);
    assert_eq!(same.service.unwrap().revision, same_again.service.unwrap().revision);
    let full = registry.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap().service.unwrap();
    assert!(full.revision.unwrap().revision > at.revision);
    assert_eq!(full.policy.unwrap().level(), v1::IsolationLevel::Full);
}

#[tokio::test]
async fn a_policy_update_changes_what_its_mask_names() {
    let (_, registry) = fresh().await;
    register(&registry, "payments").await;
    let update = |paths: &[&str], policy: v1::IsolationPolicy| v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(policy),
        update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }),
        ..v1::UpdateIsolationPolicyRequest::default()
    };
    let attempts = |max| v1::IsolationPolicy {
        retry: Some(v1::RetryPolicy { max_attempts: Some(max), ..v1::RetryPolicy::default() }),
        ..v1::IsolationPolicy::default()
    };
    let answer = registry.update_policy(update(&["retry.max_attempts"], attempts(5))).await.unwrap();
    assert_eq!(answer.service.unwrap().policy.unwrap().retry.unwrap().max_attempts, Some(5));
    let refused = registry.update_policy(update(&["retry.max_attempts"], attempts(11))).await.unwrap_err();
    assert_eq!(paths(&refused), ["policy.retry.max_attempts"]);
    let refused = registry.update_policy(update(&["retry.max_atempts"], attempts(1))).await.unwrap_err();
    assert_eq!(paths(&refused), ["update_mask"]);
    let none = v1::UpdateIsolationPolicyRequest { policy: None, ..update(&["*"], attempts(1)) };
    assert_eq!(paths(&registry.update_policy(none).await.unwrap_err()), ["policy"]);
}

#[tokio::test]
async fn insisting_is_a_revision_of_its_own_and_holds_until_the_policy_changes() {
    let (store, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    let payments = key("default/payments");
    let insist = |insist| v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(v1::IsolationPolicy::default()),
        insist,
        ..v1::UpdateIsolationPolicyRequest::default()
    };
    let update = async |request| registry.update_policy(request).await.unwrap().service.unwrap();
    assert!(registry.contain(&payments, revision_from_wire(at), "no".to_owned()));
    let same = update(insist(false)).await;
    assert_eq!((same.revision, same.insisted), (Some(at), false), "nothing changed");

    let insisted = update(insist(true)).await;
    let revision = insisted.revision.unwrap();
    assert!(insisted.insisted && revision.revision > at.revision);
    assert_eq!(insisted.policy_hash, same.policy_hash);
    let registered = registry.get(&payments).unwrap();
    assert!(registered.is_insisted() && registered.containment().is_none());
    assert!(!registry.contain(&payments, revision_from_wire(revision), "no".to_owned()), "an SDK of before says so");

    // Said again, it is so already. Another version of the service has the same policy, and another manager the store.
    for again in [insist(true), insist(false)] {
        assert_eq!(update(again).await.revision, Some(revision));
    }
    let mut other = registration("payments");
    other.service.as_mut().unwrap().version = "2".to_owned();
    let other = registry.register(other).await.unwrap().service.unwrap();
    assert!(other.insisted && other.revision.unwrap().revision > revision.revision);
    assert!(crate::testing::registry(&store).await.get(&payments).unwrap().is_insisted());

    let changed = registry.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap().service.unwrap();
    assert!(!changed.insisted);
}

#[tokio::test]
async fn health_is_kept_apart_from_the_policy() {
    let (_, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    let report = |status: v1::HealthStatus| v1::UpdateServiceHealthRequest {
        service: "payments".to_owned(),
        health: Some(v1::ServiceHealth { status: status.into(), ..v1::ServiceHealth::default() }),
        ..v1::UpdateServiceHealthRequest::default()
    };
    let answer = registry.report_health(report(v1::HealthStatus::Degraded)).await.unwrap();
    assert!(answer.revision.unwrap().revision > at.revision);
    assert_eq!(answer.health.unwrap().observe_time.unwrap().seconds, 1_700_000_000, "now, as none was given");
    let payments = key("default/payments");
    assert_eq!(registry.reported_status(&payments), Some(HealthStatus::Degraded));
    assert_eq!(registry.get(&payments).unwrap().revision(), revision_from_wire(at));
    let refused = registry.report_health(report(v1::HealthStatus::CircuitOpen)).await.unwrap_err();
    assert_eq!(paths(&refused), ["health.status"]);
    let unknown = v1::UpdateServiceHealthRequest { service: "x".to_owned(), ..report(v1::HealthStatus::Healthy) };
    assert!(matches!(registry.report_health(unknown).await, Err(Error::ServiceNotFound { .. })));
}

#[tokio::test]
async fn unregistering_takes_policy_and_health_along_and_leaves_what_is_told_of_it() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    let health = v1::ServiceHealth { status: v1::HealthStatus::Healthy.into(), ..v1::ServiceHealth::default() };
    let report = v1::UpdateServiceHealthRequest {
        service: "payments".to_owned(),
        health: Some(health),
        ..v1::UpdateServiceHealthRequest::default()
    };
    registry.report_health(report).await.unwrap();
    let gone = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    registry.unregister(gone.clone()).await.unwrap();
    assert!(registry.get(&key("default/payments")).is_none());
    assert!(registry.reported_status(&key("default/payments")).is_none());
    let left = crate::store::Store::list(&*store.inner(), "").await.unwrap().entries;
    assert_eq!(
        left.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(),
        [
            "history/default/payments/00000000000000000001",
            "history/default/payments/00000000000000000002",
            "meta/store",
            "unregistered/default/payments",
        ]
    );
    assert!(matches!(registry.unregister(gone).await, Err(Error::ServiceNotFound { .. })));
}
