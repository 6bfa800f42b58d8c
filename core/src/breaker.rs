//! The circuit breaker: keeps calls from a service that fails, and finds out when it works again.
//!
//! **Trip.** *Closed*, every outcome goes into a sliding time window, and failures in a row are counted. A failure,
//! never a success, opens the breaker when any trigger that is on holds: consecutive failures, failures in the
//! window, failure rate. The last two wait for `minimum_calls`, or the first failure of a quiet service would be 100 %.
//!
//! **Recovery.** *Open*, calls are rejected until a deadline that is written together with the state. The first
//! admission after it makes the breaker *half-open*; no timer does. Half-open lets a few probes through: never more in
//! flight than the cap, and never more than are still needed to close. `success_threshold` successes in a row close;
//! one failure beyond the forgiven ones opens again, for longer where a backoff is set.
//!
//! **It cannot wedge.** Every admission is a permit. Dropped without a verdict (cancelled, blocked by a later stage,
//! neutral) it gives its probe slot back; never dropped at all, its lease runs out and a fresh round of probes starts.
//!
//! **It cannot be fooled by the past.** Each transition starts a new generation. A result that belongs to an earlier
//! one changes nothing, in particular not the state of a service that has recovered, or failed, since.
//!
//! **One word.** State, generation and the state's numbers are one atomic word, so a transition is one
//! compare-and-swap: exactly one of the racing callers makes it, and nobody can see a new state with an old deadline.
//! The policy is not part of the breaker: it is passed in at each step, so a policy change resets nothing.

mod admission;
mod schedule;
mod transition;
mod window;
mod word;

#[cfg(test)]
mod tests;

pub use self::admission::{Admission, Admitted, Recorded, Rejected};
pub use self::transition::{Cause, State, Transition};

use self::admission::Kind;
use self::schedule::{Draw, millis_up, open_time, unit, until_from};
use self::window::Window;
use self::word::{Phase, Word};
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy, LeaseExpiry};
use crate::time::Timestamp;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The circuit breaker of one service. See the [module](self) for how it works.
#[derive(Debug)]
pub struct Breaker {
    word: AtomicU64,
    /// When the present generation began, in milliseconds, by the generation's parity. Written before the transition
    /// is made, by every caller that tries to make it; the largest wins, so a caller that was paused cannot set it back.
    began: [AtomicU64; 2],
    window: ArcSwap<Window>,
    stale_results: AtomicU64,
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(policy: &BreakerPolicy) -> Self {
        Self {
            word: AtomicU64::new(Word::INITIAL.encode()),
            began: [AtomicU64::new(0), AtomicU64::new(0)],
            window: ArcSwap::from_pointee(Window::new(policy.window)),
            stale_results: AtomicU64::new(0),
        }
    }

    /// Asks for leave to make a call. `random` is asked for a number only where an open time begins.
    ///
    /// # Errors
    ///
    /// [`Rejected`] says for how long.
    pub fn admit(
        &self,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Admitted<'_>, Rejected> {
        match policy.mode {
            BreakerMode::Auto => {}
            BreakerMode::Disabled => return Ok(self.admitted(0, Kind::Untracked, None)),
            BreakerMode::ForcedOpen => return Err(Rejected::new(State::Open, None)),
        }
        let word = self.load();
        if let Phase::Closed { .. } = word.phase {
            return Ok(self.admitted(word.generation, Kind::Call, None));
        }
        self.admit_slowly(word, policy, now, random)
    }

    /// The state, as the next caller will find it: an open breaker whose time is over is half-open.
    pub fn state(&self, policy: &BreakerPolicy, now: Timestamp) -> State {
        match (policy.mode, self.load().phase) {
            (BreakerMode::ForcedOpen, _) => State::Open,
            (BreakerMode::Disabled, _) | (BreakerMode::Auto, Phase::Closed { .. }) => State::Closed,
            (BreakerMode::Auto, Phase::HalfOpen { .. }) => State::HalfOpen,
            (BreakerMode::Auto, Phase::Open { until, .. }) if now.as_millis() >= until => State::HalfOpen,
            (BreakerMode::Auto, Phase::Open { .. }) => State::Open,
        }
    }

    /// Whether a call would be rejected now: a cheap look that takes nothing.
    pub fn would_reject(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Rejected> {
        if self.state(policy, now) != State::Open {
            return None;
        }
        let retry_after = match (policy.mode, self.load().phase) {
            (BreakerMode::Auto, Phase::Open { until, .. }) => Some(until_from(until, now)),
            _ => None,
        };
        Some(Rejected::new(State::Open, retry_after))
    }

    /// Successes and failures in the window.
    pub fn window_counts(&self, now: Timestamp) -> (u64, u64) {
        self.window.load().totals(self.load().generation, now)
    }

    /// How many results came too late to count.
    pub fn stale_results(&self) -> u64 {
        self.stale_results.load(Ordering::Relaxed)
    }

    /// Takes note that calls from now on come with another policy. State, counts and timers stay; a shorter open time
    /// ends a running one earlier, a longer one leaves it; another shape of window starts an empty window.
    pub fn reconfigure(&self, new: &BreakerPolicy) {
        if self.window.load().shape() != new.window {
            self.window.store(Arc::new(Window::new(new.window)));
        }
        loop {
            let word = self.load();
            let Phase::Open { until, reopens } = word.phase else {
                return;
            };
            let longest = Duration::mul_f64(open_time(new, reopens), 1.0 + new.open_jitter_ratio);
            let latest = self.began_at(word.generation).saturating_add(longest);
            let until = until.min(millis_up(latest));
            let next = Word {
                generation: word.generation,
                phase: Phase::Open { until, reopens },
            };
            if next == word || self.swap(word, next) {
                return;
            }
        }
    }

    fn admit_slowly(
        &self,
        mut word: Word,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Admitted<'_>, Rejected> {
        let mut draw = Draw::new(random);
        loop {
            match word.phase {
                Phase::Closed { .. } => return Ok(self.admitted(word.generation, Kind::Call, None)),
                Phase::Open { until, reopens } => {
                    if now.as_millis() < until {
                        return Err(Rejected::new(State::Open, Some(until_from(until, now))));
                    }
                    if let Some(admitted) = self.begin_probing(word, State::Open, Cause::OpenElapsed, reopens, now) {
                        return Ok(admitted);
                    }
                }
                Phase::HalfOpen {
                    in_flight,
                    successes,
                    failures,
                    reopens,
                } => {
                    let wanted = policy.success_threshold.saturating_sub(successes);
                    if in_flight < wanted.min(policy.max_probes()) {
                        let phase = Phase::HalfOpen {
                            in_flight: in_flight + 1,
                            successes,
                            failures,
                            reopens,
                        };
                        if self.swap(
                            word,
                            Word {
                                generation: word.generation,
                                phase,
                            },
                        ) {
                            return Ok(self.admitted(word.generation, Kind::Probe, None));
                        }
                    } else {
                        let expiry = self.began_at(word.generation).saturating_add(policy.lease());
                        if now < expiry {
                            return Err(Rejected::new(State::HalfOpen, Some(expiry.saturating_since(now))));
                        }
                        match policy.on_lease_expiry {
                            LeaseExpiry::Reprobe => {
                                let admitted =
                                    self.begin_probing(word, State::HalfOpen, Cause::LeaseExpired, reopens, now);
                                if let Some(admitted) = admitted {
                                    return Ok(admitted);
                                }
                            }
                            LeaseExpiry::Close => {
                                if let Some(transition) = self.close(word, Cause::LeaseExpired, now) {
                                    let generation = self.load().generation;
                                    return Ok(self.admitted(generation, Kind::Call, Some(transition)));
                                }
                            }
                            LeaseExpiry::Open => {
                                let opened = self.open(word, Cause::LeaseExpired, policy, now, draw.number());
                                if let (Some(_), Phase::Open { until, .. }) = (opened, self.load().phase) {
                                    let retry_after = Some(until_from(until, now));
                                    return Err(Rejected {
                                        transition: opened,
                                        ..Rejected::new(State::Open, retry_after)
                                    });
                                }
                            }
                        }
                    }
                }
            }
            word = self.load();
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
        let phase = Phase::HalfOpen {
            in_flight: 1,
            successes: 0,
            failures: 0,
            reopens,
        };
        let next = self.advance(word, phase, now)?;
        let transition = Transition {
            from,
            to: State::HalfOpen,
            cause,
            at: now,
        };
        Some(self.admitted(next.generation, Kind::Probe, Some(transition)))
    }

    fn open(
        &self,
        word: Word,
        cause: Cause,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: u64,
    ) -> Option<Transition> {
        let (from, reopens) = match word.phase {
            Phase::Closed { .. } => (State::Closed, 0),
            Phase::HalfOpen { reopens, .. } => (State::HalfOpen, (reopens + 1).min(word::MAX_REOPENS)),
            Phase::Open { .. } => return None,
        };
        let open_time = open_time(policy, reopens);
        let jitter = open_time.mul_f64(policy.open_jitter_ratio * unit(random));
        let until = millis_up(now.saturating_add(open_time).saturating_add(jitter));
        self.advance(word, Phase::Open { until, reopens }, now)?;
        Some(Transition {
            from,
            to: State::Open,
            cause,
            at: now,
        })
    }

    fn close(&self, word: Word, cause: Cause, now: Timestamp) -> Option<Transition> {
        self.advance(word, Phase::Closed { consecutive: 0 }, now)?;
        Some(Transition {
            from: State::HalfOpen,
            to: State::Closed,
            cause,
            at: now,
        })
    }

    /// Moves to the next generation; `None` where somebody else was faster.
    fn advance(&self, word: Word, phase: Phase, now: Timestamp) -> Option<Word> {
        let next = Word {
            generation: word.next_generation(),
            phase,
        };
        self.began_cell(next.generation)
            .fetch_max(now.as_nanos(), Ordering::AcqRel);
        self.swap(word, next).then_some(next)
    }

    fn record_success(&self, admission: &Admission<'_>, policy: &BreakerPolicy, now: Timestamp) -> Recorded {
        let mut counted = false;
        loop {
            let word = self.load();
            if word.generation != admission.generation {
                return self.stale();
            }
            match word.phase {
                Phase::Closed { consecutive } => {
                    if !counted {
                        self.window.load().add(word.generation, Outcome::Success, now);
                        counted = true;
                    }
                    let next = Word {
                        generation: word.generation,
                        phase: Phase::Closed { consecutive: 0 },
                    };
                    if consecutive == 0 || self.swap(word, next) {
                        return Recorded::default();
                    }
                }
                Phase::HalfOpen {
                    in_flight,
                    successes,
                    failures,
                    reopens,
                } => {
                    let successes = successes + 1;
                    if successes >= policy.success_threshold {
                        if let Some(transition) = self.close(word, Cause::ProbesSucceeded, now) {
                            return Recorded {
                                transition: Some(transition),
                                is_stale: false,
                            };
                        }
                    } else {
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen {
                            in_flight,
                            successes,
                            failures,
                            reopens,
                        };
                        if self.swap(
                            word,
                            Word {
                                generation: word.generation,
                                phase,
                            },
                        ) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::Open { .. } => return self.stale(),
            }
        }
    }

    fn record_failure(
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
                return self.stale();
            }
            match word.phase {
                Phase::Closed { consecutive } => {
                    if !counted {
                        self.window.load().add(word.generation, Outcome::Failure, now);
                        counted = true;
                    }
                    let consecutive = (consecutive + 1).min(word::MAX_CONSECUTIVE);
                    if let Some(cause) = self.trigger(consecutive, word.generation, policy, now) {
                        if let Some(transition) = self.open(word, cause, policy, now, draw.number()) {
                            return Recorded {
                                transition: Some(transition),
                                is_stale: false,
                            };
                        }
                    } else if self.swap(
                        word,
                        Word {
                            generation: word.generation,
                            phase: Phase::Closed { consecutive },
                        },
                    ) {
                        return Recorded::default();
                    }
                }
                Phase::HalfOpen {
                    in_flight,
                    failures,
                    reopens,
                    ..
                } => {
                    let failures = failures + 1;
                    if failures > policy.half_open_allowed_failures {
                        if let Some(transition) = self.open(word, Cause::ProbeFailed, policy, now, draw.number()) {
                            return Recorded {
                                transition: Some(transition),
                                is_stale: false,
                            };
                        }
                    } else {
                        // The successes that close must be consecutive.
                        let in_flight = in_flight.saturating_sub(1);
                        let phase = Phase::HalfOpen {
                            in_flight,
                            successes: 0,
                            failures,
                            reopens,
                        };
                        if self.swap(
                            word,
                            Word {
                                generation: word.generation,
                                phase,
                            },
                        ) {
                            return Recorded::default();
                        }
                    }
                }
                Phase::Open { .. } => return self.stale(),
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
        let reached = failures as f64 >= policy.failure_rate * calls as f64;
        (policy.failure_rate > 0.0 && reached).then_some(Cause::FailureRate)
    }

    /// Gives a probe's slot back.
    fn release(&self, generation: u32) {
        loop {
            let word = self.load();
            let Phase::HalfOpen {
                in_flight,
                successes,
                failures,
                reopens,
            } = word.phase
            else {
                return;
            };
            if word.generation != generation {
                return;
            }
            let in_flight = in_flight.saturating_sub(1);
            let phase = Phase::HalfOpen {
                in_flight,
                successes,
                failures,
                reopens,
            };
            if self.swap(word, Word { generation, phase }) {
                return;
            }
        }
    }

    fn stale(&self) -> Recorded {
        self.stale_results.fetch_add(1, Ordering::Relaxed);
        Recorded {
            transition: None,
            is_stale: true,
        }
    }

    fn admitted(&self, generation: u32, kind: Kind, transition: Option<Transition>) -> Admitted<'_> {
        Admitted {
            admission: Admission {
                breaker: self,
                generation,
                kind,
            },
            transition,
        }
    }

    fn load(&self) -> Word {
        Word::decode(self.word.load(Ordering::SeqCst))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word
            .compare_exchange(from.encode(), to.encode(), Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    fn began_cell(&self, generation: u32) -> &AtomicU64 {
        let [even, odd] = &self.began;
        if generation.is_multiple_of(2) { even } else { odd }
    }

    fn began_at(&self, generation: u32) -> Timestamp {
        Timestamp::from_nanos(self.began_cell(generation).load(Ordering::Acquire))
    }
}
