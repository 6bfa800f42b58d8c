//! What an outcome changes.

use super::Breaker;
use super::admission::{Admission, Recorded};
use super::hinted::Bounds;
use super::schedule::Draw;
use super::transition::{Cause, Transition};
use super::window::{Sample, Seen};
use super::word::{self, Phase};
use crate::policy::BreakerPolicy;
use crate::time::Timestamp;

impl Breaker {
    pub(super) fn record_success(
        &self,
        admission: &Admission<'_>,
        policy: &BreakerPolicy,
        is_slow: bool,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        let mut counted = None;
        let mut draw = Draw::new(random);
        loop {
            let word = self.load();
            if word.generation() != admission.token.generation() {
                return Recorded::STALE;
            }
            let mode = self.mode(word, now);
            match word.phase() {
                Phase::Closed { consecutive } => {
                    let sample = Sample { is_failure: false, is_slow };
                    let seen = *counted.get_or_insert_with(|| self.window.add(word.generation(), sample, now));
                    if is_slow && !mode.is_fixed() && self.is_too_slow(word.generation(), policy, seen, now) {
                        if let Some((transition, _)) = self.open(word, Cause::SlowCallRate, policy, now, draw.number())
                        {
                            return Recorded::made(transition, mode);
                        }
                        continue;
                    }
                    let next = word.with(Phase::Closed { consecutive: 0 });
                    if consecutive == 0 || self.swap(word, next) {
                        return Recorded::default();
                    }
                }
                Phase::HalfOpen { .. } if mode.is_fixed() => return self.return_probe(word.generation()),
                Phase::HalfOpen { in_flight, successes, failures, reopens } => {
                    let successes = successes + 1;
                    if successes >= policy.success_threshold {
                        if let Some(transition) = self.close(word, Cause::ProbesSucceeded, now) {
                            return Recorded::made(transition, mode);
                        }
                    } else {
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen { in_flight, successes, failures, reopens };
                        if self.swap(word, word.with(phase)) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::Open { .. } => return Recorded::STALE,
            }
        }
    }

    pub(super) fn record_failure(
        &self,
        admission: &Admission<'_>,
        policy: &BreakerPolicy,
        is_slow: bool,
        as_probe: Cause,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        let mut counted = None;
        let mut draw = Draw::new(random);
        loop {
            let word = self.load();
            if word.generation() != admission.token.generation() {
                return Recorded::STALE;
            }
            let mode = self.mode(word, now);
            match word.phase() {
                Phase::Closed { consecutive } => {
                    let consecutive = (consecutive + 1).min(word::MAX_CONSECUTIVE);
                    if !mode.is_fixed() && Bounds::of(policy).is_reached_by(consecutive) {
                        // Not counted: the window ends with this.
                        let cause = Cause::ConsecutiveFailures;
                        if let Some((transition, _)) = self.open(word, cause, policy, now, draw.number()) {
                            return Recorded::made(transition, mode);
                        }
                        continue;
                    }
                    let sample = Sample { is_failure: true, is_slow };
                    let seen = *counted.get_or_insert_with(|| self.window.add(word.generation(), sample, now));
                    let holds = |bounds| self.trigger(consecutive, word.generation(), bounds, policy, seen, now);
                    let slow = || is_slow && self.is_too_slow(word.generation(), policy, seen, now);
                    let hinted = || holds(self.hinted_bounds(policy, now)?);
                    let own = || holds(Bounds::of(policy)).or_else(|| slow().then_some(Cause::SlowCallRate));
                    let trips = || own().map(|cause| (cause, false)).or_else(|| Some((hinted()?, true)));
                    if let Some((cause, is_hinted)) = if mode.is_fixed() { None } else { trips() } {
                        if let Some((transition, _)) = self.open(word, cause, policy, now, draw.number()) {
                            return Recorded::made(Transition { is_hinted, ..transition }, mode);
                        }
                    } else {
                        let next = word.with(Phase::Closed { consecutive });
                        if next == word || self.swap(word, next) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::HalfOpen { .. } if mode.is_fixed() => return self.return_probe(word.generation()),
                Phase::HalfOpen { in_flight, failures, reopens, .. } => {
                    let failures = failures + 1;
                    if failures > policy.half_open_allowed_failures {
                        if let Some((transition, _)) = self.open(word, as_probe, policy, now, draw.number()) {
                            return Recorded::made(transition, mode);
                        }
                    } else {
                        // The successes that close must be consecutive.
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen { in_flight, successes: 0, failures, reopens };
                        if self.swap(word, word.with(phase)) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::Open { .. } => return Recorded::STALE,
            }
        }
    }

    /// The trigger that a failure finds to hold, if any.
    #[inline]
    fn trigger(
        &self,
        consecutive: u32,
        generation: u32,
        bounds: Bounds,
        policy: &BreakerPolicy,
        seen: Seen,
        now: Timestamp,
    ) -> Option<Cause> {
        if bounds.is_reached_by(consecutive) {
            return Some(Cause::ConsecutiveFailures);
        }
        let cannot_hold = matches!(seen, Seen::Glance(glance) if !bounds.may_be_reached(policy, glance));
        if cannot_hold || policy.failure_count == 0 && policy.failure_rate == 0.0 {
            return None;
        }
        self.trigger_of_window(generation, bounds, policy, seen, now)
    }

    #[cold]
    fn trigger_of_window(
        &self,
        generation: u32,
        bounds: Bounds,
        policy: &BreakerPolicy,
        seen: Seen,
        now: Timestamp,
    ) -> Option<Cause> {
        let totals = self.window.totals_after(seen, generation, now);
        if totals.calls() < u64::from(bounds.minimum_calls) {
            return None;
        }
        if policy.failure_count > 0 && totals.failures >= u64::from(policy.failure_count) {
            return Some(Cause::FailureCount);
        }
        let reached = reaches(totals.failures, totals.calls(), policy.failure_rate);
        reached.then_some(Cause::FailureRate)
    }

    /// Whether the share of slow calls trips, as a slow call finds it.
    fn is_too_slow(&self, generation: u32, policy: &BreakerPolicy, seen: Seen, now: Timestamp) -> bool {
        let totals = self.window.totals_after(seen, generation, now);
        let is_enough = totals.calls() >= u64::from(policy.minimum_in_window());
        is_enough && reaches(totals.slow, totals.calls(), policy.slow_call_rate)
    }

    /// Takes a probe back whose result is not to move the breaker.
    fn return_probe(&self, generation: u32) -> Recorded {
        self.release(generation);
        Recorded::default()
    }

    /// Gives a probe's slot back.
    pub(super) fn release(&self, generation: u32) {
        loop {
            let word = self.load();
            let Phase::HalfOpen { in_flight, successes, failures, reopens } = word.phase() else {
                return;
            };
            if word.generation() != generation {
                return;
            }
            let in_flight = in_flight.saturating_sub(1);
            let phase = Phase::HalfOpen { in_flight, successes, failures, reopens };
            if self.swap(word, word.with(phase)) {
                return;
            }
        }
    }
}

/// Whether a share is at or above a threshold that is on. Divided, not multiplied: 55 of 100 is 0.55 as it is written,
/// but 0.55 * 100 is more than 55.
pub(super) fn reaches(part: u64, whole: u64, threshold: f64) -> bool {
    threshold > 0.0 && part as f64 / whole as f64 >= threshold
}
