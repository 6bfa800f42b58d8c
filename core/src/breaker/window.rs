//! The sliding window of a closed breaker: of time, in buckets, or of the last so many calls.
//!
//! The cells of a time window carry the tick and the generation they belong to, so nothing is ever swept or reset: a bucket that is too old,
//! or that an earlier generation filled, does not count, and the next writer takes it over.

use super::count::CountRing;
use crate::policy::{BreakerWindow, TimeWindow};
use crate::ring::Ring;
use crate::time::Timestamp;

/// The window of a breaker, of either shape.
#[derive(Debug)]
pub(super) struct Window {
    shape: BreakerWindow,
    calls: Calls,
}

#[derive(Debug)]
enum Calls {
    Time(TimeRings),
    Count(CountRing),
}

#[derive(Debug)]
struct TimeRings {
    buckets: u32,
    bucket_nanos: u64,
    successes: Ring,
    failures: Ring,
    slow: Ring,
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
        let calls = match shape {
            BreakerWindow::Time(window) => Calls::Time(TimeRings::new(window)),
            BreakerWindow::Count(size) => Calls::Count(CountRing::new(size)),
        };
        Self { shape, calls }
    }

    pub(super) fn shape(&self) -> BreakerWindow {
        self.shape
    }

    /// Counts a call.
    pub(super) fn add(&self, generation: u32, sample: Sample, now: Timestamp) {
        match &self.calls {
            Calls::Time(rings) => rings.add(tag(generation), sample, now),
            Calls::Count(ring) => ring.add(generation, sample),
        }
    }

    /// The calls of a generation within the window that ends now.
    pub(super) fn totals(&self, generation: u32, now: Timestamp) -> Totals {
        match &self.calls {
            Calls::Time(rings) => rings.totals(tag(generation), now),
            Calls::Count(ring) => ring.totals(generation),
        }
    }
}

impl TimeRings {
    fn new(window: TimeWindow) -> Self {
        let buckets = window.buckets.max(1);
        let length = u64::try_from(window.length.as_nanos()).unwrap_or(u64::MAX);
        let ring = || Ring::new(buckets as usize);
        Self {
            buckets,
            bucket_nanos: (length / u64::from(buckets)).max(1),
            successes: ring(),
            failures: ring(),
            slow: ring(),
        }
    }

    fn add(&self, tag: u8, sample: Sample, now: Timestamp) {
        let tick = self.tick(now);
        let ring = if sample.is_failure { &self.failures } else { &self.successes };
        ring.add(tag, tick, 1);
        if sample.is_slow {
            self.slow.add(tag, tick, 1);
        }
    }

    fn totals(&self, tag: u8, now: Timestamp) -> Totals {
        let tick = self.tick(now);
        let sum = |ring: &Ring| ring.sum(tag, tick, self.buckets);
        // The slow calls first: one that ends in the meantime is then in the whole of which they are a share.
        let slow = sum(&self.slow);
        Totals { successes: sum(&self.successes), failures: sum(&self.failures), slow }
    }

    fn tick(&self, now: Timestamp) -> u32 {
        (now.as_nanos() / self.bucket_nanos) as u32
    }
}

/// The low bits of a generation: enough to tell it from those whose cells can still be in the window.
fn tag(generation: u32) -> u8 {
    generation.to_le_bytes()[0]
}
