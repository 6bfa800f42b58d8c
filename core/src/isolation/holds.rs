//! The holds of operators over the breakers of one service.

use super::Isolation;
use super::known::Known;
use super::part::Part;
use super::scope::OwnBreaker;
use crate::breaker::Transition;
use crate::hold::{Forced, Hold, Target};
use crate::policy::BreakerPolicy;
use crate::policy::limits::MAX_HOLDS;
use crate::time::Timestamp;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The service has as many holds as it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a service takes at most {MAX_HOLDS} holds at once")]
pub struct TooManyHolds;

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

    /// Takes a hold in, and says which one it takes the place of.
    fn put(&mut self, hold: &Arc<Hold>, now: Timestamp) -> Result<Option<Arc<Hold>>, TooManyHolds> {
        let before = self.take(hold.target(), now);
        self.0.retain(|other| other.is_in_force(now));
        if self.0.len() >= MAX_HOLDS {
            return Err(TooManyHolds);
        }
        self.0.push(Arc::clone(hold));
        Ok(before)
    }

    /// Lets go of the hold with a target, and says which one it was, if it had not run out.
    fn take(&mut self, target: &Target, now: Timestamp) -> Option<Arc<Hold>> {
        let index = self.0.iter().position(|hold| hold.target() == target)?;
        Some(self.0.swap_remove(index)).filter(|hold| hold.is_in_force(now))
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

/// What operators do to the breakers of the service.
impl Isolation {
    /// Puts a hold in force, for calls under way as well, in the place of the one with the same target, which it
    /// returns. Where a breaker is under two holds, that for its part counts before that for all, and both before the
    /// policy's mode.
    ///
    /// A hold can be for a part whose breaker the policy does not give it yet. At a level without breakers it has no
    /// effect until the level rises.
    ///
    /// # Errors
    ///
    /// [`TooManyHolds`], where there is no room for another target.
    pub fn hold(&self, hold: Hold, now: Timestamp) -> Result<Option<Arc<Hold>>, TooManyHolds> {
        let hold = Arc::new(hold);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.holds.put(&hold, now)?;
        let was_closed = before.as_ref().is_some_and(|before| before.forced() == Forced::Closed);
        let closes = hold.forced() == Forced::Closed && hold.is_in_force(now) && !was_closed;
        let mut made = Vec::new();
        for own in known.breakers.in_use().filter(|own| hold.target().covers(&own.part)) {
            let holds = known.holds.of(&own.part);
            let counts = holds.iter().find(|hold| hold.is_in_force(now)).is_some_and(|first| Arc::ptr_eq(first, &hold));
            own.breaker.set_holds(holds);
            if closes && counts {
                made.push((own.part.clone(), own.breaker.reset(now)));
            }
        }
        // Observers may call back.
        drop(known);
        made.into_iter().for_each(|(part, transition)| self.publish(&part, transition));
        Ok(before)
    }

    /// Ends the hold with a target, for calls under way as well, and returns it. `None`: there was none, or it had run
    /// out. What becomes of the breakers is in the table of [`breaker`](crate::breaker#modes-and-holds).
    pub fn release(&self, target: &Target, now: Timestamp) -> Option<Arc<Hold>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let released = known.holds.take(target, now);
        for own in known.breakers.in_use().filter(|own| target.covers(&own.part)) {
            own.breaker.set_holds(known.holds.of(&own.part));
        }
        released
    }

    /// The holds in force. [`Hold::age`] says for how long each has been.
    pub fn holds(&self, now: Timestamp) -> Vec<Arc<Hold>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.holds.0.iter().filter(|hold| hold.is_in_force(now)).cloned().collect()
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
mod tests;
