//! Whether protection helped: claims, each computed from what was measured, and each able to fail.
//!
//! The bounds leave room for a machine that is busy with other work, not for a product that does not work. A phase that
//! somebody disturbed is not judged; a script that was not played to its end proves nothing either way.

use super::measure::{Group, Phase, Purpose, Served};
use super::script::STEPS;
use super::upstream::Fault;
use cofferdam_core::level::Level;
use std::fmt;

/// The least share of users of a protected caller that must get an answer while the upstream fails, in percent.
const PROTECTED_AT_LEAST: f64 = 99.0;

/// The share of users that an unprotected caller must stay below while the upstream is broken, in percent: above it,
/// there would be nothing to protect from.
const UNPROTECTED_BELOW: f64 = 50.0;

/// The least share of answers in healthy times, for either group, in percent.
const HEALTHY_AT_LEAST: f64 = 95.0;

/// The least share of live answers in the second half of a phase in which the upstream healed, in percent.
const LIVE_AT_LEAST: f64 = 95.0;

/// The share of the unprotected group's load that must be left when the breaker is open, in percent.
const LOAD_BELOW: f64 = 25.0;

/// The share of the unprotected group's p99 that the protected group's must stay below while the upstream is slow, and
/// the same for the peak of calls in flight, in percent.
const SLOW_BELOW: f64 = 50.0;

/// The fewest calls of a group in a phase that say anything.
const FEWEST_CALLS: u64 = 10;

/// What the verdict says where every claim holds.
pub(crate) fn praise() -> String {
    format!(
        "protection helped: while payments failed, at least {PROTECTED_AT_LEAST} % of the protected calls were answered; \
         open breakers left it less than {LOAD_BELOW} % of the load; once it was well, at least {LIVE_AT_LEAST} % of the \
         answers were live again"
    )
}

/// What came of the demo.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Every claim holds.
    Helped,
    /// Some do not: these.
    DidNotHelp(Vec<Finding>),
    /// The script was not played to its end.
    NotJudged,
}

/// A claim that does not hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finding {
    /// The step of the script.
    pub step: &'static str,
    /// What was measured.
    pub what: String,
    /// What it should have been.
    pub bound: String,
    /// What it was.
    pub measured: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, what, bound, measured } = self;
        write!(f, "step {step}: {what} should be {bound} and was {measured}")
    }
}

/// Judges what was measured.
pub(crate) fn judge(phases: &[Phase]) -> Verdict {
    let of_step = |step: usize| phases.iter().rev().find(|phase| phase.scene.purpose == Purpose::Step(step));
    let mut findings = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        let Some(phase) = of_step(index) else {
            return Verdict::NotJudged;
        };
        let mut judge = Judge { step: step.title, phase, findings: &mut findings };
        judge.enough_calls();
        match (step.fault, step.level) {
            (Fault::Healthy, Level::None) => judge.healthy(),
            (Fault::Healthy | Fault::Flaky, _) => judge.live_again(),
            (Fault::Broken, Level::None) => judge.both_suffer(),
            (Fault::Broken, level) => {
                judge.users_are_answered();
                judge.unprotected_suffer();
                if level >= Level::Enhanced {
                    judge.upstream_is_left_alone();
                }
            }
            (Fault::Slow, _) => {
                judge.users_are_answered();
                judge.calls_do_not_pile_up();
            }
        }
    }
    if findings.is_empty() { Verdict::Helped } else { Verdict::DidNotHelp(findings) }
}

struct Judge<'a> {
    step: &'static str,
    phase: &'a Phase,
    findings: &'a mut Vec<Finding>,
}

impl Judge<'_> {
    fn enough_calls(&mut self) {
        for group in Group::ALL {
            let calls = self.phase.whole.of(group).calls();
            let step = self.step;
            self.claim(calls >= FEWEST_CALLS, || Finding {
                step,
                what: format!("the number of {} calls", group.name()),
                bound: format!("at least {FEWEST_CALLS}"),
                measured: calls.to_string(),
            });
        }
    }

    fn healthy(&mut self) {
        for group in Group::ALL {
            self.at_least(HEALTHY_AT_LEAST, self.answered(group), &answered_words(group));
        }
    }

    fn both_suffer(&mut self) {
        for group in Group::ALL {
            self.below(UNPROTECTED_BELOW, self.answered(group), &answered_words(group));
        }
    }

    fn unprotected_suffer(&mut self) {
        let group = Group::Unprotected;
        self.below(UNPROTECTED_BELOW, self.answered(group), &answered_words(group));
    }

    fn users_are_answered(&mut self) {
        let group = Group::Protected;
        self.at_least(PROTECTED_AT_LEAST, self.answered(group), &answered_words(group));
    }

    fn upstream_is_left_alone(&mut self) {
        let load = Group::ALL.map(|group| self.phase.load(group));
        self.below(LOAD_BELOW, share(load), "the protected load as a share of the unprotected one");
    }

    fn calls_do_not_pile_up(&mut self) {
        let p99 = Group::ALL.map(|group| {
            let latency = &self.phase.whole.of(group).latency;
            latency.quantile(0.99).map_or(0.0, |p99| p99.as_secs_f64())
        });
        self.below(SLOW_BELOW, share(p99), "the protected p99 as a share of the unprotected one");
        let peak = Group::ALL.map(|group| {
            let peak = self.phase.whole.of(group).peak_in_flight;
            f64::from(u32::try_from(peak).unwrap_or(u32::MAX))
        });
        self.below(SLOW_BELOW, share(peak), "the protected peak in flight as a share of the unprotected one");
    }

    fn live_again(&mut self) {
        let live = self.phase.late.protected.percent(Served::Live);
        self.at_least(LIVE_AT_LEAST, live, "the share of protected calls answered live in its second half");
    }

    fn answered(&self, group: Group) -> Option<f64> {
        self.phase.whole.of(group).answered_percent()
    }

    fn at_least(&mut self, bound: f64, measured: Option<f64>, what: &str) {
        self.percent(measured, measured.is_some_and(|measured| measured >= bound), format!("at least {bound} %"), what);
    }

    fn below(&mut self, bound: f64, measured: Option<f64>, what: &str) {
        let holds = measured.is_some_and(|measured| measured < bound);
        self.percent(measured, holds, format!("below {bound} %"), what);
    }

    fn percent(&mut self, measured: Option<f64>, holds: bool, bound: String, what: &str) {
        let measured = measured.map_or_else(|| "not measured".to_owned(), |measured| format!("{measured:.1} %"));
        let finding = Finding { step: self.step, what: what.to_owned(), bound, measured };
        self.claim(holds, || finding);
    }

    fn claim(&mut self, holds: bool, finding: impl FnOnce() -> Finding) {
        if !holds {
            self.findings.push(finding());
        }
    }
}

fn answered_words(group: Group) -> String {
    format!("the share of {} calls answered", group.name())
}

/// The protected group's value as a share of the unprotected one's, in percent. `None`: that one's is zero.
fn share([unprotected, protected]: [f64; 2]) -> Option<f64> {
    (unprotected > 0.0).then(|| protected * 100.0 / unprotected)
}

#[cfg(test)]
mod tests;
