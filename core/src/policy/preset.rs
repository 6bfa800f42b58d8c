use super::{
    BreakerPolicy, BreakerWindow, BulkheadPolicy, DegradedFallback, FallbackPolicy, FallbackStep, Jitter, PolicySpec,
    PoolPolicy, RetryPolicy, TimeWindow, TimeoutPolicy,
};
use crate::level::Level;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A named set of values for a kind of dependency, at level enhanced. What a policy sets itself wins over its preset.
///
/// Values come from the systems that Cofferdam was made to replace; where those were silent the choice is ours and
/// the variant says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preset {
    /// A module of a Flask application: 5 consecutive failures open for 60 s, 2 successes close.
    FlaskModule,
    /// A database: 3 failures among at least 5 calls in 30 s open for 15 s. Pools for reads (20) and writes (10); the
    /// pool sizes are ours.
    Database,
    /// A cache: 5 failures among at least 10 calls in 60 s open for 10 s.
    Cache,
    /// An authentication service: 3 failures open for 20 s, and no fallback, so that callers fail fast with a clear
    /// error. Window (30 s), volume (5) and the pool's size (10) are ours.
    Auth,
    /// An API of somebody else: 5 failures open for 30 s. Window (60 s) and volume (10) are ours.
    ExternalApi,
    /// Stripe: no retry of a payment without an idempotency key, and "payment pending" when it cannot be made now.
    /// Thresholds are the defaults; the 15 s timeout is ours.
    Stripe,
    /// A database behind a Node service: 5 consecutive failures open for 30 s, retries with exponential backoff. The
    /// numbers are ours.
    NodeDb,
}

/// The text names no preset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown preset {0:?}: use flask-module, database, cache, auth, external-api, stripe or node-db")]
pub struct UnknownPreset(String);

impl Preset {
    /// All presets.
    pub const ALL: [Self; 7] =
        [Self::FlaskModule, Self::Database, Self::Cache, Self::Auth, Self::ExternalApi, Self::Stripe, Self::NodeDb];

    /// Its name, as policies write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FlaskModule => "flask-module",
            Self::Database => "database",
            Self::Cache => "cache",
            Self::Auth => "auth",
            Self::ExternalApi => "external-api",
            Self::Stripe => "stripe",
            Self::NodeDb => "node-db",
        }
    }

    /// Whether a field of the contract's `IsolationPolicy`, by its path, or what is above it, has its value from the preset
    /// and not from the defaults, whether or not the two are the same now.
    pub fn sets(self, path: &str) -> bool {
        path == "level" || self.fields().iter().any(|field| is_in(path, field))
    }

    /// Whether the preset sets a field or section, by its path, or something in it.
    pub fn states(self, path: &str) -> bool {
        self.sets(path) || self.fields().iter().any(|field| is_in(field, path))
    }

    /// What it sets beside the level, by path.
    fn fields(self) -> Vec<&'static str> {
        match self {
            Self::FlaskModule => CONSECUTIVE.to_vec(),
            Self::Database => [COUNT, &["bulkhead.pools"]].concat(),
            Self::Auth => [COUNT, &["bulkhead.pools", "fallback.enabled"]].concat(),
            Self::Cache | Self::ExternalApi => COUNT.to_vec(),
            Self::Stripe => vec!["timeout.call_timeout", "fallback.chain"],
            Self::NodeDb => [CONSECUTIVE, &["retry.jitter"]].concat(),
        }
    }

    /// Its values, with the defaults for all that it leaves open.
    pub fn spec(self) -> PolicySpec {
        let base = PolicySpec { level: Level::Enhanced, ..PolicySpec::default() };
        match self {
            Self::FlaskModule => PolicySpec { breaker: consecutive(5, 60), ..base },
            Self::Database => PolicySpec {
                breaker: count(3, 5, 30, 15),
                bulkhead: pools(&[("readPool", 20), ("writePool", 10)]),
                ..base
            },
            Self::Cache => PolicySpec { breaker: count(5, 10, 60, 10), ..base },
            Self::Auth => PolicySpec {
                breaker: count(3, 5, 30, 20),
                bulkhead: pools(&[("authPool", 10)]),
                fallback: FallbackPolicy { enabled: false, ..FallbackPolicy::default() },
                ..base
            },
            Self::ExternalApi => PolicySpec { breaker: count(5, 10, 60, 30), ..base },
            Self::Stripe => PolicySpec {
                timeout: TimeoutPolicy { call_timeout: Duration::from_secs(15), ..TimeoutPolicy::default() },
                fallback: FallbackPolicy {
                    chain: vec![FallbackStep::Degraded(DegradedFallback {
                        features: Vec::new(),
                        reason: "payment pending".to_owned(),
                    })],
                    ..FallbackPolicy::default()
                },
                ..base
            },
            Self::NodeDb => PolicySpec {
                breaker: consecutive(5, 30),
                retry: RetryPolicy { jitter: Jitter::Equal, ..RetryPolicy::default() },
                ..base
            },
        }
    }
}

/// Whether a path is another one, or of a field in it.
fn is_in(path: &str, section: &str) -> bool {
    path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What [`consecutive`] sets.
const CONSECUTIVE: &[&str] = &[
    "circuit_breaker.consecutive_failures",
    "circuit_breaker.failure_rate",
    "circuit_breaker.minimum_calls",
    "circuit_breaker.open_duration",
    "circuit_breaker.open_jitter_ratio",
];

/// What [`count`] sets.
const COUNT: &[&str] = &[
    "circuit_breaker.time_window.length",
    "circuit_breaker.minimum_calls",
    "circuit_breaker.consecutive_failures",
    "circuit_breaker.failure_count",
    "circuit_breaker.failure_rate",
    "circuit_breaker.open_duration",
    "circuit_breaker.open_jitter_ratio",
];

/// Opens for exactly `open` seconds at that many failures in a row.
fn consecutive(failures: u32, open: u64) -> BreakerPolicy {
    BreakerPolicy {
        consecutive_failures: failures,
        failure_rate: 0.0,
        minimum_calls: 0,
        open_duration: Duration::from_secs(open),
        open_jitter_ratio: 0.0,
        ..BreakerPolicy::default()
    }
}

/// Opens for exactly `open` seconds at that many failures among at least `minimum` calls in `window` seconds.
fn count(failures: u32, minimum: u32, window: u64, open: u64) -> BreakerPolicy {
    BreakerPolicy {
        window: BreakerWindow::Time(TimeWindow { length: Duration::from_secs(window), ..TimeWindow::default() }),
        minimum_calls: minimum,
        consecutive_failures: 0,
        failure_count: failures,
        failure_rate: 0.0,
        open_duration: Duration::from_secs(open),
        open_jitter_ratio: 0.0,
        ..BreakerPolicy::default()
    }
}

fn pools(sizes: &[(&str, u32)]) -> BulkheadPolicy {
    let pool = |&(name, max_concurrent): &(&str, u32)| PoolPolicy {
        name: name.to_owned(),
        max_concurrent,
        ..PoolPolicy::default()
    };
    BulkheadPolicy { pools: sizes.iter().map(pool).collect(), ..BulkheadPolicy::default() }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or_else(|| UnknownPreset(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    #[test]
    fn every_preset_is_a_valid_policy() {
        for preset in Preset::ALL {
            Policy::new(preset.spec()).unwrap();
            assert_eq!(preset.name().parse(), Ok(preset));
        }
        assert!("Database".parse::<Preset>().is_err());
    }
}
