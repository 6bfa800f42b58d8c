use crate::isolation::Measured;
use crate::outcome::Outcome;
use crate::stats::Counter;
use std::future::poll_fn;
use std::pin::Pin;

/// Counts a call exactly once, however it ends: a call whose future is dropped was cancelled, unless its own code
/// panicked.
pub(super) struct Tally<'a> {
    measured: &'a Measured,
    ending: Counter,
    has_waited: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn begin(measured: &'a Measured) -> Self {
        Self { measured, ending: Counter::Failed, has_waited: false }
    }

    /// Waits for a part of the call. It is cancelled if it is dropped on the way.
    #[inline]
    pub(super) fn watch<F: Future>(&mut self, mut part: Pin<&mut F>) -> impl Future<Output = F::Output> {
        poll_fn(move |context| {
            self.ending = Counter::Failed;
            let poll = part.as_mut().poll(context);
            if poll.is_pending() {
                self.ending = Counter::Cancelled;
                self.has_waited = true;
            }
            poll
        })
    }

    /// Whether any part of it had to be waited for.
    pub(super) fn has_waited(&self) -> bool {
        self.has_waited
    }

    pub(super) fn end(mut self, ending: Counter) {
        self.ending = ending;
    }

    /// Counts a call that the service has answered, and with it the attempt that is left to it, if one is.
    #[inline]
    pub(super) fn end_live(self, with_attempt: bool) {
        let measured = self.measured;
        std::mem::forget(self);
        if with_attempt {
            use Counter::{AttemptSuccesses, Attempts, Calls, ServedLive};
            measured.count_each([Calls, ServedLive, Attempts, AttemptSuccesses]);
        } else {
            measured.count_each([Counter::Calls, Counter::ServedLive]);
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.measured.count_each([Counter::Calls, self.ending]);
    }
}

/// Counts an attempt exactly once: one whose future is dropped says nothing.
pub(super) struct AttemptTally<'a> {
    measured: &'a Measured,
    outcome: Outcome,
}

impl<'a> AttemptTally<'a> {
    pub(super) fn begin(measured: &'a Measured) -> Self {
        Self { measured, outcome: Outcome::Neutral }
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Leaves the counting to whoever knows its end.
    pub(super) fn hand_over(self) {
        std::mem::forget(self);
    }
}

impl Drop for AttemptTally<'_> {
    fn drop(&mut self) {
        count_attempt(self.measured, self.outcome);
    }
}

pub(super) fn count_attempt(measured: &Measured, outcome: Outcome) {
    let ended = match outcome {
        Outcome::Success => Counter::AttemptSuccesses,
        Outcome::Failure => Counter::AttemptFailures,
        Outcome::Neutral => Counter::AttemptNeutrals,
    };
    measured.count_each([Counter::Attempts, ended]);
}
