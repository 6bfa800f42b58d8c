use crate::store::{
    HISTORY_TXNS,
    conformance::{Backend, conformance, put},
};

use super::*;

struct Embedded {
    store: Arc<EmbeddedStore>,
    _dir: tempfile::TempDir,
}

#[async_trait]
impl Backend for Embedded {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = EmbeddedStore::open(dir.path()).await.expect("the store opens");
        Self { store: Arc::new(store), _dir: dir }
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn compact(&self) {
        let writers = (0..100).map(|_| {
            let store = self.store();
            tokio::spawn(async move {
                for _ in 0..HISTORY_TXNS / 100 {
                    put(&*store, "filler", "").await;
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.expect("the writer ends");
        }
    }

    async fn watches(&self) -> usize {
        self.store.shared.lock().feed.watches()
    }
}

conformance!(Embedded);

mod damage;
mod durability;
mod faults;
