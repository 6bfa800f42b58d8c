use std::time::Duration;

/// How many calls may start in a period. There is no default: a policy without one limits nothing, as in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimitPolicy {
    /// Calls in each period, at least 1.
    pub permits: u32,
    /// The period, above zero. Default 1 s. Calls are spaced by a whole number of nanoseconds, rounded up, which is
    /// noticeable above some ten million calls a second.
    pub period: Duration,
    /// Calls that may start at once after a quiet time. Zero: `permits`. Default zero, as governor.
    pub burst: u32,
    /// How long a call may wait for its turn; it counts against the call's deadline, and is never more than half of the
    /// time that the call has left. Default zero: not at all.
    pub max_wait: Duration,
}

impl RateLimitPolicy {
    /// The period of a limit that names none.
    pub const DEFAULT_PERIOD: Duration = Duration::from_secs(1);

    /// So many calls a second, all at once or one by one, of which none waits.
    pub const fn per_second(permits: u32) -> Self {
        Self { permits, period: Self::DEFAULT_PERIOD, burst: 0, max_wait: Duration::ZERO }
    }
}
