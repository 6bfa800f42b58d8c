//! Events, posted to whoever wants them: each as JSON, in their order, at least once.
//!
//! There is no queue: a webhook reads the manager's ring of events ([`Events`]) from a place of its own, as watchers do. While
//! its receiver is away it waits where it is, and what the ring has let go meanwhile is counted and told in the log. Each
//! manager posts what it tells itself, so of several managers one posts each event.
//!
//! A receiver is told who and what by the headers of [Standard Webhooks](https://www.standardwebhooks.com): `webhook-id` is
//! the event's, the same at each attempt; `webhook-timestamp`; and with a secret `webhook-signature`, `v1,` and the HMAC-SHA256
//! of id, timestamp and body. Neither secrets nor what stands in a URL behind the host are ever written to the log.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use cofferdam_proto::{FILE_DESCRIPTOR_SET, json::Ordered, v1};
use http::{StatusCode, Uri};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::events::{Events, Filter, number_of};

mod client;
mod secret;

pub(crate) use self::{
    client::{Client, Trust},
    secret::{NoSecret, Secret},
};

use self::client::Answer;

/// Events that are taken out of the ring in one go.
const PAGE: usize = 64;

/// The longest time that a receiver is waited for because it says so.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Where events are posted, and how.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    /// Where.
    pub(crate) url: Uri,
    /// Which.
    pub(crate) filter: Filter,
    /// What they are signed with; absent: they are not.
    pub(crate) secret: Option<Arc<Secret>>,
    /// How long an attempt may take. Default 10 s.
    pub(crate) timeout: Duration,
    /// How long an event is tried. Default 1 h.
    pub(crate) give_up_after: Duration,
    /// The longest pause after the first attempt; it doubles with each. Default 1 s.
    pub(crate) first_pause: Duration,
    /// The longest pause of all. Default 1 min.
    pub(crate) longest_pause: Duration,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            url: Uri::default(),
            filter: Filter::default(),
            secret: None,
            timeout: Duration::from_secs(10),
            give_up_after: Duration::from_secs(60 * 60),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// What became of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deliveries {
    /// Posted, and taken.
    pub(crate) posted: u64,
    /// Attempts that failed and were made again.
    pub(crate) retried: u64,
    /// Not taken in time, or refused for good.
    pub(crate) given_up: u64,
    /// Let go by the ring before their turn came.
    pub(crate) lost: u64,
}

/// Posts events to one receiver.
#[derive(Debug)]
pub(crate) struct Delivery {
    webhook: Webhook,
    client: Client,
    event: MessageDescriptor,
    events: Arc<Events>,
    deliveries: Mutex<Deliveries>,
    /// The number of the event that was begun with last: whoever goes on after a panic begins behind it.
    reached: AtomicU64,
}

/// Why an attempt failed.
struct Failure {
    why: String,
    /// When it is worth coming again; absent where the receiver does not say.
    after: Option<Duration>,
    is_final: bool,
}

impl Delivery {
    /// # Errors
    /// The contract of this program has no events, which cannot be.
    pub(crate) fn new(webhook: Webhook, client: Client, events: Arc<Events>) -> Result<Arc<Self>, String> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())?;
        let event = pool.get_message_by_name("cofferdam.v1.Event").ok_or("there is no cofferdam.v1.Event")?;
        let (deliveries, reached) = Default::default();
        Ok(Arc::new(Self { webhook, client, event, events, deliveries, reached }))
    }

    /// What became of events so far.
    pub(crate) fn so_far(&self) -> Deliveries {
        *self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts what is told, until the manager has told its last event.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut last = self.events.last();
        let mut at = self.reached.load(Ordering::Relaxed);
        // Until when the receiver wants to be left alone, whichever event comes next.
        let mut rest = Instant::now();
        loop {
            last.borrow_and_update();
            let page = self.events.after(at, PAGE, &self.webhook.filter);
            if page.lost > 0 {
                self.count(|deliveries| deliveries.lost += page.lost);
                let (receiver, lost) = (self.receiver(), page.lost);
                tracing::error!(receiver, lost, "events were not posted: the receiver was away for too long");
            }
            for event in &page.events {
                sleep_until(rest).await;
                self.reached.store(number_of(event).unwrap_or(at), Ordering::Relaxed);
                rest = self.post(event).await;
            }
            at = page.through;
            self.reached.store(at, Ordering::Relaxed);
            if page.has_more || !page.events.is_empty() {
                continue;
            }
            // An error says that there are no events any more, which there are while this holds them.
            if page.is_closed || last.changed().await.is_err() {
                let Deliveries { posted, retried, given_up, lost } = self.so_far();
                tracing::info!(receiver = self.receiver(), posted, retried, given_up, lost, "events were posted");
                return;
            }
        }
    }

    /// Posts an event until it is taken, refused, or its time is over. Returns from when on the receiver takes another one.
    async fn post(&self, event: &v1::Event) -> Instant {
        let body = match self.body(event) {
            Ok(body) => body,
            Err(error) => {
                self.count(|deliveries| deliveries.given_up += 1);
                tracing::error!(event = event.id, error, "an event cannot be written as JSON");
                return Instant::now();
            }
        };
        let since = Instant::now();
        let mut longest = self.webhook.first_pause;
        loop {
            let Failure { why, after, is_final } = match self.attempt(event, &body).await {
                Ok(()) => {
                    self.count(|deliveries| deliveries.posted += 1);
                    return Instant::now();
                }
                Err(failure) => failure,
            };
            // Full jitter: many managers that have lost one receiver do not come back as one.
            let pause = longest.mul_f64(rand::random());
            let after = after.unwrap_or_default().min(MAX_RETRY_AFTER);
            let pause = after + pause;
            longest = (longest * 2).min(self.webhook.longest_pause);
            let (receiver, id) = (self.receiver(), event.id.as_str());
            if is_final || since.elapsed() + pause > self.webhook.give_up_after {
                self.count(|deliveries| deliveries.given_up += 1);
                tracing::error!(receiver, event = id, why, "an event was not posted: given up");
                return Instant::now() + after;
            }
            self.count(|deliveries| deliveries.retried += 1);
            tracing::warn!(receiver, event = id, why, ?pause, "an event was not posted: tried again");
            sleep(pause).await;
        }
    }

    async fn attempt(&self, event: &v1::Event, body: &str) -> Result<(), Failure> {
        let again = |why: String| Failure { why, after: None, is_final: false };
        let now = self.events.now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let signature = self.webhook.secret.as_ref().map(|secret| secret.sign(&event.id, seconds, body));
        let posting = self.client.post(&self.webhook.url, &event.id, now, signature, body);
        match timeout(self.webhook.timeout, posting).await {
            Ok(Ok(Answer { status, .. })) if status.is_success() => Ok(()),
            Ok(Ok(Answer { status, retry_after })) => {
                // What a receiver says of the event itself. All else may be different in a minute: a proxy has its own words
                // for a receiver that is being started.
                let is_final = status.is_redirection()
                    || matches!(
                        status,
                        StatusCode::BAD_REQUEST
                            | StatusCode::GONE
                            | StatusCode::PAYLOAD_TOO_LARGE
                            | StatusCode::UNPROCESSABLE_ENTITY
                    );
                Err(Failure { why: format!("it answered {status}"), after: retry_after, is_final })
            }
            Ok(Err(error)) => Err(again(error)),
            Err(_) => Err(again(format!("no answer within {:?}", self.webhook.timeout))),
        }
    }

    fn body(&self, event: &v1::Event) -> Result<String, String> {
        let message = DynamicMessage::decode(self.event.clone(), event.encode_to_vec().as_slice());
        let message = message.map_err(|error| error.to_string())?;
        serde_json::to_string(&Ordered(&message)).map_err(|error| error.to_string())
    }

    /// As the log has it: what stands behind the host may be a secret.
    fn receiver(&self) -> &str {
        self.webhook.url.host().unwrap_or_default()
    }

    fn count(&self, change: impl FnOnce(&mut Deliveries)) {
        change(&mut self.deliveries.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests;
