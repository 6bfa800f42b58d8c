//! The sliding window of a closed breaker: of time, in buckets, or of the last so many calls.
//!
//! **Exactness.** Every success is counted and few decide anything, so each thread counts its own, in a row that nobody
//! else writes to. Failures and slow calls decide, so each is counted in a ring in common, and then looks at the sum. Those
//! two steps are sequentially consistent: of failures that race, one at least sees all of them, so the one that makes a
//! trigger hold, or a later one, opens the breaker. A success that a sum misses was counted while the sum was read; it is
//! as if it had come after. No count is lost and none is counted twice. What is counted as slow was counted as a call
//! before, and is read before, so a share is never more than the whole. Few failures need the sum to see that nothing
//! holds: the first one of a bucket keeps what the others need to know ([`DecisiveRing`] argues why they miss nothing).
//!
//! **Changes.** Counts carry the generation of the breaker that they belong to, and how often the window's shape has
//! changed, so a close, or another shape, starts an empty window and nothing has to be swept. Any other change of the
//! policy keeps all counts. They are kept whichever triggers are on: a trigger that a policy turns on finds the window as
//! if it had always been on. Generation and changes are one number, their sum, so while the shape changes again the number
//! of what is read may be that of an earlier generation's call that comes just now, by a later shape. Such a call has read
//! the later shape before it counts; so whoever has read counts looks whether the shape is still the same, and reads again
//! where it is not.
//!
//! **Cost.** Within a bucket, a success is a handful of loads and one store, all of the thread's own lines. A window of the
//! last so many calls cannot be cut into rows, for which call falls out depends on the order of all: it is dearer, by one
//! compare-and-swap of a word in common, and more where threads meet.

use super::count::CountRing;
use crate::policy::BreakerWindow;
use crate::ring::{DecisiveRing, Frame, Glance, Ring, Scale, Shape, StripedRing};
use crate::sync::OnceLock;
use crate::time::Timestamp;
use std::time::Duration;

/// The calls of the largest window of calls.
const MOST_CALLS: u32 = 1_024;

/// The window of a breaker, of either shape.
#[derive(Debug)]
pub(super) struct Window {
    /// Which shape is in force.
    scale: Scale,
    successes: StripedRing,
    failures: DecisiveRing,
    slow: Ring,
    /// Takes memory when the first call is counted so.
    calls: OnceLock<Box<CountRing>>,
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

/// What whoever has counted a call knows of the window right after.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// Nothing: it has to ask for the totals.
    Nothing,
    /// What tells most failures that nothing holds.
    Glance(Glance),
    /// All of it, as it was at the moment at which the call counted.
    Totals(Totals),
}

impl Totals {
    pub(super) fn calls(self) -> u64 {
        self.successes + self.failures
    }
}

impl Window {
    pub(super) fn new(shape: BreakerWindow) -> Self {
        Self {
            scale: Scale::new(shape_of(shape)),
            successes: StripedRing::new(),
            failures: DecisiveRing::new(),
            slow: Ring::new(),
            calls: OnceLock::new(),
        }
    }

    /// Takes another shape and is empty; stays as it is where the shape is no other.
    pub(super) fn reshape(&self, new: BreakerWindow) {
        self.scale.advance(shape_of(new));
    }

    /// Counts a success that was not slow, if that takes next to nothing. Otherwise says `false`, and
    /// [`add`](Self::add) is to be asked.
    #[inline]
    #[must_use]
    pub(super) fn add_success(&self, generation: u32, now: Timestamp) -> bool {
        let frame = self.scale.frame(generation);
        self.successes.add_at_present(frame, now) || self.add_success_of_calls(frame)
    }

    #[inline(never)]
    fn add_success_of_calls(&self, frame: Frame) -> bool {
        if frame.is_of_calls() {
            self.calls().add(frame, Sample { is_failure: false, is_slow: false });
        }
        frame.is_of_calls()
    }

    /// Counts a call.
    pub(super) fn add(&self, generation: u32, sample: Sample, now: Timestamp) -> Seen {
        let is_plain = !sample.is_failure && !sample.is_slow;
        if is_plain && self.add_success(generation, now) {
            return Seen::Nothing;
        }
        let frame = self.scale.frame(generation);
        if frame.is_of_calls() {
            let head = self.calls().add(frame, sample);
            let is_still = self.scale.frame(generation) == frame;
            return head.filter(|_| is_still).map_or(Seen::Nothing, |head| Seen::Totals(head.totals(frame.calls())));
        }
        let glance = if sample.is_failure {
            self.failures.add(frame, now, |tick| self.successes.sum(frame, tick))
        } else {
            self.successes.add(frame, now);
            None
        };
        if sample.is_slow {
            self.slow.add(frame, frame.tick(now));
        }
        glance.map_or(Seen::Nothing, Seen::Glance)
    }

    /// What a call that has seen so much has to decide by.
    pub(super) fn totals_after(&self, seen: Seen, generation: u32, now: Timestamp) -> Totals {
        let glance = match seen {
            Seen::Totals(totals) => return totals,
            Seen::Nothing => return self.totals(generation, now),
            Seen::Glance(glance) => glance,
        };
        let (frame, totals) = self.frame_and_totals(generation, now);
        if frame != glance.frame {
            return totals;
        }
        self.failures.raise(glance, totals.successes);
        Totals {
            successes: totals.successes.max(glance.companions),
            failures: totals.failures.max(glance.sum),
            slow: totals.slow,
        }
    }

    /// The calls of a generation within the window that ends now.
    pub(super) fn totals(&self, generation: u32, now: Timestamp) -> Totals {
        self.frame_and_totals(generation, now).1
    }

    /// The same, and the frame that was in force from before the first of them was read until after the last.
    fn frame_and_totals(&self, generation: u32, now: Timestamp) -> (Frame, Totals) {
        let mut frame = self.scale.frame(generation);
        loop {
            let totals = self.totals_of(frame, now);
            let then = self.scale.frame(generation);
            if then == frame {
                return (frame, totals);
            }
            frame = then;
        }
    }

    fn totals_of(&self, frame: Frame, now: Timestamp) -> Totals {
        if frame.is_of_calls() {
            return self.calls.get().map_or_else(Totals::default, |calls| calls.totals(frame));
        }
        let tick = frame.tick(now);
        // The slow calls first: one that ends in the meantime is then in the whole of which they are a share.
        let slow = self.slow.sum(frame, tick);
        Totals { failures: self.failures.sum(frame, tick), successes: self.successes.sum(frame, tick), slow }
    }

    fn calls(&self) -> &CountRing {
        self.calls.get_or_init(Box::default)
    }
}

/// A window of calls has no buckets, and as many microseconds as calls.
fn shape_of(window: BreakerWindow) -> Shape {
    match window {
        BreakerWindow::Time(window) => Shape::new(window.length, window.buckets.max(1)),
        BreakerWindow::Count(calls) => Shape::new(Duration::from_micros(calls.clamp(1, MOST_CALLS).into()), 0),
    }
}

#[cfg(test)]
mod tests;
