//! Services as lines of the view, and their order.

use crate::commands::get::fallbacks;
use crate::commands::ordered;
use crate::message::short_name;
use crate::output::{Tone, basis_points, length, rate, std_duration};
use cofferdam_proto::v1;
use std::cmp::Reverse;
use std::collections::HashMap;

/// What rows show of a service, beside its figures.
pub(super) const FIELDS: &[&str] =
    &["service.namespace", "service.name", "policy.level", "breaker_state", "health", "holds"];

/// How a service does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// The level that counts.
    pub(super) level: String,
    /// The least good state of a breaker.
    pub(super) breaker: v1::BreakerState,
    /// Its health.
    pub(super) health: v1::HealthStatus,
    /// Instances with a breaker that is not closed.
    pub(super) open: u32,
    /// Instances that use it.
    pub(super) instances: u32,
    /// Instances that have the present policy in force.
    pub(super) applied: u32,
    /// Instances under a hold.
    pub(super) held: u32,
    /// What operators hold breakers in, whether or not an instance says so: of several holds, one that rejects calls.
    pub(super) hold: Option<v1::Hold>,
    /// Its calls.
    pub(super) calls: Option<v1::CallStats>,
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What is open, then what does badly.
    #[default]
    Worst,
    /// By name.
    Name,
    /// What is called most.
    Calls,
}

impl Sort {
    /// The next one.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Worst => Self::Name,
            Self::Name => Self::Calls,
            Self::Calls => Self::Worst,
        }
    }

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Worst => "worst first",
            Self::Name => "by name",
            Self::Calls => "most calls first",
        }
    }

    /// Puts rows in order.
    pub(super) fn apply(self, rows: &mut [Row]) {
        let name = |row: &Row| (row.namespace.clone(), row.name.clone());
        match self {
            Self::Name => rows.sort_by_cached_key(name),
            Self::Calls => rows.sort_by_cached_key(|row| (Reverse(row.milli_calls()), name(row))),
            Self::Worst => {
                rows.sort_by_cached_key(|row| {
                    (Reverse(row.trouble()), Reverse(row.errors()), Reverse(row.milli_calls()), name(row))
                });
            }
        }
    }
}

impl Row {
    fn milli_calls(&self) -> u64 {
        // Rates are far below what this cuts off.
        self.calls.as_ref().map_or(0, |calls| (calls.calls_per_second * 1000.0) as u64)
    }

    fn errors(&self) -> u32 {
        self.calls.as_ref().and_then(|calls| calls.attempt_error_bp).unwrap_or_default()
    }

    /// How much it wants to be looked at.
    fn trouble(&self) -> u8 {
        match (self.breaker, self.health) {
            (v1::BreakerState::Open, _) | (_, v1::HealthStatus::CircuitOpen) => 5,
            _ if self.hold.as_ref().is_some_and(|hold| ordered::rejects(hold) && ordered::is_whole(hold)) => 5,
            (v1::BreakerState::HalfOpen, _) => 4,
            (_, v1::HealthStatus::Unhealthy) => 3,
            (_, v1::HealthStatus::Degraded) => 2,
            _ if self.held > 0 || self.hold.is_some() || self.applied < self.instances => 1,
            _ => 0,
        }
    }

    /// Whether a breaker is open.
    pub(super) fn is_open(&self) -> bool {
        self.trouble() == 5
    }

    /// The tone of its state.
    pub(super) fn tone(&self) -> Tone {
        match self.trouble() {
            5 => Tone::Bad,
            1..=4 => Tone::Warn,
            _ if self.breaker == v1::BreakerState::Closed => Tone::Good,
            _ => Tone::Faint,
        }
    }

    /// `open 3/4`, `closed`, `closed held`; of a service without a breaker its health, if that is not good, or what it is
    /// held in.
    pub(super) fn state(&self) -> String {
        let state = match self.breaker {
            v1::BreakerState::Open => format!("open {}/{}", self.open, self.instances),
            v1::BreakerState::HalfOpen => format!("half-open {}/{}", self.open, self.instances),
            _ if matches!(self.health, v1::HealthStatus::Unhealthy | v1::HealthStatus::Degraded) => {
                short_name(self.health.as_str_name(), "HEALTH_STATUS_")
            }
            v1::BreakerState::Closed => "closed".to_owned(),
            v1::BreakerState::Unspecified => match &self.hold {
                Some(hold) => return ordered::held(hold),
                None => "-".to_owned(),
            },
        };
        if self.held > 0 || self.hold.is_some() { format!("{state} held") } else { state }
    }

    /// Its figures: calls a second, errors, latency, what fallbacks answered, and how many instances are in step.
    pub(super) fn figures(&self) -> [String; 5] {
        let calls = self.calls.as_ref();
        let p99 = calls.and_then(|calls| std_duration(calls.call_latency.as_ref()?.p99));
        let sync = if self.instances == 0 { String::new() } else { format!("{}/{}", self.applied, self.instances) };
        let figures = [
            calls.map_or_else(String::new, |calls| rate(calls.calls_per_second)),
            basis_points(calls.and_then(|calls| calls.attempt_error_bp)),
            length(p99),
            basis_points(fallbacks(calls)),
            sync,
        ];
        figures.map(|text| if text.is_empty() { "-".to_owned() } else { text })
    }
}

/// A row for each service.
pub(super) fn rows(services: Vec<v1::IsolatedService>, stats: Vec<v1::ServiceStats>) -> Vec<Row> {
    let mut stats: HashMap<_, _> =
        stats.into_iter().map(|stats| ((stats.namespace.clone(), stats.service.clone()), stats)).collect();
    let row = |isolated: v1::IsolatedService| {
        let level = isolated.policy.as_ref().map_or(v1::IsolationLevel::Unspecified, v1::IsolationPolicy::level);
        let (breaker, health) =
            (isolated.breaker_state(), isolated.health.as_ref().map_or(v1::HealthStatus::Unspecified, |h| h.status()));
        let hold = ordered::weightiest(&isolated.holds).cloned();
        let service = isolated.service.unwrap_or_default();
        let stats = stats.remove(&(service.namespace.clone(), service.name.clone())).unwrap_or_default();
        Row {
            namespace: service.namespace,
            name: service.name,
            level: short_name(level.as_str_name(), "ISOLATION_LEVEL_"),
            breaker,
            health,
            open: stats.open_instances,
            instances: stats.instances,
            applied: stats.applied_instances,
            held: stats.held_instances,
            hold,
            calls: stats.calls,
        }
    };
    services.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_shows_whether_or_not_an_instance_says_so() {
        let held = |pool: &str, breaker| {
            let target = Some(v1::BreakerTarget { pool: pool.to_owned(), ..Default::default() });
            let hold = v1::Hold { target, forced: v1::ForcedState::Open.into(), ..Default::default() };
            Row { breaker, hold: Some(hold), ..Row::default() }
        };
        for (row, state, is_open) in [
            (held("", v1::BreakerState::Unspecified), "held open", true),
            (held("reads", v1::BreakerState::Unspecified), "partly held open", false),
            (held("reads", v1::BreakerState::Closed), "closed held", false),
        ] {
            assert_eq!((row.state().as_str(), row.is_open(), row.trouble() > 0), (state, is_open, true));
        }
    }
}
