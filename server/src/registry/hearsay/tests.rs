use super::*;
use std::sync::atomic::Ordering;

use crate::{
    registry::service_key,
    testing::{EPOCH, FaultyStore, PATIENCE, eventually, key, registration, registry},
};

fn at(epoch: u64, revision: u64) -> Revision {
    Revision { epoch, revision }
}

#[tokio::test(start_paused = true)]
async fn a_policy_beyond_the_store_begins_an_epoch_beyond_it_with_all_services() {
    for beyond in [at(EPOCH, 1_000_000), at(EPOCH + 5_000, 1)] {
        let store = FaultyStore::new();
        let registry = registry(&store).await;
        registry.register(registration("payments")).await.unwrap();
        assert_eq!(registry.head().epoch, EPOCH);
        registry.heard_of(&key("default/payments"), beyond);
        eventually(&registry, || registry.head().epoch > beyond.epoch).await;
        let payments = registry.get(&key("default/payments")).unwrap();
        assert!(payments.revision() > beyond, "{} is to take its place", payments.revision());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_later_before_says_so_wherever_the_head_is() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    for other in ["a", "b", "c"] {
        registry.register(registration(other)).await.unwrap();
    }
    let last = registry.get(&key("default/c")).unwrap().revision();
    eventually(&registry, || registry.head() >= last).await;
    let (head, payments) = (registry.head(), registry.get(&key("default/payments")).unwrap().revision());
    assert!(payments < at(EPOCH, head.revision - 1));
    registry.heard_of(&key("default/payments"), at(EPOCH, head.revision - 1));
    eventually(&registry, || registry.head().epoch > EPOCH).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_store_explains_begins_nothing() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    let payments = registry.get(&key("default/payments")).unwrap().revision();
    eventually(&registry, || registry.head() >= payments).await;
    let head = registry.head();
    registry.heard_of(&key("default/payments"), payments);
    registry.heard_of(&key("default/payments"), at(1, u64::MAX));
    // One that is gone may have been later than all that is there.
    registry.heard_of(&key("default/gone"), head);
    assert!(registry.shared.hearsay.lock().is_empty());
    tokio::time::sleep(10 * PAUSE).await;
    assert_eq!(registry.head(), head);
}

#[tokio::test(start_paused = true)]
async fn what_a_manager_wrote_itself_is_no_doubt_before_the_watch_tells_it() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    store.set_deaf(true);
    registry.register(registration("payments")).await.unwrap();
    let written = registry.get(&key("default/payments")).unwrap().revision();
    assert!(registry.head() < written, "the watch has told it");
    assert!(registry.heard_of(&key("default/payments"), written).is_some());
    assert_eq!(registry.shared.hearsay.doubts.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn memory_that_lags_behind_the_store_is_no_sign() {
    let store = FaultyStore::new();
    let (one, other) = (registry(&store).await, registry(&store).await);
    one.register(registration("payments")).await.unwrap();
    let written = one.get(&key("default/payments")).unwrap().revision();
    // Said before the other manager has heard of it, or after: both are in order.
    other.heard_of(&key("default/payments"), written);
    tokio::time::sleep(10 * PAUSE).await;
    assert_eq!((one.head().epoch, other.head().epoch), (EPOCH, EPOCH));
}

#[tokio::test(start_paused = true)]
async fn a_liar_is_believed_three_times_and_never_of_the_far_future() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    registry.heard_of(&key("default/payments"), at(u64::MAX, 1));
    tokio::time::sleep(5 * PAUSE).await;
    assert_eq!(registry.head().epoch, EPOCH, "no epoch is that late");
    let mut epochs = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let epoch = registry.head().epoch;
        epochs.insert(epoch);
        registry.heard_of(&key("default/payments"), at(epoch, u64::MAX));
        tokio::time::sleep(5 * PAUSE).await;
    }
    assert_eq!(epochs.len(), 1 + MAX_EPOCHS, "{epochs:?}");
    tokio::time::sleep(PERIOD).await;
    registry.heard_of(&key("default/payments"), at(registry.head().epoch, u64::MAX));
    let last = registry.head().epoch;
    eventually(&registry, || registry.head().epoch > last).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_says_what_cannot_be_hides_nobody_who_says_what_is() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    let never = at(EPOCH + MAX_AHEAD + 1, 1);
    for index in 0..2 * MAX_CLAIMS {
        registry.heard_of(&service_key(&format!("default/a{index}")).unwrap(), never);
    }
    registry.heard_of(&key("default/payments"), never);
    assert!(registry.shared.hearsay.lock().is_empty(), "it takes nobody's place");
    registry.heard_of(&key("default/payments"), at(EPOCH, 1_000_000));
    eventually(&registry, || registry.head().epoch > EPOCH).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_begins_no_epoch_hides_none_of_the_others() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    // Another manager is said to have been quicker, while the first of them is judged.
    store.conflicts.store(1, Ordering::SeqCst);
    registry.heard_of(&key("default/a"), at(EPOCH, 1_000_000));
    registry.heard_of(&key("default/payments"), at(EPOCH, 1_000_000));
    eventually(&registry, || registry.head().epoch > EPOCH).await;
    assert_eq!(store.conflicts.load(Ordering::SeqCst), 0, "it happened");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_once_outlasts_a_store_that_is_away() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    registry.register(registration("payments")).await.unwrap();
    store.set_away(true);
    for service in ["default/a", "default/payments"] {
        registry.heard_of(&key(service), at(EPOCH, 1_000_000));
    }
    tokio::time::sleep(5 * PAUSE + PAUSE / 2).await;
    assert_eq!(registry.shared.hearsay.lock().len(), 2, "both wait for the store");
    store.set_away(false);
    eventually(&registry, || registry.head().epoch > EPOCH).await;
}

#[tokio::test(start_paused = true)]
async fn names_without_end_are_not_kept() {
    let store = FaultyStore::new();
    let registry = registry(&store).await;
    for index in 0..1_000 {
        let key = service_key(&format!("default/s{index}")).unwrap();
        registry.shared.hearsay.claim(&key, at(EPOCH, u64::MAX));
    }
    assert_eq!(registry.shared.hearsay.lock().len(), MAX_CLAIMS);
    assert!(PATIENCE > PAUSE);
}
