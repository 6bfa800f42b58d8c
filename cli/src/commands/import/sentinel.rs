//! Flow and degrade rules of Sentinel, with their defaults: <https://sentinelguard.io/en-us/docs/circuit-breaking.html>.
//!
//! A list of rules of either kind, or an object with `flowRules` and `degradeRules`. All rules of a resource become one
//! service.

use super::both;
use super::values::{Import, Options, above, service_name, written};
use crate::message::Fault;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Services = BTreeMap<String, (Map<String, Value>, Vec<String>)>;

pub(super) fn convert(value: Value) -> Result<Vec<Import>, Fault> {
    let mut unknown = Vec::new();
    let rules = match value {
        Value::Array(rules) => rules,
        Value::Object(mut kinds) => {
            let mut rules = Vec::new();
            for name in ["flowRules", "degradeRules"] {
                match kinds.remove(name) {
                    None | Some(Value::Null) => {}
                    Some(Value::Array(list)) => rules.extend(list),
                    Some(other) => return Err(Fault::at(name, format!("must be a list of rules, and is {other}"))),
                }
            }
            unknown.extend(
                kinds.into_iter().map(|(name, _)| format!("{name} of the file has no counterpart and is left out")),
            );
            rules
        }
        other => return Err(Fault::at("", format!("must be a list of rules, and is {other}"))),
    };
    let (mut services, mut resources) = (Services::new(), BTreeMap::new());
    for (index, rule) in rules.into_iter().enumerate() {
        let mut options = Options::new(&format!("[{index}]"), rule)?;
        let resource = options.text("resource")?.ok_or_else(|| options.fault("resource", "must be set"))?;
        let name = service_name(&resource);
        if let Some(other) = resources.insert(name.clone(), resource.clone()).filter(|other| *other != resource) {
            return Err(options.fault("resource", both(&other, &resource, &name)));
        }
        let (policy, notes) = services.entry(name).or_default();
        if service_name(&resource) != resource {
            notes.push(format!("the resource is {resource}, which is no name of a service"));
        }
        // A flow rule has no timeWindow, and a degrade rule needs one.
        match options.time("timeWindow", SECOND)? {
            Some(open) => degrade(&mut options, open, policy, notes)?,
            None => flow(&mut options, policy, notes)?,
        }
        if let Some(app) = options.take("limitApp").filter(|app| app != "default") {
            notes.push(format!("limitApp {app} is left out: a policy is for all callers"));
        }
        options.leftovers(notes);
    }
    let Some((_, first)) = services.values_mut().next() else { return Err(Fault::at("", "has no rules")) };
    first.extend(unknown);
    let import = |(service, (mut policy, notes)): (String, (Map<String, Value>, Vec<String>))| {
        let is_full = policy.contains_key("bulkhead") || policy.contains_key("rateLimit");
        policy.insert("level".to_owned(), json!(if is_full { "full" } else { "enhanced" }));
        policy.insert("retry".to_owned(), json!({"maxAttempts": 1}));
        policy.insert("timeout".to_owned(), json!({"callTimeout": "0s"}));
        let breaker =
            policy.remove("circuitBreaker").map_or_else(|| json!({"mode": "disabled"}), breaker_with_defaults);
        policy.insert("circuitBreaker".to_owned(), breaker);
        Import { service, policy: Value::Object(policy), notes }
    };
    Ok(services.into_iter().map(import).collect())
}

fn degrade(
    options: &mut Options,
    open: Duration,
    policy: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let grade = options.count("grade")?.unwrap_or(0);
    let count = options.number("count")?.ok_or_else(|| options.fault("count", "must be set"))?;
    let requests = options.count("minRequestAmount")?.unwrap_or(5);
    let ratio = options.number("slowRatioThreshold")?.unwrap_or(1.0);
    let window = options.time("statIntervalMs", MILLISECOND)?.unwrap_or(SECOND);
    // A rule opens above its numbers, a policy at them. And zero would be off in a policy.
    let thresholds = match grade {
        0 => {
            // Whole milliseconds, as Sentinel counts them.
            let millis = count.round() + 1.0;
            let slow = Duration::try_from_secs_f64(millis / 1_000.0).unwrap_or(Duration::MAX);
            let slow_is = json!(written(slow));
            notes.push(format!(
                "a call is slow above the count of {count}: written as a slowCallDuration of {millis}ms"
            ));
            // The exception: where the share is one, all calls are enough.
            let rate = above(ratio);
            if ratio < 1.0 {
                notes.push(format!("slowRatioThreshold {ratio} is opened above: written as a slowCallRate of {rate}"));
            }
            vec![("slowCallDuration", slow_is), ("slowCallRate", json!(rate))]
        }
        1 | 2 if count == 0.0 => {
            notes
                .push(format!("count 0 of grade {grade} opens at the first exception: written as a failureCount of 1"));
            vec![("failureCount", json!(1))]
        }
        1 if count >= 1.0 => {
            notes.push(format!(
                "count {count} of grade 1 never opens, for no share is above it: written as a failureRate of 0, which is off"
            ));
            vec![("failureRate", json!(0.0))]
        }
        1 => {
            let rate = above(count);
            notes.push(format!(
                "a rule of grade 1 opens above its count of {count}: written as a failureRate of {rate}"
            ));
            vec![("failureRate", json!(rate))]
        }
        2 if count.fract() == 0.0 && (1.0..f64::from(u32::MAX)).contains(&count) => {
            let failures = count as u32 + 1;
            notes.push(format!(
                "a rule of grade 2 opens above its count of {count}: written as a failureCount of {failures}"
            ));
            vec![("failureCount", json!(failures))]
        }
        2 => {
            return Err(options.fault("count", format!("must be a whole number where grade is 2, and is {count}")));
        }
        other => return Err(options.fault("grade", format!("must be 0, 1 or 2, and is {other}"))),
    };
    let terms = [
        ("timeWindow", json!({"length": written(window)})),
        ("minimumCalls", json!(requests)),
        ("openDuration", json!(written(open))),
    ];
    // A rule of another grade adds its threshold to the one breaker that there is.
    let breaker = policy.entry("circuitBreaker").or_insert_with(|| json!({}));
    if thresholds.iter().any(|(name, _)| breaker.get(name).is_some()) {
        notes.push(format!("a second degrade rule of grade {grade} is left out: a service has one breaker"));
        return Ok(());
    }
    for (name, value) in terms {
        match breaker.get(name) {
            Some(first) if *first != value => {
                notes.push(format!("{name} {value} of a second degrade rule is left out"))
            }
            Some(_) => {}
            None => breaker[name] = value,
        }
    }
    for (name, value) in thresholds {
        breaker[name] = value;
    }
    Ok(())
}

/// What Sentinel does by default, where no rule has said anything else.
fn breaker_with_defaults(breaker: Value) -> Value {
    let mut all = json!({
        "consecutiveFailures": 0, "failureRate": 0.0, "slowCallRate": 0.0, "openJitterRatio": 0.0, "successThreshold": 1
    });
    if let (Value::Object(all), Value::Object(said)) = (&mut all, breaker) {
        all.extend(said);
    }
    all
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
    let section = if grade == 0 { "bulkhead" } else { "rateLimit" };
    if policy.contains_key(section) {
        notes.push(format!("a second flow rule of grade {grade} is left out: a service has one limit of a kind"));
        return Ok(());
    }
    match grade {
        0 | 1 if count == 0 => {
            notes.push("count 0 lets no call through: written as a breaker that is forced open".to_owned());
            let breaker = policy.entry("circuitBreaker").or_insert_with(|| json!({}));
            breaker["mode"] = json!("forced-open");
        }
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
