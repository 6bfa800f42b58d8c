//! What an outcome changes.

use super::Breaker;
use super::admission::{Admission, Recorded};
use super::schedule::Draw;
use super::transition::Cause;
use super::word::{self, Phase, Word};
use crate::outcome::Outcome;
use crate::policy::BreakerPolicy;
use crate::time::Timestamp;

impl Breaker {
    pub(super) fn record_success(&self, admission: &Admission<'_>, policy: &BreakerPolicy, now: Timestamp) -> Recorded {
        let mut counted = false;
        loop {
            let word = self.load();
            if word.generation != admission.generation {
                return Recorded::STALE;
            }
            match word.phase {
                Phase::Closed { consecutive } => {
                    if !counted {
                        self.window.load().add(word.generation, Outcome::Success, now);
                        counted = true;
                    }
                    let next = Word { generation: word.generation, phase: Phase::Closed { consecutive: 0 } };
                    if consecutive == 0 || self.swap(word, next) {
                        return Recorded::default();
                    }
                }
                Phase::HalfOpen { in_flight, successes, failures, reopens } => {
                    let successes = successes + 1;
                    if successes >= policy.success_threshold {
                        if let Some(transition) = self.close(word, Cause::ProbesSucceeded, now) {
                            return Recorded { transition: Some(transition), is_stale: false };
                        }
                    } else {
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen { in_flight, successes, failures, reopens };
                        if self.swap(word, Word { generation: word.generation, phase }) {
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
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        let mut counted = false;
        let mut draw = Draw::new(random);
        loop {
            let word = self.load();
            if word.generation != admission.generation {
                return Recorded::STALE;
            }
            match word.phase {
                Phase::Closed { consecutive } => {
                    if !counted {
                        self.window.load().add(word.generation, Outcome::Failure, now);
                        counted = true;
                    }
                    let consecutive = (consecutive + 1).min(word::MAX_CONSECUTIVE);
                    if let Some(cause) = self.trigger(consecutive, word.generation, policy, now) {
                        if let Some((transition, _)) = self.open(word, cause, policy, now, draw.number()) {
                            return Recorded { transition: Some(transition), is_stale: false };
                        }
                    } else if self
                        .swap(word, Word { generation: word.generation, phase: Phase::Closed { consecutive } })
                    {
                        return Recorded::default();
                    }
                }
                Phase::HalfOpen { in_flight, failures, reopens, .. } => {
                    let failures = failures + 1;
                    if failures > policy.half_open_allowed_failures {
                        if let Some((transition, _)) = self.open(word, Cause::ProbeFailed, policy, now, draw.number()) {
                            return Recorded { transition: Some(transition), is_stale: false };
                        }
                    } else {
                        // The successes that close must be consecutive.
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen { in_flight, successes: 0, failures, reopens };
                        if self.swap(word, Word { generation: word.generation, phase }) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::Open { .. } => return Recorded::STALE,
            }
        }
    }

    /// The trigger that holds, if any.
    fn trigger(&self, consecutive: u32, generation: u32, policy: &BreakerPolicy, now: Timestamp) -> Option<Cause> {
        if policy.consecutive_failures > 0 && consecutive >= policy.consecutive_failures {
            return Some(Cause::ConsecutiveFailures);
        }
        if policy.failure_count == 0 && policy.failure_rate == 0.0 {
            return None;
        }
        let (successes, failures) = self.window.load().totals(generation, now);
        let calls = successes + failures;
        if calls < u64::from(policy.minimum_calls) {
            return None;
        }
        if policy.failure_count > 0 && failures >= u64::from(policy.failure_count) {
            return Some(Cause::FailureCount);
        }
        // Divided, not multiplied: 55 of 100 is 0.55 as it is written, but 0.55 * 100 is more than 55.
        let reached = failures as f64 / calls as f64 >= policy.failure_rate;
        (policy.failure_rate > 0.0 && reached).then_some(Cause::FailureRate)
    }

    /// Gives a probe's slot back.
    pub(super) fn release(&self, generation: u32) {
        loop {
            let word = self.load();
            let Phase::HalfOpen { in_flight, successes, failures, reopens } = word.phase else {
                return;
            };
            if word.generation != generation {
                return;
            }
            let in_flight = in_flight.saturating_sub(1);
            let phase = Phase::HalfOpen { in_flight, successes, failures, reopens };
            if self.swap(word, Word { generation, phase }) {
                return;
            }
        }
    }
}
