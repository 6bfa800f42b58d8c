//! What absence means.

use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy, Jitter, Policy, PolicySpec};
use crate::wire::effective_policy;
use crate::wire::testing::{alternative, cached, millis, secs, step, with_chain};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;
use std::time::Duration;

#[test]
fn nothing_is_the_default() {
    assert_eq!(effective_policy(&v1::IsolationPolicy::default()).unwrap(), Policy::default());
}

#[test]
fn empty_sections_are_the_default() {
    let written = v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy::default()),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            window: Some(v1::circuit_breaker_policy::Window::TimeWindow(v1::TimeWindow::default())),
            ..Default::default()
        }),
        classification: Some(v1::ClassificationPolicy::default()),
        retry: Some(v1::RetryPolicy { budget: Some(v1::RetryBudget::default()), ..Default::default() }),
        hedge: Some(v1::HedgePolicy::default()),
        bulkhead: Some(v1::BulkheadPolicy::default()),
        adaptive_limit: Some(v1::AdaptiveLimitPolicy::default()),
        rate_limit: Some(v1::RateLimitPolicy::default()),
        fallback: Some(v1::FallbackPolicy::default()),
        health: Some(v1::HealthPolicy::default()),
        fleet_hint: Some(v1::FleetHintPolicy::default()),
        ..Default::default()
    };
    assert_eq!(effective_policy(&written).unwrap().to_spec(), PolicySpec::default());
}

#[test]
fn steps_and_pools_have_defaults_of_their_own() {
    let mut written = with_chain(vec![cached(), alternative("backup-service")]);
    written.bulkhead = Some(v1::BulkheadPolicy {
        pools: vec![v1::BulkheadPool { name: "readPool".to_owned(), ..Default::default() }],
        ..Default::default()
    });
    let policy = effective_policy(&written).unwrap();
    let step = policy.fallback.cached(crate::level::Level::Basic).unwrap();
    assert_eq!((step.ttl, step.stale_if_error), (Duration::from_secs(300), Duration::from_secs(3600)));
    assert_eq!((step.max_entries, step.max_entry_bytes, step.max_bytes), (1024, 65_536, 67_108_864));
    let crate::policy::FallbackStep::Alternative(step) = &policy.fallback.chain[1] else { panic!() };
    assert_eq!((step.service.as_str(), step.timeout), ("backup-service", Duration::from_secs(1)));
    assert_eq!(policy.bulkhead.pools[0].max_concurrent, 10);
    assert_eq!(policy.bulkhead.pools[0].max_wait, Duration::ZERO);
}

#[test]
fn zero_is_not_absence() {
    let written = v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy {
            call_timeout: Some(millis(0)),
            propagate_deadline: Some(false),
            min_attempt_budget: Some(millis(0)),
            ..Default::default()
        }),
        fallback: Some(v1::FallbackPolicy { reserve: Some(millis(0)), ..Default::default() }),
        ..Default::default()
    };
    let policy = effective_policy(&written).unwrap();
    assert_eq!(policy.timeout.call_timeout, Duration::ZERO);
    assert_eq!(policy.timeout.min_attempt_budget, Duration::ZERO);
    assert!(!policy.timeout.propagate_deadline);
    assert_eq!(policy.fallback.reserve, Some(Duration::ZERO));
}

#[test]
fn a_jitter_ratio_belongs_to_plus_minus() {
    let jitter = |jitter: v1::Jitter, jitter_ratio| {
        let retry = v1::RetryPolicy { jitter: jitter.into(), jitter_ratio, ..Default::default() };
        effective_policy(&v1::IsolationPolicy { retry: Some(retry), ..Default::default() }).unwrap().retry.jitter
    };
    assert_eq!(jitter(v1::Jitter::PlusMinus, None), Jitter::PlusMinus(0.2));
    assert_eq!(jitter(v1::Jitter::PlusMinus, Some(0.0)), Jitter::PlusMinus(0.0));
    assert_eq!(jitter(v1::Jitter::PlusMinus, Some(0.7)), Jitter::PlusMinus(0.7));
    assert_eq!(jitter(v1::Jitter::Unspecified, Some(0.7)), Jitter::Full);
    assert_eq!(jitter(v1::Jitter::None, Some(0.7)), Jitter::None);
    assert_eq!(jitter(v1::Jitter::Equal, None), Jitter::Equal);
}

#[test]
fn an_upper_bound_that_nobody_set_follows_the_value_below_it() {
    let written = v1::IsolationPolicy {
        circuit_breaker: Some(v1::CircuitBreakerPolicy { open_duration: Some(secs(600)), ..Default::default() }),
        retry: Some(v1::RetryPolicy { initial_backoff: Some(secs(7)), ..Default::default() }),
        ..Default::default()
    };
    let policy = effective_policy(&written).unwrap();
    assert_eq!(policy.breaker.max_open_duration, Duration::from_secs(600));
    assert_eq!(policy.retry.max_backoff, Duration::from_secs(7));

    let limit = |min, initial, max| {
        let limit = v1::AdaptiveLimitPolicy { kind: 2, min, initial, max };
        let written = v1::IsolationPolicy { adaptive_limit: Some(limit), ..Default::default() };
        let AdaptiveLimitPolicy { kind, min, initial, max } = effective_policy(&written).unwrap().adaptive_limit;
        assert_eq!(kind, AdaptiveLimitKind::Gradient2);
        (min, initial, max)
    };
    assert_eq!(limit(None, None, None), (1, 20, 200));
    assert_eq!(limit(Some(30), None, None), (30, 30, 200));
    assert_eq!(limit(Some(300), None, None), (300, 300, 300));
    assert_eq!(limit(None, Some(300), None), (1, 300, 300));
    assert_eq!(limit(None, None, Some(10)), (1, 10, 10));
    assert_eq!(limit(Some(5), Some(6), Some(7)), (5, 6, 7));

    let cached = v1::CachedFallback { max_bytes: Some(1000), ..Default::default() };
    let policy = effective_policy(&with_chain(vec![step(Strategy::Cached(cached))])).unwrap();
    assert_eq!(policy.fallback.cached(crate::level::Level::Basic).unwrap().max_entry_bytes, 1000);
}
