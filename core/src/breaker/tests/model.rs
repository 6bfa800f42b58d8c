//! The breaker against a model that keeps every call: both are taken through the same random steps under the same
//! random policies, modes and holds, and tripped and reset by hand, and all that the breaker says has to be what the model
//! says.

mod naive;
mod policies;

use self::naive::{Answer, Change, Naive};
use self::policies::{SLOW, policy};
use super::*;
use crate::hold::{Forced, Hold, HoldSpec, Target};
use crate::tests::property;
use proptest::prelude::*;
use std::sync::Arc;

/// A step, as the bits of a random number say: so that millions of them are quick to draw.
#[derive(Debug)]
enum Step {
    /// Asks for leave, through the ramp or past it.
    Ask { share: u64, ramps: bool },
    /// Ends one of the calls that are out.
    End { which: usize, outcome: Outcome, slow: bool, share: u64 },
    /// Drops the admission of one.
    Drop { which: usize },
    /// Lets time pass, in nanoseconds.
    Pass(u64),
    /// Goes to where the present wait is over, or the present bucket; or to the nanosecond before.
    ToDeadline { early: u64 },
    /// Goes to where the mode or the hold that counts is over, where it ever is.
    ToEndOfOrder,
    /// Puts another of the run's policies in force, its mode for so long.
    Apply { which: usize, mode_for: Option<u64> },
    /// Opens by hand.
    Trip { open_for: Option<u64>, share: u64 },
    /// Closes by hand.
    Reset,
    /// Puts a hold before the others.
    Hold { forced: Forced, until: Option<u64> },
    /// Ends the first hold.
    Release,
    /// Compares what the windows hold: a step of its own, for it takes the model longest.
    Count,
}

impl Step {
    fn decode(bits: u64) -> Self {
        let field = |from: u32, width: u32| bits >> from & ((1 << width) - 1);
        let (which, share) = (field(8, 16) as usize, field(24, 6));
        match field(0, 5) {
            0..=10 => Self::Ask { share, ramps: field(30, 1) == 1 },
            11..=24 => {
                let outcome = [Outcome::Failure, Outcome::Success, Outcome::Neutral]
                    [[0, 0, 0, 0, 1, 1, 1, 2][field(32, 3) as usize]];
                Self::End { which, outcome, slow: field(36, 2) == 0, share }
            }
            25 => Self::Drop { which },
            26 => Self::Pass(field(32, 20)),
            27 => Self::Pass(field(32, 30)),
            28 => Self::Pass(field(32, 32) * 10),
            29 => Self::ToDeadline { early: field(40, 2) & 1 },
            30 if field(32, 5) == 0 => Self::Pass(field(40, 24) * 50_000_000),
            30 => Self::ToDeadline { early: 0 },
            // Seconds, and half of the times without an end.
            _ => {
                let time = (field(45, 1) == 0).then(|| field(46, 16) * 1_000_001);
                let forced = [Forced::Open, Forced::Closed, Forced::Disabled, Forced::MetricsOnly];
                match field(32, 4) {
                    0..=3 => Self::Apply { which, mode_for: time },
                    4 => Self::Trip { open_for: time, share },
                    5 => Self::Reset,
                    6 => Self::Hold { forced: forced[field(36, 2) as usize], until: time },
                    7 | 8 => Self::Release,
                    9 => Self::ToEndOfOrder,
                    _ => Self::Count,
                }
            }
        }
    }
}

/// Breaker and model, side by side.
struct Pair<'a> {
    breaker: &'a Breaker,
    model: Naive,
    now: u64,
    holds: Vec<Arc<Hold>>,
    out: Vec<(Admission<'a>, Option<u64>)>,
}

impl Pair<'_> {
    fn take(&mut self, step: Step, policies: &[BreakerPolicy]) -> Result<(), TestCaseError> {
        let at = Timestamp::from_nanos(self.now);
        let policy = self.model.policy.clone();
        match step {
            Step::Pass(nanos) => self.now += nanos,
            Step::ToDeadline { early } => {
                let deadline = self.model.deadline().unwrap_or_else(|| self.model.bucket_end(self.now));
                self.now = self.now.max(deadline.saturating_sub(early));
            }
            Step::Ask { share, ramps } => {
                if ramps {
                    let passes = self.breaker.ramp(&policy, at, || share << 58).is_ok();
                    prop_assert_eq!(passes, self.model.ramp(self.now, share), "ramp");
                }
                let told = match self.breaker.admit(&policy, at, || share << 58) {
                    Ok(admitted) => {
                        let is_probe = admitted.admission.is_probe();
                        let change = self.change(admitted.transition)?;
                        self.out.push((admitted.admission, None));
                        Answer::Admitted { round: None, is_probe, change }
                    }
                    Err(rejected) => Answer::Rejected {
                        state: rejected.state,
                        left: rejected.retry_after.map(|left| left.as_nanos() as u64),
                        change: self.change(rejected.transition)?,
                    },
                };
                let mut expected = self.model.admit(self.now, share);
                if let Answer::Admitted { round, .. } = &mut expected
                    && let Some((_, last)) = self.out.last_mut()
                {
                    // The round is the model's own, to judge the result by.
                    *last = round.take();
                }
                prop_assert_eq!(told, expected);
            }
            Step::End { which, outcome, slow, share } if !self.out.is_empty() => {
                let (admission, round) = self.out.swap_remove(which % self.out.len());
                let latency = if slow { SLOW } else { SLOW - Duration::from_nanos(1) };
                let recorded = admission.record(&policy, outcome, latency, at, || share << 58);
                let told = (self.change(recorded.transition)?, recorded.is_stale);
                let slow = slow && !policy.slow_call_duration.is_zero();
                prop_assert_eq!(told, self.model.record(round, outcome, slow, self.now, share));
            }
            Step::Drop { which } if !self.out.is_empty() => {
                let (admission, round) = self.out.swap_remove(which % self.out.len());
                drop(admission);
                round.into_iter().for_each(|round| self.model.give_back(round));
            }
            Step::End { .. } | Step::Drop { .. } => {}
            Step::Count => prop_assert_eq!(self.breaker.window_counts(at), self.model.counts(self.now), "counts"),
            Step::Apply { which, mode_for } => {
                let policy = &policies[which % policies.len()];
                let until = mode_for.map(|time| self.now + time);
                self.breaker.reconfigure(policy);
                self.breaker.set_mode(policy.mode, until.map(Timestamp::from_nanos));
                self.model.reconfigure(policy.clone(), until);
            }
            Step::Trip { open_for, share } => {
                let transition = self.breaker.trip(&policy, open_for.map(Duration::from_nanos), at, || share << 58);
                let told = self.change_by_hand(transition)?;
                prop_assert_eq!(told, self.model.trip(open_for, self.now, share));
            }
            Step::Reset => {
                let told = self.change_by_hand(self.breaker.reset(at))?;
                prop_assert_eq!(told, self.model.reset(self.now));
            }
            Step::Hold { forced, until } => {
                let until = until.map(|time| self.now + time + 1);
                self.model.hold(forced, until);
                let (owner, reason) = ("ops".to_owned(), "drill".to_owned());
                let until = until.map(Timestamp::from_nanos);
                let spec = HoldSpec { target: Target::All, forced, since: at, until, owner, reason };
                self.holds.insert(0, Arc::new(Hold::new(spec).unwrap()));
                self.holds.truncate(2);
                self.breaker.set_holds(self.holds.clone());
            }
            Step::Release => {
                self.model.release();
                self.holds.drain(..self.holds.len().min(1));
                self.breaker.set_holds(self.holds.clone());
            }
            Step::ToEndOfOrder => self.now = self.now.max(self.model.order(self.now).1.unwrap_or(self.now)),
        }
        Ok(())
    }

    /// By the rules, which only those modes leave to move it that also tell so.
    fn change(&self, transition: Option<Transition>) -> Result<Option<Change>, TestCaseError> {
        let mode = self.model.mode(self.now);
        prop_assert!(transition.is_none() || matches!(mode, BreakerMode::Auto | BreakerMode::MetricsOnly));
        self.change_by_hand(transition)
    }

    fn change_by_hand(&self, transition: Option<Transition>) -> Result<Option<Change>, TestCaseError> {
        let Some(transition) = transition else { return Ok(None) };
        prop_assert_eq!(transition.at.as_nanos(), self.now);
        prop_assert_eq!(transition.is_enforced, self.model.mode(self.now) == BreakerMode::Auto);
        Ok(Some((transition.from, transition.to, transition.cause)))
    }

    /// What can be seen from outside.
    fn compare(&self) -> Result<(), TestCaseError> {
        let (at, rules) = (Timestamp::from_nanos(self.now), self.model.rules(self.now));
        let (mode, order_until) = self.model.order(self.now);
        let (shown, until) = match mode {
            BreakerMode::Auto => (rules, self.model.deadline()),
            BreakerMode::ForcedOpen => (State::Open, order_until),
            BreakerMode::Disabled | BreakerMode::MetricsOnly => (State::Closed, None),
        };
        let left = until.map(|until| Duration::from_nanos(until.saturating_sub(self.now)));
        prop_assert_eq!(self.breaker.state(at), shown);
        let rejected = self.breaker.would_reject(at).map(|rejected| rejected.retry_after);
        prop_assert_eq!(rejected, (shown == State::Open).then_some(left));
        prop_assert_eq!(self.breaker.learned_state(at), rules);
        Ok(())
    }
}

fn behaves_as_the_model(cases: u32, is_count: bool) {
    let policies = prop::collection::vec(policy(is_count), 1..4);
    take_through(cases, policies, prop::collection::vec(any::<u64>().prop_map(Step::decode), 0..1_200));
}

fn take_through(
    cases: u32,
    policies: impl Strategy<Value = Vec<BreakerPolicy>>,
    steps: impl Strategy<Value = Vec<Step>>,
) {
    property(cases, (policies, steps), |(policies, steps)| {
        let breaker = Breaker::new(&policies[0]);
        breaker.set_mode(policies[0].mode, None);
        let model = Naive::new(policies[0].clone());
        let mut pair = Pair { breaker: &breaker, model, now: 50_000_000_000, holds: Vec::new(), out: Vec::new() };
        for step in steps {
            pair.take(step, &policies)?;
            pair.compare()?;
        }
        Ok(())
    });
}

/// With the next one, a million steps.
#[test]
fn behaves_as_the_model_with_windows_of_time() {
    behaves_as_the_model(900, false);
}

#[test]
fn behaves_as_the_model_with_windows_of_calls() {
    behaves_as_the_model(900, true);
}

/// Hundreds of transitions a run, as of a service that is down for hours.
#[test]
fn behaves_as_the_model_through_long_outages() {
    let unstable = |policy| BreakerPolicy {
        mode: BreakerMode::Auto,
        consecutive_failures: 3,
        ramp_duration: Duration::ZERO,
        ..policy
    };
    let policies = prop::collection::vec(policy(true).prop_map(unstable), 1..2);
    let step = any::<u64>().prop_map(|bits| match bits & 7 {
        0 | 1 => Step::ToDeadline { early: 0 },
        2..=4 => Step::decode(bits & !31),
        5 if bits & 0x1ff == 5 => Step::Count,
        _ => Step::decode(bits & !31 | 11),
    });
    take_through(60, policies, prop::collection::vec(step, 0..6_000));
}
