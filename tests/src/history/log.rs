//! The witness of a real store: all that it has ever held.

use super::LogEntry;
use crate::etcd::Etcd;
use crate::manager::Manager;
use crate::wait::within;
use bytes::Bytes;
use cofferdam_server::store::{DEFAULT_PREFIX, EmbeddedStore, Store, StoreRevision, WatchEvent};
use etcd_client::{EventType, WatchOptions};
use tempfile::TempDir;

/// The file of an embedded store, in the folder of its manager.
const FILE: &str = "cofferdam.redb";

/// All that managers have written to an etcd that was never compacted, as its own watch from revision 1 tells it.
///
/// # Panics
///
/// If etcd does not tell all of it.
pub async fn log_of_etcd(etcd: &Etcd) -> Vec<LogEntry> {
    let mut client = etcd.client().await;
    // The last thing that the watch will tell.
    let end = format!("{DEFAULT_PREFIX}end-of-history");
    let answer = client.put(end.clone(), "", None).await.expect("etcd takes writes");
    let head = answer.header().expect("an answer of etcd has a header").revision();
    let options = WatchOptions::new().with_prefix().with_start_revision(1).with_fragment();
    let mut watch = client.watch(DEFAULT_PREFIX, Some(options)).await.expect("etcd takes a watch");
    let mut log = Vec::new();
    loop {
        let message = within("the watch of etcd", watch.message()).await.expect("it goes on").expect("it does not end");
        assert!(!message.canceled(), "the watch from the first revision was cancelled: {message:?}");
        for event in message.events() {
            let kv = event.kv().expect("an event of a key");
            if kv.mod_revision() >= head {
                return log;
            }
            let outer = kv.key_str().expect("our keys are text");
            let key = outer.strip_prefix(DEFAULT_PREFIX).expect("a key of the prefix").to_owned();
            let value = (event.event_type() == EventType::Put).then(|| Bytes::copy_from_slice(kv.value()));
            log.push(LogEntry { revision: number(kv.mod_revision()), key, value });
        }
    }
}

/// Adds to `log` all that the manager's embedded store has written since its last entry. The manager must be down; a copy
/// of the file is read, so that whatever a crash left in it is left to the manager itself.
///
/// # Panics
///
/// If the file cannot be read, or its own history does not go back so far.
pub async fn extend_by_embedded(log: &mut Vec<LogEntry>, manager: &Manager) {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::copy(manager.data_dir().join(FILE), folder.path().join(FILE)).expect("the store's file can be copied");
    let store = EmbeddedStore::open(folder.path()).await.expect("the copy of the store opens");
    let head = store.list("").await.expect("it can be listed").revision;
    let mut at = StoreRevision::new(log.last().map_or(0, |entry| entry.revision));
    let mut watch = store.watch("", at).await.expect("it can be watched");
    while at < head {
        let batch = within("the watch of the store", watch.next()).await.expect("it does not end").expect("it goes on");
        at = batch.revision;
        for event in batch.events {
            let (key, value) = match event {
                WatchEvent::Put(entry) => (entry.key, Some(entry.value)),
                WatchEvent::Delete { key, .. } => (key, None),
            };
            log.push(LogEntry { revision: at.get(), key, value });
        }
    }
}

fn number(revision: i64) -> u64 {
    u64::try_from(revision).expect("revisions are not negative")
}
