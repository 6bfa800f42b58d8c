use super::*;
use crate::{
    clock::testing::FixedClock,
    registry::{EpochError, OpenError, Registry, RegistryOptions},
    store::{Listing, MAX_VALUE_BYTES, MIN_LEASE_TTL, MemoryStore},
    testing::{EPOCH, FaultyStore, registration, registry},
};
use futures_util::FutureExt as _;
use std::{future::ready, sync::Arc};

const CLOCK: FixedClock = FixedClock(EPOCH + 50);

/// A copy of a store with so many services.
async fn source(services: usize) -> StoreCopy {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    for index in 0..services {
        registry.register(registration(&format!("service-{index:03}"))).await.unwrap();
    }
    StoreCopy::of(&read_from(&*store).await.unwrap(), &CLOCK).unwrap()
}

async fn filled(target: &dyn Store, copy: &StoreCopy, replace: bool) -> Result<Filled, FillError> {
    fill(target, copy, replace, &CLOCK, ready(Ok(())), |_| {}).await
}

async fn opened(store: &Arc<FaultyStore>) -> Result<Registry, OpenError> {
    let store: Arc<dyn Store> = Arc::<FaultyStore>::clone(store);
    Registry::open(store, Arc::new(CLOCK), RegistryOptions::default()).await
}

/// Where the first change of a service is.
fn change(name: &str) -> String {
    format!("{}default/{name}/00000000000000000001", key::CHANGES)
}

async fn keys(store: &dyn Store) -> Vec<String> {
    store.list("").await.unwrap().entries.into_iter().map(|entry| entry.key).collect()
}

#[tokio::test]
async fn a_manager_serves_what_was_copied_in_a_later_epoch() {
    let copy = source(3).await;
    let target = FaultyStore::new();
    let filled = filled(&*target, &copy, false).await.unwrap();
    assert_eq!((filled.keys, filled.epoch), (6, EPOCH + 50));
    let registry = opened(&target).await.unwrap();
    assert_eq!(registry.services(None).len(), 3);
    assert_eq!(registry.head().epoch, filled.epoch, "the manager finds nothing to mend");
}

#[tokio::test]
async fn the_epoch_is_above_that_of_the_copy_and_that_of_the_store_whatever_the_clock_says() {
    let copy = source(1).await;
    let target = FaultyStore::new();
    let slow = FixedClock(1);
    let first = fill(&*target, &copy, false, &slow, ready(Ok(())), |_| {}).await.unwrap();
    assert_eq!(first.epoch, EPOCH + 1);
    let again = fill(&*target, &copy, true, &slow, ready(Ok(())), |_| {}).await.unwrap();
    assert_eq!(again.epoch, EPOCH + 2);
}

#[tokio::test]
async fn what_is_there_goes_only_when_that_was_said() {
    let copy = source(2).await;
    let target = FaultyStore::new();
    registry(&target).await.register(registration("other")).await.unwrap();
    let lease = target.grant_lease(MIN_LEASE_TTL * 600).await.unwrap();
    let leased = Txn::new().put_leased("request/00", "", lease).put_leased("peer/a", "", lease);
    target.commit(leased).await.unwrap();
    let before = target.list("").await.unwrap();
    match filled(&*target, &copy, false).await.unwrap_err() {
        FillError::NotEmpty { keys: 2, first } => assert_eq!(first, change("other")),
        other => panic!("{other}"),
    }
    assert_eq!(target.list("").await.unwrap(), before);

    filled(&*target, &copy, true).await.unwrap();
    let (first, second) = (change("service-000"), change("service-001"));
    let expected =
        [&first, &second, "meta/store", "peer/a", "service/default/service-000", "service/default/service-001"];
    assert_eq!(keys(&*target).await, expected, "results of requests go, what living managers hold stays");
}

#[tokio::test]
async fn a_store_that_a_manager_has_only_looked_at_counts_as_empty() {
    let copy = source(1).await;
    let target = FaultyStore::new();
    drop(registry(&target).await);
    filled(&*target, &copy, false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_anywhere_is_refused_by_managers_and_finished_by_running_it_again() {
    let copy = source(200).await;
    let mut parts = 0;
    for cut_after in 0.. {
        let target = FaultyStore::new();
        let cutting = Arc::clone(&target);
        let mut steps = 0;
        let cut = |_: Progress| {
            cutting.set_away(steps >= cut_after);
            steps += 1;
        };
        match fill(&*target, &copy, false, &CLOCK, ready(Ok(())), cut).await {
            Ok(_) => break,
            Err(FillError::Store(StoreError::Unavailable { .. })) => parts += 1,
            Err(other) => panic!("cut after {cut_after}: {other}"),
        }
        target.set_away(false);
        let refused = opened(&target).await.unwrap_err();
        assert!(matches!(refused, OpenError::Epoch(EpochError::Unfinished)), "{refused}");

        let other = source(1).await;
        let refused = filled(&*target, &other, false).await.unwrap_err();
        assert!(matches!(refused, FillError::OtherTransfer { .. }), "{refused}");

        let mut resumed = false;
        let look = |progress| resumed |= progress == Progress::Resumed;
        fill(&*target, &copy, false, &CLOCK, ready(Ok(())), look).await.unwrap();
        assert!(resumed);
        assert_eq!(opened(&target).await.unwrap().services(None).len(), 200);
    }
    assert!(parts > 4, "it was cut in {parts} places");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_moment_and_a_lost_answer_cost_nothing() {
    let copy = source(200).await;
    let target = FaultyStore::new();
    let faulty = Arc::clone(&target);
    let trouble = |progress: Progress| {
        if matches!(progress, Progress::Written { done, .. } if done > 0) {
            faulty.unanswered.store(1, std::sync::atomic::Ordering::SeqCst);
        }
        if matches!(progress, Progress::Verifying) {
            faulty.unanswered.store(0, std::sync::atomic::Ordering::SeqCst);
        }
    };
    fill(&*target, &copy, false, &CLOCK, ready(Ok(())), trouble).await.unwrap();
    assert_eq!(opened(&target).await.unwrap().services(None).len(), 200);
}

#[tokio::test]
async fn whoever_else_writes_to_it_is_noticed() {
    let copy = source(1).await;
    let meddle = |key: &'static str| async move {
        let target = FaultyStore::new();
        let other = Arc::clone(&target);
        let write = move |progress: Progress| {
            if progress == Progress::Verifying {
                other.inner().commit(Txn::new().put(key, "")).now_or_never().unwrap().unwrap();
            }
        };
        (fill(&*target, &source(1).await, false, &CLOCK, ready(Ok(())), write).await.unwrap_err(), target)
    };
    let (error, target) = meddle("service/default/other").await;
    assert!(matches!(&error, FillError::Differs { keys: 1, first } if first == "service/default/other"), "{error}");
    assert!(opened(&target).await.is_err(), "it stays marked");
    let (error, _) = meddle(key::META).await;
    assert!(matches!(error, FillError::Contended), "{error}");

    let target = FaultyStore::new();
    let changed = ready(Err(FillError::Source { reason: "it went on".to_owned() }));
    let error = fill(&*target, &copy, false, &CLOCK, changed, |_| {}).await.unwrap_err();
    assert!(matches!(error, FillError::Source { .. }), "{error}");
    assert!(opened(&target).await.is_err(), "it stays marked");
}

#[tokio::test]
async fn a_damaged_description_goes_with_the_rest_and_one_of_a_later_release_does_not() {
    let copy = source(1).await;
    let target = FaultyStore::new();
    registry(&target).await.register(registration("old")).await.unwrap();
    target.commit(Txn::new().put(key::META, "\u{1}not a message")).await.unwrap();
    let refused = opened(&target).await.unwrap_err();
    assert!(refused.to_string().contains("store restore --replace"), "{refused}");
    let refused = filled(&*target, &copy, false).await.unwrap_err();
    assert!(matches!(refused, FillError::Description(EpochError::Unreadable(_))), "{refused}");
    let filled = filled(&*target, &copy, true).await.unwrap();
    let registry = opened(&target).await.unwrap();
    assert_eq!((registry.services(None).len(), registry.head().epoch), (1, filled.epoch));
    drop(registry);

    let later = StoreMeta { schema_version: 2, ..StoreMeta::default() };
    target.commit(Txn::new().put(key::META, prost::Message::encode_to_vec(&later))).await.unwrap();
    let before = target.list("").await.unwrap();
    let refused = self::filled(&*target, &copy, true).await.unwrap_err();
    assert!(matches!(refused, FillError::Description(EpochError::SchemaVersion(2))), "{refused}");
    assert_eq!(target.list("").await.unwrap(), before);
}

/// What is in `target`, and what became of filling it while a manager wrote between the first look and the mark.
async fn overtaken(described: bool, replace: bool) -> (Result<Filled, FillError>, Listing, Listing) {
    const TICK: Duration = Duration::from_secs(10);
    let copy = source(1).await;
    let target = FaultyStore::new();
    if described {
        drop(registry(&target).await);
    }
    let described = target.list("").await.unwrap();
    target.set_delay(TICK);
    let manager = async {
        // The identity, the list, and then the mark take a tick each.
        tokio::time::sleep(TICK * 5 / 2).await;
        assert_eq!(target.inner().list("").await.unwrap(), described, "it is marked already");
        target.inner().commit(Txn::new().put("service/default/other", "")).await.unwrap();
    };
    let (filled, ()) = tokio::join!(filled(&*target, &copy, replace), manager);
    (filled, described, target.inner().list("").await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_written_just_before_the_mark_is_not_lost() {
    for described in [false, true] {
        let (filled, before, after) = overtaken(described, false).await;
        match filled.unwrap_err() {
            FillError::NotEmpty { keys: 1, first } => assert_eq!(first, "service/default/other"),
            other => panic!("{other}"),
        }
        let values = |listing: Listing| listing.entries.into_iter().map(|entry| (entry.key, entry.value));
        let mut expected: Vec<_> = values(before).collect();
        expected.push(("service/default/other".to_owned(), Bytes::new()));
        assert_eq!(values(after).collect::<Vec<_>>(), expected, "described before: {described}");
    }
}

/// Something that is written just before the mark, and a transfer that is cut off just after it.
#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_before_it_has_looked_again_looks_when_it_is_run_again() {
    const TICK: Duration = Duration::from_secs(10);
    let copy = source(1).await;
    for is_overtaken in [false, true] {
        let target = FaultyStore::new();
        drop(registry(&target).await);
        let described = target.list("").await.unwrap();
        target.set_delay(TICK);
        let trouble = async {
            tokio::time::sleep(TICK * 5 / 2).await;
            assert_eq!(target.inner().list("").await.unwrap(), described, "it is marked already");
            if is_overtaken {
                target.inner().commit(Txn::new().put("service/default/other", "")).await.unwrap();
            }
            tokio::time::sleep(TICK).await;
            assert_ne!(target.inner().list("").await.unwrap().entries[0], described.entries[0], "it is not marked yet");
            target.set_away(true);
        };
        let (cut_off, ()) = tokio::join!(filled(&*target, &copy, false), trouble);
        assert!(matches!(cut_off.unwrap_err(), FillError::Store(_)));
        target.set_away(false);
        target.set_delay(Duration::ZERO);
        assert!(matches!(opened(&target).await.unwrap_err(), OpenError::Epoch(EpochError::Unfinished)));

        let again = filled(&*target, &copy, false).await;
        if is_overtaken {
            match again.unwrap_err() {
                FillError::NotEmpty { keys: 1, first } => assert_eq!(first, "service/default/other"),
                other => panic!("{other}"),
            }
            assert_eq!(keys(&*target).await, ["meta/store", "service/default/other"], "it is not lost");
            opened(&target).await.unwrap();
            filled(&*target, &copy, true).await.unwrap();
        } else {
            again.unwrap();
        }
        let services: Vec<_> = keys(&*target).await.into_iter().filter(|key| key.starts_with("service/")).collect();
        assert_eq!(services, ["service/default/service-000"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_just_before_the_mark_goes_where_that_was_said() {
    let (filled, _, after) = overtaken(true, true).await;
    assert_eq!(filled.unwrap().keys, 2);
    let keys: Vec<_> = after.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, [&change("service-000"), "meta/store", "service/default/service-000"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_step_outlives_a_lost_answer_and_a_store_that_is_away_for_a_moment() {
    let copy = source(2).await;
    let target = FaultyStore::new();
    let lose = async {
        target.unanswered.store(1, std::sync::atomic::Ordering::SeqCst);
        Ok(())
    };
    let finished = fill(&*target, &copy, false, &CLOCK, lose, |_| {}).await.unwrap();
    assert_eq!(target.unanswered.load(std::sync::atomic::Ordering::SeqCst), 0, "no answer was lost");
    assert_eq!(finished.revision, target.list("").await.unwrap().revision);
    assert_eq!(opened(&target).await.unwrap().head().epoch, finished.epoch);

    let target = FaultyStore::new();
    let away = async {
        target.set_away(true);
        Ok(())
    };
    let back = async {
        while target.list("").await.is_ok() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(PAUSE * 5 / 2).await;
        target.set_away(false);
    };
    let (finished, ()) = tokio::join!(fill(&*target, &copy, false, &CLOCK, away, |_| {}), back);
    assert_eq!(opened(&target).await.unwrap().head().epoch, finished.unwrap().epoch);
}

/// A manager that goes on through a restore must not write into it, nor hand any part of it out.
#[tokio::test]
async fn a_manager_on_the_store_waits_for_the_end() {
    let copy = source(3).await;
    let target = FaultyStore::new();
    let registry = registry(&target).await;
    registry.register(registration("old")).await.unwrap();
    let mut seen = Vec::new();
    let look = |_: Progress| seen.push(registry.services(None).len());
    let filled = fill(&*target, &copy, true, &CLOCK, ready(Ok(())), look).await.unwrap();
    assert!(seen.iter().all(|services| *services == 1), "{seen:?}");
    crate::testing::eventually(&registry, || registry.head().epoch == filled.epoch).await;
    let names: Vec<_> = registry.services(None).iter().map(|service| service.key().to_string()).collect();
    assert_eq!(names, ["default/service-000", "default/service-001", "default/service-002"]);
    registry.register(registration("new")).await.unwrap();
}

/// Reading the history left a mark in the store that was being filled, which then was not what had been copied.
#[tokio::test(start_paused = true)]
async fn a_manager_that_reads_the_history_meanwhile_leaves_the_store_alone() {
    let copy = source(200).await;
    let target = FaultyStore::new();
    let registry = registry(&target).await;
    registry.register(registration("old")).await.unwrap();
    target.set_delay(Duration::from_millis(100));
    let reading = async {
        loop {
            // While it is filled, it cannot be said how far it is.
            let _ = registry.catch_up().await;
        }
    };
    let filled = tokio::select! {
        filled = filled(&*target, &copy, true) => filled.unwrap(),
        () = reading => unreachable!("it reads for ever"),
    };
    crate::testing::eventually(&registry, || registry.head().epoch == filled.epoch).await;
    assert_eq!(registry.services(None).len(), 200);
}

/// A mark says nothing of what a store holds: it is not in the way of a copy, and no part of one.
#[tokio::test]
async fn a_mark_is_neither_lost_nor_copied() {
    let copy = source(1).await;
    let target = FaultyStore::new();
    drop(registry(&target).await);
    target.commit(Txn::new().put(key::MARK, "")).await.unwrap();
    filled(&*target, &copy, false).await.unwrap();
    let change = change("service-000");
    assert_eq!(keys(&*target).await, [&change, key::MARK, "meta/store", "service/default/service-000"]);
    let again = StoreCopy::of(&read_from(&*target).await.unwrap(), &CLOCK).unwrap();
    assert_eq!(again.entries().map(|(key, _)| key).collect::<Vec<_>>(), [&change, "service/default/service-000"]);
}

#[tokio::test]
async fn values_as_large_as_they_may_be_fit() {
    let store = MemoryStore::new();
    registry_meta(&store).await;
    for index in 0..9 {
        let value = vec![index; MAX_VALUE_BYTES];
        store.commit(Txn::new().put(format!("later/{index}"), value)).await.unwrap();
    }
    let copy = StoreCopy::of(&read_from(&store).await.unwrap(), &CLOCK).unwrap();
    let target = MemoryStore::new();
    assert_eq!(filled(&target, &copy, false).await.unwrap().keys, 9);
}

async fn registry_meta(store: &MemoryStore) {
    epoch::establish(store, &CLOCK, epoch::Seen::default()).await.unwrap();
}
