use crate::level::Section;
use crate::policy::{AdaptiveLimitKind, FallbackStep, FallbackTrigger, PolicySpec};
use std::time::Duration;

/// What of a policy is in force at its level: found out once, for every call asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The time for a whole call. `None`: as long as it takes.
    pub(crate) call_timeout: Option<Duration>,
    /// The time for one attempt. `None`: as long as the call may take.
    pub(crate) attempt_timeout: Option<Duration>,
    /// The least time that an attempt may start with.
    pub(crate) least: Duration,
    pub(crate) has_breaker: bool,
    pub(crate) has_ramp: bool,
    pub(crate) has_retry: bool,
    pub(crate) has_bulkhead: bool,
    pub(crate) has_adaptive_limit: bool,
    pub(crate) has_rate_limit: bool,
    pub(crate) has_hedge: bool,
    /// Whether the chain asks other services when time is up, so that some of it is kept back.
    pub(crate) reserves: bool,
    /// Whether good answers are kept.
    pub(crate) has_cache: bool,
    /// Whether something goes by how long an attempt took.
    pub(crate) measures: bool,
    /// Whether a call whose breaker is closed, and which finds a place, begins at once, as far as it has time.
    pub(crate) begins_plainly: bool,
}

impl Plan {
    pub(super) fn of(policy: &PolicySpec) -> Self {
        let enforces = |section| policy.level.enforces(section);
        let unless_zero = |limit: Duration| Some(limit).filter(|limit| enforces(Section::Timeout) && !limit.is_zero());
        let has_step = |is: fn(&FallbackStep) -> bool| policy.fallback.steps(policy.level).any(is);
        let has_breaker = enforces(Section::CircuitBreaker);
        let has_ramp = enforces(Section::RampUp) && !policy.breaker.ramp_duration.is_zero();
        let has_adaptive_limit =
            enforces(Section::AdaptiveLimit) && policy.adaptive_limit.kind != AdaptiveLimitKind::Off;
        let has_rate_limit = enforces(Section::RateLimit) && policy.rate_limit.is_some();
        let has_hedge = enforces(Section::Hedge) && !policy.hedge.delay.is_zero();
        let reserves = has_step(|step| matches!(step, FallbackStep::Alternative(_)))
            && policy.fallback.on.contains(&FallbackTrigger::Timeout);
        let has_slow_calls = has_breaker && !policy.breaker.slow_call_duration.is_zero();
        Self {
            call_timeout: unless_zero(policy.timeout.call_timeout),
            attempt_timeout: unless_zero(policy.timeout.attempt_timeout),
            least: if enforces(Section::Timeout) { policy.timeout.min_attempt_budget } else { Duration::ZERO },
            has_breaker,
            has_ramp,
            has_retry: enforces(Section::Retry),
            has_bulkhead: enforces(Section::Bulkhead),
            has_adaptive_limit,
            has_rate_limit,
            has_hedge,
            reserves,
            has_cache: has_step(|step| matches!(step, FallbackStep::Cached(_))),
            measures: has_slow_calls || has_adaptive_limit || has_hedge,
            begins_plainly: !has_ramp && !has_adaptive_limit && !has_rate_limit && !reserves,
        }
    }
}
