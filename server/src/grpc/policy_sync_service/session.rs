//! One instance's stream.
//!
//! A session is a state that is asked for its next answer, and is asked only while the transport has room for one. It
//! has no queue: what waits, waits in the mailbox, where a newer policy takes the place of an older one. Between two
//! answers it listens to whatever comes first: the instance, a change, the time for a bookmark, another stream of the
//! same instance, or the end of this manager.

use std::{collections::HashSet, pin::Pin, sync::Arc, time::Duration, vec};

use bytes::Bytes;
use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
};
use cofferdam_proto::v1::{self, sync_request::Message};
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Code, Status, Streaming};

use super::{
    LOG, MAX_MESSAGE_BYTES, Shared, frame,
    hello::{Hello, MAX_SERVICES},
    inbound::{self, Subscribe},
    together::Together,
};
use crate::{
    error::Error,
    fanout::{News, Subscription},
    grpc::{
        decode_errors::translate,
        error::{status, with_retry_after},
    },
    instances::Session as Place,
    peer::Peer,
    registry::{Change, Registered},
};

/// Messages that are taken in between two parts of the first answer.
const HEARD_MEANWHILE: usize = 64;

/// The answers to one instance.
pub(super) fn stream(
    shared: Arc<Shared>,
    inbound: Streaming<v1::SyncRequest>,
    peer: Peer,
) -> BoxStream<'static, Result<Bytes, Status>> {
    let greeting = async move {
        match Session::greet(shared, inbound, peer).await {
            Ok(session) => session.answers().boxed(),
            Err(status) => stream::once(async { Err(status) }).boxed(),
        }
    };
    stream::once(greeting).flatten().boxed()
}

struct Session {
    shared: Arc<Shared>,
    inbound: Streaming<v1::SyncRequest>,
    /// Whether the instance may still say something.
    is_listening: bool,
    /// Whether it has nothing more to hear once it has nothing more to say: an SDK ends its own side to say goodbye,
    /// and waits for this end. Who says no SDK, such as grpcurl, ends its side for want of more input, and listens on.
    ends_with_goodbye: bool,
    namespace: Name,
    follows_all: bool,
    follows: HashSet<ServiceKey>,
    place: Place,
    subscription: Subscription,
    /// What was asked for and is still to be said.
    opening: vec::IntoIter<Change>,
    /// Ends the first answer.
    complete: Option<Revision>,
    last_report: u64,
    /// The one timer: for the next bookmark, for the end of the stream's time, for the end of a farewell.
    timer: Pin<Box<Sleep>>,
    /// When its time is over. `None`: never.
    expires: Option<Instant>,
    /// Whether it was asked to come again, and is only listened to.
    is_leaving: bool,
    /// Asked each time that something happens: so they are made once, and none waits in one line with all others.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    replaced: Pin<Box<WaitForCancellationFutureOwned>>,
    has_ended: bool,
}

/// Reports that may be missing between two: a year's of one a second. Numbers that grow by more count something else.
const MOST_MISSED: u64 = 1 << 25;

/// What a session does next.
enum Step {
    /// Says this.
    Say(Bytes),
    /// Ends.
    End,
    /// Ends with an error.
    Fail(Status),
    /// Listens on.
    Listen,
}

impl Session {
    async fn greet(
        shared: Arc<Shared>,
        mut inbound: Streaming<v1::SyncRequest>,
        peer: Peer,
    ) -> Result<Box<Self>, Status> {
        let first = tokio::select! {
            first = tokio::time::timeout(shared.options.hello_timeout, inbound.message()) => first,
            () = shared.drain.cancelled() => return Err(status(&Error::ShuttingDown)),
        };
        let no_hello = || status(&Error::invalid("hello", "must be the first message of the stream"));
        let first = first.map_err(|_| no_hello())?.map_err(of_the_transport)?;
        let Some(Message::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(no_hello());
        };
        let hello = Hello::read(hello).map_err(|error| status(&error))?;
        let (id, from) = (&hello.instance_id, peer.address);
        let place = shared.instances.connect_from(id, &hello.application, hello.namespace.clone(), Some(from));
        let too_many = |error: Error| with_retry_after(&error, Some(shared.reconnect_within()));
        let place = place.map_err(too_many)?;
        place.names_sdk(&hello.sdk);
        tracing::debug!(
            target: LOG,
            instance = hello.instance_id,
            peer = %peer.address,
            application = hello.application,
            namespace = %hello.namespace,
            sdk = hello.sdk,
            services = hello.services.len(),
            "instance connected",
        );
        let (instance, address) = (hello.instance_id.clone(), peer.address);
        Self::open(Arc::clone(&shared), inbound, peer, hello, place).map_err(|error| {
            tracing::warn!(target: LOG, instance, peer = %address, %error, "an instance is refused");
            too_many(error)
        })
    }

    fn open(
        shared: Arc<Shared>,
        inbound: Streaming<v1::SyncRequest>,
        peer: Peer,
        hello: Hello,
        place: Place,
    ) -> Result<Box<Self>, Error> {
        let Hello { namespace, mut services, all_services, applied, sdk, .. } = hello;
        if all_services {
            // What it has and the registry has not is gone: it must hear of that, too.
            services.extend(applied.keys().cloned());
            services.sort();
            services.dedup();
        }
        let mut subscription = shared.registry.subscribe(peer.hang_up);
        let opening = shared.registry.follow(&mut subscription, &services, all_services.then_some(&namespace));
        place.follow(opening.followed())?;
        for (key, (revision, _)) in &applied {
            shared.registry.heard_of(key, *revision);
        }
        let is_news = |change: &Change| match change {
            Change::Updated(registered) => {
                let has = |registered: &Registered| {
                    let current = (registered.revision(), registered.policy_hash());
                    let has_it = applied.get(registered.key()) == Some(&current);
                    if has_it {
                        place.applied(registered.key(), current.0, current.1);
                    }
                    has_it
                };
                let in_place = || shared.registry.in_place_of(registered);
                !has(registered) && !in_place().is_some_and(|in_place| has(&in_place))
            }
            Change::Removed { .. } => true,
        };
        let news: Vec<_> = opening.changes.into_iter().filter(is_news).collect();
        // The first one comes at a random time, so that streams that began together are not told together for ever.
        let first = shared.options.bookmark_interval.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        let now = Instant::now();
        let expires = age(shared.options.max_age, rand::random()).map(|age| now + age);
        Ok(Box::new(Self {
            inbound,
            is_listening: true,
            ends_with_goodbye: !sdk.is_empty(),
            namespace,
            follows_all: all_services,
            follows: services.into_iter().collect(),
            drained: Box::pin(shared.drain.child_token().cancelled_owned()),
            replaced: Box::pin(place.ended().cancelled_owned()),
            place,
            subscription,
            opening: news.into_iter(),
            complete: Some(opening.head),
            last_report: 0,
            timer: Box::pin(tokio::time::sleep_until(sooner(now + first, expires))),
            expires,
            is_leaving: false,
            has_ended: false,
            shared,
        }))
    }

    fn answers(self: Box<Self>) -> impl futures_core::Stream<Item = Result<Bytes, Status>> + Send {
        stream::unfold(self, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        if self.has_ended {
            return None;
        }
        loop {
            match self.step().await {
                Step::Say(answer) => return Some(Ok(answer)),
                Step::Fail(status) => {
                    self.has_ended = true;
                    return Some(Err(status));
                }
                Step::End => return None,
                Step::Listen => {}
            }
        }
    }

    async fn step(&mut self) -> Step {
        if self.is_leaving {
            return self.take_leave().await;
        }
        if self.shared.drain.is_cancelled() {
            return self.reconnect();
        }
        if let Some(step) = self.tell_first() {
            return step;
        }
        tokio::select! {
            biased;
            () = &mut self.drained => self.reconnect(),
            () = &mut self.replaced => self.give_way(),
            news = self.subscription.next() => match news {
                Ok(News::Change(change)) => self.changed(change),
                Ok(News::Hint(hint)) => frame::hint(&hint, Instant::now()).map_or(Step::Listen, Step::Say),
                Err(overrun) => {
                    tracing::warn!(target: LOG, instance = self.place.instance_id(), "{overrun}: asked to come again");
                    self.reconnect()
                }
            },
            message = self.inbound.message(), if self.is_listening => self.heard(message),
            () = &mut self.timer => self.on_time(),
        }
    }

    /// The next part of the first answer, until all of it has been said.
    fn tell_first(&mut self) -> Option<Step> {
        if self.opening.as_slice().is_empty() && self.complete.is_none() {
            return None;
        }
        // An instance may acknowledge while it is still being told: it must not have to wait for our last word.
        for _ in 0..HEARD_MEANWHILE {
            if !self.is_listening {
                break;
            }
            let Some(message) = self.inbound.message().now_or_never() else { break };
            match self.heard(message) {
                Step::Listen | Step::Say(_) => {}
                step @ (Step::End | Step::Fail(_)) => return Some(step),
            }
        }
        let mut answers = Together::default();
        while answers.has_room()
            && let Some(change) = self.opening.next()
        {
            self.tell(change, &mut answers);
        }
        if answers.has_room()
            && let Some(head) = self.complete.take()
        {
            answers.add(frame::complete(head, self.shared.reconnect_window()));
        }
        answers.into_bytes().map(Step::Say)
    }

    /// After it was asked to come again: listens to its last words.
    async fn take_leave(&mut self) -> Step {
        if !self.is_listening {
            return Step::End;
        }
        tokio::select! {
            biased;
            // Where it comes again while it says its last words here, that is what it was asked for.
            () = &mut self.replaced => Step::End,
            message = self.inbound.message() => self.heard(message),
            () = &mut self.timer => Step::End,
        }
    }

    /// Ends for another stream of the same instance, and says so: where that is another process, nobody could tell
    /// otherwise why the two keep losing their streams.
    fn give_way(&self) -> Step {
        let id = self.place.instance_id();
        let from = self.place.successor().map_or_else(String::new, |address| format!(" from {address}"));
        tracing::info!(target: LOG, instance = id, "another stream{from} took this instance's place");
        Step::Fail(Status::aborted(format!(
            "another stream{from} has taken over the instance id {id:?}: each process needs an id of its own"
        )))
    }

    fn on_time(&mut self) -> Step {
        let now = Instant::now();
        if self.expires.is_some_and(|expires| expires <= now) {
            tracing::debug!(target: LOG, instance = self.place.instance_id(), "the stream is old: asked to come again");
            return self.reconnect();
        }
        self.timer.as_mut().reset(sooner(now + self.shared.options.bookmark_interval, self.expires));
        // What waits for it is a sign of life as good, and a bookmark ahead of it would not be true.
        match self.shared.registry.head_told(&self.subscription) {
            Some(head) => Step::Say(frame::bookmark(head, self.shared.reconnect_window())),
            None => Step::Listen,
        }
    }

    /// Tells a change, and those that wait behind it.
    fn changed(&self, first: Change) -> Step {
        let mut answers = Together::default();
        let mut next = Some(first);
        while let Some(change) = next {
            if let Err(error) = self.take_note_of(&change) {
                return Step::Fail(status(&error));
            }
            self.tell(change, &mut answers);
            // A mailbox that was closed says so when it is asked again.
            next = if answers.has_room() { self.subscription.try_next().ok().flatten() } else { None };
        }
        answers.into_bytes().map_or(Step::Listen, Step::Say)
    }

    fn take_note_of(&self, change: &Change) -> Result<(), Error> {
        if self.follows_all {
            match change {
                Change::Updated(_) => self.place.follow([change.followed()])?,
                Change::Removed { key, .. } if !self.follows.contains(key) => self.place.unfollow(key),
                Change::Removed { .. } => {}
            }
        }
        Ok(())
    }

    /// Adds a change, or in the place of a contained policy what is handed out then.
    fn tell(&self, change: Change, answers: &mut Together) {
        if let Some(change) = self.shared.registry.hand_out(change) {
            answers.add(frame::change(&change));
        }
    }

    /// Asks it to come again.
    fn reconnect(&mut self) -> Step {
        self.is_leaving = true;
        self.timer.as_mut().reset(Instant::now() + self.shared.options.farewell);
        Step::Say(frame::reconnect(self.shared.reconnect_within()))
    }

    /// Takes note of what the instance says. A stream that fails once fails for ever, so its first error ends it.
    fn heard(&mut self, message: Result<Option<v1::SyncRequest>, Status>) -> Step {
        let request = match message {
            Ok(Some(request)) => request,
            Ok(None) => {
                // It has nothing more to say and may still want to hear.
                self.is_listening = false;
                // Whoever was asked to come again is expected back.
                if !self.is_leaving {
                    self.place.says_goodbye();
                }
                return if self.ends_with_goodbye { Step::End } else { Step::Listen };
            }
            Err(status) => {
                let status = of_the_transport(status);
                // Otherwise a connection broke off, and nobody is at fault.
                if matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted | Code::OutOfRange) {
                    self.warn(status.message());
                }
                return Step::Fail(status);
            }
        };
        match self.note(request) {
            Ok(()) => Step::Listen,
            Err(error) => {
                self.warn(&error.to_string());
                Step::Fail(status(&error))
            }
        }
    }

    /// The instance is silent from now on, and convergence waits for it: whoever looks after it has to learn why.
    fn warn(&self, error: &str) {
        let (instance, namespace) = (self.place.instance_id(), &self.namespace);
        tracing::warn!(target: LOG, instance, %namespace, error, "an instance's stream is ended for what it said");
    }

    fn note(&mut self, request: v1::SyncRequest) -> Result<(), Error> {
        match request.message {
            Some(Message::Hello(_)) => Err(Error::invalid("hello", "must be said once")),
            Some(Message::Subscribe(message)) => self.subscribe(&message),
            Some(Message::Ack(message)) => inbound::ack(&self.namespace, &self.place, &self.shared.registry, &message),
            Some(Message::Nack(message)) => inbound::nack(&self.namespace, &self.place, &self.shared, &message),
            Some(Message::Report(v1::SyncReport { sequence: 0, .. })) => {
                Err(Error::invalid("report.sequence", "must be set: it counts the reports of this stream from 1"))
            }
            // A report that was sent again says nothing new.
            Some(Message::Report(message)) if message.sequence <= self.last_report => Ok(()),
            Some(Message::Report(message)) => {
                let missed = message.sequence - self.last_report - 1;
                if missed > MOST_MISSED {
                    let text =
                        format!("must be the number of the report of this stream: {} is the last", self.last_report);
                    return Err(Error::invalid("report.sequence", text));
                }
                if missed > 0 {
                    self.place.missed_reports(missed);
                }
                self.last_report = message.sequence;
                inbound::report(&self.namespace, &self.place, &self.shared.registry, &message)
            }
            // Of a later release: nothing that an answer depends on.
            None => Ok(()),
        }
    }

    fn subscribe(&mut self, message: &v1::SyncSubscribe) -> Result<(), Error> {
        let Subscribe { services: mut keys, unfollow } = inbound::subscribe(&self.namespace, message)?;
        if !unfollow.is_empty() {
            self.unfollow(unfollow);
        }
        keys.retain(|key| !self.follows.contains(key));
        if self.follows.len() + keys.len() > MAX_SERVICES {
            return Err(Error::QuotaExceeded {
                quota: "services of one instance",
                limit: MAX_SERVICES.to_string(),
                remedy: "follow all services of the namespace instead",
            });
        }
        let opening = self.shared.registry.follow(&mut self.subscription, &keys, None);
        self.place.follow(opening.followed())?;
        self.follows.extend(keys);
        let waiting = std::mem::take(&mut self.opening);
        self.opening = waiting.chain(opening.changes).collect::<Vec<_>>().into_iter();
        Ok(())
    }

    fn unfollow(&mut self, mut keys: Vec<ServiceKey>) {
        keys.retain(|key| self.follows.remove(key));
        for key in &keys {
            self.subscription.unfollow(key);
        }
        let registry = &self.shared.registry;
        keys.retain(|key| !self.follows_all || registry.get(key).is_none());
        for key in &keys {
            self.place.unfollow(key);
            // Names of unregistered services have no end; the sums of the others are kept.
            if registry.get(key).is_none() {
                self.shared.instances.forget(key);
            }
        }
        let unfollowed: HashSet<_> = keys.into_iter().collect();
        let waiting = std::mem::take(&mut self.opening);
        self.opening = waiting.filter(|change| !unfollowed.contains(change.key())).collect::<Vec<_>>().into_iter();
    }
}

/// How long a stream lasts, by chance from 0 to 1: ten percent less or more, so that streams that began together do not
/// end together. `None`: for ever.
fn age(max_age: Duration, random: f64) -> Option<Duration> {
    (!max_age.is_zero()).then(|| max_age.mul_f64(0.9 + random / 5.0))
}

fn sooner(at: Instant, or: Option<Instant>) -> Instant {
    or.map_or(at, |or| at.min(or))
}

/// The status of a message that did not come, in the contract's words where it was one that cannot be decoded.
fn of_the_transport(status: Status) -> Status {
    translate(&status, MAX_MESSAGE_BYTES).unwrap_or(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_end_ten_percent_sooner_or_later() {
        let hour = Duration::from_secs(3600);
        let ages = [0.0, 0.5, 1.0].map(|random| age(hour, random).unwrap().as_secs());
        assert_eq!(ages, [3240, 3600, 3960]);
        assert_eq!(age(Duration::ZERO, 0.5), None);
    }
}
