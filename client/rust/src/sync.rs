//! Staying in step with the manager: one stream per process, opened again and again.
//!
//! No protected call waits for any of this. The task applies policies by swapping a pointer and reads counters that
//! calls have already written; with no manager, or a stuck one, calls go on by the last policy they had. A stream over
//! which the SDK panics is one that broke off.

mod apply;
mod backoff;
pub(crate) mod message;
mod outbox;
mod report;
mod rotation;
mod session;

#[cfg(test)]
mod tests;

pub(crate) use apply::applied;
pub(crate) use outbox::Outbound;

use crate::client::Shared;
use crate::panics::Panicked;
use crate::runtime::{Tokio, random_part};
use backoff::Backoff;
use cofferdam_core::runtime::Runtime;
use futures_util::{FutureExt, Stream};
use message::FromManager;
use report::Reporter;
use rotation::Rotation;
use session::Ended;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest time that a manager may ask an instance to stay away.
const MAX_WITHIN: Duration = Duration::from_secs(300);
/// The shortest one: a manager that sends everybody away at once must not be besieged.
const MIN_WITHIN: Duration = Duration::from_millis(100);

/// How long a manager may take to open a stream where there are others to go to.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no stream any more.
const GONE: &str = "the runtime that the stream ran on is gone";
/// The same, where its task panicked.
const PANICKED: &str = "the stream's task panicked: does its runtime have a timer and I/O (tokio's `enable_all`)?";

/// The way to a manager.
pub(crate) trait Transport: Send + 'static {
    /// What the manager says on one stream. The first error is the last item that is looked at.
    type Inbound: Stream<Item = Result<FromManager, Down>> + Send + Unpin;

    /// The manager's address, for people.
    fn address(&self) -> &Arc<str>;

    /// Opens a stream, on a connection of its own.
    fn open(&mut self, outbound: Outbound) -> impl Future<Output = Result<Self::Inbound, Down>> + Send;
}

/// Why a stream is down.
#[derive(Debug)]
pub(crate) struct Down {
    pub(crate) reason: String,
    /// The shortest time after which it is worth coming again, where the manager has said one.
    pub(crate) retry_after: Option<Duration>,
}

impl Down {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), retry_after: None }
    }
}

/// Keeps a process in step with one of its managers until it is to stop.
pub(crate) async fn run<T: Transport>(shared: Arc<Shared>, mut managers: Vec<T>, stop: CancellationToken) {
    let mut watch = Watch { shared: &shared, is_over: false };
    let mut backoff = Backoff::default();
    let mut reporter = Reporter::new(Tokio.now());
    let mut rotation = Rotation::new(managers.len());
    let is_alone = managers.len() <= 1;
    let patience = if is_alone { session::SILENCE } else { PATIENCE };
    while !stop.is_cancelled() {
        let Some(manager) = managers.get_mut(rotation.current()) else { break };
        let session = AssertUnwindSafe(session::run(&shared, manager, patience, &mut reporter, &stop)).catch_unwind();
        let mut ended = session.await.unwrap_or_else(|payload| Ended::by(&Panicked::new(&*payload)));
        if !is_alone {
            ended.reason = format!("{}: {}", manager.address(), ended.reason);
        }
        let is_expected = stop.is_cancelled() || ended.come_again_within.is_some();
        shared.link.disconnected(&ended.reason, is_expected);
        match (ended.come_again_within, ended.answered_for) {
            (Some(_), _) => backoff.reset(),
            (None, Some(time)) => backoff.lasted(time),
            (None, None) => {}
        }
        if let Some(window) = ended.window {
            backoff.spread_over(window.min(MAX_WITHIN));
        }
        let pause = if let Some(within) = ended.come_again_within {
            rotation.spread();
            random_part(within.clamp(MIN_WITHIN, MAX_WITHIN))
        } else if ended.answered_for.is_some() && ended.retry_after.is_none() {
            rotation.lose();
            backoff.pause()
        } else {
            match rotation.fail(ended.retry_after.map(not_before)) {
                None => continue,
                Some(shortest) => backoff.pause().max(shortest),
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    watch.is_over = true;
}

/// A time that ends at the time that a manager has said at the earliest, and not for all at once.
fn not_before(retry_after: Duration) -> Duration {
    let retry_after = retry_after.min(MAX_WITHIN);
    retry_after + random_part(retry_after)
}

/// Sees to it that a task that ends in any other way than its own, because its runtime was dropped or because of a
/// bug, leaves nobody in the belief that policies are current, or that somebody tries to get them.
struct Watch<'a> {
    shared: &'a Shared,
    is_over: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let reason = if std::thread::panicking() { PANICKED } else { GONE };
            self.shared.link.disconnected(reason, false);
        }
    }
}
