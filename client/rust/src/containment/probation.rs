//! How one service stands with its last revisions.

use super::blame::Blame;
use super::trial::{Good, Trial, WATCH, verdict};
use cofferdam_core::hold::{Forced, Hold, Target};
use cofferdam_core::level::Level;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::time::Timestamp;
use cofferdam_core::wire::{PolicyHash, policy_hash};
use std::sync::Arc;

/// How one service stands. All counts are those since it was first named.
#[derive(Debug, Default)]
pub(crate) struct Probation {
    /// What had been counted at the last two samples, the older one first.
    samples: [CounterSnapshot; 2],
    trial: Option<Box<Trial>>,
    /// The last policy that was put back, and why, until there is another one.
    contained: Option<Box<(PolicyHash, String)>>,
    /// Until when an operator has opened breakers by hand.
    tripped_until: Option<Timestamp>,
}

/// What operators have ordered, under which calls are made.
#[derive(Debug)]
pub(super) struct Ordered<'a> {
    /// The holds in force.
    pub(super) holds: &'a [Arc<Hold>],
    /// The level that counts.
    pub(super) level: Level,
}

impl Probation {
    /// Takes note of what was counted so far. While something is on trial, what it is compared with stays.
    pub(super) fn sample(&mut self, counts: CounterSnapshot) {
        if self.trial.is_none() {
            let [_, older] = self.samples;
            self.samples = [older, counts];
        }
    }

    /// Whether a policy was put back, and why. What is ordered beside it makes another revision of it, and no other policy.
    pub(crate) fn contained(&self, hash: PolicyHash) -> Option<&str> {
        let (contained, reason) = self.contained.as_deref()?;
        (*contained == hash).then_some(reason)
    }

    /// The policy that was put back has been replaced by another one: if it comes again, somebody means it.
    pub(crate) fn forgive(&mut self) {
        self.contained = None;
    }

    /// An operator has opened breakers, until a time. What they reject until then, and while they recover, is not put down
    /// to what is on trial.
    pub(crate) fn tripped(&mut self, until: Timestamp) {
        self.tripped_until = self.tripped_until.max(Some(until));
        if let Some(trial) = &mut self.trial {
            trial.blame.open = false;
        }
    }

    /// Nothing is on trial any more.
    pub(crate) fn end(&mut self) {
        self.trial = None;
    }

    /// Puts a revision on trial that takes the place of another. That one is what to go back to, unless it has not stood
    /// its own trial yet: then it is the one before it. Where the policy is the one on trial, because something was ordered
    /// beside it, its trial begins again. Whether there is anything to watch.
    pub(super) fn begin(
        &mut self,
        replaced: Good,
        policy: &Policy,
        revision: Revision,
        counts: CounterSnapshot,
        now: Timestamp,
    ) -> bool {
        let hash = policy_hash(policy);
        let unfinished = self.trial.take().filter(|trial| now < trial.until);
        let same = unfinished.as_ref().filter(|trial| trial.hash == hash).map(|trial| trial.blame);
        let (good, before) = match unfinished {
            Some(trial) => (trial.good, trial.before),
            None => (replaced, counts.since(&self.samples[0])),
        };
        let mut blame = same.unwrap_or_else(|| Blame::of(&good.policy, policy));
        blame.open &= self.tripped_until.is_none_or(|until| until <= now);
        if blame != Blame::default() {
            let until = now.saturating_add(WATCH);
            let trial = Trial { good, revision, hash, blame, before, start: counts, until, has_waited: false };
            self.trial = Some(Box::new(trial));
        }
        self.is_on_trial()
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The verdict on what is on trial, by what was counted so far. It is over with a verdict, or when its time is; the time
    /// does not run while operators keep from calls all that the policy is blamed for. What to put back, and why.
    pub(super) fn judge(
        &mut self,
        counts: &CounterSnapshot,
        ordered: &Ordered<'_>,
        now: Timestamp,
    ) -> Option<(Revision, Good, String)> {
        let trial = self.trial.as_deref_mut()?;
        if ordered.is_held_open() || trial.blame.at(ordered.level) == Blame::default() {
            trial.until = now.saturating_add(WATCH);
            trial.has_waited = true;
            return None;
        }
        if std::mem::take(&mut trial.has_waited) {
            trial.start = *counts;
            return None;
        }
        let under = counts.since(&trial.start);
        // What a hold has rejected is in the counts for good.
        trial.blame = trial.blame.under(ordered.holds.iter().map(|hold| hold.forced()));
        let guilt = verdict(trial.blame, &trial.before, &under);
        if guilt.is_none() && now < trial.until {
            return None;
        }
        let trial = *self.trial.take()?;
        let reason = guilt?.to_string();
        self.contained = Some(Box::new((trial.hash, reason.clone())));
        // What it did must not count for what comes after.
        self.samples.iter_mut().for_each(|sample| sample.merge(&under));
        Some((trial.revision, trial.good, reason))
    }
}

impl Ordered<'_> {
    /// Whether no call gets through: of the holds over all breakers, the first counts.
    fn is_held_open(&self) -> bool {
        let over_all = self.holds.iter().find(|hold| *hold.target() == Target::All);
        over_all.is_some_and(|hold| hold.forced() == Forced::Open)
    }
}

#[cfg(test)]
mod tests;
