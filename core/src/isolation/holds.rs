//! The holds of operators over the breakers of one service.

use super::Isolation;
use super::part::Part;
use super::scope::OwnBreaker;
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

/// One hold for each target at the most.
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

    /// Opens breakers by hand: see [`Breaker::trip`](crate::breaker::Breaker::trip). Returns how many breakers are meant;
    /// none where none is in force at this level, or the part has none of its own.
    pub fn trip(
        &self,
        target: &Target,
        open_for: Option<Duration>,
        now: Timestamp,
        mut random: impl FnMut() -> u64,
    ) -> usize {
        let current = self.in_force();
        let meant = current.breakers().into_iter().filter(|(own, _)| target.covers(&own.part));
        let trip = |(own, policy): (&Arc<OwnBreaker>, &BreakerPolicy)| {
            let transition = own.breaker.trip(policy, open_for, now, &mut random);
            self.publish(&own.part, transition);
        };
        meant.map(trip).count()
    }

    /// Closes breakers by hand: see [`Breaker::reset`](crate::breaker::Breaker::reset). Returns how many breakers are
    /// meant; none where none is in force at this level, or the part has none of its own.
    pub fn reset(&self, target: &Target, now: Timestamp) -> usize {
        let current = self.in_force();
        let meant = current.breakers().into_iter().filter(|(own, _)| target.covers(&own.part));
        meant.map(|(own, _)| self.publish(&own.part, own.breaker.reset(now))).count()
    }
}

#[cfg(test)]
mod tests;
