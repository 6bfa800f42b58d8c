//! What operators have ordered for a service, as it is written down and passed on.
//!
//! Orders stand apart from the policy: a change of the policy keeps them, and to put a policy back takes none of them with
//! it. Their times are times of day, which an [isolation](crate::isolation::Isolation::obey) turns into its own once, when
//! it first hears of them; so each ends on time with nobody there to end it. What has run out may still be written here.

mod check;

#[cfg(feature = "proto")]
pub(crate) use check::check_aim;
pub use check::{InvalidOrders, OPEN_DURATIONS, is_instance_id};

use crate::hold::{Forced, Target};
use crate::isolation::Part;
use crate::level::Level;
use crate::time::WallTime;
use std::ops::Deref;
use std::time::Duration;

/// The most commands that are kept.
pub const MAX_COMMANDS: usize = 16;
/// The longest id of an instance, in bytes.
pub const MAX_INSTANCE_ID_BYTES: usize = 128;

/// Orders that have not been checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrdersSpec {
    /// Breakers that are forced; one hold for each target, at most [`MAX_HOLDS`](crate::policy::limits::MAX_HOLDS).
    pub holds: Vec<WrittenHold>,
    /// What breakers were told to do, once; numbers grow. At most [`MAX_COMMANDS`].
    pub commands: Vec<Command>,
    /// A level in the place of the policy's.
    pub level: Option<TemporaryLevel>,
}

/// Checked [`OrdersSpec`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders(OrdersSpec);

/// The breakers of a service, and the instances, that an operator means.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aim {
    /// The breakers.
    pub breakers: Target,
    /// The instance; 1 to [`MAX_INSTANCE_ID_BYTES`] printable ASCII characters. `None`: all of them.
    pub instance_id: Option<String>,
}

/// A hold with times of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenHold {
    /// Whom it is for.
    pub aim: Aim,
    /// What it makes of the breakers.
    pub forced: Forced,
    /// Who holds, as in [`HoldSpec`](crate::hold::HoldSpec).
    pub owner: String,
    /// Why, as in [`HoldSpec`](crate::hold::HoldSpec).
    pub reason: String,
    /// Since when.
    pub since: WallTime,
    /// When it runs out by itself; after `since`. `None`: when it is released.
    pub until: Option<WallTime>,
}

/// What breakers were told to do, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its number; at least 1. It grows with each command for the service.
    pub number: u64,
    /// Whom it is for.
    pub aim: Aim,
    /// What to do.
    pub action: Action,
    /// Who gave it; as an owner of a hold.
    pub actor: String,
    /// Why; as a reason of a hold.
    pub reason: String,
    /// When.
    pub at: WallTime,
}

/// What a command tells breakers to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open, for a time of 1 ms to 24 h, or for that of the policy.
    Trip(Option<Duration>),
    /// Close, and forget what was learned.
    Reset,
}

/// A level in the place of the policy's, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemporaryLevel {
    /// The level.
    pub level: Level,
    /// When it is over.
    pub until: WallTime,
    /// Who set it; as an owner of a hold.
    pub actor: String,
    /// Why; as a reason of a hold, or empty.
    pub reason: String,
}

impl Orders {
    /// Checks a spec as a whole.
    ///
    /// # Errors
    ///
    /// [`InvalidOrders`] names the first field at fault.
    pub fn new(spec: OrdersSpec) -> Result<Self, InvalidOrders> {
        check::check(&spec)?;
        Ok(Self(spec))
    }

    /// The spec, to change and check anew.
    pub fn to_spec(&self) -> OrdersSpec {
        self.0.clone()
    }

    /// Whether nothing is ordered.
    pub fn is_empty(&self) -> bool {
        let OrdersSpec { holds, commands, level } = &self.0;
        holds.is_empty() && commands.is_empty() && level.is_none()
    }

    /// The holds that have not run out.
    pub fn holds_in_force(&self, now: WallTime) -> impl Iterator<Item = &WrittenHold> {
        self.0.holds.iter().filter(move |hold| hold.is_in_force(now))
    }

    /// The holds that have not run out over the breaker of a part, the one that counts first: that for the part counts
    /// before that for all, and of these that for the instance before that for all instances. `instance_id`: where; `None`:
    /// anywhere, so that those for single instances are among them.
    pub fn holds_over(&self, part: &Part, instance_id: Option<&str>, now: WallTime) -> Vec<&WrittenHold> {
        let is_meant = |aim: &Aim| aim.breakers.covers(part) && (instance_id.is_none() || aim.is_at(instance_id));
        let mut holds: Vec<_> = self.holds_in_force(now).filter(|hold| is_meant(&hold.aim)).collect();
        holds.sort_by_key(|hold| (hold.aim.breakers == Target::All, hold.aim.instance_id.is_none()));
        holds
    }

    /// The level in the place of the policy's, where it is not over.
    pub fn level_in_force(&self, now: WallTime) -> Option<&TemporaryLevel> {
        self.0.level.as_ref().filter(|level| level.is_in_force(now))
    }

    /// The number of the last command. Zero: there is none.
    pub fn last_command(&self) -> u64 {
        self.0.commands.last().map_or(0, |command| command.number)
    }
}

impl OrdersSpec {
    /// Drops what has run out.
    pub fn prune(&mut self, now: WallTime) {
        self.holds.retain(|hold| hold.is_in_force(now));
        self.level.take_if(|level| !level.is_in_force(now));
    }

    /// Adds a command with the next number, in the place of the oldest where there are too many. Numbers are milliseconds
    /// since 1970 where nothing is greater, so that they grow over the removal of a service and the loss of a store as well.
    pub fn command(&mut self, aim: Aim, action: Action, actor: String, reason: String, at: WallTime) {
        let millis = at.saturating_since(WallTime::after_1970(Duration::ZERO)).as_millis();
        let last = self.commands.last().map_or(0, |command| command.number);
        let number = last.saturating_add(1).max(u64::try_from(millis).unwrap_or(u64::MAX));
        let excess = (self.commands.len() + 1).saturating_sub(MAX_COMMANDS);
        self.commands.drain(..excess);
        self.commands.push(Command { number, aim, action, actor, reason, at });
    }
}

impl Deref for Orders {
    type Target = OrdersSpec;

    fn deref(&self) -> &OrdersSpec {
        &self.0
    }
}

impl Aim {
    /// All breakers of the service, at all instances.
    pub const ALL: Self = Self { breakers: Target::All, instance_id: None };

    /// Whether an instance is meant. `None`: one without an id.
    pub fn is_at(&self, instance_id: Option<&str>) -> bool {
        self.instance_id.is_none() || self.instance_id.as_deref() == instance_id
    }
}

impl WrittenHold {
    /// Whether it has not run out.
    pub fn is_in_force(&self, now: WallTime) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl TemporaryLevel {
    /// Whether it is not over.
    pub fn is_in_force(&self, now: WallTime) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests;
