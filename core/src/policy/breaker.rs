use crate::time::WallTime;
use std::time::Duration;

/// The least time that probes get where the policy does not say.
const SHORTEST_DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// When calls are rejected because the service is failing. It trips on any of its triggers, each off at zero:
/// consecutive failures, failures in the window, failure rate, slow call rate. `minimum_calls` gates the last three.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// What it says apart from what the breaker has learned. Default auto.
    pub mode: BreakerMode,
    /// When the mode goes back to auto by itself. It is read once, when the policy is put in force, against what the
    /// host's clocks read then. `None`: never. Default `None`.
    pub mode_until: Option<WallTime>,
    /// The window that count and rates look at. Default 30 s in 10 buckets, as Polly's sampling.
    pub window: BreakerWindow,
    /// Calls that the window must hold before count and rates may trip; of a window of calls no more than it can hold, as
    /// in resilience4j. Default 10, between Sentinel's 5 and Hystrix's 20: resilience4j's 100 never trips at a small
    /// service.
    pub minimum_calls: u32,
    /// Failures in a row that trip. Zero: off. Default 5, as pybreaker, Envoy and Finagle.
    pub consecutive_failures: u32,
    /// Failures in the window that trip. Zero: off. Default off.
    pub failure_count: u32,
    /// Share of failures in the window, in [0, 1], at or above which it trips. Zero: off. Default 0.5.
    pub failure_rate: f64,
    /// Latency at or above which a call is slow, whatever its outcome. Zero: no call is slow. Default zero: how long is
    /// too long is the service's to say, and resilience4j's 60 s is no help.
    pub slow_call_duration: Duration,
    /// Share of slow calls in the window, in [0, 1], at or above which it trips. Unless it is off, a slow probe counts as a
    /// failed one. Zero: off. Default 1, as resilience4j.
    pub slow_call_rate: f64,
    /// How long calls are rejected before the first probe. Default 30 s, as Envoy and opossum.
    pub open_duration: Duration,
    /// Factor by which the open time grows at each reopening; a close resets it. Default 1.
    pub open_backoff_multiplier: f64,
    /// Upper bound of the open time, jitter not counted. Default 300 s, as Envoy and Finagle.
    pub max_open_duration: Duration,
    /// Up to this share of the open time is added at random; it never shortens. Default 0.1.
    pub open_jitter_ratio: f64,
    /// Probes in flight at once in half-open. Zero: `success_threshold`. Default zero.
    pub half_open_max_in_flight: u32,
    /// Consecutive probe successes that close. Default 2.
    pub success_threshold: u32,
    /// Probe failures that are forgiven before it opens again. Default zero.
    pub half_open_allowed_failures: u32,
    /// How long probes may be out before they are written off. Zero: `open_duration`, or 30 s where that is longer, for
    /// a probe that is written off while it still runs can never close the breaker. Default zero.
    pub half_open_lease: Duration,
    /// What happens to a breaker whose probes were written off. Default a fresh round of probes.
    pub on_lease_expiry: LeaseExpiry,
    /// For how long after a close calls are admitted with a growing probability. Zero: all at once. Default zero.
    pub ramp_duration: Duration,
    /// The probability that the ramp starts from, in [0, 1]. Default 0.1, as Envoy's slow start.
    pub ramp_min_ratio: f64,
}

/// What a policy says of a breaker apart from what the breaker has learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerMode {
    /// Trip and recover by the rules.
    #[default]
    Auto,
    /// Reject every call.
    ForcedOpen,
    /// Admit every call and never trip; calls are still counted.
    Disabled,
    /// Trip and recover by the rules, but admit every call: transitions are told as what would have been.
    MetricsOnly,
}

impl BreakerMode {
    /// Whether the breaker stays where it is, whatever becomes of its calls.
    pub(crate) fn is_fixed(self) -> bool {
        matches!(self, Self::ForcedOpen | Self::Disabled)
    }
}

/// What becomes of a half-open breaker whose probes never came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseExpiry {
    /// A fresh round of probes.
    #[default]
    Reprobe,
    /// Open again.
    Open,
    /// Close.
    Close,
}

/// What the window of a breaker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerWindow {
    /// The calls of the last while.
    Time(TimeWindow),
    /// The last so many calls, 1 to 1024.
    Count(u32),
}

impl Default for BreakerWindow {
    fn default() -> Self {
        Self::Time(TimeWindow::default())
    }
}

/// The calls of the last while, in buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// Its length, at least 100 ms. It counts in whole microseconds: what is less is cut off.
    pub length: Duration,
    /// In how many buckets, 1 to 60, each at least 10 ms long.
    pub buckets: u32,
}

impl Default for TimeWindow {
    fn default() -> Self {
        Self { length: Duration::from_secs(30), buckets: 10 }
    }
}

impl BreakerPolicy {
    /// Calls that the window must hold before count and rates may trip: `minimum_calls`, of which a window of so many calls
    /// never asks for more than it holds.
    pub(crate) fn minimum_in_window(&self) -> u32 {
        match self.window {
            BreakerWindow::Time(_) => self.minimum_calls,
            BreakerWindow::Count(size) => self.minimum_calls.min(size),
        }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            mode: BreakerMode::Auto,
            mode_until: None,
            window: BreakerWindow::default(),
            minimum_calls: 10,
            consecutive_failures: 5,
            failure_count: 0,
            failure_rate: 0.5,
            slow_call_duration: Duration::ZERO,
            slow_call_rate: 1.0,
            open_duration: Duration::from_secs(30),
            open_backoff_multiplier: 1.0,
            max_open_duration: Duration::from_secs(300),
            open_jitter_ratio: 0.1,
            half_open_max_in_flight: 0,
            success_threshold: 2,
            half_open_allowed_failures: 0,
            half_open_lease: Duration::ZERO,
            on_lease_expiry: LeaseExpiry::Reprobe,
            ramp_duration: Duration::ZERO,
            ramp_min_ratio: 0.1,
        }
    }
}

impl BreakerPolicy {
    /// Whether a call that took so long is slow.
    #[inline]
    pub fn is_slow(&self, latency: Duration) -> bool {
        !self.slow_call_duration.is_zero() && latency >= self.slow_call_duration
    }

    /// How many probes may be in flight at once.
    pub fn max_probes(&self) -> u32 {
        match self.half_open_max_in_flight {
            0 => self.success_threshold,
            cap => cap,
        }
    }

    /// How long probes may be out before they are written off.
    pub fn lease(&self) -> Duration {
        if self.half_open_lease.is_zero() {
            self.open_duration.max(SHORTEST_DEFAULT_LEASE)
        } else {
            self.half_open_lease
        }
    }
}
