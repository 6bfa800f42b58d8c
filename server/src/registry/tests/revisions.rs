//! What is read of the changes of services, on a clock that the test sets.

use super::{
    dial::{Dial, at},
    writes::{paths, set_level},
};
use crate::{
    error::Error,
    registry::{Actor, Asked, Registry, key},
    store::{Store, Txn},
    testing::{FaultyStore, key as service_key, registration},
};
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, ChangeKind, IsolationLevel, revision_point::Point},
};
use prost::Message;
use std::sync::Arc;

pub(super) fn point(point: Point) -> Option<v1::RevisionPoint> {
    Some(v1::RevisionPoint { point: Some(point) })
}

pub(super) fn time(seconds: u64) -> Option<v1::RevisionPoint> {
    point(Point::Time(at(seconds)))
}

fn get(at: Option<v1::RevisionPoint>) -> v1::GetRevisionRequest {
    v1::GetRevisionRequest { service: "payments".to_owned(), at, ..v1::GetRevisionRequest::default() }
}

fn list(service: &str, page_size: i32, page_token: &str) -> v1::ListRevisionsRequest {
    v1::ListRevisionsRequest {
        service: service.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
        ..v1::ListRevisionsRequest::default()
    }
}

/// Registered at 10, full at 20, unregistered at 30, registered again at 40; now it is 50. And the revisions of these.
async fn lived() -> (Arc<FaultyStore>, Registry, Vec<v1::Revision>) {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let registry = clock.registry(&store).await;
    let mut revisions = Vec::new();
    let revision = |service: Option<v1::IsolatedService>| service.unwrap().revision.unwrap();
    revisions.push(revision(registry.register(registration("payments")).await.unwrap().service));
    clock.set(20);
    let request =
        v1::SetIsolationLevelRequest { reason: "a trial".to_owned(), ..set_level("payments", IsolationLevel::Full) };
    let asked = Asked { request, actor: Actor::new(b"ann").unwrap() };
    revisions.push(revision(registry.set_level(asked).await.unwrap().service));
    clock.set(30);
    let gone = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    revisions.push(registry.unregister(gone).await.unwrap().revision.unwrap());
    clock.set(40);
    revisions.push(revision(registry.register(registration("payments")).await.unwrap().service));
    clock.set(50);
    (store, registry, revisions)
}

#[tokio::test]
async fn the_changes_of_a_service_are_listed_the_newest_first() {
    let (_, registry, revisions) = lived().await;
    let first = registry.list_revisions(&list("payments", 3, "")).await.unwrap();
    let last = registry.list_revisions(&list("payments", 3, &first.next_page_token)).await.unwrap();
    assert!(last.next_page_token.is_empty());
    let all = [first.revisions, last.revisions].concat();
    let listed: Vec<_> = all.iter().rev().map(|revision| revision.revision.unwrap()).collect();
    assert_eq!(listed, revisions);
    let kinds: Vec<_> = all.iter().map(v1::ServiceRevision::kind).collect();
    let (registered, unregistered) = (ChangeKind::Registered, ChangeKind::Unregistered);
    assert_eq!(kinds, [registered, unregistered, ChangeKind::Level, registered]);
    assert_eq!((&*all[2].actor, &*all[2].reason, all[2].time), ("ann", "a trial", Some(at(20))));
    let told: Vec<_> = all[2].changes.iter().map(|change| (&*change.path, change.after.as_deref())).collect();
    assert_eq!(told, [("level", Some("ISOLATION_LEVEL_FULL"))]);
    assert_eq!(all[1].changes[0].path, "registered");
    assert!(!all[3].is_oldest_kept, "nothing was before it");
}

#[tokio::test]
async fn a_service_is_shown_as_it_was() {
    let (_, registry, revisions) = lived().await;
    let level = |answer: &v1::GetRevisionResponse| answer.written_policy.as_ref().map(v1::IsolationPolicy::level);
    for (at, expected) in [
        (point(Point::Revision(revisions[1])), Some(IsolationLevel::Full)),
        (point(Point::Revision(v1::Revision { epoch: 0, ..revisions[1] })), Some(IsolationLevel::Full)),
        (time(20), Some(IsolationLevel::Full)),
        (time(29), Some(IsolationLevel::Full)),
        (time(19), Some(IsolationLevel::Unspecified)),
        (time(35), None),
        (time(5), None),
        (None, Some(IsolationLevel::Unspecified)),
    ] {
        let answer = registry.get_revision(&get(at)).await.unwrap();
        assert_eq!(level(&answer), expected, "{at:?}");
        assert_eq!((answer.service.is_some(), answer.policy.is_some()), (expected.is_some(), expected.is_some()));
    }
    let effective = registry.get_revision(&get(time(15))).await.unwrap().policy.unwrap();
    assert_eq!(effective.level(), IsolationLevel::Basic);
}

#[tokio::test]
async fn two_points_are_compared_either_way() {
    let (_, registry, revisions) = lived().await;
    let diff = |from, to| v1::DiffRevisionsRequest { service: "payments".to_owned(), from, to, ..Default::default() };
    let forth = registry.diff_revisions(&diff(time(15), time(25))).await.unwrap();
    assert_eq!((forth.from, forth.to), (Some(revisions[0]), Some(revisions[1])));
    assert_eq!((forth.changes[0].before.as_deref(), forth.changes.len()), (None, 1));
    let back = registry.diff_revisions(&diff(time(25), None)).await.unwrap();
    assert_eq!(
        (back.changes[0].before.as_deref(), back.changes[0].after.as_deref()),
        (Some("ISOLATION_LEVEL_FULL"), None)
    );
    assert!(registry.diff_revisions(&diff(None, None)).await.unwrap().changes.is_empty());
}

/// Before, whoever wrote next was shown as having ended the level, and a time after its end as one at which it was in force.
#[tokio::test]
async fn what_has_run_out_is_nothing_that_the_next_writer_has_ended() {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let registry = clock.registry(&store).await;
    let enhanced = v1::RegisterServiceRequest { level: IsolationLevel::Enhanced.into(), ..registration("payments") };
    registry.register(enhanced).await.unwrap();
    clock.set(20);
    let ttl = Some(prost_types::Duration { seconds: 10, nanos: 0 });
    let hold = v1::HoldBreakerRequest {
        service: "payments".to_owned(),
        forced: v1::ForcedState::Open.into(),
        reason: "a drill".to_owned(),
        ttl,
        ..Default::default()
    };
    registry.hold_breaker(hold.clone()).await.unwrap();
    registry
        .set_level(v1::SetIsolationLevelRequest { ttl, ..set_level("payments", IsolationLevel::None) })
        .await
        .unwrap();
    clock.set(40);
    registry.set_level(set_level("payments", IsolationLevel::Full)).await.unwrap();
    registry.hold_breaker(hold).await.unwrap();

    let listed = registry.list_revisions(&list("payments", 9, "")).await.unwrap().revisions;
    let changed = |index: usize| -> Vec<_> {
        let is_kept = |path: &&str| !path.ends_with("reason") && !path.ends_with("actor") && !path.ends_with("owner");
        listed[index].changes.iter().map(|change| &*change.path).filter(is_kept).collect()
    };
    assert_eq!(changed(1), ["level"]);
    assert_eq!(changed(2), ["orders.temporary_level.expire_time", "orders.temporary_level.level"]);
    // What is ordered anew is new.
    assert_eq!(changed(0), changed(3));

    let paths = async |from, to| -> Vec<_> {
        let request = v1::DiffRevisionsRequest {
            service: "payments".to_owned(),
            from,
            to,
            ..v1::DiffRevisionsRequest::default()
        };
        let told = registry.diff_revisions(&request).await.unwrap();
        told.changes.into_iter().filter(|change| change.path.ends_with("level")).map(|change| change.path).collect()
    };
    assert_eq!(paths(time(25), time(35)).await, ["orders.temporary_level.level"], "by itself");
    assert_eq!(paths(time(35), time(40)).await, ["level"]);
    let of = |index: usize| point(Point::Revision(listed[index].revision.unwrap()));
    assert_eq!(paths(of(2), of(1)).await, ["level", "orders.temporary_level.level"], "two states differ in both");
    let back = v1::RollbackRequest { service: "payments".to_owned(), to: time(35), ..Default::default() };
    let back = registry.rollback(back).await.unwrap().services.remove(0);
    assert_eq!(back.changes.iter().map(|change| &*change.path).collect::<Vec<_>>(), ["level"]);
}

#[tokio::test]
async fn what_there_is_not_is_refused_with_what_there_is() {
    let (_, registry, revisions) = lived().await;
    let wrong = v1::Revision { revision: revisions[3].revision + 7, ..revisions[3] };
    let error = registry.get_revision(&get(point(Point::Revision(wrong)))).await.unwrap_err();
    assert!(matches!(error, Error::RevisionUnknown { .. }), "{error}");
    let error = registry.get_revision(&get(time(51))).await.unwrap_err();
    assert_eq!(paths(&error), ["at.time"]);
    assert!(error.to_string().contains("future"), "{error}");
    let none = v1::GetRevisionRequest { service: "payment".to_owned(), ..v1::GetRevisionRequest::default() };
    let error = registry.get_revision(&none).await.unwrap_err();
    assert!(error.to_string().contains("did you mean payments"), "{error}");
    for (request, path) in [
        (list("", 101, ""), "page_size"),
        (list("", 0, "x"), "page_token"),
        (v1::ListRevisionsRequest { namespace: "-".to_owned(), ..list("", 0, "") }, "namespace"),
    ] {
        assert_eq!(paths(&registry.list_revisions(&request).await.unwrap_err()), [path]);
    }
}

#[tokio::test]
async fn what_is_not_kept_any_more_is_told_with_what_is() {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let registry = clock.registry(&store).await;
    let first = registry.register(registration("payments")).await.unwrap().service.unwrap().revision.unwrap();
    for (step, level) in (0..32).zip([IsolationLevel::Full, IsolationLevel::Enhanced].into_iter().cycle()) {
        clock.set(20 + step);
        registry.set_level(set_level("payments", level)).await.unwrap();
    }
    for at in [point(Point::Revision(first)), time(15)] {
        let error = registry.get_revision(&get(at)).await.unwrap_err();
        let Error::RevisionNotKept { oldest, time, .. } = &error else { panic!("{error}") };
        assert!(oldest.revision > first.revision);
        assert!(error.to_string().contains(time) && time.starts_with("2023-"), "{error}");
    }
    let all = registry.list_revisions(&list("payments", 100, "")).await.unwrap().revisions;
    assert_eq!((all.len(), all[31].is_oldest_kept, all[31].changes.len()), (32, true, 0));
}

#[tokio::test]
async fn the_changes_of_many_services_are_merged_by_time_page_by_page() {
    let (store, clock) = (FaultyStore::new(), Dial::at(0));
    let registry = clock.registry(&store).await;
    let mut expected = Vec::new();
    for step in 0..60 {
        clock.set(step);
        let name = format!("service-{}", step % 20);
        let level = [IsolationLevel::Full, IsolationLevel::Enhanced, IsolationLevel::None][step as usize / 20];
        let request = v1::RegisterServiceRequest { level: level.into(), ..registration(&name) };
        registry.register(request).await.unwrap();
        expected.insert(0, (name, Some(at(step))));
    }
    clock.set(70);
    let gone = v1::UnregisterServiceRequest { service: "service-3".to_owned(), ..Default::default() };
    registry.unregister(gone).await.unwrap();
    expected.insert(0, ("service-3".to_owned(), Some(at(70))));
    let mut told = Vec::new();
    let mut token = String::new();
    loop {
        let page = registry.list_revisions(&list("", 7, &token)).await.unwrap();
        assert!(page.revisions.len() == 7 || page.next_page_token.is_empty());
        told.extend(page.revisions.into_iter().map(|revision| (revision.service, revision.time)));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(told, expected);
    let other = v1::ListRevisionsRequest { namespace: "other".to_owned(), ..list("", 0, "") };
    assert!(registry.list_revisions(&other).await.unwrap().revisions.is_empty());
}

/// As after a rollback of many services: its parts have one time. Before, they were listed by name, the oldest first.
#[tokio::test]
async fn of_changes_at_one_time_the_later_revision_is_the_newer_one() {
    let (store, clock) = (FaultyStore::new(), Dial::at(10));
    let registry = clock.registry(&store).await;
    for name in ["a", "b", "c", "d", "e"] {
        registry.register(registration(name)).await.unwrap();
    }
    let (mut told, mut token) = (Vec::new(), String::new());
    loop {
        let page = registry.list_revisions(&list("", 2, &token)).await.unwrap();
        told.extend(page.revisions.into_iter().map(|change| change.service));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(told, ["e", "d", "c", "b", "a"]);
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_hide_a_change() {
    let (store, clock) = (FaultyStore::new(), Dial::at(50));
    let registry = clock.registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    clock.set(20);
    registry.set_level(set_level("payments", IsolationLevel::Full)).await.unwrap();
    clock.set(60);
    let answer = registry.get_revision(&get(time(20))).await.unwrap();
    assert_eq!(answer.written_policy.unwrap().level(), IsolationLevel::Full);
    let all = registry.list_revisions(&list("", 1, "")).await.unwrap();
    let next = registry.list_revisions(&list("", 1, &all.next_page_token)).await.unwrap();
    assert_eq!((all.revisions[0].kind(), next.revisions[0].kind()), (ChangeKind::Level, ChangeKind::Registered));
}

#[tokio::test]
async fn a_service_that_a_release_without_history_wrote_is_shown_as_it_was_found() {
    let store = FaultyStore::new();
    let service = v1::Service { namespace: "default".to_owned(), name: "payments".to_owned(), ..Default::default() };
    let record = storage::ServiceRecord {
        schema_version: 1,
        service: Some(service),
        policy: Some(v1::IsolationPolicy::default()),
        update_time: Some(at(5)),
        ..storage::ServiceRecord::default()
    };
    store.inner().commit(Txn::new().put("service/default/payments", record.encode_to_vec())).await.unwrap();
    let registry = Dial::at(50).registry(&store).await;
    let all = registry.list_revisions(&list("payments", 0, "")).await.unwrap().revisions;
    assert_eq!((all.len(), all[0].kind(), all[0].is_oldest_kept), (1, ChangeKind::Found, true));
    assert_eq!(all[0].time, Some(at(5)));
    assert!(matches!(registry.get_revision(&get(time(4))).await, Err(Error::RevisionNotKept { .. })));
    assert!(store.list(&key::changes(&service_key("default/payments"))).await.unwrap().entries.is_empty());
}
