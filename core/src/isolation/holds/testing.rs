//! Holds one by one, for tests: each change makes other orders, which are obeyed.

use crate::hold::{HoldSpec, Target};
use crate::isolation::Isolation;
use crate::orders::{Aim, Orders, OrdersSpec, WrittenHold};
use crate::time::{Clocks, Timestamp, WallTime};
use std::time::Duration;

impl Isolation {
    /// Puts a hold in force, in the place of the one with the same target.
    pub(crate) fn hold(&self, spec: HoldSpec, now: Timestamp) {
        let HoldSpec { target, forced, since, until, owner, reason } = spec;
        let aim = Aim { breakers: target, instance_id: None };
        let hold = WrittenHold { aim, forced, owner, reason, since: wall(since), until: until.map(wall) };
        self.order(now, |orders| {
            orders.holds.retain(|other| other.aim != hold.aim);
            orders.holds.push(hold);
        });
    }

    /// Ends the hold with a target.
    pub(crate) fn release(&self, target: &Target, now: Timestamp) {
        self.order(now, |orders| orders.holds.retain(|hold| hold.aim.breakers != *target));
    }

    fn order(&self, now: Timestamp, change: impl FnOnce(&mut OrdersSpec)) {
        let mut spec = self.in_force().orders.to_spec();
        change(&mut spec);
        self.obey(Orders::new(spec).unwrap(), None, Clocks { monotonic: now, wall: wall(now) });
    }
}

/// What the clock on the wall says then: both begin at once.
fn wall(at: Timestamp) -> WallTime {
    WallTime::after_1970(Duration::from_nanos(at.as_nanos()))
}
