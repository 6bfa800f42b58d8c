use super::transition::Move;
use super::word::{Kind, Token};
use super::{Breaker, Cause, State, Transition};
use crate::hold::Hold;
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy};
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// The breaker does not admit the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The state that rejected; closed where it ramps up after a close.
    pub state: State,
    /// When it is worth asking again; in a ramp, some are let through before. `None`: not before somebody changes the
    /// policy, or releases the hold.
    pub retry_after: Option<Duration>,
    /// On whose word it rejects.
    pub by: OpenedBy,
    /// The transition, where asking made one: a breaker whose probes were lost may open again.
    pub transition: Option<Transition>,
}

/// On whose word a breaker rejects calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OpenedBy {
    /// Its own, by what it has learned: the service fails, or has failed lately.
    #[default]
    Rules,
    /// The policy's, whose mode is forced open: nothing is said of the service.
    Policy,
    /// An operator's, who holds it open: nothing is said of the service.
    Hold(Arc<Hold>),
}

/// Leave to make one call. [`record`](Self::record) says how it went; dropping it says nothing and frees its place.
#[derive(Debug)]
#[must_use = "dropping an admission gives it back"]
pub struct Admission<'a> {
    pub(super) breaker: &'a Breaker,
    pub(super) token: Token,
}

/// An admission apart from its breaker, for whoever keeps both alive without a borrow. [`Breaker::attach`] puts them
/// together again; until then nobody gives its place back.
#[derive(Debug)]
pub(crate) struct Detached(Token);

/// An admission and its transition as plain numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leave {
    pub(super) token: Token,
    pub(super) moved: Option<Move>,
}

impl From<Admitted<'_>> for Leave {
    fn from(admitted: Admitted<'_>) -> Self {
        let Admitted { admission, transition } = admitted;
        Self { token: admission.into_token(), moved: transition.map(Move::from) }
    }
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

/// How a call went.
#[derive(Clone, Copy, Debug)]
struct Ended {
    outcome: Outcome,
    latency: Duration,
}

impl Recorded {
    pub(super) const STALE: Self = Self { transition: None, is_stale: true };

    /// A transition in a mode that moves by the rules.
    pub(super) fn made(transition: Transition, mode: BreakerMode) -> Self {
        let is_felt = mode != BreakerMode::MetricsOnly;
        Self { transition: Some(if is_felt { transition } else { transition.unenforced() }), is_stale: false }
    }
}

impl Rejected {
    pub(super) fn new(state: State, retry_after: Option<Duration>) -> Self {
        Self { state, retry_after, by: OpenedBy::Rules, transition: None }
    }
}

impl Admission<'_> {
    /// Whether the call probes a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.token.kind() == Kind::Probe
    }

    /// Says how the call went and how long it took. `random` is asked for a number only where an open time begins.
    // Inlined: to hand over arguments and result costs as much as all of a plain success.
    #[inline(always)]
    pub fn record(
        self,
        policy: &BreakerPolicy,
        outcome: Outcome,
        latency: Duration,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        let breaker = self.breaker;
        let token = self.into_token();
        // Nearly every call: nothing of the breaker is written to, and the count is this thread's own.
        let is_plain = outcome == Outcome::Success && !policy.is_slow(latency);
        if is_plain && breaker.rests(token) && breaker.window.add_success(token.generation(), now) {
            return Recorded::default();
        }
        let ended = Ended { outcome, latency };
        let (moved, is_stale) = breaker.record_slowly(token, policy, ended, now, random);
        Recorded { transition: moved.map(|moved| moved.at(now)), is_stale }
    }

    /// Takes it apart from its breaker.
    pub(crate) fn detach(self) -> Detached {
        Detached(self.into_token())
    }

    /// What it is, once it is no more: whoever asks takes over what dropping it would do.
    #[inline]
    fn into_token(self) -> Token {
        let token = self.token;
        std::mem::forget(self);
        token
    }

    fn settle(
        mut self,
        policy: &BreakerPolicy,
        Ended { outcome, latency }: Ended,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Recorded {
        if self.token.kind() == Kind::Untracked {
            return Recorded::default();
        }
        let is_slow = policy.is_slow(latency);
        let fails = match outcome {
            // Dropping the admission is the neutral verdict.
            Outcome::Neutral => return Recorded::default(),
            Outcome::Success if self.is_probe() && is_slow && policy.slow_call_rate > 0.0 => Some(Cause::ProbeSlow),
            Outcome::Success => None,
            Outcome::Failure => Some(Cause::ProbeFailed),
        };
        let recorded = match fails {
            None => self.breaker.record_success(&self, policy, is_slow, now, random),
            Some(as_probe) => self.breaker.record_failure(&self, policy, is_slow, as_probe, now, random),
        };
        self.token = Token::new(self.token.generation(), Kind::Settled);
        recorded
    }
}

impl Breaker {
    /// The admission that was taken apart from this breaker.
    pub(crate) fn attach(&self, Detached(token): Detached) -> Admission<'_> {
        Admission { breaker: self, token }
    }

    /// Whether a success of an admission changes nothing but a count.
    #[inline]
    fn rests(&self, token: Token) -> bool {
        token.is_at_rest(self.load())
    }

    #[inline(never)]
    fn record_slowly(
        &self,
        token: Token,
        policy: &BreakerPolicy,
        ended: Ended,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> (Option<Move>, bool) {
        let Recorded { transition, is_stale } = Admission { breaker: self, token }.settle(policy, ended, now, random);
        (transition.map(Move::from), is_stale)
    }
}

impl Drop for Admission<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.token.kind() == Kind::Probe {
            self.breaker.release(self.token.generation());
        }
    }
}
