//! The store goes away, comes back, is swapped, or was never there.

use super::writes::register;
use crate::{
    clock::testing::FixedClock,
    error::Error,
    fanout::News,
    registry::{OpenError, Registry, RegistryOptions},
    store::{MemoryStore, Op, Store, StoreRevision, Txn},
    testing::{EPOCH, FaultyStore, eventually, key, log, registration, registry},
};
use cofferdam_core::{revision::Revision, wire::revision_from_wire};
use cofferdam_proto::{storage::v1::StoreMeta, v1};
use prost::Message;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

#[tokio::test]
async fn reads_answer_from_memory_and_say_how_old_they_are() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    assert_eq!(registry.stale_for(), None);
    store.set_away(true);
    eventually(&registry, || registry.stale_for().is_some()).await;
    assert!(registry.get(&key("default/payments")).is_some());
    let refused = registry.register(registration("orders")).await.unwrap_err();
    assert!(matches!(refused, Error::StoreUnavailable { .. }), "{refused}");

    store.set_away(false);
    eventually(&registry, || registry.stale_for().is_none()).await;
    register(&registry, "orders").await;
}

#[tokio::test]
async fn what_others_wrote_meanwhile_is_caught_up_with() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    register(&here, "stays").await;
    register(&here, "goes").await;
    store.set_away(true);
    eventually(&here, || here.stale_for().is_some()).await;
    // Straight to the store, as a manager would that still reaches it.
    let inner = store.inner();
    inner.commit(Txn::new().delete("service/default/goes")).await.unwrap();
    store.set_away(false);
    register(&there, "comes").await;
    eventually(&here, || here.get(&key("default/comes")).is_some()).await;
    eventually(&here, || here.get(&key("default/goes")).is_none()).await;
    assert!(here.get(&key("default/stays")).is_some());
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_the_outcome_open() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    store.unanswered.store(1, std::sync::atomic::Ordering::SeqCst);
    let unknown = registry.register(registration("payments")).await.unwrap_err();
    assert!(matches!(unknown, Error::StoreOutcomeUnknown { .. }), "{unknown}");
    eventually(&registry, || registry.get(&key("default/payments")).is_some()).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_has_its_time_once_for_all_of_a_write() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let timeout = RegistryOptions::default().store_timeout;
    store.set_delay(timeout * 2 / 3);
    let begun = Instant::now();
    // A lease for the request's name, and the write itself.
    let request = v1::RegisterServiceRequest { request_id: "one".to_owned(), ..registration("payments") };
    let unknown = registry.register(request).await.unwrap_err();
    assert!(matches!(unknown, Error::StoreOutcomeUnknown { .. }), "{unknown}");
    assert_eq!(begun.elapsed(), timeout);
}

#[tokio::test]
async fn another_store_is_another_epoch() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let before = register(&registry, "payments").await;
    register(&registry, "only-here").await;

    let backup = MemoryStore::new();
    let kept = store.inner().list("").await.unwrap().entries.into_iter().filter(|entry| !entry.key.ends_with("here"));
    let mut txn = Txn::new();
    for entry in kept {
        txn = txn.put(entry.key, entry.value);
    }
    backup.commit(txn).await.unwrap();
    store.swap(backup);

    let payments = key("default/payments");
    eventually(&registry, || registry.get(&payments).is_some_and(|s| s.revision().epoch > EPOCH)).await;
    let after = registry.get(&payments).unwrap().revision();
    assert!(after > revision_from_wire(before), "{after} after {before:?}");
    eventually(&registry, || registry.get(&key("default/only-here")).is_none()).await;
    let again = register(&registry, "orders").await;
    assert_eq!(again.epoch, after.epoch);
}

#[tokio::test]
async fn a_write_to_the_store_before_is_not_taken_for_a_later_one() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let now = register(&registry, "payments").await;
    // Durable in the old store, which was swapped before memory heard of it.
    let written = store.inner().list("service/").await.unwrap().entries.remove(0);
    let late = [Op::Put { key: written.key, value: written.value, lease: None }];
    registry.shared.apply_early(&late, HashMap::new(), now.epoch - 1, StoreRevision::new(now.revision + 900));
    let payments = registry.get(&key("default/payments")).unwrap();
    assert_eq!(payments.revision(), revision_from_wire(now));
}

#[tokio::test]
async fn an_epoch_that_another_manager_began_is_taken_over() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    let inner = store.inner();
    let identity = inner.identity().await.unwrap().cluster;
    let raised = StoreMeta { schema_version: 1, epoch: EPOCH + 5, store_identity: identity, ..StoreMeta::default() };
    inner.commit(Txn::new().put("meta/store", raised.encode_to_vec())).await.unwrap();
    let payments = key("default/payments");
    eventually(&registry, || registry.get(&payments).unwrap().revision().epoch == EPOCH + 5).await;
    let level = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: v1::IsolationLevel::Full.into(),
        ..v1::SetIsolationLevelRequest::default()
    };
    let answer = registry.set_level(level).await.unwrap();
    assert_eq!(answer.service.unwrap().revision.unwrap().epoch, EPOCH + 5);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_fails_the_start_with_the_fix() {
    let store = FaultyStore::new();
    store.set_away(true);
    let dynamic: Arc<dyn Store> = Arc::<FaultyStore>::clone(&store);
    let options = RegistryOptions { store_timeout: Duration::from_secs(3), ..RegistryOptions::default() };
    let begun = tokio::time::Instant::now();
    let refused = Registry::open(dynamic, Arc::new(FixedClock(EPOCH)), options).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unavailable { .. }), "{refused}");
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert!(refused.to_string().contains("start it, or correct its address"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_in_time_is_waited_for() {
    let store = FaultyStore::new();
    store.set_away(true);
    let late = Arc::clone(&store);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        late.set_away(false);
    });
    let registry = registry(&store).await;
    register(&registry, "payments").await;
}

/// The change was made, and neither memory nor the log heard of it.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_takes_back_neither_the_change_nor_its_record() {
    let (log, records) = log();
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    // So that nobody but the write itself can tell.
    store.set_deaf(true);
    store.set_delay(Duration::from_secs(1));
    let write = registry.register(registration("payments"));
    let log = tracing::subscriber::set_default(log);
    assert!(tokio::time::timeout(Duration::from_millis(500), write).await.is_err(), "it has hung up");
    assert!(registry.get(&key("default/payments")).is_none());
    eventually(&registry, || registry.get(&key("default/payments")).is_some()).await;
    drop(log);
    assert!(records.text().contains("service changed"), "{}", records.text());
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_in_doubt_is_told_though_its_caller_has_hung_up() {
    let (log, records) = log();
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    store.set_delay(RegistryOptions::default().store_timeout * 2);
    let write = registry.register(registration("payments"));
    let log = tracing::subscriber::set_default(log);
    assert!(tokio::time::timeout(Duration::from_millis(500), write).await.is_err(), "it has hung up");
    tokio::time::sleep(RegistryOptions::default().store_timeout).await;
    drop(log);
    assert!(records.text().contains("service may have changed"), "{}", records.text());
}

/// Each read of the history took a second, and read the whole store.
#[tokio::test(start_paused = true)]
async fn what_others_write_beside_us_holds_up_no_look_at_the_history() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    store.foreign.store(7, std::sync::atomic::Ordering::SeqCst);
    let begun = Instant::now();
    registry.catch_up().await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    assert_eq!(registry.concerns(), []);
    // Where nothing has happened, nothing is written.
    store.foreign.store(0, std::sync::atomic::Ordering::SeqCst);
    let commits = store.commits.load(std::sync::atomic::Ordering::SeqCst);
    registry.catch_up().await.unwrap();
    assert_eq!(store.commits.load(std::sync::atomic::Ordering::SeqCst), commits);
}

/// Data directories put back, and neighbours that wrote until its revision was past what was known: what was lost was served
/// for ever, and no write went through.
#[tokio::test]
async fn a_store_that_went_back_and_has_overtaken_us_since_is_another_epoch() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    let backup = MemoryStore::with_identity(store.inner().identity().await.unwrap());
    let entries = store.inner().list("").await.unwrap().entries.into_iter();
    backup.commit(entries.fold(Txn::new(), |txn, entry| txn.put(entry.key, entry.value))).await.unwrap();
    let payments = key("default/payments");
    let kept = registry.get(&payments).unwrap();
    let lost = set_level(&registry, v1::IsolationLevel::Full).await;
    eventually(&registry, || registry.head() >= lost).await;
    for _ in 0..1_000 {
        backup.commit(Txn::new().put("neighbour", "")).await.unwrap();
    }
    store.swap(backup);
    eventually(&registry, || registry.head().epoch > EPOCH).await;
    eventually(&registry, || registry.get(&payments).unwrap().revision().epoch > EPOCH).await;
    assert_eq!(registry.get(&payments).unwrap().policy_hash(), kept.policy_hash());
    assert!(set_level(&registry, v1::IsolationLevel::Enhanced).await > lost);
}

/// Its revision had come to be where the watch had been, and the last write here was later than that: nobody noticed, and
/// no write went through any more.
#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_behind_a_write_that_no_watch_has_told_is_another_epoch() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    let registered = registry.get(&key("default/payments")).unwrap().revision();
    eventually(&registry, || registry.head() >= registered).await;
    let backup = MemoryStore::with_identity(store.inner().identity().await.unwrap());
    let entries = store.inner().list("").await.unwrap().entries.into_iter();
    backup.commit(entries.fold(Txn::new(), |txn, entry| txn.put(entry.key, entry.value))).await.unwrap();
    // It stays so: what the watch has not told is lost with the store.
    store.set_deaf(true);
    let lost = set_level(&registry, v1::IsolationLevel::Full).await;
    while backup.list("").await.unwrap().revision.get() < registry.head().revision {
        backup.commit(Txn::new().put("neighbour", "")).await.unwrap();
    }
    let there = backup.list("").await.unwrap().revision.get();
    assert!(registry.head().revision <= there && there < lost.revision, "{there} of {lost}");
    store.swap(backup);
    assert!(set_level(&registry, v1::IsolationLevel::Enhanced).await > lost);
    assert!(registry.head().epoch > EPOCH);
}

/// A load that took long fell back to the epoch in which it had begun.
#[tokio::test(start_paused = true)]
async fn a_slow_load_does_not_bring_an_earlier_epoch_back() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    let inner = store.inner();
    let store_identity = inner.identity().await.unwrap().cluster;
    let raise = async |epoch| {
        let raised =
            StoreMeta { schema_version: 1, epoch, store_identity: store_identity.clone(), ..StoreMeta::default() };
        inner.commit(Txn::new().put("meta/store", raised.encode_to_vec())).await.unwrap();
    };
    let slow = store.hold_listing();
    raise(EPOCH + 5).await;
    while !store.holds_listing() {
        tokio::task::yield_now().await;
    }
    raise(EPOCH + 9).await;
    // It meets the later epoch, and does not wait for the slow one.
    assert_eq!(set_level(&registry, v1::IsolationLevel::Full).await.epoch, EPOCH + 9);
    let epochs = registry.vitals().epochs;
    drop(slow);
    inner.commit(Txn::new().delete("service/default/payments")).await.unwrap();
    eventually(&registry, || registry.get(&key("default/payments")).is_none()).await;
    assert_eq!((registry.head().epoch, registry.vitals().epochs), (EPOCH + 9, epochs));
}

/// What had come and gone was served again while the watch told of it.
#[tokio::test(start_paused = true)]
async fn what_a_watch_tells_late_changes_nothing_that_was_read_since() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    register(&here, "payments").await;
    eventually(&there, || there.get(&key("default/payments")).is_some()).await;
    let mut subscription = here.subscribe(Default::default());
    here.follow(&mut subscription, &[], Some(&key("default/payments").namespace));
    store.set_deaf(true);
    register(&there, "passing").await;
    let gone = v1::UnregisterServiceRequest { service: "passing".to_owned(), ..Default::default() };
    there.unregister(gone).await.unwrap();
    set_level(&there, v1::IsolationLevel::Full).await;
    // It meets the other one's change, and reads everything.
    set_level(&here, v1::IsolationLevel::Enhanced).await;
    store.set_deaf(false);
    register(&there, "zz-last").await;
    let mut told = Vec::new();
    while !told.contains(&key("default/zz-last")) {
        let News::Change(change) = subscription.next().await.unwrap() else { panic!("a hint") };
        told.push(change.key().clone());
    }
    assert!(!told.contains(&key("default/passing")), "{told:?}");
}

/// Memory stood still for good, and nothing said so.
#[tokio::test(start_paused = true)]
async fn whoever_follows_the_store_and_panics_is_replaced() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    store.panics.store(1, std::sync::atomic::Ordering::SeqCst);
    store.set_delay(Duration::from_millis(100));
    store.inner().commit(Txn::new().put("health/default/nobody", "")).await.unwrap();
    eventually(&registry, || registry.stale_for().is_some()).await;
    eventually(&registry, || registry.stale_for().is_none()).await;
    store.inner().commit(Txn::new().put("service/default/payments", "\u{1}not a message")).await.unwrap();
    eventually(&registry, || registry.is_poisoned(&key("default/payments"))).await;
}

async fn set_level(registry: &Registry, level: v1::IsolationLevel) -> Revision {
    let level = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: level.into(),
        ..v1::SetIsolationLevelRequest::default()
    };
    revision_from_wire(registry.set_level(level).await.unwrap().service.unwrap().revision.unwrap())
}
