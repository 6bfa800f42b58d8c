//! The answers, word for word as the seeds have them; what a seed leaves open is said in `docs/http.md`.

use std::{collections::BTreeMap, time::Duration};

use cofferdam_core::time::WallTime;
use cofferdam_proto::v1::HealthStatus;
use serde_json::{Map, Value, json};

use super::module::{Module, State};

/// `GET /health/modules`.
pub(super) fn modules(all: &[Module], now: &str) -> Value {
    let modules = by_name(all, |one| of_module(one, now));
    json!({"status": capital(worst(all)), "modules": modules, "total": all.len(), "timestamp": now})
}

/// `GET /health/modules/{module}`.
pub(super) fn module(one: &Module, now: &str) -> Value {
    let mut said = of_module(one, now);
    said["module"] = one.name.clone().into();
    said
}

fn of_module(one: &Module, now: &str) -> Value {
    let status = if one.is_enabled { capital(one.status) } else { "DISABLED" };
    let all = one.failures.saturating_add(one.successes);
    let mut said = json!({
        "status": status,
        "circuit_state": one.state.as_str(),
        "error_rate": (one.failure_share() * 1e4).round() / 1e4,
        "total_requests": all,
        "failed_requests": one.failures,
        "last_check": now,
    });
    if !one.message.is_empty() {
        said["message"] = one.message.clone().into();
    }
    said
}

/// `GET /modules/status`.
pub(super) fn system(all: &[Module], now: &str) -> Value {
    let modules = by_name(all, |one| {
        let needs: Vec<_> = one.dependencies.iter().map(|(name, _)| name.as_str()).collect();
        json!({"status": two_words(one.status), "purpose": one.purpose, "dependencies": needs})
    });
    let healthy = all.iter().filter(|one| two_words(one.status) == "healthy").count();
    json!({
        "status": two_words(worst(all)),
        "total_modules": all.len(),
        "healthy_modules": healthy,
        "modules": modules,
        "last_check": now,
    })
}

/// `GET /modules/{module}/health`: what a module's `health_check` returned.
pub(super) fn check(one: &Module, dependencies: &[(String, Option<HealthStatus>)], now: &str) -> Value {
    let word = |status: &Option<HealthStatus>| status.map_or("unknown", two_words);
    let dependencies: Map<String, Value> =
        dependencies.iter().map(|(name, status)| (name.clone(), word(status).into())).collect();
    json!({
        "status": two_words(one.status),
        "module": one.name,
        // The module's own affair, of which the manager hears by the status alone.
        "database_connection": Value::Null,
        "dependencies": dependencies,
        "last_check": now,
        "uptime": seconds(one.period),
    })
}

/// `GET /health`.
pub(super) fn application(all: &[Module], now: &str) -> Value {
    let modules = by_name(all, |one| two_words(one.status).into());
    json!({"status": two_words(worst(all)), "modules": modules, "last_check": now})
}

/// `GET /api/health`.
pub(super) fn backend(all: &[Module], now: &str) -> Value {
    let is_well = all.iter().all(Module::is_well);
    let services = by_name(all, |one| {
        json!({
            "status": healthy_or_degraded(one.is_well()),
            "state": one.state.as_str(),
            "failures": one.failures,
            "successes": one.successes,
            "failureRate": one.failure_percent(),
        })
    });
    json!({
        "status": healthy_or_degraded(is_well),
        "timestamp": now,
        "services": services,
        "fallbackData": by_name(all, |one| one.has_fallback.into()),
        "message": if is_well { "All systems operational" } else { "Some services are degraded" },
    })
}

/// `GET /api/{service}/health`.
pub(super) fn service(one: &Module, now: &str) -> Value {
    // A pool and a glob of methods may have one name: then it is the worse of the two.
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    for (name, state) in &one.breakers {
        let known = states.entry(name).or_insert(*state);
        *known = (*known).max(*state);
    }
    if states.is_empty() {
        states.insert(&one.name, one.own);
    }
    let breakers: Map<String, Value> =
        states.into_iter().map(|(name, state)| (name.to_owned(), json!({"state": state.as_str()}))).collect();
    json!({
        "service": one.name,
        "status": healthy_or_degraded(one.is_well()),
        "timestamp": now,
        "circuitBreaker": {"state": one.own.as_str()},
        "circuitBreakers": breakers,
        "stats": {
            "uptime": seconds(one.period),
            "requestCount": one.failures.saturating_add(one.successes),
            "successCount": one.successes,
            "failureCount": one.failures,
            "errorRate": one.failure_percent(),
        },
    })
}

/// `POST /health/modules/{module}/reset`.
pub(super) fn module_reset(module: &str, now: &str) -> Value {
    json!({"success": true, "module": module, "message": "Module health status reset", "timestamp": now})
}

/// `POST /api/{service}/circuit-breaker[/{name}]/trip` and `reset`. Without a name, it is about all of them.
pub(super) fn commanded(service: &str, breaker: &str, action: &str, now: &str) -> Value {
    let what = if action == "trip" { "tripped" } else { "reset" };
    let breaker = if breaker.is_empty() { Value::Null } else { breaker.into() };
    json!({
        "success": true,
        "service": service,
        "circuitBreaker": breaker,
        "action": action,
        "message": format!("Circuit breaker {what}"),
        "timestamp": now,
    })
}

/// `POST /api/admin/reset-circuit-breakers`.
pub(super) fn all_reset(done: &[String], failed: &[(String, String)], now: &str) -> Value {
    let failures: Map<String, Value> = failed.iter().map(|(name, why)| (name.clone(), why.as_str().into())).collect();
    json!({
        "success": failed.is_empty(),
        "message": if failed.is_empty() { "All circuit breakers reset" } else { "Some circuit breakers were not reset" },
        "services": done,
        "failures": failures,
        "timestamp": now,
    })
}

fn by_name(all: &[Module], of: impl Fn(&Module) -> Value) -> Map<String, Value> {
    all.iter().map(|one| (one.name.clone(), of(one))).collect()
}

/// The worst status of all services that are in use.
fn worst(all: &[Module]) -> HealthStatus {
    let in_use = all.iter().filter(|one| one.is_enabled);
    in_use.map(|one| one.status).max_by_key(|status| i32::from(*status)).unwrap_or(HealthStatus::Healthy)
}

fn capital(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Unspecified | HealthStatus::Healthy => "HEALTHY",
        HealthStatus::Degraded => "DEGRADED",
        HealthStatus::Unhealthy => "UNHEALTHY",
        HealthStatus::CircuitOpen => "CIRCUIT_OPEN",
    }
}

/// For shapes with two words: whoever works with errors works.
fn two_words(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Unspecified | HealthStatus::Healthy | HealthStatus::Degraded => "healthy",
        HealthStatus::Unhealthy | HealthStatus::CircuitOpen => "unhealthy",
    }
}

fn healthy_or_degraded(is_well: bool) -> &'static str {
    if is_well { "healthy" } else { "degraded" }
}

/// In seconds, with milliseconds.
fn seconds(period: Duration) -> f64 {
    (period.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A time of day as `2024-01-15T10:30:00Z`.
pub(super) fn rfc_3339(time: WallTime) -> String {
    let since_1970 = Duration::from_secs(u64::try_from(time.seconds()).unwrap_or_default());
    humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + since_1970).to_string()
}
