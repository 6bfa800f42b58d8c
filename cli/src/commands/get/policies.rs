use super::super::session::{ServiceName, Session, lacks};
use super::services::{documents, level, name_of, revision, shown_fields};
use super::{Error, Listing};
use crate::message::{duration, short_name};
use crate::output::{Cell, Table, Yielding, std_duration};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

const COLUMNS: &[&str] =
    &["NAME", "LEVEL", "PRESET", "TIMEOUT", "ATTEMPTS", "BREAKER", "OPEN FOR", "FALLBACK", "BULKHEAD", "RATE", "REV"];

/// What gives way on a narrow terminal.
const YIELDING: &[Yielding] = &[
    ("REV", 0),
    ("OPEN FOR", 0),
    ("BULKHEAD", 0),
    ("RATE", 0),
    ("FALLBACK", 12),
    ("PRESET", 0),
    ("BREAKER", 12),
    ("ATTEMPTS", 0),
    ("FALLBACK", 0),
    ("TIMEOUT", 0),
];

/// What the table shows of a service.
const FIELDS: &[&str] = &[
    "service.namespace",
    "service.name",
    "policy.level",
    "policy.timeout",
    "policy.retry",
    "policy.circuit_breaker",
    "policy.fallback",
    "policy.bulkhead",
    "policy.rate_limit",
    "written_policy.level",
    "written_policy.preset",
    "revision",
    "temporary_level",
];

/// Lists the policies in force.
pub(super) async fn list(names: &[ServiceName], session: &Session<'_>) -> Result<Listing, Error> {
    if session.format.is_document() {
        return documents(COLUMNS, names, session).await;
    }
    let mut listing = Listing {
        table: Table::new(COLUMNS).yielding(YIELDING),
        names: Vec::new(),
        documents: Vec::new(),
        notes: Vec::new(),
    };
    let mut take = |isolated: v1::IsolatedService, containment: Option<v1::Containment>| {
        let name = name_of(&isolated, session);
        listing.table.push(row(&name, isolated, containment.as_ref()));
        listing.names.push(name);
    };
    let mut stale_for = None;
    if names.is_empty() {
        stale_for = session.client.each_service(&session.namespace, shown_fields(FIELDS, session), take).await?;
    } else {
        for name in names {
            let info = session.info(name).await?;
            stale_for = stale_for.or(info.stale_for);
            info.service.into_iter().for_each(|isolated| take(isolated, info.containment.clone()));
        }
    }
    listing.notes = lacks(stale_for, &[]);
    Ok(listing)
}

fn row(name: &str, isolated: v1::IsolatedService, containment: Option<&v1::Containment>) -> Vec<Cell> {
    let level = level(&isolated);
    let policy = isolated.policy.unwrap_or_default();
    let breaker = policy.circuit_breaker.unwrap_or_default();
    let time = |wire| std_duration(wire).map_or_else(String::new, duration);
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    let rate_limit = policy.rate_limit.filter(|limit| limit.permits > 0);
    vec![
        name.into(),
        level.into(),
        isolated.written_policy.map(|policy| policy.preset).unwrap_or_default().into(),
        time(policy.timeout.and_then(|timeout| timeout.call_timeout)).into(),
        number(policy.retry.and_then(|retry| retry.max_attempts)).into(),
        triggers(&breaker).into(),
        time(breaker.open_duration).into(),
        policy.fallback.as_ref().map(chain).unwrap_or_default().into(),
        number(policy.bulkhead.and_then(|bulkhead| bulkhead.max_concurrent)).into(),
        rate_limit.map_or_else(String::new, |limit| format!("{}/{}", limit.permits, time(limit.period))).into(),
        revision(isolated.revision, containment),
    ]
}

/// What trips a breaker, in short.
fn triggers(breaker: &v1::CircuitBreakerPolicy) -> String {
    match breaker.mode() {
        v1::BreakerMode::Unspecified | v1::BreakerMode::Auto => {}
        mode => return short_name(mode.as_str_name(), "BREAKER_MODE_"),
    }
    let on = |share: Option<f64>| share.filter(|share| *share > 0.0);
    let percent = |share: f64| format!("{:.0}%", share * 100.0);
    let slow = breaker.slow_call_duration.is_some_and(|slow| slow != prost_types::Duration::default());
    let triggers = [
        breaker.consecutive_failures.filter(|failures| *failures > 0).map(|failures| format!("{failures} in a row")),
        breaker.failure_count.filter(|failures| *failures > 0).map(|failures| format!("{failures} failures")),
        on(breaker.failure_rate).map(percent),
        on(breaker.slow_call_rate).filter(|_| slow).map(|share| format!("{} slow", percent(share))),
    ];
    triggers.into_iter().flatten().collect::<Vec<_>>().join(" or ")
}

/// The steps of a fallback, in order.
pub(in crate::commands) fn chain(fallback: &v1::FallbackPolicy) -> String {
    if fallback.enabled == Some(false) {
        return "off".to_owned();
    }
    let step = |step: &v1::FallbackStep| match &step.strategy {
        Some(Strategy::Static(_)) => "static".to_owned(),
        Some(Strategy::Cached(_)) => "cached".to_owned(),
        Some(Strategy::Alternative(alternative)) => format!("alternative:{}", alternative.service),
        Some(Strategy::Degraded(_)) => "degraded".to_owned(),
        None => "?".to_owned(),
    };
    fallback.chain.iter().map(step).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::read;
    use serde_json::json;

    #[test]
    fn what_trips_a_breaker_is_said_in_short() {
        let breaker = |value| {
            triggers(&read::<v1::IsolationPolicy>(json!({"circuitBreaker": value})).unwrap().circuit_breaker.unwrap())
        };
        assert_eq!(
            breaker(json!({"consecutiveFailures": 5, "failureRate": 0.5, "slowCallRate": 1.0})),
            "5 in a row or 50%"
        );
        let slow = json!({"slowCallDuration": "1s", "slowCallRate": 0.8, "failureCount": 3});
        assert_eq!(breaker(slow), "3 failures or 80% slow");
        assert_eq!(breaker(json!({"consecutiveFailures": 5, "mode": "forced-open"})), "forced-open");
        assert_eq!(breaker(json!({"failureRate": 0})), "");
    }

    #[test]
    fn a_chain_is_its_steps_in_order() {
        let fallback =
            |value| chain(&read::<v1::IsolationPolicy>(json!({"fallback": value})).unwrap().fallback.unwrap());
        let steps = json!([{"cached": {}}, {"alternative": {"service": "backup"}}, {"static": {}}]);
        assert_eq!(fallback(json!({"chain": steps})), "cached,alternative:backup,static");
        assert_eq!(fallback(json!({"enabled": false, "chain": [{"cached": {}}]})), "off");
    }
}
