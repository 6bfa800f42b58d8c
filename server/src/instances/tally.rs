//! How many instances report which state, so that the least good one is known without asking them all.

use std::collections::BTreeMap;

use cofferdam_core::{breaker::State, health::HealthStatus, isolation::Part};

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
    /// At how many each breaker is open, and half-open; one that is so at none is not in it.
    parts: BTreeMap<Part, (u32, u32)>,
}

impl Tally {
    /// Counts a member, with its breakers that are not closed.
    pub(super) fn add(&mut self, member: Condition, parts: &[(Part, State)]) {
        self.shift(member, parts, |count| count.saturating_add(1));
    }

    /// Counts a member no more, which was counted as this.
    pub(super) fn remove(&mut self, member: Condition, parts: &[(Part, State)]) {
        self.shift(member, parts, |count| count.saturating_sub(1));
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

    /// At how many each breaker is open, and half-open, that is not closed at all of them.
    pub(super) const fn parts(&self) -> &BTreeMap<Part, (u32, u32)> {
        &self.parts
    }

    /// The least good states.
    pub(super) fn condition(&self) -> Condition {
        Condition { breaker: first(BREAKERS, self.breakers), health: first(HEALTH, self.health) }
    }

    fn shift(&mut self, member: Condition, parts: &[(Part, State)], change: impl Fn(u32) -> u32) {
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
        for (part, state) in parts {
            let (open, half_open) = self.parts.entry(part.clone()).or_default();
            match state {
                State::Open => *open = change(*open),
                State::HalfOpen => *half_open = change(*half_open),
                State::Closed => {}
            }
            if (*open, *half_open) == (0, 0) {
                self.parts.remove(part);
            }
        }
    }
}

/// The first that somebody reports.
fn first<T, const N: usize>(all: [T; N], counts: [u32; N]) -> Option<T> {
    all.into_iter().zip(counts).find(|(_, count)| *count > 0).map(|(state, _)| state)
}
