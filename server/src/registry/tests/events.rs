//! What is told of changes, by whom and why, and of what runs out.

use super::{dial::Dial, writes::set_level};
use crate::{
    clock::testing::FixedClock,
    events::{Events, EventsOptions, Filter},
    registry::{Actor, Asked, Registry, RegistryOptions},
    store::Store,
    testing::{EPOCH, FaultyStore, PATIENCE, eventually, registration, registry_telling},
};
use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::{v1, v1::event::Detail};
use std::{sync::Arc, time::Duration};

/// Waits until so many events are told, and returns them.
pub(super) async fn told(events: &Events, count: usize) -> Vec<Arc<v1::Event>> {
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
async fn a_hold_that_runs_out_just_before_a_change_is_told() {
    let (dial, registry) = dialled().await;
    registry.hold_breaker(hold(60)).await.unwrap();
    // Nobody has looked when the next change leaves it out.
    dial.set(61);
    registry.set_level(set_level("payments", v1::IsolationLevel::Enhanced)).await.unwrap();
    registry.tell_expired();
    let told = told(registry.events(), 4).await;
    assert!(matches!(told[2].detail, Some(Detail::Expiry(_))), "{told:?}");
    assert_eq!((told.len(), change(&told[3]).level()), (4, v1::IsolationLevel::Enhanced));
}

#[tokio::test(start_paused = true)]
async fn what_runs_out_at_once_is_told_whole_and_not_all_in_one_go() {
    const MANY: u64 = 1_100;
    for is_shared in [false, true] {
        let (dial, store) = (Dial::at(0), FaultyStore::new());
        let clock = Arc::<Dial>::clone(&dial);
        let events = Arc::new(Events::new(clock, EventsOptions { is_shared, ..EventsOptions::default() }));
        let options = RegistryOptions { events: Arc::clone(&events), ..RegistryOptions::default() };
        let registry = dial.registry_with(&store, options).await;
        for number in 0..MANY {
            let name = format!("s-{number}");
            registry.register(registration(&name)).await.unwrap();
            let ttl = Some(duration_to_wire(Duration::from_secs(60)));
            let temporary = v1::SetIsolationLevelRequest { ttl, ..set_level(&name, v1::IsolationLevel::None) };
            registry.set_level(temporary).await.unwrap();
        }
        told(&events, 100).await;
        eventually(&registry, || *events.last().borrow() == 2 * MANY).await;
        dial.set(60);
        let mut count = Vec::new();
        for _ in 0..10 {
            registry.tell_expired();
            events.take_turns();
            count.push(*events.last().borrow() - 2 * MANY);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(count.last(), Some(&MANY), "{count:?}");
        assert!(count.contains(&1_000), "whoever watches shall keep up: {count:?}");
    }
}

#[tokio::test]
async fn what_was_too_much_to_read_is_a_gap_and_what_follows_is_told_beside_what_is_there() {
    const MORE_THAN_ARE_READ: usize = 1_001;
    let store = FaultyStore::new();
    let events = Arc::new(Events::new(Arc::new(crate::clock::SystemClock), Default::default()));
    let registry = registry_telling(&store, Arc::clone(&events)).await;
    let mut full = registration("payments");
    full.level = v1::IsolationLevel::Full.into();
    registry.register(full).await.unwrap();
    registry.hold_breaker(hold(3600)).await.unwrap();
    registry.register(registration("users")).await.unwrap();
    told(&events, 3).await;
    store.set_away(true);
    eventually(&registry, || registry.stale_for().is_some()).await;
    // Another manager goes on meanwhile.
    let inner: Arc<dyn Store> = store.inner();
    let other = Registry::open(inner, Arc::new(FixedClock(EPOCH)), RegistryOptions::default()).await.unwrap();
    for number in 0..MORE_THAN_ARE_READ {
        other.register(registration(&format!("a-{number}"))).await.unwrap();
    }
    other.set_level(set_level("payments", v1::IsolationLevel::Enhanced)).await.unwrap();
    let release = v1::ReleaseBreakerRequest {
        service: "payments".to_owned(),
        reason: "done".to_owned(),
        ..v1::ReleaseBreakerRequest::default()
    };
    other.release_breaker(release).await.unwrap();
    other.hold_breaker(v1::HoldBreakerRequest { reason: "another one".to_owned(), ..hold(3600) }).await.unwrap();
    let gone = v1::UnregisterServiceRequest { service: "users".to_owned(), ..Default::default() };
    other.unregister(gone).await.unwrap();
    store.set_away(false);
    eventually(&registry, || registry.stale_for().is_none()).await;
    let gaps = Filter::new("*", "", &[v1::EventKind::Gap.into()]).unwrap();
    let gaps = events.after(0, 100, &gaps).events;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(gaps[0].summary.contains("3 services"), "{}", gaps[0].summary);

    let before = *events.last().borrow();
    registry.set_level(set_level("payments", v1::IsolationLevel::Full)).await.unwrap();
    let release = v1::ReleaseBreakerRequest {
        service: "payments".to_owned(),
        reason: "done".to_owned(),
        ..v1::ReleaseBreakerRequest::default()
    };
    registry.release_breaker(release).await.unwrap();
    registry.register(registration("users")).await.unwrap();
    let mut last = events.last();
    tokio::time::timeout(PATIENCE, last.wait_for(|last| *last >= before + 3)).await.unwrap().unwrap();
    let told = events.after(before, 100, &Filter::default()).events;
    let (level, release, users) = (change(&told[0]), change(&told[1]), change(&told[2]));
    assert_eq!((level.level_before(), level.level()), (v1::IsolationLevel::Enhanced, v1::IsolationLevel::Full));
    assert_eq!(release.hold.unwrap().reason, "another one");
    assert_eq!(users.level_before(), v1::IsolationLevel::Unspecified);
}
