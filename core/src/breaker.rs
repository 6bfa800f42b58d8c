//! The circuit breaker: keeps calls from a service that fails, and finds out when it works again.
//!
//! **Trip.** *Closed*, every outcome goes into a sliding window, of time or of calls, and failures in a row are counted. A failure opens
//! the breaker when any trigger that is on holds: consecutive failures, failures in the window, failure rate. A slow
//! call, which may be a success, opens it when the share of slow calls does: the one way for a success to open it. All
//! but the first wait for `minimum_calls`, or the first failure of a quiet service would be 100 %. Each trigger is looked
//! at by the calls that it counts, never by one that makes things better.
//!
//! **Recovery.** *Open*, calls are rejected until a deadline that is written together with the state. The first
//! admission after it makes the breaker *half-open*; no timer does. Half-open lets a few probes through: never more in
//! flight than the cap, and never more than are still needed to close. `success_threshold` successes in a row close;
//! one failure beyond the forgiven ones opens again, for longer where a backoff is set. A probe is judged by its outcome
//! alone, however slow it was: one call is no rate.
//!
//! **Ramp-up.** Where a policy has a ramp, a breaker that has just closed lets a growing share of the calls through, drawn
//! at random, so that a service that has just recovered is not met by all of its callers at once. The rest are rejected,
//! which says nothing of the service.
//!
//! **It cannot wedge.** Every admission is a permit. Dropped without a verdict (cancelled, blocked by a later stage,
//! neutral) it gives its probe slot back; never dropped at all, its lease runs out and a fresh round of probes starts.
//!
//! **It cannot be fooled by the past.** Each transition starts a new generation. A result that belongs to an earlier
//! one changes nothing, in particular not the state of a service that has recovered, or failed, since.
//!
//! **One word.** State, generation and the state's numbers are one atomic word, so a transition is one
//! compare-and-swap: exactly one of the racing callers makes it. What the word says in time counts from a point that is
//! written before it, so nobody can see a new state with an old deadline, and any origin of the clock will do.
//! The policy is not part of the breaker: it is passed in at each step, so a policy change resets nothing.
//!
//! **Metrics-only** runs all of this and rejects nothing: a call that would have been rejected is admitted and teaches
//! nothing, and each transition is told as one that is not enforced. Another mode takes over where the rules then stand,
//! so a breaker that would be open is open as soon as the mode is automatic.

mod admission;
mod count;
mod record;
mod schedule;
mod transition;
mod window;
mod word;

#[cfg(test)]
mod tests;

pub use self::admission::{Admission, Admitted, Recorded, Rejected};
pub use self::transition::{Cause, State, Transition};

use self::admission::Kind;
use self::schedule::{Draw, millis_up, open_time, unit};
use self::window::Window;
use self::word::{Phase, Word};
use crate::policy::{BreakerMode, BreakerPolicy, LeaseExpiry};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;
use std::time::Duration;

/// The circuit breaker of one service. See the [module](self) for how it works.
///
/// One that no call has gone through takes less than 512 bytes. Each thread that calls adds 384, the first failure and the
/// first slow call 280 each. A window of more than 15 buckets adds a kilobyte to each of these; a window of calls takes
/// eight bytes for each of its calls instead. No number of calls adds more.
#[derive(Debug)]
#[repr(align(64))]
pub struct Breaker {
    word: AtomicU64,
    /// From when the present generation's open time, lease or ramp counts, in nanoseconds, by the generation's parity:
    /// when the breaker opened, let its last probe out, or closed. Written before the word is, by every caller that tries to write
    /// it; the largest wins, so a caller that was paused cannot set it back.
    since: [AtomicU64; 2],
    window: Window,
}

impl Breaker {
    /// A closed breaker that has seen nothing.
    pub fn new(policy: &BreakerPolicy) -> Self {
        Self {
            word: AtomicU64::new(Word::INITIAL.encode()),
            since: [AtomicU64::new(0), AtomicU64::new(0)],
            window: Window::new(policy.window),
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
            BreakerMode::MetricsOnly => return Ok(self.admit_watched(policy, now, random)),
        }
        self.admit_by_the_rules(policy, now, random)
    }

    #[inline]
    fn admit_by_the_rules(
        &self,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: impl FnOnce() -> u64,
    ) -> Result<Admitted<'_>, Rejected> {
        let word = self.load();
        if let Phase::Closed { .. } = word.phase {
            return Ok(self.admitted(word.generation, Kind::Call, None));
        }
        self.admit_slowly(word, policy, now, random)
    }

    /// Lets a growing share of the calls through while the breaker ramps up after a close: from `ramp_min_ratio` to all
    /// of them at the end of `ramp_duration`. To be asked right before [`admit`](Self::admit), where a ramp is in force.
    /// A breaker that has never closed does not ramp up.
    ///
    /// # Errors
    ///
    /// [`Rejected`], by the closed state, says when the ramp is over.
    pub fn ramp(&self, policy: &BreakerPolicy, now: Timestamp, random: impl FnOnce() -> u64) -> Result<(), Rejected> {
        if policy.ramp_duration.is_zero() || policy.mode != BreakerMode::Auto {
            return Ok(());
        }
        let word = self.load();
        if word.generation == Word::INITIAL.generation || !matches!(word.phase, Phase::Closed { .. }) {
            return Ok(());
        }
        // A closed generation's time counts from its close.
        let elapsed = now.saturating_since(self.since(word.generation));
        let left = policy.ramp_duration.saturating_sub(elapsed);
        let share = elapsed.as_secs_f64() / policy.ramp_duration.as_secs_f64();
        if left.is_zero() || unit(random()) < share.max(policy.ramp_min_ratio) {
            return Ok(());
        }
        Err(Rejected::new(State::Closed, Some(left)))
    }

    /// Admits what the rules would reject, as one that teaches nothing: had it been rejected, nothing would have been
    /// learned of it.
    fn admit_watched(&self, policy: &BreakerPolicy, now: Timestamp, random: impl FnOnce() -> u64) -> Admitted<'_> {
        let mut admitted = self
            .admit_by_the_rules(policy, now, random)
            .unwrap_or_else(|rejected| self.admitted(0, Kind::Untracked, rejected.transition));
        admitted.transition = admitted.transition.map(Transition::unenforced);
        admitted
    }

    /// The state, as the next caller will find it: an open breaker whose time is over is half-open. Closed where the
    /// policy says metrics-only, for no call is rejected.
    pub fn state(&self, policy: &BreakerPolicy, now: Timestamp) -> State {
        let word = self.load();
        match (policy.mode, word.phase) {
            (BreakerMode::ForcedOpen, _) => State::Open,
            (BreakerMode::Disabled | BreakerMode::MetricsOnly, _) | (BreakerMode::Auto, Phase::Closed { .. }) => {
                State::Closed
            }
            (BreakerMode::Auto, Phase::HalfOpen { .. }) => State::HalfOpen,
            (BreakerMode::Auto, Phase::Open { wait, .. }) if now >= self.deadline(word, wait) => State::HalfOpen,
            (BreakerMode::Auto, Phase::Open { .. }) => State::Open,
        }
    }

    /// Whether a call would be rejected now: a cheap look that takes nothing.
    pub fn would_reject(&self, policy: &BreakerPolicy, now: Timestamp) -> Option<Rejected> {
        let word = self.load();
        let retry_after = match (policy.mode, word.phase) {
            (BreakerMode::ForcedOpen, _) => None,
            (BreakerMode::Auto, Phase::Open { wait, .. }) => {
                let left = self.deadline(word, wait).saturating_since(now);
                if left.is_zero() {
                    return None;
                }
                Some(left)
            }
            _ => return None,
        };
        Some(Rejected::new(State::Open, retry_after))
    }

    /// Successes and failures in the window.
    pub fn window_counts(&self, now: Timestamp) -> (u64, u64) {
        let totals = self.window.totals(self.load().generation, now);
        (totals.successes, totals.failures)
    }

    /// Whether it is closed and remembers no failure: a new one would do the same.
    pub fn is_at_rest(&self, now: Timestamp) -> bool {
        let word = self.load();
        word.phase == Phase::Closed { consecutive: 0 } && self.window.load().totals(word.generation, now).failures == 0
    }

    /// Takes note that calls from now on come with another policy. State, counts and timers stay; a shorter open time
    /// ends a running one earlier, a longer one leaves it; another shape of window starts an empty window.
    pub fn reconfigure(&self, new: &BreakerPolicy) {
        self.window.reshape(new.window);
        loop {
            let word = self.load();
            let Phase::Open { wait, reopens } = word.phase else {
                return;
            };
            let longest = open_time(new, reopens).mul_f64(1.0 + new.open_jitter_ratio);
            let wait = wait.min(millis_up(longest));
            let next = Word { generation: word.generation, phase: Phase::Open { wait, reopens } };
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
                Phase::Open { wait, reopens } => {
                    let left = self.deadline(word, wait).saturating_since(now);
                    if !left.is_zero() {
                        return Err(Rejected::new(State::Open, Some(left)));
                    }
                    if let Some(admitted) = self.begin_probing(word, State::Open, Cause::OpenElapsed, reopens, now) {
                        return Ok(admitted);
                    }
                }
                Phase::HalfOpen { in_flight, successes, failures, reopens } => {
                    // At least one: the threshold may have been lowered to below what is in already.
                    let wanted = policy.success_threshold.saturating_sub(successes).max(1);
                    if in_flight < wanted.min(policy.max_probes()) {
                        self.count_from(word.generation, now);
                        let phase = Phase::HalfOpen { in_flight: in_flight + 1, successes, failures, reopens };
                        if self.swap(word, Word { generation: word.generation, phase }) {
                            return Ok(self.admitted(word.generation, Kind::Probe, None));
                        }
                    } else {
                        let expiry = self.since(word.generation).saturating_add(policy.lease());
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
                                    return Ok(self.admitted(word.next_generation(), Kind::Call, Some(transition)));
                                }
                            }
                            LeaseExpiry::Open => {
                                let opened = self.open(word, Cause::LeaseExpired, policy, now, draw.number());
                                if let Some((transition, wait)) = opened {
                                    return Err(Rejected {
                                        transition: Some(transition),
                                        ..Rejected::new(State::Open, Some(wait))
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
        let phase = Phase::HalfOpen { in_flight: 1, successes: 0, failures: 0, reopens };
        let next = self.advance(word, phase, now)?;
        let transition = Transition { from, to: State::HalfOpen, cause, at: now, is_enforced: true };
        Some(self.admitted(next.generation, Kind::Probe, Some(transition)))
    }

    /// Opens, and says for how long; `None` where somebody else was faster.
    fn open(
        &self,
        word: Word,
        cause: Cause,
        policy: &BreakerPolicy,
        now: Timestamp,
        random: u64,
    ) -> Option<(Transition, Duration)> {
        let (from, reopens) = match word.phase {
            Phase::Closed { .. } => (State::Closed, 0),
            Phase::HalfOpen { reopens, .. } => (State::HalfOpen, (reopens + 1).min(word::MAX_REOPENS)),
            Phase::Open { .. } => return None,
        };
        let open_time = open_time(policy, reopens);
        let jitter = open_time.mul_f64(policy.open_jitter_ratio * unit(random));
        let wait = millis_up(open_time.saturating_add(jitter));
        self.advance(word, Phase::Open { wait, reopens }, now)?;
        let transition = Transition { from, to: State::Open, cause, at: now, is_enforced: true };
        Some((transition, Duration::from_millis(wait)))
    }

    fn close(&self, word: Word, cause: Cause, now: Timestamp) -> Option<Transition> {
        self.advance(word, Phase::Closed { consecutive: 0 }, now)?;
        Some(Transition { from: State::HalfOpen, to: State::Closed, cause, at: now, is_enforced: true })
    }

    /// Moves to the next generation; `None` where somebody else was faster.
    fn advance(&self, word: Word, phase: Phase, now: Timestamp) -> Option<Word> {
        let next = Word { generation: word.next_generation(), phase };
        self.count_from(next.generation, now);
        self.swap(word, next).then_some(next)
    }

    fn admitted(&self, generation: u32, kind: Kind, transition: Option<Transition>) -> Admitted<'_> {
        Admitted { admission: Admission { breaker: self, generation, kind }, transition }
    }

    fn load(&self) -> Word {
        Word::decode(self.word.load(Ordering::SeqCst))
    }

    fn swap(&self, from: Word, to: Word) -> bool {
        self.word.compare_exchange(from.encode(), to.encode(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// When an open breaker lets the next call through.
    fn deadline(&self, word: Word, wait: u64) -> Timestamp {
        self.since(word.generation).saturating_add(Duration::from_millis(wait))
    }

    fn since(&self, generation: u32) -> Timestamp {
        Timestamp::from_nanos(self.since_cell(generation).load(Ordering::Acquire))
    }

    fn count_from(&self, generation: u32, now: Timestamp) {
        self.since_cell(generation).fetch_max(now.as_nanos(), Ordering::AcqRel);
    }

    fn since_cell(&self, generation: u32) -> &AtomicU64 {
        let [even, odd] = &self.since;
        if generation.is_multiple_of(2) { even } else { odd }
    }
}
