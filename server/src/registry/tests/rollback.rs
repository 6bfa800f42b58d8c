//! Services become what they were, at a new revision and with the check of any write.

use super::{
    dial::{Dial, at},
    revisions::{point, time},
    writes::{paths, set_level},
};
use crate::{
    error::Error,
    registry::{Registry, RegistryOptions, key},
    store::{Store, Txn},
    testing::{FaultyStore, alternative_step, fallback, key as service_key, registration},
};
use cofferdam_core::level::Level;
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, ChangeKind, IsolationLevel, RollbackOutcome, revision_point::Point},
};
use prost::Message;
use std::sync::Arc;

pub(super) fn rollback(service: &str, to: Option<v1::RevisionPoint>) -> v1::RollbackRequest {
    v1::RollbackRequest { service: service.to_owned(), to, ..v1::RollbackRequest::default() }
}

pub(super) async fn register(registry: &Registry, name: &str) -> v1::Revision {
    registry.register(registration(name)).await.unwrap().service.unwrap().revision.unwrap()
}

pub(super) async fn full(registry: &Registry, name: &str) -> v1::Revision {
    let answer = registry.set_level(set_level(name, IsolationLevel::Full)).await.unwrap();
    answer.service.unwrap().revision.unwrap()
}

pub(super) async fn unregister(registry: &Registry, name: &str) {
    let gone = v1::UnregisterServiceRequest { service: name.to_owned(), ..v1::UnregisterServiceRequest::default() };
    registry.unregister(gone).await.unwrap();
}

pub(super) fn level(registry: &Registry, name: &str) -> Option<Level> {
    registry.get(&service_key(&format!("default/{name}"))).map(|present| present.policy().level)
}

async fn newest(registry: &Registry, service: &str) -> v1::ServiceRevision {
    let request = v1::ListRevisionsRequest { service: service.to_owned(), ..v1::ListRevisionsRequest::default() };
    registry.list_revisions(&request).await.unwrap().revisions.remove(0)
}

pub(super) async fn begun() -> (Arc<FaultyStore>, Arc<Dial>, Registry) {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let registry = clock.registry(&store).await;
    (store, clock, registry)
}

#[tokio::test]
async fn a_service_goes_back_to_a_revision_at_a_new_one() {
    let (_, _, registry) = begun().await;
    let first = register(&registry, "payments").await;
    let second = full(&registry, "payments").await;
    let request = v1::RollbackRequest {
        reason: "it hurts".to_owned(),
        expected_revision: Some(second),
        ..rollback("payments", point(Point::Revision(first)))
    };
    let dry = v1::RollbackRequest { validate_only: true, ..request.clone() };
    let dry = registry.rollback(dry).await.unwrap().services.remove(0);
    assert_eq!((dry.outcome(), dry.revision), (RollbackOutcome::Done, None));
    assert_eq!(level(&registry, "payments"), Some(Level::Full), "nothing was written");

    let done = registry.rollback(request.clone()).await.unwrap().services.remove(0);
    assert_eq!((done.outcome(), done.from, done.to), (RollbackOutcome::Done, Some(second), Some(first)));
    assert_eq!((done.changes[0].path.as_str(), &done.changes), ("level", &dry.changes));
    assert!(done.revision.unwrap().revision > second.revision);
    assert_eq!(level(&registry, "payments"), Some(Level::Basic));
    let told = newest(&registry, "payments").await;
    assert_eq!((told.kind(), told.restored, told.revision), (ChangeKind::Rollback, Some(first), done.revision));
    assert_eq!(told.reason, "it hurts");

    assert!(matches!(registry.rollback(request).await, Err(Error::RevisionMismatch { .. })));
    let again = rollback("payments", point(Point::Revision(first)));
    let again = registry.rollback(again).await.unwrap().services.remove(0);
    assert_eq!((again.outcome(), again.revision), (RollbackOutcome::Unchanged, done.revision));
    assert_eq!(newest(&registry, "payments").await.revision, done.revision, "and is not told");
}

#[tokio::test]
async fn a_rollback_that_is_repeated_is_done_once() {
    let (_, _, registry) = begun().await;
    let first = register(&registry, "payments").await;
    full(&registry, "payments").await;
    let request =
        v1::RollbackRequest { request_id: "once".to_owned(), ..rollback("payments", point(Point::Revision(first))) };
    let done = registry.rollback(request.clone()).await.unwrap();
    full(&registry, "payments").await;
    assert_eq!(registry.rollback(request).await.unwrap(), done);
    assert_eq!(level(&registry, "payments"), Some(Level::Full));
}

#[tokio::test]
async fn all_go_back_to_a_time_and_who_was_not_there_is_named() {
    let (_, clock, registry) = begun().await;
    for name in ["changed", "gone", "same"] {
        register(&registry, name).await;
    }
    clock.set(20);
    full(&registry, "changed").await;
    unregister(&registry, "gone").await;
    register(&registry, "newer").await;
    clock.set(30);
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    let told = |answer: &v1::RollbackResponse| {
        let of = |service: &v1::RolledBackService| (service.service.clone(), service.outcome());
        answer.services.iter().map(of).collect::<Vec<_>>()
    };
    let named = |name: &str, outcome| (name.to_owned(), outcome);
    let done = RollbackOutcome::Done;
    assert_eq!(
        told(&answer),
        [named("changed", done), named("gone", done), named("newer", RollbackOutcome::LeftAlone)]
    );
    assert_eq!(answer.unchanged, 1);
    assert_eq!(level(&registry, "changed"), Some(Level::Basic));
    assert_eq!(level(&registry, "gone"), Some(Level::Basic));
    assert!(level(&registry, "newer").is_some());

    clock.set(40);
    let request = v1::RollbackRequest { unregister_newer: true, ..rollback("", time(15)) };
    let answer = registry.rollback(request).await.unwrap();
    let unchanged = RollbackOutcome::Unchanged;
    assert_eq!(told(&answer), [named("changed", unchanged), named("gone", unchanged), named("newer", done)]);
    assert!(level(&registry, "newer").is_none());
    // And the other way: to before that.
    clock.set(50);
    registry.rollback(rollback("", time(35))).await.unwrap();
    assert!(level(&registry, "newer").is_some());
}

#[tokio::test]
async fn services_that_stand_in_for_each_other_come_back_in_any_order() {
    let (_, clock, registry) = begun().await;
    let chain: Vec<_> = (0..6).map(|number| format!("service-{number}")).collect();
    register(&registry, &chain[5]).await;
    for index in (0..5).rev() {
        let step = fallback(vec![alternative_step(&chain[index + 1])]);
        let mut request = registration(&chain[index]);
        request.level = IsolationLevel::Enhanced.into();
        registry.register(v1::RegisterServiceRequest { fallback: Some(step), ..request }).await.unwrap();
    }
    clock.set(20);
    for name in &chain {
        unregister(&registry, name).await;
    }
    clock.set(30);
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    assert!(answer.services.iter().all(|service| service.outcome() == RollbackOutcome::Done), "{answer:?}");
    assert_eq!(answer.services.len(), 6);
    clock.set(40);
    let request = v1::RollbackRequest { unregister_newer: true, ..rollback("", time(25)) };
    let answer = registry.rollback(request).await.unwrap();
    assert!(answer.services.iter().all(|service| service.outcome() == RollbackOutcome::Done), "{answer:?}");
    assert!(registry.services(None).is_empty());
}

#[tokio::test]
async fn what_cannot_be_put_back_is_refused_and_the_others_are_done() {
    let (store, clock, registry) = begun().await;
    register(&registry, "fine").await;
    let first = register(&registry, "payments").await;
    clock.set(20);
    full(&registry, "fine").await;
    full(&registry, "payments").await;
    // As a release wrote it that took more attempts than this one does.
    let at_first = key::change(&service_key("default/payments"), 1);
    let value = store.list(&at_first).await.unwrap().entries[0].value.clone();
    let mut change = storage::ChangeRecord::decode(value).unwrap();
    let mut state = storage::ServiceRecord::decode(change.after).unwrap();
    let retry = v1::RetryPolicy { max_attempts: Some(99), ..v1::RetryPolicy::default() };
    state.policy.as_mut().unwrap().retry = Some(retry);
    change.after = state.encode_to_vec().into();
    change.revision = Some(first);
    store.inner().commit(Txn::new().put(at_first, change.encode_to_vec())).await.unwrap();
    clock.set(30);
    let error = registry.rollback(rollback("payments", point(Point::Revision(first)))).await.unwrap_err();
    assert_eq!(paths(&error), ["to.policy.retry.max_attempts"]);
    let answer = registry.rollback(rollback("", time(15))).await.unwrap();
    let outcomes: Vec<_> = answer.services.iter().map(v1::RolledBackService::outcome).collect();
    assert_eq!(outcomes, [RollbackOutcome::Done, RollbackOutcome::Refused]);
    assert!(answer.services[1].error.contains("to.policy.retry.max_attempts"), "{answer:?}");
    assert_eq!(level(&registry, "payments"), Some(Level::Full));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (_, _, registry) = begun().await;
    let first = register(&registry, "payments").await;
    for (request, path) in [
        (rollback("payments", None), "to"),
        (rollback("payments", Some(v1::RevisionPoint::default())), "to"),
        (rollback("payments", time(11)), "to.time"),
        (rollback("", time(11)), "to.time"),
        (rollback("", point(Point::Revision(first))), "to.revision"),
        (rollback("", point(Point::Time(prost_types::Timestamp { seconds: 0, nanos: -1 }))), "to.time"),
        (v1::RollbackRequest { expected_revision: Some(first), ..rollback("", time(10)) }, "expected_revision"),
        (v1::RollbackRequest { namespace: "*".to_owned(), ..rollback("payments", time(10)) }, "namespace"),
        (v1::RollbackRequest { reason: "a".repeat(257), ..rollback("", time(10)) }, "reason"),
        (v1::RollbackRequest { request_id: "a".repeat(129), ..rollback("", time(10)) }, "request_id"),
    ] {
        assert_eq!(paths(&registry.rollback(request).await.unwrap_err()), [path]);
    }
}

#[tokio::test]
async fn what_a_later_release_wrote_then_comes_back_with_it() {
    let (store, clock, registry) = begun().await;
    register(&registry, "payments").await;
    let written_at = key::service(&service_key("default/payments"));
    let value = store.list(&written_at).await.unwrap().entries[0].value.clone();
    // A field of number 900, as a later release might add it.
    let beyond = [&value[..], &[0xa2, 0x38, 0x01, b'x']].concat();
    let at = store.inner().commit(Txn::new().put(written_at.as_str(), beyond)).await.unwrap().revision;
    crate::testing::eventually(&registry, || registry.head().revision >= at.get()).await;
    clock.set(20);
    full(&registry, "payments").await;
    let request = v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        insist: true,
        policy: Some(Default::default()),
        ..Default::default()
    };
    let second = registry.update_policy(request).await.unwrap().service.unwrap().revision.unwrap();
    unregister(&registry, "payments").await;
    clock.set(30);
    registry.rollback(rollback("payments", point(Point::Revision(second)))).await.unwrap();
    let value = store.list(&written_at).await.unwrap().entries[0].value.clone();
    assert!(value.windows(4).any(|window| window == [0xa2, 0x38, 0x01, b'x']), "{value:?}");
    let present = registry.get(&service_key("default/payments")).unwrap();
    assert!(present.is_insisted() && present.is_of_later_release());
}

#[tokio::test]
async fn a_service_that_finds_no_room_is_refused() {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let one: Arc<dyn Store> = Arc::<FaultyStore>::clone(&store);
    let options = RegistryOptions { max_services: 1, ..RegistryOptions::default() };
    let registry = Registry::open(one, Arc::<Dial>::clone(&clock), options).await.unwrap();
    let first = register(&registry, "payments").await;
    unregister(&registry, "payments").await;
    register(&registry, "orders").await;
    let error = registry.rollback(rollback("payments", point(Point::Revision(first)))).await.unwrap_err();
    assert!(matches!(error, Error::QuotaExceeded { .. }), "{error}");
    assert_eq!(newest(&registry, "orders").await.time, Some(at(10)));
}
