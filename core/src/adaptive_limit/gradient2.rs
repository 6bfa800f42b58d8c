//! `Gradient2Limit` of Netflix's concurrency-limits, with its defects answered.
//!
//! ```text
//! gradient = clamp(tolerance * long / short, 0.5, 1)         tolerance = 1.5
//! target   = gradient * limit + (4 if gradient = 1)
//! limit    = limit + smoothing * (target - limit)            smoothing = 0.2
//! ```
//!
//! `short` is the mean latency of the window that has ended. `long` is its exponential average over 600 windows (the
//! plain mean of the first ten). Where `short` is less than half of it, the load is over that had raised it, and it is
//! cut by a tenth. A window with less than half of the limit in flight says nothing about the limit and changes none.
//!
//! The original differs in these points:
//!
//! - *It adds the four in every window*, a queue that it allows. With a gradient of 0.8, a limit below 20 then grows
//!   for as long as the overload lasts (<https://github.com/Netflix/concurrency-limits/pull/134>). Here only a gradient
//!   of 1 adds them, so that nothing grows under overload.
//! - *Its long average learns from overload.* Latency up to the tolerance is taken for normal, so `long` follows, and
//!   the limit after it: under a load that is always a little too much it doubles every few hundred windows. Here a
//!   window that has used half of the limit may lower `long`, but not raise it: what it measured may be the queue that
//!   the limit itself has let in.
//! - *It cannot tell a slower service from a longer queue*, and goes to its lowest limit for both. Half the calls have
//!   half the queue; so where the limit has been halved and latency has not fallen by a quarter, nothing that the limit
//!   does makes the service faster, and that latency is taken for normal. At the lowest limit there is nothing to
//!   halve, and `long` rises by up to a tenth a window.
//! - *It does not look at failures.* Overload is a gradient of 0.5 here, as the thread above proposes.
//!
//! What no such algorithm can know is the latency of an idle service that it has never seen idle: a process that
//! starts into an overload takes the latency of that for normal, until it has seen better.

use super::window::Sample;

const TOLERANCE: f64 = 1.5;
const SMOOTHING: f64 = 0.2;
/// How much the limit may grow at once, before smoothing.
const QUEUE: f64 = 4.0;
const WARM_UP: u32 = 10;
/// The weight of a window in an exponential average over 600 of them.
const WEIGHT: f64 = 2.0 / 601.0;
/// The long average's way back from an overload, and at the lowest limit its way up.
const STEP: f64 = 0.1;

/// What gradient2 remembers beside the limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gradient2 {
    /// The long-term latency, in seconds. Zero: nothing was measured.
    long: f64,
    /// Windows in it, up to [`WARM_UP`].
    windows: u32,
    /// `None`: the limit is not shrinking.
    shrinking: Option<Shrinking>,
}

/// A limit that is on its way down.
#[derive(Clone, Copy, Debug)]
struct Shrinking {
    /// Where it began, or was when latency last fell with it.
    limit: f64,
    /// The highest since.
    latency: f64,
}

impl Gradient2 {
    /// The limit after a window.
    pub(super) fn next(&mut self, limit: f64, min: f64, sample: &Sample) -> f64 {
        let is_used = f64::from(sample.max_in_flight) >= limit / 2.0;
        if let Some(short) = sample.latency {
            self.observe(short, limit < min + 1.0, is_used);
        }
        if !is_used {
            return limit;
        }
        let gradient = match sample.latency {
            Some(short) if !sample.is_overload => self.gradient(short, limit),
            _ => {
                // Of calls that run out of time, latency says too little to compare it with.
                self.shrinking = None;
                0.5
            }
        };
        let queue = if gradient < 1.0 { 0.0 } else { QUEUE };
        limit + SMOOTHING * (gradient * limit + queue - limit)
    }

    /// Takes a window's latency in.
    fn observe(&mut self, short: f64, is_lowest: bool, is_used: bool) {
        let long = self.long;
        self.long = if self.windows == 0 {
            short
        } else if short > long && is_lowest {
            short.min(long * (1.0 + STEP))
        } else if short > long && is_used {
            long
        } else if self.windows < WARM_UP {
            long + (short - long) / f64::from(self.windows + 1)
        } else {
            long + (short - long) * WEIGHT
        };
        self.windows = WARM_UP.min(self.windows + 1);
        if self.long > 2.0 * short {
            self.long *= 1.0 - STEP;
        }
    }

    fn gradient(&mut self, short: f64, limit: f64) -> f64 {
        let gradient = (TOLERANCE * self.long / short).clamp(0.5, 1.0);
        if gradient >= 1.0 {
            self.shrinking = None;
            return gradient;
        }
        let began = self.shrinking.get_or_insert(Shrinking { limit, latency: short });
        // A queue takes a while to grow.
        began.latency = began.latency.max(short);
        if limit > began.limit / 2.0 {
            return gradient;
        }
        if short > 0.75 * began.latency {
            (self.long, self.shrinking) = (short, None);
            return 1.0;
        }
        self.shrinking = Some(Shrinking { limit, latency: short });
        gradient
    }
}
