//! Counts over services and instances, as the contract shows them. Reading them changes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cofferdam_core::{
    breaker::State,
    isolation::Part,
    level::Level,
    time::WallTime,
    wire::{
        breaker_state_to_wire, counters_to_wire, duration_to_wire, fleet_hint_mode_to_wire, health_to_wire,
        part_to_wire,
    },
};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::figures;
use crate::{
    activity::Activity,
    health,
    hints::Hint,
    instances::{Census, Instances, Recoveries, Stand},
    peers::{ServicePart, TotalsPart, losses_to_wire},
    registry::{Registered, Registry},
};

/// What is known of one service, over so long.
pub(super) fn of_service(
    registry: &Registry,
    instances: &Instances,
    registered: &Registered,
    part: &ServicePart,
    (period, uptime): (Duration, Duration),
) -> v1::ServiceStats {
    let key = registered.key();
    let ServicePart { seen, recent, .. } = part;
    let total = part.total();
    let calls = recent.as_ref().unwrap_or(&total);
    let now = registry.wall_time();
    let stand = instances.stand(key);
    let breaker = |part: &Part| breaker(part, seen.parts.get(part).copied().unwrap_or_default(), &stand);
    v1::ServiceStats {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        counters: Some(counters_to_wire(&total.counters)),
        instances: seen.instances,
        open_instances: seen.open_instances,
        applied_instances: seen.applied_instances,
        refused_instances: seen.refused_instances,
        health_status: health::in_force(registry.reported_status(key), stand.condition)
            .map(health_to_wire)
            .unwrap_or_default()
            .into(),
        breakers: Part::with_own_breaker(&registered.policy_at(now)).iter().map(breaker).collect(),
        own_breaker: Some(breaker(&Part::Service)).filter(|own| *own != v1::BreakerStats::default()),
        adaptive_limit: seen.adaptive_limit.limit,
        adaptive_in_flight: seen.adaptive_limit.in_flight,
        calls: Some(figures::of(calls, period)),
        losses: Some(losses_to_wire(seen.losses)),
        recoveries: Some(recoveries(&seen.recoveries)),
        methods: methods(registered, &seen.methods, &seen.activity, uptime),
        open_instance_ids: seen.open_ids.iter().map(ToString::to_string).collect(),
        fleet_hint: registry.hint(key).map(|hint| fleet_hint(&hint, stand.census, registered)),
        held_instances: seen.held_instances,
        silent_instances: seen.silent_instances,
        held_too_long: number(registered.held_too_long(now)),
    }
}

/// The figures of the methods that overrides of the policy are for, and of all others.
fn methods(
    registered: &Registered,
    known: &BTreeMap<String, Activity>,
    reported: &Activity,
    period: Duration,
) -> Vec<v1::MethodStats> {
    let overrides = &registered.policy().method_overrides;
    if overrides.is_empty() {
        return Vec::new();
    }
    let mut overridden = Activity::default();
    let mut rows: Vec<v1::MethodStats> = Vec::new();
    for entry in overrides {
        // The first of two that are alike takes all calls.
        let is_first = rows.iter().all(|row| row.method_glob != entry.glob);
        let activity = known.get(&entry.glob).filter(|_| is_first).cloned().unwrap_or_default();
        overridden.merge(&activity);
        rows.push(method(&entry.glob, &activity, period));
    }
    rows.push(method("", &reported.since(&overridden), period));
    rows
}

fn method(glob: &str, activity: &Activity, period: Duration) -> v1::MethodStats {
    v1::MethodStats { method_glob: glob.to_owned(), calls: Some(figures::of(activity, period)) }
}

fn recoveries(recoveries: &Recoveries) -> v1::RecoveryStats {
    let last = recoveries.last.map(|(_, took)| took);
    v1::RecoveryStats {
        count: recoveries.count,
        last: last.map(duration_to_wire),
        mean: recoveries.mean().map(duration_to_wire),
        p50: recoveries.quantile(0.5).map(duration_to_wire),
        longest: last.map(|_| duration_to_wire(recoveries.longest)),
    }
}

fn fleet_hint(hint: &Hint, census: Census, registered: &Registered) -> v1::FleetHintStats {
    let now = Instant::now();
    v1::FleetHintStats {
        mode: fleet_hint_mode_to_wire(registered.policy().fleet_hint.mode).into(),
        open_instances: census.open,
        instances: census.instances,
        age: Some(duration_to_wire(now.saturating_duration_since(hint.since))),
        ends_in: Some(duration_to_wire(hint.ends_in(now))),
    }
}

/// A breaker, by what was collected of instances and by what managers tell each other: the less good of the two, for one
/// may be some hundred milliseconds ahead of the other.
fn breaker(part: &Part, (open_instances, half_open_instances): (u32, u32), stand: &Stand) -> v1::BreakerStats {
    let (pool, method_glob) = part_to_wire(part);
    let counted = match (open_instances, half_open_instances) {
        (0, 0) => None,
        (0, _) => Some(State::HalfOpen),
        _ => Some(State::Open),
    };
    let told = stand.breakers.get(part).copied();
    // Nothing known is less than anything known, and a worse state is greater.
    let state = told.max(counted).or_else(|| stand.condition.breaker.map(|_| State::Closed));
    let state = state.map(breaker_state_to_wire).unwrap_or_default().into();
    v1::BreakerStats { pool, method_glob, open_instances, half_open_instances, state }
}

/// What is known of all these services together, over so long.
pub(super) fn of_all(
    services: &[Arc<Registered>],
    totals: &TotalsPart,
    period: Duration,
    now: WallTime,
) -> v1::IsolationStats {
    let count = |holds: &dyn Fn(&Registered) -> bool| number(services.iter().filter(|service| holds(service)).count());
    let at = |level: Level| count(&|service| service.level_at(now) == level);
    v1::IsolationStats {
        total_services: number(services.len()),
        none_isolation: at(Level::None),
        basic_isolation: at(Level::Basic),
        enhanced_isolation: at(Level::Enhanced),
        full_isolation: at(Level::Full),
        fallback_enabled: count(&|service| has_fallback(service, now)),
        instances: totals.instances,
        counters: Some(counters_to_wire(&totals.total.counters)),
        calls: Some(figures::of(totals.recent.as_ref().unwrap_or(&totals.total), period)),
        losses: Some(losses_to_wire(totals.losses)),
        recoveries: Some(recoveries(&totals.recoveries)),
        open_services: number(totals.open.len()),
        held_too_long: number(services.iter().map(|service| service.held_too_long(now)).sum()),
        sdks: totals.sdks.clone(),
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
fn has_fallback(service: &Registered, now: WallTime) -> bool {
    service.policy().fallback.steps(service.level_at(now)).next().is_some()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
