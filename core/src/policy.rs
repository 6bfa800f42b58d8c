//! Isolation policy: how calls to one service are isolated.
//!
//! A [`PolicySpec`] holds the numbers, open to be filled in; a [`Policy`] is a spec that was checked as a whole, and
//! is the only thing that the engine takes. The same check guards a manager's writes and an SDK's apply, so a policy
//! that was stored is one that an instance accepts.

mod adaptive_limit;
mod breaker;
mod bulkhead;
mod classification;
mod fallback;
mod fleet_hint;
mod health;
mod hedge;
pub mod limits;
mod method_override;
mod preset;
mod rate_limit;
mod retry;
mod timeout;
mod validate;

pub use adaptive_limit::{AdaptiveLimitKind, AdaptiveLimitPolicy};
pub use breaker::{BreakerMode, BreakerPolicy, BreakerWindow, LeaseExpiry, TimeWindow};
pub use bulkhead::{BulkheadPolicy, PoolPolicy};
pub use classification::{ClassificationPolicy, ErrorTypeRule};
pub use fallback::{
    AlternativeFallback, CachedFallback, DegradedFallback, FallbackPolicy, FallbackStep, FallbackTrigger,
    StaticFallback,
};
pub use fleet_hint::{FleetHintMode, FleetHintPolicy};
pub use health::HealthPolicy;
pub use hedge::HedgePolicy;
pub use method_override::MethodOverride;
pub use preset::{Preset, UnknownPreset};
pub use rate_limit::RateLimitPolicy;
pub use retry::{BudgetPolicy, Jitter, RetryPolicy};
pub use timeout::TimeoutPolicy;
pub use validate::{InvalidPolicy, Violation};

use crate::level::Level;
use std::ops::Deref;
use std::sync::Arc;

/// All that is said about how calls to one service are isolated; not yet checked.
///
/// ```
/// use cofferdam_core::level::Level;
/// use cofferdam_core::policy::{BreakerPolicy, Policy, PolicySpec};
///
/// let policy = Policy::new(PolicySpec {
///     level: Level::Enhanced,
///     breaker: BreakerPolicy { consecutive_failures: 3, ..BreakerPolicy::default() },
///     ..PolicySpec::default()
/// })?;
/// assert_eq!(policy.breaker.consecutive_failures, 3);
/// # Ok::<(), cofferdam_core::policy::InvalidPolicy>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicySpec {
    /// Which of the sections below are in force.
    pub level: Level,
    /// Deadlines of a call and of each attempt.
    pub timeout: TimeoutPolicy,
    /// When calls are rejected because the service is failing.
    pub breaker: BreakerPolicy,
    /// What counts as success, failure or neither.
    pub classification: ClassificationPolicy,
    /// Further attempts after a failure.
    pub retry: RetryPolicy,
    /// Further attempts while one still runs.
    pub hedge: HedgePolicy,
    /// How many calls may run at once.
    pub bulkhead: BulkheadPolicy,
    /// How many calls may run at once, by what the service turns out to take.
    pub adaptive_limit: AdaptiveLimitPolicy,
    /// How many calls may start in a period. `None`: any number.
    pub rate_limit: Option<RateLimitPolicy>,
    /// What answers when the live call cannot.
    pub fallback: FallbackPolicy,
    /// Thresholds of the health derived from outcomes.
    pub health: HealthPolicy,
    /// Whether the service's own breaker trips sooner where those of other instances have.
    pub fleet_hint: FleetHintPolicy,
    /// Sections replaced for some methods; the first whose glob matches wins. Globs are unique; at most 64.
    pub method_overrides: Vec<MethodOverride>,
}

/// A checked [`PolicySpec`]; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy(Arc<PolicySpec>);

impl Policy {
    /// Checks a spec as a whole.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] lists every field at fault.
    pub fn new(spec: PolicySpec) -> Result<Self, InvalidPolicy> {
        validate::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    /// The spec, to change and check anew.
    pub fn to_spec(&self) -> PolicySpec {
        PolicySpec::clone(&self.0)
    }

    /// The same policy at another level: levels are masks, so any policy is good at each.
    #[must_use]
    pub fn at_level(&self, level: Level) -> Self {
        if self.level == level { self.clone() } else { Self(Arc::new(PolicySpec { level, ..self.to_spec() })) }
    }

    /// What calls go by that the policy's override of this number matches: a policy without overrides. `None`: there
    /// are fewer.
    pub fn overridden(&self, number: usize) -> Option<Self> {
        // It has been checked along with the whole.
        Some(Self(Arc::new(self.method_overrides.get(number)?.applied_to(&self.0))))
    }
}

impl Deref for Policy {
    type Target = PolicySpec;

    fn deref(&self) -> &PolicySpec {
        &self.0
    }
}
