//! The contract's messages as the SDK's own, and back.

use crate::panics::unless_it_panics;
use crate::sync::message::{Applied, FromManager, Hello, Refusal, Report, ServiceReport, ToManager, Update};
use cofferdam_core::adaptive_limit::Load;
use cofferdam_core::breaker::State;
use cofferdam_core::isolation::Part;
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::orders::Orders;
use cofferdam_core::policy::{InvalidPolicy, Policy};
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::wire::{
    breaker_state_to_wire, counters_to_wire, duration_to_wire, effective_policy, health_to_wire, latency_to_wire,
    orders_from_wire, part_to_wire, rejected_call_to_wire, revision_from_wire, revision_to_wire, transition_to_wire,
};
use cofferdam_proto::v1;
use cofferdam_proto::v1::{sync_request, sync_response};
use std::sync::Arc;
use std::time::Duration;

/// What the SDK calls itself.
const SDK: &str = concat!("rust/", env!("CARGO_PKG_VERSION"));
/// The longest reason of a refusal, in bytes.
const MAX_REASON_BYTES: usize = 1024;
/// The time to come again in where a manager names none.
const DEFAULT_WITHIN: Duration = Duration::from_secs(1);

/// A time that a manager names. `None` where it is invalid.
fn window(time: Option<impl TryInto<Duration>>) -> Option<Duration> {
    time.and_then(|time| time.try_into().ok())
}

pub(super) fn from_manager(response: v1::SyncResponse) -> FromManager {
    match response.message {
        Some(sync_response::Message::Update(update)) => FromManager::Update(from_update(update)),
        Some(sync_response::Message::Removal(v1::PolicyRemoval { service, revision })) => {
            FromManager::Removal { service, revision: revision.map(revision_from_wire) }
        }
        Some(sync_response::Message::Complete(complete)) => FromManager::Complete(window(complete.reconnect_within)),
        Some(sync_response::Message::Bookmark(bookmark)) => FromManager::Bookmark(window(bookmark.reconnect_within)),
        Some(sync_response::Message::Reconnect(v1::SyncReconnect { within })) => {
            FromManager::Reconnect { within: window(within).unwrap_or(DEFAULT_WITHIN) }
        }
        Some(sync_response::Message::FleetHint(hint)) => from_hint(hint),
        None => FromManager::Unknown,
    }
}

fn from_hint(hint: v1::FleetHint) -> FromManager {
    let v1::FleetHint { service, ttl, open_instances, instances } = hint;
    // An invalid time is refused where it is taken in, as a time of zero is.
    let ttl = window(ttl).unwrap_or_default();
    FromManager::FleetHint { service, open_instances, instances, ttl }
}

pub(super) fn from_update(update: v1::PolicyUpdate) -> Update {
    let v1::PolicyUpdate { service, revision, policy_hash: _, policy, enabled, insisted, orders, as_of } = update;
    let revision = revision.map(revision_from_wire);
    let policy = from_policy(policy.as_ref());
    let (policy, orders) = match orders_from_wire(orders.as_ref()) {
        Ok(orders) => (policy, orders),
        // Policy and orders are of one revision: they are in force together or not at all.
        Err(invalid) => (policy.and(Err(invalid.into())), Orders::default()),
    };
    let as_of = as_of.map(revision_from_wire);
    Update { service, revision, policy, is_enabled: enabled, is_insisted: insisted, orders, as_of }
}

fn from_policy(policy: Option<&v1::IsolationPolicy>) -> Result<Policy, Refusal> {
    // A missing policy is no policy: taken for an empty one, it would be a valid policy that nobody has written.
    let Some(policy) = policy else {
        return Err(Refusal { reason: "the update holds no policy".to_owned(), field_path: String::new() });
    };
    unless_it_panics(|| effective_policy(policy)).map_err(Refusal::from)?.map_err(|invalid| from_invalid(&invalid))
}

fn from_invalid(invalid: &InvalidPolicy) -> Refusal {
    let field_path = invalid.violations().first().map(|violation| violation.path.clone());
    Refusal { reason: invalid.to_string(), field_path: field_path.unwrap_or_default() }
}

pub(super) fn to_manager(message: ToManager) -> v1::SyncRequest {
    let message = match message {
        ToManager::Hello(hello) => sync_request::Message::Hello(to_hello(hello)),
        ToManager::Subscribe { services, gone } => sync_request::Message::Subscribe(v1::SyncSubscribe {
            services: services.iter().map(ToString::to_string).collect(),
            unfollow: gone.iter().map(ToString::to_string).collect(),
        }),
        ToManager::Applied(Applied { service, revision, hash }) => sync_request::Message::Ack(v1::PolicyAck {
            service: service.to_string(),
            revision: Some(revision_to_wire(revision)),
            policy_hash: hash.as_bytes().to_vec().into(),
        }),
        ToManager::Refused { service, revision, refusal, in_force, is_contained } => {
            sync_request::Message::Nack(v1::PolicyNack {
                service: service.to_string(),
                revision: revision.map(revision_to_wire),
                reason: truncated(refusal.reason),
                field_path: refusal.field_path,
                applied_revision: in_force.as_ref().map(|applied| revision_to_wire(applied.revision)),
                contained: is_contained,
                applied_policy_hash: in_force
                    .map(|applied| applied.hash.as_bytes().to_vec())
                    .unwrap_or_default()
                    .into(),
            })
        }
        ToManager::Report(report) => sync_request::Message::Report(to_report(report)),
    };
    v1::SyncRequest { message: Some(message) }
}

fn to_hello(hello: Hello) -> v1::SyncHello {
    let Hello { instance_id, application, namespace, labels, services, applied } = hello;
    let to_applied = |applied: Applied| v1::AppliedPolicy {
        service: applied.service.to_string(),
        revision: Some(revision_to_wire(applied.revision)),
        policy_hash: applied.hash.as_bytes().to_vec().into(),
    };
    v1::SyncHello {
        instance_id,
        application,
        namespace,
        sdk: SDK.to_owned(),
        labels: labels.into_iter().collect(),
        services: services.iter().map(ToString::to_string).collect(),
        all_services: false,
        applied: applied.into_iter().map(to_applied).collect(),
    }
}

fn to_report(report: Report) -> v1::SyncReport {
    let Report { sequence, interval, services } = report;
    let services = services.into_iter().map(to_service_report).collect();
    v1::SyncReport { sequence, interval: Some(duration_to_wire(interval)), services }
}

fn to_service_report(report: ServiceReport) -> v1::ServiceReport {
    let ServiceReport {
        service,
        counters,
        latencies,
        methods,
        breaker,
        parts,
        health,
        adaptive_limit,
        learned,
        held,
        transitions,
        dropped,
        rejections,
    } = report;
    let Load { limit, in_flight } = adaptive_limit.unwrap_or_default();
    v1::ServiceReport {
        service: service.to_string(),
        counters: Some(counters_to_wire(&counters)),
        breaker_state: to_state(breaker).into(),
        health_status: health_to_wire(health).into(),
        transitions: transitions.iter().map(|(part, made, age)| transition_to_wire(part, made, *age)).collect(),
        transitions_dropped: u32::try_from(dropped).unwrap_or(u32::MAX),
        adaptive_limit: limit,
        adaptive_in_flight: in_flight,
        breakers: parts.into_iter().map(to_breaker).collect(),
        call_latency: latency_to_wire(&latencies.calls),
        attempt_latency: latency_to_wire(&latencies.attempts),
        learned_state: to_state(learned).into(),
        held_breakers: u32::try_from(held).unwrap_or(u32::MAX),
        methods: methods.into_iter().map(to_method).collect(),
        rejections: rejections.iter().map(|(call, age)| rejected_call_to_wire(call, *age)).collect(),
    }
}

fn to_method((glob, counters, latencies): (Arc<str>, CounterSnapshot, CallLatencySnapshot)) -> v1::MethodReport {
    v1::MethodReport {
        method_glob: glob.to_string(),
        counters: Some(counters_to_wire(&counters)),
        call_latency: latency_to_wire(&latencies.calls),
        attempt_latency: latency_to_wire(&latencies.attempts),
    }
}

fn to_breaker((part, state): (Part, State)) -> v1::BreakerReport {
    let (pool, method_glob) = part_to_wire(&part);
    v1::BreakerReport { pool, method_glob, state: to_state(Some(state)).into() }
}

fn to_state(state: Option<State>) -> v1::BreakerState {
    state.map_or(v1::BreakerState::Unspecified, breaker_state_to_wire)
}

pub(super) fn to_revision(revision: Option<v1::Revision>) -> Revision {
    revision.map(revision_from_wire).unwrap_or_default()
}

/// As much of a text as a refusal may hold.
fn truncated(mut text: String) -> String {
    let end = (0..=MAX_REASON_BYTES.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.truncate(end.unwrap_or_default());
    text
}

#[cfg(test)]
mod tests;
