use super::{DESCRIPTOR, apply_update, list};
use crate::wire::testing::{cached, degraded, paths, secs, with_chain};
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;
use proptest::prelude::*;
use prost_types::FieldMask;

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }
}

fn retry(max_attempts: u32) -> v1::RetryPolicy {
    v1::RetryPolicy { max_attempts: Some(max_attempts), ..Default::default() }
}

fn breaker(window: Option<Window>) -> v1::IsolationPolicy {
    let breaker = v1::CircuitBreakerPolicy { window, failure_count: Some(1), ..Default::default() };
    v1::IsolationPolicy { circuit_breaker: Some(breaker), ..Default::default() }
}

fn time_window(seconds: i64, buckets: u32) -> Option<Window> {
    Some(Window::TimeWindow(v1::TimeWindow { length: Some(secs(seconds)), buckets }))
}

fn count_window(size: u32) -> Option<Window> {
    Some(Window::CountWindow(v1::CountWindow { size }))
}

/// A policy with many fields set.
fn before() -> v1::IsolationPolicy {
    v1::IsolationPolicy {
        level: v1::IsolationLevel::Full.into(),
        preset: "cache".to_owned(),
        retry: Some(v1::RetryPolicy {
            multiplier: Some(3.0),
            budget: Some(v1::RetryBudget { ratio: Some(0.5), min_per_second: Some(1), ttl: None }),
            retryable_grpc_codes: vec![14],
            ..retry(5)
        }),
        timeout: Some(v1::TimeoutPolicy { call_timeout: Some(secs(9)), ..Default::default() }),
        ..with_chain(vec![cached()])
    }
}

fn updated(patch: &v1::IsolationPolicy, paths: &[&str]) -> v1::IsolationPolicy {
    let mut written = before();
    apply_update(&mut written, patch, Some(&mask(paths))).unwrap();
    written
}

#[test]
fn without_a_mask_the_sections_that_are_set_are_replaced() {
    let patch = v1::IsolationPolicy { retry: Some(retry(2)), ..Default::default() };
    for mask in [None, Some(mask(&[]))] {
        let mut written = before();
        apply_update(&mut written, &patch, mask.as_ref()).unwrap();
        assert_eq!(written, v1::IsolationPolicy { retry: Some(retry(2)), ..before() });
    }
    let mut written = before();
    apply_update(&mut written, &v1::IsolationPolicy::default(), None).unwrap();
    assert_eq!(written, before());
}

#[test]
fn without_a_mask_every_section_can_be_replaced() {
    let patch = v1::IsolationPolicy {
        level: v1::IsolationLevel::None.into(),
        preset: "auth".to_owned(),
        timeout: Some(v1::TimeoutPolicy::default()),
        circuit_breaker: Some(v1::CircuitBreakerPolicy::default()),
        classification: Some(v1::ClassificationPolicy::default()),
        retry: Some(v1::RetryPolicy::default()),
        hedge: Some(v1::HedgePolicy::default()),
        bulkhead: Some(v1::BulkheadPolicy::default()),
        adaptive_limit: Some(v1::AdaptiveLimitPolicy::default()),
        rate_limit: Some(v1::RateLimitPolicy::default()),
        fallback: Some(v1::FallbackPolicy::default()),
        health: Some(v1::HealthPolicy::default()),
        method_overrides: vec![v1::MethodOverride::default()],
        fleet_hint: Some(v1::FleetHintPolicy::default()),
    };
    let mut written = before();
    apply_update(&mut written, &patch, None).unwrap();
    assert_eq!(written, patch);
}

#[test]
fn a_star_replaces_the_whole() {
    let patch = v1::IsolationPolicy { retry: Some(retry(2)), ..Default::default() };
    assert_eq!(updated(&patch, &["*"]), patch);
    let mut written = before();
    let result = apply_update(&mut written, &patch, Some(&mask(&["*", "retry"])));
    assert_eq!(paths(&result), ["update_mask"]);
    assert_eq!(written, before());
}

#[test]
fn a_path_changes_one_field() {
    let patch = v1::IsolationPolicy {
        retry: Some(v1::RetryPolicy {
            budget: Some(v1::RetryBudget { ratio: Some(0.1), ..Default::default() }),
            ..retry(2)
        }),
        ..Default::default()
    };
    let mut expected = before();
    expected.retry.as_mut().unwrap().max_attempts = Some(2);
    assert_eq!(updated(&patch, &["retry.max_attempts"]), expected);
    expected.retry.as_mut().unwrap().budget.as_mut().unwrap().ratio = Some(0.1);
    assert_eq!(updated(&patch, &["retry.budget.ratio", "retry.max_attempts", "retry.max_attempts"]), expected);
}

#[test]
fn a_path_that_the_patch_leaves_unset_is_reset() {
    let unset = v1::IsolationPolicy::default();
    let all = ["level", "preset", "retry.budget.ratio", "retry.retryable_grpc_codes", "fallback.chain", "timeout"];
    let mut expected = before();
    expected.level = 0;
    expected.preset.clear();
    expected.timeout = None;
    expected.fallback = Some(v1::FallbackPolicy::default());
    let retry = expected.retry.as_mut().unwrap();
    retry.retryable_grpc_codes.clear();
    retry.budget.as_mut().unwrap().ratio = None;
    assert_eq!(updated(&unset, &all), expected);
}

#[test]
fn resetting_what_is_not_there_leaves_no_trace() {
    let mut written = breaker(count_window(5));
    let patch = breaker(Some(Window::TimeWindow(v1::TimeWindow { length: Some(secs(5)), buckets: 0 })));
    let paths = mask(&["circuit_breaker.time_window.buckets", "bulkhead.max_queue", "retry.budget.ttl"]);
    apply_update(&mut written, &patch, Some(&paths)).unwrap();
    assert_eq!(written, breaker(count_window(5)));
}

#[test]
fn a_path_makes_its_section() {
    let patch = v1::IsolationPolicy {
        health: Some(v1::HealthPolicy { minimum_calls: Some(0), window: Some(secs(1)), ..Default::default() }),
        ..Default::default()
    };
    let expected = v1::HealthPolicy { minimum_calls: Some(0), ..Default::default() };
    assert_eq!(updated(&patch, &["health.minimum_calls"]).health, Some(expected));
}

#[test]
fn lists_are_replaced_whole() {
    let patch = with_chain(vec![degraded(), cached()]);
    let expected = v1::FallbackPolicy { chain: vec![degraded(), cached()], ..Default::default() };
    assert_eq!(updated(&patch, &["fallback.chain"]).fallback, Some(expected));
}

#[test]
fn one_member_of_a_oneof_clears_the_other() {
    let cases = [
        (count_window(5), time_window(7, 3), "circuit_breaker.time_window", time_window(7, 3)),
        (time_window(7, 3), count_window(5), "circuit_breaker.count_window.size", count_window(5)),
        (time_window(7, 3), time_window(9, 4), "circuit_breaker.time_window.length", time_window(9, 3)),
        (time_window(7, 3), count_window(5), "circuit_breaker.time_window", None),
        (count_window(5), count_window(6), "circuit_breaker.time_window", count_window(5)),
    ];
    for (before, patch, path, after) in cases {
        let mut written = breaker(before);
        apply_update(&mut written, &breaker(patch), Some(&mask(&[path]))).unwrap();
        assert_eq!(written, breaker(after), "{before:?} + {path} of {patch:?}");
    }
    let both = mask(&["circuit_breaker.count_window", "circuit_breaker.time_window"]);
    for window in [time_window(7, 3), count_window(5), None] {
        let mut written = breaker(time_window(1, 1));
        apply_update(&mut written, &breaker(window), Some(&both)).unwrap();
        assert_eq!(written, breaker(window));
    }
}

#[test]
fn an_unknown_path_is_answered_with_the_nearest() {
    let cases = [
        ("retry.max_atempts", "retry.max_attempts"),
        ("max_attempts", "retry.max_attempts"),
        ("retry.maxAttempts", "retry.max_attempts"),
        ("circuitBreaker", "circuit_breaker"),
        ("breaker.open_duration", "circuit_breaker.open_duration"),
        ("timeout.call_timeout.seconds", "timeout.call_timeout"),
        ("fallback.chain[0]", "fallback.chain"),
        ("fallback.chain.static", "fallback.chain"),
        ("bulkhead.pools.name", "bulkhead.pools"),
        ("retry.*", "retry"),
        ("lvel", "level"),
    ];
    for (path, nearest) in cases {
        let mut written = before();
        let result = apply_update(&mut written, &v1::IsolationPolicy::default(), Some(&mask(&["level", path])));
        let invalid = result.unwrap_err();
        let [violation] = invalid.violations() else { panic!("{path}: {invalid}") };
        assert_eq!(violation.path, "update_mask");
        assert!(violation.description.ends_with(&format!("did you mean {nearest}?")), "{path}: {violation}");
        assert_eq!(written, before());
    }
}

#[test]
fn nonsense_is_refused_and_not_repeated_at_length() {
    for path in ["", ".", "retry.", ".retry", "retry..budget", "retry max_attempts", "1", "\0", "level.name"] {
        let result = apply_update(&mut before(), &v1::IsolationPolicy::default(), Some(&mask(&[path])));
        assert_eq!(paths(&result), ["update_mask"], "{path:?}");
    }
    let many: Vec<String> = (0..1000).map(|index| format!("{index}{}", "x".repeat(10_000))).collect();
    let result = apply_update(&mut before(), &v1::IsolationPolicy::default(), Some(&FieldMask { paths: many }));
    assert_eq!(paths(&result), ["update_mask"; 8]);
    assert!(result.unwrap_err().to_string().len() < 2000);
}

#[test]
fn a_policy_that_nests_too_deep_is_refused() {
    let mut deep = v1::IsolationPolicy::default();
    for _ in 0..200 {
        let inner = v1::MethodOverride { policy: Some(deep), ..Default::default() };
        deep = v1::IsolationPolicy { method_overrides: vec![inner], ..Default::default() };
    }
    let result = apply_update(&mut before(), &deep, Some(&mask(&["method_overrides"])));
    assert_eq!(paths(&result), ["update_mask"]);
}

fn every_path() -> Vec<String> {
    let mut paths = Vec::new();
    list(DESCRIPTOR.as_ref().unwrap(), "", &mut paths);
    paths
}

#[test]
fn the_contract_has_the_paths_that_people_expect() {
    let paths = every_path();
    assert!(paths.len() > 80, "{}", paths.len());
    for path in ["level", "retry.budget.ratio", "circuit_breaker.time_window.length", "bulkhead.pools", "fallback.on"] {
        assert!(paths.iter().any(|known| known == path), "{path}");
    }
}

proptest! {
    /// Every path of a policy that has all fields set, applied to an empty one, makes it over field by field.
    #[test]
    fn all_paths_together_make_the_whole(policy in crate::wire::testing::policy()) {
        let patch = crate::wire::to_wire(&policy);
        let leaves: Vec<String> = {
            let all = every_path();
            all.iter().filter(|path| !all.iter().any(|other| other.starts_with(&format!("{path}.")))).cloned().collect()
        };
        let mut written = v1::IsolationPolicy::default();
        apply_update(&mut written, &patch, Some(&FieldMask { paths: leaves })).unwrap();
        prop_assert_eq!(written, patch);
    }
}
