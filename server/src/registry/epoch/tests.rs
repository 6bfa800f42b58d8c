use super::*;
use crate::{clock::testing::FixedClock, store::MemoryStore};

const FRESH: Seen = Seen { epoch: None, went_back: false };

async fn establish_at(store: &MemoryStore, millis: u64, seen: Seen) -> Incarnation {
    establish(store, &FixedClock(millis), seen).await.unwrap()
}

#[tokio::test]
async fn a_new_store_begins_at_the_time_of_day_and_keeps_it() {
    let store = MemoryStore::new();
    let first = establish_at(&store, 5_000, FRESH).await;
    assert_eq!(first.epoch, 5_000);
    assert_eq!(establish_at(&store, 9_000, FRESH).await, first);
    let seen = Seen { epoch: Some(5_000), went_back: false };
    assert_eq!(establish_at(&store, 9_000, seen).await, first);
}

#[tokio::test]
async fn another_identity_begins_an_epoch_above_the_old_one() {
    let store = MemoryStore::new();
    let foreign =
        StoreMeta { schema_version: 1, epoch: 7_000, store_identity: "elsewhere".to_owned(), ..StoreMeta::default() };
    store.commit(Txn::new().put(key::META, foreign.encode_to_vec())).await.unwrap();
    // The clock is behind the epoch: it still only grows.
    let raised = establish_at(&store, 5_000, FRESH).await;
    assert_eq!(raised.epoch, 7_001);
    assert_eq!(establish_at(&store, 5_000, FRESH).await, raised);
}

#[tokio::test]
async fn a_store_that_went_back_begins_one_epoch_for_all_managers() {
    let store = MemoryStore::new();
    establish_at(&store, 5_000, FRESH).await;
    let seen = Seen { epoch: Some(5_000), went_back: true };
    let first = establish_at(&store, 6_000, seen).await;
    assert_eq!(first.epoch, 6_000);
    let second = establish_at(&store, 6_500, seen).await;
    assert_eq!(second, first, "the second manager takes over what the first made");
}

#[tokio::test]
async fn a_backup_with_an_older_epoch_is_raised_above_the_one_seen() {
    let store = MemoryStore::new();
    establish_at(&store, 5_000, FRESH).await;
    let seen = Seen { epoch: Some(8_000), went_back: false };
    assert_eq!(establish_at(&store, 6_000, seen).await.epoch, 8_001);
}

#[tokio::test]
async fn what_this_release_does_not_know_is_refused() {
    let store = MemoryStore::new();
    let later = StoreMeta { schema_version: 2, ..StoreMeta::default() };
    store.commit(Txn::new().put(key::META, later.encode_to_vec())).await.unwrap();
    let refused = establish(&store, &FixedClock(1), FRESH).await.unwrap_err();
    assert!(matches!(refused, EpochError::SchemaVersion(2)), "{refused}");

    store.commit(Txn::new().put(key::META, "\u{1}not a message")).await.unwrap();
    let refused = establish(&store, &FixedClock(1), FRESH).await.unwrap_err();
    assert!(matches!(refused, EpochError::Unreadable(_)), "{refused}");
}

#[tokio::test]
async fn an_epoch_that_is_raised_keeps_what_a_later_release_wrote() {
    /// Tag 999, a number, which this release does not know.
    const LATER: [u8; 3] = [0xb8, 0x3e, 0x07];
    let store = MemoryStore::new();
    establish_at(&store, 5_000, FRESH).await;
    let before = read(&store, key::META).await.unwrap().unwrap().value;
    let later: Bytes = [&before[..], &LATER].concat().into();
    store.commit(Txn::new().put(key::META, later)).await.unwrap();
    assert!(raise(&store, &FixedClock(6_000), 8_000).await.unwrap());
    let after = read(&store, key::META).await.unwrap().unwrap().value;
    assert_eq!(decode(&after).unwrap().epoch, 8_001);
    assert!(after.ends_with(&LATER), "{after:?}");
}
