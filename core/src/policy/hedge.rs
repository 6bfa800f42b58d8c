use std::time::Duration;

/// Another attempt of an idempotent call while the first still runs; the first good answer is the call's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgePolicy {
    /// How long after an attempt the next one starts. Zero, the default: no hedging. Above zero where `percentile` is.
    pub delay: Duration,
    /// Attempts beside the first at most, 1 to 4. Default 1, as Polly and failsafe-go have it. gRPC allows five attempts
    /// in all.
    pub max_extra: u32,
    /// Where above zero, the delay is this quantile of the recent latencies instead, in [0, 1), once
    /// [enough](crate::latency::enough_for) of them have been measured. Default zero.
    pub percentile: f64,
}

impl HedgePolicy {
    /// One more attempt after a fixed time.
    pub const fn after(delay: Duration) -> Self {
        Self { delay, max_extra: 1, percentile: 0.0 }
    }
}

impl Default for HedgePolicy {
    /// No hedging.
    fn default() -> Self {
        Self::after(Duration::ZERO)
    }
}
