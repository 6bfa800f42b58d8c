//! Which managers there are, by their keys in the store.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use super::{Shared, record};
use crate::store::{Store, StoreError, WatchEvent};

/// The longest pause before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the keys for as long as somebody has use for it. While the store is away, whoever was there is.
pub(super) async fn follow(store: Arc<dyn Store>, shared: Weak<Shared>) {
    let mut is_told = false;
    loop {
        if let Err(error) = once(&*store, &shared).await {
            if !is_told && shared.upgrade().is_some_and(|shared| !shared.joining.borrow().has_listed) {
                is_told = true;
                tracing::warn!(%error, "who the other managers are is not known yet: this one cannot speak for all");
            } else {
                tracing::debug!(%error, "who the other managers are cannot be asked");
            }
        }
        if shared.strong_count() == 0 {
            return;
        }
        tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
    }
}

async fn once(store: &dyn Store, shared: &Weak<Shared>) -> Result<(), StoreError> {
    let listing = store.list(record::PREFIX).await?;
    {
        let Some(shared) = shared.upgrade() else { return Ok(()) };
        let present: HashSet<_> = listing.entries.iter().filter_map(|entry| id_of(&entry.key)).collect();
        let known: Vec<_> = shared.lock().keys().cloned().collect();
        known.iter().filter(|id| !present.contains(id.as_str())).for_each(|id| shared.left(id));
        for entry in &listing.entries {
            found(&shared, &entry.key, &entry.value);
        }
        shared.joining.send_modify(|joining| joining.has_listed = true);
    }
    let mut watch = store.watch(record::PREFIX, listing.revision).await?;
    while let Some(Ok(batch)) = watch.next().await {
        let Some(shared) = shared.upgrade() else { return Ok(()) };
        for event in &batch.events {
            match event {
                WatchEvent::Put(entry) => found(&shared, &entry.key, &entry.value),
                WatchEvent::Delete { key, .. } => {
                    if let Some(id) = id_of(key) {
                        shared.left(id);
                    }
                }
            }
        }
    }
    Ok(())
}

fn found(shared: &Arc<Shared>, key: &str, value: &bytes::Bytes) {
    if let Some(id) = id_of(key).filter(|id| *id != shared.id) {
        shared.found(id, record::address(value));
    }
}

fn id_of(key: &str) -> Option<&str> {
    key.strip_prefix(record::PREFIX)
}
