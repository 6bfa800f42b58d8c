use super::*;
use crate::{
    store::{Store, Txn},
    testing::{FaultyStore, eventually, key, registration, registry},
};
use cofferdam_core::{policy::Policy, wire::revision_from_wire};
use cofferdam_proto::v1;

const KEY: &str = "containment/default/payments";

fn payments() -> ServiceKey {
    key("default/payments")
}

async fn set_level(registry: &Registry, level: v1::IsolationLevel) -> Revision {
    let request = v1::SetIsolationLevelRequest {
        service: "payments".to_owned(),
        level: level.into(),
        ..v1::SetIsolationLevelRequest::default()
    };
    let service = registry.set_level(request).await.unwrap().service.unwrap();
    revision_from_wire(service.revision.unwrap())
}

/// A service with a good policy and the poison after it: the revisions of both.
async fn poisoned(registry: &Registry) -> (Revision, Revision) {
    registry.register(registration("payments")).await.unwrap();
    let good = registry.get(&payments()).unwrap().revision();
    (good, set_level(registry, v1::IsolationLevel::Full).await)
}

/// The revision that is contained, and what is handed out in its place.
fn contained(registry: &Registry) -> Option<(Revision, Option<Revision>)> {
    let registered = registry.get(&payments())?;
    registered.containment()?;
    let in_place = registry.in_place_of(&registered);
    Some((registered.revision(), in_place.map(|in_place| in_place.revision())))
}

async fn keys(store: &FaultyStore) -> Vec<String> {
    store.inner().list("containment/").await.unwrap().entries.into_iter().map(|entry| entry.key).collect()
}

async fn recorded(registry: &Registry, store: &FaultyStore) {
    eventually(registry, || registry.shared.read().unrecorded_containment(&payments()).is_none()).await;
    assert_eq!(keys(store).await, [KEY]);
}

#[tokio::test]
async fn all_managers_hear_of_it_and_those_that_start_later_and_the_next_change_ends_it() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    let (good, poison) = poisoned(&here).await;
    assert!(here.contain(&payments(), poison, "96 %".to_owned()));
    assert!(!here.contain(&payments(), poison, "97 %".to_owned()), "it is already");
    let expected = Some((poison, Some(good)));
    assert_eq!(contained(&here), expected);
    eventually(&there, || contained(&there) == expected).await;
    assert_eq!(there.get(&payments()).unwrap().containment().unwrap().reason, "96 %");
    drop(here);
    let later = registry(&store).await;
    assert_eq!(contained(&later), expected);
    assert_eq!(later.get(&payments()).unwrap().containment().unwrap().reason, "96 %");

    let healed = set_level(&there, v1::IsolationLevel::Enhanced).await;
    assert_eq!(keys(&store).await, Vec::<String>::new(), "it goes with the write");
    eventually(&later, || later.get(&payments()).unwrap().revision() == healed).await;
    assert_eq!((contained(&there), contained(&later)), (None, None));
}

#[tokio::test]
async fn it_goes_with_the_service() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let (_, poison) = poisoned(&registry).await;
    assert!(registry.contain(&payments(), poison, "no".to_owned()));
    recorded(&registry, &store).await;
    let request = v1::UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    registry.unregister(request).await.unwrap();
    assert_eq!(keys(&store).await, Vec::<String>::new());
    registry.register(registration("payments")).await.unwrap();
    assert_eq!(contained(&registry), None);
}

#[tokio::test]
async fn while_the_store_is_away_it_holds_where_it_was_found_and_is_told_later() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    let (good, poison) = poisoned(&here).await;
    eventually(&there, || there.get(&payments()).is_some_and(|registered| registered.revision() == poison)).await;
    store.set_away(true);
    assert!(here.contain(&payments(), poison, "no".to_owned()));
    let expected = Some((poison, Some(good)));
    eventually(&here, || here.stale_for().is_some()).await;
    assert_eq!((contained(&here), contained(&there)), (expected, None));
    store.set_away(false);
    eventually(&there, || contained(&there) == expected).await;
}

/// One manager writes a policy while another contains the one before.
#[tokio::test]
async fn one_that_is_left_behind_says_nothing_of_another_revision_and_goes_with_the_next_write() {
    let store = FaultyStore::new();
    let here = registry(&store).await;
    let (good, poison) = poisoned(&here).await;
    let containment = Containment { reason: "no".to_owned(), since: here.wall_time() };
    let value = encode(good, policy_hash(&Policy::default()), &containment, None);
    store.commit(Txn::new().put(KEY, value)).await.unwrap();
    let later = registry(&store).await;
    assert_eq!((later.get(&payments()).unwrap().revision(), contained(&later)), (poison, None));
    eventually(&here, || here.head() == later.head()).await;
    assert_eq!(contained(&here), None);

    assert!(here.contain(&payments(), poison, "no".to_owned()));
    eventually(&later, || contained(&later).is_some()).await;
    set_level(&here, v1::IsolationLevel::Enhanced).await;
    assert_eq!(keys(&store).await, Vec::<String>::new());
}

/// The policy has changed in the store, and this manager does not know yet.
#[tokio::test]
async fn it_is_written_down_of_the_present_revision_only() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    let (_, poison) = poisoned(&here).await;
    let shared = Arc::clone(&here.shared);
    // It follows the store no more, nor does it write by itself.
    drop(here);
    assert!(
        shared
            .read()
            .service(&payments())
            .unwrap()
            .contain(Containment { reason: "no".to_owned(), since: WallTime::default() })
    );
    eventually(&there, || there.get(&payments()).is_some_and(|registered| registered.revision() == poison)).await;
    set_level(&there, v1::IsolationLevel::Enhanced).await;
    let refused = shared.record_containment(&payments()).await.unwrap_err();
    assert!(matches!(refused, CommitError::Conflict(_)), "{refused}");
    assert_eq!(keys(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_contains_nothing() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let (_, poison) = poisoned(&registry).await;
    store.commit(Txn::new().put(KEY, "\u{1}not a message")).await.unwrap();
    eventually(&registry, || registry.poisoned() == [KEY]).await;
    assert_eq!(contained(&registry), None);
    // It is in nobody's way.
    assert!(registry.contain(&payments(), poison, "no".to_owned()));
    eventually(&registry, || registry.poisoned().is_empty()).await;
    assert!(contained(&registry).is_some());
}

async fn hold(registry: &Registry) -> Revision {
    let request = v1::HoldBreakerRequest {
        service: "payments".to_owned(),
        forced: v1::ForcedState::Open.into(),
        reason: "a drill".to_owned(),
        ..v1::HoldBreakerRequest::default()
    };
    revision_from_wire(registry.hold_breaker(request).await.unwrap().service.unwrap().revision.unwrap())
}

async fn release(registry: &Registry) -> Revision {
    let (service, reason) = ("payments".to_owned(), "it is over".to_owned());
    let request = v1::ReleaseBreakerRequest { service, reason, ..v1::ReleaseBreakerRequest::default() };
    revision_from_wire(registry.release_breaker(request).await.unwrap().service.unwrap().revision.unwrap())
}

/// A registered service at level enhanced, and at full after it: breakers can be held at either.
async fn poisoned_with_breakers(registry: &Registry) -> (Revision, Revision) {
    registry.register(registration("payments")).await.unwrap();
    let good = set_level(registry, v1::IsolationLevel::Enhanced).await;
    (good, set_level(registry, v1::IsolationLevel::Full).await)
}

/// A hold once handed the policy out again, everywhere.
#[tokio::test]
async fn what_is_ordered_keeps_the_policy_contained_at_all_managers_and_those_that_start_later() {
    let store = FaultyStore::new();
    let (here, there) = (registry(&store).await, registry(&store).await);
    let (good, poison) = poisoned_with_breakers(&here).await;
    assert!(here.contain(&payments(), poison, "96 %".to_owned()));
    recorded(&here, &store).await;
    eventually(&there, || contained(&there).is_some()).await;
    let held = hold(&there).await;
    let expected = Some((held, Some(good)));
    assert_eq!((contained(&there), keys(&store).await.len()), (expected, 1));
    eventually(&here, || contained(&here) == expected).await;
    let later = registry(&store).await;
    assert_eq!(contained(&later), expected);
    for registry in [&here, &there, &later] {
        let handed_out = registry.in_place_of(&registry.get(&payments()).unwrap()).unwrap();
        assert_eq!(handed_out.orders().holds.len(), 1);
        assert_eq!(registry.get(&payments()).unwrap().containment().unwrap().reason, "96 %");
    }
    let released = release(&here).await;
    let handed_out = here.in_place_of(&here.get(&payments()).unwrap()).unwrap();
    assert!(contained(&here) == Some((released, Some(good))) && handed_out.orders().is_empty());

    let insist = v1::UpdateIsolationPolicyRequest {
        service: "payments".to_owned(),
        policy: Some(v1::IsolationPolicy::default()),
        insist: true,
        ..v1::UpdateIsolationPolicyRequest::default()
    };
    here.update_policy(insist).await.unwrap();
    assert_eq!((contained(&here), keys(&store).await), (None, Vec::new()));
}

/// The manager that writes the hold has not heard of the containment, and the one that found it dies.
#[tokio::test]
async fn one_that_is_heard_of_after_the_order_is_about_that_revision_too_and_not_about_another_policy() {
    let store = FaultyStore::new();
    let here = registry(&store).await;
    let (good, poison) = poisoned_with_breakers(&here).await;
    let before = here.shared.read().in_place_of(&here.get(&payments()).unwrap()).cloned().unwrap();
    let hash = policy_hash(here.get(&payments()).unwrap().policy());
    let containment = Containment { reason: "no".to_owned(), since: here.wall_time() };
    let held = hold(&here).await;
    assert_eq!(contained(&here), None);
    let value = encode(poison, hash, &containment, Some(&before));
    store.commit(Txn::new().put(KEY, value)).await.unwrap();
    eventually(&here, || contained(&here) == Some((held, Some(good)))).await;

    // Another policy ends it, and the same one after that is a new one.
    set_level(&here, v1::IsolationLevel::Basic).await;
    set_level(&here, v1::IsolationLevel::Full).await;
    assert_eq!((contained(&here), contained(&registry(&store).await)), (None, None));
}

/// What is ordered goes out with what is handed out: where that is nothing, it would reach nobody.
#[tokio::test]
async fn where_nothing_can_be_handed_out_in_its_place_an_order_goes_out_with_the_policy() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let level = v1::IsolationLevel::Full.into();
    registry.register(v1::RegisterServiceRequest { level, ..registration("payments") }).await.unwrap();
    let first = registry.get(&payments()).unwrap().revision();
    assert!(registry.contain(&payments(), first, "no".to_owned()));
    recorded(&registry, &store).await;
    assert_eq!(contained(&registry), Some((first, None)));
    hold(&registry).await;
    assert_eq!((contained(&registry), keys(&store).await), (None, Vec::new()));
}

/// The first order beside a poison made the poison what was handed out in its place.
#[tokio::test]
async fn what_is_handed_out_in_its_place_has_another_policy() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    let (good, _) = poisoned_with_breakers(&registry).await;
    let held = hold(&registry).await;
    assert!(registry.contain(&payments(), held, "no".to_owned()));
    assert_eq!(contained(&registry), Some((held, Some(good))));
}
