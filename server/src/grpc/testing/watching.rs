//! Somebody who watches events.

use cofferdam_proto::v1::{self, watch_events_response::Message};
use tonic::{Status, Streaming};

use super::Manager;
use crate::testing::PATIENCE;

/// A stream of events, as a client has it.
pub(crate) struct Watching {
    stream: Streaming<v1::WatchEventsResponse>,
    /// The cursor of the last message.
    pub(crate) cursor: String,
}

impl Watching {
    pub(crate) async fn begin(manager: &Manager, request: v1::WatchEventsRequest) -> Result<Self, Status> {
        let stream = manager.client().await.watch_events(request).await?.into_inner();
        let mut watching = Self { stream, cursor: String::new() };
        let first = watching.next().await.expect("it ended at once");
        assert!(matches!(first, Message::Bookmark(_)), "{first:?}");
        Ok(watching)
    }

    /// From now on, of all namespaces.
    pub(crate) async fn all(manager: &Manager) -> Self {
        Self::begin(manager, v1::WatchEventsRequest { namespace: "*".to_owned(), ..Default::default() }).await.unwrap()
    }

    /// On from where another one was.
    pub(crate) async fn after(manager: &Manager, cursor: &str) -> Self {
        let request =
            v1::WatchEventsRequest { namespace: "*".to_owned(), after: cursor.to_owned(), ..Default::default() };
        Self::begin(manager, request).await.unwrap()
    }

    /// The next message. `None`: the stream has ended well.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("nothing was told");
        let next = next.unwrap()?;
        self.cursor = next.cursor;
        Some(next.message.expect("a message without a message"))
    }

    /// The next event, bookmarks left out.
    pub(crate) async fn event(&mut self) -> v1::Event {
        loop {
            match self.next().await.expect("it ended") {
                Message::Event(event) => return event,
                Message::Bookmark(_) => {}
                Message::Gap(gap) => panic!("something is missing: {gap:?}"),
            }
        }
    }

    /// The next gap, and what comes before it left out.
    pub(crate) async fn gap(&mut self) -> v1::EventGap {
        let looking = async {
            loop {
                if let Message::Gap(gap) = self.next().await.expect("it ended") {
                    return gap;
                }
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("no gap was told")
    }

    /// The next event of a kind.
    pub(crate) async fn event_of(&mut self, kind: v1::EventKind) -> v1::Event {
        loop {
            let event = self.event().await;
            if event.kind() == kind {
                return event;
            }
        }
    }
}
