//! How one service stands with its last revisions.

use super::blame::Blame;
use super::trial::{Good, Trial, WATCH, verdict};
use cofferdam_core::hold::Forced;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::time::Timestamp;
use cofferdam_core::wire::{PolicyHash, policy_hash};

/// How one service stands. All counts are those since it was first named.
#[derive(Debug, Default)]
pub(crate) struct Probation {
    /// What had been counted at the last two samples, the older one first.
    samples: [CounterSnapshot; 2],
    trial: Option<Box<Trial>>,
    /// The last policy that was put back, and why.
    contained: Option<Box<(Revision, PolicyHash, String)>>,
}

impl Probation {
    /// Takes note of what was counted so far. While something is on trial, what it is compared with stays.
    pub(super) fn sample(&mut self, counts: CounterSnapshot) {
        if self.trial.is_none() {
            let [_, older] = self.samples;
            self.samples = [older, counts];
        }
    }

    /// Whether a policy was put back, and why. Another one under the same revision was not.
    pub(crate) fn contained(&self, revision: Revision, hash: PolicyHash) -> Option<&str> {
        let (contained, contained_hash, reason) = self.contained.as_deref()?;
        ((*contained, *contained_hash) == (revision, hash)).then_some(reason)
    }

    /// Nothing is on trial any more.
    pub(crate) fn end(&mut self) {
        self.trial = None;
    }

    /// Puts a revision on trial that takes the place of another. That one is what to go back to, unless it has not stood
    /// its own trial yet: then it is the one before it. Whether there is anything to watch.
    pub(super) fn begin(
        &mut self,
        replaced: Good,
        policy: &Policy,
        revision: Revision,
        counts: CounterSnapshot,
        now: Timestamp,
    ) -> bool {
        let unfinished = self.trial.take().filter(|trial| now < trial.until);
        let (good, before) = match unfinished {
            Some(trial) => (trial.good, trial.before),
            None => (replaced, counts.since(&self.samples[0])),
        };
        let blame = Blame::of(&good.policy, policy);
        if blame != Blame::default() {
            let until = now.saturating_add(WATCH);
            let hash = policy_hash(policy);
            self.trial = Some(Box::new(Trial { good, revision, hash, blame, before, start: counts, until }));
        }
        self.is_on_trial()
    }

    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The verdict on what is on trial, by what was counted so far. It is over with a verdict, or when its time is.
    /// What to put back, and why.
    pub(super) fn judge(
        &mut self,
        counts: &CounterSnapshot,
        holds: impl IntoIterator<Item = Forced>,
        now: Timestamp,
    ) -> Option<(Revision, Good, String)> {
        let trial = self.trial.as_deref_mut()?;
        let under = counts.since(&trial.start);
        // What a hold has rejected is in the counts for good.
        trial.blame = trial.blame.under(holds);
        let guilt = verdict(trial.blame, &trial.before, &under);
        if guilt.is_none() && now < trial.until {
            return None;
        }
        let trial = *self.trial.take()?;
        let reason = guilt?.to_string();
        self.contained = Some(Box::new((trial.revision, trial.hash, reason.clone())));
        // What it did must not count for what comes after.
        self.samples.iter_mut().for_each(|sample| sample.merge(&under));
        Some((trial.revision, trial.good, reason))
    }
}

#[cfg(test)]
mod tests;
