//! Attempts of one call that run side by side, until one has answered or none is left.

use crate::adaptive_limit::Lesson;
use crate::call::retries::Pause;
use crate::call::running::{Held, Running, Step};
use crate::call::settle::{Failed, Settled};
use crate::call::timeout::Elapsed;
use crate::call::{Attempt, Call, FailureCause, Operation, Progress};
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The attempt that hedges are started beside.
pub(in crate::call) enum First<'r, 'c, 'a, R: Runtime, F, T, E> {
    /// It has run for the delay.
    Runs(Pin<&'r mut Running<'c, 'a, R, F>>),
    /// It has ended before.
    Ended(Settled<T, E>),
}

/// Attempts of one call that run side by side.
pub(in crate::call) struct Race<'r, 'c, 'a, R: Runtime, O: Operation, F> {
    call: &'c Call<'a, R>,
    start: fn(&mut O, Attempt) -> F,
    delay: Duration,
    deadline: Option<Timestamp>,
    /// `None`: it has ended.
    first: Option<Pin<&'r mut Running<'c, 'a, R, F>>>,
    hedges: Vec<Pin<Box<Running<'c, 'a, R, F>>>>,
    /// Ends when the next hedge is due. `None`: none is to come.
    due: Option<Pin<Box<R::Sleep>>>,
    /// What has ended and stays the call's result, unless something better comes.
    last: Option<Settled<O::Output, O::Error>>,
    /// Whether another attempt may help.
    may_help: bool,
}

enum Event<'r, 'c, 'a, R: Runtime, F: Future> {
    Ended(Result<F::Output, Elapsed>, Side<'r, 'c, 'a, R, F>),
    Due,
    /// Nothing runs and nothing is due.
    Over,
}

/// An attempt, wherever it is.
enum Side<'r, 'c, 'a, R: Runtime, F> {
    First(Pin<&'r mut Running<'c, 'a, R, F>>),
    Hedge(Pin<Box<Running<'c, 'a, R, F>>>),
}

impl<'r, 'c, 'a, R: Runtime, O: Operation, F> Race<'r, 'c, 'a, R, O, F>
where
    F: Future<Output = Result<O::Output, O::Error>> + Send,
{
    /// A race whose attempts `start` makes.
    pub(in crate::call) fn new(
        call: &'c Call<'a, R>,
        start: fn(&mut O, Attempt) -> F,
        delay: Duration,
        deadline: Option<Timestamp>,
    ) -> Self {
        let (first, hedges, due, last) = (None, Vec::new(), None, None);
        Self { call, start, delay, deadline, first, hedges, due, last, may_help: true }
    }

    /// Goes on from the first attempt until one has answered, or none is left.
    pub(in crate::call) async fn run(
        mut self,
        operation: &mut O,
        progress: &mut Progress,
        first: First<'r, 'c, 'a, R, F, O::Output, O::Error>,
    ) -> Result<O::Output, Failed<O::Error>> {
        match first {
            First::Runs(running) => {
                self.call.clock.has_moved();
                self.first = Some(running);
                self.start_next(operation, progress);
            }
            First::Ended(settled) => self.take_note(operation, progress, settled),
        }
        loop {
            let event = poll_fn(|context| self.poll(context)).await;
            self.call.clock.has_moved();
            match event {
                Event::Ended(result, mut attempt) => {
                    let settled = self.call.settle(operation, progress, result, attempt.held());
                    if settled.is_answer() {
                        self.won(attempt.held().is_hedge);
                        return settled.into_result();
                    }
                    self.take_note(operation, progress, settled);
                }
                Event::Due => self.start_next(operation, progress),
                Event::Over => return self.conclude(),
            }
        }
    }

    /// What happens next. Of attempts that end at the same time the oldest is taken, and any of them before a new one
    /// starts.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event<'r, 'c, 'a, R, F>> {
        if let Some(mut first) = self.first.take() {
            if let Poll::Ready(Step::Ended(result)) = first.as_mut().poll_step(context, None) {
                return Poll::Ready(Event::Ended(result, Side::First(first)));
            }
            self.first = Some(first);
        }
        for index in 0..self.hedges.len() {
            if let Poll::Ready(Step::Ended(result)) = self.hedges[index].as_mut().poll_step(context, None) {
                return Poll::Ready(Event::Ended(result, Side::Hedge(self.hedges.remove(index))));
            }
        }
        if let Some(due) = &mut self.due {
            return due.as_mut().poll(context).map(|()| Event::Due);
        }
        if self.is_running() { Poll::Pending } else { Poll::Ready(Event::Over) }
    }

    fn is_running(&self) -> bool {
        self.first.is_some() || !self.hedges.is_empty()
    }

    /// Starts another attempt, if it gets leave to, and says when the next one is due.
    fn start_next(&mut self, operation: &mut O, progress: &mut Progress) {
        self.due = None;
        if !self.has_next(operation, progress, Duration::ZERO) {
            return;
        }
        progress.hedges += 1;
        if let Some(begun) = self.call.begin_hedge(self.deadline) {
            self.call.count(Counter::Hedges);
            let attempt = self.call.next_attempt(progress, begun.limit, true);
            let running = Running::new(self.call, begun, operation, self.start, attempt);
            self.hedges.push(Box::pin(running));
        } else {
            self.call.count(Counter::HedgesRefused);
        }
        if self.is_running() {
            self.wait(operation, progress, self.delay);
        }
    }

    /// Makes the next hedge due after a pause.
    fn wait(&mut self, operation: &O, progress: &Progress, pause: Duration) {
        let is_due = self.has_next(operation, progress, pause);
        self.due = is_due.then(|| Box::pin(self.call.clock.runtime.sleep(pause)));
    }

    /// Whether a hedge may start after a pause.
    fn has_next(&self, operation: &O, progress: &Progress, pause: Duration) -> bool {
        let remaining = self.call.remaining(self.deadline).map(|remaining| remaining.saturating_sub(pause));
        self.may_help
            && progress.hedges < self.call.policy().hedge.max_extra
            && self.call.is_enough(remaining)
            && operation.can_repeat()
    }

    /// Takes note of an attempt that is not the call's answer, and starts the next one where it may mend that.
    fn take_note(&mut self, operation: &mut O, progress: &mut Progress, settled: Settled<O::Output, O::Error>) {
        let may_help = settled.result.is_err() && settled.verdict.is_retryable;
        let pause = if may_help { self.call.pause_asked(settled.verdict) } else { None };
        // An answer that counts as a failure still says more than an error.
        if settled.result.is_ok() || self.last.as_ref().is_none_or(|last| last.result.is_err()) {
            self.last = Some(settled);
        }
        match pause {
            Some(Pause::Ours) => self.start_next(operation, progress),
            Some(Pause::Asked(pause)) => self.wait(operation, progress, pause),
            None => (self.may_help, self.due) = (false, None),
        }
    }

    /// The call has its answer: of a hedge or of the first attempt.
    fn won(&mut self, is_hedge: bool) {
        if is_hedge {
            self.call.count(Counter::HedgeWins);
        }
        let now = self.call.clock.now();
        if let Some(first) = &self.first {
            self.call.measure(now.saturating_since(first.since()));
        }
        // Those that are slower than a hedge's delay: with the fast ones alone, an overload would look like none.
        let losers = self.first.iter_mut().map(Pin::as_mut).chain(self.hedges.iter_mut().map(Pin::as_mut));
        for held in losers.map(Running::held) {
            let elapsed = now.saturating_since(held.since);
            if elapsed > self.delay
                && let Some(permit) = held.leave.permit.take()
            {
                permit.record(Lesson::Answered(elapsed), now);
            }
        }
    }

    /// No attempt has answered.
    fn conclude(self) -> Result<O::Output, Failed<O::Error>> {
        // One has ended, or it would still run.
        let verdict = || self.call.verdict_on_timeout();
        let nothing = || Settled { result: Err(FailureCause::Timeout), verdict: verdict() };
        let mut last = self.last.unwrap_or_else(nothing);
        last.verdict.is_retryable &= self.may_help;
        last.into_result()
    }
}

impl<'c, 'a, R: Runtime, F: Future> Side<'_, 'c, 'a, R, F> {
    fn held(&mut self) -> &mut Held<'c, 'a, R> {
        match self {
            Self::First(first) => first.as_mut().held(),
            Self::Hedge(hedge) => hedge.as_mut().held(),
        }
    }
}
