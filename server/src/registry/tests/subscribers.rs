//! What subscribers hear.

use super::writes::register;
use crate::{
    fanout::{News, Subscription},
    registry::{Change, Registry},
    testing::{FaultyStore, PATIENCE, key, registration, registry},
};
use cofferdam_core::{revision::Revision, wire::revision_from_wire};
use cofferdam_proto::v1;

fn told(change: &Change) -> String {
    match change {
        Change::Updated(registered) => format!("{} updated", registered.key()),
        Change::Removed { key, .. } => format!("{key} removed"),
    }
}

async fn next(subscription: &Subscription) -> Change {
    match subscription.next().await.unwrap() {
        News::Change(change) => change,
        News::Hint(hint) => panic!("{hint:?}"),
    }
}

async fn unregister(registry: &Registry, name: &str) -> Revision {
    let gone = v1::UnregisterServiceRequest { service: name.to_owned(), ..Default::default() };
    revision_from_wire(registry.unregister(gone).await.unwrap().revision.unwrap())
}

#[tokio::test]
async fn a_follower_is_told_how_things_are_and_then_what_changes() {
    let registry = registry(&FaultyStore::new()).await;
    register(&registry, "payments").await;
    let mut subscription = registry.subscribe(Default::default());
    let keys = [key("default/payments"), key("default/orders")];
    let opening = registry.follow(&mut subscription, &keys, None);
    assert_eq!(
        opening.changes.iter().map(told).collect::<Vec<_>>(),
        ["default/payments updated", "default/orders removed"]
    );
    assert_eq!(opening.head, registry.head());

    register(&registry, "unrelated").await;
    register(&registry, "orders").await;
    let change = tokio::time::timeout(PATIENCE, next(&subscription)).await.unwrap();
    assert_eq!(told(&change), "default/orders updated");
    unregister(&registry, "orders").await;
    let change = tokio::time::timeout(PATIENCE, next(&subscription)).await.unwrap();
    assert_eq!(told(&change), "default/orders removed");
}

#[tokio::test]
async fn a_namespace_is_followed_with_what_is_to_come() {
    let registry = registry(&FaultyStore::new()).await;
    register(&registry, "payments").await;
    let mut elsewhere = registration("elsewhere");
    elsewhere.service.as_mut().unwrap().namespace = "eu".to_owned();
    registry.register(elsewhere).await.unwrap();
    let mut subscription = registry.subscribe(Default::default());
    let namespace = key("default/x").namespace;
    let opening = registry.follow(&mut subscription, &[key("default/gone")], Some(&namespace));
    assert_eq!(
        opening.changes.iter().map(told).collect::<Vec<_>>(),
        ["default/payments updated", "default/gone removed"]
    );
    register(&registry, "comes").await;
    let change = tokio::time::timeout(PATIENCE, next(&subscription)).await.unwrap();
    assert_eq!(told(&change), "default/comes updated");
}

#[tokio::test]
async fn of_many_changes_a_slow_follower_gets_the_last() {
    let registry = registry(&FaultyStore::new()).await;
    register(&registry, "payments").await;
    let mut subscription = registry.subscribe(Default::default());
    registry.follow(&mut subscription, &[key("default/payments")], None);
    for version in 0..100 {
        let mut request = registration("payments");
        request.service.as_mut().unwrap().version = version.to_string();
        registry.register(request).await.unwrap();
    }
    let change = next(&subscription).await;
    let Change::Updated(registered) = change else { panic!("{change:?}") };
    assert_eq!(registered.service().version, "99");
    let nothing_more = tokio::time::timeout(std::time::Duration::ZERO, subscription.next()).await;
    assert!(nothing_more.is_err());
}

#[tokio::test]
async fn nobody_is_said_to_have_heard_what_still_waits() {
    let registry = registry(&FaultyStore::new()).await;
    let mut subscription = registry.subscribe(Default::default());
    registry.follow(&mut subscription, &[key("default/payments")], None);
    assert_eq!(registry.head_told(&subscription), Some(registry.head()));
    register(&registry, "payments").await;
    assert_eq!(registry.head_told(&subscription), None);
    subscription.next().await.unwrap();
    assert_eq!(registry.head_told(&subscription), Some(registry.head()));
}

/// An instance had the service at a later revision than the manager's watch had come to, and ignored its removal.
#[tokio::test]
async fn a_service_is_gone_since_its_end_however_far_the_watch_has_come() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    store.set_deaf(true);
    register(&registry, "payments").await;
    let gone = unregister(&registry, "payments").await;
    assert!(registry.head() < gone, "the watch has told of it");
    let opening = registry.follow(&mut registry.subscribe(Default::default()), &[key("default/payments")], None);
    let [Change::Removed { revision, .. }] = &opening.changes[..] else { panic!("{opening:?}") };
    assert_eq!(*revision, gone);
}
