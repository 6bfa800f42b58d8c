//! The holds of operators over the breakers of one service.

use super::Isolation;
use super::known::Known;
use super::part::Part;
use super::scope::OwnBreaker;
use crate::breaker::Transition;
use crate::hold::{Forced, Hold, Target};
use crate::policy::BreakerPolicy;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Of several with one target the first that has not run out counts.
#[derive(Debug, Default)]
pub(super) struct Holds(Vec<Arc<Hold>>);

impl Holds {
    /// Those that are for the breaker of a part, the narrowest first.
    pub(super) fn of(&self, part: &Part) -> Vec<Arc<Hold>> {
        let mut holds: Vec<_> = self.0.iter().filter(|hold| hold.target().covers(part)).cloned().collect();
        holds.sort_by_key(|hold| *hold.target() == Target::All);
        holds
    }
}

/// What putting up a hold that is forced closed did to breakers.
type Made = Vec<(Part, Option<Transition>)>;

impl Known {
    /// Puts holds in force in the place of all there were. Breakers begin afresh over which one counts that is forced
    /// closed and is not there in the place of another.
    pub(super) fn put_up_holds(&mut self, holds: Vec<Arc<Hold>>, now: Timestamp) -> Made {
        let before = std::mem::replace(&mut self.holds.0, holds).into_iter();
        let closed = |hold: &Arc<Hold>| hold.forced() == Forced::Closed && hold.is_in_force(now);
        let before: Vec<_> = before.filter(closed).collect();
        let closes = |hold: &Arc<Hold>| closed(hold) && before.iter().all(|other| other.target() != hold.target());
        let mut made = Vec::new();
        for own in self.breakers.in_use() {
            let holds = self.holds.of(&own.part);
            let first = holds.iter().find(|hold| hold.is_in_force(now)).cloned();
            own.breaker.set_holds(holds);
            if first.is_some_and(|first| closes(&first)) {
                made.push((own.part.clone(), own.breaker.reset(now)));
            }
        }
        made
    }
}

/// What operators do to the breakers of the service. Holds come with their [orders](Isolation::obey).
impl Isolation {
    /// The holds in force. [`Hold::age`] says for how long each has been.
    pub fn holds(&self, now: Timestamp) -> Vec<Arc<Hold>> {
        self.known().holds.0.iter().filter(|hold| hold.is_in_force(now)).cloned().collect()
    }

    /// How many of the breakers in force a hold stands over.
    pub fn held_breakers(&self, now: Timestamp) -> usize {
        let holds = self.holds(now);
        let is_held = |part: &Part| holds.iter().any(|hold| hold.target().covers(part));
        self.in_force().breakers().into_iter().filter(|(own, _)| is_held(&own.part)).count()
    }

    /// Opens breakers by hand: see [`Breaker::trip`](crate::breaker::Breaker::trip). Returns how many breakers are meant;
    /// none where the part has none of its own.
    ///
    /// It changes what was learned, so it is done at any level: where no breaker is in force, calls feel it when the level
    /// rises before it is over.
    pub fn trip(
        &self,
        target: &Target,
        open_for: Option<Duration>,
        now: Timestamp,
        mut random: impl FnMut() -> u64,
    ) -> usize {
        self.by_hand(target, |own, policy| own.breaker.trip(policy, open_for, now, &mut random))
    }

    /// Closes breakers by hand: see [`Breaker::reset`](crate::breaker::Breaker::reset). Returns how many breakers are
    /// meant; none where the part has none of its own. As [`trip`](Self::trip), at any level.
    pub fn reset(&self, target: &Target, now: Timestamp) -> usize {
        self.by_hand(target, |own, _| own.breaker.reset(now))
    }

    /// When the last of the breakers that are open by their rules lets a call through, at any level. `None`: none is open.
    pub fn open_until(&self) -> Option<Timestamp> {
        self.in_force().all_breakers().into_iter().filter_map(|(own, _)| own.breaker.open_until()).max()
    }

    fn by_hand(
        &self,
        target: &Target,
        mut change: impl FnMut(&OwnBreaker, &BreakerPolicy) -> Option<Transition>,
    ) -> usize {
        let current = self.in_force();
        let in_force = current.breakers();
        let meant = current.all_breakers().into_iter().filter(|(own, _)| target.covers(&own.part));
        let change = |(own, policy): (&Arc<OwnBreaker>, &BreakerPolicy)| {
            let is_felt = in_force.iter().any(|(other, _)| Arc::ptr_eq(other, own));
            let transition = change(own, policy);
            self.publish(&own.part, if is_felt { transition } else { transition.map(Transition::unenforced) });
        };
        meant.map(change).count()
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
