//! The fallback configuration that isolation managers in Go keep as JSON: durations as integer nanoseconds, as Go encodes
//! them, or as "1s".

use super::values::{Import, Options, written};
use crate::message::Fault;
use cofferdam_server::http::seed_fallback::{Data, step};
use serde_json::{Map, Value, json};
use std::time::Duration;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// What the default level is taken from: breaker, retries and alternative are in force from enhanced.
pub(super) fn convert(value: Value, service: Option<&str>) -> Result<Vec<Import>, Fault> {
    let is_one = value.get("strategy").is_some() || value.get("enabled").is_some();
    match (service, value) {
        (Some(service), value) => Ok(vec![one(service, "", value)?]),
        (None, Value::Object(services)) if !is_one => {
            services.into_iter().map(|(service, value)| one(&service, &service, value)).collect()
        }
        (None, _) => Err(Fault::at("", "does not say of which service it is: give --service NAME")),
    }
}

fn one(service: &str, path: &str, value: Value) -> Result<Import, Fault> {
    let mut options = Options::new(path, value)?;
    let mut notes = Vec::new();
    let mut policy = Map::new();
    let breaker = options.flag("circuit_breaker")?;
    let strategy = options.text("strategy")?;
    let retries = options.count("max_retries")?;
    let (says_retries, retries) = (retries.is_some(), retries.unwrap_or_default());
    let needs_enhanced = breaker == Some(true) || strategy.as_deref() == Some("alternative") || retries > 0;
    let level = match options.text("level")? {
        Some(level) => {
            if needs_enhanced && matches!(level.as_str(), "none" | "basic") {
                notes.push(format!(
                    "breaker, retries and alternative are not in force at level {level}, but from enhanced"
                ));
            }
            level
        }
        None if needs_enhanced => "enhanced".to_owned(),
        None => "basic".to_owned(),
    };
    policy.insert("level".to_owned(), Value::String(level));
    let data = options.take("fallback_data");
    let mut fallback = Map::new();
    if let Some(enabled) = options.flag("enabled")? {
        fallback.insert("enabled".to_owned(), Value::Bool(enabled));
    }
    if let Some(strategy) = strategy {
        let text = data.as_ref().map(Value::to_string).unwrap_or_default();
        let data = match &data {
            None => None,
            Some(Value::Object(fields)) => Some(Data { fields, text: &text }),
            Some(other) => return Err(options.fault("fallback_data", format!("must be an object, and is {other}"))),
        };
        let step = step(&strategy, data).map_err(|what| options.fault("strategy", what))?;
        let note =
            |name: &String| format!("fallback_data.{name} means nothing to the strategy {strategy} and is left out");
        notes.extend(step.unused.iter().map(note));
        fallback.insert("chain".to_owned(), json!([step.step]));
    } else if data.is_some() {
        notes.push("fallback_data without a strategy is left out".to_owned());
    }
    if !fallback.is_empty() {
        policy.insert("fallback".to_owned(), Value::Object(fallback));
    }
    let mut retry = Map::new();
    if says_retries {
        retry.insert("maxAttempts".to_owned(), json!(retries.saturating_add(1)));
    }
    if let Some(delay) = options.time("retry_delay", NANOSECOND)? {
        retry.insert("initialBackoff".to_owned(), written(delay));
    }
    if !retry.is_empty() {
        policy.insert("retry".to_owned(), Value::Object(retry));
    }
    if let Some(timeout) = options.time("timeout", NANOSECOND)? {
        if timeout.is_zero() {
            notes.push("timeout 0 is written as no limit of our own".to_owned());
        }
        policy.insert("timeout".to_owned(), json!({"callTimeout": written(timeout)}));
    }
    if breaker == Some(false) {
        notes.push("circuit_breaker false is written as a breaker that is switched off".to_owned());
        policy.insert("circuitBreaker".to_owned(), json!({"mode": "disabled"}));
    }
    options.leftovers(&mut notes);
    Ok(Import { service: service.to_owned(), policy: Value::Object(policy), notes })
}
