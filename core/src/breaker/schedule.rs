//! When an open breaker lets the next call through.

use crate::policy::BreakerPolicy;
use std::time::Duration;

/// A random number that is drawn at most once, however often a compare-and-swap is repeated.
pub(super) struct Draw<F> {
    source: Option<F>,
    number: u64,
}

impl<F: FnOnce() -> u64> Draw<F> {
    pub(super) fn new(source: F) -> Self {
        Self { source: Some(source), number: 0 }
    }

    pub(super) fn number(&mut self) -> u64 {
        if let Some(source) = self.source.take() {
            self.number = source();
        }
        self.number
    }
}

/// How long the breaker stays open after so many reopenings, without its jitter.
pub(super) fn open_time(policy: &BreakerPolicy, reopens: u32) -> Duration {
    if reopens == 0 {
        return policy.open_duration.min(policy.max_open_duration);
    }
    let exponent = i32::try_from(reopens).unwrap_or(i32::MAX);
    let seconds = policy.open_duration.as_secs_f64() * policy.open_backoff_multiplier.powi(exponent);
    if seconds >= policy.max_open_duration.as_secs_f64() {
        // Here a factor of one, and infinity, end as well.
        policy.max_open_duration
    } else {
        // Of an unchecked policy it may be no time.
        Duration::try_from_secs_f64(seconds).unwrap_or(policy.max_open_duration)
    }
}

/// So many times as long. A factor that is negative or no number, as an unchecked policy may have, counts as zero.
pub(super) fn scaled(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor.max(0.0)).unwrap_or(Duration::MAX)
}

/// The same with its jitter, which never shortens it.
pub(super) fn jittered_open_time(policy: &BreakerPolicy, reopens: u32, random: u64) -> Duration {
    let open_time = open_time(policy, reopens);
    if policy.open_jitter_ratio == 0.0 {
        return open_time;
    }
    open_time.saturating_add(scaled(open_time, policy.open_jitter_ratio * unit(random)))
}

/// A random number as a real one in [0, 1).
pub(super) fn unit(random: u64) -> f64 {
    let numerator = (random >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

/// Whole milliseconds, rounded up, so that rounding never shortens an open time.
pub(super) fn millis_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_nanos().div_ceil(1_000_000).into())
}
