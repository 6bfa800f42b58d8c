//! Many services go back at once: none is missed, and none is lost on the way.

use super::{
    dial::Dial,
    revisions::{point, time},
    rollback::{begun, full, level, register, rollback, unregister},
};
use crate::{
    error::Error,
    registry::{Registry, RegistryOptions, changes::MAX_UNREGISTERED, inspect},
    store::Store,
    testing::{FaultyStore, alternative_step, fallback, registration, static_step},
};
use cofferdam_core::level::Level;
use cofferdam_proto::v1::{self, RollbackOutcome, revision_point::Point};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

fn without_newer(to: u64) -> v1::RollbackRequest {
    v1::RollbackRequest { unregister_newer: true, ..rollback("", time(to)) }
}

/// Registers so many services, and changes them after the time to go back to.
pub(super) async fn changed(registry: &Registry, clock: &Dial, count: usize) {
    for number in 0..count {
        register(registry, &format!("s-{number:02}")).await;
    }
    clock.set(20);
    for number in 0..count {
        full(registry, &format!("s-{number:02}")).await;
    }
    clock.set(30);
}

/// Registers a service with another one that stands in for it, or with none.
pub(super) async fn stands_in(registry: &Registry, name: &str, alternative: Option<&str>) {
    let step = alternative.map_or_else(|| static_step(b"{}"), alternative_step);
    let request = v1::RegisterServiceRequest { fallback: Some(fallback(vec![step])), ..registration(name) };
    let level = v1::IsolationLevel::Enhanced.into();
    registry.register(v1::RegisterServiceRequest { level, ..request }).await.unwrap();
}

#[tokio::test]
async fn as_many_as_fit_into_one_transaction_go_back_at_one_revision() {
    let (store, clock, registry) = begun().await;
    changed(&registry, &clock, 31).await;
    let (head, commits) = (store.list("").await.unwrap().revision.get(), store.commits.load(Ordering::SeqCst));
    let request = v1::RollbackRequest { request_id: "once".to_owned(), ..rollback("", time(15)) };
    let answer = registry.rollback(request.clone()).await.unwrap();
    let at = answer.revision.unwrap();
    assert_eq!((at.revision, store.commits.load(Ordering::SeqCst)), (head + 1, commits + 1));
    assert_eq!(answer.services.len(), 31);
    for service in &answer.services {
        assert_eq!((service.outcome(), service.revision), (RollbackOutcome::Done, Some(at)), "{service:?}");
        assert_eq!(level(&registry, &service.service), Some(Level::Basic));
    }
    full(&registry, "s-07").await;
    assert_eq!(registry.rollback(request).await.unwrap(), answer, "it is done once");
    assert_eq!(level(&registry, "s-07"), Some(Level::Full));
}

#[tokio::test]
async fn those_that_stand_in_for_each_other_change_places_at_one_revision() {
    let (store, clock, registry) = begun().await;
    stands_in(&registry, "b", None).await;
    stands_in(&registry, "a", Some("b")).await;
    clock.set(20);
    stands_in(&registry, "a", None).await;
    stands_in(&registry, "b", Some("a")).await;
    clock.set(30);
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    let outcomes: Vec<_> = answer.services.iter().map(|service| (service.outcome(), service.revision)).collect();
    assert_eq!(outcomes, [(RollbackOutcome::Done, answer.revision); 2], "{answer:?}");
    assert_eq!(inspect(&store.list("").await.unwrap().entries).problems, []);
}

#[tokio::test]
async fn a_service_that_somebody_else_changes_meanwhile_keeps_the_others_from_going_back_without_it() {
    let (store, clock, registry) = begun().await;
    changed(&registry, &clock, 3).await;
    let other = clock.registry(&store).await;
    store.set_deaf(true);
    stands_in(&other, "s-01", None).await;
    let commits = store.commits.load(Ordering::SeqCst);
    let (answer, ()) = tokio::join!(registry.rollback(rollback("", time(15))), async {
        while store.commits.load(Ordering::SeqCst) == commits {
            tokio::task::yield_now().await;
        }
        store.set_deaf(false);
    });
    let answer = answer.unwrap();
    assert!(store.commits.load(Ordering::SeqCst) > commits, "it was tried");
    assert!(answer.services.iter().all(|service| service.revision == answer.revision), "{answer:?}");
    assert_eq!(answer.services.len(), 3);
}

#[tokio::test]
async fn what_would_be_done_is_told_of_all_together() {
    let (_, clock, registry) = begun().await;
    stands_in(&registry, "b", None).await;
    stands_in(&registry, "a", Some("b")).await;
    clock.set(20);
    unregister(&registry, "a").await;
    unregister(&registry, "b").await;
    clock.set(30);
    let dry = v1::RollbackRequest { validate_only: true, ..rollback("", time(15)) };
    let answer = registry.rollback(dry).await.unwrap();
    assert!(answer.services.iter().all(|service| service.outcome() == RollbackOutcome::Done), "{answer:?}");
    assert_eq!((answer.revision, level(&registry, "a")), (None, None), "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn what_memory_has_not_heard_yet_goes_back_too() {
    let (store, clock, one) = begun().await;
    register(&one, "payments").await;
    let other = clock.registry(&store).await;
    clock.set(20);
    store.set_deaf(true);
    full(&one, "payments").await;
    assert_eq!(level(&other, "payments"), Some(Level::Basic), "it has not heard of it");
    clock.set(30);
    let answer = other.rollback(rollback("", time(15))).await.unwrap();
    assert_eq!((answer.services.len(), answer.unchanged), (1, 0));
    assert_eq!(answer.services[0].outcome(), RollbackOutcome::Done);
    store.set_deaf(false);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_all_revisions_has_what_memory_has_not_heard_yet() {
    let (store, clock, one) = begun().await;
    let other = clock.registry(&store).await;
    store.set_deaf(true);
    register(&one, "payments").await;
    let listed = other.list_revisions(&v1::ListRevisionsRequest::default()).await.unwrap();
    assert_eq!(listed.revisions.len(), 1);
    store.set_away(true);
    let away = other.list_revisions(&v1::ListRevisionsRequest::default()).await;
    assert!(matches!(away, Err(Error::StoreUnavailable { .. })), "{away:?}");
}

#[tokio::test]
async fn what_is_gone_comes_back_before_what_is_new_goes() {
    let (_, clock, registry) = begun().await;
    let half = MAX_UNREGISTERED / 2 + 10;
    for number in 0..half {
        register(&registry, &format!("old-{number}")).await;
    }
    clock.set(20);
    for number in 0..half {
        unregister(&registry, &format!("old-{number}")).await;
        register(&registry, &format!("new-{number}")).await;
    }
    clock.set(30);
    let answer = registry.rollback(without_newer(15)).await.unwrap();
    let not_done = answer.services.iter().find(|service| service.outcome() != RollbackOutcome::Done);
    assert_eq!((answer.services.len(), not_done), (2 * half, None));
}

#[tokio::test]
async fn what_is_new_makes_room_for_what_is_gone() {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let one: Arc<dyn Store> = Arc::<FaultyStore>::clone(&store);
    let options = RegistryOptions { max_services: 1, ..RegistryOptions::default() };
    let registry = Registry::open(one, Arc::<Dial>::clone(&clock), options).await.unwrap();
    register(&registry, "gone").await;
    clock.set(20);
    unregister(&registry, "gone").await;
    register(&registry, "new").await;
    clock.set(30);
    let answer = registry.rollback(without_newer(15)).await.unwrap();
    let outcomes: Vec<_> = answer.services.iter().map(v1::RolledBackService::outcome).collect();
    assert_eq!(outcomes, [RollbackOutcome::Done; 2], "{answer:?}");
    assert!(level(&registry, "gone").is_some() && level(&registry, "new").is_none());
}

#[tokio::test]
async fn a_repetition_is_answered_although_its_own_record_took_the_place_of_what_it_went_back_to() {
    let (_, _, registry) = begun().await;
    let first = register(&registry, "payments").await;
    full(&registry, "payments").await;
    for _ in 0..15 {
        let back = registry.rollback(rollback("payments", point(Point::Revision(first)))).await;
        back.unwrap();
        full(&registry, "payments").await;
    }
    let request =
        v1::RollbackRequest { request_id: "again".to_owned(), ..rollback("payments", point(Point::Revision(first))) };
    let done = registry.rollback(request.clone()).await.unwrap();
    let other = v1::RollbackRequest { request_id: String::new(), ..request.clone() };
    let not_kept = registry.rollback(other).await;
    assert!(matches!(not_kept, Err(Error::RevisionNotKept { .. })), "{not_kept:?}");
    assert_eq!(registry.rollback(request.clone()).await.unwrap(), done);
    let reused = registry.rollback(v1::RollbackRequest { reason: "another".to_owned(), ..request }).await;
    assert_eq!(reused, Err(Error::RequestIdReused { request_id: "again".to_owned() }));
}

#[tokio::test]
async fn of_what_the_store_did_not_answer_nobody_says_that_it_was_refused() {
    let (store, clock, registry) = begun().await;
    register(&registry, "payments").await;
    clock.set(20);
    full(&registry, "payments").await;
    clock.set(30);
    store.unanswered.store(1, Ordering::SeqCst);
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    assert_eq!(store.unanswered.load(Ordering::SeqCst), 0);
    assert_eq!(answer.services[0].outcome(), RollbackOutcome::Unknown, "{answer:?}");
    assert!(!answer.services[0].error.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_ends_it() {
    let (store, clock, registry) = begun().await;
    let many = 200;
    for number in 0..many {
        register(&registry, &format!("s-{number}")).await;
    }
    clock.set(20);
    for number in 0..many {
        full(&registry, &format!("s-{number}")).await;
    }
    clock.set(30);
    let before = tokio::time::Instant::now();
    store.set_delay(Duration::from_millis(10));
    let (answer, ()) = tokio::join!(registry.rollback(rollback("", time(15))), async {
        // Behind the first look at the store, before that at most of the services.
        tokio::time::sleep(Duration::from_millis(15)).await;
        store.set_delay(RegistryOptions::default().store_timeout * 2);
    });
    assert!(matches!(answer, Err(Error::StoreUnavailable { .. })), "{answer:?}");
    assert!(before.elapsed() < RegistryOptions::default().store_timeout * 2, "one wait and not one for each 64");
    assert!(
        (0..many).all(|number| level(&registry, &format!("s-{number}")) == Some(Level::Full)),
        "nothing was written"
    );
}
