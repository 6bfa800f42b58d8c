//! One stream of events.
//!
//! It is a state that is asked for its next message, and is asked only while the transport has room for one. What it has
//! at hand is one page of one manager at most.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::v1::{
    self, event::Detail, peer_service_client::PeerServiceClient, watch_events_response::Message,
};
use futures_util::{
    FutureExt, Stream, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Status, transport::Channel};

use super::Start;
use crate::{
    events::{Cursor, Events, Filter, Page, number_of},
    peers::{MAX_MESSAGE_BYTES, Peers},
};

/// Events that are taken out of the ring in one go.
const PAGE: usize = 256;

/// How long another manager may wait until it has something to tell.
const WAIT: Duration = Duration::from_secs(5);

/// How much longer its answer may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long before one is asked again that has not answered.
const PAUSE: Duration = Duration::from_secs(1);

/// How often to look who there is.
const LOOK: Duration = Duration::from_secs(1);

/// How long a manager may be nowhere to be seen before what it had to tell is given up: one that has just started does
/// not know the others yet.
const MISSING_FOR: Duration = Duration::from_secs(5);

/// How long a stream may say nothing.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What another manager said, with its id.
type Answer = (String, Result<v1::CollectEventsResponse, String>);

/// One stream.
pub(super) struct Watch {
    events: Arc<Events>,
    peers: Peers,
    filter: Filter,
    cursor: Cursor,
    last: watch::Receiver<u64>,
    asked: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// The managers that are asked now.
    asking: BTreeSet<String>,
    /// The managers that have said their last word.
    ended: BTreeSet<String>,
    unreachable: BTreeMap<String, v1::UnreachableManager>,
    /// Managers that were read and are not there, since when.
    missing: BTreeMap<String, Instant>,
    ready: VecDeque<v1::WatchEventsResponse>,
    bookmark_at: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Watch {
    /// The messages, for as long as the manager runs.
    pub(super) fn begin(
        events: Arc<Events>,
        peers: Peers,
        filter: Filter,
        start: Start,
        permit: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<v1::WatchEventsResponse, Status>> + Send {
        let last = events.last();
        let is_now = matches!(start, Start::Now);
        let cursor = match start {
            Start::Now => {
                let mut cursor = Cursor::since(events.now());
                cursor.set(events.manager_id(), *last.borrow());
                cursor
            }
            Start::After(cursor) => cursor,
        };
        let watch = Self {
            events,
            peers,
            filter,
            cursor,
            last,
            asked: FuturesUnordered::new(),
            asking: BTreeSet::new(),
            ended: BTreeSet::new(),
            unreachable: BTreeMap::new(),
            missing: BTreeMap::new(),
            ready: VecDeque::new(),
            bookmark_at: Instant::now() + HEARTBEAT,
            _permit: permit,
        };
        let first = async move {
            let mut watch = Box::new(watch);
            watch.greet(is_now).await;
            stream::unfold(watch, |mut watch| async move {
                let message = watch.next().await?;
                Some((Ok(message), watch))
            })
        };
        stream::once(first).flatten()
    }

    /// Asks all others where they are, so that the first cursor of what comes now names them.
    async fn greet(&mut self, is_now: bool) {
        let Self { peers, cursor, filter, .. } = &*self;
        let parts = peers.ask(|mut client, id| {
            let request = request(cursor, filter, &id);
            let after = request.after.filter(|_| !is_now);
            async move { client.collect_events(v1::CollectEventsRequest { after, ..request }).await }
        });
        let parts = parts.await;
        // This one itself is among them while it does not know the others yet: they are found, and asked, as they come.
        let others = parts.unreachable.into_iter().filter(|manager| manager.id != self.events.manager_id());
        self.unreachable = others.map(|manager| (manager.id.clone(), manager)).collect();
        // Ahead of all that is told: whoever breaks off at once goes on from the same place.
        if !is_now {
            self.bookmark();
        }
        for (id, part) in parts.parts {
            self.heard(&id, part);
        }
        if is_now {
            self.bookmark();
        }
    }

    async fn next(&mut self) -> Option<v1::WatchEventsResponse> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                self.bookmark_at = Instant::now() + HEARTBEAT;
                return Some(message);
            }
            self.last.borrow_and_update();
            let own = self.events.manager_id().to_owned();
            let page = self.page();
            self.lost(&own, page.lost, "they are kept no more: there were too many after them");
            let events = page.events.iter().map(|event| v1::Event::clone(event));
            self.tell(&own, events, page.through, page.is_closed && !page.has_more);
            if !self.ready.is_empty() || page.has_more {
                continue;
            }
            if page.is_closed {
                return None;
            }
            self.look();
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                // An error says that there are no events any more, which there are while this holds them.
                _ = self.last.changed() => {}
                Some((id, answer)) = self.asked.next() => {
                    self.asking.remove(&id);
                    match answer {
                        Ok(answer) => self.heard(&id, answer),
                        Err(reason) => self.away(&id, reason),
                    }
                }
                () = sleep_until(self.bookmark_at) => self.bookmark(),
                () = sleep(LOOK) => {}
            }
        }
    }

    /// What comes next of this manager itself.
    fn page(&self) -> Page {
        let own = self.events.manager_id();
        let (mut after, filter) = place(&self.cursor, &self.filter, own);
        loop {
            let page = self.events.after(after, PAGE, &filter);
            // A cursor names it once something of it is wanted.
            if !page.events.is_empty() || page.lost > 0 || !page.has_more {
                return page;
            }
            after = page.through;
        }
    }

    /// Asks all who are there and are not asked, and gives up those who are not.
    fn look(&mut self) {
        let present = self.peers.all();
        let own = self.events.manager_id().to_owned();
        for (id, _, channel) in &present {
            self.missing.remove(id);
            if !self.asking.contains(id) && !self.ended.contains(id) {
                self.ask(id, channel.clone());
            }
        }
        let is_there = |id: &String| *id == own || present.iter().any(|(other, _, _)| other == id);
        let absent: Vec<_> = self.cursor.managers().map(str::to_owned).filter(|id| !is_there(id)).collect();
        let is_alone = self.peers.id().is_empty();
        self.ended.retain(|id| is_there(id));
        let mut was_unreachable = self.unreachable.len();
        self.unreachable.retain(|id, _| is_there(id));
        was_unreachable -= self.unreachable.len();
        for id in absent {
            let since = *self.missing.entry(id.clone()).or_insert_with(Instant::now);
            if is_alone || since.elapsed() >= MISSING_FOR {
                self.missing.remove(&id);
                let number = self.cursor.number(&id).unwrap_or_default();
                self.cursor.end(&id);
                let reason = format!("the manager is gone: what it had to tell after its event {number} is not known");
                self.gap(&id, 0, reason);
            }
        }
        if was_unreachable > 0 {
            self.bookmark();
        }
    }

    fn ask(&mut self, id: &str, channel: Option<Channel>) {
        let request =
            v1::CollectEventsRequest { wait: Some(duration_to_wire(WAIT)), ..request(&self.cursor, &self.filter, id) };
        let pause = if self.unreachable.contains_key(id) { PAUSE } else { Duration::ZERO };
        let id = id.to_owned();
        self.asking.insert(id.clone());
        let asked = async move {
            sleep(pause).await;
            let Some(channel) = channel else {
                return (id, Err("it does not say where it is: set --advertise-address there".to_owned()));
            };
            let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            let answer = match timeout(WAIT + PATIENCE, client.collect_events(request)).await {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
                Err(_) => Err(format!("no answer within {:?}", WAIT + PATIENCE)),
            };
            (id, answer)
        };
        self.asked.push(asked.boxed());
    }

    fn heard(&mut self, id: &str, answer: v1::CollectEventsResponse) {
        if self.unreachable.remove(id).is_some() {
            self.bookmark();
        }
        self.lost(id, answer.lost, "they are kept no more: there were too many after them");
        let is_last = answer.closed && !answer.has_more;
        self.tell(id, answer.events.into_iter(), answer.through, is_last);
    }

    fn away(&mut self, id: &str, reason: String) {
        let manager = self.peers.doubt(id, reason);
        if self.unreachable.insert(id.to_owned(), manager).is_none() {
            self.bookmark();
        }
    }

    /// Tells events of a manager, which is read as far as `through` then, and to its end where they are the last.
    fn tell(&mut self, id: &str, events: impl Iterator<Item = v1::Event>, through: u64, are_last: bool) {
        let mut events = events.peekable();
        let is_silent = events.peek().is_none();
        while let Some(event) = events.next() {
            self.cursor.set(id, number_of(&event).unwrap_or(through));
            if are_last && events.peek().is_none() {
                self.cursor.end(id);
            }
            self.say(match event.detail {
                Some(Detail::Gap(gap)) => Message::Gap(gap),
                _ => Message::Event(event),
            });
        }
        self.cursor.set(id, through);
        if are_last {
            self.cursor.end(id);
            // Whoever comes back is not to be told that something of it is missing.
            if self.ended.insert(id.to_owned()) && is_silent {
                self.bookmark();
            }
        }
    }

    fn lost(&mut self, id: &str, lost: u64, reason: &str) {
        if lost > 0 {
            let number = self.cursor.number(id).unwrap_or_default();
            self.cursor.set(id, number.saturating_add(lost));
            self.gap(id, lost, reason.to_owned());
        }
    }

    fn gap(&mut self, id: &str, lost: u64, reason: String) {
        self.say(Message::Gap(v1::EventGap { manager_id: id.to_owned(), lost, reason }));
    }

    fn bookmark(&mut self) {
        let unreachable_managers = self.unreachable.values().cloned().collect();
        self.say(Message::Bookmark(v1::EventBookmark { unreachable_managers }));
    }

    fn say(&mut self, message: Message) {
        self.ready.push_back(v1::WatchEventsResponse { cursor: self.cursor.to_string(), message: Some(message) });
    }
}

/// Where a manager is read on, and what is wanted of it: of one that has yet to be read, what has happened since the watching
/// began.
fn place(cursor: &Cursor, filter: &Filter, id: &str) -> (u64, Filter) {
    let filter = filter.clone();
    match cursor.number(id) {
        Some(number) => (number, filter),
        None => (0, filter.since(Some(cursor.began()))),
    }
}

/// Asks for what comes next of another manager.
fn request(cursor: &Cursor, filter: &Filter, id: &str) -> v1::CollectEventsRequest {
    let (after, filter) = place(cursor, filter, id);
    v1::CollectEventsRequest { manager_id: id.to_owned(), after: Some(after), ..filter.to_wire() }
}
