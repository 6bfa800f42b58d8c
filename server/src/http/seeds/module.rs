//! What the seeds call a module, a service or a breaker: a registered service.

use std::time::Duration;

use cofferdam_core::wire::effective_policy;
use cofferdam_proto::v1;

/// What of a service says how its module does.
pub(super) const FIELDS: [&str; 6] =
    ["service", "policy.level", "policy.timeout", "policy.fallback", "breaker_state", "health"];

/// A service, with what these shapes have room for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) purpose: String,
    /// The services that it needs, and whether it can do without.
    pub(super) dependencies: Vec<(String, bool)>,
    pub(super) is_enabled: bool,
    /// Healthy where nothing is known.
    pub(super) status: v1::HealthStatus,
    /// Why. Empty: nobody said.
    pub(super) message: String,
    /// The least good of its breakers.
    pub(super) state: State,
    /// Its own breaker.
    pub(super) own: State,
    /// The breakers of pools and methods, by pool or glob.
    pub(super) breakers: Vec<(String, State)>,
    /// Attempts that failed since the managers started.
    pub(super) failures: u64,
    /// Attempts that succeeded since then.
    pub(super) successes: u64,
    /// How long that is.
    pub(super) period: Duration,
    pub(super) has_fallback: bool,
    /// Whether a breaker is in force at its level.
    pub(super) has_breaker: bool,
}

/// The states of a breaker, as seeds write them, from the best to the worst. Where there is no breaker, calls go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Closed,
    HalfOpen,
    Open,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
        }
    }
}

impl From<v1::BreakerState> for State {
    fn from(state: v1::BreakerState) -> Self {
        match state {
            v1::BreakerState::Unspecified | v1::BreakerState::Closed => Self::Closed,
            v1::BreakerState::Open => Self::Open,
            v1::BreakerState::HalfOpen => Self::HalfOpen,
        }
    }
}

impl Module {
    pub(super) fn new(isolated: &v1::IsolatedService, stats: Option<&v1::ServiceStats>) -> Self {
        let service = isolated.service.clone().unwrap_or_default();
        let health = isolated.health.clone().unwrap_or_default();
        let policy = isolated.policy.as_ref().and_then(|policy| effective_policy(policy).ok());
        let optional = i32::from(v1::DependencyKind::Optional);
        let dependencies = service.dependencies.into_iter().map(|one| (one.service, one.kind == optional));
        let stats = stats.cloned().unwrap_or_default();
        let counters = stats.counters.unwrap_or_default();
        let period = stats.calls.and_then(|calls| calls.period).and_then(|period| Duration::try_from(period).ok());
        let breaker = |one: &v1::BreakerStats| {
            let name = if one.pool.is_empty() { &one.method_glob } else { &one.pool };
            (name.clone(), one.state().into())
        };
        Self {
            name: service.name,
            purpose: service.description,
            dependencies: dependencies.collect(),
            is_enabled: service.enabled.unwrap_or(true),
            status: match health.status() {
                v1::HealthStatus::Unspecified => v1::HealthStatus::Healthy,
                status => status,
            },
            message: health.message,
            state: isolated.breaker_state().into(),
            own: stats.own_breaker.as_ref().map(v1::BreakerStats::state).unwrap_or_default().into(),
            breakers: stats.breakers.iter().map(breaker).collect(),
            failures: counters.attempt_failures,
            successes: counters.attempt_successes,
            period: period.unwrap_or_default(),
            has_breaker: isolated.policy.as_ref().is_some_and(|policy| {
                matches!(policy.level(), v1::IsolationLevel::Enhanced | v1::IsolationLevel::Full)
            }),
            has_fallback: policy.is_some_and(|policy| policy.fallback.steps(policy.level).next().is_some()),
        }
    }

    /// Whether calls are answered without trouble.
    pub(super) fn is_well(&self) -> bool {
        self.is_enabled && self.status == v1::HealthStatus::Healthy && self.state == State::Closed
    }

    /// Attempts that failed, of all, as a share from 0 to 100 with one place: 2 of 100 are 2.0.
    pub(super) fn failure_percent(&self) -> f64 {
        (self.failure_share() * 1000.0).round() / 10.0
    }

    /// The same as a share from 0 to 1.
    pub(super) fn failure_share(&self) -> f64 {
        let all = self.failures.saturating_add(self.successes);
        if all == 0 { 0.0 } else { self.failures as f64 / all as f64 }
    }
}
