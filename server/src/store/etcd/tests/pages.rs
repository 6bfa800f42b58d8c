//! History that is compacted between two pages of a list.

use std::sync::atomic::{AtomicUsize, Ordering};

use etcd_client::GetOptions;

use super::*;
use crate::store::{
    MAX_OPS,
    conformance::{commit, put, within},
    etcd::{failure::Failure, list},
};

/// More than a page, less than two.
const KEYS: usize = 700;

/// Lists all of it, and has history end with a new value of its first key before the second page of each of so many
/// tries. Returns what came of it, and how many pages were asked for.
async fn list_and_compact(cluster: &Cluster, compacted: usize) -> (Result<Listing, StoreError>, usize) {
    let names: Vec<_> = (0..KEYS).map(|i| format!("k/{i:06}")).collect();
    for names in names.chunks(MAX_OPS) {
        commit(&*cluster.store, names.iter().fold(Txn::new(), |txn, name| txn.put(name, "old"))).await;
    }
    let session = &*cluster.store.session;
    let pages = AtomicUsize::new(0);
    let page = |key, options: GetOptions| {
        let turn = pages.fetch_add(1, Ordering::Relaxed);
        let interrupted = turn % 2 == 1 && turn / 2 < compacted;
        async move {
            if interrupted {
                put(&*cluster.store, "k/000000", &format!("new {turn}")).await;
                cluster.compact().await;
            }
            let page = list::get(session, key, options).await;
            assert_eq!(matches!(page, Err(Failure::Revision(_))), interrupted, "page {turn}: {page:?}");
            page
        }
    };
    let listed = within(list::list_by(&session.keys, &[list::Range::of(&session.keys, "k/")], page)).await;
    (listed, pages.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_begins_anew_at_one_later_revision() {
    for release in [Release::Oldest, Release::Current] {
        let cluster = Cluster::of(release, 1).await;
        let (listed, pages) = list_and_compact(&cluster, 2).await;
        let listed = listed.expect("the third try succeeds");
        assert_eq!((pages, listed.entries.len()), (6, KEYS));
        assert_eq!(listed.entries[0].value, "new 3");
        assert_eq!(listed.revision, head(&*cluster.store).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_given_up_where_that_goes_on() {
    let cluster = Cluster::of(Release::Current, 1).await;
    let (listed, pages) = list_and_compact(&cluster, usize::MAX).await;
    let error = listed.expect_err("no try succeeds");
    assert!(matches!(error, StoreError::Unavailable { .. }) && error.is_transient(), "{error:?}");
    assert_eq!(pages, 2 * 6, "once and five times more");
}
