//! What a breaker does, told as plainly as possible: every call is kept and looked through at each decision, time is a
//! number, and nothing is packed, striped or shared. It knows the engine by its policy and its words only.

use crate::breaker::{Cause, State};
use crate::hold::Forced;
use crate::outcome::Outcome;
use crate::policy::{BreakerMode, BreakerPolicy, BreakerWindow, LeaseExpiry};
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;

pub(super) struct Naive {
    pub(super) policy: BreakerPolicy,
    /// The policy's mode, and when it is over.
    pub(super) mode: (BreakerMode, Option<u64>),
    /// What operators hold, and until when. The first that is not over counts.
    pub(super) holds: Vec<(Forced, Option<u64>)>,
    phase: Phase,
    /// Counts the transitions and resets; a result belongs to the one after which its call was admitted.
    round: u64,
    /// The calls since the last close or reset, or since the window got its shape.
    calls: Vec<Call>,
    /// Whether it has ever closed, and when it last did.
    closed_at: Option<u64>,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed { in_a_row: u32 },
    Open { since: u64, wait: u64, reopens: u32 },
    HalfOpen { last_probe: u64, out: u32, good: u32, bad: u32, reopens: u32 },
}

#[derive(Clone, Copy)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
}

/// How a call went.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) slow: bool,
}

/// From, to, why, and whether calls feel it.
pub(super) type Change = (State, State, Cause, bool);

/// What the engine should say to somebody who asks for leave.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// In a round of its own right, or in none; as a probe or not.
    Admitted {
        round: Option<u64>,
        is_probe: bool,
        change: Option<Change>,
    },
    Rejected {
        state: State,
        left: Option<u64>,
        by: By,
        change: Option<Change>,
    },
}

/// On whose word it rejects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum By {
    Rules,
    Policy,
    Hold,
}

impl Naive {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        let (phase, mode) = (Phase::Closed { in_a_row: 0 }, (BreakerMode::Auto, None));
        Self { policy, mode, holds: Vec::new(), phase, round: 0, calls: Vec::new(), closed_at: None }
    }

    pub(super) fn reconfigure(&mut self, policy: BreakerPolicy) {
        if policy.window != self.policy.window {
            self.calls.clear();
        }
        self.policy = policy;
        if let Phase::Open { since, wait, reopens } = self.phase {
            let longest = self.jittered_open_time(reopens, 64);
            self.phase = Phase::Open { since, wait: wait.min(longest), reopens };
        }
    }

    /// The mode that counts, until when, and on whose word.
    fn order(&self, now: u64) -> (BreakerMode, Option<u64>, By) {
        let stands = |until: &Option<u64>| until.is_none_or(|until| now < until);
        if let Some((forced, until)) = self.holds.iter().find(|(_, until)| stands(until)) {
            let mode = match forced {
                Forced::Open => BreakerMode::ForcedOpen,
                Forced::Closed | Forced::Disabled => BreakerMode::Disabled,
                Forced::MetricsOnly => BreakerMode::MetricsOnly,
            };
            return (mode, *until, By::Hold);
        }
        let (mode, until) = self.mode;
        if stands(&until) { (mode, until, By::Policy) } else { (BreakerMode::Auto, None, By::Policy) }
    }

    pub(super) fn mode(&self, now: u64) -> BreakerMode {
        self.order(now).0
    }

    /// `share` in sixty-fourths stands for the random number.
    pub(super) fn ramp(&self, now: u64, share: u64) -> bool {
        let (Phase::Closed { .. }, Some(closed_at)) = (self.phase, self.closed_at) else { return true };
        let ramp = nanos(self.policy.ramp_duration);
        let passed = now - closed_at;
        self.mode(now) != BreakerMode::Auto
            || passed >= ramp
            || (share as f64 / 64.0) < self.policy.ramp_min_ratio
            || u128::from(share) * u128::from(ramp) < 64 * u128::from(passed)
    }

    pub(super) fn admit(&mut self, now: u64, share: u64) -> Answer {
        match self.mode(now) {
            BreakerMode::Auto => self.ask(now, share),
            BreakerMode::Disabled => {
                let is_closed = matches!(self.phase, Phase::Closed { .. });
                Answer::Admitted { round: is_closed.then_some(self.round), is_probe: false, change: None }
            }
            BreakerMode::ForcedOpen => {
                let (left, by) = self.forced_open(now);
                Answer::Rejected { state: State::Open, left, by, change: None }
            }
            BreakerMode::MetricsOnly => match self.ask(now, share) {
                Answer::Rejected { change, .. } => Answer::Admitted { round: None, is_probe: false, change },
                admitted @ Answer::Admitted { .. } => admitted,
            },
        }
    }

    /// Until when it is forced open, and by whom.
    fn forced_open(&self, now: u64) -> (Option<u64>, By) {
        let (_, until, by) = self.order(now);
        (until.map(|until| until - now), by)
    }

    fn ask(&mut self, now: u64, share: u64) -> Answer {
        let rejected = |state, left, change| Answer::Rejected { state, left: Some(left), by: By::Rules, change };
        match self.phase {
            Phase::Closed { .. } => self.admitted(false, None),
            Phase::Open { since, wait, .. } if now < since + wait => rejected(State::Open, since + wait - now, None),
            Phase::Open { reopens, .. } => self.probe(State::Open, Cause::OpenElapsed, reopens, now),
            Phase::HalfOpen { last_probe, out, good, bad, reopens } => {
                let needed = self.policy.success_threshold.saturating_sub(good).max(1);
                let cap = match self.policy.half_open_max_in_flight {
                    0 => self.policy.success_threshold,
                    cap => cap,
                };
                if out < needed && out < cap {
                    self.phase = Phase::HalfOpen { last_probe: now, out: out + 1, good, bad, reopens };
                    return self.admitted(true, None);
                }
                let lease = self.lease();
                if now < last_probe + lease {
                    return rejected(State::HalfOpen, last_probe + lease - now, None);
                }
                match self.policy.on_lease_expiry {
                    LeaseExpiry::Reprobe => self.probe(State::HalfOpen, Cause::LeaseExpired, reopens, now),
                    LeaseExpiry::Close => {
                        let change = self.close(State::HalfOpen, Cause::LeaseExpired, now);
                        self.admitted(false, Some(change))
                    }
                    LeaseExpiry::Open => {
                        let wait = self.jittered_open_time(reopens + 1, share);
                        let change = self.open(State::HalfOpen, Cause::LeaseExpired, reopens + 1, wait, now);
                        rejected(State::Open, wait, Some(change))
                    }
                }
            }
        }
    }

    /// The change that a result makes, and whether it came too late to count.
    pub(super) fn record(&mut self, round: Option<u64>, end: End, now: u64, share: u64) -> (Option<Change>, bool) {
        let Some(round) = round else { return (None, false) };
        let failed = end.outcome == Outcome::Failure;
        if end.outcome == Outcome::Neutral {
            self.give_back(round);
            return (None, false);
        }
        if round != self.round {
            return (None, true);
        }
        let is_fixed = matches!(self.mode(now), BreakerMode::ForcedOpen | BreakerMode::Disabled);
        let change = match self.phase {
            Phase::Open { .. } => unreachable!("an open breaker admits nobody"),
            Phase::Closed { in_a_row } => {
                let in_a_row = if failed { in_a_row + 1 } else { 0 };
                self.phase = Phase::Closed { in_a_row };
                self.calls.push(Call { at: now, failed, slow: end.slow });
                let cause = self.trigger(in_a_row, failed, end.slow, now).filter(|_| !is_fixed);
                cause.map(|cause| self.open(State::Closed, cause, 0, self.jittered_open_time(0, share), now))
            }
            Phase::HalfOpen { .. } if is_fixed => {
                self.give_back(round);
                None
            }
            Phase::HalfOpen { last_probe, out, good, bad, reopens } => {
                let too_slow = end.slow && self.policy.slow_call_rate > 0.0;
                if failed || too_slow {
                    let cause = if failed { Cause::ProbeFailed } else { Cause::ProbeSlow };
                    self.phase = Phase::HalfOpen { last_probe, out: out - 1, good: 0, bad: bad + 1, reopens };
                    let wait = self.jittered_open_time(reopens + 1, share);
                    (bad + 1 > self.policy.half_open_allowed_failures)
                        .then(|| self.open(State::HalfOpen, cause, reopens + 1, wait, now))
                } else {
                    self.phase = Phase::HalfOpen { last_probe, out: out - 1, good: good + 1, bad, reopens };
                    (good + 1 >= self.policy.success_threshold)
                        .then(|| self.close(State::HalfOpen, Cause::ProbesSucceeded, now))
                }
            }
        };
        (change, false)
    }

    /// Takes back the slot of a probe that said nothing.
    pub(super) fn give_back(&mut self, round: u64) {
        if let Phase::HalfOpen { out, .. } = &mut self.phase
            && round == self.round
        {
            *out -= 1;
        }
    }

    /// What an operator's trip changes: never does it make an open breaker close earlier.
    pub(super) fn trip(&mut self, open_for: Option<u64>, now: u64, share: u64) -> Option<Change> {
        let (from, reopens) = match self.phase {
            Phase::Closed { .. } => (State::Closed, 0),
            Phase::HalfOpen { reopens, .. } => (State::HalfOpen, reopens),
            Phase::Open { since, wait, reopens } => {
                let open_for = open_for.unwrap_or_else(|| self.jittered_open_time(reopens, share));
                self.phase = Phase::Open { since, wait: wait.max(whole_millis(now + open_for - since)), reopens };
                return None;
            }
        };
        let wait = open_for.map_or_else(|| self.jittered_open_time(reopens, share), whole_millis);
        Some(self.open(from, Cause::Tripped, reopens, wait, now))
    }

    /// What an operator's reset changes: nothing is learned any more, and who is out is late.
    pub(super) fn reset(&mut self, now: u64) -> Option<Change> {
        let from = match self.phase {
            Phase::Closed { .. } => {
                let closed_at = self.closed_at;
                self.close(State::Closed, Cause::Reset, now);
                self.closed_at = closed_at;
                return None;
            }
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        };
        Some(self.close(from, Cause::Reset, now))
    }

    /// The state by the rules, whatever stands over them.
    pub(super) fn learned(&self, now: u64) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { since, wait, .. } if now < since + wait => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Whether a call would be rejected: for how long still, and on whose word.
    pub(super) fn rejects(&self, now: u64) -> Option<(Option<u64>, By)> {
        match (self.mode(now), self.learned(now)) {
            (BreakerMode::ForcedOpen, _) => Some(self.forced_open(now)),
            (BreakerMode::Auto, State::Open) => Some((self.deadline().map(|deadline| deadline - now), By::Rules)),
            _ => None,
        }
    }

    /// Successes and failures in the window.
    pub(super) fn counts(&self, now: u64) -> (u64, u64) {
        if !matches!(self.phase, Phase::Closed { .. }) {
            return (0, 0);
        }
        let (calls, failures, _) = self.sums(now);
        (calls - failures, failures)
    }

    /// When what waits now is over.
    pub(super) fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Open { since, wait, .. } => Some(since + wait),
            Phase::HalfOpen { last_probe, .. } => Some(last_probe + self.lease()),
        }
    }

    /// When the next bucket begins.
    pub(super) fn bucket_end(&self, now: u64) -> u64 {
        match self.policy.window {
            BreakerWindow::Count(_) => now,
            BreakerWindow::Time(window) => {
                let width = nanos(window.length) / u64::from(window.buckets);
                (now / width + 1) * width
            }
        }
    }

    fn trigger(&self, in_a_row: u32, failed: bool, slow: bool, now: u64) -> Option<Cause> {
        let policy = &self.policy;
        let (calls, failures, slow_calls) = self.sums(now);
        let enough = calls >= u64::from(policy.minimum_calls);
        let share = |part: u64, rate: f64| enough && rate > 0.0 && part as f64 / calls as f64 >= rate;
        let count = policy.failure_count > 0 && failures >= u64::from(policy.failure_count);
        let row = policy.consecutive_failures > 0 && in_a_row >= policy.consecutive_failures;
        [
            (failed && row, Cause::ConsecutiveFailures),
            (failed && enough && count, Cause::FailureCount),
            (failed && share(failures, policy.failure_rate), Cause::FailureRate),
            (slow && share(slow_calls, policy.slow_call_rate), Cause::SlowCallRate),
        ]
        .into_iter()
        .find_map(|(holds, cause)| holds.then_some(cause))
    }

    /// Calls, failures and slow calls in the window.
    fn sums(&self, now: u64) -> (u64, u64, u64) {
        let inside = |index: usize, call: &Call| match self.policy.window {
            BreakerWindow::Count(size) => index + size as usize >= self.calls.len(),
            BreakerWindow::Time(window) => {
                let width = nanos(window.length) / u64::from(window.buckets);
                now / width - call.at / width < u64::from(window.buckets)
            }
        };
        self.calls.iter().enumerate().filter(|(index, call)| inside(*index, call)).fold((0, 0, 0), |sums, (_, call)| {
            (sums.0 + 1, sums.1 + u64::from(call.failed), sums.2 + u64::from(call.slow))
        })
    }

    fn admitted(&self, is_probe: bool, change: Option<Change>) -> Answer {
        Answer::Admitted { round: Some(self.round), is_probe, change }
    }

    fn probe(&mut self, from: State, cause: Cause, reopens: u32, now: u64) -> Answer {
        self.round += 1;
        self.phase = Phase::HalfOpen { last_probe: now, out: 1, good: 0, bad: 0, reopens };
        self.admitted(true, Some(self.change(from, State::HalfOpen, cause, now)))
    }

    fn open(&mut self, from: State, cause: Cause, reopens: u32, wait: u64, now: u64) -> Change {
        self.round += 1;
        self.phase = Phase::Open { since: now, wait, reopens };
        self.change(from, State::Open, cause, now)
    }

    fn close(&mut self, from: State, cause: Cause, now: u64) -> Change {
        self.round += 1;
        self.phase = Phase::Closed { in_a_row: 0 };
        self.calls.clear();
        self.closed_at = Some(now);
        self.change(from, State::Closed, cause, now)
    }

    fn change(&self, from: State, to: State, cause: Cause, now: u64) -> Change {
        (from, to, cause, self.mode(now) == BreakerMode::Auto)
    }

    fn lease(&self) -> u64 {
        match nanos(self.policy.half_open_lease) {
            0 => nanos(self.policy.open_duration).max(30_000 * MILLISECOND),
            lease => lease,
        }
    }

    /// The multipliers of these tests are whole, and their ratios of jitter eighths.
    fn jittered_open_time(&self, reopens: u32, share: u64) -> u64 {
        let (longest, factor) = (nanos(self.policy.max_open_duration), self.policy.open_backoff_multiplier as u64);
        let grown = (0..reopens).fold(nanos(self.policy.open_duration), |time, _| (time * factor).min(longest));
        let open_time = grown.min(longest);
        whole_millis(open_time + open_time * (self.policy.open_jitter_ratio * 8.0) as u64 * share / 8 / 64)
    }
}

fn whole_millis(nanos: u64) -> u64 {
    nanos.div_ceil(MILLISECOND) * MILLISECOND
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
