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
mod session;

#[cfg(test)]
mod tests;

pub(crate) use outbox::Outbound;

use crate::client::Shared;
use crate::panics::Panicked;
use crate::runtime::{Tokio, random_part};
use backoff::Backoff;
use cofferdam_core::runtime::Runtime;
use futures_util::{FutureExt, Stream};
use message::FromManager;
use report::Reporter;
use session::Ended;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The longest time that a manager may ask an instance to stay away.
const MAX_WITHIN: Duration = Duration::from_secs(300);
/// The shortest one: a manager that sends everybody away at once must not be besieged.
const MIN_WITHIN: Duration = Duration::from_millis(100);

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

/// Keeps a process in step with its manager until it is to stop.
pub(crate) async fn run<T: Transport>(shared: Arc<Shared>, mut transport: T, stop: CancellationToken) {
    let mut watch = Watch { shared: &shared, is_over: false };
    let mut backoff = Backoff::default();
    let mut reporter = Reporter::new(Tokio.now());
    while !stop.is_cancelled() {
        let session = AssertUnwindSafe(session::run(&shared, &mut transport, &mut reporter, &stop)).catch_unwind();
        let ended = session.await.unwrap_or_else(|payload| Ended::by(&Panicked::new(&*payload)));
        let is_expected = stop.is_cancelled() || ended.come_again_within.is_some();
        shared.link.disconnected(&ended.reason, is_expected);
        if ended.was_answered {
            backoff.reset();
        }
        if let Some(window) = ended.window {
            backoff.spread_over(window.min(MAX_WITHIN));
        }
        let pause = match ended.come_again_within {
            Some(within) => random_part(within.clamp(MIN_WITHIN, MAX_WITHIN)),
            None => backoff.pause().max(ended.retry_after.map_or(Duration::ZERO, not_before)),
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    watch.is_over = true;
}

/// A pause that ends at the time that a manager has said at the earliest, and not for all at once.
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
            self.shared.link.disconnected("the runtime that the stream ran on is gone", false);
        }
    }
}
