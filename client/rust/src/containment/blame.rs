//! What a revision can be blamed for: only what it changed.
//!
//! A surge of rejections says little by itself. A dependency that slows down fills the places and runs out of time; more
//! traffic meets the rate limit. But a revision that left the places alone did not fill them. So of each kind of
//! rejection only those count against it whose section of the policy it changed, and only where that section was in
//! force before and after: raising a level, cutting a service off (`FORCED_OPEN`, `enabled`), holds and trips are orders,
//! and what an operator orders is not put back.

use cofferdam_core::hold::Forced;
use cofferdam_core::level::{Level, Section};
use cofferdam_core::policy::{BreakerMode, Policy, TimeoutPolicy};
use cofferdam_core::stats::CounterSnapshot;
use std::time::Duration;

/// The kinds of rejection that a revision can be blamed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Blame {
    /// Attempts that ran out of time, and calls that had none left.
    pub(super) timeouts: bool,
    pub(super) open: bool,
    pub(super) bulkhead: bool,
    pub(super) rate_limit: bool,
    pub(super) adaptive_limit: bool,
}

impl Blame {
    /// For going from one policy to another.
    pub(super) fn of(before: &Policy, after: &Policy) -> Self {
        let enforced = |section| before.level.enforces(section) && after.level.enforces(section);
        // Sections that an override replaces are as many as there are methods: any change of any counts for all.
        let overrides = before.method_overrides != after.method_overrides;
        let changed = |section, is_changed: bool| enforced(section) && (is_changed || overrides);
        let timeouts = enforced(Section::Timeout) && (overrides || is_shorter(before.timeout, after.timeout));
        // Calls that run out of time open a breaker, whoever changed its rules.
        let open = changed(Section::CircuitBreaker, before.breaker != after.breaker) || timeouts;
        Self {
            timeouts,
            open: open && !is_forced_open(after),
            bulkhead: changed(Section::Bulkhead, before.bulkhead != after.bulkhead),
            rate_limit: changed(Section::RateLimit, before.rate_limit != after.rate_limit),
            adaptive_limit: changed(Section::AdaptiveLimit, before.adaptive_limit != after.adaptive_limit),
        }
    }

    /// What of it calls feel at a level.
    pub(super) fn at(self, level: Level) -> Self {
        Self {
            timeouts: self.timeouts && level.enforces(Section::Timeout),
            open: self.open && level.enforces(Section::CircuitBreaker),
            bulkhead: self.bulkhead && level.enforces(Section::Bulkhead),
            rate_limit: self.rate_limit && level.enforces(Section::RateLimit),
            adaptive_limit: self.adaptive_limit && level.enforces(Section::AdaptiveLimit),
        }
    }

    /// As it is while these holds are in force.
    pub(super) fn under(self, holds: impl IntoIterator<Item = Forced>) -> Self {
        let is_held_open = holds.into_iter().any(|forced| forced == Forced::Open);
        Self { open: self.open && !is_held_open, ..self }
    }

    /// How many of these decisions count against it.
    pub(super) fn count(&self, counts: &CounterSnapshot) -> u64 {
        let kinds = [
            (self.timeouts, counts.timeouts),
            (self.timeouts, counts.rejected_deadline),
            (self.open, counts.rejected_open),
            (self.bulkhead, counts.rejected_bulkhead),
            (self.rate_limit, counts.rejected_rate_limit),
            (self.adaptive_limit, counts.rejected_adaptive_limit),
        ];
        kinds.into_iter().filter(|(is_blamed, _)| *is_blamed).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }
}

fn is_forced_open(policy: &Policy) -> bool {
    let overridden = policy.method_overrides.iter().filter_map(|entry| entry.breaker.as_ref());
    std::iter::once(&policy.breaker).chain(overridden).any(|breaker| breaker.mode == BreakerMode::ForcedOpen)
}

/// Whether attempts have less time than before.
fn is_shorter(before: TimeoutPolicy, after: TimeoutPolicy) -> bool {
    // Zero is no limit.
    let limit = |timeout: TimeoutPolicy| {
        let limits = [timeout.attempt_timeout, timeout.call_timeout];
        limits.into_iter().filter(|limit| !limit.is_zero()).min().unwrap_or(Duration::MAX)
    };
    limit(after) < limit(before) || after.min_attempt_budget > before.min_attempt_budget
}

#[cfg(test)]
mod tests;
