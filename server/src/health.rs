//! How a service does: the worse of what somebody said and what its outcomes say.

use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1::{BreakerState, HealthStatus, ServiceHealth};

use crate::{
    instances::{Condition, Instances},
    registry::{Registered, Registry},
};

/// The health in force of a service; absent where nothing is known.
///
/// `reported` is what was last said with UpdateServiceHealth, `condition` what instances derive from outcomes.
pub(crate) fn in_force(reported: Option<&ServiceHealth>, condition: Condition) -> Option<ServiceHealth> {
    let derived = match condition.breaker {
        BreakerState::Open => HealthStatus::CircuitOpen,
        _ => condition.health,
    };
    let said = reported.map_or(HealthStatus::Unspecified, ServiceHealth::status);
    // The statuses are numbered from the best to the worst.
    if derived > said {
        let message = match derived {
            HealthStatus::CircuitOpen => "a circuit breaker keeps calls from it",
            HealthStatus::Unhealthy => "too many calls fail to use it",
            HealthStatus::Degraded => "calls to it fail now and then",
            HealthStatus::Healthy | HealthStatus::Unspecified => "",
        };
        return Some(ServiceHealth {
            status: derived.into(),
            message: message.to_owned(),
            observe_time: None,
        });
    }
    reported.cloned()
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
    let status = status(registry, instances, &registered);
    Some(match status {
        _ if !registered.is_enabled() => Serving::No,
        HealthStatus::Healthy | HealthStatus::Degraded => Serving::Yes,
        HealthStatus::Unhealthy | HealthStatus::CircuitOpen => Serving::No,
        HealthStatus::Unspecified => Serving::Unknown,
    })
}

/// The status in force of a service; unspecified where nothing is known.
pub(crate) fn status(registry: &Registry, instances: &Instances, registered: &Registered) -> HealthStatus {
    let key = registered.key();
    let health = in_force(registry.reported_health(key).as_ref(), instances.condition(key));
    health.map(|health| health.status()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(status: HealthStatus) -> ServiceHealth {
        ServiceHealth {
            status: status.into(),
            message: "said".to_owned(),
            observe_time: None,
        }
    }

    fn condition(breaker: BreakerState, health: HealthStatus) -> Condition {
        Condition { breaker, health }
    }

    #[test]
    fn the_worse_of_the_two_is_in_force() {
        let degraded = reported(HealthStatus::Degraded);
        let fine = condition(BreakerState::Closed, HealthStatus::Healthy);
        assert_eq!(in_force(Some(&degraded), fine), Some(degraded.clone()));

        let bad = condition(BreakerState::Closed, HealthStatus::Unhealthy);
        assert_eq!(
            in_force(Some(&degraded), bad).unwrap().status(),
            HealthStatus::Unhealthy
        );

        let open = condition(BreakerState::Open, HealthStatus::Unspecified);
        assert_eq!(
            in_force(Some(&degraded), open).unwrap().status(),
            HealthStatus::CircuitOpen
        );
    }

    #[test]
    fn nothing_said_and_nothing_seen_is_nothing_known() {
        assert_eq!(in_force(None, Condition::default()), None);
        let fine = condition(BreakerState::Closed, HealthStatus::Healthy);
        assert_eq!(in_force(None, fine).unwrap().status(), HealthStatus::Healthy);
    }
}
