//! What operators have ordered, as answers show it: what is in force, with the time that is left of it.

use cofferdam_core::{
    time::WallTime,
    wire::{duration_to_wire, wall_time_from_wire},
};
use cofferdam_proto::v1;

use crate::registry::HELD_TOO_LONG;

/// Leaves of a service's orders those in force, and shows the level that counts.
pub(super) fn show(service: &mut v1::IsolatedService, now: WallTime) {
    service.holds.retain_mut(|hold| {
        let since = hold.hold_time.and_then(wall).unwrap_or(now);
        hold.held_too_long = now.saturating_since(since) > HELD_TOO_LONG;
        left(hold.expire_time, now).map(|left| hold.ends_in = left).is_some()
    });
    let shown =
        |level: v1::TemporaryLevel| left(level.expire_time, now).map(|ends_in| v1::TemporaryLevel { ends_in, ..level });
    service.temporary_level = service.temporary_level.take().and_then(shown);
    if let (Some(temporary), Some(policy)) = (&service.temporary_level, &mut service.policy) {
        policy.level = temporary.level;
    }
}

/// What is left until a time, where there is one. `None`: it is over.
fn left(until: Option<prost_types::Timestamp>, now: WallTime) -> Option<Option<prost_types::Duration>> {
    match until.and_then(wall) {
        None => Some(None),
        Some(until) if now < until => Some(Some(duration_to_wire(until.saturating_since(now)))),
        Some(_) => None,
    }
}

fn wall(time: prost_types::Timestamp) -> Option<WallTime> {
    wall_time_from_wire(time).ok()
}
