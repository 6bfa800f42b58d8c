//! One stream of events.
//!
//! It is a state that is asked for its next message, and is asked only while the transport has room for one. What it has
//! at hand is one page of one manager at most.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::v1::{self, peer_service_client::PeerServiceClient, watch_events_response::Message};
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
    events::{Cursor, Events, Filter, number_of},
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
    /// When it began, and whether it goes on where another one was.
    began: SystemTime,
    is_resumed: bool,
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
    /// What was read of managers that were given up, in case that they come back.
    given_up: BTreeMap<String, u64>,
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
        let (last, began) = (events.last(), events.now());
        let own = events.manager_id().to_owned();
        let (is_resumed, is_now) = (matches!(start, Start::After(_)), matches!(start, Start::Now));
        let (cursor, filter) = match start {
            Start::Now => (Cursor { read: BTreeMap::from([(own, *last.borrow())]) }, filter),
            Start::Since(since) => (Cursor { read: BTreeMap::from([(own, 0)]) }, filter.since(Some(since))),
            Start::After(mut cursor) => {
                cursor.read.entry(own).or_default();
                (cursor, filter)
            }
        };
        let watch = Self {
            events,
            peers,
            filter,
            began,
            is_resumed,
            cursor,
            last,
            asked: FuturesUnordered::new(),
            asking: BTreeSet::new(),
            ended: BTreeSet::new(),
            unreachable: BTreeMap::new(),
            missing: BTreeMap::new(),
            given_up: BTreeMap::new(),
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

    /// Asks all others where they are, so that the first cursor names them.
    async fn greet(&mut self, is_now: bool) {
        let Self { peers, cursor, filter, .. } = &*self;
        let parts = peers.ask(|mut client, id| {
            let known = cursor.read.get(&id).copied();
            let after = if is_now { known } else { Some(known.unwrap_or_default()) };
            let request = v1::CollectEventsRequest { manager_id: id, after, ..filter.to_wire() };
            async move { client.collect_events(request).await }
        });
        let parts = parts.await;
        // This one itself is among them while it does not know the others yet: they are found, and asked, as they come.
        let others = parts.unreachable.into_iter().filter(|manager| manager.id != self.events.manager_id());
        self.unreachable = others.map(|manager| (manager.id.clone(), manager)).collect();
        // Ahead of all that is told: whoever breaks off at once goes on from the same place.
        let mut at = self.cursor.clone();
        for (id, part) in &parts.parts {
            at.read.entry(id.clone()).or_insert(if is_now { part.through } else { 0 });
        }
        self.cursor = at;
        self.bookmark();
        for (id, part) in parts.parts {
            self.heard(&id, part);
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
            let page = self.events.after(self.cursor.read.get(&own).copied().unwrap_or_default(), PAGE, &self.filter);
            self.lost(&own, page.lost, "they are kept no more: there were too many after them");
            for event in &page.events {
                self.tell(&own, v1::Event::clone(event));
            }
            self.cursor.read.insert(own, page.through);
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

    /// Asks all who are there and are not asked, and gives up those who are not.
    fn look(&mut self) {
        let present = self.peers.all();
        let own = self.events.manager_id().to_owned();
        for (id, _, channel) in &present {
            self.missing.remove(id);
            if let Some(number) = self.given_up.remove(id) {
                self.cursor.read.insert(id.clone(), number);
            }
            if !self.asking.contains(id) && !self.ended.contains(id) {
                self.ask(id, channel.clone());
            }
        }
        let is_there = |id: &String| *id == own || present.iter().any(|(other, _, _)| other == id);
        let absent: Vec<_> = self.cursor.read.keys().filter(|id| !is_there(id)).cloned().collect();
        let is_alone = self.peers.id().is_empty();
        let mut was_unreachable = self.unreachable.len();
        self.unreachable.retain(|id, _| is_there(id));
        was_unreachable -= self.unreachable.len();
        for id in absent {
            if self.ended.remove(&id) {
                self.cursor.read.remove(&id);
                continue;
            }
            let since = *self.missing.entry(id.clone()).or_insert_with(Instant::now);
            if is_alone || since.elapsed() >= MISSING_FOR {
                self.missing.remove(&id);
                if let Some(number) = self.cursor.read.remove(&id) {
                    self.given_up.insert(id.clone(), number);
                    let reason =
                        format!("the manager is gone: what it had to tell after its event {number} is not known");
                    self.gap(&id, 0, reason);
                }
            }
        }
        if was_unreachable > 0 {
            self.bookmark();
        }
    }

    fn ask(&mut self, id: &str, channel: Option<Channel>) {
        let known = self.cursor.read.get(id).copied();
        let mut filter = self.filter.clone();
        if known.is_none() && !self.is_resumed {
            // It was not to be reached when this began.
            filter = filter.or_since(self.began);
        }
        let request = v1::CollectEventsRequest {
            manager_id: id.to_owned(),
            after: Some(known.unwrap_or_default()),
            wait: Some(duration_to_wire(WAIT)),
            ..filter.to_wire()
        };
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
        for event in answer.events {
            self.tell(id, event);
        }
        self.cursor.read.insert(id.to_owned(), answer.through);
        if answer.closed && !answer.has_more {
            self.ended.insert(id.to_owned());
        }
    }

    fn away(&mut self, id: &str, reason: String) {
        let manager = self.peers.doubt(id, reason);
        if self.unreachable.insert(id.to_owned(), manager).is_none() {
            self.bookmark();
        }
    }

    fn tell(&mut self, id: &str, event: v1::Event) {
        if let Some(number) = number_of(&event) {
            self.cursor.read.insert(id.to_owned(), number);
        }
        self.say(Message::Event(event));
    }

    fn lost(&mut self, id: &str, lost: u64, reason: &str) {
        if lost > 0 {
            let read = self.cursor.read.entry(id.to_owned()).or_default();
            *read = read.saturating_add(lost);
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
