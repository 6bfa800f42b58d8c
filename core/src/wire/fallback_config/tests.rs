use super::apply_fallback_config;
use crate::policy::{BreakerMode, FallbackStep};
use crate::wire::effective_policy;
use crate::wire::testing::{alternative, cached, degraded, millis, paths, secs, step};
use bytes::Bytes;
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;
use prost_types::Duration as Wire;
use std::time::Duration;

fn applied(config: &v1::FallbackConfig) -> v1::IsolationPolicy {
    let mut written = v1::IsolationPolicy::default();
    apply_fallback_config(&mut written, config).unwrap();
    written
}

/// The configurations of the service that Cofferdam replaces: static 3/1 s/30 s, then cached 5/2 s/60 s.
#[test]
fn c14_the_two_configurations_of_the_seed() {
    let payload = Bytes::from_static(br#"{"default_response":"fallback data"}"#);
    let fixed = v1::StaticFallback { payload, content_type: "application/json".to_owned() };
    let mut written = v1::IsolationPolicy { level: v1::IsolationLevel::Enhanced.into(), ..Default::default() };
    let first = v1::FallbackConfig {
        enabled: Some(true),
        chain: vec![step(Strategy::Static(fixed))],
        max_retries: Some(3),
        retry_delay: Some(secs(1)),
        timeout: Some(secs(30)),
        circuit_breaker: None,
    };
    apply_fallback_config(&mut written, &first).unwrap();
    let policy = effective_policy(&written).unwrap();
    assert_eq!(policy.retry.max_attempts, 4);
    assert_eq!(policy.retry.initial_backoff, Duration::from_secs(1));
    assert_eq!(policy.retry.max_backoff, Duration::from_secs(2));
    assert_eq!(policy.timeout.call_timeout, Duration::from_secs(30));
    assert!(policy.fallback.enabled);
    assert!(matches!(policy.fallback.chain.as_slice(), [FallbackStep::Static(_)]));

    let second = v1::FallbackConfig {
        enabled: Some(true),
        chain: vec![cached()],
        max_retries: Some(5),
        retry_delay: Some(secs(2)),
        timeout: Some(secs(60)),
        circuit_breaker: None,
    };
    apply_fallback_config(&mut written, &second).unwrap();
    let policy = effective_policy(&written).unwrap();
    assert_eq!(policy.retry.max_attempts, 6);
    assert_eq!(policy.retry.initial_backoff, Duration::from_secs(2));
    assert_eq!(policy.timeout.call_timeout, Duration::from_secs(60));
    assert!(matches!(policy.fallback.chain.as_slice(), [FallbackStep::Cached(_)]));
    assert_eq!(written.level(), v1::IsolationLevel::Enhanced);
}

#[test]
fn what_is_unset_changes_nothing() {
    let mut written = v1::IsolationPolicy {
        retry: Some(v1::RetryPolicy { max_attempts: Some(7), ..Default::default() }),
        fallback: Some(v1::FallbackPolicy { enabled: Some(false), chain: vec![degraded()], ..Default::default() }),
        ..Default::default()
    };
    let before = written.clone();
    apply_fallback_config(&mut written, &v1::FallbackConfig::default()).unwrap();
    assert_eq!(written, before);
    assert_eq!(applied(&v1::FallbackConfig::default()), v1::IsolationPolicy::default());
}

#[test]
fn a_chain_is_in_use_unless_it_says_otherwise() {
    let mut written = v1::IsolationPolicy {
        preset: "auth".to_owned(),
        fallback: Some(v1::FallbackPolicy { enabled: Some(false), ..Default::default() }),
        ..Default::default()
    };
    let chain = v1::FallbackConfig { chain: vec![cached()], ..Default::default() };
    apply_fallback_config(&mut written, &chain).unwrap();
    assert!(effective_policy(&written).unwrap().fallback.enabled);
    let off = v1::FallbackConfig { enabled: Some(false), ..Default::default() };
    apply_fallback_config(&mut written, &off).unwrap();
    let policy = effective_policy(&written).unwrap();
    assert!(!policy.fallback.enabled);
    assert_eq!(policy.fallback.chain.len(), 1);
}

#[test]
fn the_breaker_is_switched() {
    for (circuit_breaker, mode) in [(true, BreakerMode::Auto), (false, BreakerMode::Disabled)] {
        let config = v1::FallbackConfig { circuit_breaker: Some(circuit_breaker), ..Default::default() };
        assert_eq!(effective_policy(&applied(&config)).unwrap().breaker.mode, mode);
    }
}

#[test]
fn a_longer_delay_takes_the_longest_pause_along() {
    let delay = v1::FallbackConfig { retry_delay: Some(secs(5)), ..Default::default() };
    assert_eq!(effective_policy(&applied(&delay)).unwrap().retry.max_backoff, Duration::from_secs(5));
    for (before, after) in [(secs(3), secs(5)), (secs(9), secs(9)), (secs(-1), secs(-1))] {
        let retry = v1::RetryPolicy { max_backoff: Some(before), ..Default::default() };
        let mut written = v1::IsolationPolicy { retry: Some(retry), ..Default::default() };
        apply_fallback_config(&mut written, &delay).unwrap();
        assert_eq!(written.retry.unwrap().max_backoff, Some(after));
    }
}

#[test]
fn no_retry_and_no_timeout_can_be_said() {
    let config = v1::FallbackConfig {
        max_retries: Some(0),
        retry_delay: Some(secs(0)),
        timeout: Some(secs(0)),
        ..Default::default()
    };
    let policy = effective_policy(&applied(&config)).unwrap();
    assert_eq!(policy.retry.max_attempts, 1);
    assert_eq!(policy.retry.initial_backoff, Duration::ZERO);
    assert_eq!(policy.timeout.call_timeout, Duration::ZERO);
}

#[test]
fn a_fault_leaves_the_policy_as_it_was() {
    let retries = |max_retries| v1::FallbackConfig { max_retries: Some(max_retries), ..Default::default() };
    let delay = |delay| v1::FallbackConfig { retry_delay: Some(delay), ..Default::default() };
    let timeout = |timeout| v1::FallbackConfig { timeout: Some(timeout), ..Default::default() };
    let tenth_of_a_millisecond = Wire { seconds: 0, nanos: 100_000 };
    let cases = [
        (retries(10), "fallback.max_retries"),
        (retries(u32::MAX), "fallback.max_retries"),
        (delay(secs(-1)), "fallback.retry_delay"),
        (delay(secs(86_401)), "fallback.retry_delay"),
        (delay(Wire { seconds: 0, nanos: i32::MAX }), "fallback.retry_delay"),
        (timeout(secs(i64::MIN)), "fallback.timeout"),
        (timeout(secs(i64::MAX)), "fallback.timeout"),
        (timeout(tenth_of_a_millisecond), "fallback.timeout"),
    ];
    for (mut config, path) in cases {
        config.chain = vec![cached()];
        config.enabled = Some(true);
        config.circuit_breaker = Some(false);
        let mut written = v1::IsolationPolicy::default();
        let result = apply_fallback_config(&mut written, &config);
        assert_eq!(paths(&result), [path], "{config:?}");
        assert_eq!(written, v1::IsolationPolicy::default());
    }
    let all = v1::FallbackConfig {
        max_retries: Some(10),
        retry_delay: Some(secs(-1)),
        timeout: Some(secs(-1)),
        ..Default::default()
    };
    let result = apply_fallback_config(&mut v1::IsolationPolicy::default(), &all);
    assert_eq!(paths(&result), ["fallback.max_retries", "fallback.retry_delay", "fallback.timeout"]);
}

#[test]
fn a_fault_of_a_step_has_the_same_path_in_config_and_policy() {
    let config = v1::FallbackConfig {
        chain: vec![cached(), alternative("Not A Name")],
        timeout: Some(millis(500)),
        ..Default::default()
    };
    assert_eq!(paths(&effective_policy(&applied(&config))), ["fallback.chain[1].alternative.service"]);
}
