//! Lists and commits.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Backend, commit, conflict, get, head, keys, list, put, refusal, within};
use crate::store::{
    CommitError, InvalidRequest, MAX_KEY_BYTES, MAX_LEASE_TTL, MAX_OPS, MAX_TXN_BYTES, MAX_VALUE_BYTES, MIN_LEASE_TTL,
    Outcome, Precondition, StoreError, StoreRevision, Txn,
};

pub(crate) async fn lists_in_key_order_and_only_the_prefix(backend: &impl Backend) {
    let store = backend.store();
    for key in ["a/bc", "b", "a/b/2", "a/b", "a/b/10", "a", "A", "a/b~", "a0"] {
        put(&*store, key, key).await;
    }
    assert_eq!(keys(&*store, "").await, ["A", "a", "a/b", "a/b/10", "a/b/2", "a/bc", "a/b~", "a0", "b"]);
    assert_eq!(keys(&*store, "a/b").await, ["a/b", "a/b/10", "a/b/2", "a/bc", "a/b~"]);
    assert_eq!(keys(&*store, "a/b/").await, ["a/b/10", "a/b/2"]);
    assert_eq!(keys(&*store, "a/bc").await, ["a/bc"]);
    assert_eq!(keys(&*store, "c").await, [""; 0]);
    let listing = list(&*store, "c").await;
    assert_eq!(listing.revision, head(&*store).await, "the revision is the store's, not the prefix's");
    assert!(listing.revision > StoreRevision::ZERO);
}

pub(crate) async fn lists_all_but_prefixes(backend: &impl Backend) {
    let store = backend.store();
    for key in ["a", "a/b", "b/1", "b/2", "b0", "c/1", "d", "z/1"] {
        put(&*store, key, key).await;
    }
    let left = async |prefixes: &[&str]| {
        let listing = within(store.list_without(prefixes)).await.expect("the list succeeds");
        assert_eq!(listing.revision, head(&*store).await);
        listing.entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    assert_eq!(left(&[]).await, ["a", "a/b", "b/1", "b/2", "b0", "c/1", "d", "z/1"]);
    assert_eq!(left(&["b/"]).await, ["a", "a/b", "b0", "c/1", "d", "z/1"], "b0 comes right behind b/");
    assert_eq!(left(&["z/", "b", "c/"]).await, ["a", "a/b", "d"]);
    assert_eq!(left(&["a", "a/"]).await, ["b/1", "b/2", "b0", "c/1", "d", "z/1"], "one within the other");
    assert_eq!(left(&["a", "b", "c", "d", "z"]).await, [""; 0]);
}

pub(crate) async fn entries_tell_when_they_were_made_and_changed(backend: &impl Backend) {
    let store = backend.store();
    let binary = Bytes::from_iter(0..=u8::MAX);
    let made = commit(&*store, Txn::new().put("k", binary.clone()).put("empty", "")).await;
    let entry = get(&*store, "k").await.expect("k was put");
    assert_eq!((entry.create_revision, entry.mod_revision, &entry.value), (made, made, &binary));
    assert_eq!(entry.lease, None);
    assert_eq!(get(&*store, "empty").await.expect("empty was put").value, Bytes::new());

    let changed = put(&*store, "k", "2").await;
    let entry = get(&*store, "k").await.expect("k was put");
    assert_eq!((entry.create_revision, entry.mod_revision, entry.value), (made, changed, Bytes::from("2")));

    commit(&*store, Txn::new().delete("k")).await;
    assert_eq!(get(&*store, "k").await, None);
    let again = put(&*store, "k", "3").await;
    let entry = get(&*store, "k").await.expect("k was put");
    assert_eq!((entry.create_revision, entry.mod_revision), (again, again), "deleted and put again is new");
}

pub(crate) async fn revisions_strictly_grow(backend: &impl Backend) {
    let store = backend.store();
    let mut last = head(&*store).await;
    for i in 0..20 {
        let txn = if i % 3 == 2 { Txn::new().delete("k") } else { Txn::new().put("k", "same").put("l", "same") };
        let revision = commit(&*store, txn).await;
        assert!(revision > last, "{revision} is not after {last}");
        assert_eq!(head(&*store).await, revision);
        last = revision;
    }
}

pub(crate) async fn a_transaction_is_applied_whole_or_not_at_all(backend: &impl Backend) {
    let store = backend.store();
    let revision = put(&*store, "gone", "1").await;
    let txn = || Txn::new().require_revision("gone", revision).put("a", "1").put("b", "1").delete("gone");
    commit(&*store, txn()).await;
    let listing = list(&*store, "").await;
    assert_eq!(listing.entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(listing.entries.iter().all(|entry| entry.mod_revision == listing.revision), "one revision for all");

    conflict(&*store, txn().put("c", "1")).await;
    conflict(&*store, Txn::new().require_absent("new").require_absent("a").put("new", "1").delete("b")).await;
    assert_eq!(list(&*store, "").await, listing, "nothing of a refused transaction is applied");
}

pub(crate) async fn absent_holds_only_without_the_key(backend: &impl Backend) {
    let store = backend.store();
    let create = || Txn::new().require_absent("k").put("k", "1");
    commit(&*store, create()).await;
    conflict(&*store, create()).await;
    commit(&*store, Txn::new().delete("k")).await;
    commit(&*store, create()).await;
}

pub(crate) async fn revision_holds_only_for_the_last_put(backend: &impl Backend) {
    let store = backend.store();
    let update = |revision| Txn::new().require_revision("k", revision).put("k", "x");
    conflict(&*store, update(head(&*store).await)).await;
    conflict(&*store, update(StoreRevision::ZERO)).await;
    let first = put(&*store, "k", "1").await;
    let other = put(&*store, "l", "1").await;
    conflict(&*store, update(other)).await;
    let second = commit(&*store, update(first)).await;
    conflict(&*store, update(first)).await;
    commit(&*store, Txn::new().delete("k")).await;
    let gone = conflict(&*store, update(second)).await;
    assert_eq!(gone.failed[0].current, None);
}

pub(crate) async fn a_conflict_tells_what_is_there(backend: &impl Backend) {
    let store = backend.store();
    let there = put(&*store, "there", "value").await;
    let last = put(&*store, "fine", "1").await;
    let txn = Txn::new()
        .require_revision("fine", last)
        .require_absent("there")
        .require_revision("missing", there)
        .require_absent("also-fine")
        .put("x", "1");
    let conflict = conflict(&*store, txn.clone()).await;
    assert_eq!(conflict.revision, last);
    let required: Vec<&Precondition> = conflict.failed.iter().map(|failed| &failed.precondition).collect();
    assert_eq!(required, [&txn.preconditions[1], &txn.preconditions[2]]);
    assert_eq!(conflict.failed[0].current, get(&*store, "there").await);
    assert_eq!(conflict.failed[1].current, None);
    let text = conflict.to_string();
    assert!(text.contains("there exists") && text.contains("missing is absent"), "{text}");
}

pub(crate) async fn a_transaction_may_only_compare(backend: &impl Backend) {
    let store = backend.store();
    let revision = put(&*store, "k", "1").await;
    assert_eq!(commit(&*store, Txn::new().require_revision("k", revision)).await, revision);
    conflict(&*store, Txn::new().require_absent("k")).await;
    assert_eq!(commit(&*store, Txn::new()).await, revision);
}

pub(crate) async fn what_changes_nothing_makes_no_revision(backend: &impl Backend) {
    let store = backend.store();
    let revision = put(&*store, "k", "1").await;
    assert_eq!(commit(&*store, Txn::new().delete("absent").delete("k/absent")).await, revision);
    assert_eq!(head(&*store).await, revision);
}

pub(crate) async fn concurrent_increments_add_up(backend: &impl Backend) {
    const WRITERS: u64 = 8;
    const INCREMENTS: u64 = 25;

    let store = backend.store();
    put(&*store, "counter", "0").await;
    let writers = (0..WRITERS).map(|_| {
        let store = backend.store();
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            let mut current = get(&*store, "counter").await.expect("the counter was put");
            while revisions.len() < INCREMENTS as usize {
                let value: u64 = std::str::from_utf8(&current.value).expect("text").parse().expect("a number");
                let next = (value + 1).to_string();
                let txn = Txn::new().require_revision("counter", current.mod_revision).put("counter", next.clone());
                current = match within(store.commit(txn)).await {
                    Ok(committed) => {
                        revisions.push(committed.revision);
                        let mod_revision = committed.revision;
                        crate::store::Entry { value: next.into(), mod_revision, ..current }
                    }
                    Err(CommitError::Conflict(conflict)) => {
                        conflict.failed.into_iter().next().and_then(|failed| failed.current).expect("it exists")
                    }
                    Err(CommitError::Store(error)) => panic!("{error}"),
                };
            }
            revisions
        })
    });
    let mut revisions = BTreeSet::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.extend(writer.await.expect("the writer ends"));
    }
    assert_eq!(revisions.len() as u64, WRITERS * INCREMENTS, "each increment has a revision of its own");
    let counter = get(&*store, "counter").await.expect("the counter was put");
    assert_eq!(counter.value, (WRITERS * INCREMENTS).to_string());
    assert_eq!(Some(&counter.mod_revision), revisions.last());
}

pub(crate) async fn invalid_requests_change_nothing(backend: &impl Backend) {
    let store = backend.store();
    put(&*store, "k", "1").await;
    let before = list(&*store, "").await;
    let ops = |count: usize| (0..count).fold(Txn::new(), |txn, i| txn.put(format!("n{i}"), ""));
    let invalid = [
        Txn::new().put("ok", "").put("", ""),
        Txn::new().put("ok", "").put("k".repeat(MAX_KEY_BYTES + 1), ""),
        Txn::new().put("ok", "").put("p\u{e4}yments", ""),
        Txn::new().put("ok", "").put("nul\0", ""),
        Txn::new().put("ok", "").put("a space", ""),
        Txn::new().put("ok", "").put("\u{202e}", ""),
        Txn::new().put("ok", "").put("big", vec![0; MAX_VALUE_BYTES + 1]),
        Txn::new().put("ok", "").delete("ok"),
        Txn::new().put("ok", "").require_absent("line\nbreak"),
        Txn::new().put("ok", "").require_absent("x").require_revision("x", before.revision),
        ops(MAX_OPS + 1),
        (0..5).fold(Txn::new(), |txn, i| txn.put(format!("n{i}"), vec![0; MAX_VALUE_BYTES])),
    ];
    for txn in invalid {
        let error = refusal(&*store, txn.clone()).await;
        assert!(matches!(error, StoreError::Invalid(_)), "{txn:?}: {error:?}");
        assert_eq!((error.outcome(), error.is_transient()), (Outcome::NotApplied, false));
    }
    for prefix in ["p\u{e4}y", "a b", "\0", &"k".repeat(MAX_KEY_BYTES + 1)] {
        let error = within(store.list(prefix)).await.expect_err("no key can begin so");
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
        let error = within(store.watch(prefix, before.revision)).await.expect_err("no key can begin so");
        assert!(matches!(error, StoreError::Invalid(_)), "{error:?}");
    }
    for ttl in [MIN_LEASE_TTL / 2, MAX_LEASE_TTL * 2] {
        let error = within(store.grant_lease(ttl)).await.expect_err("out of range");
        assert_eq!(error, StoreError::Invalid(InvalidRequest::LeaseTtl { ttl }));
    }
    assert_eq!(list(&*store, "").await, before);
}

pub(crate) async fn the_largest_transactions_fit(backend: &impl Backend) {
    let store = backend.store();
    let key = |i: usize| format!("{i:0>width$}", width = MAX_KEY_BYTES);
    let most = (0..MAX_OPS).fold(Txn::new(), |txn, i| txn.require_absent(key(i)).put(key(i), "v"));
    let revision = commit(&*store, most).await;
    let again = (0..MAX_OPS).fold(Txn::new(), |txn, i| txn.require_absent(key(i)).delete(key(i)));
    assert_eq!(conflict(&*store, again).await.failed.len(), MAX_OPS);
    let delete = (0..MAX_OPS).fold(Txn::new(), |txn, i| txn.require_revision(key(i), revision).delete(key(i)));
    commit(&*store, delete).await;

    let bytes = MAX_TXN_BYTES / 4 - 1;
    let largest = (0..4).fold(Txn::new(), |txn, i| txn.put(i.to_string(), vec![b'x'; bytes]));
    commit(&*store, largest).await;
    let entries = list(&*store, "").await.entries;
    assert_eq!(entries.iter().map(|entry| entry.value.len()).collect::<Vec<_>>(), [bytes; 4]);

    // What is there comes back with the conflict, however large.
    let clash = (0..4).fold(Txn::new(), |txn, i| txn.require_absent(i.to_string()));
    let there: Vec<_> = conflict(&*store, clash).await.failed.into_iter().filter_map(|failed| failed.current).collect();
    assert_eq!(there, entries);
}

pub(crate) async fn identity_stays_and_is_unique<B: Backend>(backend: &B) {
    let store = backend.store();
    let identity = within(store.identity()).await.expect("the store knows itself");
    put(&*store, "k", "1").await;
    assert_eq!(within(store.identity()).await, Ok(identity.clone()));
    let other = B::start().await;
    assert_ne!(within(other.store().identity()).await, Ok(identity));
}
