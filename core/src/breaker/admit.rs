//! Who is let through.
//!
//! Nearly every call finds the breaker closed and under no order, and most of the others find it open. So these two are
//! read off the word at once, inlined into the caller, and come back in registers; that is also why what the rest returns
//! is taken apart and put together again. The closed word is not written to, so it stays in the caches of all who call.

use super::Breaker;
use super::admission::{Admission, Admitted, Leave, Rejected};
use super::schedule::{Draw, unit};
use super::transition::{Cause, State, Transition};
use super::word::{Kind, Phase, Token, Word};
use crate::policy::{BreakerMode, BreakerPolicy, LeaseExpiry};
use crate::sync::Ordering;
use crate::time::Timestamp;
use std::time::Duration;

impl Breaker {
    /// Leave to make a call of a breaker that is closed and under no order: what [`admit`](Self::admit) gives, in two
    /// registers. `None`: that is to be asked.
    #[inline]
    pub(crate) fn admit_if_plain(&self) -> Option<Admission<'_>> {
        let word = self.load();
        let plain = || Some(Token::new(word.generation_if_plain()?, Kind::Call));
        let token = Token::at_rest(word).or_else(plain)?;
        Some(Admission { breaker: self, token })
    }

    /// Asks for leave to make a call. `random` is asked for a number only where an open time begins.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says for how long.
    #[inline]
    pub fn admit(
        &self,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Admitted<'_>, Rejected> {
        let word = self.load();
        if let Some(token) = Token::at_rest(word) {
            return Ok(self.admitted(token, None));
        }
        if let Some(generation) = word.generation_if_plain() {
            return Ok(self.admitted(Token::new(generation, Kind::Call), None));
        }
        if let Some(left) = self.left_open(word, now) {
            return Err(Rejected::new(State::Open, Some(left)));
        }
        let Leave { token, moved } = self.admit_slowly(policy, now, random)?;
        Ok(self.admitted(token, moved.map(|moved| moved.at(now))))
    }

    /// Lets a growing share of the calls through while the breaker ramps up after a close: from `ramp_min_ratio` to all
    /// of them at the end of `ramp_duration`. To be asked right before [`admit`](Self::admit), where a ramp is in force.
    /// A breaker that has never closed does not ramp up.
    ///
    /// # Errors
    ///
    /// [`Rejected`], by the closed state, says when the ramp is over.
    pub fn ramp(&self, policy: &BreakerPolicy, now: Timestamp, random: impl FnOnce() -> u64) -> Result<(), Rejected> {
        if policy.ramp_duration.is_zero() {
            return Ok(());
        }
        let word = self.load();
        let closed = Timestamp::from_nanos(self.closed.load(Ordering::Acquire));
        let has_closed = matches!(word.phase(), Phase::Closed { .. }) && closed != Timestamp::ZERO;
        if !has_closed || self.mode(word, now) != BreakerMode::Auto {
            return Ok(());
        }
        let elapsed = now.saturating_since(closed);
        let left = policy.ramp_duration.saturating_sub(elapsed);
        let share = elapsed.as_secs_f64() / policy.ramp_duration.as_secs_f64();
        if left.is_zero() || unit(random()) < share.max(policy.ramp_min_ratio) {
            return Ok(());
        }
        Err(Rejected::new(State::Closed, Some(left)))
    }

    /// Whether a call would be rejected now, and would be at any time until the answer's `retry_after`: a cheap look that
    /// takes nothing.
    #[inline]
    pub fn would_reject(&self, now: Timestamp) -> Option<Rejected> {
        let word = self.load();
        if word.generation_if_plain().is_some() {
            return None;
        }
        let left = self.left_open(word, now);
        left.map_or_else(|| self.order_rejects(now), |left| Some(Rejected::new(State::Open, Some(left))))
    }

    #[cold]
    fn order_rejects(&self, now: Timestamp) -> Option<Rejected> {
        let word = self.load();
        if let Some(order) = self.order(word, now) {
            return (order.mode == BreakerMode::ForcedOpen).then(|| order.rejection(now));
        }
        // There was one, and it has run out.
        let unordered = word.ordered(false);
        self.left_open(unordered, now).map(|left| Rejected::new(State::Open, Some(left)))
    }

    #[cold]
    fn admit_slowly(
        &self,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Leave, Rejected> {
        self.admit_by_mode(policy, now, random).map(Leave::from)
    }

    fn admit_by_mode(
        &self,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Admitted<'_>, Rejected> {
        let mut draw = Draw::new(random);
        loop {
            let word = self.load();
            let order = self.order(word, now);
            match order.as_ref().map(|order| order.mode) {
                None | Some(BreakerMode::Auto) => {
                    if let Some(decided) = self.admit_by_the_rules(word, policy, now, &mut draw) {
                        return decided;
                    }
                }
                Some(BreakerMode::MetricsOnly) => {
                    if let Some(decided) = self.admit_by_the_rules(word, policy, now, &mut draw) {
                        return Ok(self.admit_watched(decided));
                    }
                }
                Some(BreakerMode::Disabled) => {
                    let is_closed = matches!(word.phase(), Phase::Closed { .. });
                    let kind = if is_closed { Kind::Call } else { Kind::Untracked };
                    return Ok(self.admitted(Token::new(word.generation(), kind), None));
                }
                Some(BreakerMode::ForcedOpen) => {
                    return Err(order.map_or_else(|| Rejected::new(State::Open, None), |order| order.rejection(now)));
                }
            }
        }
    }

    /// Admits what the rules would reject, as one that teaches nothing: had it been rejected, nothing would have been
    /// learned of it.
    fn admit_watched<'a>(&'a self, decided: Result<Admitted<'a>, Rejected>) -> Admitted<'a> {
        let mut admitted =
            decided.unwrap_or_else(|rejected| self.admitted(Token::new(0, Kind::Untracked), rejected.transition));
        admitted.transition = admitted.transition.map(Transition::unenforced);
        admitted
    }

    /// What the rules say of a call; `None` where somebody else was faster.
    fn admit_by_the_rules(
        &self,
        word: Word,
        policy: &BreakerPolicy,
        now: Timestamp,
        draw: &mut Draw<impl FnOnce() -> u64>,
    ) -> Option<Result<Admitted<'_>, Rejected>> {
        match word.phase() {
            Phase::Closed { .. } => Some(Ok(self.admitted(Token::new(word.generation(), Kind::Call), None))),
            Phase::Open { wait, reopens, .. } => {
                let left = self.deadline(word.generation(), wait).saturating_since(now);
                if !left.is_zero() {
                    return Some(Err(Rejected::new(State::Open, Some(left))));
                }
                self.begin_probing(word, State::Open, Cause::OpenElapsed, reopens, now).map(Ok)
            }
            Phase::HalfOpen { in_flight, successes, failures, reopens } => {
                // At least one: the threshold may have been lowered to below what is in already.
                let wanted = policy.success_threshold.saturating_sub(successes).max(1);
                if in_flight < wanted.min(policy.max_probes()) {
                    self.count_from(word.generation(), now);
                    let phase = Phase::HalfOpen { in_flight: in_flight + 1, successes, failures, reopens };
                    let is_in = self.swap(word, word.with(phase));
                    return is_in.then(|| Ok(self.admitted(Token::new(word.generation(), Kind::Probe), None)));
                }
                let expiry = self.since(word.generation()).saturating_add(policy.lease());
                if now < expiry {
                    return Some(Err(Rejected::new(State::HalfOpen, Some(expiry.saturating_since(now)))));
                }
                match policy.on_lease_expiry {
                    LeaseExpiry::Reprobe => {
                        self.begin_probing(word, State::HalfOpen, Cause::LeaseExpired, reopens, now).map(Ok)
                    }
                    LeaseExpiry::Close => {
                        let transition = self.close(word, Cause::LeaseExpired, now)?;
                        Some(Ok(self.admitted(Token::new(word.next_generation(), Kind::Call), Some(transition))))
                    }
                    LeaseExpiry::Open => {
                        let (transition, wait) = self.open(word, Cause::LeaseExpired, policy, now, draw.number())?;
                        let rejected = Rejected::new(State::Open, Some(wait));
                        Some(Err(Rejected { transition: Some(transition), ..rejected }))
                    }
                }
            }
        }
    }

    /// Starts a round of probes, the caller's being the first.
    fn begin_probing(
        &self,
        word: Word,
        from: State,
        cause: Cause,
        reopens: u32,
        now: Timestamp,
    ) -> Option<Admitted<'_>> {
        let phase = Phase::HalfOpen { in_flight: 1, successes: 0, failures: 0, reopens };
        let next = self.advance(word, phase, now)?;
        let to = State::HalfOpen;
        let transition = Transition { from, to, cause, at: now, is_enforced: true, is_hinted: false };
        Some(self.admitted(Token::new(next.generation(), Kind::Probe), Some(transition)))
    }

    #[inline]
    fn admitted(&self, token: Token, transition: Option<Transition>) -> Admitted<'_> {
        Admitted { admission: Admission { breaker: self, token }, transition }
    }

    /// How long a breaker under no order still rejects; `None` where it is not open, or its time is over.
    #[inline]
    fn left_open(&self, word: Word, now: Timestamp) -> Option<Duration> {
        let (generation, wait) = word.wait_if_open()?;
        let left = self.deadline(generation, wait).as_nanos().saturating_sub(now.as_nanos());
        (left > 0).then(|| Duration::from_nanos(left))
    }
}
