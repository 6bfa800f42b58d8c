//! Events of several managers.

use super::fleet::{connect, fleet, until};
use crate::{
    store::{Op, Store, Txn},
    testing::{FaultyStore, Watching, key, registration},
};
use cofferdam_proto::v1::{self, watch_events_response::Message};
use std::{collections::BTreeSet, time::Duration};

#[tokio::test]
async fn any_manager_tells_what_happens_at_all_of_them_and_each_thing_once() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 3).await;
    let mut watching = Vec::new();
    for manager in &managers {
        watching.push(Watching::all(manager).await);
    }
    for (index, manager) in managers.iter().enumerate() {
        manager.registry.register(registration(&format!("service-{index}"))).await.unwrap();
        manager.instances.connect(&format!("one-{index}"), "app", key("default/a").namespace).unwrap();
    }
    let mut ids = Vec::new();
    for watching in &mut watching {
        let mut seen = BTreeSet::new();
        let mut told = BTreeSet::new();
        while told.len() < 6 {
            let event = watching.event().await;
            assert!(seen.insert(event.id.clone()), "told twice: {event:?}");
            match event.kind() {
                v1::EventKind::Change => assert!(told.insert(event.service), "changed twice"),
                // They come and go at once.
                v1::EventKind::Instance if event.summary.ends_with("has come") => {
                    told.insert(event.instance_id);
                }
                _ => {}
            }
        }
        ids.push(told);
    }
    assert!(ids.iter().all(|told| *told == ids[0]), "{ids:?}");
    let tellers = |kind: v1::EventKind| {
        let list = managers[0].client();
        async move {
            let request = v1::ListEventsRequest { kinds: vec![kind.into()], ..Default::default() };
            let list = list.await.list_events(request).await.unwrap().into_inner();
            assert_eq!(list.unreachable_managers, []);
            list.events.into_iter().map(|event| event.manager_id).collect::<Vec<_>>()
        }
    };
    let writers = tellers(v1::EventKind::Change).await;
    assert_eq!(writers.len(), 3, "each change is told by the one that made it");
    assert_eq!(writers.into_iter().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_stream_goes_on_at_another_manager() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 2).await;
    let mut first = Watching::all(&managers[0]).await;
    for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        managers[index % 2].registry.register(registration(name)).await.unwrap();
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for _ in 0..2 {
        seen.insert(first.event_of(v1::EventKind::Change).await.service);
    }
    let cursor = first.cursor.clone();
    drop(first);
    managers[0].registry.register(registration("e")).await.unwrap();
    let mut second = Watching::after(&managers[1], &cursor).await;
    while seen.len() < 5 {
        let event = second.event_of(v1::EventKind::Change).await;
        assert!(seen.insert(event.service.clone()), "{} was told already", event.service);
    }
}

#[tokio::test]
async fn a_manager_that_cannot_be_reached_is_named_in_the_stream() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 1).await;
    let mut watching = Watching::all(&managers[0]).await;
    let lease = store.grant_lease(Duration::from_secs(60)).await.unwrap();
    // Nobody listens there.
    let value = super::super::record::encode(Some("127.0.0.1:1"), &crate::clock::testing::FixedClock(0));
    let put = Op::Put { key: "peer/00000000000000ff".to_owned(), value, lease: Some(lease) };
    store.commit(Txn { preconditions: Vec::new(), ops: vec![put] }).await.unwrap();
    let mut is_named = false;
    let mut is_told = false;
    while !is_named || !is_told {
        match watching.next().await.unwrap() {
            Message::Bookmark(bookmark) => {
                is_named |= bookmark.unreachable_managers.iter().any(|manager| {
                    manager.id == "00000000000000ff" && manager.address == "127.0.0.1:1" && !manager.reason.is_empty()
                });
            }
            Message::Event(event) => {
                is_told |= event.summary.contains("00000000000000ff at 127.0.0.1:1 cannot be reached")
            }
            Message::Gap(gap) => panic!("{gap:?}"),
        }
    }
    let list = managers[0].client().await.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.unreachable_managers.len(), 1);
    // What goes on here is told all the same.
    let _one = connect(&managers[0], "one");
    assert_eq!(watching.event_of(v1::EventKind::Instance).await.instance_id, "one");
}

#[tokio::test]
async fn a_manager_that_stops_has_its_last_word_and_leaves_no_gap() {
    let store = FaultyStore::new();
    let mut managers = fleet(&store, 2).await;
    let mut watching = Watching::all(&managers[0]).await;
    let stopping = managers.pop().unwrap();
    let id = stopping.peers.id().to_owned();
    until("it is asked for what comes", async || stopping.registry.events().waiting() > 0).await;
    stopping.stop().await;
    let mut said = Vec::new();
    while said.len() < 2 {
        let event = watching.event_of(v1::EventKind::Manager).await;
        if let Some(v1::event::Detail::Manager(manager)) = event.detail
            && manager.manager_id == id
            && matches!(manager.change(), v1::ManagerChange::Stopped | v1::ManagerChange::Gone)
        {
            said.push((manager.change(), event.manager_id == id));
        }
    }
    assert_eq!(said, [(v1::ManagerChange::Stopped, true), (v1::ManagerChange::Gone, false)]);
    assert!(watching.cursor.contains(&format!(",{id}~")), "nor to whoever comes back: {}", watching.cursor);
}

#[tokio::test]
async fn whoever_comes_back_is_told_of_a_manager_that_could_not_be_reached_what_it_missed_and_nothing_older() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 2).await;
    let mut before = Watching::all(&managers[0]).await;
    for (manager, name) in managers.iter().zip(["a", "b"]) {
        manager.registry.register(registration(name)).await.unwrap();
        assert_eq!(before.event_of(v1::EventKind::Change).await.service, name);
    }
    // The watching began a moment later, and this one could be reached, the other one not.
    let began = crate::testing::EPOCH + 1;
    let cursor = format!("{began},{}.{}", managers[0].peers.id(), *managers[0].registry.events().last().borrow());
    let mut resumed = Watching::after(&managers[0], &cursor).await;
    managers[1].registry.register(registration("c")).await.unwrap();
    assert_eq!(resumed.event_of(v1::EventKind::Change).await.service, "c");
    let mut again = Watching::after(&managers[1], &resumed.cursor).await;
    managers[0].registry.register(registration("d")).await.unwrap();
    assert_eq!(again.event_of(v1::EventKind::Change).await.service, "d", "each once");
}
