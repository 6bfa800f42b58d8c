//! Many writers, one store.

use super::writes::register;
use crate::{
    error::Error,
    registry::RegistryOptions,
    testing::{FaultyStore, eventually, key, registry},
};
use cofferdam_proto::v1;
use std::sync::{Arc, atomic::Ordering};

fn attempts(service: &str, max: u32, path: &str) -> v1::UpdateIsolationPolicyRequest {
    let policy = v1::IsolationPolicy {
        retry: Some(v1::RetryPolicy { max_attempts: Some(max), ..v1::RetryPolicy::default() }),
        bulkhead: Some(v1::BulkheadPolicy { max_concurrent: Some(max), ..v1::BulkheadPolicy::default() }),
        ..v1::IsolationPolicy::default()
    };
    v1::UpdateIsolationPolicyRequest {
        service: service.to_owned(),
        policy: Some(policy),
        update_mask: Some(prost_types::FieldMask { paths: vec![path.to_owned()] }),
        ..v1::UpdateIsolationPolicyRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_two_managers_lose_nothing() {
    let store = FaultyStore::new();
    let managers = [Arc::new(registry(&store).await), Arc::new(registry(&store).await)];
    register(&managers[0], "payments").await;
    let writer = |index: usize| {
        let manager = Arc::clone(&managers[index % 2]);
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for round in 0..20 {
                let (path, max) =
                    if index.is_multiple_of(2) { ("retry.max_attempts", 10) } else { ("bulkhead.max_concurrent", 90) };
                let request = attempts("payments", 1 + (round + u32::try_from(index).unwrap()) % max, path);
                let answer = manager.update_policy(request).await.unwrap().service.unwrap();
                revisions.push(answer.revision.unwrap().revision);
            }
            assert!(revisions.is_sorted(), "a writer never sees an older revision than its own");
        })
    };
    for writer in (0..6).map(writer).collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    // Each manager has read its own writes; both end at what the store holds.
    let last = |manager: &crate::registry::Registry| manager.get(&key("default/payments")).unwrap();
    let newest = last(&managers[0]).revision().max(last(&managers[1]).revision());
    for manager in &managers {
        crate::testing::eventually(manager, || last(manager).revision() == newest).await;
    }
    assert_eq!(last(&managers[0]).policy_hash(), last(&managers[1]).policy_hash());
}

#[tokio::test]
async fn a_conflict_is_retried() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    store.conflicts.store(5, Ordering::SeqCst);
    registry.update_policy(attempts("payments", 4, "retry")).await.unwrap();
    assert_eq!(store.conflicts.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_conflicts_is_given_up_with_nothing_changed() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    register(&registry, "payments").await;
    let before = registry.get(&key("default/payments")).unwrap().revision();
    store.conflicts.store(u32::MAX, Ordering::SeqCst);
    let refused = registry.update_policy(attempts("payments", 4, "retry")).await.unwrap_err();
    assert!(matches!(refused, Error::Contended { .. }), "{refused}");
    assert_eq!(registry.get(&key("default/payments")).unwrap().revision(), before);
}

#[tokio::test]
async fn a_manager_that_has_not_heard_yet_does_not_refuse() {
    let store = FaultyStore::new();
    let (left, right) = (registry(&store).await, registry(&store).await);
    for index in 0..50 {
        let name = format!("service-{index}");
        register(&left, &name).await;
        // The right one may not have seen it, and still must not say "not found".
        right.update_policy(attempts(&name, 4, "retry")).await.unwrap();
    }
}

/// It was said that others had changed the service, at each of 32 attempts; there had been one.
#[tokio::test(start_paused = true)]
async fn a_store_that_goes_quiet_after_a_conflict_is_not_a_quarrel() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    register(&here, "payments").await;
    eventually(&there, || there.get(&key("default/payments")).is_some()).await;
    store.set_deaf(true);
    there.update_policy(attempts("payments", 4, "retry")).await.unwrap();
    // The commit is answered in time; that and what is read again afterwards are not.
    store.set_delay(RegistryOptions::default().store_timeout * 2 / 3);
    let refused = here.update_policy(attempts("payments", 5, "retry")).await.unwrap_err();
    assert!(matches!(refused, Error::StoreUnavailable { .. }), "{refused}");
}
