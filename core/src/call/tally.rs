use crate::isolation::Isolation;
use crate::outcome::Outcome;
use crate::stats::Counter;

/// Counts a call exactly once, however it ends: a call whose future is dropped was cancelled, unless its own code
/// panicked.
pub(super) struct Tally<'a> {
    isolation: &'a Isolation,
    ending: Counter,
}

impl<'a> Tally<'a> {
    pub(super) fn begin(isolation: &'a Isolation) -> Self {
        Self { isolation, ending: Counter::Cancelled }
    }

    /// Runs the call for a while: if it does not come back from that, it has failed.
    pub(super) fn watch<T>(&mut self, run: impl FnOnce() -> T) -> T {
        self.ending = Counter::Failed;
        let result = run();
        self.ending = Counter::Cancelled;
        result
    }

    pub(super) fn end(mut self, ending: Counter) {
        self.ending = ending;
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.isolation.count(Counter::Calls);
        self.isolation.count(self.ending);
    }
}

/// Counts an attempt exactly once: one whose future is dropped says nothing.
pub(super) struct AttemptTally<'a> {
    isolation: &'a Isolation,
    outcome: Outcome,
}

impl<'a> AttemptTally<'a> {
    pub(super) fn begin(isolation: &'a Isolation) -> Self {
        Self { isolation, outcome: Outcome::Neutral }
    }

    pub(super) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for AttemptTally<'_> {
    fn drop(&mut self) {
        self.isolation.count(Counter::Attempts);
        self.isolation.count(match self.outcome {
            Outcome::Success => Counter::AttemptSuccesses,
            Outcome::Failure => Counter::AttemptFailures,
            Outcome::Neutral => Counter::AttemptNeutrals,
        });
    }
}
