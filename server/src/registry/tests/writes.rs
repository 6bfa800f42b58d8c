//! What each write does, and what it refuses.

use crate::{
    error::Error,
    registry::{Registry, RegistryOptions},
    testing::{EPOCH, FaultyStore, fallback, key, registration, registry, registry_with, static_step},
};
use cofferdam_core::{level::Level, wire::revision_from_wire};
use cofferdam_proto::v1;
use std::sync::Arc;

/// The paths at fault of a refusal.
pub(super) fn paths(error: &Error) -> Vec<&str> {
    match error {
        Error::Invalid { violations } => violations.iter().map(|violation| violation.path.as_str()).collect(),
        other => panic!("not a refusal of fields: {other}"),
    }
}

pub(super) async fn register(registry: &Registry, name: &str) -> v1::Revision {
    registry.register(registration(name)).await.unwrap().service.unwrap().revision.unwrap()
}

pub(super) fn set_level(name: &str, level: v1::IsolationLevel) -> v1::SetIsolationLevelRequest {
    v1::SetIsolationLevelRequest {
        service: name.to_owned(),
        level: level.into(),
        ..v1::SetIsolationLevelRequest::default()
    }
}

pub(super) async fn fresh() -> (Arc<FaultyStore>, Registry) {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    (store, registry)
}

#[tokio::test]
async fn a_first_registration_takes_the_defaults() {
    let (_, registry) = fresh().await;
    let answer = registry.register(registration("payments")).await.unwrap();
    assert!(answer.created);
    let service = answer.service.unwrap();
    assert_eq!(service.service.unwrap().namespace, "default");
    assert_eq!(service.policy.unwrap().level(), v1::IsolationLevel::Basic);
    assert_eq!(service.revision.unwrap().epoch, EPOCH);
    assert_eq!(service.create_time.unwrap().seconds, 1_700_000_000);
    assert_eq!(service.policy_hash.len(), 16);
    assert_eq!(registry.get(&key("default/payments")).unwrap().policy().level, Level::Basic);
}

#[tokio::test]
async fn the_same_registration_again_changes_nothing() {
    let (_, registry) = fresh().await;
    let preset = v1::IsolationPolicy { preset: "database".to_owned(), ..v1::IsolationPolicy::default() };
    let with_preset = v1::RegisterServiceRequest { policy: Some(preset), ..registration("orders-db") };
    for request in [registration("payments"), with_preset] {
        let first = registry.register(request.clone()).await.unwrap();
        let again = registry.register(request).await.unwrap();
        assert!(!again.created);
        assert_eq!(again.service, first.service);
    }
}

#[tokio::test]
async fn a_registration_replaces_the_service_and_keeps_the_policy_in_force() {
    let (_, registry) = fresh().await;
    let first = v1::RegisterServiceRequest {
        level: v1::IsolationLevel::Full.into(),
        fallback: Some(fallback(vec![static_step(b"sorry")])),
        ..registration("payments")
    };
    let first = registry.register(first).await.unwrap().service.unwrap();
    let mut again = registration("payments");
    again.service.as_mut().unwrap().version = "2.0.0".to_owned();
    let again = registry.register(again).await.unwrap();
    assert!(!again.created);
    let again = again.service.unwrap();
    assert_eq!(again.policy, first.policy);
    assert_eq!(again.service.unwrap().version, "2.0.0");
    assert_eq!(again.create_time, first.create_time);
    assert!(again.revision.unwrap().revision > first.revision.unwrap().revision);
}

#[tokio::test]
async fn a_new_policy_without_a_level_keeps_the_level_in_force() {
    let (_, registry) = fresh().await;
    let full = v1::RegisterServiceRequest { level: v1::IsolationLevel::Full.into(), ..registration("payments") };
    registry.register(full).await.unwrap();
    let retry = v1::RetryPolicy { max_attempts: Some(7), ..v1::RetryPolicy::default() };
    let policy = v1::IsolationPolicy { retry: Some(retry), ..v1::IsolationPolicy::default() };
    let answer = registry.register(v1::RegisterServiceRequest { policy: Some(policy), ..registration("payments") });
    let policy = answer.await.unwrap().service.unwrap().policy.unwrap();
    assert_eq!(policy.level(), v1::IsolationLevel::Full);
    assert_eq!(policy.retry.unwrap().max_attempts, Some(7));
}

#[tokio::test]
async fn bad_registrations_name_every_field_and_leave_no_trace() {
    let (store, registry) = fresh().await;
    let before = store.inner();
    let head = crate::store::Store::list(&*before, "").await.unwrap().revision;
    let negative = prost_types::Duration { seconds: -1, nanos: 0 };
    let cases: Vec<(v1::RegisterServiceRequest, &[&str])> = vec![
        (v1::RegisterServiceRequest::default(), &["service"]),
        (registration(""), &["service.name"]),
        (registration(&"a".repeat(129)), &["service.name"]),
        (registration("Pay ments"), &["service.name"]),
        (v1::RegisterServiceRequest { level: 9, ..registration("a") }, &["level"]),
        (v1::RegisterServiceRequest { request_id: "r".repeat(129), ..registration("a") }, &["request_id"]),
        (with_policy(|p| p.level = 9), &["policy.level"]),
        (with_policy(|p| p.preset = "databse".to_owned()), &["policy.preset"]),
        (
            with_policy(|p| p.timeout.get_or_insert_default().call_timeout = Some(negative)),
            &["policy.timeout.call_timeout"],
        ),
        (
            with_policy(|p| p.circuit_breaker.get_or_insert_default().failure_rate = Some(1.5)),
            &["policy.circuit_breaker.failure_rate"],
        ),
        (
            v1::RegisterServiceRequest {
                fallback: Some(v1::FallbackConfig { max_retries: Some(10), ..v1::FallbackConfig::default() }),
                ..registration("a")
            },
            &["fallback.max_retries"],
        ),
        (
            v1::RegisterServiceRequest {
                fallback: Some(fallback(vec![static_step(&[0; 65 * 1024])])),
                ..registration("a")
            },
            &["fallback.chain[0].static.payload"],
        ),
        (
            v1::RegisterServiceRequest {
                fallback: Some(fallback(vec![])),
                ..with_policy(|p| p.fallback = Some(v1::FallbackPolicy::default()))
            },
            &["fallback"],
        ),
    ];
    for (request, expected) in cases {
        let refused = registry.register(request.clone()).await.unwrap_err();
        assert_eq!(paths(&refused), expected, "{request:?}: {refused}");
    }
    assert_eq!(crate::store::Store::list(&*before, "").await.unwrap().revision, head);
}

fn with_policy(change: impl FnOnce(&mut v1::IsolationPolicy)) -> v1::RegisterServiceRequest {
    let mut policy = v1::IsolationPolicy::default();
    change(&mut policy);
    v1::RegisterServiceRequest { policy: Some(policy), ..registration("a") }
}

#[tokio::test]
async fn an_expected_revision_decides() {
    let (_, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    let expecting = |expected: v1::Revision, level: v1::IsolationLevel| v1::SetIsolationLevelRequest {
        expected_revision: Some(expected),
        ..set_level("payments", level)
    };
    let stale = v1::Revision { revision: at.revision - 1, ..at };
    let refused = registry.set_level(expecting(stale, v1::IsolationLevel::Full)).await.unwrap_err();
    let Error::RevisionMismatch { current, expected, .. } = refused else { panic!("{refused}") };
    assert_eq!((current, expected), (revision_from_wire(at), revision_from_wire(stale)));
    let other_epoch = v1::Revision { epoch: 1, ..at };
    registry.set_level(expecting(other_epoch, v1::IsolationLevel::Full)).await.unwrap_err();

    let any_epoch = v1::Revision { epoch: 0, ..at };
    registry.set_level(expecting(any_epoch, v1::IsolationLevel::Full)).await.unwrap();
    registry.set_level(expecting(any_epoch, v1::IsolationLevel::None)).await.unwrap_err();
}

#[tokio::test]
async fn revision_zero_expects_that_there_is_none() {
    let (_, registry) = fresh().await;
    let only_new =
        || v1::RegisterServiceRequest { expected_revision: Some(v1::Revision::default()), ..registration("payments") };
    assert!(registry.register(only_new()).await.unwrap().created);
    let refused = registry.register(only_new()).await.unwrap_err();
    assert!(matches!(refused, Error::RevisionMismatch { .. }), "{refused}");
    assert!(refused.to_string().starts_with("service default/payments is registered already, at "), "{refused}");
}

#[tokio::test]
async fn namespaces_keep_the_same_name_apart() {
    let (_, registry) = fresh().await;
    let in_namespace = |namespace: &str| {
        let mut request = registration("payments");
        request.service.as_mut().unwrap().namespace = namespace.to_owned();
        request
    };
    assert!(registry.register(in_namespace("eu")).await.unwrap().created);
    assert!(registry.register(in_namespace("us")).await.unwrap().created);
    let eu =
        v1::SetIsolationLevelRequest { namespace: "eu".to_owned(), ..set_level("payments", v1::IsolationLevel::Full) };
    registry.set_level(eu).await.unwrap();
    assert_eq!(registry.get(&key("eu/payments")).unwrap().policy().level, Level::Full);
    assert_eq!(registry.get(&key("us/payments")).unwrap().policy().level, Level::Basic);
    let namespace = cofferdam_core::name::Name::new("us").unwrap();
    assert_eq!(registry.services(Some(&namespace)).len(), 1);
    assert_eq!(registry.services(None).len(), 2);
}

#[tokio::test]
async fn no_more_services_than_the_limit() {
    let store = FaultyStore::new();
    let registry = registry_with(&store, RegistryOptions { max_services: 2, ..RegistryOptions::default() }).await;
    register(&registry, "a").await;
    register(&registry, "b").await;
    let refused = registry.register(registration("c")).await.unwrap_err();
    assert!(matches!(refused, Error::QuotaExceeded { quota: "services", .. }), "{refused}");
    register(&registry, "b").await;
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let (store, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    drop(registry);
    let reopened = reopen(&store).await;
    let service = reopened.get(&key("default/payments")).unwrap();
    assert_eq!(service.revision(), revision_from_wire(at));
}

async fn reopen(store: &Arc<FaultyStore>) -> Registry {
    registry(store).await
}

/// The largest static answer, and so many pools with as many and as long globs as a pool may have: 8 KiB each.
fn large_policy(pools: usize) -> v1::IsolationPolicy {
    let glob = |pool: usize, index: usize| format!("/{pool}/{index}*");
    let pool = |pool: usize| v1::BulkheadPool {
        name: format!("pool{pool}"),
        method_globs: (0..32).map(|index| format!("{:x<256}", glob(pool, index))).collect(),
        ..v1::BulkheadPool::default()
    };
    let bulkhead = v1::BulkheadPolicy { pools: (0..pools).map(pool).collect(), ..v1::BulkheadPolicy::default() };
    let answer = static_step(vec![7; 64 * 1024].leak());
    v1::IsolationPolicy {
        bulkhead: Some(bulkhead),
        fallback: Some(v1::FallbackPolicy { chain: vec![answer], ..v1::FallbackPolicy::default() }),
        ..v1::IsolationPolicy::default()
    }
}

#[tokio::test]
async fn a_policy_as_large_as_it_may_be_is_remembered_with_its_request() {
    let (_, registry) = fresh().await;
    let request = v1::RegisterServiceRequest {
        policy: Some(large_policy(5)),
        request_id: "one".to_owned(),
        ..registration("payments")
    };
    let first = registry.register(request.clone()).await.unwrap();
    assert_eq!(registry.register(request).await.unwrap(), first);
}

#[tokio::test]
async fn what_is_too_large_to_be_kept_is_refused_by_its_field() {
    let (_, registry) = fresh().await;
    let at = register(&registry, "payments").await;
    for pools in [6, 24, 32] {
        let again = v1::RegisterServiceRequest { policy: Some(large_policy(pools)), ..registration("orders") };
        assert_eq!(paths(&registry.register(again).await.unwrap_err()), ["policy"], "{pools}");
        let update = v1::UpdateIsolationPolicyRequest {
            service: "payments".to_owned(),
            policy: Some(large_policy(pools)),
            request_id: pools.to_string(),
            ..v1::UpdateIsolationPolicyRequest::default()
        };
        assert_eq!(paths(&registry.update_policy(update).await.unwrap_err()), ["policy"], "{pools}");
    }
    assert_eq!(registry.get(&key("default/payments")).unwrap().revision(), revision_from_wire(at));
}
