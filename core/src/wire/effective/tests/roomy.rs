//! A policy in which every section is set, short ways to its fields, and what is at fault once one is changed.

use crate::policy::InvalidPolicy;
use crate::policy::limits::MAX_DURATION;
use crate::wire::testing::step;
use crate::wire::{duration_to_wire, effective_policy};
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;
use cofferdam_proto::v1::fallback_step::Strategy;
use prost_types::Duration as Wire;

/// Writes a value into a policy.
pub(super) type Set<W> = fn(&mut v1::IsolationPolicy, W);

/// The paths at fault once a field of a roomy policy is set.
pub(super) fn faults<W>(set: Set<W>, value: W) -> Vec<String> {
    let mut policy = roomy();
    set(&mut policy, value);
    let result = effective_policy(&policy);
    let violations = result.as_ref().err().map_or(&[][..], InvalidPolicy::violations);
    violations.iter().map(|violation| violation.path.clone()).collect()
}

pub(super) fn refused(path: &str) -> Vec<String> {
    vec![path.to_owned()]
}

/// A policy in which each field can take its whole range: nothing that it is compared with stands in its way.
pub(super) fn roomy() -> v1::IsolationPolicy {
    let day = Some(duration_to_wire(MAX_DURATION));
    let zero = Some(Wire::default());
    let second = Some(Wire { seconds: 1, nanos: 0 });
    let millisecond = Some(Wire { seconds: 0, nanos: 1_000_000 });
    v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy { call_timeout: zero, min_attempt_budget: zero, ..Default::default() }),
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            open_duration: millisecond,
            max_open_duration: day,
            ..Default::default()
        }),
        retry: Some(v1::RetryPolicy {
            initial_backoff: zero,
            max_backoff: day,
            jitter: v1::Jitter::PlusMinus.into(),
            ..Default::default()
        }),
        bulkhead: Some(v1::BulkheadPolicy {
            max_wait: second,
            pools: vec![v1::BulkheadPool { name: "readPool".to_owned(), max_wait: second, ..Default::default() }],
            ..Default::default()
        }),
        fallback: Some(v1::FallbackPolicy {
            chain: vec![
                step(Strategy::Cached(v1::CachedFallback::default())),
                step(Strategy::Alternative(v1::AlternativeFallback {
                    service: "backup".to_owned(),
                    ..Default::default()
                })),
                step(Strategy::Static(v1::StaticFallback::default())),
                step(Strategy::Degraded(v1::DegradedFallback::default())),
            ],
            ..Default::default()
        }),
        health: Some(v1::HealthPolicy {
            degraded_error_rate: Some(0.0),
            unhealthy_error_rate: Some(1.0),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn timeout(policy: &mut v1::IsolationPolicy) -> &mut v1::TimeoutPolicy {
    policy.timeout.get_or_insert_default()
}

pub(super) fn breaker(policy: &mut v1::IsolationPolicy) -> &mut v1::CircuitBreakerPolicy {
    policy.circuit_breaker.get_or_insert_default()
}

/// One bucket, which is as short as a window may be.
pub(super) fn length(policy: &mut v1::IsolationPolicy, length: Wire) {
    breaker(policy).window = Some(Window::TimeWindow(v1::TimeWindow { length: Some(length), buckets: 1 }));
}

pub(super) fn retry(policy: &mut v1::IsolationPolicy) -> &mut v1::RetryPolicy {
    policy.retry.get_or_insert_default()
}

pub(super) fn budget(policy: &mut v1::IsolationPolicy) -> &mut v1::RetryBudget {
    retry(policy).budget.get_or_insert_default()
}

pub(super) fn hedge(policy: &mut v1::IsolationPolicy) -> &mut v1::HedgePolicy {
    policy.hedge.get_or_insert_default()
}

pub(super) fn bulkhead(policy: &mut v1::IsolationPolicy) -> &mut v1::BulkheadPolicy {
    policy.bulkhead.get_or_insert_default()
}

pub(super) fn pool(policy: &mut v1::IsolationPolicy) -> &mut v1::BulkheadPool {
    &mut bulkhead(policy).pools[0]
}

pub(super) fn adaptive(policy: &mut v1::IsolationPolicy) -> &mut v1::AdaptiveLimitPolicy {
    policy.adaptive_limit.get_or_insert_default()
}

pub(super) fn rate(policy: &mut v1::IsolationPolicy) -> &mut v1::RateLimitPolicy {
    policy.rate_limit.get_or_insert_default()
}

pub(super) fn fallback(policy: &mut v1::IsolationPolicy) -> &mut v1::FallbackPolicy {
    policy.fallback.get_or_insert_default()
}

pub(super) fn cached(policy: &mut v1::IsolationPolicy) -> &mut v1::CachedFallback {
    match &mut fallback(policy).chain[0].strategy {
        Some(Strategy::Cached(step)) => step,
        _ => panic!(),
    }
}

pub(super) fn alternative(policy: &mut v1::IsolationPolicy) -> &mut v1::AlternativeFallback {
    match &mut fallback(policy).chain[1].strategy {
        Some(Strategy::Alternative(step)) => step,
        _ => panic!(),
    }
}

pub(super) fn fixed(policy: &mut v1::IsolationPolicy) -> &mut v1::StaticFallback {
    match &mut fallback(policy).chain[2].strategy {
        Some(Strategy::Static(step)) => step,
        _ => panic!(),
    }
}

pub(super) fn degraded(policy: &mut v1::IsolationPolicy) -> &mut v1::DegradedFallback {
    match &mut fallback(policy).chain[3].strategy {
        Some(Strategy::Degraded(step)) => step,
        _ => panic!(),
    }
}

pub(super) fn health(policy: &mut v1::IsolationPolicy) -> &mut v1::HealthPolicy {
    policy.health.get_or_insert_default()
}

pub(super) fn fleet_hint(policy: &mut v1::IsolationPolicy) -> &mut v1::FleetHintPolicy {
    policy.fleet_hint.get_or_insert_default()
}
