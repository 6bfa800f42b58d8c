//! An attempt under way.

use super::attempts::Begun;
use super::leave::Leave;
use super::tally::AttemptTally;
use super::timeout::Elapsed;
use super::{Attempt, Call};
use crate::breaker::Admission;
use crate::bulkhead::Permit;
use crate::outcome::Outcome;
use crate::runtime::Runtime;
use crate::time::Timestamp;
use pin_project_lite::pin_project;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pin_project! {
    /// An attempt under way, for at most its limit. Dropping it cancels the operation and then gives back what it holds.
    pub(super) struct Running<'c, 'a, R: Runtime, F> {
        // `None`: it has ended.
        #[pin]
        future: Option<F>,
        // Made when the operation has to be waited for.
        #[pin]
        timer: Option<R::Sleep>,
        limit: Option<Duration>,
        held: Held<'c, 'a, R>,
    }
}

/// How far an attempt has come.
pub(super) enum Step<T> {
    /// It has ended.
    Ended(Result<T, Elapsed>),
    /// It still runs after so long.
    Slow(Duration),
}

/// What an attempt holds.
///
/// It counts a panic of the operation as a failure of the service: it unwinds through the call like a cancellation, but
/// an operation that panics at every attempt must trip the breaker. A panic elsewhere in the caller's task, which drops
/// the call as well, is a cancellation.
pub(super) struct Held<'c, 'a, R: Runtime> {
    call: &'c Call<'a, R>,
    pub(super) leave: Leave<'a>,
    pub(super) tally: Option<AttemptTally<'a>>,
    pub(super) place: Option<Permit>,
    /// When the attempt began.
    pub(super) since: Timestamp,
    /// Its number, from 1.
    pub(super) number: u32,
    /// Whether it was started beside another one.
    pub(super) is_hedge: bool,
    /// Whether the operation had to be waited for.
    pub(super) has_waited: bool,
    /// Whether the operation's code has begun to run and not come back.
    is_in_operation: bool,
}

impl<'c, 'a, R: Runtime, F: Future> Running<'c, 'a, R, F> {
    /// Begins what `start` makes of an operation.
    #[inline(always)]
    pub(super) fn new<O>(
        call: &'c Call<'a, R>,
        begun: Begun<'a>,
        operation: &mut O,
        start: impl FnOnce(&mut O, Attempt) -> F,
        attempt: Attempt,
    ) -> Self {
        let Begun { place, leave, since, limit } = begun;
        let tally = Some(AttemptTally::begin(&call.scope.measured));
        let Attempt { number, is_hedge, .. } = attempt;
        let mut held =
            Held { call, leave, tally, place, since, number, is_hedge, has_waited: false, is_in_operation: true };
        let future = start(operation, attempt);
        held.is_in_operation = false;
        Self { future: Some(future), timer: None, limit, held }
    }

    /// What it holds.
    #[inline]
    pub(super) fn held(self: Pin<&mut Self>) -> &mut Held<'c, 'a, R> {
        self.project().held
    }

    /// Whether it probes a half-open breaker.
    #[inline]
    pub(super) fn is_probe(&self) -> bool {
        self.held.leave.admission.as_ref().is_some_and(Admission::is_probe)
    }

    /// When it began.
    pub(super) fn since(&self) -> Timestamp {
        self.held.since
    }

    /// Waits for it until it has run for so long; for ever, if for nothing.
    #[inline]
    pub(super) fn for_at_most(
        mut self: Pin<&mut Self>,
        patience: Option<Duration>,
    ) -> impl Future<Output = Step<F::Output>> {
        poll_fn(move |context| self.as_mut().poll_step(context, patience))
    }

    /// Once it has ended, it is pending for ever. An operation that is ready when its time runs out has won: there is
    /// one verdict.
    #[inline]
    pub(super) fn poll_step(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        patience: Option<Duration>,
    ) -> Poll<Step<F::Output>> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        this.held.is_in_operation = true;
        let poll = future.poll(context);
        this.held.is_in_operation = false;
        this.held.has_waited |= poll.is_pending();
        let result = match (poll, soonest(*this.limit, patience)) {
            (Poll::Ready(output), _) => Ok(output),
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(wait)) => {
                if this.timer.is_none() {
                    let runtime = this.held.call.clock.runtime;
                    let spent = runtime.now().saturating_since(this.held.since);
                    this.timer.set(Some(runtime.sleep(wait.saturating_sub(spent))));
                }
                if this.timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(context).is_pending()) {
                    return Poll::Pending;
                }
                if *this.limit != Some(wait) {
                    // The limit has a timer of its own.
                    this.timer.set(None);
                    return Poll::Ready(Step::Slow(wait));
                }
                Err(Elapsed)
            }
        };
        this.future.set(None);
        this.timer.set(None);
        Poll::Ready(Step::Ended(result))
    }
}

/// The shorter of two times, of which either may be without an end.
#[inline]
pub(super) fn soonest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl<R: Runtime> Drop for Held<'_, '_, R> {
    fn drop(&mut self) {
        if self.is_in_operation {
            if let Some(tally) = self.tally.take() {
                tally.end(Outcome::Failure);
            }
            let Leave { permit: _, admission } = std::mem::take(&mut self.leave);
            self.call.learn(admission, Outcome::Failure, self.since, self.call.clock.runtime.now());
        }
    }
}
