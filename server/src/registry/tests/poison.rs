//! Values in the store that no release of ours wrote.

use super::writes::register;
use crate::{
    error::Error,
    fanout::{News, Subscription},
    registry::{Change, Registry},
    store::{Store, Txn},
    testing::{EPOCH, FaultyStore, PATIENCE, eventually, key, registration, registry},
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;
use std::sync::Arc;

fn record(change: impl FnOnce(&mut storage::ServiceRecord)) -> Vec<u8> {
    let service = v1::Service { namespace: "default".to_owned(), name: "payments".to_owned(), ..Default::default() };
    let mut record = storage::ServiceRecord {
        schema_version: 1,
        service: Some(service),
        policy: Some(v1::IsolationPolicy::default()),
        ..storage::ServiceRecord::default()
    };
    change(&mut record);
    record.encode_to_vec()
}

fn poisons() -> Vec<Vec<u8>> {
    let timeout = |call_timeout: Option<prost_types::Duration>| v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy { call_timeout, ..v1::TimeoutPolicy::default() }),
        ..v1::IsolationPolicy::default()
    };
    let forever = Some(prost_types::Duration { seconds: 1 << 40, nanos: 0 });
    let rate = v1::IsolationPolicy {
        circuit_breaker: Some(v1::CircuitBreakerPolicy { failure_rate: Some(f64::NAN), ..Default::default() }),
        ..v1::IsolationPolicy::default()
    };
    vec![
        b"\xff\xff\xff not a message".to_vec(),
        Vec::new(),
        record(|r| r.schema_version = 2),
        record(|r| r.service = None),
        record(|r| r.policy = None),
        record(|r| r.service.as_mut().unwrap().name = "orders".to_owned()),
        record(|r| r.service.as_mut().unwrap().name.clear()),
        record(|r| r.policy = Some(timeout(forever))),
        record(|r| r.policy = Some(timeout(Some(prost_types::Duration { seconds: -1, nanos: 0 })))),
        record(|r| r.policy = Some(rate)),
        record(|r| r.policy.as_mut().unwrap().level = 77),
    ]
}

async fn put(store: &Arc<FaultyStore>, key: &str, value: Vec<u8>) {
    store.inner().commit(Txn::new().put(key, value)).await.unwrap();
}

async fn fresh() -> (Arc<FaultyStore>, Registry) {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    (store, registry)
}

#[tokio::test]
async fn it_hurts_no_other_service_and_leaves_the_last_good_value() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    register(&registry, "orders").await;
    let payments = key("default/payments");
    let good = registry.get(&payments).unwrap().revision();
    for poison in poisons() {
        put(&store, "service/default/payments", poison.clone()).await;
        // A later write of another service tells that the poison was seen.
        let mut other = registration("orders");
        other.service.as_mut().unwrap().version = format!("{}", poison.len());
        registry.register(other).await.unwrap();
        eventually(&registry, || registry.is_poisoned(&payments)).await;
        assert_eq!(registry.get(&payments).unwrap().revision(), good);
        assert_eq!(registry.poisoned(), ["service/default/payments"]);
    }
}

#[tokio::test]
async fn it_is_healed_by_writing_or_unregistering() {
    let (store, registry) = fresh().await;
    let payments = key("default/payments");
    for poison in poisons() {
        put(&store, "service/default/payments", poison.clone()).await;
        eventually(&registry, || registry.is_poisoned(&payments)).await;
        assert!(registry.get(&payments).is_none(), "there was no good value before");
        assert!(registry.register(registration("payments")).await.unwrap().created);
        assert!(!registry.is_poisoned(&payments));

        put(&store, "service/default/payments", poison).await;
        eventually(&registry, || registry.is_poisoned(&payments)).await;
        let gone = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
        registry.unregister(gone).await.unwrap();
        assert!(registry.poisoned().is_empty());
    }
}

#[tokio::test]
async fn it_is_healed_by_writing_the_last_good_value_again() {
    let (store, registry) = fresh().await;
    let payments = key("default/payments");
    for poison in poisons() {
        registry.register(registration("payments")).await.unwrap();
        put(&store, "service/default/payments", poison.clone()).await;
        eventually(&registry, || registry.is_poisoned(&payments)).await;
        registry.register(registration("payments")).await.unwrap();
        assert!(!registry.is_poisoned(&payments), "the poison is still what the store holds");

        put(&store, "service/default/payments", poison).await;
        eventually(&registry, || registry.is_poisoned(&payments)).await;
        let nothing = v1::UpdateIsolationPolicyRequest {
            service: "payments".to_owned(),
            policy: Some(v1::IsolationPolicy::default()),
            ..v1::UpdateIsolationPolicyRequest::default()
        };
        registry.update_policy(nothing).await.unwrap();
        assert!(!registry.is_poisoned(&payments), "the poison is still what the store holds");
    }
}

#[tokio::test]
async fn it_is_there_at_start() {
    let store = FaultyStore::new();
    {
        let registry = registry(&store).await;
        register(&registry, "orders").await;
    }
    put(&store, "service/default/payments", b"\xff".to_vec()).await;
    put(&store, "service/UPPER/case", b"x".to_vec()).await;
    put(&store, "health/default/orders", b"\xff".to_vec()).await;
    put(&store, "from/a/later/release", b"x".to_vec()).await;
    let registry = registry(&store).await;
    assert!(registry.get(&key("default/orders")).is_some());
    let level = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: v1::IsolationLevel::Full.into(),
        ..v1::SetIsolationLevelRequest::default()
    };
    assert!(matches!(registry.set_level(level).await, Err(Error::ServiceNotFound { .. })));
    assert_eq!(registry.poisoned(), ["service/default/payments", "health/default/orders", "service/UPPER/case"]);
}

async fn next(subscription: &Subscription) -> Change {
    match tokio::time::timeout(PATIENCE, subscription.next()).await.unwrap().unwrap() {
        News::Change(change) => change,
        News::Hint(hint) => panic!("{hint:?}"),
    }
}

/// A manager that started on it told every instance that the service was gone, and they dropped its policy.
#[tokio::test]
async fn nobody_is_told_that_a_service_is_gone_which_a_manager_that_starts_cannot_read() {
    let store = FaultyStore::new();
    put(&store, "service/default/payments", b"\xff".to_vec()).await;
    let registry = registry(&store).await;
    let (payments, orders) = (key("default/payments"), key("default/orders"));
    let mut subscription = registry.subscribe(Default::default());
    let opening = registry.follow(&mut subscription, std::slice::from_ref(&payments), None);
    assert!(opening.changes.is_empty(), "{opening:?}");
    assert_eq!(opening.followed().collect::<Vec<_>>(), [(&payments, true)], "whoever uses it is counted");

    // Nor where the store begins a new epoch.
    let opening = registry.follow(&mut subscription, std::slice::from_ref(&orders), None);
    assert!(matches!(&opening.changes[..], [Change::Removed { key, .. }] if *key == orders), "{opening:?}");
    let store_identity = store.inner().identity().await.unwrap().cluster;
    let raised = storage::StoreMeta { schema_version: 1, epoch: EPOCH + 5, store_identity, ..Default::default() };
    put(&store, "meta/store", raised.encode_to_vec()).await;
    let change = next(&subscription).await;
    assert!(matches!(&change, Change::Removed { key, .. } if *key == orders), "{change:?}");

    // Where it goes for good, whoever has a policy of before hears of it.
    let gone = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    registry.unregister(gone).await.unwrap();
    let change = next(&subscription).await;
    assert!(matches!(&change, Change::Removed { key, .. } if *key == payments), "{change:?}");
}
