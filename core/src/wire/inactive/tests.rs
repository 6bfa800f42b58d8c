use super::inactive_fields;
use crate::level::Level;
use crate::wire::testing::{alternative, cached, secs, with_chain};
use cofferdam_proto::v1;

fn everything() -> v1::IsolationPolicy {
    v1::IsolationPolicy {
        level: 1,
        preset: "database".to_owned(),
        timeout: Some(v1::TimeoutPolicy::default()),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            ramp_duration: Some(secs(0)),
            ramp_min_ratio: Some(0.5),
            ..Default::default()
        }),
        classification: Some(v1::ClassificationPolicy::default()),
        retry: Some(v1::RetryPolicy::default()),
        hedge: Some(v1::HedgePolicy::default()),
        bulkhead: Some(v1::BulkheadPolicy::default()),
        adaptive_limit: Some(v1::AdaptiveLimitPolicy::default()),
        rate_limit: Some(v1::RateLimitPolicy::default()),
        health: Some(v1::HealthPolicy::default()),
        fleet_hint: Some(v1::FleetHintPolicy::default()),
        ..with_chain(vec![cached(), alternative("backup")])
    }
}

#[test]
fn each_level_leaves_out_what_the_levels_above_it_add() {
    let full = ["hedge", "bulkhead", "adaptive_limit", "rate_limit"];
    assert_eq!(
        inactive_fields(&everything(), Level::None),
        ["timeout", "circuit_breaker", "retry", full[0], full[1], full[2], full[3], "fallback", "fleet_hint"]
    );
    assert_eq!(
        inactive_fields(&everything(), Level::Basic),
        ["circuit_breaker", "retry", full[0], full[1], full[2], full[3], "fallback.chain[1].alternative", "fleet_hint"]
    );
    let ramp = ["circuit_breaker.ramp_duration", "circuit_breaker.ramp_min_ratio"];
    assert_eq!(inactive_fields(&everything(), Level::Enhanced), [ramp[0], ramp[1], full[0], full[1], full[2], full[3]]);
    assert_eq!(inactive_fields(&everything(), Level::Full), [""; 0]);
}

#[test]
fn overrides_are_looked_into() {
    let section = |policy| v1::MethodOverride { glob: "*".to_owned(), policy: Some(policy), ..Default::default() };
    let retry = v1::IsolationPolicy { retry: Some(v1::RetryPolicy::default()), ..Default::default() };
    let overrides = vec![section(retry), section(with_chain(vec![alternative("backup")])), section(everything())];
    let written = v1::IsolationPolicy { method_overrides: overrides, ..Default::default() };
    let path = |index: usize, path: &str| format!("method_overrides[{index}].policy.{path}");
    let mut expected = vec![path(0, "retry"), path(1, "fallback.chain[0].alternative")];
    expected.extend(inactive_fields(&everything(), Level::Basic).iter().map(|inner| path(2, inner)));
    assert_eq!(inactive_fields(&written, Level::Basic), expected);
}

#[test]
fn what_was_not_written_is_not_listed() {
    let preset = v1::IsolationPolicy { preset: "database".to_owned(), ..Default::default() };
    for level in Level::ALL {
        assert_eq!(inactive_fields(&preset, level), [""; 0]);
    }
}
