//! Every change leaves a record, in the transaction of the change itself, and what is kept of them is bounded.

use super::writes::{fresh, register, set_level};
use crate::{
    error::Error,
    registry::{
        Actor, Asked, Registry, Revision,
        changes::{Kept, MAX_UNREGISTERED},
        key::{self, Key},
    },
    store::{Store, Txn},
    testing::{EPOCH, FaultyStore, fallback, key, registration, registry, static_step},
};
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, ChangeKind, IsolationLevel},
};
use prost::Message;

async fn kept(store: &FaultyStore, name: &str) -> Vec<Kept> {
    let listing = store.list(&key::changes(&key(name))).await.unwrap();
    listing.entries.iter().map(|entry| Kept::decode(entry, EPOCH).unwrap()).collect()
}

fn after(kept: &Kept) -> storage::ServiceRecord {
    storage::ServiceRecord::decode(kept.record.after.clone()).unwrap()
}

fn unregister(name: &str) -> v1::UnregisterServiceRequest {
    v1::UnregisterServiceRequest { service: name.to_owned(), ..v1::UnregisterServiceRequest::default() }
}

async fn toggle(registry: &Registry, times: usize) {
    for level in [IsolationLevel::Full, IsolationLevel::Enhanced].into_iter().cycle().take(times) {
        registry.set_level(set_level("payments", level)).await.unwrap();
    }
}

#[tokio::test]
async fn a_change_and_its_record_are_one_transaction() {
    let (store, registry) = fresh().await;
    let registered = register(&registry, "payments").await;
    let actor = Actor::new(b"ann").unwrap();
    let request = v1::SetIsolationLevelRequest {
        reason: "retries hurt".to_owned(),
        ..set_level("payments", IsolationLevel::Full)
    };
    let level = registry.set_level(Asked { request, actor }).await.unwrap().service.unwrap();
    let request = v1::UpdateFallbackConfigRequest {
        service: "payments".to_owned(),
        fallback: Some(fallback(vec![static_step(b"later")])),
        ..v1::UpdateFallbackConfigRequest::default()
    };
    registry.update_fallback(request).await.unwrap();
    let gone = registry.unregister(unregister("payments")).await.unwrap().revision.unwrap();

    let kept = kept(&store, "default/payments").await;
    let kinds: Vec<_> = kept.iter().map(|kept| kept.record.kind()).collect();
    assert_eq!(kinds, [ChangeKind::Registered, ChangeKind::Level, ChangeKind::Fallback, ChangeKind::Unregistered]);
    let revisions: Vec<_> = kept.iter().map(|kept| kept.revision.revision).collect();
    assert_eq!((revisions[0], revisions[3]), (registered.revision, gone.revision));
    assert_eq!(revisions[1], level.revision.unwrap().revision);
    assert_eq!((&*kept[1].record.actor, &*kept[1].record.reason), ("ann", "retries hurt"));
    assert_eq!((&*kept[2].record.actor, &*kept[2].record.reason), ("", ""));
    assert_eq!(kept[1].record.time, level.update_time);
    assert_eq!(after(&kept[1]).policy, level.written_policy);
    assert_eq!(after(&kept[1]).service, level.service);
    assert!(kept[3].record.after.is_empty());
    assert!(kept.iter().all(|kept| kept.record.encoded_len() < 256), "a plain record is small");
}

#[tokio::test]
async fn what_changes_nothing_is_not_recorded() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    register(&registry, "payments").await;
    registry.set_level(set_level("payments", IsolationLevel::Basic)).await.unwrap();
    // Basic was the default, and is said now.
    assert_eq!(kept(&store, "default/payments").await.len(), 2);
    registry.set_level(set_level("payments", IsolationLevel::Basic)).await.unwrap();
    let refused =
        v1::SetIsolationLevelRequest { reason: "\n".to_owned(), ..set_level("payments", IsolationLevel::Full) };
    assert!(matches!(registry.set_level(refused).await, Err(Error::Invalid { .. })));
    assert_eq!(kept(&store, "default/payments").await.len(), 2);
}

#[tokio::test]
async fn the_newest_changes_are_kept() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    toggle(&registry, 40).await;
    let numbers: Vec<_> = kept(&store, "default/payments").await.iter().map(|kept| kept.number).collect();
    assert_eq!(numbers, (10..=41).collect::<Vec<_>>());
}

#[tokio::test]
async fn large_changes_are_fewer_and_never_less_than_two() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    toggle(&registry, 10).await;
    for fill in [b"a", b"b"] {
        let step = v1::StaticFallback { payload: fill.repeat(40 * 1024).into(), content_type: String::new() };
        let step = v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Static(step)) };
        let request = v1::UpdateFallbackConfigRequest {
            service: "payments".to_owned(),
            fallback: Some(fallback(vec![step])),
            ..v1::UpdateFallbackConfigRequest::default()
        };
        registry.update_fallback(request).await.unwrap();
        let kept = kept(&store, "default/payments").await;
        let bytes: usize = kept.iter().map(|kept| kept.record.encoded_len()).sum();
        assert_eq!(kept.len(), if fill == b"a" { 12 } else { 2 }, "{bytes} bytes");
    }
}

#[tokio::test]
async fn a_service_that_comes_again_goes_on_with_its_history() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    registry.unregister(unregister("payments")).await.unwrap();
    assert_eq!(store.list("unregistered/").await.unwrap().entries.len(), 1);
    register(&registry, "payments").await;
    assert!(store.list("unregistered/").await.unwrap().entries.is_empty());
    let kinds: Vec<_> = kept(&store, "default/payments").await.iter().map(|kept| kept.record.kind()).collect();
    assert_eq!(kinds, [ChangeKind::Registered, ChangeKind::Unregistered, ChangeKind::Registered]);
}

#[tokio::test]
async fn what_a_release_without_history_wrote_is_recorded_before_it_is_changed() {
    let (store, registry) = fresh().await;
    let found = registry.register(registration("payments")).await.unwrap().service.unwrap();
    toggle(&registry, 1).await;
    // As the release before would have written it: it keeps the log and knows nothing of it.
    let at = key::service(&key("default/payments"));
    let value = store.list(&at).await.unwrap().entries[0].value.clone();
    let mut record = storage::ServiceRecord::decode(value).unwrap();
    record.policy.as_mut().unwrap().set_level(IsolationLevel::None);
    record.update_time.as_mut().unwrap().seconds += 60;
    let written = store.inner().commit(Txn::new().put(at, record.encode_to_vec())).await.unwrap().revision;
    crate::testing::eventually(&registry, || registry.head().revision >= written.get()).await;
    toggle(&registry, 1).await;

    let kept = kept(&store, "default/payments").await;
    let kinds: Vec<_> = kept.iter().map(|kept| kept.record.kind()).collect();
    assert_eq!(kinds, [ChangeKind::Registered, ChangeKind::Level, ChangeKind::Found, ChangeKind::Level]);
    assert_eq!(kept[2].revision.revision, written.get());
    assert_eq!(after(&kept[2]).policy.unwrap().level(), IsolationLevel::None);
    assert_eq!((kept[2].record.time, after(&kept[2]).create_time), (record.update_time, found.create_time));
}

#[tokio::test]
async fn what_a_release_without_history_registers_again_goes_on_with_its_history() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    let at = key::service(&key("default/payments"));
    let value = store.list(&at).await.unwrap().entries[0].value.clone();
    let record = storage::ServiceRecord { changes: None, ..storage::ServiceRecord::decode(value).unwrap() };
    registry.unregister(unregister("payments")).await.unwrap();
    let written = store.inner().commit(Txn::new().put(at, record.encode_to_vec())).await.unwrap().revision;
    crate::testing::eventually(&registry, || registry.head().revision >= written.get()).await;
    assert_eq!(store.list("unregistered/").await.unwrap().entries.len(), 1, "it left what stood for it");
    let listed = registry.list_revisions(&v1::ListRevisionsRequest::default()).await.unwrap().revisions;
    assert_eq!(listed.len(), 3, "each once: {listed:?}");
    toggle(&registry, 1).await;
    assert!(store.list("unregistered/").await.unwrap().entries.is_empty());
    let kinds: Vec<_> = kept(&store, "default/payments").await.iter().map(|kept| kept.record.kind()).collect();
    let (registered, unregistered) = (ChangeKind::Registered, ChangeKind::Unregistered);
    assert_eq!(kinds, [registered, unregistered, ChangeKind::Found, ChangeKind::Level]);
}

#[tokio::test]
async fn a_change_keeps_the_epoch_in_which_it_was_made() {
    let (store, registry) = fresh().await;
    register(&registry, "payments").await;
    let entry = store.list(key::CHANGES).await.unwrap().entries.remove(0);
    let (then, later) = (Kept::decode(&entry, EPOCH).unwrap(), Kept::decode(&entry, EPOCH + 1).unwrap());
    assert_eq!((then.revision.epoch, later.revision), (registry.head().epoch, then.revision));
    let moved = crate::registry::with_revision(&entry.value, Revision { epoch: EPOCH + 1, revision: 7 });
    let moved = Kept::decode(&crate::store::Entry { value: moved, ..entry }, EPOCH + 2).unwrap();
    assert_eq!(moved.revision, Revision { revision: 7, ..then.revision });
}

#[tokio::test]
async fn about_a_thousand_unregistered_services_are_remembered() {
    let store = FaultyStore::new();
    for number in 0..MAX_UNREGISTERED {
        let log = storage::ChangeLog { last: 1, sizes: vec![1], time: None };
        let record = storage::UnregisteredRecord { schema_version: 1, changes: Some(log) };
        let gone = key(&format!("default/gone-{number:04}"));
        let txn = Txn::new().put(key::unregistered(&gone), record.encode_to_vec()).put(key::change(&gone, 1), "");
        store.inner().commit(txn).await.unwrap();
    }
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    registry.unregister(unregister("payments")).await.unwrap();
    let unregistered = store.list("unregistered/").await.unwrap().entries;
    assert_eq!(unregistered.len(), MAX_UNREGISTERED);
    let changes = store.list(key::CHANGES).await.unwrap().entries;
    assert_eq!(changes.len(), MAX_UNREGISTERED - 1 + 2);
    for entry in changes {
        let Key::Change(service) = Key::parse(&entry.key) else { panic!("{}", entry.key) };
        assert!(unregistered.iter().any(|entry| entry.key == key::unregistered(&service)), "{service}");
    }
    let oldest = |entry: &crate::store::Entry| entry.key.as_str() >= "unregistered/default/gone-0016";
    assert_eq!(unregistered.iter().filter(|entry| !oldest(entry)).count(), 15, "one of the first sixteen is forgotten");
}
