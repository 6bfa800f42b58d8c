//! What is said of a cluster that works.

use super::*;
use crate::store::{MAX_VALUE_BYTES, conformance::within};

async fn concerns(store: &EtcdStore) -> Vec<Concern> {
    within(store.concerns()).await.expect("etcd answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_release_is_named_with_what_to_use() {
    let old = concerns(&Cluster::of(Release::Oldest, 1).await.store).await;
    assert_eq!(old.len(), 1, "{old:?}");
    assert!(old[0].what.contains("3.6.11") && !old[0].refuses_writes, "{old:?}");
    assert_eq!(concerns(&Cluster::of(Release::Current, 1).await.store).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_away_is_named_while_another_answers() {
    let Cluster { mut etcd, store } = Cluster::of(Release::Current, 3).await;
    etcd.kill().await;
    let away = concerns(&store).await;
    let endpoint = etcd.endpoint();
    assert!(away.iter().any(|concern| concern.what.contains(&endpoint) && !concern.refuses_writes), "{away:?}");

    let Cluster { mut etcd, store } = Cluster::of(Release::Current, 1).await;
    etcd.kill().await;
    let error = within(store.concerns()).await.expect_err("nobody answers");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_database_is_told_before_and_after_writes_are_refused() {
    let etcd = Etcd::cluster(Release::Current, 1, &["--quota-backend-bytes", "8000000"]).await;
    let store = EtcdStore::new(EtcdOptions::new(etcd.endpoints())).expect("the options are fine");
    let mut nearly = false;
    for i in 0..100 {
        let txn = Txn::new().require_absent(i.to_string()).put(i.to_string(), vec![0; MAX_VALUE_BYTES / 2]);
        let is_written = within(store.commit(txn)).await.is_ok();
        let told = concerns(&store).await;
        nearly |= is_written && told.iter().any(|concern| concern.what.contains("80 %") && !concern.refuses_writes);
        if told.iter().any(|concern| concern.what.contains("NOSPACE") && concern.refuses_writes) {
            assert!(nearly, "it was not told before: {told:?}");
            return;
        }
    }
    panic!("etcd never got full");
}
