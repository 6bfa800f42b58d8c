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
    phase: Phase,
    /// Counts the transitions; a result belongs to the one after which its call was admitted.
    pub(super) round: u64,
    /// The calls since the last close, or since the window got its shape.
    calls: Vec<Call>,
    /// Whether it has ever closed, and when it last did.
    closed_at: Option<u64>,
    /// When the policy's mode is over.
    mode_until: Option<u64>,
    /// Operators' holds, and when they are over; the first that is not counts.
    holds: Vec<(Forced, Option<u64>)>,
}

#[derive(Clone, Copy)]
enum Phase {
    Closed { in_a_row: u32 },
    Open { since: u64, wait: u64, reopens: u32, by_hand: bool },
    HalfOpen { last_probe: u64, out: u32, good: u32, bad: u32, reopens: u32 },
}

#[derive(Clone, Copy)]
struct Call {
    at: u64,
    failed: bool,
    slow: bool,
}

/// From, to, and why.
pub(super) type Change = (State, State, Cause);

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
        change: Option<Change>,
    },
}

impl Naive {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            phase: Phase::Closed { in_a_row: 0 },
            round: 0,
            calls: Vec::new(),
            closed_at: None,
            mode_until: None,
            holds: Vec::new(),
        }
    }

    /// What stands over the rules, and until when.
    pub(super) fn order(&self, now: u64) -> (BreakerMode, Option<u64>) {
        let is_on = |until: Option<u64>| until.is_none_or(|until| now < until);
        let mode_of = |forced| match forced {
            Forced::Open => BreakerMode::ForcedOpen,
            Forced::Closed | Forced::Disabled => BreakerMode::Disabled,
            Forced::MetricsOnly => BreakerMode::MetricsOnly,
        };
        let hold = self.holds.iter().find(|(_, until)| is_on(*until));
        let hold = hold.map(|(forced, until)| (mode_of(*forced), *until));
        let mode = is_on(self.mode_until).then_some((self.policy.mode, self.mode_until));
        hold.or(mode).unwrap_or((BreakerMode::Auto, None))
    }

    pub(super) fn mode(&self, now: u64) -> BreakerMode {
        self.order(now).0
    }

    /// The newer one first; of two, for there are no more kinds of targets.
    pub(super) fn hold(&mut self, forced: Forced, until: Option<u64>) {
        self.holds.insert(0, (forced, until));
        self.holds.truncate(2);
    }

    pub(super) fn release(&mut self) {
        self.holds.drain(..self.holds.len().min(1));
    }

    pub(super) fn trip(&mut self, open_for: Option<u64>, now: u64, share: u64) -> Option<Change> {
        let (from, reopens) = match self.phase {
            Phase::Closed { .. } => (State::Closed, 0),
            Phase::HalfOpen { reopens, .. } => (State::HalfOpen, reopens),
            Phase::Open { reopens, .. } => (State::Open, reopens),
        };
        let by_hand = open_for.is_some() || from == State::Open;
        let time = open_for.unwrap_or_else(|| self.jittered(reopens, share));
        if let Phase::Open { since, wait, .. } = self.phase {
            let until = (now + time).max(since + wait);
            // The time from the opening to the end of the wait has 31 bits.
            let since = if whole_millis(until - since) / MILLISECOND < 1 << 31 { since } else { now };
            let wait = whole_millis(until - since);
            self.phase = Phase::Open { since, wait, reopens, by_hand };
            return None;
        }
        self.round += 1;
        self.phase = Phase::Open { since: now, wait: whole_millis(time), reopens, by_hand };
        Some((from, State::Open, Cause::Tripped))
    }

    pub(super) fn reset(&mut self, now: u64) -> Option<Change> {
        if let Phase::Closed { in_a_row } = &mut self.phase {
            *in_a_row = 0;
            self.round += 1;
            self.calls.clear();
            return None;
        }
        let from = if matches!(self.phase, Phase::Open { .. }) { State::Open } else { State::HalfOpen };
        let (_, to, cause) = self.close(Cause::Reset, now);
        Some((from, to, cause))
    }

    pub(super) fn reconfigure(&mut self, policy: BreakerPolicy, mode_until: Option<u64>) {
        self.mode_until = mode_until;
        if policy.window != self.policy.window {
            self.calls.clear();
        }
        self.policy = policy;
        if let Phase::Open { since, wait, reopens, by_hand: false } = self.phase {
            let wait = wait.min(whole_millis(self.jittered(reopens, 64)));
            self.phase = Phase::Open { since, wait, reopens, by_hand: false };
        }
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
        let (mode, until) = self.order(now);
        match mode {
            BreakerMode::ForcedOpen => {
                let left = until.map(|until| until - now);
                return Answer::Rejected { state: State::Open, left, change: None };
            }
            BreakerMode::Disabled if !matches!(self.phase, Phase::Closed { .. }) => {
                return Answer::Admitted { round: None, is_probe: false, change: None };
            }
            _ => {}
        }
        match self.ask(now, share) {
            Answer::Rejected { change, .. } if mode == BreakerMode::MetricsOnly => {
                Answer::Admitted { round: None, is_probe: false, change }
            }
            answer => answer,
        }
    }

    fn ask(&mut self, now: u64, share: u64) -> Answer {
        match self.phase {
            Phase::Closed { .. } => self.admitted(false, None),
            Phase::Open { since, wait, .. } if now < since + wait => {
                Answer::Rejected { state: State::Open, left: Some(since + wait - now), change: None }
            }
            Phase::Open { reopens, .. } => self.probe(State::Open, Cause::OpenElapsed, reopens, now),
            Phase::HalfOpen { last_probe, out, good, bad, reopens } => {
                let needed = self.policy.success_threshold.saturating_sub(good).max(1);
                let cap = match self.policy.half_open_max_in_flight {
                    0 => self.policy.success_threshold,
                    cap => cap,
                };
                if out < needed && out < cap {
                    self.phase = Phase::HalfOpen { last_probe: now.max(last_probe), out: out + 1, good, bad, reopens };
                    return self.admitted(true, None);
                }
                let lease = match nanos(self.policy.half_open_lease) {
                    0 => nanos(self.policy.open_duration).max(30_000 * MILLISECOND),
                    lease => lease,
                };
                if now < last_probe + lease {
                    let left = Some(last_probe + lease - now);
                    return Answer::Rejected { state: State::HalfOpen, left, change: None };
                }
                match self.policy.on_lease_expiry {
                    LeaseExpiry::Reprobe => self.probe(State::HalfOpen, Cause::LeaseExpired, reopens, now),
                    LeaseExpiry::Close => {
                        let change = self.close(Cause::LeaseExpired, now);
                        self.admitted(false, Some(change))
                    }
                    LeaseExpiry::Open => {
                        let change = Some(self.open(State::HalfOpen, Cause::LeaseExpired, reopens + 1, now, share));
                        let Phase::Open { wait, .. } = self.phase else { unreachable!() };
                        Answer::Rejected { state: State::Open, left: Some(wait), change }
                    }
                }
            }
        }
    }

    /// The change that a result makes, and whether it came too late to count.
    pub(super) fn record(
        &mut self,
        round: Option<u64>,
        outcome: Outcome,
        slow: bool,
        now: u64,
        share: u64,
    ) -> (Option<Change>, bool) {
        let Some(round) = round else { return (None, false) };
        if outcome == Outcome::Neutral {
            self.give_back(round);
            return (None, false);
        }
        if round != self.round {
            return (None, true);
        }
        let is_fixed = matches!(self.mode(now), BreakerMode::ForcedOpen | BreakerMode::Disabled);
        if is_fixed && matches!(self.phase, Phase::HalfOpen { .. }) {
            self.give_back(round);
            return (None, false);
        }
        let is_slow_probe = matches!(self.phase, Phase::HalfOpen { .. }) && slow && self.policy.slow_call_rate > 0.0;
        let failed = outcome == Outcome::Failure || is_slow_probe;
        let change = match self.phase {
            Phase::Open { .. } => unreachable!("an open breaker admits nobody"),
            Phase::Closed { in_a_row } => {
                let in_a_row = if failed { in_a_row + 1 } else { 0 };
                self.phase = Phase::Closed { in_a_row };
                self.calls.push(Call { at: now, failed, slow });
                let cause = self.trigger(in_a_row, failed, slow, now).filter(|_| !is_fixed);
                cause.map(|cause| self.open(State::Closed, cause, 0, now, share))
            }
            Phase::HalfOpen { bad, reopens, .. } if failed && bad + 1 > self.policy.half_open_allowed_failures => {
                let cause = if outcome == Outcome::Failure { Cause::ProbeFailed } else { Cause::ProbeSlow };
                Some(self.open(State::HalfOpen, cause, reopens + 1, now, share))
            }
            Phase::HalfOpen { last_probe, out, bad, reopens, .. } if failed => {
                self.phase = Phase::HalfOpen { last_probe, out: out - 1, good: 0, bad: bad + 1, reopens };
                None
            }
            Phase::HalfOpen { good, .. } if good + 1 >= self.policy.success_threshold => {
                Some(self.close(Cause::ProbesSucceeded, now))
            }
            Phase::HalfOpen { last_probe, out, good, bad, reopens } => {
                self.phase = Phase::HalfOpen { last_probe, out: out - 1, good: good + 1, bad, reopens };
                None
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

    /// The state that the rules are in, whatever the mode makes of it.
    pub(super) fn rules(&self, now: u64) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { since, wait, .. } if now < since + wait => State::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
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
            Phase::HalfOpen { last_probe, .. } => Some(last_probe + nanos(self.policy.lease())),
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
        let most = if let BreakerWindow::Count(size) = policy.window { size } else { u32::MAX };
        let enough = calls >= u64::from(policy.minimum_calls.min(most));
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
        self.admitted(true, Some((from, State::HalfOpen, cause)))
    }

    fn open(&mut self, from: State, cause: Cause, reopens: u32, now: u64, share: u64) -> Change {
        self.round += 1;
        let wait = whole_millis(self.jittered(reopens, share));
        self.phase = Phase::Open { since: now, wait, reopens, by_hand: false };
        (from, State::Open, cause)
    }

    fn close(&mut self, cause: Cause, now: u64) -> Change {
        self.round += 1;
        self.phase = Phase::Closed { in_a_row: 0 };
        self.calls.clear();
        self.closed_at = Some(now);
        (State::HalfOpen, State::Closed, cause)
    }

    fn jittered(&self, reopens: u32, share: u64) -> u64 {
        let open_time = self.open_time(reopens);
        open_time + portion(open_time, self.policy.open_jitter_ratio, share)
    }

    /// The multipliers of these tests are whole.
    fn open_time(&self, reopens: u32) -> u64 {
        let (longest, factor) = (nanos(self.policy.max_open_duration), self.policy.open_backoff_multiplier as u64);
        (0..reopens).fold(nanos(self.policy.open_duration), |time, _| (time * factor).min(longest)).min(longest)
    }
}

/// `ratio`, in whole eighths, of `sixty-fourths` of a time.
fn portion(time: u64, ratio: f64, sixty_fourths: u64) -> u64 {
    time * (ratio * 8.0) as u64 * sixty_fourths / 8 / 64
}

fn whole_millis(nanos: u64) -> u64 {
    nanos.div_ceil(MILLISECOND) * MILLISECOND
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}
