//! The health of a service, derived from how its calls end.
//!
//! A rate over few calls says nothing, so a service is healthy until `minimum_calls` were seen in the window. Only an
//! open breaker says more than any rate: then the service gets no calls, and its rate is that of the past.

use crate::policy::HealthPolicy;
use crate::ring::{Ring, Scale, Shape, StripedRing};
use crate::time::Timestamp;

/// A call leaves the window by a twelfth of its length early at most: five seconds of a minute.
const BUCKETS: u32 = 12;

/// How a service does; a worse status is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthStatus {
    /// It works, or too little is known to say otherwise.
    #[default]
    Healthy,
    /// It works with errors.
    Degraded,
    /// It does not work well enough to be used.
    Unhealthy,
    /// A breaker keeps calls from it.
    CircuitOpen,
}

impl HealthStatus {
    /// The worse of two.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        self.max(other)
    }

    /// Its name: `healthy`, `degraded`, `unhealthy` or `circuit_open`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

/// How the calls of the last while ended. A policy with another `window` starts afresh when it is put in force; every
/// other change of the policy applies to what was already recorded.
///
/// ```
/// use cofferdam_core::health::{HealthStatus, HealthWindow};
/// use cofferdam_core::policy::HealthPolicy;
/// use cofferdam_core::time::Timestamp;
///
/// let policy = HealthPolicy { minimum_calls: 4, ..HealthPolicy::default() };
/// let (window, now) = (HealthWindow::new(&policy), Timestamp::from_millis(1));
/// for is_failure in [false, true, false] {
///     window.record(is_failure, now);
/// }
/// assert_eq!(window.status(false, now, &policy), HealthStatus::Healthy);
/// window.record(true, now);
/// assert_eq!(window.error_rate(now, &policy), Some(0.5));
/// assert_eq!(window.status(false, now, &policy), HealthStatus::Unhealthy);
/// ```
#[derive(Debug)]
pub struct HealthWindow {
    scale: Scale,
    failures: Ring,
    successes: StripedRing,
}

impl HealthWindow {
    /// A window without calls.
    pub fn new(policy: &HealthPolicy) -> Self {
        Self { scale: Scale::new(shape(policy)), failures: Ring::new(), successes: StripedRing::new() }
    }

    /// Goes by another policy from now on: another `window` begins afresh.
    pub fn set_policy(&self, policy: &HealthPolicy) {
        self.scale.advance(shape(policy));
    }

    /// Counts a call that ended.
    #[inline]
    pub fn record(&self, is_failure: bool, now: Timestamp) {
        let frame = self.scale.frame(0);
        if is_failure {
            self.failures.add(frame, frame.tick(now));
        } else if !self.successes.add_at_present(frame, now) {
            self.successes.add(frame, now);
        }
    }

    /// Failures per call in the window, in [0, 1]; `None` where it holds no call, or fewer than `minimum_calls`.
    pub fn error_rate(&self, now: Timestamp, policy: &HealthPolicy) -> Option<f64> {
        let frame = self.scale.frame(0);
        let tick = frame.tick(now);
        let failures = self.failures.sum(frame, tick);
        let calls = failures + self.successes.sum(frame, tick);
        (calls >= u64::from(policy.minimum_calls.max(1))).then(|| failures as f64 / calls as f64)
    }

    /// Whether the window holds a failure.
    pub fn has_failures(&self, now: Timestamp) -> bool {
        let frame = self.scale.frame(0);
        self.failures.sum(frame, frame.tick(now)) > 0
    }

    /// The health; `is_open` says whether a breaker keeps calls from the service.
    pub fn status(&self, is_open: bool, now: Timestamp, policy: &HealthPolicy) -> HealthStatus {
        if is_open {
            return HealthStatus::CircuitOpen;
        }
        match self.error_rate(now, policy) {
            // Without a failure it is healthy whatever the threshold.
            Some(rate) if rate > 0.0 && rate >= policy.unhealthy_error_rate => HealthStatus::Unhealthy,
            Some(rate) if rate > policy.degraded_error_rate => HealthStatus::Degraded,
            _ => HealthStatus::Healthy,
        }
    }
}

fn shape(policy: &HealthPolicy) -> Shape {
    Shape::new(policy.window, BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A window with so many failures and successes, all at one time.
    fn window(failures: u32, successes: u32, now: Timestamp, policy: &HealthPolicy) -> HealthWindow {
        let window = HealthWindow::new(policy);
        (0..failures).for_each(|_| window.record(true, now));
        (0..successes).for_each(|_| window.record(false, now));
        window
    }

    #[test]
    fn a_worse_status_is_greater() {
        use HealthStatus::{CircuitOpen, Degraded, Healthy, Unhealthy};
        let ordered = [Healthy, Degraded, Unhealthy, CircuitOpen];
        assert!(ordered.is_sorted());
        assert_eq!(Degraded.worse(Healthy), Degraded);
        assert_eq!(Degraded.worse(CircuitOpen), CircuitOpen);
        assert_eq!(ordered.map(HealthStatus::name), ["healthy", "degraded", "unhealthy", "circuit_open"]);
    }

    #[test]
    fn a6_thresholds() {
        let policy = HealthPolicy::default();
        let status = |failures, successes| window(failures, successes, at(7), &policy).status(false, at(7), &policy);
        assert_eq!(status(0, 0), HealthStatus::Healthy);
        assert_eq!(status(9, 0), HealthStatus::Healthy, "too few calls");
        assert_eq!(status(10, 0), HealthStatus::Unhealthy);
        assert_eq!(status(2, 8), HealthStatus::Healthy, "not above 20 %");
        assert_eq!(status(21, 79), HealthStatus::Degraded);
        assert_eq!(status(49, 51), HealthStatus::Degraded);
        assert_eq!(status(50, 50), HealthStatus::Unhealthy, "at 50 %");
    }

    #[test]
    fn an_open_breaker_wins() {
        let policy = HealthPolicy::default();
        assert_eq!(window(0, 20, at(7), &policy).status(true, at(7), &policy), HealthStatus::CircuitOpen);
        assert_eq!(HealthWindow::new(&policy).status(true, at(7), &policy), HealthStatus::CircuitOpen);
    }

    #[test]
    fn no_calls_have_no_rate() {
        let policy = HealthPolicy { minimum_calls: 0, ..HealthPolicy::default() };
        assert_eq!(HealthWindow::new(&policy).error_rate(at(1), &policy), None);
        assert_eq!(window(0, 1, at(1), &policy).error_rate(at(1), &policy), Some(0.0));
    }

    #[test]
    fn calls_leave_the_window() {
        let policy = HealthPolicy::default();
        let window = window(10, 0, at(500), &policy);
        (0..30).for_each(|_| window.record(false, at(30_000)));
        assert_eq!(window.error_rate(at(59_999), &policy), Some(0.25));
        assert_eq!(window.error_rate(at(60_000), &policy), Some(0.0));
        assert_eq!(window.error_rate(at(89_999), &policy), Some(0.0));
        assert_eq!(window.error_rate(at(90_000), &policy), None);
    }

    #[test]
    fn reading_changes_nothing() {
        let policy = HealthPolicy::default();
        let window = window(10, 10, at(100), &policy);
        assert_eq!(window.error_rate(at(3_600_000), &policy), None);
        assert_eq!(window.error_rate(at(100), &policy), Some(0.5));
    }

    #[test]
    fn a_new_policy_applies_at_once() {
        let policy = HealthPolicy::default();
        let window = window(3, 7, at(100), &policy);
        let strict = HealthPolicy { unhealthy_error_rate: 0.3, ..policy };
        assert_eq!(window.status(false, at(100), &strict), HealthStatus::Unhealthy);
        let careful = HealthPolicy { minimum_calls: 11, ..policy };
        assert_eq!(window.status(false, at(100), &careful), HealthStatus::Healthy);
        let shorter = HealthPolicy { window: Duration::from_secs(1), minimum_calls: 1, ..policy };
        window.set_policy(&shorter);
        assert_eq!(window.error_rate(at(100), &shorter), None);
        window.record(true, at(100));
        window.set_policy(&shorter);
        assert_eq!(window.error_rate(at(100), &shorter), Some(1.0), "the same again begins nothing");
    }

    #[test]
    fn without_a_failure_it_is_healthy_whatever_the_thresholds() {
        let policy = HealthPolicy { degraded_error_rate: 0.0, unhealthy_error_rate: 0.0, ..HealthPolicy::default() };
        let status = |failures, successes| window(failures, successes, at(7), &policy).status(false, at(7), &policy);
        assert_eq!(status(0, 10), HealthStatus::Healthy);
        assert_eq!(status(1, 999), HealthStatus::Unhealthy);
    }

    #[test]
    fn the_end_of_time_does_no_harm() {
        let (policy, end) = (HealthPolicy::default(), Timestamp::from_nanos(u64::MAX));
        assert_eq!(window(10, 10, end, &policy).error_rate(end, &policy), Some(0.5));
    }

    #[test]
    fn an_unchecked_policy_does_no_harm() {
        for length in [Duration::ZERO, Duration::MAX] {
            let policy = HealthPolicy { window: length, ..HealthPolicy::default() };
            assert_eq!(window(10, 0, at(1), &policy).status(false, at(1), &policy), HealthStatus::Unhealthy);
        }
    }
}
