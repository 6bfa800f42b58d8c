//! More than fits one page or one message.

use super::{Backend, commit, head, list, next, watch};
use crate::store::{MAX_OPS, MAX_VALUE_BYTES, Store, StoreRevision, Txn, WatchEvent};

const KEYS: usize = 1200;
const VALUE_BYTES: usize = 5000;

/// Fills the store with [`KEYS`] keys, 6 MB, in transactions of as many as are allowed; returns those's revisions.
async fn fill(store: &dyn Store) -> Vec<StoreRevision> {
    let mut revisions = Vec::new();
    for first in (0..KEYS).step_by(MAX_OPS) {
        let keys = first..KEYS.min(first + MAX_OPS);
        let txn = keys.fold(Txn::new(), |txn, i| txn.put(key(i), vec![i as u8; VALUE_BYTES]));
        revisions.push(commit(store, txn).await);
    }
    revisions
}

fn key(i: usize) -> String {
    format!("large/{i:05}")
}

pub(crate) async fn a_large_list_is_complete(backend: &impl Backend) {
    let store = backend.store();
    let revisions = fill(&*store).await;
    commit(&*store, Txn::new().put("large", "").put("larger", "")).await;
    let listing = list(&*store, "large/").await;
    assert!(listing.revision > *revisions.last().expect("there were transactions"));
    assert_eq!(listing.entries.len(), KEYS);
    for (i, entry) in listing.entries.iter().enumerate() {
        assert_eq!((&entry.key, entry.mod_revision), (&key(i), revisions[i / MAX_OPS]));
        assert!(entry.value.len() == VALUE_BYTES && entry.value.iter().all(|byte| *byte == i as u8));
    }
}

pub(crate) async fn a_list_of_the_largest_values_is_complete(backend: &impl Backend) {
    let store = backend.store();
    for i in 0..80 {
        commit(&*store, Txn::new().put(key(i), vec![i as u8; MAX_VALUE_BYTES])).await;
    }
    let entries = list(&*store, "large/").await.entries;
    assert_eq!(entries.len(), 80);
    let whole = |value: &[u8], i: usize| value.len() == MAX_VALUE_BYTES && value.iter().all(|byte| *byte == i as u8);
    assert!(entries.iter().enumerate().all(|(i, entry)| entry.key == key(i) && whole(&entry.value, i)));
}

pub(crate) async fn a_watch_catches_up_on_more_than_one_message(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let revisions = fill(&*store).await;
    let mut events = watch(&*store, "large/", before).await;
    let mut expected = (0..KEYS).map(key);
    for revision in revisions {
        let batch = next(&mut events).await;
        assert_eq!(batch.revision, revision);
        let whole: Vec<String> = expected.by_ref().take(MAX_OPS).collect();
        assert_eq!(batch.events.iter().map(WatchEvent::key).collect::<Vec<_>>(), whole, "a batch is a transaction");
    }
    assert_eq!(expected.next(), None);
}
