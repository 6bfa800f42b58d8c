//! The sliding time window of a closed breaker.
//!
//! Cells carry the tick and the generation they belong to, so nothing is ever swept or reset: a bucket that is too old,
//! or that an earlier generation filled, does not count, and the next writer takes it over.

use crate::policy::TimeWindow;
use crate::ring::Ring;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Window {
    shape: TimeWindow,
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
    pub(super) fn new(shape: TimeWindow) -> Self {
        let buckets = shape.buckets.max(1);
        let length = u64::try_from(shape.length.as_nanos()).unwrap_or(u64::MAX);
        Self {
            shape,
            bucket_nanos: (length / u64::from(buckets)).max(1),
            successes: Ring::new(buckets as usize),
            failures: Ring::new(buckets as usize),
            slow: Ring::new(buckets as usize),
        }
    }

    pub(super) fn shape(&self) -> TimeWindow {
        self.shape
    }

    /// Counts a call.
    pub(super) fn add(&self, generation: u32, sample: Sample, now: Timestamp) {
        let (tag, tick) = (tag(generation), self.tick(now));
        let ring = if sample.is_failure { &self.failures } else { &self.successes };
        ring.add(tag, tick, 1);
        if sample.is_slow {
            self.slow.add(tag, tick, 1);
        }
    }

    /// The calls of a generation within the window that ends now.
    pub(super) fn totals(&self, generation: u32, now: Timestamp) -> Totals {
        let sum = |ring: &Ring| ring.sum(tag(generation), self.tick(now), self.shape.buckets);
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
