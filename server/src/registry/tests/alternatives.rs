//! The rules that span services.

use super::writes::{paths, register};
use crate::{
    error::Error,
    registry::Registry,
    testing::{FaultyStore, alternative_step, fallback, key, registration, registry, static_step},
};
use cofferdam_proto::v1;

fn stand_in(service: &str, alternative: &str) -> v1::UpdateFallbackConfigRequest {
    v1::UpdateFallbackConfigRequest {
        service: service.to_owned(),
        fallback: Some(fallback(vec![static_step(b"x"), alternative_step(alternative)])),
        ..v1::UpdateFallbackConfigRequest::default()
    }
}

fn unregister(service: &str) -> v1::UnregisterServiceRequest {
    v1::UnregisterServiceRequest { service: service.to_owned(), ..v1::UnregisterServiceRequest::default() }
}

async fn with(names: &[&str]) -> Registry {
    let registry = registry(&FaultyStore::new()).await;
    for name in names {
        register(&registry, name).await;
    }
    registry
}

#[tokio::test]
async fn an_alternative_must_be_registered_in_the_namespace() {
    let registry = with(&["payments", "backup"]).await;
    let refused = registry.update_fallback(stand_in("payments", "bakcup")).await.unwrap_err();
    assert_eq!(paths(&refused), ["fallback.chain[1].alternative.service"]);
    assert!(refused.to_string().contains("did you mean backup?"), "{refused}");

    let mut elsewhere = registration("other");
    elsewhere.service.as_mut().unwrap().namespace = "eu".to_owned();
    registry.register(elsewhere).await.unwrap();
    registry.update_fallback(stand_in("payments", "other")).await.unwrap_err();
    registry.update_fallback(stand_in("payments", "backup")).await.unwrap();
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/691>,
/// <https://github.com/resilience4j/resilience4j/issues/575>.
#[tokio::test]
async fn t38_alternatives_never_lead_back() {
    let registry = with(&["a", "b", "c"]).await;
    let refused = registry.update_fallback(stand_in("a", "a")).await.unwrap_err();
    assert!(refused.to_string().contains("a -> a"), "{refused}");
    registry.update_fallback(stand_in("a", "b")).await.unwrap();
    registry.update_fallback(stand_in("b", "c")).await.unwrap();
    let refused = registry.update_fallback(stand_in("c", "a")).await.unwrap_err();
    assert_eq!(paths(&refused), ["fallback.chain[1].alternative.service"]);
    assert!(refused.to_string().contains("c -> a -> b -> c"), "{refused}");
}

#[tokio::test]
async fn a_service_that_others_name_stays() {
    let registry = with(&["payments", "backup"]).await;
    registry.update_fallback(stand_in("payments", "backup")).await.unwrap();
    let refused = registry.unregister(unregister("backup")).await.unwrap_err();
    let Error::ServiceInUse { services, .. } = refused else { panic!("{refused}") };
    assert_eq!(services, ["payments"]);
    registry.unregister(unregister("payments")).await.unwrap();
    registry.unregister(unregister("backup")).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_only_together_is_never_committed() {
    // Two managers, each of which would close one half of a circle, over and over.
    let store = FaultyStore::new();
    let (left, right) = (registry(&store).await, registry(&store).await);
    register(&left, "a").await;
    register(&left, "b").await;
    for _ in 0..50 {
        let (a, b) = tokio::join!(left.update_fallback(stand_in("a", "b")), right.update_fallback(stand_in("b", "a")));
        assert!(a.is_ok() != b.is_ok(), "one and only one: {a:?} {b:?}");
        let open = fallback(vec![static_step(b"x")]);
        for service in ["a", "b"] {
            let request = v1::UpdateFallbackConfigRequest { fallback: Some(open.clone()), ..stand_in(service, "-") };
            left.update_fallback(request).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_name_is_not_taken_from_under_who_begins_to_use_it() {
    let store = FaultyStore::new();
    let (left, right) = (registry(&store).await, registry(&store).await);
    register(&left, "payments").await;
    for _ in 0..50 {
        register(&left, "backup").await;
        let (named, gone) =
            tokio::join!(left.update_fallback(stand_in("payments", "backup")), right.unregister(unregister("backup")));
        assert!(named.is_ok() != gone.is_ok(), "one and only one: {named:?} {gone:?}");
        let open = v1::UpdateFallbackConfigRequest {
            fallback: Some(fallback(vec![static_step(b"x")])),
            ..stand_in("payments", "-")
        };
        left.update_fallback(open).await.unwrap();
    }
    assert!(left.get(&key("default/payments")).is_some());
}

/// An override's chain stands in for the service as much as the service's own does.
#[tokio::test]
async fn the_alternatives_of_overrides_count() {
    let by_override = |service: &str, alternative: &str| {
        let fallback = v1::FallbackPolicy { chain: vec![alternative_step(alternative)], ..Default::default() };
        let policy = v1::IsolationPolicy { fallback: Some(fallback), ..Default::default() };
        let overrides = ["Get*", "*"].map(|glob| v1::MethodOverride {
            glob: glob.to_owned(),
            policy: (glob == "*").then(|| policy.clone()),
            ..Default::default()
        });
        v1::UpdateIsolationPolicyRequest {
            service: service.to_owned(),
            policy: Some(v1::IsolationPolicy { method_overrides: overrides.to_vec(), ..Default::default() }),
            ..Default::default()
        }
    };
    let registry = with(&["a", "b"]).await;
    let path = "policy.method_overrides[1].policy.fallback.chain[0].alternative.service";
    let refused = registry.update_policy(by_override("a", "nobody")).await.unwrap_err();
    assert_eq!(paths(&refused), [path]);
    registry.update_policy(by_override("a", "b")).await.unwrap();
    registry.update_fallback(stand_in("b", "a")).await.unwrap_err();
    let refused = registry.update_policy(by_override("b", "a")).await.unwrap_err();
    assert_eq!(paths(&refused), [path]);
    assert!(refused.to_string().contains("b -> a -> b"), "{refused}");
    let refused = registry.unregister(unregister("b")).await.unwrap_err();
    assert!(matches!(refused, Error::ServiceInUse { .. }), "{refused}");
}

/// Each is a condition of the transaction: 61 of them were an internal error.
#[tokio::test]
async fn more_alternatives_than_a_transaction_takes_are_refused_where_they_are() {
    let registry = with(&["payments"]).await;
    let chains = |count: usize| v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(v1::IsolationPolicy {
            method_overrides: (0..count)
                .map(|number| v1::MethodOverride {
                    glob: format!("Get{number}"),
                    policy: Some(v1::IsolationPolicy {
                        fallback: Some(v1::FallbackPolicy {
                            chain: vec![alternative_step(&format!("backup-{number}"))],
                            ..v1::FallbackPolicy::default()
                        }),
                        ..v1::IsolationPolicy::default()
                    }),
                    ..v1::MethodOverride::default()
                })
                .collect(),
            ..v1::IsolationPolicy::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["method_overrides".to_owned()] }),
        ..v1::UpdateIsolationPolicyRequest::default()
    };
    for number in 0..49 {
        register(&registry, &format!("backup-{number}")).await;
    }
    let refused = registry.update_policy(chains(49)).await.unwrap_err();
    assert_eq!(paths(&refused), ["policy.method_overrides[48].policy.fallback.chain[0].alternative.service"]);
    assert!(refused.to_string().contains("at most 48"), "{refused}");
    registry.update_policy(chains(48)).await.unwrap();
}
