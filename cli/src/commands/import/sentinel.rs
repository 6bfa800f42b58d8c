//! Flow and degrade rules of Sentinel, with their defaults: <https://sentinelguard.io/en-us/docs/circuit-breaking.html>.
//!
//! A list of rules of either kind, or an object with `flowRules` and `degradeRules`. All rules of a resource become one
//! service.

use super::values::{Import, Options, service_name, written};
use crate::message::Fault;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Services = BTreeMap<String, (Map<String, Value>, Vec<String>)>;

pub(super) fn convert(value: Value) -> Result<Vec<Import>, Fault> {
    let rules = match value {
        Value::Array(rules) => rules,
        Value::Object(mut kinds) => {
            let lists = ["flowRules", "degradeRules"].map(|name| kinds.remove(name).unwrap_or_else(|| json!([])));
            lists.into_iter().flat_map(|list| list.as_array().cloned().unwrap_or_default()).collect()
        }
        other => return Err(Fault::at("", format!("must be a list of rules, and is {other}"))),
    };
    let mut services = Services::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let mut options = Options::new(&format!("[{index}]"), rule)?;
        let resource = options.text("resource")?.ok_or_else(|| options.fault("resource", "must be set"))?;
        let (policy, notes) = services.entry(service_name(&resource)).or_default();
        if service_name(&resource) != resource {
            notes.push(format!("the resource is {resource}, which is no name of a service"));
        }
        // A flow rule has no timeWindow, and a degrade rule needs one.
        match options.time("timeWindow", SECOND)? {
            Some(open) => degrade(&mut options, open, policy)?,
            None => flow(&mut options, policy, notes)?,
        }
        if let Some(app) = options.take("limitApp").filter(|app| app != "default") {
            notes.push(format!("limitApp {app} is left out: a policy is for all callers"));
        }
        options.leftovers(notes);
    }
    if services.is_empty() {
        return Err(Fault::at("", "has no rules"));
    }
    let import = |(service, (mut policy, notes)): (String, (Map<String, Value>, Vec<String>))| {
        let is_full = policy.contains_key("bulkhead") || policy.contains_key("rateLimit");
        policy.insert("level".to_owned(), json!(if is_full { "full" } else { "enhanced" }));
        policy.insert("retry".to_owned(), json!({"maxAttempts": 1}));
        policy.insert("timeout".to_owned(), json!({"callTimeout": "0s"}));
        policy.entry("circuitBreaker").or_insert_with(|| json!({"mode": "disabled"}));
        Import { service, policy: Value::Object(policy), notes }
    };
    Ok(services.into_iter().map(import).collect())
}

fn degrade(options: &mut Options, open: Duration, policy: &mut Map<String, Value>) -> Result<(), Fault> {
    let grade = options.count("grade")?.unwrap_or(0);
    let count = options.number("count")?.ok_or_else(|| options.fault("count", "must be set"))?;
    let requests = options.count("minRequestAmount")?.unwrap_or(5);
    let ratio = options.number("slowRatioThreshold")?.unwrap_or(1.0);
    let window = options.time("statIntervalMs", MILLISECOND)?.unwrap_or(SECOND);
    let breaker = policy.entry("circuitBreaker").or_insert_with(|| {
        json!({"consecutiveFailures": 0, "failureRate": 0.0, "slowCallRate": 0.0, "openJitterRatio": 0.0, "successThreshold": 1})
    });
    breaker["timeWindow"] = json!({"length": written(window)});
    breaker["minimumCalls"] = json!(requests);
    breaker["openDuration"] = written(open);
    match grade {
        0 => {
            let slow = Duration::try_from_secs_f64(count / 1_000.0).unwrap_or(Duration::MAX);
            breaker["slowCallDuration"] = written(slow);
            breaker["slowCallRate"] = json!(ratio);
        }
        1 => breaker["failureRate"] = json!(count),
        2 => breaker["failureCount"] = json!(count as u32),
        other => return Err(options.fault("grade", format!("must be 0, 1 or 2, and is {other}"))),
    }
    Ok(())
}

fn flow(options: &mut Options, policy: &mut Map<String, Value>, notes: &mut Vec<String>) -> Result<(), Fault> {
    let grade = options.count("grade")?.unwrap_or(1);
    let count = options.count("count")?.ok_or_else(|| options.fault("count", "must be set"))?;
    let behaviour = options.count("controlBehavior")?.unwrap_or(0);
    let queueing = options.time("maxQueueingTimeMs", MILLISECOND)?.unwrap_or(Duration::from_millis(500));
    if options.take("strategy").is_some_and(|strategy| strategy != 0) {
        notes.push("strategy is left out: a policy is of one service".to_owned());
    }
    if options.take("clusterMode").is_some_and(|mode| mode != false) {
        notes.push("clusterMode is left out: limits are of each instance".to_owned());
    }
    match grade {
        0 => {
            policy.insert("bulkhead".to_owned(), json!({"maxConcurrent": count}));
        }
        1 => {
            let mut limit = json!({"permits": count, "period": "1s"});
            if behaviour & 2 != 0 {
                limit["burst"] = json!(1);
                limit["maxWait"] = written(queueing);
            }
            policy.insert("rateLimit".to_owned(), limit);
        }
        other => return Err(options.fault("grade", format!("must be 0 or 1, and is {other}"))),
    }
    if behaviour & 1 != 0 {
        notes.push(
            "a warm-up has no counterpart for a rate; circuit_breaker.ramp_duration is one after an open breaker"
                .to_owned(),
        );
    }
    Ok(())
}
