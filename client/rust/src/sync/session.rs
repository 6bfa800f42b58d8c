//! One stream, from hello to its end.
//!
//! Reading never waits for writing: answers are kept, the latest of each service, until there is room on the way out.
//! The first error of the stream is its end, and so is silence.

use super::apply::{applied, receive};
use super::message::{FromManager, Hello, ToManager};
use super::outbox::{Outbox, channel};
use super::report::{Pending, Reporter};
use super::{Down, Transport};
use crate::client::Shared;
use crate::panics::Panicked;
use crate::registry::News;
use crate::runtime::{Tokio, random_part};
use cofferdam_core::runtime::Runtime;
use futures_util::{Stream, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// A stream that says nothing for so long is dead: three times the interval of a manager's bookmarks.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// How often there is a report, where there is something to report.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a stream may take to end once there is nothing more to say, or nobody to take it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a stream ends that says nothing.
const SILENT: &str = "the manager has fallen silent";
/// Why a stream ends that takes nothing.
const DEAF: &str = "the manager has stopped listening";
/// Why a stream ends that is to stop.
const STOPPED: &str = "shut down";

/// How a stream ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) reason: String,
    /// For how long it went on after the manager's first answer. `None`: there was none.
    pub(super) answered_for: Option<Duration>,
    /// Within which time to come again, where the manager asked for it.
    pub(super) come_again_within: Option<Duration>,
    /// How long it said that it is not worth coming again, where it refused the stream.
    pub(super) retry_after: Option<Duration>,
    /// Over how much time all of its instances are to come back, as it last said.
    pub(super) window: Option<Duration>,
}

impl Ended {
    /// The end of a stream that the SDK panicked over. It does not count as answered: one that does so every time is
    /// opened ever more rarely.
    pub(super) fn by(Panicked { message }: &Panicked) -> Self {
        let reason = format!("the SDK panicked over the stream, which is a bug of it: {message}");
        Self { reason, answered_for: None, come_again_within: None, retry_after: None, window: None }
    }
}

struct Session<'a> {
    shared: &'a Shared,
    reporter: &'a mut Reporter,
    outbox: Outbox,
    /// Whether the transport still takes messages.
    is_open: bool,
    /// Whether it is time to say which services have taken the place of others.
    is_turning_over: bool,
    /// Answers to send, the latest of each service.
    answers: BTreeMap<Arc<str>, ToManager>,
    /// The last report, and its number, until it is taken.
    pending: Option<(u64, Pending)>,
    reports: u64,
    /// When the manager first said anything.
    answered: Option<Instant>,
    /// As in [`Ended`].
    window: Option<Duration>,
}

/// Opens a stream, which may take so long, and follows it to its end, or until it is to stop.
pub(super) async fn run<T: Transport>(
    shared: &Shared,
    transport: &mut T,
    patience: Duration,
    reporter: &mut Reporter,
    stop: &CancellationToken,
) -> Ended {
    let mut services = shared.registry.watch();
    let (outbox, outbound) = channel();
    let mut session = Session::new(shared, reporter, outbox);
    session.say_hello();

    let opened = tokio::select! {
        () = stop.cancelled() => return session.ended(STOPPED),
        opened = timeout(patience, transport.open(outbound)) => opened,
    };
    let mut inbound = match opened {
        Ok(Ok(inbound)) => inbound,
        Ok(Err(down)) => return session.ended_by(down),
        Err(_) => return session.ended("the manager does not answer"),
    };

    let begin = Instant::now();
    let mut silence = std::pin::pin!(sleep_until(begin + SILENCE));
    let mut next_report = std::pin::pin!(sleep_until(begin + random_part(REPORT_INTERVAL)));
    loop {
        tokio::select! {
            () = stop.cancelled() => {
                session.bid_farewell(inbound).await;
                return session.ended(STOPPED);
            }
            received = inbound.next() => match received {
                Some(Ok(FromManager::Reconnect { within })) => {
                    session.bid_farewell(inbound).await;
                    let ended = session.ended("the manager asked to come again");
                    return Ended { come_again_within: Some(within), ..ended };
                }
                Some(Ok(message)) => {
                    if session.is_open {
                        silence.as_mut().reset(Instant::now() + SILENCE);
                    }
                    session.receive(message, transport.address());
                }
                Some(Err(down)) => return session.ended_by(down),
                None => return session.ended("the manager ended the stream"),
            },
            () = &mut silence => {
                let reason = if session.is_open { SILENT } else { DEAF };
                return session.ended(reason);
            }
            () = session.outbox.closed(), if session.is_open => {
                // As a rule the stream is about to end, and has the reason still to tell.
                session.is_open = false;
                silence.as_mut().reset(Instant::now() + FAREWELL);
            }
            true = session.outbox.room(), if session.has_something_to_say() => session.say_next(),
            () = &mut next_report => {
                session.is_turning_over = session.shared.registry.has_gone();
                session.report();
                next_report.as_mut().reset(Instant::now() + REPORT_INTERVAL);
            }
            Ok(()) = services.changed() => {}
            () = shared.containment.refused() => session.refuse_contained(),
        }
    }
}

impl<'a> Session<'a> {
    fn new(shared: &'a Shared, reporter: &'a mut Reporter, outbox: Outbox) -> Self {
        reporter.begin_stream();
        Self {
            shared,
            reporter,
            outbox,
            is_open: true,
            is_turning_over: false,
            answers: BTreeMap::new(),
            pending: None,
            reports: 0,
            answered: None,
            window: None,
        }
    }

    fn say_hello(&mut self) {
        let services = self.shared.registry.begin_stream();
        let identity = &self.shared.identity;
        let hello = Hello {
            instance_id: identity.instance_id.clone(),
            application: identity.application.clone(),
            namespace: identity.namespace.clone(),
            labels: identity.labels.clone(),
            services: services.iter().map(|service| Arc::clone(&service.name)).collect(),
            applied: services.iter().filter_map(|service| applied(service)).collect(),
        };
        self.outbox.try_send(ToManager::Hello(hello));
    }

    fn receive(&mut self, message: FromManager, manager: &Arc<str>) {
        if self.answered.is_none() {
            self.answered = Some(Instant::now());
            self.shared.link.connected(manager);
        }
        self.shared.link.heard();
        if let FromManager::Complete(Some(window)) | FromManager::Bookmark(Some(window)) = &message {
            self.window = Some(*window);
        }
        if let Some((service, answer)) = receive(self.shared, message) {
            self.answers.insert(service, answer);
        }
    }

    /// Says what was put back. Before anything was answered, the manager will send it, and is told then.
    fn refuse_contained(&mut self) {
        for (name, mut refusal) in self.shared.containment.take_refusals() {
            // Since then, the manager may have sent another policy: that is what is in force, and the answer to it stays.
            if let (ToManager::Refused { in_force, .. }, Some(service)) =
                (&mut refusal, self.shared.registry.find(&name))
            {
                *in_force = applied(&service);
            }
            if self.answers.get(&name).is_none_or(|answer| answer.revision() <= refusal.revision()) {
                self.answers.insert(name, refusal);
            }
        }
    }

    fn has_something_to_say(&self) -> bool {
        self.is_open && (!self.answers.is_empty() || self.may_ask())
    }

    /// Whether there are services to ask for, or to ask for no more. Where services take each other's places there is
    /// no end of them: then only now and then, and most have come and gone without a word.
    fn may_ask(&self) -> bool {
        let registry = &self.shared.registry;
        self.is_turning_over || (registry.has_new() && !registry.has_gone())
    }

    /// Says the next thing, now that there is room for it.
    fn say_next(&mut self) {
        if !self.is_open {
            return;
        }
        if self.may_ask() {
            self.is_turning_over = false;
            let News { services, gone } = self.shared.registry.news();
            let services: Vec<_> = services.iter().map(|service| Arc::clone(&service.name)).collect();
            // What was named may have gone again.
            if !services.is_empty() || !gone.is_empty() {
                self.outbox.try_send(ToManager::Subscribe { services, gone });
            }
        } else if let Some((_, answer)) = self.answers.pop_first() {
            self.outbox.try_send(answer);
        }
    }

    /// Queues a report, where there is room, something to report, and no report under way.
    fn report(&mut self) {
        self.settle();
        if self.pending.is_some() {
            return;
        }
        // Services that the manager has not been asked for would be news to it.
        let asked = self.shared.registry.asked();
        let Some((report, pending)) = self.reporter.compose(&asked, Tokio.now(), self.reports + 1) else {
            return;
        };
        if let Some(number) = self.outbox.try_send(ToManager::Report(report)) {
            self.reports += 1;
            self.pending = Some((number, pending));
        }
    }

    /// Commits the last report once the transport has taken it.
    fn settle(&mut self) {
        if let Some((_, pending)) = self.pending.take_if(|(number, _)| self.outbox.is_taken(*number)) {
            self.reporter.commit(pending);
        }
    }

    /// Sends the last answers and a last report, says that there is no more, and waits a moment for the manager to end
    /// the stream: then it has read everything.
    async fn bid_farewell<S: Stream + Unpin>(&mut self, mut inbound: S) {
        let goodbye = async {
            while self.has_something_to_say() {
                self.is_open = self.outbox.room().await;
                self.say_next();
            }
            if self.outbox.drained().await {
                self.report();
            }
            self.outbox.close();
            while inbound.next().await.is_some() {}
        };
        // Whether it took too long or not, what was taken is settled as the session ends.
        let _ = timeout(FAREWELL, goodbye).await;
    }

    fn ended_by(self, Down { reason, retry_after }: Down) -> Ended {
        Ended { retry_after, ..self.ended(reason) }
    }

    fn ended(mut self, reason: impl Into<String>) -> Ended {
        self.settle();
        self.shared.registry.end_stream();
        Ended {
            reason: reason.into(),
            answered_for: self.answered.map(|answered| answered.elapsed()),
            come_again_within: None,
            retry_after: None,
            window: self.window,
        }
    }
}
