//! What the service's own breaker hears of those of other instances.

use super::Isolation;
use super::known::Known;
use crate::breaker::{Breaker, State};
use crate::fleet_hint::FleetHint;
use crate::level::Section;
use crate::policy::{FleetHintMode, Policy};
use crate::time::Timestamp;

impl Isolation {
    /// Takes a hint in, in the place of the one before. Where that is still in force, this one renews it. What it does is
    /// for the policy to say, that of now and those to come: it is kept until it is over, or until a policy is put in
    /// force whose mode is off.
    ///
    /// Returns whether a hint is in force now, and none was before.
    pub fn hint(&self, hint: FleetHint, now: Timestamp) -> bool {
        let mut known = self.known();
        let current = self.current.load();
        if !listens(&current.policy) {
            return false;
        }
        let before = known.hint.filter(|before| before.is_in_force(now));
        known.hint = Some(before.map_or(hint, |before| hint.renewing(before.since())));
        heed(&known, &current.policy, current.base.breaker());
        before.is_none()
    }

    /// The hint in force. `None`: there is none, or the policy has no use for it.
    pub fn fleet_hint(&self, now: Timestamp) -> Option<FleetHint> {
        let known = self.known();
        known.hint.filter(|hint| hint.is_in_force(now))
    }

    /// The state of the service's own breaker by its rules alone, whatever mode or hold stands over it: what hints to
    /// others go by. `None`: no breaker is in force at this level.
    pub fn learned_state(&self, now: Timestamp) -> Option<State> {
        let current = self.current.load();
        let in_force = current.policy.level.enforces(Section::CircuitBreaker);
        in_force.then(|| current.base.breaker().learned_state(now))
    }
}

/// Brings hint and breaker in line with another policy.
pub(super) fn apply(known: &mut Known, policy: &Policy, own: &Breaker) {
    if !listens(policy) {
        known.hint = None;
    }
    heed(known, policy, own);
}

/// Whether a policy has a use for hints.
fn listens(policy: &Policy) -> bool {
    policy.fleet_hint.mode != FleetHintMode::Off && policy.level.enforces(Section::CircuitBreaker)
}

fn heed(known: &Known, policy: &Policy, own: &Breaker) {
    let enforces = policy.fleet_hint.mode == FleetHintMode::Enforce;
    own.set_hinted(known.hint.filter(|_| enforces).map(|hint| hint.until()));
}

#[cfg(test)]
mod tests;
