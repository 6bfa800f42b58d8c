use crate::store::{
    conformance::{Backend, conformance, head},
    testing::{Etcd, Release},
};

use super::*;

struct Cluster {
    etcd: Etcd,
    store: Arc<EtcdStore>,
}

impl Cluster {
    async fn of(release: Release, members: usize) -> Self {
        let etcd = Etcd::cluster(release, members, &[]).await;
        let store = EtcdStore::new(EtcdOptions::new(etcd.endpoints())).expect("the options are fine");
        Self { etcd, store: Arc::new(store) }
    }

    async fn compact(&self) {
        let revision = head(&*self.store).await;
        let answer = self.etcd.post("/v3/kv/compaction", &format!(r#"{{"revision":{revision}}}"#)).await;
        assert!(answer.contains("200 OK"), "{answer}");
    }
}

/// The contract of the trait, on one cluster.
macro_rules! conforming {
    ($name:ident, $release:ident, $members:literal) => {
        mod $name {
            use super::*;

            struct Conforming(Cluster);

            #[async_trait]
            impl Backend for Conforming {
                async fn start() -> Self {
                    Self(Cluster::of(Release::$release, $members).await)
                }

                fn store(&self) -> Arc<dyn Store> {
                    Arc::clone(&self.0.store) as Arc<dyn Store>
                }

                async fn compact(&self) {
                    self.0.compact().await;
                }

                async fn watches(&self) -> usize {
                    self.0.etcd.metric("etcd_debugging_mvcc_watcher_total").await
                }
            }

            conformance!(Conforming);
        }
    };
}

conforming!(oldest, Oldest, 1);
conforming!(current, Current, 1);
conforming!(three_of_current, Current, 3);

mod auth;
mod faults;
mod pages;
mod posture;
