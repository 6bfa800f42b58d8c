//! etcd killed, frozen, full, or with guests.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{net::TcpListener, time::Instant};

use super::*;
use crate::store::{
    MAX_VALUE_BYTES, Outcome, WatchBatch, WatchError,
    conformance::{commit, keys, list, next, put, shown, watch, within},
};

fn store(endpoints: &[String]) -> EtcdStore {
    EtcdStore::new(EtcdOptions::new(endpoints)).expect("the options are fine")
}

/// An address at which nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    listener.local_addr().expect("a bound listener").to_string()
}

/// The keys of a transaction. Writers that wait at the same time may share one.
fn touched(batch: &WatchBatch) -> Vec<String> {
    batch.events.iter().map(|event| event.key().to_owned()).collect()
}

async fn try_put(store: &EtcdStore, key: &str) -> Result<StoreRevision, StoreError> {
    match within(store.commit(Txn::new().put(key, ""))).await {
        Ok(committed) => Ok(committed.revision),
        Err(CommitError::Store(error)) => Err(error),
        Err(CommitError::Conflict(conflict)) => panic!("{conflict}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_loses_nothing_acknowledged_and_the_watch_resumes() {
    let Cluster { mut etcd, store } = Cluster::of(Release::Oldest, 1).await;
    let before = head(&*store).await;
    let mut events = watch(&*store, "", before).await;
    let stop = Arc::new(AtomicBool::new(false));
    // Each writer has keys of its own, never puts one twice, and remembers what was acknowledged.
    let writers = (0..4).map(|writer| {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        tokio::spawn(async move {
            let mut acknowledged = BTreeMap::new();
            for i in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let key = format!("w{writer}/{i:06}");
                match try_put(&store, &key).await {
                    Ok(revision) => drop(acknowledged.insert(revision, key)),
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
            }
            acknowledged
        })
    });
    let writers: Vec<_> = writers.collect();

    let mut seen = BTreeMap::new();
    for _ in 0..3 {
        let mut see = |batch: WatchBatch| {
            assert!(seen.last_key_value().is_none_or(|(last, _)| *last < batch.revision), "only forward");
            seen.insert(batch.revision, touched(&batch));
        };
        for _ in 0..200 {
            see(next(&mut events).await);
        }
        etcd.kill().await;
        let error = loop {
            match within(events.next()).await.expect("it says why it ends") {
                Ok(batch) => see(batch),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, WatchError::Disconnected { .. }) && !error.needs_list(), "{error:?}");
        assert_eq!(within(events.next()).await, None, "it stays ended");
        etcd.restart().await;
        events = watch(&*store, "", seen.last_key_value().map_or(before, |(last, _)| *last)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.expect("the writer ends"));
    }
    let last = put(&*store, "last", "").await;
    while seen.last_key_value().is_none_or(|(revision, _)| *revision < last) {
        let batch = next(&mut events).await;
        seen.insert(batch.revision, touched(&batch));
    }
    assert!(acknowledged.len() >= 100, "{} writes", acknowledged.len());
    let stored: Vec<String> = keys(&*store, "").await;
    for (revision, key) in &acknowledged {
        assert!(stored.contains(key), "{key}, acknowledged at {revision}, is lost");
        assert!(seen[revision].contains(key), "the watches together saw everything");
    }
    let mut touched: Vec<_> = seen.into_values().flatten().collect();
    touched.sort();
    assert_eq!(touched, stored, "and nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_etcd_makes_writes_unknown_and_ends_watches() {
    let Cluster { mut etcd, store } = Cluster::of(Release::Oldest, 1).await;
    put(&*store, "before", "").await;
    let mut idle = watch(&*store, "", head(&*store).await).await;

    etcd.freeze().await;
    let start = Instant::now();
    let error = try_put(&store, "during").await.expect_err("nobody answers");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    let waited = start.elapsed();
    assert!(waited < DEFAULT_CALL_TIMEOUT * 2, "{waited:?}");
    let error = within(store.list("")).await.expect_err("nobody answers");
    assert_eq!(error.outcome(), Outcome::NotApplied, "{error:?}");
    let error = within(idle.next()).await.expect("it says why it ends").expect_err("nobody answers");
    assert!(matches!(error, WatchError::Disconnected { .. }), "{error:?}");
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(11), "{waited:?}");

    etcd.thaw().await;
    within(async {
        while try_put(&store, "after").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(keys(&*store, "").await.starts_with(&["after".to_owned(), "before".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_etcd_nothing_is_sent_and_it_is_said_so() {
    let address = nobody().await;
    let store = store(&[address.clone(), nobody().await]);
    let error = try_put(&store, "k").await.expect_err("nobody listens");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address), "{error}");
    let unavailable = |error: StoreError| assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    unavailable(within(store.list("")).await.expect_err("nobody listens"));
    unavailable(within(store.watch("", StoreRevision::ZERO)).await.expect_err("nobody listens"));
    unavailable(within(store.grant_lease(Duration::from_secs(9))).await.expect_err("nobody listens"));
    unavailable(within(store.identity()).await.expect_err("nobody listens"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_sent_goes_to_the_next_member() {
    let etcd = Etcd::start().await;
    let store = store(&[nobody().await, etcd.endpoint(), nobody().await]);
    for i in 0..100 {
        try_put(&store, &i.to_string()).await.expect("another member answers");
    }
    let mut events = watch(&store, "", StoreRevision::ZERO).await;
    assert_eq!(shown(&next(&mut events).await), ["+0="]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_member_is_asked_only_once() {
    let etcd = Etcd::start().await;
    // It takes connections and never says anything.
    let mute = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = mute.local_addr().expect("a bound listener").to_string();
    let endpoints = [address, etcd.endpoint()];
    let options = EtcdOptions { call_timeout: Duration::from_millis(300), ..EtcdOptions::new(&endpoints) };

    let reader = EtcdStore::new(options.clone()).expect("the options are fine");
    let first = within(reader.list("")).await;
    assert!(first.is_ok(), "a read is tried elsewhere: {first:?}");

    let writer = EtcdStore::new(options).expect("the options are fine");
    let error = try_put(&writer, "k").await.expect_err("it may have arrived");
    assert_eq!(error.outcome(), Outcome::Unknown, "{error:?}");
    try_put(&writer, "k").await.expect("the next one begins elsewhere");
    drop(mute);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_refuses_writes_and_still_reads_deletes_and_keeps_leases() {
    let etcd = Etcd::start_with(&["--quota-backend-bytes", "4000000"]).await;
    let store = store(&[etcd.endpoint()]);
    let lease = store.grant_lease(Duration::from_secs(600)).await.expect("granted");
    let mut written = 0;
    let error = loop {
        let key = format!("large{written}");
        let value = vec![0; MAX_VALUE_BYTES];
        match within(store.commit(Txn::new().require_absent(&key).put(&key, value))).await {
            Ok(_) => {}
            Err(CommitError::Store(error)) if error.outcome() == Outcome::NotApplied => break error,
            Err(CommitError::Store(error)) => assert_eq!(keys(&store, &key).await, [&key[..]], "{error:?}"),
            Err(CommitError::Conflict(conflict)) => panic!("{conflict}"),
        }
        written += 1;
        assert!(written < 100, "etcd never got full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!((error.outcome(), error.is_transient()), (Outcome::NotApplied, false));
    let error = within(store.grant_lease(Duration::from_secs(9))).await.expect_err("etcd counts leases as writes");
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(within(store.keep_alive(lease)).await, Ok(Duration::from_secs(600)));
    assert_eq!(list(&store, "large").await.entries.len(), written);
    commit(&store, Txn::new().delete("large0")).await;
    assert_eq!(list(&store, "large").await.entries.len(), written - 1);
}

/// etcd looks at the room twice (`quotaKVServer` and `quotaApplierV3` of its source) and says the same both times, but the
/// second time it has done what it was asked for. Which of the two it is depends on how its threads run, so what is told
/// apart is made here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_etcd_has_done_is_not_said_to_be_undone() {
    let Cluster { etcd: _etcd, store } = Cluster::of(Release::Current, 1).await;
    let there = put(&*store, "there", "old").await;
    let txns = [
        Txn::new().require_absent("new").put("new", "1"),
        Txn::new().require_revision("there", there).put("there", "2"),
        Txn::new().put("blind", "3"),
    ];
    let no_room = async |txn: &Txn| within(commit::no_room(&store.session, txn, "no room".to_owned())).await;
    for txn in &txns {
        let refused = no_room(txn).await;
        assert!(matches!(refused, StoreError::Full { .. }), "{txn:?} was not done: {refused:?}");
        commit(&*store, txn.clone()).await;
        let done = no_room(txn).await;
        assert_eq!(done.outcome(), Outcome::Unknown, "{txn:?} was done: {done:?}");
    }
    let deletion = no_room(&Txn::new().delete("there")).await;
    assert_eq!(deletion.outcome(), Outcome::Unknown, "nothing tells: {deletion:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_others_are_not_seen() {
    let Cluster { etcd, store } = Cluster::of(Release::Oldest, 1).await;
    let before = head(&*store).await;
    // In base64: another application's key, one below our prefix that is not text, one that we would refuse, and one
    // that is as good as ours; in one transaction with the last one in the middle.
    let put = |key: &str| format!(r#"{{"requestPut":{{"key":"{key}","value":"eA=="}}}}"#);
    let foreign = ["L290aGVyL2tleQ==", "L2NvZmZlcmRhbS92MS//", "L2NvZmZlcmRhbS92MS9vdXJz", "L2NvZmZlcmRhbS92MS9hIGI="];
    let body = format!(r#"{{"success":[{}]}}"#, foreign.map(put).join(","));
    let answer = etcd.post("/v3/kv/txn", &body).await;
    assert!(answer.contains("200 OK"), "{answer}");

    assert_eq!(keys(&*store, "").await, ["ours"]);
    let mut events = watch(&*store, "", before).await;
    assert_eq!(shown(&next(&mut events).await), ["+ours=x"]);
    let elsewhere = EtcdOptions { prefix: "/other/".to_owned(), ..EtcdOptions::new([etcd.endpoint()]) };
    let elsewhere = EtcdStore::new(elsewhere).expect("the options are fine");
    assert_eq!(keys(&elsewhere, "").await, ["key"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_watch_is_asked_whether_it_lives_and_goes_on() {
    let etcd = Etcd::start().await;
    let mut session = Session::new(EtcdOptions::new([etcd.endpoint()])).expect("the options are fine");
    session.silence = Duration::from_millis(400);
    let long = session.silence * 8;
    let store = EtcdStore::over(session);
    let mut idle = watch(&store, "", head(&store).await).await;
    // Far longer than it may be silent: each answer of etcd counts, and none of them is an event.
    let silent = tokio::time::timeout(long, idle.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    put(&store, "k", "1").await;
    assert_eq!(shown(&next(&mut idle).await), ["+k=1"]);
}
