//! How many instances report which state, so that the least good one is known without asking them all.

use cofferdam_core::{breaker::State, health::HealthStatus};

use super::Condition;

/// Breaker states from the least good on.
const BREAKERS: [State; 3] = [State::Open, State::HalfOpen, State::Closed];

/// Health from the least good on.
const HEALTH: [HealthStatus; 4] =
    [HealthStatus::CircuitOpen, HealthStatus::Unhealthy, HealthStatus::Degraded, HealthStatus::Healthy];

/// Counts of members by state; those that report nothing are not counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    breakers: [u32; BREAKERS.len()],
    health: [u32; HEALTH.len()],
}

impl Tally {
    pub(super) fn add(&mut self, member: Condition) {
        self.shift(member, |count| count.saturating_add(1));
    }

    pub(super) fn remove(&mut self, member: Condition) {
        self.shift(member, |count| count.saturating_sub(1));
    }

    /// How many are open or half-open.
    pub(super) fn open(&self) -> u32 {
        let [open, half_open, _] = self.breakers;
        open.saturating_add(half_open)
    }

    /// How many report each state of a breaker.
    pub(super) fn breakers(&self) -> [(State, u32); BREAKERS.len()] {
        let mut each = BREAKERS.map(|state| (state, 0));
        for ((_, count), known) in each.iter_mut().zip(self.breakers) {
            *count = known;
        }
        each
    }

    /// The least good states.
    pub(super) fn condition(&self) -> Condition {
        Condition { breaker: first(BREAKERS, self.breakers), health: first(HEALTH, self.health) }
    }

    fn shift(&mut self, member: Condition, change: impl Fn(u32) -> u32) {
        for (state, count) in BREAKERS.into_iter().zip(&mut self.breakers) {
            if member.breaker == Some(state) {
                *count = change(*count);
            }
        }
        for (status, count) in HEALTH.into_iter().zip(&mut self.health) {
            if member.health == Some(status) {
                *count = change(*count);
            }
        }
    }
}

/// The first that somebody reports.
fn first<T, const N: usize>(all: [T; N], counts: [u32; N]) -> Option<T> {
    all.into_iter().zip(counts).find(|(_, count)| *count > 0).map(|(state, _)| state)
}
