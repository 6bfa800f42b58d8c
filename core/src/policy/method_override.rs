use super::{
    AdaptiveLimitPolicy, BreakerPolicy, BulkheadPolicy, ClassificationPolicy, FallbackPolicy, HedgePolicy, PolicySpec,
    RateLimitPolicy, RetryPolicy, TimeoutPolicy,
};

/// Sections of a policy replaced for the methods that match; what is `None` is the service's.
///
/// A section is replaced whole. One that has state of its own gets that, too: a replaced breaker, bulkhead, adaptive
/// limit, rate limit or fallback (its places and its cache) is shared by all methods that match, and by nobody else.
/// Level, health, fleet hint and retry budget are always the service's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MethodOverride {
    /// The methods, where `*` stands for any run of characters, and a slash at the front says nothing. Not empty; at most
    /// 256 bytes.
    pub glob: String,
    /// Whether their calls may safely run twice. `None`: as the caller says.
    pub is_idempotent: Option<bool>,
    /// Deadlines of a call and of each attempt.
    pub timeout: Option<TimeoutPolicy>,
    /// When calls are rejected.
    pub breaker: Option<BreakerPolicy>,
    /// What counts as success, failure or neither.
    pub classification: Option<ClassificationPolicy>,
    /// Further attempts after a failure. Its budget is the service's.
    pub retry: Option<RetryPolicy>,
    /// Further attempts while one still runs.
    pub hedge: Option<HedgePolicy>,
    /// How many calls may run at once, whatever pool they name. It has no pools.
    pub bulkhead: Option<BulkheadPolicy>,
    /// How many calls may run at once, by what the service turns out to take.
    pub adaptive_limit: Option<AdaptiveLimitPolicy>,
    /// How many calls may start in a period. `Some(None)`: any number, where the service has a limit.
    pub rate_limit: Option<Option<RateLimitPolicy>>,
    /// What answers when the live call cannot.
    pub fallback: Option<FallbackPolicy>,
}

impl MethodOverride {
    /// The service's policy with the sections replaced, and without overrides.
    pub(super) fn applied_to(&self, service: &PolicySpec) -> PolicySpec {
        fn either<T: Clone>(replaced: &Option<T>, inherited: &T) -> T {
            replaced.as_ref().unwrap_or(inherited).clone()
        }
        PolicySpec {
            level: service.level,
            timeout: either(&self.timeout, &service.timeout),
            breaker: either(&self.breaker, &service.breaker),
            classification: either(&self.classification, &service.classification),
            retry: either(&self.retry, &service.retry),
            hedge: self.hedge.unwrap_or(service.hedge),
            bulkhead: either(&self.bulkhead, &service.bulkhead),
            adaptive_limit: self.adaptive_limit.unwrap_or(service.adaptive_limit),
            rate_limit: self.rate_limit.unwrap_or(service.rate_limit),
            fallback: either(&self.fallback, &service.fallback),
            health: service.health,
            fleet_hint: service.fleet_hint,
            method_overrides: Vec::new(),
        }
    }
}
