//! Many faults at once, and bytes that nobody meant.

use crate::level::Level;
use crate::policy::limits::{MAX_FEATURES, MAX_GLOBS, MAX_POOLS};
use crate::wire::testing::{alternative, degraded, paths, secs, step, with_chain};
use crate::wire::{apply_fallback_config, apply_update, effective_policy, inactive_fields, policy_hash, to_wire};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy as Step;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use prost::Message as _;
use prost_types::FieldMask;
use std::cell::Cell;

#[test]
fn all_faults_are_named_in_the_order_of_the_contract() {
    let written = v1::IsolationPolicy {
        level: 9,
        preset: "nope".to_owned(),
        health: Some(v1::HealthPolicy { degraded_error_rate: Some(f64::NAN), ..Default::default() }),
        timeout: Some(v1::TimeoutPolicy { call_timeout: Some(secs(-1)), ..Default::default() }),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            failure_rate: Some(2.0),
            mode: 99,
            success_threshold: Some(0),
            ..Default::default()
        }),
        hedge: Some(v1::HedgePolicy { delay: Some(secs(1)), max_extra: Some(9), percentile: f64::NAN }),
        retry: Some(v1::RetryPolicy { jitter: -5, max_attempts: Some(11), ..Default::default() }),
        method_overrides: vec![v1::MethodOverride::default()],
        ..with_chain(vec![v1::FallbackStep::default(), degraded(), alternative(""), degraded()])
    };
    let expected = [
        "level",
        "preset",
        "timeout.call_timeout",
        "circuit_breaker.mode",
        "circuit_breaker.failure_rate",
        "circuit_breaker.success_threshold",
        "retry.jitter",
        "retry.max_attempts",
        "hedge.max_extra",
        "hedge.percentile",
        "fallback.chain[0]",
        "fallback.chain[2].alternative.service",
        "fallback.chain[3].degraded",
        "health.degraded_error_rate",
        "method_overrides[0].glob",
    ];
    assert_eq!(paths(&effective_policy(&written)), expected);
}

#[test]
fn nothing_is_compared_with_what_cannot_be_read() {
    let written = v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy { call_timeout: Some(secs(-1)), ..Default::default() }),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            open_duration: Some(secs(-1)),
            max_open_duration: Some(secs(1)),
            ..Default::default()
        }),
        retry: Some(v1::RetryPolicy {
            initial_backoff: Some(secs(i64::MAX)),
            max_backoff: Some(secs(0)),
            ..Default::default()
        }),
        fallback: Some(v1::FallbackPolicy { reserve: Some(secs(3600)), ..Default::default() }),
        ..Default::default()
    };
    let expected = ["timeout.call_timeout", "circuit_breaker.open_duration", "retry.initial_backoff"];
    assert_eq!(paths(&effective_policy(&written)), expected);
}

#[test]
fn a_list_that_is_too_long_costs_little() {
    let many = 1_000_000;
    let bad = alternative("Not A Name");
    assert_eq!(paths(&effective_policy(&with_chain(vec![bad; many]))).len(), 6);

    let globs = v1::BulkheadPool { method_globs: vec![String::new(); 1000], ..Default::default() };
    let pools = vec![globs; MAX_POOLS + 10];
    let bulkhead = Some(v1::BulkheadPolicy { pools, ..Default::default() });
    let result = effective_policy(&v1::IsolationPolicy { bulkhead, ..Default::default() });
    // The list, and of each pool that is read: its name, its list of globs and its globs.
    assert_eq!(paths(&result).len(), 1 + MAX_POOLS * (2 + MAX_GLOBS));

    let features = vec!["\n".to_owned(); many];
    let degraded = step(Step::Degraded(v1::DegradedFallback { features, ..Default::default() }));
    assert_eq!(paths(&effective_policy(&with_chain(vec![degraded]))).len(), 1 + MAX_FEATURES);

    let fallback = v1::FallbackPolicy { on: vec![1; many], ..Default::default() };
    let result = effective_policy(&v1::IsolationPolicy { fallback: Some(fallback), ..Default::default() });
    assert_eq!(paths(&result), ["fallback.on"]);

    let classification = v1::ClassificationPolicy { grpc_failure_codes: vec![1; many], ..Default::default() };
    let result = effective_policy(&v1::IsolationPolicy { classification: Some(classification), ..Default::default() });
    assert_eq!(paths(&result), ["classification.grpc_failure_codes"]);
}

/// Bytes that are more often a policy than random ones: a valid one with some bytes changed.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (crate::wire::testing::policy(), proptest::collection::vec(any::<(usize, u8)>(), 0..8)).prop_map(
        |(policy, changes)| {
            let mut bytes = to_wire(&policy).encode_to_vec();
            let length = bytes.len();
            for (index, byte) in changes {
                bytes[index % length] = byte;
            }
            bytes
        },
    );
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..256), damaged]
}

/// Does all that can be done with a policy from the wire.
fn use_all(written: &v1::IsolationPolicy, paths: Vec<String>) {
    for level in Level::ALL {
        inactive_fields(written, level);
    }
    match effective_policy(written) {
        Ok(policy) => {
            let again = effective_policy(&to_wire(&policy)).unwrap();
            assert_eq!(policy_hash(&again), policy_hash(&policy));
        }
        Err(invalid) => assert!(!invalid.violations().is_empty()),
    }
    let mask = FieldMask { paths };
    let _ = apply_update(&mut v1::IsolationPolicy::default(), written, Some(&mask));
}

#[test]
fn no_bytes_can_do_harm() {
    let decoded = Cell::new(0);
    let paths = proptest::collection::vec("[a-z_.*]{0,20}|retry|bulkhead.pools|fallback.chain", 0..3);
    let mut runner = TestRunner::new(ProptestConfig { cases: 2000, ..ProptestConfig::default() });
    let result = runner.run(&(bytes(), paths), |(bytes, paths)| {
        if let Ok(written) = v1::IsolationPolicy::decode(bytes.as_slice()) {
            decoded.set(decoded.get() + 1);
            use_all(&written, paths);
        }
        if let Ok(config) = v1::FallbackConfig::decode(bytes.as_slice()) {
            let _ = apply_fallback_config(&mut v1::IsolationPolicy::default(), &config);
        }
        Ok(())
    });
    result.unwrap();
    // Or else it would have tested the decoder alone.
    assert!(decoded.get() > 50, "{}", decoded.get());
}
