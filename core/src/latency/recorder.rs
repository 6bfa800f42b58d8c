use super::{LatencyHistogram, SparseLatency};
use std::time::Duration;

/// How long the calls of a service take, and their attempts.
///
/// Most calls are one attempt that begins with the call and brings its answer: then both took as long. Such a call is
/// counted once, in a histogram of its own, so that a healthy service has one addition to make and one stripe of memory
/// to each thread.
#[derive(Debug, Default)]
pub struct CallLatencies {
    /// Calls that were one attempt.
    alone: LatencyHistogram,
    /// Attempts of the others.
    attempts: LatencyHistogram,
    /// The others.
    calls: LatencyHistogram,
}

/// What was counted of calls and attempts at one time, or between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallLatencySnapshot {
    /// Calls that have ended, from their beginning to the answer or error: waits, pauses, retries and fallbacks
    /// included, those that were rejected as well. Left out: calls that the caller cancelled.
    pub calls: SparseLatency,
    /// Attempts that have ended, whatever they ended with, from the moment they had leave to begin. Left out: attempts
    /// that were cancelled. An answer that comes bit by bit counts, here and above, until it has begun.
    ///
    /// Both leave out a call whose only attempt succeeded at once, without having been waited for, unless the policy goes
    /// by how long attempts take: nobody looks at the clock for it.
    pub attempts: SparseLatency,
}

impl CallLatencies {
    /// Counts a call that was one attempt.
    #[inline]
    pub(crate) fn record_alone(&self, took: Duration) {
        self.alone.record(took);
    }

    /// Counts an attempt of another call.
    pub(crate) fn record_attempt(&self, took: Duration) {
        self.attempts.record(took);
    }

    /// Counts another call.
    pub(crate) fn record_call(&self, took: Duration) {
        self.calls.record(took);
    }

    /// What was counted so far.
    pub fn snapshot(&self) -> CallLatencySnapshot {
        let alone = SparseLatency::from(&self.alone.snapshot());
        let with_those = |others: &LatencyHistogram| {
            let mut all = alone.clone();
            all.merge(&SparseLatency::from(&others.snapshot()));
            all
        };
        CallLatencySnapshot { calls: with_those(&self.calls), attempts: with_those(&self.attempts) }
    }
}

impl CallLatencySnapshot {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.attempts.is_empty()
    }

    /// What was counted since an earlier snapshot.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self { calls: self.calls.since(&earlier.calls), attempts: self.attempts.since(&earlier.attempts) }
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        self.calls.merge(&other.calls);
        self.attempts.merge(&other.attempts);
    }
}
