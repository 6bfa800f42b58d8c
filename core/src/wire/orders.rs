//! What operators have ordered, as messages say it.

use super::duration::{duration_from_wire, duration_to_wire};
use super::encode::wall_time;
use super::level::{level_from_wire, level_to_wire};
use super::stats::part_to_wire;
use crate::glob::method_name;
use crate::hold::{Forced, Target};
use crate::isolation::Part;
use crate::orders::{Action, Aim, Command, InvalidOrders, Orders, OrdersSpec, TemporaryLevel, WrittenHold, check_aim};
use crate::time::{InvalidWallTime, WallTime};
use cofferdam_proto::v1;
use cofferdam_proto::v1::breaker_command::Action as WireAction;

/// The orders that a message stands for; unset is none.
///
/// # Errors
///
/// [`InvalidOrders`] names the first field at fault.
pub fn orders_from_wire(wire: Option<&v1::Orders>) -> Result<Orders, InvalidOrders> {
    let Some(v1::Orders { holds, commands, temporary_level }) = wire else { return Ok(Orders::default()) };
    let holds = holds.iter().enumerate().map(|(index, hold)| read_hold(&format!("holds[{index}]"), hold));
    let commands = commands.iter().enumerate();
    let commands = commands.map(|(index, command)| read_command(&format!("commands[{index}]"), command));
    Orders::new(OrdersSpec {
        holds: holds.collect::<Result<_, _>>()?,
        commands: commands.collect::<Result<_, _>>()?,
        level: temporary_level.as_ref().map(|level| read_level("temporary_level", level)).transpose()?,
    })
}

/// Orders as messages say them: without what is in answers alone.
pub fn orders_to_wire(orders: &Orders) -> v1::Orders {
    let OrdersSpec { holds, commands, level } = &**orders;
    v1::Orders {
        holds: holds.iter().map(hold_to_wire).collect(),
        commands: commands.iter().map(command_to_wire).collect(),
        temporary_level: level.as_ref().map(temporary_level_to_wire),
    }
}

/// Whom a message means; unset is everybody.
///
/// # Errors
///
/// [`InvalidOrders`], with the path below `path`, where it names two parts, or none that can be.
pub fn aim_from_wire(path: &str, wire: Option<&v1::BreakerTarget>) -> Result<Aim, InvalidOrders> {
    let Some(v1::BreakerTarget { pool, method_glob, instance_id }) = wire else { return Ok(Aim::ALL) };
    let breakers = match (pool.as_str(), method_glob.as_str()) {
        ("", "") => Target::All,
        (pool, "") => Target::Part(Part::Pool(pool.into())),
        ("", glob) => Target::Part(Part::Methods(method_name(glob).into())),
        _ => {
            let description = "must not be set together with pool: leave one out";
            return Err(InvalidOrders::new(format_args!("{path}.method_glob"), description));
        }
    };
    let instance_id = (!instance_id.is_empty()).then(|| instance_id.clone());
    let aim = Aim { breakers, instance_id };
    check_aim(path, &aim).map(|()| aim)
}

/// Whom an order is for, as messages say it.
pub fn aim_to_wire(aim: &Aim) -> v1::BreakerTarget {
    let Aim { breakers, instance_id } = aim;
    let (pool, method_glob) = match breakers {
        Target::All => Default::default(),
        Target::Part(part) => part_to_wire(part),
    };
    v1::BreakerTarget { pool, method_glob, instance_id: instance_id.clone().unwrap_or_default() }
}

/// What a number makes of breakers.
///
/// # Errors
///
/// [`InvalidOrders`] for `path`, where it is unset or the contract has no such number.
pub fn forced_from_wire(path: &str, number: i32) -> Result<Forced, InvalidOrders> {
    match v1::ForcedState::try_from(number) {
        Ok(v1::ForcedState::Open) => Ok(Forced::Open),
        Ok(v1::ForcedState::Closed) => Ok(Forced::Closed),
        Ok(v1::ForcedState::Disabled) => Ok(Forced::Disabled),
        Ok(v1::ForcedState::MetricsOnly) => Ok(Forced::MetricsOnly),
        Ok(v1::ForcedState::Unspecified) => {
            Err(InvalidOrders::new(path, "must be set: to open, closed, disabled or metrics-only"))
        }
        Err(_) => Err(InvalidOrders::new(path, format_args!("must be 1 (open) to 4 (metrics-only), not {number}"))),
    }
}

/// A hold as messages say it, without what is in answers alone.
pub fn hold_to_wire(hold: &WrittenHold) -> v1::Hold {
    let WrittenHold { aim, forced, owner, reason, since, until } = hold;
    let forced = match forced {
        Forced::Open => v1::ForcedState::Open,
        Forced::Closed => v1::ForcedState::Closed,
        Forced::Disabled => v1::ForcedState::Disabled,
        Forced::MetricsOnly => v1::ForcedState::MetricsOnly,
    };
    v1::Hold {
        target: Some(aim_to_wire(aim)),
        forced: forced.into(),
        owner: owner.clone(),
        reason: reason.clone(),
        hold_time: Some(wall_time(*since)),
        expire_time: until.map(wall_time),
        ends_in: None,
        held_too_long: false,
    }
}

/// A temporary level as messages say it, without what is in answers alone.
pub fn temporary_level_to_wire(level: &TemporaryLevel) -> v1::TemporaryLevel {
    let TemporaryLevel { level, until, actor, reason } = level;
    v1::TemporaryLevel {
        level: level_to_wire(*level).into(),
        expire_time: Some(wall_time(*until)),
        actor: actor.clone(),
        reason: reason.clone(),
        ends_in: None,
    }
}

/// The time of day that a message stands for.
///
/// # Errors
///
/// [`InvalidWallTime`] where it is not within the years 1 to 9999.
pub fn wall_time_from_wire(wire: prost_types::Timestamp) -> Result<WallTime, InvalidWallTime> {
    let prost_types::Timestamp { seconds, nanos } = wire;
    u32::try_from(nanos).map_err(|_| InvalidWallTime).and_then(|nanos| WallTime::new(seconds, nanos))
}

fn command_to_wire(command: &Command) -> v1::BreakerCommand {
    let Command { number, aim, action, actor, reason, at } = command;
    let action = match action {
        Action::Trip(open_for) => WireAction::Trip(v1::TripAction { open_duration: open_for.map(duration_to_wire) }),
        Action::Reset => WireAction::Reset(v1::ResetAction {}),
    };
    v1::BreakerCommand {
        number: *number,
        target: Some(aim_to_wire(aim)),
        action: Some(action),
        actor: actor.clone(),
        reason: reason.clone(),
        command_time: Some(wall_time(*at)),
    }
}

fn read_hold(path: &str, wire: &v1::Hold) -> Result<WrittenHold, InvalidOrders> {
    // What is in answers alone says nothing here.
    let v1::Hold { target, forced, owner, reason, hold_time, expire_time, ends_in: _, held_too_long: _ } = wire;
    Ok(WrittenHold {
        aim: aim_from_wire(&format!("{path}.target"), target.as_ref())?,
        forced: forced_from_wire(&format!("{path}.forced"), *forced)?,
        owner: owner.clone(),
        reason: reason.clone(),
        since: read_time(&format!("{path}.hold_time"), *hold_time)?,
        until: expire_time.map(|time| read_time(&format!("{path}.expire_time"), Some(time))).transpose()?,
    })
}

fn read_command(path: &str, wire: &v1::BreakerCommand) -> Result<Command, InvalidOrders> {
    let v1::BreakerCommand { number, target, action, actor, reason, command_time } = wire;
    let action = match action {
        Some(WireAction::Trip(v1::TripAction { open_duration })) => {
            let open_for = open_duration.map(duration_from_wire).transpose();
            let path = || format!("{path}.trip.open_duration");
            Action::Trip(open_for.map_err(|invalid| InvalidOrders::new(path(), invalid))?)
        }
        Some(WireAction::Reset(v1::ResetAction {})) => Action::Reset,
        None => return Err(InvalidOrders::new(path, "must be a trip or a reset")),
    };
    Ok(Command {
        number: *number,
        aim: aim_from_wire(&format!("{path}.target"), target.as_ref())?,
        action,
        actor: actor.clone(),
        reason: reason.clone(),
        at: read_time(&format!("{path}.command_time"), *command_time)?,
    })
}

fn read_level(path: &str, wire: &v1::TemporaryLevel) -> Result<TemporaryLevel, InvalidOrders> {
    let v1::TemporaryLevel { level, expire_time, actor, reason, ends_in: _ } = wire;
    let at = |field: &str| format!("{path}.{field}");
    let level = level_from_wire(*level).map_err(|unknown| InvalidOrders::new(at("level"), unknown))?;
    let level = level.ok_or_else(|| InvalidOrders::new(at("level"), "must be set"))?;
    // It is obeyed by instances, which do not know what was written.
    let level = level.fixed().ok_or_else(|| InvalidOrders::new(at("level"), "must be a level by name, not auto"))?;
    Ok(TemporaryLevel {
        level,
        until: read_time(&at("expire_time"), *expire_time)?,
        actor: actor.clone(),
        reason: reason.clone(),
    })
}

fn read_time(path: &str, wire: Option<prost_types::Timestamp>) -> Result<WallTime, InvalidOrders> {
    let time = wire.ok_or_else(|| InvalidOrders::new(path, "must be set"))?;
    wall_time_from_wire(time).map_err(|invalid| InvalidOrders::new(path, invalid))
}

#[cfg(test)]
mod tests;
