use std::time::Duration;

/// How often, how soon and at whose expense a failed attempt is repeated. Rejections of our own are never retried.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included, 1 to 10. Default 3.
    pub max_attempts: u32,
    /// Pause before the second attempt. Default 100 ms.
    pub initial_backoff: Duration,
    /// Factor from each pause to the next, in [1, 10]. Default 2.
    pub multiplier: f64,
    /// Longest pause, not below `initial_backoff`. Default 2 s.
    pub max_backoff: Duration,
    /// How pauses are made random. Default full.
    pub jitter: Jitter,
    /// What retries may cost.
    pub budget: BudgetPolicy,
    /// gRPC status codes worth another attempt. Empty, the default: UNAVAILABLE, and DEADLINE_EXCEEDED where a call is
    /// idempotent.
    pub retryable_grpc_codes: Vec<u32>,
    /// Whether only idempotent calls are repeated once they may have reached the service. Default true.
    pub only_idempotent: bool,
    /// Whether the service's own word on when to come again decides the pause. Default true.
    pub honour_pushback: bool,
    /// Longest such pause; a longer one stops. Zero: what is left of the call. Default zero.
    pub max_pushback: Duration,
}

/// How a pause is made random.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// The pause as it is.
    None,
    /// Within this ratio of the pause, either way; in [0, 1].
    PlusMinus(f64),
    /// Half of the pause, and up to the other half at random.
    Equal,
    /// Anything above zero up to the pause: spreads callers best, see "Exponential Backoff And Jitter" (AWS).
    #[default]
    Full,
}

/// Caps retries and hedges together to a share of the calls, for the whole service, as Finagle's retry budget does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetPolicy {
    /// Retries earned by each call, in [0, 1]. Default 0.2.
    pub ratio: f64,
    /// Retries a second that are always there. Default 10.
    pub min_per_second: u32,
    /// How long an earned retry keeps, 1 s to 60 s. Default 10 s.
    pub ttl: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            initial_backoff: Duration::from_millis(100),
            multiplier: 2.0,
            max_backoff: Duration::from_secs(2),
            jitter: Jitter::Full,
            budget: BudgetPolicy::default(),
            retryable_grpc_codes: Vec::new(),
            only_idempotent: true,
            honour_pushback: true,
            max_pushback: Duration::ZERO,
        }
    }
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { ratio: 0.2, min_per_second: 10, ttl: Duration::from_secs(10) }
    }
}

/// UNAVAILABLE.
const UNAVAILABLE: u32 = 14;
/// DEADLINE_EXCEEDED.
const DEADLINE_EXCEEDED: u32 = 4;

impl RetryPolicy {
    /// Whether a gRPC status code is worth another attempt.
    pub fn retries_grpc(&self, code: u32, idempotent: bool) -> bool {
        if self.retryable_grpc_codes.is_empty() {
            code == UNAVAILABLE || (code == DEADLINE_EXCEEDED && idempotent)
        } else {
            self.retryable_grpc_codes.contains(&code)
        }
    }
}
