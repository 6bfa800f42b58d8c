//! The calls between two looks at the limit.
//!
//! One call says little: it may have hit a cache or a collector's pause. So calls are summed up over a while, as
//! `WindowedLimit` does, and an algorithm sees the sums. A window lasts twice the mean latency, so that the calls it
//! ends with began under the limit it began with; at least 100 ms, the least that the original takes, and at most 1 s,
//! its default; and at least ten calls, as there. The original drops a window with fewer calls; this one waits for
//! them, so that a service that is called rarely is learned about as well.
//!
//! *When a window speaks of overload.* The original says so on a single call that was dropped. A service that lets one
//! call in a hundred time out, for reasons of its own, would then have its limit at the floor as soon as it gets a hundred
//! calls a window. Here it takes more than a tenth of the calls, the share by which AIMD shrinks the limit. Such calls say
//! nothing of latency: a refused one is fast, and a timeout lasts as long as the caller chose.

use crate::time::Timestamp;
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(1);
const MIN_CALLS: u32 = 10;
/// More than one in so many calls are overload.
const OVERLOAD_SHARE: u32 = 10;

/// The calls that have ended since the last look at the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// `None`: no call has ended yet.
    began: Option<Timestamp>,
    length: Duration,
    successes: u32,
    overloads: u32,
    /// Of the successes.
    total_latency: Duration,
    max_in_flight: u32,
}

/// The call was too much for the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overload;

/// What a window's calls say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    /// Mean latency of the successes, above zero, in seconds. `None`: there was none.
    pub(super) latency: Option<f64>,
    /// Most calls in flight.
    pub(super) max_in_flight: u32,
    /// Whether so many were too much that the service must be overloaded.
    pub(super) is_overload: bool,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self::of_length(SHORTEST)
    }

    const fn of_length(length: Duration) -> Self {
        Self { began: None, length, successes: 0, overloads: 0, total_latency: Duration::ZERO, max_in_flight: 0 }
    }

    /// Adds a call. `Some`: the window is over, and the next one has begun.
    pub(super) fn add(&mut self, lesson: Result<Duration, Overload>, in_flight: u32, now: Timestamp) -> Option<Sample> {
        let began = *self.began.get_or_insert(now);
        match lesson {
            Ok(latency) => {
                self.successes += 1;
                self.total_latency = self.total_latency.saturating_add(latency);
            }
            Err(Overload) => self.overloads += 1,
        }
        self.max_in_flight = self.max_in_flight.max(in_flight);
        let calls = self.successes.saturating_add(self.overloads);
        if calls < MIN_CALLS || now.saturating_since(began) < self.length {
            return None;
        }
        let mean = self.total_latency.checked_div(self.successes);
        let sample = Sample {
            latency: mean.map(|mean| mean.max(Duration::from_nanos(1)).as_secs_f64()),
            max_in_flight: self.max_in_flight,
            is_overload: self.overloads.saturating_mul(OVERLOAD_SHARE) > calls,
        };
        let length = mean.map_or(self.length, |mean| mean.saturating_mul(2).clamp(SHORTEST, LONGEST));
        *self = Self { began: Some(now), ..Self::of_length(length) };
        Some(sample)
    }
}
