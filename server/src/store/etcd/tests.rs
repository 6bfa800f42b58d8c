use crate::store::{
    conformance::{Backend, conformance, head},
    testing::Etcd,
};

use super::*;

struct Cluster {
    etcd: Etcd,
    store: Arc<EtcdStore>,
}

#[async_trait]
impl Backend for Cluster {
    async fn start() -> Self {
        let etcd = Etcd::start().await;
        let store = EtcdStore::new(EtcdOptions::new([etcd.endpoint()])).expect("the options are fine");
        Self { etcd, store: Arc::new(store) }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn compact(&self) {
        let revision = head(&*self.store).await;
        let answer = self.etcd.post("/v3/kv/compaction", &format!(r#"{{"revision":{revision}}}"#)).await;
        assert!(answer.contains("200 OK"), "{answer}");
    }

    async fn watches(&self) -> usize {
        self.etcd.metric("etcd_debugging_mvcc_watcher_total").await
    }
}

conformance!(Cluster);

mod auth;
mod faults;
