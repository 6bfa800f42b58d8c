//! What operators have ordered for one service, in force.
//!
//! Orders come whole, as policies do: what is not among them any more is over. Their times of day become the host's once,
//! when an order is first heard of: the same order, heard again with the next change, ends when it would have ended.

use super::known::Known;
use super::{InForce, Isolation};
use crate::hold::{Hold, HoldSpec};
use crate::level::Level;
use crate::orders::{Action, Command, Orders, WrittenHold};
use crate::time::{Clocks, Timestamp};
use std::sync::Arc;

/// The orders in force.
#[derive(Debug, Default)]
pub(super) struct Obeyed {
    pub(super) orders: Arc<Orders>,
    /// The holds of them that are for this instance and had not run out, in the engine's time.
    holds: Vec<(WrittenHold, Arc<Hold>)>,
    /// The level in the place of the policy's, until a time.
    pub(super) level: Option<(Level, Timestamp)>,
    /// The number of the last command that is done. `None`: none was heard of yet.
    done: Option<u64>,
}

impl Isolation {
    /// Puts what operators have ordered in force, for calls under way as well, in the place of what they had ordered
    /// before. Nothing that a breaker has learned is lost, but to a hold that is forced closed. Commands are not done:
    /// [`perform`](Self::perform) does them.
    ///
    /// `instance_id`: of the host; orders for another are known and not obeyed. `None`: it has none. `clocks`: what they
    /// read now.
    pub fn obey(&self, orders: Orders, instance_id: Option<&str>, clocks: Clocks) {
        let mut known = self.known();
        if *known.obeyed.orders == orders {
            return;
        }
        let before = std::mem::replace(&mut known.obeyed.orders, Arc::new(orders));
        let orders = Arc::clone(&known.obeyed.orders);

        let mut meant: Vec<_> = orders.holds.iter().filter(|hold| hold.aim.is_at(instance_id)).collect();
        // What is for this instance alone counts before what is for all.
        meant.sort_by_key(|hold| hold.aim.instance_id.is_none());
        let heard = std::mem::take(&mut known.obeyed.holds);
        let in_engine = |hold: &&WrittenHold| {
            let held = heard.iter().find(|(written, _)| written == *hold).map(|(_, held)| Arc::clone(held));
            Some(((*hold).clone(), held.or_else(|| in_force(hold, clocks))?))
        };
        known.obeyed.holds = meant.iter().filter_map(in_engine).collect();
        let holds = known.obeyed.holds.iter().map(|(_, held)| Arc::clone(held)).collect();

        if before.level != orders.level {
            let in_engine = |level: &crate::orders::TemporaryLevel| {
                level.is_in_force(clocks.wall).then(|| (level.level, clocks.monotonic(level.until)))
            };
            known.obeyed.level = orders.level.as_ref().and_then(in_engine);
        }
        // First the level: a hold is for the breakers of the level to come.
        self.reinstate(&mut known, clocks.monotonic);
        let made = known.put_up_holds(holds, clocks.monotonic);
        // Observers may call back.
        drop(known);
        made.into_iter().for_each(|(part, transition)| self.publish(&part, transition));
    }

    /// Does the commands of the orders in force that were not done before, in their order, and returns them. Where none
    /// was heard of before, all of them are of a time before this host: none is done.
    pub fn perform(&self, instance_id: Option<&str>, now: Timestamp, mut random: impl FnMut() -> u64) -> Vec<Command> {
        let (orders, done) = {
            let mut known = self.known();
            let last = known.obeyed.orders.last_command();
            let done = known.obeyed.done;
            known.obeyed.done = Some(last.max(done.unwrap_or_default()));
            (Arc::clone(&known.obeyed.orders), done.unwrap_or(u64::MAX))
        };
        let missed = |command: &&Command| command.number > done && command.aim.is_at(instance_id);
        let missed: Vec<Command> = orders.commands.iter().filter(missed).cloned().collect();
        for Command { aim, action, .. } in &missed {
            match action {
                Action::Trip(open_for) => self.trip(&aim.breakers, *open_for, now, &mut random),
                Action::Reset => self.reset(&aim.breakers, now),
            };
        }
        missed
    }

    /// Takes note of orders that came with a policy which cannot be put in force, and are not obeyed for that. Where no
    /// command was heard of before, those among them are of a time before this host as well.
    pub fn pass_over(&self, orders: &Orders) {
        if !orders.commands.is_empty() {
            self.known().obeyed.done.get_or_insert_with(|| orders.last_command());
        }
    }

    /// Goes back to the policy's level, where the time of a temporary one is over. The level that is in force again;
    /// `None`: nothing was to be done.
    pub fn settle(&self, now: Timestamp) -> Option<Level> {
        // Whoever asks at each call finds nothing to do, most often without a lock.
        self.look().level_until.filter(|until| *until <= now)?;
        let mut known = self.known();
        self.reinstate(&mut known, now).then(|| self.look().policy.level)
    }

    /// Puts the policy in force again as orders have it. Whether that changes the level.
    fn reinstate(&self, known: &mut Known, now: Timestamp) -> bool {
        let current = self.in_force();
        known.obeyed.level.take_if(|(_, until)| *until <= now);
        let next = InForce::new(current.lasting_policy(), current.revision, current.is_enabled, known);
        let is_another_level = next.policy.level != current.policy.level;
        self.put_in_force(known, next);
        is_another_level
    }
}

impl InForce {
    /// The policy at its own level, whatever temporary level stands in its place.
    pub fn lasting_policy(&self) -> crate::policy::Policy {
        self.policy.at_level(self.lasting_level)
    }
}

/// A hold in the engine's time. `None`: it has run out.
fn in_force(written: &WrittenHold, clocks: Clocks) -> Option<Arc<Hold>> {
    let WrittenHold { aim, forced, owner, reason, since, until } = written;
    let spec = HoldSpec {
        target: aim.breakers.clone(),
        forced: *forced,
        since: clocks.monotonic.saturating_sub(clocks.wall.saturating_since(*since)),
        until: until.map(|until| clocks.monotonic(until)),
        owner: owner.clone(),
        reason: reason.clone(),
    };
    // The check of orders refuses all that this does.
    let hold = written.is_in_force(clocks.wall).then(|| Hold::new(spec).ok()).flatten()?;
    Some(Arc::new(hold))
}

#[cfg(test)]
mod tests;
