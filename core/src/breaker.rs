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
//! one failure beyond the forgiven ones opens again, for longer where a backoff is set. Where slow calls trip, a slow
//! probe counts as one that failed, as resilience4j has it: a service that answers too slowly to be called has not
//! recovered, and one call of a handful is rate enough.
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
//! # Modes and holds
//!
//! A policy's [mode](crate::policy::BreakerMode), or the [hold](crate::hold) of an operator, stands over these rules and
//! apart from what was learned, until a time or until it is taken back. Where several do, the hold for a part counts
//! before the hold for all breakers of the service, and both before the mode. They are in force at once, for calls under
//! way as well, and over at their time without anybody there to end them.
//!
//! | | admits | counts in the window and in a row | trips, probes, closes | tells transitions | afterwards the breaker is |
//! |---|---|---|---|---|---|
//! | automatic | by the rules | yes | by the rules | yes | |
//! | forced open | nothing | only calls that were under way | no | no | where it was before |
//! | disabled | all | while it is closed | no | no | where it was before, with what was counted |
//! | forced closed (a hold's) | all | yes | no | its close, if it was not closed | closed, with what was counted |
//! | metrics-only | all; what the rules would reject teaches nothing | by the rules | by the rules | as not enforced | where the rules have put it |
//!
//! "Where it was before" does not stop the clock: a breaker that was open may be half-open by then. "With what was
//! counted": nothing opens of itself, but the first failure afterwards that finds a trigger to hold, by all that was
//! counted, opens. A probe that comes back under an order that moves nothing gives its slot back.
//!
//! By hand ([`trip`](Breaker::trip), [`reset`](Breaker::reset)) what was learned itself changes, under an order or not.
//!
//! A [fleet hint](crate::fleet_hint) is no order: it changes how many failures of its own a closed breaker waits for, and
//! nothing else.

mod admission;
mod admit;
mod count;
mod hinted;
mod manual;
mod orders;
mod record;
mod schedule;
mod transition;
mod window;
mod word;

#[cfg(test)]
mod tests;

pub(crate) use self::admission::Detached;
pub use self::admission::{Admission, Admitted, OpenedBy, Recorded, Rejected};
pub use self::transition::{Cause, State, Transition};

use self::orders::Board;
use self::schedule::{jittered_open_time, millis_up, open_time, scaled};
use self::window::Window;
use self::word::{Phase, Word};
use crate::policy::{BreakerMode, BreakerPolicy};
use crate::sync::{AtomicU64, Ordering};
use crate::time::Timestamp;
use std::time::Duration;

/// The circuit breaker of one service. See the [module](self) for how it works.
///
/// One that no call has gone through takes less than 512 bytes. Each thread that calls adds 384, the first failure 344, and
/// the first slow call 280. A window of more than 15 buckets adds a kilobyte to each of these; a window of calls takes
/// 520 bytes instead of all of them. No number of calls adds more.
#[derive(Debug)]
#[repr(align(64))]
pub struct Breaker {
    word: AtomicU64,
    /// From when the present generation's open time or lease counts, in nanoseconds, by the generation's parity: when the
    /// breaker opened, or let its last probe out. See [`advance`](Self::advance).
    since: [AtomicU64; 2],
    /// When it closed last, from which a ramp counts. Zero: it never did. Only who closes it writes to it, so that what
    /// tries to open a breaker that has never closed leaves nothing behind.
    closed: AtomicU64,
    window: Window,
    board: Board,
    /// Until when a fleet hint is in force, in nanoseconds; zero: none is. Only failures look at it.
    hinted_until: AtomicU64,
}

impl Breaker {
    /// A closed breaker that has seen nothing and goes by its rules.
    pub fn new(policy: &BreakerPolicy) -> Self {
        Self {
            word: AtomicU64::new(Word::INITIAL.bits()),
            since: [AtomicU64::new(0), AtomicU64::new(0)],
            closed: AtomicU64::new(0),
            window: Window::new(policy.window),
            board: Board::default(),
            hinted_until: AtomicU64::new(0),
        }
    }

    /// The state, as the next caller will find it: an open breaker whose time is over is half-open. An order stands over
    /// what was learned: forced open is open, and whatever rejects no call is closed.
    pub fn state(&self, now: Timestamp) -> State {
        match self.mode(self.load(), now) {
            BreakerMode::Auto => self.learned_state(now),
            BreakerMode::ForcedOpen => State::Open,
            BreakerMode::Disabled | BreakerMode::MetricsOnly => State::Closed,
        }
    }

    /// The state by the rules alone, whatever stands over them.
    pub fn learned_state(&self, now: Timestamp) -> State {
        let word = self.load();
        match word.phase() {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { wait, .. } if now < self.deadline(word.generation(), wait) => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Successes and failures in the window.
    pub fn window_counts(&self, now: Timestamp) -> (u64, u64) {
        let totals = self.window.totals(self.load().generation(), now);
        (totals.successes, totals.failures)
    }

    /// When its rules opened it, with the successes and failures that its window held then. Of one that they have not open:
    /// no time, and what the window holds now.
    pub(crate) fn opened(&self, now: Timestamp) -> (Option<Timestamp>, (u64, u64)) {
        let word = self.load();
        if !matches!(word.phase(), Phase::Open { .. }) {
            return (None, self.window_counts(now));
        }
        let since = self.since(word.generation());
        // Nothing is counted while it is open: what was counted before is still there.
        let before = self.window.totals(word.previous_generation(), since);
        (Some(since), (before.successes, before.failures))
    }

    /// When its rules let the next call through. `None`: they have it not open.
    pub(crate) fn open_until(&self) -> Option<Timestamp> {
        let word = self.load();
        match word.phase() {
            Phase::Open { wait, .. } => Some(self.deadline(word.generation(), wait)),
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        }
    }

    /// Whether it is closed, remembers no failure and is under no order: a new one would do the same.
    pub fn is_at_rest(&self, now: Timestamp) -> bool {
        let word = self.load();
        word.phase() == Phase::Closed { consecutive: 0 }
            && self.mode(word, now) == BreakerMode::Auto
            && self.window.totals(word.generation(), now).failures == 0
    }

    /// Takes note that calls from now on come with another policy. State, counts and timers stay; a shorter open time
    /// ends a running one earlier, unless that is the time of a [`trip`](Self::trip), and a longer one leaves it; another
    /// shape of window starts an empty window. The mode is for [`set_mode`](Self::set_mode).
    pub fn reconfigure(&self, new: &BreakerPolicy) {
        self.window.reshape(new.window);
        loop {
            let word = self.load();
            let Phase::Open { wait, reopens, by_hand: false } = word.phase() else {
                return;
            };
            let longest = scaled(open_time(new, reopens), 1.0 + new.open_jitter_ratio);
            let wait = wait.min(millis_up(longest));
            let next = word.with(Phase::Open { wait, reopens, by_hand: false });
            if next == word || self.swap(word, next) {
                return;
            }
        }
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
        let (from, reopens) = match word.phase() {
            Phase::Closed { .. } => (State::Closed, 0),
            Phase::HalfOpen { reopens, .. } => (State::HalfOpen, (reopens + 1).min(word::MAX_REOPENS)),
            Phase::Open { .. } => return None,
        };
        let wait = millis_up(jittered_open_time(policy, reopens, random));
        self.advance(word, Phase::Open { wait, reopens, by_hand: false }, now)?;
        let transition = Transition { from, to: State::Open, cause, at: now, is_enforced: true, is_hinted: false };
        Some((transition, Duration::from_millis(wait)))
    }

    fn close(&self, word: Word, cause: Cause, now: Timestamp) -> Option<Transition> {
        self.advance(word, Phase::Closed { consecutive: 0 }, now)?;
        let (from, to) = (State::HalfOpen, State::Closed);
        Some(Transition { from, to, cause, at: now, is_enforced: true, is_hinted: false })
    }

    /// Moves to the next generation; `None` where somebody else was faster.
    ///
    /// The time is written before the word is, so nobody sees a new state with an old time. Whoever is too late has written
    /// as well, and a caller that was paused does so when the next generation is in force already. That can do no harm: the
    /// largest wins, so none sets a time back; and what a late caller wrote is a reading of the clock from before it saw
    /// the earlier generation in force, so it is never later than the moment at which the next one began. Where a caller
    /// wins with a reading that is older than another's, the time counts from the other's.
    fn advance(&self, word: Word, phase: Phase, now: Timestamp) -> Option<Word> {
        let next = word.next(phase);
        match phase {
            Phase::Closed { .. } => {
                self.closed.fetch_max(now.as_nanos(), Ordering::AcqRel);
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => self.count_from(next.generation(), now),
        }
        self.swap(word, next).then_some(next)
    }

    #[inline]
    fn load(&self) -> Word {
        Word::from_bits(self.word.load(Ordering::SeqCst))
    }

    #[inline]
    fn swap(&self, from: Word, to: Word) -> bool {
        self.word.compare_exchange(from.bits(), to.bits(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// When an open breaker lets the next call through.
    #[inline]
    fn deadline(&self, generation: u32, wait: u64) -> Timestamp {
        let wait = Timestamp::from_millis(wait).as_nanos();
        Timestamp::from_nanos(self.since(generation).as_nanos().saturating_add(wait))
    }

    #[inline]
    fn since(&self, generation: u32) -> Timestamp {
        Timestamp::from_nanos(self.since_cell(generation).load(Ordering::Acquire))
    }

    fn count_from(&self, generation: u32, now: Timestamp) {
        self.since_cell(generation).fetch_max(now.as_nanos(), Ordering::AcqRel);
    }

    #[inline]
    fn since_cell(&self, generation: u32) -> &AtomicU64 {
        let [even, odd] = &self.since;
        if generation.is_multiple_of(2) { even } else { odd }
    }
}
