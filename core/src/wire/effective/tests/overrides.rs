//! Overrides for methods, from the wire and back.

use crate::policy::{BudgetPolicy, InvalidPolicy, Policy, RateLimitPolicy};
use crate::wire::testing::{paths, secs};
use crate::wire::{aim_from_wire, effective_policy, policy_hash, to_wire};
use cofferdam_proto::v1;
use std::time::Duration;

fn entry(glob: &str, policy: v1::IsolationPolicy) -> v1::MethodOverride {
    v1::MethodOverride { glob: glob.to_owned(), policy: Some(policy), ..Default::default() }
}

fn with(method_overrides: Vec<v1::MethodOverride>) -> v1::IsolationPolicy {
    v1::IsolationPolicy { method_overrides, ..Default::default() }
}

fn breaker(open_seconds: i64) -> v1::IsolationPolicy {
    let section = v1::CircuitBreakerPolicy { open_duration: Some(secs(open_seconds)), ..Default::default() };
    v1::IsolationPolicy { circuit_breaker: Some(section), ..Default::default() }
}

fn of(policy: &Policy, number: usize) -> Policy {
    policy.overridden(number).unwrap()
}

/// What a part has learned, and what is ordered of it, is found by its glob.
#[test]
fn a_slash_at_the_front_of_a_glob_makes_no_other_part() {
    let [with_it, without] = ["/pkg.S/Get*", "pkg.S/Get*"].map(|glob| {
        let target = v1::BreakerTarget { method_glob: glob.to_owned(), ..Default::default() };
        (
            effective_policy(&with(vec![entry(glob, breaker(4))])).unwrap(),
            aim_from_wire("target", Some(&target)).unwrap(),
        )
    });
    assert_eq!(with_it, without);
    assert_eq!(policy_hash(&with_it.0), policy_hash(&without.0));
}

#[test]
fn a_section_that_is_set_is_replaced_whole_and_the_rest_inherited() {
    let written = v1::IsolationPolicy {
        circuit_breaker: Some(v1::CircuitBreakerPolicy { consecutive_failures: Some(7), ..Default::default() }),
        timeout: Some(v1::TimeoutPolicy { call_timeout: Some(secs(9)), ..Default::default() }),
        ..with(vec![entry("Get*", breaker(4))])
    };
    let policy = effective_policy(&written).unwrap();
    let own = of(&policy, 0);
    assert_eq!((own.breaker.open_duration, own.breaker.consecutive_failures), (Duration::from_secs(4), 5));
    assert_eq!(own.timeout, policy.timeout);
    assert!(own.method_overrides.is_empty());
    assert_eq!(policy.overridden(1), None);
}

#[test]
fn a_preset_fills_what_a_replaced_section_leaves_unset() {
    let written = v1::IsolationPolicy { preset: "database".to_owned(), ..with(vec![entry("Get*", breaker(4))]) };
    let own = of(&effective_policy(&written).unwrap(), 0);
    assert_eq!((own.breaker.open_duration, own.breaker.failure_count), (Duration::from_secs(4), 3));
    assert_eq!(own.bulkhead.pools.len(), 2, "inherited");
    let bulkhead = v1::BulkheadPolicy { max_concurrent: Some(3), ..Default::default() };
    let bulkhead = v1::IsolationPolicy { bulkhead: Some(bulkhead), ..Default::default() };
    let written = v1::IsolationPolicy { preset: "database".to_owned(), ..with(vec![entry("Get*", bulkhead)]) };
    let own = of(&effective_policy(&written).unwrap(), 0);
    assert_eq!((own.bulkhead.max_concurrent, own.bulkhead.pools.len()), (3, 0));
}

#[test]
fn what_is_the_services_alone_is_refused_with_a_remedy() {
    let section = |change: fn(&mut v1::IsolationPolicy)| {
        let mut policy = v1::IsolationPolicy::default();
        change(&mut policy);
        with(vec![entry("a", v1::IsolationPolicy::default()), entry("b", policy)])
    };
    let cases = [
        ("level", section(|policy| policy.level = 99)),
        ("preset", section(|policy| policy.preset = "database".to_owned())),
        ("health", section(|policy| policy.health = Some(v1::HealthPolicy::default()))),
        ("fleet_hint", section(|policy| policy.fleet_hint = Some(v1::FleetHintPolicy::default()))),
        (
            "retry.budget",
            section(|policy| {
                let budget = Some(v1::RetryBudget { ratio: Some(9.0), ..Default::default() });
                policy.retry = Some(v1::RetryPolicy { budget, ..Default::default() });
            }),
        ),
        (
            "bulkhead.pools",
            section(|policy| {
                let pools = vec![v1::BulkheadPool::default()];
                policy.bulkhead = Some(v1::BulkheadPolicy { pools, ..Default::default() });
            }),
        ),
        ("method_overrides", section(|policy| policy.method_overrides = vec![v1::MethodOverride::default()])),
    ];
    for (path, written) in cases {
        let invalid = effective_policy(&written).unwrap_err();
        let [violation] = invalid.violations() else { panic!("{path}: {invalid}") };
        assert_eq!(violation.path, format!("method_overrides[1].policy.{path}"));
        assert!(violation.description.starts_with("must be unset in an override: "), "{violation}");
    }
}

#[test]
fn faults_are_named_by_their_path_once_each() {
    let retry = v1::RetryPolicy { max_attempts: Some(11), initial_backoff: Some(secs(-1)), ..Default::default() };
    let retry = v1::IsolationPolicy { retry: Some(retry), ..Default::default() };
    let written = v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy { call_timeout: Some(secs(-1)), ..Default::default() }),
        ..with(vec![entry("a", breaker(4)), entry("a", breaker(0)), entry("c", retry)])
    };
    let expected = [
        "timeout.call_timeout",
        "method_overrides[2].policy.retry.initial_backoff",
        "method_overrides[1].glob",
        "method_overrides[1].policy.circuit_breaker.open_duration",
        "method_overrides[2].policy.retry.max_attempts",
    ];
    assert_eq!(paths(&effective_policy(&written)), expected);
    let many = with(vec![v1::MethodOverride::default(); 1_000_000]);
    let result: Result<Policy, InvalidPolicy> = effective_policy(&many);
    assert_eq!(paths(&result).len(), 1 + 64);
}

#[test]
fn a_replaced_retry_section_has_the_services_budget() {
    let budget = v1::RetryBudget { ratio: Some(0.75), ..Default::default() };
    let own = v1::RetryPolicy { max_attempts: Some(2), ..Default::default() };
    let written = v1::IsolationPolicy {
        retry: Some(v1::RetryPolicy { budget: Some(budget), ..Default::default() }),
        ..with(vec![entry("Get*", v1::IsolationPolicy { retry: Some(own), ..Default::default() })])
    };
    let policy = effective_policy(&written).unwrap();
    let own = &of(&policy, 0).retry;
    assert_eq!((own.max_attempts, own.budget), (2, BudgetPolicy { ratio: 0.75, ..BudgetPolicy::default() }));
    assert_eq!(effective_policy(&to_wire(&policy)), Ok(policy));
}

#[test]
fn a_limit_of_no_permits_turns_the_services_limit_off() {
    let limit = |permits| Some(v1::RateLimitPolicy { permits, ..Default::default() });
    let off = v1::IsolationPolicy { rate_limit: limit(0), ..Default::default() };
    let written = v1::IsolationPolicy {
        rate_limit: limit(5),
        ..with(vec![entry("Get*", off), entry("List*", v1::IsolationPolicy::default())])
    };
    let policy = effective_policy(&written).unwrap();
    assert_eq!(of(&policy, 0).rate_limit, None);
    assert_eq!(of(&policy, 1).rate_limit, Some(RateLimitPolicy::per_second(5)));
    assert_eq!(effective_policy(&to_wire(&policy)), Ok(policy));
}

#[test]
fn the_fingerprint_sees_overrides_and_their_order() {
    let idempotent = |says| v1::MethodOverride { idempotent: says, ..entry("a", v1::IsolationPolicy::default()) };
    let written = [
        with(Vec::new()),
        with(vec![idempotent(None)]),
        with(vec![idempotent(Some(false))]),
        with(vec![idempotent(Some(true))]),
        with(vec![entry("a", breaker(4))]),
        with(vec![entry("a", breaker(5))]),
        with(vec![entry("a", breaker(4)), entry("b", breaker(4))]),
        with(vec![entry("b", breaker(4)), entry("a", breaker(4))]),
    ];
    let hashes: std::collections::HashSet<_> =
        written.iter().map(|written| policy_hash(&effective_policy(written).unwrap())).collect();
    assert_eq!(hashes.len(), written.len());
}
