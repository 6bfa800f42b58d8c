//! How a service does: the worse of what somebody said and what its outcomes say.

use cofferdam_core::{health::HealthStatus, name::ServiceKey};

use crate::{
    instances::{Condition, Instances},
    registry::Registry,
};

/// The health in force; absent where nothing is known.
///
/// `reported` is what was last said with UpdateServiceHealth, `condition` what instances derive from outcomes.
pub(crate) fn in_force(reported: Option<HealthStatus>, condition: Condition) -> Option<HealthStatus> {
    // Nothing known is less than anything known, and a worse status is greater.
    reported.max(condition.health)
}

/// Whether a service may be used, in the terms of `grpc.health.v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// It is enabled, and healthy or degraded.
    Yes,
    /// It is disabled, unhealthy, behind an open breaker, or what is stored of it cannot be read.
    No,
    /// It is enabled and nobody has said or seen how it does.
    Unknown,
}

/// Whether a service may be used; absent where it is not registered.
pub(crate) fn serving(registry: &Registry, instances: &Instances, key: &ServiceKey) -> Option<Serving> {
    let Some(registered) = registry.get(key) else {
        return registry.is_poisoned(key).then_some(Serving::No);
    };
    Some(match status(registry, instances, key) {
        _ if !registered.is_enabled() => Serving::No,
        Some(HealthStatus::Healthy | HealthStatus::Degraded) => Serving::Yes,
        Some(HealthStatus::Unhealthy | HealthStatus::CircuitOpen) => Serving::No,
        None => Serving::Unknown,
    })
}

/// The health in force of a service; absent where nothing is known.
pub(crate) fn status(registry: &Registry, instances: &Instances, key: &ServiceKey) -> Option<HealthStatus> {
    in_force(registry.reported_status(key), instances.condition(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::breaker::State;

    fn condition(breaker: State, health: HealthStatus) -> Condition {
        Condition { breaker: Some(breaker), health: Some(health) }
    }

    #[test]
    fn the_worse_of_the_two_is_in_force() {
        let degraded = Some(HealthStatus::Degraded);
        let fine = condition(State::Closed, HealthStatus::Healthy);
        assert_eq!(in_force(degraded, fine), degraded);
        let bad = condition(State::HalfOpen, HealthStatus::Unhealthy);
        assert_eq!(in_force(degraded, bad), Some(HealthStatus::Unhealthy));
        let open = condition(State::Open, HealthStatus::CircuitOpen);
        assert_eq!(in_force(degraded, open), Some(HealthStatus::CircuitOpen));
        let of_a_pool = condition(State::Open, HealthStatus::Degraded);
        assert_eq!(in_force(None, of_a_pool), degraded, "the rest of the service can be used");
    }

    #[test]
    fn nothing_said_and_nothing_seen_is_nothing_known() {
        assert_eq!(in_force(None, Condition::default()), None);
        let fine = condition(State::Closed, HealthStatus::Healthy);
        assert_eq!(in_force(None, fine), Some(HealthStatus::Healthy));
    }
}
