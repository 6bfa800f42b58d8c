//! The breaker against a model that keeps every call: both are taken through the same random steps under the same
//! random policies, modes and holds, and all that the breaker says has to be what the model says.

mod naive;
mod policies;
mod steps;

use self::naive::{Answer, By, Change, End, Naive};
use self::policies::{SLOW, policy};
use self::steps::Step;
use super::*;
use crate::hold::{Forced, Hold, HoldSpec, Target};
use crate::tests::property;
use proptest::prelude::*;
use std::sync::Arc;

/// Breaker and model, side by side.
struct Pair<'a> {
    breaker: &'a Breaker,
    model: Naive,
    now: u64,
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
            Step::Ask { share, ramps } => self.ask(&policy, share, ramps)?,
            Step::End { which, end, share } if !self.out.is_empty() => {
                let (admission, round) = self.out.swap_remove(which % self.out.len());
                let latency = if end.slow { SLOW } else { SLOW - Duration::from_nanos(1) };
                let recorded = admission.record(&policy, end.outcome, latency, at, || share << 58);
                let told = (self.change(recorded.transition)?, recorded.is_stale);
                let slow = end.slow && !policy.slow_call_duration.is_zero();
                prop_assert_eq!(told, self.model.record(round, End { slow, ..end }, self.now, share));
            }
            Step::Drop { which } if !self.out.is_empty() => {
                let (admission, round) = self.out.swap_remove(which % self.out.len());
                drop(admission);
                round.into_iter().for_each(|round| self.model.give_back(round));
            }
            Step::End { .. } | Step::Drop { .. } => {}
            Step::Apply { which } => {
                let policy = &policies[which % policies.len()];
                self.breaker.reconfigure(policy);
                self.model.reconfigure(policy.clone());
            }
            Step::Mode { mode, length } => {
                let until = length.map(|length| self.now + length);
                self.breaker.set_mode(mode, until.map(Timestamp::from_nanos));
                self.model.mode = (mode, until);
            }
            Step::Holds(holds) => {
                let until = |(forced, length): (Forced, Option<u64>)| (forced, length.map(|length| self.now + length));
                self.model.holds = holds.into_iter().flatten().map(until).collect();
                self.breaker.set_holds(self.model.holds.iter().map(|hold| held(*hold, at)).collect());
            }
            Step::Trip { length, share } => {
                let transition = self.breaker.trip(&policy, length.map(Duration::from_nanos), at, || share << 58);
                prop_assert_eq!(self.change(transition)?, self.model.trip(length, self.now, share));
            }
            Step::Reset => {
                let transition = self.breaker.reset(at);
                prop_assert_eq!(self.change(transition)?, self.model.reset(self.now));
            }
            Step::Count => prop_assert_eq!(self.breaker.window_counts(at), self.model.counts(self.now), "counts"),
        }
        Ok(())
    }

    fn ask(&mut self, policy: &BreakerPolicy, share: u64, ramps: bool) -> Result<(), TestCaseError> {
        let at = Timestamp::from_nanos(self.now);
        if ramps {
            let passes = self.breaker.ramp(policy, at, || share << 58).is_ok();
            prop_assert_eq!(passes, self.model.ramp(self.now, share), "ramp");
        }
        let told = match self.breaker.admit(policy, at, || share << 58) {
            Ok(admitted) => {
                let is_probe = admitted.admission.is_probe();
                let change = self.change(admitted.transition)?;
                self.out.push((admitted.admission, None));
                Answer::Admitted { round: None, is_probe, change }
            }
            Err(rejected) => {
                let left = rejected.retry_after.map(|left| left.as_nanos() as u64);
                let change = self.change(rejected.transition)?;
                Answer::Rejected { state: rejected.state, left, by: by(&rejected.by), change }
            }
        };
        let mut expected = self.model.admit(self.now, share);
        if let (Answer::Admitted { round, .. }, Answer::Admitted { .. }) = (&mut expected, &told)
            && let Some((_, last)) = self.out.last_mut()
        {
            // The round is the model's own, to judge the result by.
            *last = round.take();
        }
        prop_assert_eq!(told, expected);
        Ok(())
    }

    fn change(&self, transition: Option<Transition>) -> Result<Option<Change>, TestCaseError> {
        let Some(transition) = transition else { return Ok(None) };
        prop_assert_eq!(transition.at.as_nanos(), self.now);
        Ok(Some((transition.from, transition.to, transition.cause, transition.is_enforced)))
    }

    /// What can be seen from outside.
    fn compare(&self) -> Result<(), TestCaseError> {
        let (at, learned) = (Timestamp::from_nanos(self.now), self.model.learned(self.now));
        let shown = match self.model.mode(self.now) {
            BreakerMode::Auto => learned,
            BreakerMode::ForcedOpen => State::Open,
            BreakerMode::Disabled | BreakerMode::MetricsOnly => State::Closed,
        };
        prop_assert_eq!((self.breaker.learned_state(at), self.breaker.state(at)), (learned, shown));
        let rejects = self
            .breaker
            .would_reject(at)
            .map(|rejected| (rejected.retry_after.map(|left| left.as_nanos() as u64), by(&rejected.by)));
        prop_assert_eq!(rejects, self.model.rejects(self.now));
        Ok(())
    }
}

fn by(opened: &OpenedBy) -> By {
    match opened {
        OpenedBy::Rules => By::Rules,
        OpenedBy::Policy => By::Policy,
        OpenedBy::Hold(_) => By::Hold,
    }
}

fn held((forced, until): (Forced, Option<u64>), since: Timestamp) -> Arc<Hold> {
    let until = until.map(Timestamp::from_nanos);
    let text = || "test".to_owned();
    Arc::new(Hold::new(HoldSpec { target: Target::All, forced, since, until, owner: text(), reason: text() }).unwrap())
}

fn take_through(
    cases: u32,
    policies: impl Strategy<Value = Vec<BreakerPolicy>>,
    steps: impl Strategy<Value = Vec<Step>>,
) {
    property(cases, (policies, steps), |(policies, steps)| {
        let breaker = Breaker::new(&policies[0]);
        let model = Naive::new(policies[0].clone());
        let mut pair = Pair { breaker: &breaker, model, now: 50_000_000_000, out: Vec::new() };
        for step in steps {
            pair.take(step, &policies)?;
            pair.compare()?;
        }
        Ok(())
    });
}

fn behaves_as_the_model(is_count: bool) {
    let policies = prop::collection::vec(policy(is_count), 1..4);
    take_through(900, policies, prop::collection::vec(any::<u64>().prop_map(Step::decode), 0..1_200));
}

/// With the next one, a million steps.
#[test]
fn behaves_as_the_model_with_windows_of_time() {
    behaves_as_the_model(false);
}

#[test]
fn behaves_as_the_model_with_windows_of_calls() {
    behaves_as_the_model(true);
}

/// Hundreds of transitions a run, as of a service that is down for hours.
#[test]
fn behaves_as_the_model_through_long_outages() {
    let unstable = |policy| BreakerPolicy { consecutive_failures: 3, ramp_duration: Duration::ZERO, ..policy };
    let policies = any::<bool>().prop_flat_map(policy).prop_map(move |policy| vec![unstable(policy)]);
    take_through(60, policies, prop::collection::vec(any::<u64>().prop_map(Step::decode_outage), 0..6_000));
}
