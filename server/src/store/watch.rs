//! The consumer's end of a watch.

use std::{
    fmt::{self, Debug},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_util::{StreamExt, stream::BoxStream};

use super::{Entry, StoreRevision};

/// The changes to a prefix, one whole transaction at a time, in order and without gaps.
///
/// A [`Stream`] that ends after its first error; [`next`](Watch::next) is the same without the import. Nothing runs
/// while it is not polled, and dropping it frees everything it holds, on the server too.
#[must_use = "a watch does nothing unless it is polled"]
pub struct Watch {
    /// `None` once an error was yielded, so that no backend can repeat one for ever.
    batches: Option<BoxStream<'static, Result<WatchBatch, WatchError>>>,
}

impl Watch {
    /// Wraps a backend's batches. Ending without an error is taken as [`WatchError::Disconnected`].
    pub(crate) fn new(batches: impl Stream<Item = Result<WatchBatch, WatchError>> + Send + 'static) -> Self {
        Self { batches: Some(Box::pin(batches)) }
    }

    /// The next transaction; `None` after an error. Cancel-safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Result<WatchBatch, WatchError>> {
        StreamExt::next(self).await
    }
}

impl Stream for Watch {
    type Item = Result<WatchBatch, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(batches) = &mut self.batches else {
            return Poll::Ready(None);
        };
        let item = std::task::ready!(batches.as_mut().poll_next(cx))
            .unwrap_or_else(|| Err(WatchError::Disconnected { reason: "the watch ended".to_owned() }));
        if item.is_err() {
            self.batches = None;
        }
        Poll::Ready(Some(item))
    }
}

impl Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("ended", &self.batches.is_none()).finish()
    }
}

/// All that one transaction changed under the watched prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The transaction's revision: where to continue after.
    pub revision: StoreRevision,
    /// Its changes, at most one per key; never empty.
    pub events: Vec<WatchEvent>,
}

/// One changed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// The key was made or replaced; this is what it is now.
    Put(Entry),
    /// The key was deleted, by a transaction or by the end of its lease.
    Delete {
        /// The key that is gone.
        key: String,
        /// The transaction that deleted it.
        mod_revision: StoreRevision,
    },
}

impl WatchEvent {
    /// The key that changed.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// Changes after the asked revision are no longer remembered: list again, then watch from there.
    #[error("changes before revision {oldest} are compacted")]
    Compacted {
        /// The oldest revision that is still remembered.
        oldest: StoreRevision,
    },
    /// The store has not come as far as the asked revision: it was restored from a backup or replaced. List again,
    /// and do not compare revisions across the two.
    #[error("the store is at revision {head}, before the one asked for")]
    Ahead {
        /// The store's revision.
        head: StoreRevision,
    },
    /// The store is gone, silent or without a leader: watch again after the last revision seen.
    #[error("watch lost: {reason}")]
    Disconnected {
        /// What was seen.
        reason: String,
    },
    /// The store refuses our credentials, or they do not allow watching this prefix.
    #[error("watch denied: {reason}")]
    Denied {
        /// The backend's own words.
        reason: String,
    },
}

impl WatchError {
    /// Whether the caller has to list again; if not, a new watch after the last seen revision misses nothing.
    pub fn needs_list(&self) -> bool {
        matches!(self, Self::Compacted { .. } | Self::Ahead { .. })
    }
}
