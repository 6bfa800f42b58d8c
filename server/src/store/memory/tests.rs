use super::*;
use crate::store::{
    HISTORY_TXNS,
    conformance::{Backend, conformance, put},
};

struct Memory(Arc<MemoryStore>);

#[async_trait]
impl Backend for Memory {
    async fn start() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn compact(&self) {
        for _ in 0..HISTORY_TXNS {
            put(&*self.0, "filler", "").await;
        }
    }

    async fn watches(&self) -> usize {
        self.0.shared.lock().feed.watches()
    }
}

conformance!(Memory);

#[tokio::test(start_paused = true)]
async fn leases_run_out_by_the_clock_of_the_runtime() {
    let store = MemoryStore::new();
    let lease = store.grant_lease(Duration::from_secs(3600)).await.expect("granted");
    store.commit(Txn::new().put_leased("k", "", lease)).await.expect("committed");
    let mut watch = store.watch("", StoreRevision::ZERO).await.expect("watching");
    watch.next().await.expect("the put").expect("healthy");
    let start = Instant::now();
    watch.next().await.expect("the deletion").expect("healthy");
    assert_eq!(start.elapsed().as_secs(), 3600);
}

#[tokio::test]
async fn watches_end_with_the_store() {
    let store = MemoryStore::new();
    let mut watch = store.watch("", StoreRevision::ZERO).await.expect("watching");
    drop(store);
    assert!(watch.next().await.expect("it says why").is_err());
    assert_eq!(watch.next().await, None);
}
