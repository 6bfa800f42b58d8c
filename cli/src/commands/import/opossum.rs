//! Options of opossum's `CircuitBreaker` (Node), with its defaults: <https://nodeshift.dev/opossum/>.

use super::values::{Import, Options, above, written};
use crate::message::Fault;
use cofferdam_core::policy::limits::MAX_CONCURRENT;
use serde_json::{Value, json};
use std::time::Duration;

/// `Number.MAX_SAFE_INTEGER`, which a number of JavaScript holds exactly.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

const MILLISECOND: Duration = Duration::from_millis(1);

pub(super) fn convert(value: Value, service: Option<&str>) -> Result<Vec<Import>, Fault> {
    let named = value.get("name").and_then(Value::as_str).map(str::to_owned);
    let is_one =
        named.is_some() || value.as_object().is_some_and(|options| options.values().all(|value| !value.is_object()));
    match (service.map(str::to_owned).or(named), value) {
        (Some(service), value) => Ok(vec![one(&service, "", value)?]),
        (None, Value::Object(services)) if !is_one => {
            services.into_iter().map(|(service, value)| one(&service, &service, value)).collect()
        }
        (None, _) => Err(Fault::at("", "does not say of which service it is: give --service NAME")),
    }
}

/// The share of failures that opens. Opossum opens above its number, a policy at it. Zero: no share does.
fn failure_rate(percent: f64, notes: &mut Vec<String>) -> f64 {
    if percent == 0.0 {
        notes.push("errorThresholdPercentage 0 opens at the first failure: written as one failure in a row".to_owned());
        return 0.0;
    }
    if percent >= 100.0 {
        notes.push(format!(
            "errorThresholdPercentage {percent} never opens, for no share is above it: written as a failureRate of 0, which is off"
        ));
        return 0.0;
    }
    let rate = above(percent / 100.0);
    notes.push(format!("errorThresholdPercentage {percent} is opened above: written as a failureRate of {rate}"));
    rate
}

fn one(service: &str, path: &str, value: Value) -> Result<Import, Fault> {
    let mut options = Options::new(path, value)?;
    let mut notes = Vec::new();
    options.take("name");
    let is_untimed = options.take_if_false("timeout");
    let timeout =
        if is_untimed { None } else { Some(options.time("timeout", MILLISECOND)?.unwrap_or(Duration::from_secs(10))) };
    let percent = options.number("errorThresholdPercentage")?.unwrap_or(50.0);
    let reset = options.time("resetTimeout", MILLISECOND)?.unwrap_or(Duration::from_secs(30));
    let window = options.time("rollingCountTimeout", MILLISECOND)?.unwrap_or(Duration::from_secs(10));
    let buckets = options.count("rollingCountBuckets")?.unwrap_or(10);
    let volume = options.count("volumeThreshold")?.unwrap_or(0);
    // What nobody reaches is no limit: its default is Number.MAX_SAFE_INTEGER.
    let capacity = match options.number("capacity")? {
        Some(capacity) if capacity.fract() != 0.0 => {
            return Err(options.fault("capacity", "must be a whole number"));
        }
        Some(capacity) if capacity > f64::from(MAX_CONCURRENT) => {
            if capacity < MAX_SAFE_INTEGER {
                notes.push(format!("capacity {capacity} is more than a bulkhead can have: there is none"));
            }
            None
        }
        capacity => capacity.map(|capacity| capacity as u32),
    };
    let is_enabled = options.flag("enabled")?.unwrap_or(true);
    options.leftovers(&mut notes);
    let failure_rate = failure_rate(percent, &mut notes);
    let mut breaker = json!({
        "timeWindow": {"length": written(window), "buckets": buckets},
        "minimumCalls": volume,
        "consecutiveFailures": u32::from(percent == 0.0),
        "failureRate": failure_rate,
        "openDuration": written(reset),
        "openJitterRatio": 0.0,
        "successThreshold": 1,
    });
    if !is_enabled {
        breaker["mode"] = json!("disabled");
    }
    let mut policy = json!({
        "level": if capacity.is_some() { "full" } else { "enhanced" },
        "timeout": {"callTimeout": timeout.map_or_else(|| json!("0s"), written)},
        "circuitBreaker": breaker,
        "retry": {"maxAttempts": 1},
    });
    if let Some(capacity) = capacity {
        policy["bulkhead"] = json!({"maxConcurrent": capacity});
    }
    Ok(Import { service: service.to_owned(), policy, notes })
}
