//! More services than a transaction takes go back: whoever dies, whoever else writes, and as sound at each revision as
//! before.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use cofferdam_core::level::Level;
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, RollbackOutcome},
};
use prost::Message;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{
    dial::Dial,
    revisions::time,
    rollback::{begun, full, level, register, rollback, unregister},
    rollback_of_many::{changed, stands_in},
    writes::set_level,
};
use crate::{
    error::Error,
    registry::{Actor, Asked, Registry, inspect, key},
    store::{Entry, Store, StoreRevision, WatchEvent},
    testing::FaultyStore,
};

/// The plan as it is stored.
async fn plan(store: &FaultyStore) -> Option<v1::BulkChange> {
    let listing = store.inner().list(key::BULK).await.unwrap();
    storage::BulkPlan::decode(listing.entries.first()?.value.clone()).unwrap().change
}

/// How many changes of each service are a part of some change of many.
async fn parts(store: &FaultyStore) -> BTreeMap<String, usize> {
    let mut parts = BTreeMap::new();
    for entry in store.inner().list(key::CHANGES).await.unwrap().entries {
        let service = entry.key.split('/').nth(2).unwrap().to_owned();
        let record = storage::ChangeRecord::decode(entry.value).unwrap();
        *parts.entry(service).or_default() += usize::from(record.bulk.is_some());
    }
    parts
}

/// Looks at the store as it was at each revision since the plan was ordered.
async fn check_each_revision(store: &FaultyStore) {
    let ordered = plan(store).await.unwrap().revision.unwrap().revision;
    let head = store.inner().list("").await.unwrap().revision;
    let mut watch = store.inner().watch("", StoreRevision::ZERO).await.unwrap();
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    loop {
        let batch = watch.next().await.unwrap().unwrap();
        for event in batch.events {
            match event {
                WatchEvent::Put(entry) => drop(entries.insert(entry.key.clone(), entry)),
                WatchEvent::Delete { key, .. } => drop(entries.remove(&key)),
            }
        }
        if batch.revision.get() >= ordered {
            let kept = entries.values().filter(|entry| !entry.key.starts_with(key::CHANGES));
            let present: Vec<_> = kept.cloned().collect();
            assert_eq!(inspect(&present).problems, [], "at revision {}", batch.revision);
        }
        if batch.revision >= head {
            return;
        }
    }
}

#[tokio::test]
async fn more_than_one_transaction_takes_are_a_plan_that_is_carried_out() {
    let (store, clock, registry) = begun().await;
    changed(&registry, &clock, 70).await;
    let request =
        v1::RollbackRequest { request_id: "once".to_owned(), reason: "the night".to_owned(), ..rollback("", time(15)) };
    let answer =
        registry.rollback(Asked { request: request.clone(), actor: Actor::new(b"ann").unwrap() }).await.unwrap();
    let bulk = answer.bulk.clone().unwrap();
    assert!(bulk.finished && bulk.left_alone.is_empty(), "{bulk:?}");
    assert_eq!((bulk.services, bulk.done, &*bulk.actor, answer.services.len()), (70, 70, "ann", 70));
    for service in &answer.services {
        assert_eq!(service.outcome(), RollbackOutcome::Done);
        assert!(service.revision.unwrap().revision > bulk.revision.unwrap().revision);
        assert_eq!(
            (service.changes[0].path.as_str(), level(&registry, &service.service)),
            ("level", Some(Level::Basic))
        );
    }
    assert!(parts(&store).await.values().all(|count| *count == 1));
    full(&registry, "s-07").await;
    let again = registry.rollback(Asked { request, actor: Actor::new(b"ann").unwrap() }).await.unwrap();
    assert_eq!((again.bulk, again.services), (Some(bulk), answer.services), "it is done once");
    assert_eq!(level(&registry, "s-07"), Some(Level::Full));
    check_each_revision(&store).await;
}

#[tokio::test]
async fn one_more_than_fits_into_a_transaction_is_a_plan() {
    let (_, clock, registry) = begun().await;
    changed(&registry, &clock, 32).await;
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    assert_eq!((answer.revision, answer.bulk.map(|bulk| bulk.done)), (None, Some(32)));
}

#[tokio::test(start_paused = true)]
async fn while_one_is_under_way_another_one_is_refused_and_says_whose_it_is() {
    let (store, clock, registry) = begun().await;
    changed(&registry, &clock, 40).await;
    let other = clock.registry(&store).await;
    let commits = store.commits.load(Ordering::SeqCst);
    {
        let asked = Asked { request: rollback("", time(15)), actor: Actor::new(b"ann").unwrap() };
        let mut order = Box::pin(registry.rollback(asked));
        while store.commits.load(Ordering::SeqCst) == commits {
            // Nothing else runs between the commit and the end of the loop.
            tokio::task::yield_now().await;
            assert!(futures_util::poll!(&mut order).is_pending());
        }
    }
    // Nobody else goes on with it for some seconds.
    drop(registry);
    let refused = other.rollback(rollback("", time(15))).await.unwrap_err();
    let Error::BulkChangeUnderWay { actor, services, .. } = &refused else { panic!("{refused}") };
    assert_eq!((actor.as_str(), *services), ("ann", 40));
    assert!(refused.to_string().starts_with("ann ordered a change of 40 services"), "{refused}");
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(plan(&store).await.unwrap().finished, "the other one has gone on with it");
    other.rollback(rollback("", time(15))).await.unwrap();
}

/// Chains of alternatives that lead one way, and then the other way; and others that have none.
async fn turned_round(registry: &Registry, clock: &Dial) {
    let names: Vec<_> = (0..20).map(|number| format!("a-{number:02}")).collect();
    stands_in(registry, &names[19], None).await;
    for index in (0..19).rev() {
        stands_in(registry, &names[index], Some(&names[index + 1])).await;
    }
    for number in 0..40 {
        register(registry, &format!("b-{number:02}")).await;
    }
    clock.set(20);
    for name in &names {
        stands_in(registry, name, None).await;
    }
    for index in 1..20 {
        stands_in(registry, &names[index], Some(&names[index - 1])).await;
    }
    for number in 0..40 {
        let name = format!("b-{number:02}");
        if number % 4 == 0 {
            unregister(registry, &name).await
        } else {
            full(registry, &name).await;
        }
        register(registry, &format!("c-{number:02}")).await;
    }
    clock.set(30);
}

/// One manager is asked and may die, another one goes on or both are at it, and somebody else writes in between.
async fn whatever_happens(seed: u64) -> (u32, bool) {
    let (store, clock, one) = begun().await;
    turned_round(&one, &clock).await;
    let (two, three) = (clock.registry(&store).await, clock.registry(&store).await);
    let mut random = SmallRng::seed_from_u64(seed);
    store.set_jitter(seed);
    let dies_after = random.random_range(1..6);
    let is_joined = random.random_bool(0.5);
    let request = v1::RollbackRequest { unregister_newer: true, ..rollback("", time(15)) };
    let asked = tokio::spawn(async move {
        let order = one.rollback(request);
        drop(order.await);
        one
    });
    while plan(&store).await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begin = store.commits.load(Ordering::SeqCst);
    let joins = async {
        while is_joined && plan(&store).await.is_none_or(|plan| !plan.finished) {
            let _ = two.shared.carry_on().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let strangers = async {
        let mut written = Vec::new();
        for _ in 0..3 {
            let name = format!("b-{:02}", random.random_range(0..40));
            if three.set_level(set_level(&name, v1::IsolationLevel::None)).await.is_ok() {
                written.push(name);
            }
            tokio::time::sleep(Duration::from_millis(random.random_range(0..30))).await;
        }
        written
    };
    let dies = async {
        while store.commits.load(Ordering::SeqCst) < begin + dies_after {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        asked.abort();
        let is_midway = plan(&store).await.is_some_and(|plan| !plan.finished);
        drop(asked.await);
        is_midway
    };
    let (is_midway, written, ()) = tokio::join!(dies, strangers, joins);
    let waiting = async {
        while plan(&store).await.is_none_or(|plan| !plan.finished) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("nobody has gone on with it");

    let plan = plan(&store).await.unwrap();
    let parts = parts(&store).await;
    assert!(parts.values().all(|count| *count <= 1), "seed {seed}: done twice: {parts:?}");
    assert_eq!(parts.values().sum::<usize>(), plan.done as usize, "seed {seed}");
    let left: Vec<_> = plan.left_alone.iter().map(|left| left.service.as_str()).collect();
    assert_eq!(plan.left_alone_count as usize, left.len());
    let memory = clock.registry(&store).await;
    for number in 0..40 {
        let name = format!("b-{number:02}");
        let is_back = level(&memory, &name) == Some(Level::Basic);
        assert!(is_back || written.contains(&name), "seed {seed}: {name} is not as it was: {plan:?}");
        let new = format!("c-{number:02}");
        assert_eq!(level(&memory, &new), None, "seed {seed}");
    }
    assert!(left.iter().all(|name| written.iter().any(|written| written == name)), "seed {seed}: {plan:?}");
    let alternatives = |number: usize| {
        let service = memory.get(&crate::testing::key(&format!("default/a-{number:02}"))).unwrap();
        service.alternatives().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!((0..19).all(|number| alternatives(number) == [format!("a-{:02}", number + 1)]), "seed {seed}");
    check_each_revision(&store).await;
    (plan.left_alone_count, is_midway)
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_or_writes_each_revision_is_sound_and_each_service_is_done_once() {
    let (mut left_alone, mut midway) = (0, 0);
    for seed in 0..8 {
        let (left, is_midway) = whatever_happens(seed).await;
        left_alone += left;
        midway += u32::from(is_midway);
    }
    assert!(left_alone > 0, "nobody came in between");
    assert!(midway > 3, "a manager died in the middle {midway} times only");
}
