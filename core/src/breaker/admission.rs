use super::{Breaker, State, Transition};
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy};
use crate::time::Timestamp;
use std::time::Duration;

/// The breaker does not admit the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The state that rejected; closed where it ramps up after a close.
    pub state: State,
    /// When it is worth asking again; in a ramp, some are let through before. `None`: not before somebody changes the policy.
    pub retry_after: Option<Duration>,
    /// The transition, where asking made one: a breaker whose probes were lost may open again.
    pub transition: Option<Transition>,
}

/// Leave to make one call. [`record`](Self::record) says how it went; dropping it says nothing and frees its place.
#[derive(Debug)]
#[must_use = "dropping an admission gives it back"]
pub struct Admission<'a> {
    pub(super) breaker: &'a Breaker,
    pub(super) generation: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Admitted by a closed breaker.
    Call,
    /// Admitted by a half-open breaker: holds one of its slots.
    Probe,
    /// Admitted whatever the state: teaches the breaker nothing.
    Untracked,
    /// Has been recorded.
    Settled,
}

/// An admission, and the transition that making it caused.
#[derive(Debug)]
pub struct Admitted<'a> {
    /// The admission.
    pub admission: Admission<'a>,
    /// The transition, where this caller made one.
    pub transition: Option<Transition>,
}

/// What recording an outcome led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The transition, where this outcome made one.
    pub transition: Option<Transition>,
    /// Whether the result came too late to count: the breaker has moved on since the admission.
    pub is_stale: bool,
}

impl Recorded {
    pub(super) const STALE: Self = Self { transition: None, is_stale: true };
}

impl Rejected {
    pub(super) fn new(state: State, retry_after: Option<Duration>) -> Self {
        Self { state, retry_after, transition: None }
    }
}

impl Admission<'_> {
    /// Whether the call probes a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.kind == Kind::Probe
    }

    /// Says how the call went and how long it took. `random` is asked for a number only where an open time begins.
    pub fn record(
        mut self,
        policy: &BreakerPolicy,
        outcome: Outcome,
        latency: Duration,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        if self.kind == Kind::Untracked {
            return Recorded::default();
        }
        let mut recorded = match outcome {
            // Dropping the admission is the neutral verdict.
            Outcome::Neutral => Recorded::default(),
            Outcome::Success => {
                let recorded = self.breaker.record_success(&self, policy, policy.is_slow(latency), now, random);
                self.kind = Kind::Settled;
                recorded
            }
            Outcome::Failure => {
                let recorded = self.breaker.record_failure(&self, policy, policy.is_slow(latency), now, random);
                self.kind = Kind::Settled;
                recorded
            }
        };
        if policy.mode == BreakerMode::MetricsOnly {
            recorded.transition = recorded.transition.map(Transition::unenforced);
        }
        recorded
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if self.kind == Kind::Probe {
            self.breaker.release(self.generation);
        }
    }
}
