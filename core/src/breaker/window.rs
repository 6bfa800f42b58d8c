//! The sliding window of a closed breaker: of time, in buckets, or of the last so many calls.
//!
//! **Exactness.** Every success is counted and few decide anything, so each thread counts its own, in a row that nobody
//! else writes to. Failures and slow calls decide, so each is counted in a ring in common, and then looks at the sum. Those
//! two steps are sequentially consistent: of failures that race, one at least sees all of them, so the one that makes a
//! trigger hold, or a later one, opens the breaker. A success that a sum misses was counted while the sum was read; it is
//! as if it had come after. No count is lost and none is counted twice. What is counted as slow was counted as a call
//! before, and is read before, so a share is never more than the whole.
//!
//! **Changes.** Counts carry the generation of the breaker that they belong to, and how often the window's shape has
//! changed, so a close, or another shape, starts an empty window and nothing has to be swept. Any other change of the
//! policy keeps all counts. They are kept whichever triggers are on: a trigger that a policy turns on finds the window as
//! if it had always been on.
//!
//! **Cost.** Within a bucket, a success is a handful of loads and one store, all of the thread's own lines. A window of the
//! last so many calls cannot be cut into rows, for which call falls out depends on the order of all: it is dearer, some
//! tens of nanoseconds, and more where threads meet.

use super::count::CountRing;
use crate::policy::BreakerWindow;
use crate::ring::{Ring, Scale, StripedRing};
use crate::sync::{Mutex, MutexGuard};
use crate::time::Timestamp;
use arc_swap::ArcSwapOption;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The window of a breaker, of either shape.
#[derive(Debug)]
pub(super) struct Window {
    /// The time window; one of no buckets where calls are counted instead.
    scale: Scale,
    successes: StripedRing,
    failures: Ring,
    slow: Ring,
    calls: ArcSwapOption<CountRing>,
    /// Held by whoever changes it; never by a call.
    shape: Mutex<BreakerWindow>,
}

/// What a call was, to the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) is_failure: bool,
    pub(super) is_slow: bool,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) successes: u64,
    pub(super) failures: u64,
    /// Of the two above.
    pub(super) slow: u64,
}

impl Totals {
    pub(super) fn calls(self) -> u64 {
        self.successes + self.failures
    }
}

impl Window {
    pub(super) fn new(shape: BreakerWindow) -> Self {
        let (length, buckets) = time_of(shape);
        Self {
            scale: Scale::new(length, buckets),
            successes: StripedRing::new(),
            failures: Ring::new(),
            slow: Ring::new(),
            calls: ArcSwapOption::new(calls_of(shape)),
            shape: Mutex::new(shape),
        }
    }

    /// Takes another shape and is empty; stays as it is where the shape is no other.
    pub(super) fn reshape(&self, new: BreakerWindow) {
        let mut shape = self.lock();
        if *shape == new {
            return;
        }
        *shape = new;
        let (length, buckets) = time_of(new);
        let calls = calls_of(new);
        let has_calls = calls.is_some();
        // Before the scale says so: where there is no time window, there must be a ring of calls.
        if has_calls {
            self.calls.store(calls);
        }
        self.scale.set(length, buckets);
        if !has_calls {
            self.calls.store(None);
        }
    }

    /// Counts a success that was not slow, if that takes next to nothing. Otherwise says `false`, and
    /// [`add`](Self::add) is to be asked.
    #[inline]
    #[must_use]
    pub(super) fn add_success(&self, generation: u32, now: Timestamp) -> bool {
        self.successes.add_at_present(self.scale.frame(generation), now)
    }

    /// Counts a call.
    pub(super) fn add(&self, generation: u32, sample: Sample, now: Timestamp) {
        let is_plain = !sample.is_failure && !sample.is_slow;
        if is_plain && self.add_success(generation, now) {
            return;
        }
        let frame = self.scale.frame(generation);
        if frame.is_none() {
            if let Some(calls) = &*self.calls.load() {
                calls.add(generation, sample);
            }
            return;
        }
        if sample.is_failure {
            self.failures.add(frame, frame.tick(now));
        } else {
            self.successes.add(frame, now);
        }
        if sample.is_slow {
            self.slow.add(frame, frame.tick(now));
        }
    }

    /// The calls of a generation within the window that ends now.
    pub(super) fn totals(&self, generation: u32, now: Timestamp) -> Totals {
        let frame = self.scale.frame(generation);
        if frame.is_none() {
            return self.calls.load().as_ref().map_or_else(Totals::default, |calls| calls.totals(generation));
        }
        let tick = frame.tick(now);
        // The slow calls first: one that ends in the meantime is then in the whole of which they are a share.
        let slow = self.slow.sum(frame, tick);
        Totals { failures: self.failures.sum(frame, tick), successes: self.successes.sum(frame, tick), slow }
    }

    fn lock(&self) -> MutexGuard<'_, BreakerWindow> {
        self.shape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn time_of(shape: BreakerWindow) -> (Duration, u32) {
    match shape {
        BreakerWindow::Time(window) => (window.length, window.buckets.max(1)),
        BreakerWindow::Count(_) => (Duration::ZERO, 0),
    }
}

fn calls_of(shape: BreakerWindow) -> Option<Arc<CountRing>> {
    match shape {
        BreakerWindow::Time(_) => None,
        BreakerWindow::Count(size) => Some(Arc::new(CountRing::new(size))),
    }
}

#[cfg(test)]
mod tests;
