use std::time::Duration;

/// Bounds how long a caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutPolicy {
    /// The whole call, with retries, queue wait and fallback; the caller's own earlier deadline wins. Zero: no limit
    /// of our own. Default 5 s: one second, as resilience4j and Hystrix have it, is too short for S3, SMTP or Stripe.
    pub call_timeout: Duration,
    /// One attempt, never more than what is left of the call. Zero: what is left of the call. Default zero.
    pub attempt_timeout: Duration,
    /// Whether the remaining time is sent to the service. Default true.
    pub propagate_deadline: bool,
    /// No attempt starts with less time left than this. Default 10 ms.
    pub min_attempt_budget: Duration,
}

impl Default for TimeoutPolicy {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::ZERO,
            propagate_deadline: true,
            min_attempt_budget: Duration::from_millis(10),
        }
    }
}
