//! What survives: a restart, a second opener, a crash.

use std::fs;

use super::*;
use crate::store::{
    Txn,
    conformance::{commit, get, head, keys, list, next, shown, watch, within},
};

const LONG: Duration = Duration::from_secs(600);

async fn open(dir: &Path) -> EmbeddedStore {
    EmbeddedStore::open(dir).await.expect("the store opens")
}

fn file(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await;
    let identity = store.identity().await;
    let lease = store.grant_lease(LONG).await.expect("granted");
    put(&store, "k", "1").await;
    let middle = commit(&store, Txn::new().put("k", "2").put_leased("leased", "", lease)).await;
    commit(&store, Txn::new().delete("k").put("l", "1")).await;
    let before = list(&store, "").await;
    drop(store);

    let store = open(dir.path()).await;
    assert_eq!(store.identity().await, identity);
    assert_eq!(list(&store, "").await, before);
    let mut events = watch(&store, "", StoreRevision::ZERO).await;
    assert_eq!(shown(&next(&mut events).await), ["+k=1"]);
    assert_eq!(shown(&next(&mut events).await), ["+k=2", "+leased="]);
    let mut rest = watch(&store, "", middle).await;
    assert_eq!(shown(&next(&mut rest).await), ["-k", "+l=1"]);
    assert_eq!(put(&store, "m", "").await, before.revision.next(), "revisions go on where they were");
    assert_eq!(shown(&next(&mut rest).await), ["+m="]);

    assert_eq!(store.keep_alive(lease).await, Ok(LONG), "leases survive");
    store.revoke_lease(lease).await.expect("revoked");
    assert_eq!(keys(&store, "").await, ["l", "m"], "with their keys");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_nobody_keeps_ends_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await;
    let lease = store.grant_lease(Duration::from_secs(1)).await.expect("granted");
    let revision = commit(&store, Txn::new().put_leased("k", "", lease)).await;
    drop(store);

    let store = open(dir.path()).await;
    let mut events = watch(&store, "", revision).await;
    assert_eq!(shown(&next(&mut events).await), ["-k"]);
    drop(store);
    assert_eq!(keys(&open(dir.path()).await, "").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_stays_bounded_over_restarts() {
    let backend = Embedded::start().await;
    backend.compact().await;
    let last = put(&*backend.store, "k", "").await;
    let Embedded { store, _dir: dir } = backend;
    drop(store);

    let store = open(dir.path()).await;
    assert_eq!(head(&store).await, last);
    let oldest = StoreRevision::new(last.get() - HISTORY_TXNS as u64);
    next(&mut watch(&store, "", oldest).await).await;
    let mut too_old = watch(&store, "", StoreRevision::ZERO).await;
    assert!(within(too_old.next()).await.expect("it says something").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_is_told_at_once_which_file_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let first = open(dir.path()).await;
    let error = EmbeddedStore::open(dir.path()).await.expect_err("it is taken");
    assert_eq!(error, StoreError::InUse { path: file(dir.path()).display().to_string() });
    assert!(error.to_string().contains("in use by another manager"), "{error}");
    put(&first, "k", "").await;
    drop(first);
    assert_eq!(keys(&open(dir.path()).await, "").await, ["k"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_first_openers_one_wins_and_no_draft_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let openers = (0..8).map(|_| tokio::spawn(EmbeddedStore::open(dir.path().join("data"))));
    let mut opened = Vec::new();
    for opener in openers.collect::<Vec<_>>() {
        match opener.await.expect("the opener ends") {
            Ok(store) => opened.push(store),
            Err(error) => assert!(matches!(error, StoreError::InUse { .. }), "{error:?}"),
        }
    }
    assert_eq!(opened.len(), 1);
    let names: Vec<_> = fs::read_dir(dir.path().join("data"))
        .expect("the directory is there")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert_eq!(names, [FILE_NAME]);
}

#[cfg(unix)]
#[tokio::test]
async fn the_directory_and_the_file_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("deep/data");
    let store = open(&data).await;
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(store.path())), (0o700, 0o600));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let taken = dir.path().join("a-file");
    fs::write(&taken, "").expect("written");
    let error = EmbeddedStore::open(taken.join("data")).await.expect_err("a file is no directory");
    assert!(error.to_string().contains("a-file"), "{error}");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layout_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    drop(open(dir.path()).await);
    let database = redb::Database::open(file(dir.path())).expect("opened");
    let txn = database.begin_write().expect("begun");
    let meta = redb::TableDefinition::<u64, u128>::new("meta");
    txn.open_table(meta).expect("there").insert(0, 2).expect("written");
    txn.commit().expect("committed");
    drop(database);
    let error = EmbeddedStore::open(dir.path()).await.expect_err("layout 2 is unknown");
    assert!(matches!(error, StoreError::Incompatible { .. }) && error.to_string().contains("layout 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_taken_while_writing_opens_with_a_committed_state() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let copy = tempfile::tempdir().expect("a temporary directory");
    let store = open(dir.path()).await;
    for round in 0..10 {
        let acknowledged = put(&store, &format!("k{round}"), "1").await;
        // What a crash right now would leave behind.
        fs::copy(file(dir.path()), file(copy.path())).expect("copied");
        let crashed = open(copy.path()).await;
        assert_eq!(head(&crashed).await, acknowledged);
        assert_eq!(list(&crashed, "").await, list(&store, "").await);
        assert!(get(&crashed, &format!("k{round}")).await.is_some());
    }
}
