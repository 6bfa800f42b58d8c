//! The time after a revision in which it has to prove itself, and the verdict. Counts and time come in.

use super::blame::Blame;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::time::Timestamp;
use cofferdam_core::wire::PolicyHash;
use std::time::Duration;

/// How long a revision is watched.
pub(super) const WATCH: Duration = Duration::from_secs(30);
/// Decisions that are needed before it, and under it, for anything to be said.
pub(super) const MIN_DECISIONS: u64 = 20;
/// Before it, at most so many of a hundred decisions were of the kinds that it is blamed for.
pub(super) const MAX_BEFORE_PERCENT: u64 = 1;
/// Under it, at least so many are.
pub(super) const MIN_UNDER_PERCENT: u64 = 50;
/// Where the share of attempts that the service itself fails has risen by more points than this, it may be the service.
pub(super) const MAX_RISE_PERCENT: u64 = 20;

/// What to go back to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Good {
    pub(crate) policy: Policy,
    pub(crate) revision: Option<Revision>,
    pub(crate) is_enabled: bool,
    pub(crate) is_from_file: bool,
}

/// A revision that is watched.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) good: Good,
    pub(super) revision: Revision,
    pub(super) hash: PolicyHash,
    pub(super) blame: Blame,
    /// What happened in the time before.
    pub(super) before: CounterSnapshot,
    /// What had been counted when it came.
    pub(super) start: CounterSnapshot,
    pub(super) until: Timestamp,
    /// Whether operators kept calls from it when it was last looked at.
    pub(super) has_waited: bool,
}

/// What was found against a revision. The shares are of a hundred decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guilt {
    under: u64,
    decisions: u64,
    before: u64,
    decisions_before: u64,
}

impl std::fmt::Display for Guilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { under, decisions, before, decisions_before } = self;
        write!(f, "contained: the policy rejected or timed out {under} % of {decisions} decisions, ")?;
        write!(f, "where it had been {before} % of {decisions_before} under the one before")
    }
}

/// What speaks against a revision by what happened before it and under it. `None`: too little, or nothing.
pub(super) fn verdict(blame: Blame, before: &CounterSnapshot, under: &CounterSnapshot) -> Option<Guilt> {
    let (decisions_before, decisions) = (decisions(before), decisions(under));
    if decisions_before < MIN_DECISIONS || decisions < MIN_DECISIONS {
        return None;
    }
    let share = |counts: &CounterSnapshot, decisions| percent(blame.count(counts), decisions);
    let guilt =
        Guilt { under: share(under, decisions), decisions, before: share(before, decisions_before), decisions_before };
    let is_surge = guilt.before <= MAX_BEFORE_PERCENT && guilt.under >= MIN_UNDER_PERCENT;
    let has_failed_more = own_failures(blame, under) > own_failures(blame, before) + MAX_RISE_PERCENT;
    (is_surge && !has_failed_more).then_some(guilt)
}

/// Attempts that have ended, and calls and attempts that were rejected.
fn decisions(counts: &CounterSnapshot) -> u64 {
    let CounterSnapshot { attempt_successes, attempt_failures, attempt_neutrals, .. } = *counts;
    let CounterSnapshot { rejected_open, rejected_bulkhead, rejected_rate_limit, .. } = *counts;
    let CounterSnapshot { rejected_deadline, rejected_adaptive_limit, .. } = *counts;
    let ended = [attempt_successes, attempt_failures, attempt_neutrals];
    let rejected = [rejected_open, rejected_bulkhead, rejected_rate_limit, rejected_deadline, rejected_adaptive_limit];
    ended.into_iter().chain(rejected).fold(0, u64::saturating_add)
}

/// The share of attempts that the service failed by itself: without those that a shorter timeout cut off.
fn own_failures(blame: Blame, counts: &CounterSnapshot) -> u64 {
    let cut_off = if blame.timeouts { counts.timeouts } else { 0 };
    let failures = counts.attempt_failures.saturating_sub(cut_off);
    let ended = failures.saturating_add(counts.attempt_successes).saturating_add(counts.attempt_neutrals);
    percent(failures, ended)
}

/// Of a hundred, rounded up: a share that is not nothing never passes for it. Of none: zero.
fn percent(part: u64, whole: u64) -> u64 {
    let share = u128::from(part).saturating_mul(100).div_ceil(u128::from(whole.max(1)));
    u64::try_from(share).unwrap_or(u64::MAX).min(100)
}

#[cfg(test)]
mod tests;
