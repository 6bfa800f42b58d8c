//! Health as the contract shows it.

use cofferdam_core::{
    health::HealthStatus,
    wire::{health_from_wire, health_to_wire},
};
use cofferdam_proto::v1;

use crate::{health, instances::Condition};

/// The health in force; absent where nothing is known. What somebody said keeps its words while it is the worse.
pub(super) fn in_force(reported: Option<&v1::ServiceHealth>, condition: Condition) -> Option<v1::ServiceHealth> {
    let said = reported.and_then(|reported| health_from_wire(reported.status).ok().flatten());
    let status = health::in_force(said, condition)?;
    if said == Some(status) {
        return reported.cloned();
    }
    let message = match status {
        HealthStatus::CircuitOpen => "a circuit breaker keeps calls from it",
        HealthStatus::Unhealthy => "too many calls to it fail",
        HealthStatus::Degraded => "some calls to it fail",
        HealthStatus::Healthy => "",
    };
    Some(v1::ServiceHealth { status: health_to_wire(status).into(), message: message.to_owned(), observe_time: None })
}
