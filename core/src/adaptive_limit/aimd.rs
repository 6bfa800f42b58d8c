//! Additive increase, multiplicative decrease, as `AIMDLimit` of Netflix's concurrency-limits: one more after a window
//! that went well and used at least half of the limit, a tenth less after one of overload.
//!
//! It needs failures to see overload: calls that run out of their timeout, and those that the service turns away. So it
//! finds the most calls that a service answers in time, which may be with a long queue. In return a service whose
//! latency varies for good reasons does not mislead it.

use super::window::Sample;

/// The limit after a window.
pub(super) fn next(limit: u32, sample: &Sample) -> u32 {
    if sample.is_overload {
        let less = u64::from(limit) * 9 / 10;
        return u32::try_from(less).unwrap_or(limit);
    }
    // With less in flight the limit was no limit, and that it could be higher is not known.
    if sample.max_in_flight >= limit.div_ceil(2) { limit.saturating_add(1) } else { limit }
}
