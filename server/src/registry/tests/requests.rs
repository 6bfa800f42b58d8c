//! Writes that are repeated under their request id.

use super::writes::register;
use crate::{
    error::Error,
    registry::{Registry, request_record::MAX_BYTES},
    store::Store as _,
    testing::{FaultyStore, eventually, key, registration, registry},
};
use cofferdam_core::wire::revision_to_wire;
use cofferdam_proto::v1;
use std::sync::{Arc, atomic::Ordering};

fn set_level(id: &str, level: v1::IsolationLevel) -> v1::SetIsolationLevelRequest {
    v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: level.into(),
        request_id: id.to_owned(),
        ..v1::SetIsolationLevelRequest::default()
    }
}

async fn with_payments() -> (Arc<FaultyStore>, Registry) {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    (store, registry)
}

#[tokio::test]
async fn a_repetition_returns_the_first_result_and_changes_nothing() {
    let (_, registry) = with_payments().await;
    let first = registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    registry.set_level(set_level("two", v1::IsolationLevel::None)).await.unwrap();
    let again = registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    assert_eq!(again, first);
    let now = registry.get(&key("default/payments")).unwrap();
    assert_eq!(now.policy().level, cofferdam_core::level::Level::None);
}

#[tokio::test]
async fn a_write_that_changed_nothing_is_remembered_too() {
    let (_, registry) = with_payments().await;
    registry.set_level(set_level("", v1::IsolationLevel::Full)).await.unwrap();
    let first = registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    registry.set_level(set_level("", v1::IsolationLevel::None)).await.unwrap();
    let again = registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    assert_eq!(again, first);
    let now = registry.get(&key("default/payments")).unwrap();
    assert_eq!(now.policy().level, cofferdam_core::level::Level::None);
}

/// Found by the histories of tests/chaos_writes.rs: the answer came from the request's record, ahead of the watch.
#[tokio::test]
async fn whoever_repeats_at_another_manager_reads_there_what_was_written() {
    let (store, registry) = with_payments().await;
    let other = another(&store).await;
    for (id, level) in [("one", v1::IsolationLevel::Full), ("two", v1::IsolationLevel::None)] {
        registry.set_level(set_level(id, level)).await.unwrap();
        let again = other.set_level(set_level(id, level)).await.unwrap();
        let shown = other.get(&key("default/payments")).unwrap().revision();
        assert_eq!(Some(revision_to_wire(shown)), again.service.unwrap().revision, "{id}");
    }
}

#[tokio::test]
async fn a_repetition_may_reach_another_manager() {
    let (store, registry) = with_payments().await;
    let other = another(&store).await;
    let first = registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    let again = other.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    assert_eq!(again, first);
}

async fn another(store: &Arc<FaultyStore>) -> Registry {
    registry(store).await
}

#[tokio::test]
async fn an_id_names_one_request() {
    let (_, registry) = with_payments().await;
    registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    let refused = registry.set_level(set_level("one", v1::IsolationLevel::None)).await.unwrap_err();
    assert!(matches!(refused, Error::RequestIdReused { .. }), "{refused}");
    let other_method = v1::UnregisterServiceRequest {
        service: "payments".to_owned(),
        request_id: "one".to_owned(),
        ..v1::UnregisterServiceRequest::default()
    };
    let refused = registry.unregister(other_method).await.unwrap_err();
    assert!(matches!(refused, Error::RequestIdReused { .. }), "{refused}");
}

#[tokio::test]
async fn what_would_now_be_refused_still_has_its_first_result() {
    let (_, registry) = with_payments().await;
    let at = registry.get(&key("default/payments")).unwrap().revision();
    let conditional = v1::SetIsolationLevelRequest {
        expected_revision: Some(revision_to_wire(at)),
        ..set_level("level", v1::IsolationLevel::Full)
    };
    let first = registry.set_level(conditional.clone()).await.unwrap();
    assert_eq!(registry.set_level(conditional).await.unwrap(), first, "the revision has moved on");

    let gone = v1::UnregisterServiceRequest {
        service: "payments".to_owned(),
        request_id: "gone".to_owned(),
        ..v1::UnregisterServiceRequest::default()
    };
    let first = registry.unregister(gone.clone()).await.unwrap();
    assert_eq!(registry.unregister(gone).await.unwrap(), first, "the service is gone");
}

#[tokio::test]
async fn a_write_without_an_answer_is_resolved_by_repeating_it() {
    let (store, registry) = with_payments().await;
    store.unanswered.store(1, Ordering::SeqCst);
    let request = set_level("one", v1::IsolationLevel::Full);
    let unknown = registry.set_level(request.clone()).await.unwrap_err();
    assert!(matches!(unknown, Error::StoreOutcomeUnknown { .. }), "{unknown}");
    let payments = key("default/payments");
    let is_full = || registry.get(&payments).unwrap().policy().level == cofferdam_core::level::Level::Full;
    eventually(&registry, is_full).await;
    let applied_at = registry.get(&payments).unwrap().revision();
    let answer = registry.set_level(request).await.unwrap();
    assert_eq!(answer.service.unwrap().revision.unwrap(), revision_to_wire(applied_at), "once, not twice");
}

#[tokio::test(start_paused = true)]
async fn of_many_who_find_no_lease_one_asks_for_it() {
    let (store, registry) = with_payments().await;
    store.set_delay(std::time::Duration::from_millis(5));
    let before = store.leases.load(Ordering::SeqCst);
    let write = |index: usize| registry.set_level(set_level(&format!("request-{index}"), v1::IsolationLevel::Full));
    for written in futures_util::future::join_all((0..20).map(write)).await {
        written.unwrap();
    }
    assert_eq!(store.leases.load(Ordering::SeqCst) - before, 1);
}

#[tokio::test]
async fn a_lease_that_is_gone_is_replaced() {
    let (store, registry) = with_payments().await;
    store.lost_leases.store(1, Ordering::SeqCst);
    let request = set_level("one", v1::IsolationLevel::Full);
    let first = registry.set_level(request.clone()).await.unwrap();
    assert_eq!(store.lost_leases.load(Ordering::SeqCst), 0);
    assert_eq!(registry.set_level(request).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_result_is_forgotten_after_its_time() {
    let (_, registry) = with_payments().await;
    registry.set_level(set_level("one", v1::IsolationLevel::Full)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(14 * 60 + 59)).await;
    registry.set_level(set_level("one", v1::IsolationLevel::None)).await.unwrap_err();
    tokio::time::sleep(std::time::Duration::from_secs(2 * 60)).await;
    registry.set_level(set_level("one", v1::IsolationLevel::None)).await.unwrap();
}

#[tokio::test]
async fn a_registration_repeated_says_again_that_it_created() {
    let (_, registry) = with_payments().await;
    let request = v1::RegisterServiceRequest { request_id: "new".to_owned(), ..registration("orders") };
    assert!(registry.register(request.clone()).await.unwrap().created);
    assert!(registry.register(request).await.unwrap().created);
}

/// A registration whose answer takes room, another one for each number.
fn large(number: usize) -> v1::RegisterServiceRequest {
    let payload = number.to_string().repeat(10_000).into();
    let step = v1::StaticFallback { payload, content_type: String::new() };
    let chain = vec![v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Static(step)) }];
    let fallback = Some(v1::FallbackPolicy { chain, ..v1::FallbackPolicy::default() });
    v1::RegisterServiceRequest {
        request_id: format!("request-{number}"),
        policy: Some(v1::IsolationPolicy { fallback, ..v1::IsolationPolicy::default() }),
        ..registration("payments")
    }
}

#[tokio::test]
async fn the_oldest_results_go_early_where_there_are_too_many() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let kept = async || {
        let entries = store.list("request/").await.unwrap().entries;
        (entries.len(), entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum::<usize>())
    };
    let (mut written, mut most) = (10_000, 0);
    loop {
        registry.register(large(written)).await.unwrap();
        written += 1;
        let (records, bytes) = kept().await;
        assert!(bytes <= MAX_BYTES, "{bytes} bytes in {records} records");
        if records < most {
            break;
        }
        most = records;
        assert!(written < 12_000, "all of {bytes} bytes are kept");
    }
    assert!(most > 100, "{most} is not much");
    let now = registry.get(&key("default/payments")).unwrap().revision();
    let repeated = registry.register(large(written - 1)).await.unwrap();
    assert_eq!(repeated.service.unwrap().revision, Some(revision_to_wire(now)), "the newest are there");
    registry.register(large(10_000)).await.unwrap();
    let then = registry.get(&key("default/payments")).unwrap().revision();
    assert!(then > now, "the oldest is forgotten, and done once more");
}
