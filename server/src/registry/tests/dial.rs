//! A clock that a test sets, in seconds after the epoch of all tests.

use crate::{
    clock::Clock,
    registry::{Registry, RegistryOptions},
    store::Store,
    testing::{EPOCH, FaultyStore},
};
use prost_types::Timestamp;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[derive(Debug)]
pub(in crate::registry) struct Dial(AtomicU64);

impl Dial {
    pub(in crate::registry) fn at(seconds: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(seconds)))
    }

    pub(in crate::registry) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }

    pub(in crate::registry) async fn registry(self: &Arc<Self>, store: &Arc<FaultyStore>) -> Registry {
        self.registry_with(store, RegistryOptions::default()).await
    }

    pub(in crate::registry) async fn registry_with(
        self: &Arc<Self>,
        store: &Arc<FaultyStore>,
        options: RegistryOptions,
    ) -> Registry {
        let store: Arc<dyn Store> = Arc::<FaultyStore>::clone(store);
        Registry::open(store, Arc::<Self>::clone(self), options).await.unwrap()
    }
}

impl Clock for Dial {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(EPOCH) + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// The same time as it is stored.
pub(in crate::registry) fn at(seconds: u64) -> Timestamp {
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(EPOCH) + Duration::from_secs(seconds))
}
