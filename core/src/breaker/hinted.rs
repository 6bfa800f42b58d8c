//! What a fleet hint does to a breaker: see [`fleet_hint`](crate::fleet_hint).

use super::Breaker;
use super::record::reaches;
use crate::policy::BreakerPolicy;
use crate::ring::Glance;
use crate::sync::Ordering;
use crate::time::Timestamp;

/// What a failure of a closed breaker is held against, as far as a hint changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) consecutive_failures: u32,
    pub(super) minimum_calls: u32,
}

impl Bounds {
    pub(super) fn of(policy: &BreakerPolicy) -> Self {
        Self { consecutive_failures: policy.consecutive_failures, minimum_calls: policy.minimum_in_window() }
    }

    /// Whether so many failures in a row trip.
    pub(super) fn is_reached_by(self, consecutive: u32) -> bool {
        self.consecutive_failures > 0 && consecutive >= self.consecutive_failures
    }

    /// Whether a failure has to look at the whole window. There may be more successes than at a glance: they can
    /// complete the minimum of calls, but only lower the rate.
    pub(super) fn may_be_reached(self, policy: &BreakerPolicy, glance: Glance) -> bool {
        let Glance { sum: failures, companions: successes, .. } = glance;
        let calls = (failures + successes).max(self.minimum_calls.into());
        policy.failure_count > 0 && failures >= policy.failure_count.into()
            || reaches(failures, calls, policy.failure_rate)
    }
}

impl Breaker {
    /// Opens for half of the failures until a time; what is zero stays off, and one stays one. `None`: for as many as
    /// the policy says. A breaker that is not closed, or under an order, is as it would be.
    pub fn set_hinted(&self, until: Option<Timestamp>) {
        self.hinted_until.store(until.map_or(0, Timestamp::as_nanos), Ordering::Relaxed);
    }

    /// The bounds while a hint is in force.
    pub(super) fn hinted_bounds(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Bounds> {
        let Bounds { consecutive_failures, minimum_calls } = Bounds::of(policy);
        let is_hinted = now.as_nanos() < self.hinted_until.load(Ordering::Relaxed);
        is_hinted.then(|| Bounds {
            consecutive_failures: consecutive_failures.div_ceil(2),
            minimum_calls: minimum_calls.div_ceil(2),
        })
    }
}
