//! What is told of changes, by whom and why, and of what runs out.

use super::{dial::Dial, writes::set_level};
use crate::{
    events::{Events, Filter},
    registry::{Actor, Asked, Registry},
    testing::{FaultyStore, PATIENCE, eventually, registration, registry_telling},
};
use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::{v1, v1::event::Detail};
use std::{sync::Arc, time::Duration};

/// Waits until so many events are told, and returns them.
async fn told(events: &Events, count: usize) -> Vec<Arc<v1::Event>> {
    let mut last = events.last();
    let waiting = async {
        loop {
            let page = events.after(0, 100, &Filter::default());
            if page.events.len() >= count {
                return page.events;
            }
            last.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("nothing was told")
}

fn change(event: &v1::Event) -> v1::ChangeEvent {
    match event.detail.clone() {
        Some(Detail::Change(change)) => change,
        other => panic!("{other:?}"),
    }
}

fn hold(ttl: u64) -> v1::HoldBreakerRequest {
    v1::HoldBreakerRequest {
        service: "payments".to_owned(),
        forced: v1::ForcedState::Open.into(),
        ttl: Some(duration_to_wire(Duration::from_secs(ttl))),
        reason: "the disk is being changed".to_owned(),
        ..v1::HoldBreakerRequest::default()
    }
}

async fn dialled() -> (Arc<Dial>, Registry) {
    let (dial, store) = (Dial::at(0), FaultyStore::new());
    let registry = dial.registry(&store).await;
    let mut full = registration("payments");
    full.level = v1::IsolationLevel::Full.into();
    registry.register(full).await.unwrap();
    (dial, registry)
}

#[tokio::test]
async fn a_change_is_told_with_who_and_why_and_what_was_before() {
    let store = FaultyStore::new();
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let registry = registry_telling(&store, Arc::clone(&events)).await;
    registry.register(registration("payments")).await.unwrap();
    let request = v1::SetIsolationLevelRequest {
        reason: "black friday".to_owned(),
        ..set_level("payments", v1::IsolationLevel::Full)
    };
    let asked = Asked { request, actor: Actor::new(b"ann").unwrap() };
    let revision = registry.set_level(asked).await.unwrap().service.unwrap().revision;
    let request = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    registry.unregister(request).await.unwrap();
    let told = told(&events, 3).await;
    let first = change(&told[0]);
    assert_eq!(
        (first.kind(), first.level_before(), first.level()),
        (v1::ChangeKind::Registered, v1::IsolationLevel::Unspecified, v1::IsolationLevel::Basic)
    );
    let second = change(&told[1]);
    assert_eq!((second.level_before(), second.level()), (v1::IsolationLevel::Basic, v1::IsolationLevel::Full));
    assert_eq!((second.actor.as_str(), second.reason.as_str()), ("ann", "black friday"));
    assert_eq!((told[1].kind(), told[1].revision), (v1::EventKind::Change, revision));
    assert_eq!(told[1].summary, "default/payments: level basic -> full by ann: black friday");
    assert_eq!(
        (change(&told[2]).kind(), change(&told[2]).level()),
        (v1::ChangeKind::Unregistered, v1::IsolationLevel::Unspecified)
    );
}

#[tokio::test]
async fn orders_are_told_and_so_is_their_end() {
    let (dial, registry) = dialled().await;
    let events = Arc::clone(registry.events());
    registry.hold_breaker(hold(60)).await.unwrap();
    let temporary = v1::SetIsolationLevelRequest {
        ttl: Some(duration_to_wire(Duration::from_secs(30))),
        ..set_level("payments", v1::IsolationLevel::None)
    };
    registry.set_level(temporary).await.unwrap();
    let begun = told(&events, 3).await;
    assert_eq!((begun[1].kind(), begun[2].kind()), (v1::EventKind::Order, v1::EventKind::Order));
    assert_eq!(change(&begun[1]).hold.unwrap().reason, "the disk is being changed");
    assert_eq!(change(&begun[2]).temporary_level.unwrap().level(), v1::IsolationLevel::None);
    registry.tell_expired();
    dial.set(45);
    registry.tell_expired();
    dial.set(90);
    registry.tell_expired();
    registry.tell_expired();
    let ended = told(&events, 5).await;
    let expired = |event: &v1::Event| match event.detail.clone() {
        Some(Detail::Expiry(expiry)) => expiry.expired.unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(expired(&ended[3]), v1::expiry_event::Expired::TemporaryLevel(_)));
    assert!(matches!(expired(&ended[4]), v1::expiry_event::Expired::Hold(_)));
    assert_eq!(ended[4].time.unwrap().seconds - ended[1].time.unwrap().seconds, 60, "at the time when it ran out");
    assert_eq!(told(&events, 5).await.len(), 5, "once");
}

#[tokio::test]
async fn a_hold_that_is_released_does_not_run_out() {
    let (dial, registry) = dialled().await;
    let events = Arc::clone(registry.events());
    registry.hold_breaker(hold(60)).await.unwrap();
    let release = v1::ReleaseBreakerRequest {
        service: "payments".to_owned(),
        reason: "done".to_owned(),
        ..v1::ReleaseBreakerRequest::default()
    };
    registry.release_breaker(release).await.unwrap();
    let told = told(&events, 3).await;
    assert_eq!(
        (change(&told[2]).kind(), change(&told[2]).hold.unwrap().forced()),
        (v1::ChangeKind::Released, v1::ForcedState::Open)
    );
    dial.set(90);
    registry.tell_expired();
    assert_eq!(*events.last().borrow(), 3);
}

#[tokio::test]
async fn what_changed_while_the_store_was_away_is_told_when_it_is_back() {
    let store = FaultyStore::new();
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let registry = registry_telling(&store, Arc::clone(&events)).await;
    registry.register(registration("payments")).await.unwrap();
    told(&events, 1).await;
    let other = crate::registry::Registry::open(store.inner(), Arc::new(crate::clock::SystemClock), Default::default());
    let other = other.await.unwrap();
    store.set_away(true);
    eventually(&registry, || registry.stale_for().is_some()).await;
    other.set_level(set_level("payments", v1::IsolationLevel::Enhanced)).await.unwrap();
    other.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap();
    store.set_away(false);
    let told = told(&events, 5).await;
    let lost = |event: &v1::Event| matches!(&event.detail, Some(Detail::Store(store)) if store.change() == v1::StoreChange::Lost);
    let back = |event: &v1::Event| matches!(&event.detail, Some(Detail::Store(store)) if store.change() == v1::StoreChange::Back);
    assert!(lost(&told[1]) && told.iter().any(|event| back(event)), "{told:?}");
    let levels: Vec<_> = (told.iter())
        .filter(|event| event.kind() == v1::EventKind::Change)
        .map(|event| (change(event).level_before(), change(event).level()))
        .collect();
    assert_eq!(
        levels[1..],
        [
            (v1::IsolationLevel::Basic, v1::IsolationLevel::Enhanced),
            (v1::IsolationLevel::Enhanced, v1::IsolationLevel::Full)
        ]
    );
}

#[tokio::test]
async fn what_was_before_a_manager_started_is_not_told_by_it() {
    let store = FaultyStore::new();
    let registry = crate::testing::registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let later = registry_telling(&store, Arc::clone(&events)).await;
    later.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap();
    let told = told(&events, 1).await;
    assert_eq!((told.len(), change(&told[0]).level_before()), (1, v1::IsolationLevel::Basic));
}

#[tokio::test]
async fn only_another_health_is_news() {
    let store = FaultyStore::new();
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let registry = registry_telling(&store, Arc::clone(&events)).await;
    registry.register(registration("payments")).await.unwrap();
    let report = |status: v1::HealthStatus| v1::UpdateServiceHealthRequest {
        service: "payments".to_owned(),
        health: Some(v1::ServiceHealth { status: status.into(), message: "latency".to_owned(), observe_time: None }),
        ..v1::UpdateServiceHealthRequest::default()
    };
    for status in [v1::HealthStatus::Degraded, v1::HealthStatus::Degraded, v1::HealthStatus::Healthy] {
        registry.report_health(report(status)).await.unwrap();
    }
    let told = told(&events, 3).await;
    let summaries: Vec<_> = told.iter().map(|event| event.summary.as_str()).collect();
    assert_eq!(
        summaries[1..],
        ["default/payments: reported degraded: latency", "default/payments: reported healthy: latency"]
    );
}
