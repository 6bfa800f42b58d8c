//! The recent history of a store that lives in this process, and the watches on it.
//!
//! Committed transactions are kept in order in one bounded ring. A watch owns nothing but its position: it takes what
//! comes after it, or waits until the head moves. There is no queue per watch, so a slow one costs nothing and can
//! only fall behind the ring, which it is told ([`WatchError::Compacted`]); and there is no seam between "replay" and
//! "live" at which an event could be lost or doubled.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::stream;
use tokio::sync::watch;

use super::{HISTORY_BYTES, HISTORY_TXNS, StoreRevision, Watch, WatchBatch, WatchError, WatchEvent};

/// The publishing end; one per store. When it is dropped, every watch ends.
#[derive(Debug)]
pub(super) struct Feed {
    history: Arc<Mutex<History>>,
    /// Marked as changed after each publication.
    published: watch::Sender<()>,
}

#[derive(Debug)]
struct History {
    batches: VecDeque<Arc<WatchBatch>>,
    /// Of all batches together.
    bytes: usize,
    /// The last revision that is no longer in `batches`.
    forgotten: StoreRevision,
    /// The last revision of all.
    head: StoreRevision,
}

impl Feed {
    /// A feed that remembers `batches`, which are all that happened after `forgotten`.
    pub(super) fn new(batches: impl IntoIterator<Item = WatchBatch>, forgotten: StoreRevision) -> Self {
        let history = History { batches: VecDeque::new(), bytes: 0, forgotten, head: forgotten };
        let feed = Self { history: Arc::new(Mutex::new(history)), published: watch::Sender::new(()) };
        feed.publish(batches);
        feed
    }

    /// The last revision published.
    pub(super) fn head(&self) -> StoreRevision {
        lock(&self.history).head
    }

    /// The last revision that is no longer remembered.
    pub(super) fn forgotten(&self) -> StoreRevision {
        lock(&self.history).forgotten
    }

    /// Adds committed transactions, in order, and wakes the watches.
    pub(super) fn publish(&self, batches: impl IntoIterator<Item = WatchBatch>) {
        let mut history = lock(&self.history);
        for batch in batches {
            history.push(batch);
        }
        drop(history);
        self.published.send_replace(());
    }

    /// How many watches there are.
    #[cfg(test)]
    pub(super) fn watches(&self) -> usize {
        self.published.receiver_count()
    }

    /// A watch on `prefix` from just after the revision `after`.
    pub(super) fn watch(&self, prefix: &str, after: StoreRevision) -> Watch {
        let reader = Reader {
            history: Arc::clone(&self.history),
            published: self.published.subscribe(),
            prefix: prefix.to_owned(),
            position: after,
        };
        Watch::new(stream::unfold(reader, |mut reader| async move {
            let item = reader.next().await;
            Some((item, reader))
        }))
    }
}

impl History {
    fn push(&mut self, batch: WatchBatch) {
        self.head = batch.revision;
        self.bytes += size(&batch);
        self.batches.push_back(Arc::new(batch));
        while self.batches.len() > HISTORY_TXNS || self.bytes > HISTORY_BYTES {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.forgotten = oldest.revision;
        }
    }

    /// The first batch after `position`.
    fn after(&self, position: StoreRevision) -> Option<&Arc<WatchBatch>> {
        self.batches.get(self.batches.partition_point(|batch| batch.revision <= position))
    }
}

/// What a batch counts against [`HISTORY_BYTES`].
fn size(batch: &WatchBatch) -> usize {
    let event_size = |event: &WatchEvent| match event {
        WatchEvent::Put(entry) => entry.key.len() + entry.value.len(),
        WatchEvent::Delete { key, .. } => key.len(),
    };
    batch.events.iter().map(event_size).sum()
}

/// One watch's place in the history.
struct Reader {
    history: Arc<Mutex<History>>,
    published: watch::Receiver<()>,
    prefix: String,
    /// Everything up to here was delivered or is of no concern.
    position: StoreRevision,
}

impl Reader {
    async fn next(&mut self) -> Result<WatchBatch, WatchError> {
        loop {
            if let Some(batch) = self.advance()? {
                return Ok(batch);
            }
            if self.published.changed().await.is_err() {
                return Err(WatchError::Disconnected { reason: "the store was closed".to_owned() });
            }
        }
    }

    /// The next batch that concerns the prefix, if the history has one by now.
    fn advance(&mut self) -> Result<Option<WatchBatch>, WatchError> {
        let history = lock(&self.history);
        if self.position > history.head {
            return Err(WatchError::Ahead { head: history.head });
        }
        if self.position < history.forgotten {
            return Err(WatchError::Compacted { oldest: history.forgotten.next() });
        }
        while let Some(batch) = history.after(self.position) {
            self.position = batch.revision;
            let concerns = |event: &&WatchEvent| event.key().starts_with(&self.prefix);
            let events: Vec<_> = batch.events.iter().filter(concerns).cloned().collect();
            if !events.is_empty() {
                return Ok(Some(WatchBatch { revision: batch.revision, events }));
            }
        }
        Ok(None)
    }
}

/// A poisoned history is still whole: nothing between two of its fields' updates can panic.
fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
