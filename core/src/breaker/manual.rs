//! What an operator does to a breaker by hand, once.

use super::Breaker;
use super::schedule::{Draw, jittered_open_time, millis_up};
use super::transition::{Cause, State, Transition};
use super::word::{MAX_WAIT, Phase, Word};
use crate::policy::{BreakerMode, BreakerPolicy};
use crate::time::Timestamp;
use std::time::Duration;

impl Breaker {
    /// Opens the breaker for a time, of at most 24 days, or for the policy's open time, after which it recovers by the
    /// rules. One that is open already stays open until both times are over: a trip never shortens a recovery, and never
    /// cancels one. Another policy does not shorten what is left then, nor once a time was given here, be that the longer
    /// one or not, and whatever trips come after.
    ///
    /// Returns the transition, where this made one. It changes what was learned: a hold that is in force stands over it.
    pub fn trip(
        &self,
        policy: &BreakerPolicy,
        open_for: Option<Duration>,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Option<Transition> {
        let mut draw = Draw::new(random);
        loop {
            let word = self.load();
            let (from, reopens) = match word.phase() {
                Phase::Closed { .. } => (State::Closed, 0),
                Phase::HalfOpen { reopens, .. } => (State::HalfOpen, reopens),
                Phase::Open { reopens, .. } => (State::Open, reopens),
            };
            // A policy's open time counts from the opening: what a trip adds to it would go with the next push, whatever that
            // changes.
            let by_hand = open_for.is_some() || from == State::Open;
            let open_for = open_for.unwrap_or_else(|| jittered_open_time(policy, reopens, draw.number()));
            if let Phase::Open { wait, reopens, .. } = word.phase() {
                let until = now.saturating_add(open_for).max(self.deadline(word.generation(), wait));
                let whole = millis_up(until.saturating_since(self.since(word.generation())));
                let is_done = if whole > MAX_WAIT {
                    // It opened so long ago that the word has no room for the time since then: it opens anew.
                    let wait = millis_up(until.saturating_since(now));
                    self.advance(word, Phase::Open { wait, reopens, by_hand }, now).is_some()
                } else {
                    let next = word.with(Phase::Open { wait: whole, reopens, by_hand });
                    next == word || self.swap(word, next)
                };
                if is_done {
                    return None;
                }
            } else if self.advance(word, Phase::Open { wait: millis_up(open_for), reopens, by_hand }, now).is_some() {
                return Some(self.by_hand(word, from, State::Open, Cause::Tripped, now));
            }
        }
    }

    /// Closes the breaker, with nothing learned: no failure in the window nor in a row, no reopening, and calls that are
    /// under way count as stale. A breaker that was open or half-open ramps up as after any close.
    ///
    /// Returns the transition, where this made one. It changes what was learned: a hold that is in force stands over it.
    pub fn reset(&self, now: Timestamp) -> Option<Transition> {
        loop {
            let word = self.load();
            let phase = Phase::Closed { consecutive: 0 };
            let from = match word.phase() {
                Phase::Closed { .. } => {
                    // It does not close, so it goes on with its ramp, if it is in one.
                    if self.swap(word, word.next(phase)) {
                        return None;
                    }
                    continue;
                }
                Phase::Open { .. } => State::Open,
                Phase::HalfOpen { .. } => State::HalfOpen,
            };
            if self.advance(word, phase, now).is_some() {
                return Some(self.by_hand(word, from, State::Closed, Cause::Reset, now));
            }
        }
    }

    fn by_hand(&self, word: Word, from: State, to: State, cause: Cause, now: Timestamp) -> Transition {
        let is_enforced = self.mode(word, now) == BreakerMode::Auto;
        Transition { from, to, cause, at: now, is_enforced, is_hinted: false }
    }
}
