//! The check of orders: a store or a peer may say anything.

use super::{Action, Aim, Command, MAX_COMMANDS, MAX_INSTANCE_ID_BYTES, OrdersSpec, TemporaryLevel, WrittenHold};
use crate::hold::{InvalidHold, Target, is_owner, is_reason};
use crate::isolation::Part;
use crate::policy::limits::{MAX_DURATION, MAX_HOLDS};
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest name of a pool or glob, in bytes. What a policy takes is shorter.
const MAX_PART_BYTES: usize = 1024;
/// The open times that a trip may ask for: 1 ms to 24 h.
pub const OPEN_DURATIONS: RangeInclusive<Duration> = Duration::from_millis(1)..=MAX_DURATION;

/// The orders are not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} {description}")]
pub struct InvalidOrders {
    /// The field at fault, by its path in the contract's `Orders`.
    pub path: String,
    /// What is wrong with it.
    pub description: String,
}

impl InvalidOrders {
    pub(crate) fn new(path: impl Display, description: impl Display) -> Self {
        Self { path: path.to_string(), description: description.to_string() }
    }
}

pub(super) fn check(spec: &OrdersSpec) -> Result<(), InvalidOrders> {
    let OrdersSpec { holds, commands, level } = spec;
    require(holds.len() <= MAX_HOLDS, "holds", format_args!("must be at most {MAX_HOLDS}"))?;
    let mut aims = HashSet::new();
    for (index, hold) in holds.iter().enumerate() {
        let path = format_args!("holds[{index}]");
        require(aims.insert(&hold.aim), format_args!("{path}.target"), "must differ from those of other holds")?;
        check_hold(path, hold)?;
    }
    require(commands.len() <= MAX_COMMANDS, "commands", format_args!("must be at most {MAX_COMMANDS}"))?;
    let mut last = 0;
    for (index, command) in commands.iter().enumerate() {
        let path = format_args!("commands[{index}]");
        require(command.number > last, format_args!("{path}.number"), "must be above zero and above the one before")?;
        last = command.number;
        check_command(path, command)?;
    }
    level.as_ref().map_or(Ok(()), check_level)
}

fn check_hold(path: fmt::Arguments<'_>, hold: &WrittenHold) -> Result<(), InvalidOrders> {
    let WrittenHold { aim, forced: _, owner, reason, since, until } = hold;
    check_aim(format_args!("{path}.target"), aim)?;
    require(is_owner(owner), format_args!("{path}.owner"), InvalidHold::Owner.rule())?;
    require(is_reason(reason), format_args!("{path}.reason"), InvalidHold::Reason.rule())?;
    let is_after = until.is_none_or(|until| *since < until);
    require(is_after, format_args!("{path}.expire_time"), "must be after hold_time")
}

fn check_command(path: fmt::Arguments<'_>, command: &Command) -> Result<(), InvalidOrders> {
    let Command { number: _, aim, action, actor, reason, at: _ } = command;
    check_aim(format_args!("{path}.target"), aim)?;
    if let Action::Trip(Some(open_for)) = action {
        let is_in_range = OPEN_DURATIONS.contains(open_for);
        require(is_in_range, format_args!("{path}.trip.open_duration"), "must be in [1ms, 24h]")?;
    }
    require(is_owner(actor), format_args!("{path}.actor"), InvalidHold::Owner.rule())?;
    require(is_reason(reason), format_args!("{path}.reason"), InvalidHold::Reason.rule())
}

/// Whether a text can be the id of an instance, or the name of an application: 1 to [`MAX_INSTANCE_ID_BYTES`] printable ASCII
/// characters.
pub fn is_instance_id(text: &str) -> bool {
    (1..=MAX_INSTANCE_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

pub(crate) fn check_aim(path: impl Display, aim: &Aim) -> Result<(), InvalidOrders> {
    let Aim { breakers, instance_id } = aim;
    let is_text = |text: &str| (1..=MAX_PART_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    let (field, is_good) = match breakers {
        Target::All => ("pool", true),
        // The contract has no way to say it.
        Target::Part(Part::Service) => ("pool", false),
        Target::Part(Part::Pool(name)) => ("pool", is_text(name)),
        Target::Part(Part::Methods(glob)) => ("method_glob", is_text(glob)),
    };
    let words = format_args!("must be 1 to {MAX_PART_BYTES} bytes long and hold no control characters");
    require(is_good, format_args!("{path}.{field}"), words)?;
    let words = format_args!("must be 1 to {MAX_INSTANCE_ID_BYTES} printable ASCII characters");
    require(instance_id.as_ref().is_none_or(|id| is_instance_id(id)), format_args!("{path}.instance_id"), words)
}

fn check_level(level: &TemporaryLevel) -> Result<(), InvalidOrders> {
    let TemporaryLevel { level: _, until: _, actor, reason } = level;
    require(is_owner(actor), "temporary_level.actor", InvalidHold::Owner.rule())?;
    let is_good = reason.is_empty() || is_reason(reason);
    require(is_good, "temporary_level.reason", InvalidHold::Reason.rule())
}

fn require(holds: bool, path: impl Display, description: impl Display) -> Result<(), InvalidOrders> {
    if holds { Ok(()) } else { Err(InvalidOrders::new(path, description)) }
}
