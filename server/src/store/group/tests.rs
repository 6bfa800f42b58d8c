use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{sync::Semaphore, task::JoinHandle};

use super::*;
use crate::{
    store::{LeaseId, MemoryStore, Store, StoreRevision},
    testing::PATIENCE,
};

/// A group over a store that lets as many transactions through as it is told.
struct World {
    store: Arc<MemoryStore>,
    gate: Arc<Semaphore>,
    commits: Arc<AtomicUsize>,
    group: Group,
}

impl World {
    /// Over a store that is full: what puts nothing goes.
    fn full() -> Self {
        Self::over(
            |store, txn| async move { if txn.ops.is_empty() { store.commit(txn).await } else { Err(full().into()) } },
        )
    }

    fn new() -> Self {
        Self::over(|store, txn| async move { store.commit(txn).await })
    }

    fn over<F: Future<Output = Result<Committed, CommitError>> + Send + 'static>(
        commit: impl Fn(Arc<MemoryStore>, Txn) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let (store, gate, commits) = (Arc::new(MemoryStore::new()), Arc::new(Semaphore::new(0)), Arc::default());
        let inner = (Arc::clone(&store), Arc::clone(&gate), Arc::clone(&commits));
        let group = Group::new(move |txn| {
            let (store, gate, commits): (_, _, Arc<AtomicUsize>) = inner.clone();
            let commit = commit.clone();
            Box::pin(async move {
                gate.acquire().await.expect("never closed").forget();
                commits.fetch_add(1, Ordering::SeqCst);
                commit(store, txn).await
            })
        });
        Self { store, gate, commits, group }
    }

    /// Begins a transaction, as far as it goes.
    async fn begin(&self, txn: Txn) -> JoinHandle<Result<Committed, CommitError>> {
        let group = self.group.clone();
        let begun = tokio::spawn(async move { group.commit(txn).await });
        settle().await;
        begun
    }

    /// Begins as many as go at once; from now on whoever comes waits.
    async fn occupy(&self) -> Vec<JoinHandle<Result<Committed, CommitError>>> {
        let mut begun = Vec::new();
        for index in 0..UNDER_WAY {
            begun.push(self.begin(Txn::new().put(format!("busy/{index}"), "")).await);
        }
        begun
    }

    fn open(&self) {
        self.gate.add_permits(10_000);
    }

    fn commits(&self) -> usize {
        self.commits.load(Ordering::SeqCst)
    }

    async fn revision(&self, key: &str) -> StoreRevision {
        self.store.list(key).await.unwrap().entries[0].mod_revision
    }
}

/// Lets all tasks of a runtime of one thread run until they wait.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_comes_alone_waits_for_nobody_and_who_waits_goes_together() {
    let world = World::new();
    let busy = world.occupy().await;
    let mut waiting = Vec::new();
    for index in 0..10 {
        let txn = Txn::new().require_absent(format!("k{index}")).require_absent("meta").put(format!("k{index}"), "");
        waiting.push(world.begin(txn).await);
    }
    world.open();
    let mut revisions: Vec<_> = join_all(busy).await.into_iter().map(|one| one.unwrap().unwrap().revision).collect();
    revisions.dedup();
    assert_eq!(revisions.len(), UNDER_WAY, "each went by itself");
    for (index, one) in join_all(waiting).await.into_iter().enumerate() {
        let committed = one.unwrap().unwrap();
        assert_eq!(committed.revision, world.revision(&format!("k{index}")).await);
        assert!(!revisions.contains(&committed.revision));
    }
    assert_eq!(world.commits(), UNDER_WAY + 1, "and the rest in one");
}

#[tokio::test]
async fn what_has_a_key_in_common_does_not_go_together() {
    let put = |key: &str| Txn::new().put(key, "");
    let reads = |key: &str, own: &str| Txn::new().require_absent(key).put(own, "");
    let at =
        |revision| Txn::new().require_revision("meta", StoreRevision::new(revision)).put(format!("m{revision}"), "");
    let large = |key: &str| Txn::new().put(key, vec![0; MAX_TXN_BYTES / 2]);
    let many = |key: &str| (0..40).fold(Txn::new(), |txn, index| txn.put(format!("{key}{index}"), ""));
    for (one, other, is_together) in [
        (put("a"), put("b"), true),
        (put("a"), put("a"), false),
        (put("a"), reads("a", "b"), false),
        (reads("a", "b"), put("a"), false),
        (reads("a", "b"), reads("a", "c"), true),
        (at(1), at(1).delete("x"), false),
        (at(1), at(2), false),
        (large("a"), large("b"), false),
        (many("a"), many("b"), false),
    ] {
        let mut load = Load::default();
        assert!(load.admits(&one));
        load.add(&one);
        assert_eq!(load.admits(&other), is_together, "{one:?} with {other:?}");
    }
}

#[tokio::test]
async fn of_those_that_go_together_only_who_was_wrong_hears_of_it() {
    let world = World::new();
    let busy = world.occupy().await;
    let right = world.begin(Txn::new().require_absent("a").put("a", "")).await;
    let wrong = world.begin(Txn::new().require_absent("busy/0").require_absent("b").put("b", "")).await;
    let right_too = world.begin(Txn::new().require_absent("c").put("c", "")).await;
    world.open();
    join_all(busy).await;
    let (right, right_too) = (right.await.unwrap().unwrap(), right_too.await.unwrap().unwrap());
    assert_eq!(right, right_too);
    match wrong.await.unwrap() {
        Err(CommitError::Conflict(conflict)) => {
            assert!(conflict.revision < right.revision, "as of before the others went");
            assert_eq!(conflict.failed.len(), 1);
            assert_eq!(conflict.failed[0].precondition, Precondition::Absent { key: "busy/0".to_owned() });
            assert_eq!(conflict.failed[0].current.as_ref().map(|entry| &*entry.key), Some("busy/0"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.commits(), UNDER_WAY + 2);
    assert!(world.store.list("b").await.unwrap().entries.iter().all(|entry| entry.key != "b"));
}

#[tokio::test]
async fn a_lease_that_is_gone_is_the_failure_of_whom_it_belongs_to() {
    let world = World::new();
    let busy = world.occupy().await;
    let right = world.begin(Txn::new().put("a", "")).await;
    let gone = LeaseId::new(7).unwrap();
    let wrong = world.begin(Txn::new().put_leased("b", "", gone)).await;
    world.open();
    join_all(busy).await;
    right.await.unwrap().unwrap();
    let lost: CommitError = StoreError::LeaseNotFound { lease: gone }.into();
    assert_eq!(wrong.await.unwrap(), Err(lost));
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_sent() {
    let world = World::new();
    let busy = world.occupy().await;
    let given_up = world.begin(Txn::new().put("a", "")).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    world.open();
    join_all(busy).await;
    settle().await;
    assert_eq!(world.commits(), UNDER_WAY);
    assert_eq!(world.store.list("a").await.unwrap().entries, []);
    world.group.commit(Txn::new().put("b", "")).await.unwrap();
}

/// Moves of one from a place to another, each on condition of both: nothing is lost, whoever goes with whom.
#[tokio::test]
async fn whatever_goes_together_is_as_if_it_had_gone_one_by_one() {
    const PLACES: usize = 8;
    let world = World::new();
    world.open();
    let number = |value: &Bytes| std::str::from_utf8(value).unwrap().parse::<i64>().unwrap();
    for place in 0..PLACES {
        world.group.commit(Txn::new().put(format!("p{place}"), "0")).await.unwrap();
    }
    let conflicts = AtomicUsize::new(0);
    let mover = async |mover: usize| {
        let (mut moved, mut step) = (0, mover);
        while moved < 20 {
            step = step.wrapping_mul(31).wrapping_add(17);
            let (from, to) = (step % PLACES, (step / PLACES) % PLACES);
            if from == to {
                continue;
            }
            let entries = world.store.list("p").await.unwrap().entries;
            tokio::task::yield_now().await;
            let (from, to) = (&entries[from], &entries[to]);
            let txn = Txn::new()
                .require_revision(&*from.key, from.mod_revision)
                .require_revision(&*to.key, to.mod_revision)
                .put(&*from.key, (number(&from.value) - 1).to_string())
                .put(&*to.key, (number(&to.value) + 1).to_string());
            match world.group.commit(txn).await {
                Ok(_) => moved += 1,
                Err(CommitError::Conflict(_)) => _ = conflicts.fetch_add(1, Ordering::SeqCst),
                Err(error) => panic!("{error}"),
            }
        }
        moved
    };
    let before = world.commits();
    let moved: usize = join_all((0..32).map(mover)).await.into_iter().sum();
    let entries = world.store.list("p").await.unwrap().entries;
    assert_eq!(entries.iter().map(|entry| number(&entry.value)).sum::<i64>(), 0);
    let tried = moved + conflicts.load(Ordering::SeqCst);
    assert!(moved == 640 && world.commits() - before < tried, "{tried} went in {}", world.commits() - before);
    assert!(conflicts.load(Ordering::SeqCst) > 0, "nobody was ever wrong");
}

fn full() -> StoreError {
    StoreError::Full { reason: "no room".to_owned() }
}

#[tokio::test]
async fn in_a_full_store_what_puts_nothing_goes_whoever_waited_with_it() {
    let world = World::full();
    let busy = world.occupy().await;
    let puts = world.begin(Txn::new().put("a", "1")).await;
    let looks = world.begin(Txn::new().require_absent("b")).await;
    world.open();
    assert_eq!(puts.await.unwrap(), Err(full().into()));
    assert!(looks.await.unwrap().is_ok());
    for busy in busy {
        assert_eq!(busy.await.unwrap(), Err(full().into()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_panics_is_not_known_and_holds_nobody_up() {
    let world = World::over(|store, txn| async move {
        assert!(txn.ops[0].key() != "bad", "as it was told to");
        store.commit(txn).await
    });
    world.open();
    let commit = |key: &str| tokio::time::timeout(PATIENCE, world.group.commit(Txn::new().put(key, "")));
    for _ in 0..2 * UNDER_WAY {
        let lost = commit("bad").await.expect("an answer").unwrap_err();
        assert!(matches!(lost, CommitError::Store(StoreError::Unknown { .. })), "{lost}");
    }
    commit("good").await.expect("an answer").unwrap();
}
