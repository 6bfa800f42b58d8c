//! Spring configuration of resilience4j, with its defaults: <https://resilience4j.readme.io/docs/getting-started-3>.
//!
//! Each instance of any module becomes a service of its name; `configs` and `baseConfig` are followed. A time limiter is around
//! each attempt there, for the order of the modules is Retry(CircuitBreaker(RateLimiter(TimeLimiter(Bulkhead(call))))).

use super::PROPERTIES;
use super::spring::merged;
use super::values::{Import, Options, written};
use crate::message::Fault;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The modules that have a counterpart.
const MODULES: &[&str] = &["circuitbreaker", "retry", "bulkhead", "ratelimiter", "timelimiter"];

/// How far `baseConfig` is followed: a circle ends there.
const MAX_BASES: usize = 8;

/// What a document says, or a list of documents.
pub(super) fn convert(value: Value) -> Result<Vec<Import>, Fault> {
    let documents = match value {
        Value::Array(documents) => documents,
        one => vec![one],
    };
    if documents.iter().any(Value::is_string) {
        return Err(Fault::at("", PROPERTIES));
    }
    let (value, mut unknown) = merged(documents);
    let value = value.get("resilience4j").cloned().unwrap_or(value);
    let mut modules = Options::new("", value)?;
    let mut services = BTreeMap::<String, (Map<String, Value>, Vec<String>)>::new();
    for module in MODULES {
        let Some(value) = modules.take(module) else { continue };
        for (service, options) in instances(module, value)? {
            let (policy, notes) = services.entry(service).or_default();
            section(module, options, policy, notes)?;
        }
    }
    modules.leftovers(&mut unknown);
    if services.is_empty() {
        return Err(Fault::at("", format!("has no instances of {}", MODULES.join(", "))));
    }
    let import = |(service, (mut policy, mut notes)): (String, (Map<String, Value>, Vec<String>))| {
        let is_full = policy.contains_key("bulkhead") || policy.contains_key("rateLimit");
        policy.insert("level".to_owned(), json!(if is_full { "full" } else { "enhanced" }));
        policy.entry("retry").or_insert_with(|| json!({"maxAttempts": 1}));
        policy.entry("timeout").or_insert_with(|| json!({"callTimeout": "0s"}));
        policy.entry("circuitBreaker").or_insert_with(|| json!({"mode": "disabled"}));
        notes.extend(unknown.iter().cloned());
        Import { service, policy: Value::Object(policy), notes }
    };
    Ok(services.into_iter().map(import).collect())
}

/// The instances of a module, each with what its configuration brings.
fn instances(module: &str, value: Value) -> Result<Vec<(String, Options)>, Fault> {
    let mut parts = Options::new(module, value)?;
    let configs = match parts.take("configs") {
        Some(Value::Object(configs)) => configs,
        _ => Map::new(),
    };
    let Some(Value::Object(instances)) = parts.take("instances").or_else(|| parts.take("backends")) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (service, value) in instances {
        let mut options = Options::new(&format!("{module}.instances.{service}"), value)?;
        let mut base =
            options.text("baseConfig")?.or_else(|| configs.contains_key("default").then(|| "default".to_owned()));
        for _ in 0..MAX_BASES {
            let Some(name) = base.take() else { break };
            let config = configs.get(&name).cloned();
            let config = config.ok_or_else(|| options.fault("baseConfig", format!("there is no config {name}")))?;
            let mut config = Options::new(&format!("{module}.configs.{name}"), config)?;
            base = config.text("baseConfig")?;
            options.inherit(&config);
        }
        found.push((service, options));
    }
    Ok(found)
}

fn section(
    module: &str,
    mut options: Options,
    policy: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let (name, value) = match module {
        "circuitbreaker" => {
            if let Some(types) = error_types(&mut options, notes)? {
                policy.insert("classification".to_owned(), json!({"errorTypes": types}));
            }
            ("circuitBreaker", breaker(&mut options, notes)?)
        }
        "retry" => ("retry", retry(&mut options)?),
        "bulkhead" => {
            let places = options.count("maxConcurrentCalls")?.unwrap_or(25);
            let wait = options.time("maxWaitDuration", MILLISECOND)?.unwrap_or_default();
            let queue = if wait.is_zero() { 0 } else { places };
            ("bulkhead", json!({"maxConcurrent": places, "maxWait": written(wait), "maxQueue": queue}))
        }
        "ratelimiter" => {
            let permits = options.count("limitForPeriod")?.unwrap_or(50);
            let period = options.time("limitRefreshPeriod", MILLISECOND)?.unwrap_or(Duration::from_nanos(500));
            let wait = options.time("timeoutDuration", MILLISECOND)?.unwrap_or(Duration::from_secs(5));
            ("rateLimit", json!({"permits": permits, "period": written(period), "maxWait": written(wait)}))
        }
        _ => {
            let timeout = options.time("timeoutDuration", MILLISECOND)?.unwrap_or(Duration::from_secs(1));
            options.take("cancelRunningFuture");
            ("timeout", json!({"attemptTimeout": written(timeout), "callTimeout": "0s"}))
        }
    };
    policy.insert(name.to_owned(), value);
    options.leftovers(notes);
    Ok(())
}

/// What exceptions mean to the breaker. `None`: nothing is said of any.
fn error_types(options: &mut Options, notes: &mut Vec<String>) -> Result<Option<Vec<Value>>, Fault> {
    let (failures, ignored) = (options.names("recordExceptions")?, options.names("ignoreExceptions")?);
    if !failures.is_empty() {
        let words = "recordExceptions are failures here as well; exceptions that are not among them are successes there, and here \
                     what classification says of them";
        notes.push(words.to_owned());
    }
    let rule = |outcome: &'static str| move |name: String| json!({"typeName": name, "outcome": outcome});
    // Where a type is in both, it is ignored.
    let failures = failures.into_iter().filter(|name| !ignored.contains(name)).collect::<Vec<_>>();
    let types: Vec<_> =
        failures.into_iter().map(rule("failure")).chain(ignored.into_iter().map(rule("neutral"))).collect();
    Ok(Some(types).filter(|types| !types.is_empty()))
}

/// How many of so many probes may fail: the share of those that do stays below the threshold.
fn allowed(probes: u32, percent: f64) -> u32 {
    let reached = (f64::from(probes) * percent / 100.0).ceil() as u32;
    reached.saturating_sub(1).min(probes)
}

fn breaker(options: &mut Options, notes: &mut Vec<String>) -> Result<Value, Fault> {
    let size = options.count("slidingWindowSize")?.unwrap_or(100);
    let window = match options.text("slidingWindowType")?.as_deref() {
        None | Some("COUNT_BASED") => ("countWindow", json!({"size": size})),
        Some("TIME_BASED") => ("timeWindow", json!({"length": format!("{size}s"), "buckets": size.clamp(1, 60)})),
        Some(other) => {
            return Err(
                options.fault("slidingWindowType", format!("must be COUNT_BASED or TIME_BASED, and is {other}"))
            );
        }
    };
    let calls = options.count("minimumNumberOfCalls")?.unwrap_or(100);
    // A window of calls that never holds so many would never trip.
    let calls = if window.0 == "countWindow" { calls.min(size) } else { calls };
    let probes = options.count("permittedNumberOfCallsInHalfOpenState")?.unwrap_or(10);
    let failures = options.number("failureRateThreshold")?.unwrap_or(50.0);
    let allowed = allowed(probes, failures);
    if allowed > 0 {
        notes.push(format!(
            "{allowed} of {probes} probes may fail, as there; here a breaker closes after {probes} successes in a row, and there \
             when {probes} probes have ended"
        ));
    }
    let mut breaker = json!({
        "minimumCalls": calls,
        "consecutiveFailures": 0,
        "failureRate": failures / 100.0,
        "slowCallRate": options.number("slowCallRateThreshold")?.unwrap_or(100.0) / 100.0,
        "slowCallDuration": written(options.time("slowCallDurationThreshold", MILLISECOND)?.unwrap_or(Duration::from_secs(60))),
        "openDuration": written(options.time("waitDurationInOpenState", MILLISECOND)?.unwrap_or(Duration::from_secs(60))),
        "openJitterRatio": 0.0,
        "halfOpenMaxInFlight": probes,
        "successThreshold": probes.max(1),
        "halfOpenAllowedFailures": allowed,
    });
    breaker[window.0] = window.1;
    let grows = options.flag("enableExponentialBackoff")?.unwrap_or(false);
    let multiplier = options.number("exponentialBackoffMultiplier")?.unwrap_or(1.5);
    let longest = options.time("exponentialMaxWaitDurationInOpenState", MILLISECOND)?;
    if grows {
        breaker["openBackoffMultiplier"] = json!(multiplier);
        match longest {
            Some(longest) => breaker["maxOpenDuration"] = json!(written(longest)),
            None => notes.push("the open time grows without an end there, and up to maxOpenDuration here".to_owned()),
        }
    }
    for known in ["registerHealthIndicator", "eventConsumerBufferSize", "automaticTransitionFromOpenToHalfOpenEnabled"]
    {
        options.take(known);
    }
    Ok(breaker)
}

fn retry(options: &mut Options) -> Result<Value, Fault> {
    let attempts = options.count("maxAttempts")?.unwrap_or(3);
    let wait = options.time("waitDuration", MILLISECOND)?.unwrap_or(Duration::from_millis(500));
    let grows = options.flag("enableExponentialBackoff")?.unwrap_or(false);
    let multiplier = options.number("exponentialBackoffMultiplier")?.unwrap_or(1.5);
    let longest = options.time("exponentialMaxWaitDuration", MILLISECOND)?;
    let is_random = options.flag("enableRandomizedWait")?.unwrap_or(false);
    let ratio = options.number("randomizedWaitFactor")?.unwrap_or(0.5);
    let mut retry = json!({
        "maxAttempts": attempts,
        "initialBackoff": written(wait),
        "multiplier": if grows { multiplier } else { 1.0 },
        "jitter": if is_random { "plus-minus" } else { "none" },
        "onlyIdempotent": false,
    });
    if is_random {
        retry["jitterRatio"] = json!(ratio);
    }
    if let Some(longest) = longest {
        retry["maxBackoff"] = written(longest);
    }
    Ok(retry)
}
