//! The way out of a stream, which knows how far the transport has taken it.
//!
//! A message that was put in a queue has not been sent. What a report says is only taken as said when the transport
//! has asked for the report; a stream that dies first leaves it to the next.

use super::message::ToManager;
use futures_util::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Messages that may wait for the transport. Few: what is not yet said can still be said better.
const CAPACITY: usize = 4;

/// The instance's end.
#[derive(Debug)]
pub(super) struct Outbox {
    /// `None`: there is no more to say.
    sender: Option<mpsc::Sender<ToManager>>,
    taken: Arc<AtomicU64>,
    sent: u64,
}

/// The transport's end: the messages of one stream, in order.
#[derive(Debug)]
pub(crate) struct Outbound {
    receiver: mpsc::Receiver<ToManager>,
    taken: Arc<AtomicU64>,
}

pub(super) fn channel() -> (Outbox, Outbound) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let taken = Arc::new(AtomicU64::new(0));
    (Outbox { sender: Some(sender), taken: Arc::clone(&taken), sent: 0 }, Outbound { receiver, taken })
}

impl Outbox {
    /// Queues a message, where there is room.
    ///
    /// Returns its number, for [`is_taken`](Self::is_taken).
    pub(super) fn try_send(&mut self, message: ToManager) -> Option<u64> {
        self.sender.as_ref()?.try_send(message).ok()?;
        self.sent += 1;
        Some(self.sent)
    }

    /// Ends when there is room, or when nobody takes anything any more: then it is false.
    pub(super) async fn room(&self) -> bool {
        // The permit goes back at once: only this task sends, so the room stays.
        match &self.sender {
            Some(sender) => sender.reserve().await.is_ok(),
            None => false,
        }
    }

    /// Ends when nobody takes anything any more.
    pub(super) async fn closed(&self) {
        if let Some(sender) = &self.sender {
            sender.closed().await;
        }
    }

    /// Ends when the transport has taken everything, or takes nothing any more: then it is false.
    pub(super) async fn drained(&self) -> bool {
        match &self.sender {
            Some(sender) => sender.reserve_many(CAPACITY).await.is_ok(),
            None => false,
        }
    }

    /// Says that there is no more to say.
    pub(super) fn close(&mut self) {
        self.sender = None;
    }

    /// Whether the transport has taken a message.
    pub(super) fn is_taken(&self, number: u64) -> bool {
        self.taken.load(Ordering::Acquire) >= number
    }
}

impl Stream for Outbound {
    type Item = ToManager;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ToManager>> {
        let next = self.receiver.poll_recv(context);
        if matches!(next, Poll::Ready(Some(_))) {
            self.taken.fetch_add(1, Ordering::AcqRel);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;

    fn message() -> ToManager {
        ToManager::Subscribe { services: Vec::new(), gone: Vec::new() }
    }

    #[tokio::test]
    async fn a_message_counts_when_it_is_taken() {
        let (mut outbox, mut outbound) = channel();
        let first = outbox.try_send(message()).unwrap();
        let second = outbox.try_send(message()).unwrap();
        assert!(!outbox.is_taken(first));
        outbound.next().await.unwrap();
        assert!(outbox.is_taken(first) && !outbox.is_taken(second));
        drop(outbound);
        assert!(!outbox.is_taken(second));
        assert!(outbox.try_send(message()).is_none());
    }

    #[tokio::test]
    async fn a_full_queue_takes_no_more() {
        let (mut outbox, mut outbound) = channel();
        while outbox.try_send(message()).is_some() {}
        outbound.next().await.unwrap();
        assert!(outbox.room().await);
        assert!(outbox.try_send(message()).is_some());
        drop(outbound);
        assert!(!outbox.room().await);
    }
}
