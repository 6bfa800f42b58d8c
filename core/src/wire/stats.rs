use super::duration::duration_to_wire;
use crate::breaker::{State, Transition};
use crate::health::HealthStatus;
use crate::isolation::Part;
use crate::revision::Revision;
use crate::stats::CounterSnapshot;
use cofferdam_proto::v1;
use std::time::Duration;

/// The number has no name in this release's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a number that the contract names, not {0}")]
pub struct UnknownNumber(pub i32);

/// The breaker state that a message's number stands for; `None` where nothing is known.
///
/// # Errors
///
/// [`UnknownNumber`] where the contract has no such number.
pub fn breaker_state_from_wire(number: i32) -> Result<Option<State>, UnknownNumber> {
    match v1::BreakerState::try_from(number) {
        Ok(v1::BreakerState::Unspecified) => Ok(None),
        Ok(v1::BreakerState::Closed) => Ok(Some(State::Closed)),
        Ok(v1::BreakerState::Open) => Ok(Some(State::Open)),
        Ok(v1::BreakerState::HalfOpen) => Ok(Some(State::HalfOpen)),
        Err(_) => Err(UnknownNumber(number)),
    }
}

/// A breaker state as messages say it.
pub const fn breaker_state_to_wire(state: State) -> v1::BreakerState {
    match state {
        State::Closed => v1::BreakerState::Closed,
        State::HalfOpen => v1::BreakerState::HalfOpen,
        State::Open => v1::BreakerState::Open,
    }
}

/// The pool and the glob by which messages name a part of a service; both are empty for the service itself.
pub fn part_to_wire(part: &Part) -> (String, String) {
    match part {
        Part::Service => (String::new(), String::new()),
        Part::Pool(name) => (name.to_string(), String::new()),
        Part::Methods(glob) => (String::new(), glob.to_string()),
    }
}

/// What a breaker of a part of a service did so long ago, as messages say it.
pub fn transition_to_wire(part: &Part, transition: &Transition, age: Duration) -> v1::BreakerTransition {
    let (pool, method_glob) = part_to_wire(part);
    v1::BreakerTransition {
        from: breaker_state_to_wire(transition.from).into(),
        to: breaker_state_to_wire(transition.to).into(),
        cause: transition.cause.name().to_owned(),
        age: Some(duration_to_wire(age)),
        pool,
        method_glob,
        hinted: transition.is_hinted,
        unenforced: !transition.is_enforced,
    }
}

/// Whether a message names this part of a service by this pool and this glob.
pub fn part_is(part: &Part, pool: &str, method_glob: &str) -> bool {
    match part {
        Part::Service => pool.is_empty() && method_glob.is_empty(),
        Part::Pool(name) => **name == *pool && method_glob.is_empty(),
        Part::Methods(glob) => **glob == *method_glob && pool.is_empty(),
    }
}

/// The health that a message's number stands for; `None` where nothing is known.
///
/// # Errors
///
/// [`UnknownNumber`] where the contract has no such number.
pub fn health_from_wire(number: i32) -> Result<Option<HealthStatus>, UnknownNumber> {
    match v1::HealthStatus::try_from(number) {
        Ok(v1::HealthStatus::Unspecified) => Ok(None),
        Ok(v1::HealthStatus::Healthy) => Ok(Some(HealthStatus::Healthy)),
        Ok(v1::HealthStatus::Degraded) => Ok(Some(HealthStatus::Degraded)),
        Ok(v1::HealthStatus::Unhealthy) => Ok(Some(HealthStatus::Unhealthy)),
        Ok(v1::HealthStatus::CircuitOpen) => Ok(Some(HealthStatus::CircuitOpen)),
        Err(_) => Err(UnknownNumber(number)),
    }
}

/// A health as messages say it.
pub const fn health_to_wire(status: HealthStatus) -> v1::HealthStatus {
    match status {
        HealthStatus::Healthy => v1::HealthStatus::Healthy,
        HealthStatus::Degraded => v1::HealthStatus::Degraded,
        HealthStatus::Unhealthy => v1::HealthStatus::Unhealthy,
        HealthStatus::CircuitOpen => v1::HealthStatus::CircuitOpen,
    }
}

/// The revision that a message stands for.
pub const fn revision_from_wire(wire: v1::Revision) -> Revision {
    let v1::Revision { epoch, revision } = wire;
    Revision { epoch, revision }
}

/// A revision as messages say it.
pub const fn revision_to_wire(revision: Revision) -> v1::Revision {
    let Revision { epoch, revision } = revision;
    v1::Revision { epoch, revision }
}

/// Both ways at once, from one list of the counters; a counter that is missing here fails the build.
macro_rules! counters {
    ($($counter:ident,)+) => {
        /// The counters that a message holds.
        pub const fn counters_from_wire(wire: &v1::CallCounters) -> CounterSnapshot {
            let v1::CallCounters { $($counter),+ } = *wire;
            CounterSnapshot { $($counter),+ }
        }

        /// Counters as messages hold them.
        pub const fn counters_to_wire(counters: &CounterSnapshot) -> v1::CallCounters {
            let CounterSnapshot { $($counter),+ } = *counters;
            v1::CallCounters { $($counter),+ }
        }
    };
}

counters! {
    calls,
    served_live,
    served_cached,
    served_static,
    served_alternative,
    served_degraded,
    failed,
    cancelled,
    attempts,
    attempt_successes,
    attempt_failures,
    attempt_neutrals,
    timeouts,
    retries,
    retries_refused,
    rejected_open,
    rejected_bulkhead,
    rejected_rate_limit,
    rejected_deadline,
    rejected_disabled,
    breaker_opened,
    stale_results,
    hedges,
    hedge_wins,
    hedges_refused,
    rejected_adaptive_limit,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Counter, Counters};

    #[test]
    fn states_round_trip_and_nothing_else_is_one() {
        for state in [State::Closed, State::HalfOpen, State::Open] {
            assert_eq!(breaker_state_from_wire(breaker_state_to_wire(state).into()), Ok(Some(state)));
        }
        assert_eq!(breaker_state_from_wire(0), Ok(None));
        for number in [-1, 4, i32::MIN, i32::MAX] {
            assert_eq!(breaker_state_from_wire(number), Err(UnknownNumber(number)));
        }
    }

    #[test]
    fn healths_round_trip_and_nothing_else_is_one() {
        let all = [HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Unhealthy, HealthStatus::CircuitOpen];
        for status in all {
            assert_eq!(health_from_wire(health_to_wire(status).into()), Ok(Some(status)));
        }
        assert_eq!(health_from_wire(0), Ok(None));
        for number in [-1, 5, i32::MIN, i32::MAX] {
            assert_eq!(health_from_wire(number), Err(UnknownNumber(number)));
        }
    }

    #[test]
    fn revisions_and_counters_round_trip() {
        let revision = Revision { epoch: 1, revision: 2 };
        assert_eq!(revision_from_wire(revision_to_wire(revision)), revision);
        let counters = Counters::new();
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            (0..=index).for_each(|_| counters.add(counter));
        }
        let snapshot = counters.snapshot();
        let wire = counters_to_wire(&snapshot);
        assert_eq!((wire.calls, wire.retries, wire.stale_results), (1, 14, 22));
        assert_eq!(counters_from_wire(&wire), snapshot);
    }
}
