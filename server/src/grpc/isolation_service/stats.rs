//! Counts over services and instances, as the contract shows them. Reading them changes nothing.

use std::{collections::BTreeMap, sync::Arc};

use cofferdam_core::{
    isolation::Part,
    level::Level,
    name::Name,
    wire::{counters_to_wire, health_to_wire, part_to_wire},
};
use cofferdam_proto::v1;

use super::figures;
use crate::{
    activity::Activity,
    execute::Executor,
    health,
    instances::{Instances, Losses},
    registry::{Registered, Registry},
};

/// What is known of one service, and what of it adds up over services.
pub(super) fn of_service(
    registry: &Registry,
    instances: &Instances,
    executor: &Executor,
    registered: &Registered,
) -> (v1::ServiceStats, Activity) {
    let key = registered.key();
    let seen = instances.observe(key, registered.revision(), registered.policy_hash());
    let mut activity = seen.activity;
    activity.merge(&executor.activity(key));
    let stats = v1::ServiceStats {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        counters: Some(counters_to_wire(&activity.counters)),
        instances: seen.instances,
        open_instances: seen.open_instances,
        applied_instances: seen.applied_instances,
        refused_instances: seen.refused_instances,
        health_status: health::status(registry, instances, key).map(health_to_wire).unwrap_or_default().into(),
        breakers: Part::with_own_breaker(registered.policy())
            .iter()
            .map(|part| breaker(part, seen.parts.get(part).copied().unwrap_or_default()))
            .collect(),
        adaptive_limit: seen.adaptive_limit.limit,
        adaptive_in_flight: seen.adaptive_limit.in_flight,
        calls: Some(figures::of(&activity, instances.uptime())),
        losses: Some(losses(seen.losses)),
    };
    (stats, activity)
}

fn losses(losses: Losses) -> v1::ReportLosses {
    let Losses { reports_missed, transitions_dropped, histograms_refused } = losses;
    v1::ReportLosses { reports_missed, transitions_dropped, histograms_refused }
}

fn breaker(part: &Part, (open_instances, half_open_instances): (u32, u32)) -> v1::BreakerStats {
    let (pool, method_glob) = part_to_wire(part);
    v1::BreakerStats { pool, method_glob, open_instances, half_open_instances }
}

/// What is known of all services of a namespace, or of all namespaces.
pub(super) fn of_all(
    services: &[Arc<Registered>],
    sum: &Activity,
    instances: &Instances,
    namespace: Option<&Name>,
) -> v1::IsolationStats {
    let count = |holds: &dyn Fn(&Registered) -> bool| number(services.iter().filter(|service| holds(service)).count());
    let at = |level: Level| count(&|service| service.policy().level == level);
    v1::IsolationStats {
        total_services: number(services.len()),
        none_isolation: at(Level::None),
        basic_isolation: at(Level::Basic),
        enhanced_isolation: at(Level::Enhanced),
        full_isolation: at(Level::Full),
        fallback_enabled: count(&has_fallback),
        instances: number(instances.count(namespace)),
        counters: Some(counters_to_wire(&sum.counters)),
        calls: Some(figures::of(sum, instances.uptime())),
        losses: Some(losses(instances.losses())),
    }
}

/// The counts of services under their plain names.
pub(super) fn totals(stats: &v1::IsolationStats) -> BTreeMap<String, u32> {
    let totals = [
        ("total_services", stats.total_services),
        ("none_isolation", stats.none_isolation),
        ("basic_isolation", stats.basic_isolation),
        ("enhanced_isolation", stats.enhanced_isolation),
        ("full_isolation", stats.full_isolation),
        ("fallback_enabled", stats.fallback_enabled),
    ];
    totals.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Whether some step of the chain is tried at the present level.
fn has_fallback(service: &Registered) -> bool {
    service.policy().fallback.steps(service.policy().level).next().is_some()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
