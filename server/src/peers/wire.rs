//! Parts as managers send them to each other. What cannot be read is nothing: a peer of another release must not be able
//! to spoil an answer.

use std::{sync::Arc, time::Duration};

use cofferdam_core::{
    adaptive_limit::Load,
    breaker::State,
    isolation::Part,
    latency::{CallLatencySnapshot, SparseLatency},
    name::ServiceKey,
    wire::{
        PolicyHash, breaker_state_from_wire, breaker_state_to_wire, counters_from_wire, counters_to_wire,
        duration_from_wire, duration_to_wire, health_from_wire, health_to_wire, latency_from_wire, latency_to_wire,
        part_to_wire, revision_from_wire, revision_to_wire,
    },
};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{ServicePart, Slot, TotalsPart};
use crate::{
    activity::Activity,
    instances::{Arrival, Census, Condition, Losses, Observation, Recoveries, Stand, Target},
    registry::validate,
};

pub(super) fn duration(wire: Option<prost_types::Duration>) -> Duration {
    wire.and_then(|wire| duration_from_wire(wire).ok()).unwrap_or_default()
}

pub(super) fn arrivals_from_wire(arrivals: Vec<v1::Arrival>) -> Vec<Arrival> {
    arrivals.into_iter().map(|arrival| Arrival { id: arrival.instance_id, age: duration(arrival.age) }).collect()
}

pub(crate) fn arrival_to_wire(arrival: Arrival) -> v1::Arrival {
    v1::Arrival { instance_id: arrival.id, age: Some(duration_to_wire(arrival.age)) }
}

pub(super) fn stand_from_wire(stand: &v1::ServiceStand) -> Option<(ServiceKey, Stand)> {
    let key = validate::target(&stand.namespace, &stand.service).ok()?;
    let condition = Condition {
        breaker: breaker_state_from_wire(stand.breaker_state).ok().flatten(),
        health: health_from_wire(stand.health_status).ok().flatten(),
    };
    let breakers = stand.breakers.iter().filter_map(|breaker| {
        let state = breaker_state_from_wire(breaker.state).ok().flatten().filter(|state| *state != State::Closed)?;
        Some((part_from_wire(&breaker.pool, &breaker.method_glob), state))
    });
    let census = Census { open: stand.open_instances, instances: stand.instances };
    Some((key, Stand { condition, breakers: breakers.collect(), census }))
}

pub(crate) fn stand_to_wire((key, stand): (ServiceKey, Stand)) -> v1::ServiceStand {
    let Stand { condition: Condition { breaker, health }, breakers, census: Census { open, instances } } = stand;
    let breakers = breakers.into_iter().map(|(part, state)| {
        let (pool, method_glob) = part_to_wire(&part);
        v1::BreakerReport { pool, method_glob, state: breaker_state_to_wire(state).into() }
    });
    v1::ServiceStand {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        breaker_state: breaker.map(breaker_state_to_wire).unwrap_or_default().into(),
        health_status: health.map(health_to_wire).unwrap_or_default().into(),
        open_instances: open,
        instances,
        breakers: breakers.collect(),
    }
}

fn part_from_wire(pool: &str, method_glob: &str) -> Part {
    match (pool, method_glob) {
        ("", "") => Part::Service,
        ("", glob) => Part::Methods(glob.into()),
        (pool, _) => Part::Pool(pool.into()),
    }
}

pub(crate) fn target_to_wire(target: &Target) -> v1::PolicyTarget {
    v1::PolicyTarget {
        namespace: target.key.namespace.to_string(),
        service: target.key.name.to_string(),
        revision: Some(revision_to_wire(target.revision)),
        current_revision: Some(revision_to_wire(target.current)),
        policy_hash: bytes::Bytes::copy_from_slice(target.hash.as_bytes()),
        age: Some(duration_to_wire(target.since.elapsed())),
        contained: target.is_contained,
        in_place_revision: target.in_place.map(|(revision, _)| revision_to_wire(revision)),
        in_place_hash: target
            .in_place
            .map(|(_, hash)| bytes::Bytes::copy_from_slice(hash.as_bytes()))
            .unwrap_or_default(),
    }
}

/// `None`: it names no service, or its fingerprint is none.
pub(crate) fn target_from_wire(target: &v1::PolicyTarget) -> Option<Target> {
    let now = Instant::now();
    let in_place = match target.in_place_revision {
        Some(revision) => Some((revision_from_wire(revision), PolicyHash::try_from(&target.in_place_hash[..]).ok()?)),
        None => None,
    };
    Some(Target {
        key: validate::target(&target.namespace, &target.service).ok()?,
        revision: target.revision.map(revision_from_wire).unwrap_or_default(),
        current: target.current_revision.map(revision_from_wire).unwrap_or_default(),
        hash: PolicyHash::try_from(&target.policy_hash[..]).ok()?,
        since: now.checked_sub(duration(target.age)).unwrap_or(now),
        is_contained: target.contained,
        in_place,
    })
}

fn activity_to_wire(activity: &Activity) -> v1::ActivityPart {
    v1::ActivityPart {
        counters: Some(counters_to_wire(&activity.counters)),
        call_latency: latency_to_wire(&activity.latencies.calls),
        attempt_latency: latency_to_wire(&activity.latencies.attempts),
    }
}

fn activity_from_wire(part: Option<v1::ActivityPart>) -> Activity {
    let part = part.unwrap_or_default();
    let latencies = CallLatencySnapshot {
        calls: latency(part.call_latency.as_ref()),
        attempts: latency(part.attempt_latency.as_ref()),
    };
    Activity { counters: counters_from_wire(&part.counters.unwrap_or_default()), latencies }
}

fn latency(histogram: Option<&v1::LatencyHistogram>) -> SparseLatency {
    latency_from_wire(histogram).unwrap_or_default()
}

pub(crate) fn losses_to_wire(losses: Losses) -> v1::ReportLosses {
    let Losses {
        reports_missed,
        transitions_dropped,
        histograms_refused,
        history_slots_dropped,
        instance_figures_dropped,
    } = losses;
    v1::ReportLosses {
        reports_missed,
        transitions_dropped,
        histograms_refused,
        history_slots_dropped,
        instance_figures_dropped,
    }
}

fn losses_from_wire(losses: Option<v1::ReportLosses>) -> Losses {
    let v1::ReportLosses {
        reports_missed,
        transitions_dropped,
        histograms_refused,
        history_slots_dropped,
        instance_figures_dropped,
    } = losses.unwrap_or_default();
    Losses { reports_missed, transitions_dropped, histograms_refused, history_slots_dropped, instance_figures_dropped }
}

fn recoveries_to_wire(recoveries: &Recoveries) -> v1::RecoveriesPart {
    v1::RecoveriesPart {
        count: recoveries.count,
        sum: Some(duration_to_wire(recoveries.sum)),
        longest: Some(duration_to_wire(recoveries.longest)),
        last: recoveries.last.map(|(_, took)| duration_to_wire(took)),
        last_age: recoveries.last.map(|(at, _)| duration_to_wire(at.elapsed())),
        scaled: latency_to_wire(&recoveries.scaled),
    }
}

fn recoveries_from_wire(part: Option<v1::RecoveriesPart>) -> Recoveries {
    let part = part.unwrap_or_default();
    let now = Instant::now();
    let at = now.checked_sub(duration(part.last_age)).unwrap_or(now);
    Recoveries {
        count: part.count,
        sum: duration(part.sum),
        longest: duration(part.longest),
        last: part.last.map(|took| (at, duration(Some(took)))),
        scaled: latency(part.scaled.as_ref()),
    }
}

impl From<&ServicePart> for v1::ServicePart {
    fn from(part: &ServicePart) -> Self {
        let ServicePart { seen, executed, recent } = part;
        let breaker = |(part, (open_instances, half_open_instances)): (&Part, &(u32, u32))| {
            let (pool, method_glob) = part_to_wire(part);
            let (open_instances, half_open_instances) = (*open_instances, *half_open_instances);
            v1::BreakerStats { pool, method_glob, open_instances, half_open_instances, ..Default::default() }
        };
        let method = |(glob, activity): (&String, &Activity)| v1::MethodPart {
            method_glob: glob.clone(),
            activity: Some(activity_to_wire(activity)),
        };
        Self {
            reported: Some(activity_to_wire(&seen.activity)),
            executed: Some(activity_to_wire(executed)),
            recent: recent.as_ref().map(activity_to_wire),
            methods: seen.methods.iter().map(method).collect(),
            losses: Some(losses_to_wire(seen.losses)),
            recoveries: Some(recoveries_to_wire(&seen.recoveries)),
            instances: seen.instances,
            open_instances: seen.open_instances,
            open_instance_ids: seen.open_ids.iter().map(ToString::to_string).collect(),
            applied_instances: seen.applied_instances,
            refused_instances: seen.refused_instances,
            breakers: seen.parts.iter().map(breaker).collect(),
            adaptive_limit: seen.adaptive_limit.limit,
            adaptive_in_flight: seen.adaptive_limit.in_flight,
            held_instances: seen.held_instances,
            silent_instances: seen.silent_instances,
        }
    }
}

impl From<v1::ServicePart> for ServicePart {
    fn from(part: v1::ServicePart) -> Self {
        let breaker = |breaker: v1::BreakerStats| {
            let part = part_from_wire(&breaker.pool, &breaker.method_glob);
            (part, (breaker.open_instances, breaker.half_open_instances))
        };
        let seen = Observation {
            activity: activity_from_wire(part.reported),
            losses: losses_from_wire(part.losses),
            recoveries: recoveries_from_wire(part.recoveries),
            methods: part.methods.into_iter().map(|m| (m.method_glob, activity_from_wire(m.activity))).collect(),
            instances: part.instances,
            open_instances: part.open_instances,
            open_ids: part.open_instance_ids.into_iter().map(Arc::from).collect(),
            parts: part.breakers.into_iter().map(breaker).collect(),
            adaptive_limit: Load { limit: part.adaptive_limit, in_flight: part.adaptive_in_flight },
            applied_instances: part.applied_instances,
            held_instances: part.held_instances,
            silent_instances: part.silent_instances,
            refused_instances: part.refused_instances,
        };
        let recent = part.recent.map(|recent| activity_from_wire(Some(recent)));
        Self { seen, executed: activity_from_wire(part.executed), recent }
    }
}

impl From<&TotalsPart> for v1::TotalsPart {
    fn from(part: &TotalsPart) -> Self {
        Self {
            total: Some(activity_to_wire(&part.total)),
            recent: part.recent.as_ref().map(activity_to_wire),
            recoveries: Some(recoveries_to_wire(&part.recoveries)),
            losses: Some(losses_to_wire(part.losses)),
            instances: part.instances,
            open_services: part.open.iter().cloned().collect(),
            sdks: part.sdks.clone(),
        }
    }
}

impl From<v1::TotalsPart> for TotalsPart {
    fn from(part: v1::TotalsPart) -> Self {
        Self {
            total: activity_from_wire(part.total),
            recent: part.recent.map(|recent| activity_from_wire(Some(recent))),
            recoveries: recoveries_from_wire(part.recoveries),
            losses: losses_from_wire(part.losses),
            instances: part.instances,
            open: part.open_services.into_iter().collect(),
            sdks: part.sdks,
        }
    }
}

impl From<&Slot> for v1::HistorySlot {
    fn from(slot: &Slot) -> Self {
        Self {
            begin_time: Some(prost_types::Timestamp { seconds: slot.begin, nanos: 0 }),
            length: Some(duration_to_wire(slot.length)),
            activity: Some(activity_to_wire(&slot.activity)),
        }
    }
}

impl From<v1::HistorySlot> for Slot {
    fn from(slot: v1::HistorySlot) -> Self {
        Self {
            begin: slot.begin_time.unwrap_or_default().seconds,
            length: duration(slot.length),
            activity: activity_from_wire(slot.activity),
        }
    }
}
