//! Watches.

use super::{Backend, commit, head, list, next, put, shown, watch, within};
use crate::store::{StoreRevision, Txn, WatchError, WatchEvent};

pub(crate) async fn replays_the_past(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let first = put(&*store, "k", "1").await;
    let second = put(&*store, "k", "2").await;
    let third = commit(&*store, Txn::new().delete("k")).await;
    let fourth = put(&*store, "k", "3").await;

    let mut all = watch(&*store, "", before).await;
    for (revision, event) in [(first, "+k=1"), (second, "+k=2"), (third, "-k"), (fourth, "+k=3")] {
        let batch = next(&mut all).await;
        assert_eq!((batch.revision, shown(&batch)), (revision, vec![event.to_owned()]));
    }
    let mut some = watch(&*store, "", second).await;
    assert_eq!(shown(&next(&mut some).await), ["-k"], "strictly after the revision");

    let batch = next(&mut some).await;
    let [WatchEvent::Put(entry)] = &batch.events[..] else { panic!("{batch:?}") };
    assert_eq!(Some(entry), super::get(&*store, "k").await.as_ref(), "a put event is the entry");
}

pub(crate) async fn is_live_and_in_order(backend: &impl Backend) {
    let store = backend.store();
    let mut live = watch(&*store, "", head(&*store).await).await;
    let mut last = StoreRevision::ZERO;
    for i in 0..50 {
        let revision = put(&*store, &format!("k{}", i % 7), &i.to_string()).await;
        let batch = next(&mut live).await;
        assert_eq!((batch.revision, shown(&batch)), (revision, vec![format!("+k{}={i}", i % 7)]));
        assert!(batch.revision > last);
        last = batch.revision;
    }
}

pub(crate) async fn one_transaction_is_one_batch(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let mut live = watch(&*store, "in/", before).await;
    commit(&*store, Txn::new().put("in/a", "1").put("out/a", "1").put("in/b", "1").put("in/c", "1")).await;
    let txn = Txn::new().put("in/a", "2").delete("in/b").delete("in/absent").put("in/d", "1").delete("out/a");
    let revision = commit(&*store, txn).await;

    let mut replayed = watch(&*store, "in/", before).await;
    for watch in [&mut live, &mut replayed] {
        assert_eq!(shown(&next(watch).await), ["+in/a=1", "+in/b=1", "+in/c=1"]);
        let batch = next(watch).await;
        assert_eq!(
            (batch.revision, shown(&batch)),
            (revision, ["+in/a=2", "-in/b", "+in/d=1"].map(String::from).into())
        );
    }
}

pub(crate) async fn sees_only_its_prefix(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    let (mut b, mut bc, mut dir) = (
        watch(&*store, "a/b", before).await,
        watch(&*store, "a/bc", before).await,
        watch(&*store, "a/b/", before).await,
    );
    for key in ["a/a", "a/bc", "a/c", "a/b", "a/b/1", "a", "z", "a/bcd"] {
        put(&*store, key, "").await;
    }
    for key in ["a/bc", "a/b", "a/b/1", "a/bcd"] {
        assert_eq!(shown(&next(&mut b).await), [format!("+{key}=")]);
    }
    for key in ["a/bc", "a/bcd"] {
        assert_eq!(shown(&next(&mut bc).await), [format!("+{key}=")]);
    }
    assert_eq!(shown(&next(&mut dir).await), ["+a/b/1="]);
}

pub(crate) async fn a_list_continues_as_a_watch(backend: &impl Backend) {
    const WRITES: usize = 200;

    let store = backend.store();
    let before = head(&*store).await;
    let writer = tokio::spawn({
        let store = backend.store();
        async move {
            for i in 0..WRITES {
                put(&*store, &format!("k{i:04}"), "").await;
            }
        }
    });
    // However far the writer is, what the list has and what follows it are together everything, once.
    let mut witness = watch(&*store, "", before).await;
    next(&mut witness).await;
    let listing = list(&*store, "").await;
    let mut seen: Vec<String> = listing.entries.into_iter().map(|entry| entry.key).collect();
    let mut rest = watch(&*store, "", listing.revision).await;
    while seen.len() < WRITES {
        let batch = next(&mut rest).await;
        seen.extend(batch.events.iter().map(|event| event.key().to_owned()));
    }
    assert_eq!(seen, (0..WRITES).map(|i| format!("k{i:04}")).collect::<Vec<_>>());
    writer.await.expect("the writer ends");
}

pub(crate) async fn resumes_without_gap_or_repetition(backend: &impl Backend) {
    const WRITES: usize = 300;

    let store = backend.store();
    let mut position = head(&*store).await;
    let writer = tokio::spawn({
        let store = backend.store();
        async move {
            let mut revisions = Vec::new();
            for i in 0..WRITES {
                revisions.push(put(&*store, "k", &i.to_string()).await);
            }
            revisions
        }
    });
    let mut seen = Vec::new();
    while seen.len() < WRITES {
        // A new watch for every few batches, each from where the one before it was dropped.
        let mut part = watch(&*store, "", position).await;
        for _ in 0..10.min(WRITES - seen.len()) {
            position = next(&mut part).await.revision;
            seen.push(position);
        }
    }
    assert_eq!(seen, writer.await.expect("the writer ends"));
}

pub(crate) async fn tells_that_the_past_is_compacted(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    put(&*store, "k", "1").await;
    put(&*store, "k", "2").await;
    backend.compact().await;

    let mut late = watch(&*store, "", before).await;
    let error = within(late.next()).await.expect("it says something").expect_err("the past is gone");
    assert!(matches!(error, WatchError::Compacted { oldest } if oldest > before.next()), "{error:?}");
    assert!(error.needs_list());
    assert_eq!(within(late.next()).await, None, "it ends after the error");

    let mut fresh = watch(&*store, "", head(&*store).await).await;
    put(&*store, "k", "3").await;
    assert_eq!(shown(&next(&mut fresh).await), ["+k=3"]);
}

pub(crate) async fn tells_that_it_is_ahead_of_the_store(backend: &impl Backend) {
    let store = backend.store();
    let revision = put(&*store, "k", "1").await;
    let mut ahead = watch(&*store, "", StoreRevision::new(revision.get() + 1000)).await;
    let error = within(ahead.next()).await.expect("it says something").expect_err("there is no such revision");
    assert_eq!(error, WatchError::Ahead { head: revision });
    assert!(error.needs_list());
    assert_eq!(within(ahead.next()).await, None, "it ends after the error");
}

pub(crate) async fn dropped_watches_are_freed(backend: &impl Backend) {
    let store = backend.store();
    let before = head(&*store).await;
    put(&*store, "k", "1").await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut watch = watch(&*store, "", before).await;
        next(&mut watch).await;
        watches.push(watch);
    }
    assert_eq!(backend.watches().await, 20);
    watches.truncate(1);
    within(async {
        while backend.watches().await > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    put(&*store, "k", "2").await;
    assert_eq!(shown(&next(&mut watches[0]).await), ["+k=2"], "the one that is kept goes on");
}
