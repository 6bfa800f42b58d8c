//! How many instances report which state, so that the least good one is known without asking them all.

use cofferdam_proto::v1::{BreakerState, HealthStatus};

use super::Condition;

/// Breaker states from the least good on.
const BREAKERS: [BreakerState; 3] = [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed];

/// Health from the least good on.
const HEALTH: [HealthStatus; 4] = [
    HealthStatus::CircuitOpen,
    HealthStatus::Unhealthy,
    HealthStatus::Degraded,
    HealthStatus::Healthy,
];

/// Counts of members by state; those that report nothing are not counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    breakers: [u32; BREAKERS.len()],
    health: [u32; HEALTH.len()],
}

impl Tally {
    pub(super) fn add(&mut self, breaker: BreakerState, health: HealthStatus) {
        self.shift(breaker, health, |count| count.saturating_add(1));
    }

    pub(super) fn remove(&mut self, breaker: BreakerState, health: HealthStatus) {
        self.shift(breaker, health, |count| count.saturating_sub(1));
    }

    /// How many are open or half-open.
    pub(super) fn open(&self) -> u32 {
        let [open, half_open, _] = self.breakers;
        open.saturating_add(half_open)
    }

    /// The least good states.
    pub(super) fn condition(&self) -> Condition {
        let breaker = BREAKERS.into_iter().zip(self.breakers).find(|(_, count)| *count > 0);
        let health = HEALTH.into_iter().zip(self.health).find(|(_, count)| *count > 0);
        Condition {
            breaker: breaker.map(|(state, _)| state).unwrap_or_default(),
            health: health.map(|(status, _)| status).unwrap_or_default(),
        }
    }

    fn shift(&mut self, breaker: BreakerState, health: HealthStatus, change: impl Fn(u32) -> u32) {
        for (state, count) in BREAKERS.into_iter().zip(&mut self.breakers) {
            if state == breaker {
                *count = change(*count);
            }
        }
        for (status, count) in HEALTH.into_iter().zip(&mut self.health) {
            if status == health {
                *count = change(*count);
            }
        }
    }
}
