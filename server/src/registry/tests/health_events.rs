//! What is told of reported health.

use super::writes::{register, set_level};
use crate::{
    events::{Events, Filter},
    registry::Registry,
    testing::{FaultyStore, PATIENCE, eventually, registry_telling},
};
use cofferdam_proto::v1::{self, HealthStatus::*};
use std::sync::Arc;

/// A registry that tells of a service with a breaker.
async fn telling(store: &Arc<FaultyStore>) -> (Arc<Events>, Registry) {
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let registry = registry_telling(store, Arc::clone(&events)).await;
    (events, registry)
}

async fn report(registry: &Registry, status: v1::HealthStatus) {
    let health = v1::ServiceHealth { status: status.into(), message: "latency".to_owned(), observe_time: None };
    let request = v1::UpdateServiceHealthRequest {
        service: "payments".to_owned(),
        health: Some(health),
        ..v1::UpdateServiceHealthRequest::default()
    };
    registry.report_health(request).await.unwrap();
}

async fn reset(registry: &Registry) {
    let request = v1::ResetBreakerRequest {
        service: "payments".to_owned(),
        reason: "it is mended".to_owned(),
        reset_health: true,
        ..v1::ResetBreakerRequest::default()
    };
    registry.reset_breaker(request).await.unwrap();
}

async fn unregister(registry: &Registry) {
    let request = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    registry.unregister(request).await.unwrap();
}

/// What is told of health, once the last change of the store is told.
async fn told(events: &Events, registry: &Registry) -> Vec<v1::HealthStatus> {
    let mut last = events.last();
    register(registry, "the-last").await;
    let is_last = |event: &Arc<v1::Event>| event.service == "the-last";
    let is_told = |_: &u64| events.newest(1, &Filter::default()).events.first().is_some_and(is_last);
    tokio::time::timeout(PATIENCE, last.wait_for(is_told)).await.expect("nothing was told").unwrap();
    let health = Filter::new("*", "", &[v1::EventKind::Health.into()]).unwrap();
    let status = |event: &Arc<v1::Event>| match event.detail.as_ref() {
        Some(v1::event::Detail::Health(health)) => health.status(),
        other => panic!("{other:?}"),
    };
    events.after(0, 100, &health).events.iter().map(status).collect()
}

#[tokio::test]
async fn only_another_health_is_news() {
    let (events, registry) = telling(&FaultyStore::new()).await;
    register(&registry, "payments").await;
    for status in [Degraded, Degraded, Healthy] {
        report(&registry, status).await;
    }
    assert_eq!(told(&events, &registry).await, [Degraded, Healthy]);
    let health = Filter::new("*", "", &[v1::EventKind::Health.into()]).unwrap();
    assert_eq!(events.after(0, 1, &health).events[0].summary, "default/payments: reported degraded: latency");
}

#[tokio::test]
async fn after_a_reset_or_a_removal_the_same_health_is_news() {
    let (events, registry) = telling(&FaultyStore::new()).await;
    register(&registry, "payments").await;
    registry.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap();
    report(&registry, Degraded).await;
    reset(&registry).await;
    report(&registry, Degraded).await;
    unregister(&registry).await;
    register(&registry, "payments").await;
    report(&registry, Degraded).await;
    assert_eq!(told(&events, &registry).await, [Degraded; 3]);
}

#[tokio::test]
async fn a_reset_while_the_store_was_away_is_one_as_well() {
    let store = FaultyStore::new();
    let (events, registry) = telling(&store).await;
    register(&registry, "payments").await;
    report(&registry, Degraded).await;
    tokio::time::timeout(PATIENCE, events.last().wait_for(|last| *last == 2)).await.unwrap().unwrap();
    store.set_away(true);
    eventually(&registry, || registry.stale_for().is_some()).await;
    let inner = store.inner();
    crate::store::Store::commit(&*inner, crate::store::Txn::new().delete("health/default/payments")).await.unwrap();
    store.set_away(false);
    eventually(&registry, || registry.stale_for().is_none()).await;
    report(&registry, Degraded).await;
    assert_eq!(told(&events, &registry).await, [Degraded; 2]);
}

#[tokio::test]
async fn what_was_reported_before_a_manager_started_is_no_news() {
    let store = FaultyStore::new();
    let (_, first) = telling(&store).await;
    register(&first, "payments").await;
    report(&first, Degraded).await;
    let (events, registry) = telling(&store).await;
    report(&registry, Degraded).await;
    report(&registry, Unhealthy).await;
    assert_eq!(told(&events, &registry).await, [Unhealthy]);
}
