//! The sliding time window of a closed breaker.
//!
//! Cells carry the tick and the generation they belong to, so nothing is ever swept or reset: a bucket that is too old,
//! or that an earlier generation filled, does not count, and the next writer takes it over.

use crate::outcome::Outcome;
use crate::policy::TimeWindow;
use crate::ring::Ring;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Window {
    shape: TimeWindow,
    bucket_nanos: u64,
    successes: Ring,
    failures: Ring,
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
        }
    }

    pub(super) fn shape(&self) -> TimeWindow {
        self.shape
    }

    /// Counts an outcome; a neutral one does not count.
    pub(super) fn add(&self, generation: u32, outcome: Outcome, now: Timestamp) {
        let ring = match outcome {
            Outcome::Success => &self.successes,
            Outcome::Failure => &self.failures,
            Outcome::Neutral => return,
        };
        ring.add(tag(generation), self.tick(now), 1);
    }

    /// Successes and failures of a generation within the window that ends now.
    pub(super) fn totals(&self, generation: u32, now: Timestamp) -> (u64, u64) {
        let sum = |ring: &Ring| ring.sum(tag(generation), self.tick(now), self.shape.buckets);
        (sum(&self.successes), sum(&self.failures))
    }

    fn tick(&self, now: Timestamp) -> u32 {
        (now.as_nanos() / self.bucket_nanos) as u32
    }
}

/// The low bits of a generation: enough to tell it from those whose cells can still be in the window.
fn tag(generation: u32) -> u8 {
    generation.to_le_bytes()[0]
}
