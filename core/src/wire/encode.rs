//! From what is enforced to the message that says all of it.

use super::duration::duration_to_wire;
use super::level::level_to_wire;
use crate::outcome::Outcome;
use crate::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, AlternativeFallback, BreakerMode, BreakerPolicy, BreakerWindow,
    BudgetPolicy, BulkheadPolicy, CachedFallback, ClassificationPolicy, DegradedFallback, ErrorTypeRule,
    FallbackPolicy, FallbackStep, FallbackTrigger, FleetHintMode, FleetHintPolicy, HealthPolicy, HedgePolicy, Jitter,
    LeaseExpiry, MethodOverride, Policy, PolicySpec, PoolPolicy, RateLimitPolicy, RetryPolicy, StaticFallback,
    TimeWindow, TimeoutPolicy,
};
use crate::time::WallTime;
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;
use cofferdam_proto::v1::fallback_step::Strategy;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The message that says all of a policy: `preset` is empty, and every field in force is set, but for those of features
/// that came later, which are set where they differ from what the contract says of an unset one. So the fingerprint of a
/// policy that does not use them is what it was before them. [`effective_policy`] of the message is the policy again.
///
/// [`effective_policy`]: super::effective_policy
pub fn to_wire(policy: &Policy) -> v1::IsolationPolicy {
    let PolicySpec {
        level,
        timeout,
        breaker,
        classification,
        retry,
        hedge,
        bulkhead,
        adaptive_limit,
        rate_limit,
        fallback,
        health,
        fleet_hint,
        method_overrides,
    } = &**policy;
    v1::IsolationPolicy {
        level: level_to_wire(*level).into(),
        preset: String::new(),
        timeout: Some(write_timeout(*timeout)),
        circuit_breaker: Some(write_breaker(breaker)),
        classification: Some(write_classification(classification)),
        retry: Some(write_retry(retry)),
        hedge: unless(*hedge, HedgePolicy::default()).map(write_hedge),
        bulkhead: Some(write_bulkhead(bulkhead)),
        adaptive_limit: unless(*adaptive_limit, AdaptiveLimitPolicy::default()).map(write_adaptive_limit),
        rate_limit: rate_limit.map(write_rate_limit),
        fallback: Some(write_fallback(fallback)),
        health: Some(write_health(*health)),
        fleet_hint: unless(*fleet_hint, FleetHintPolicy::default()).map(write_fleet_hint),
        method_overrides: method_overrides.iter().map(write_override).collect(),
    }
}

/// The same with every field set, those of features included that are off; not for fingerprints. `rate_limit` is unset where
/// there is none.
pub fn to_wire_whole(policy: &Policy) -> v1::IsolationPolicy {
    let PolicySpec { breaker, hedge, adaptive_limit, fleet_hint, fallback, .. } = &**policy;
    let mut wire = to_wire(policy);
    wire.hedge.get_or_insert_with(|| write_hedge(*hedge));
    wire.adaptive_limit.get_or_insert_with(|| write_adaptive_limit(*adaptive_limit));
    wire.fleet_hint.get_or_insert_with(|| write_fleet_hint(*fleet_hint));
    if let Some(wire) = &mut wire.circuit_breaker {
        wire.slow_call_duration.get_or_insert_with(|| duration_to_wire(breaker.slow_call_duration));
        wire.slow_call_rate.get_or_insert(breaker.slow_call_rate);
        wire.ramp_duration.get_or_insert_with(|| duration_to_wire(breaker.ramp_duration));
        wire.ramp_min_ratio.get_or_insert(breaker.ramp_min_ratio);
    }
    let steps = wire.fallback.iter_mut().flat_map(|fallback| &mut fallback.chain);
    for (wire, step) in steps.zip(&fallback.chain) {
        if let (Some(Strategy::Cached(wire)), FallbackStep::Cached(step)) = (&mut wire.strategy, step) {
            wire.max_bytes.get_or_insert(step.max_bytes);
        }
    }
    wire
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    Some(duration_to_wire(duration))
}

/// Zero has two encodings, and equal policies must have one.
fn real(value: f64) -> Option<f64> {
    Some(value + 0.0)
}

/// A value that is not what an unset field stands for.
fn unless<T: PartialEq>(value: T, unset: T) -> Option<T> {
    (value != unset).then_some(value)
}

fn write_timeout(policy: TimeoutPolicy) -> v1::TimeoutPolicy {
    let TimeoutPolicy { call_timeout, attempt_timeout, propagate_deadline, min_attempt_budget } = policy;
    v1::TimeoutPolicy {
        call_timeout: duration(call_timeout),
        attempt_timeout: duration(attempt_timeout),
        propagate_deadline: Some(propagate_deadline),
        min_attempt_budget: duration(min_attempt_budget),
    }
}

pub(super) fn wall_time(time: WallTime) -> prost_types::Timestamp {
    // Nanoseconds are below a billion.
    prost_types::Timestamp { seconds: time.seconds(), nanos: time.nanos() as i32 }
}

fn write_breaker(policy: &BreakerPolicy) -> v1::CircuitBreakerPolicy {
    let BreakerPolicy {
        mode,
        mode_until,
        window,
        minimum_calls,
        consecutive_failures,
        failure_count,
        failure_rate,
        slow_call_duration,
        slow_call_rate,
        open_duration,
        open_backoff_multiplier,
        max_open_duration,
        open_jitter_ratio,
        half_open_max_in_flight,
        success_threshold,
        half_open_allowed_failures,
        half_open_lease,
        on_lease_expiry,
        ramp_duration,
        ramp_min_ratio,
    } = policy;
    let window = match *window {
        BreakerWindow::Time(TimeWindow { length, buckets }) => {
            Window::TimeWindow(v1::TimeWindow { length: duration(length), buckets })
        }
        BreakerWindow::Count(size) => Window::CountWindow(v1::CountWindow { size }),
    };
    let mode = match mode {
        BreakerMode::Auto => v1::BreakerMode::Auto,
        BreakerMode::ForcedOpen => v1::BreakerMode::ForcedOpen,
        BreakerMode::Disabled => v1::BreakerMode::Disabled,
        BreakerMode::MetricsOnly => v1::BreakerMode::MetricsOnly,
    };
    let on_lease_expiry = match on_lease_expiry {
        LeaseExpiry::Reprobe => v1::LeaseExpiry::Reprobe,
        LeaseExpiry::Open => v1::LeaseExpiry::Open,
        LeaseExpiry::Close => v1::LeaseExpiry::Close,
    };
    v1::CircuitBreakerPolicy {
        window: Some(window),
        minimum_calls: Some(*minimum_calls),
        consecutive_failures: Some(*consecutive_failures),
        failure_count: Some(*failure_count),
        failure_rate: real(*failure_rate),
        slow_call_duration: unless(*slow_call_duration, Duration::ZERO).map(duration_to_wire),
        slow_call_rate: unless(*slow_call_rate, 1.0).and_then(real),
        open_duration: duration(*open_duration),
        open_backoff_multiplier: real(*open_backoff_multiplier),
        max_open_duration: duration(*max_open_duration),
        open_jitter_ratio: real(*open_jitter_ratio),
        half_open_max_in_flight: Some(*half_open_max_in_flight),
        success_threshold: Some(*success_threshold),
        half_open_allowed_failures: Some(*half_open_allowed_failures),
        half_open_lease: duration(*half_open_lease),
        on_lease_expiry: on_lease_expiry.into(),
        ramp_duration: unless(*ramp_duration, Duration::ZERO).map(duration_to_wire),
        ramp_min_ratio: unless(*ramp_min_ratio, 0.1).and_then(real),
        mode: mode.into(),
        mode_until: mode_until.map(wall_time),
    }
}

fn write_classification(policy: &ClassificationPolicy) -> v1::ClassificationPolicy {
    let ClassificationPolicy {
        grpc_failure_codes,
        grpc_neutral_codes,
        http_failure_statuses,
        http_neutral_statuses,
        error_types,
    } = policy;
    v1::ClassificationPolicy {
        grpc_failure_codes: grpc_failure_codes.clone(),
        grpc_neutral_codes: grpc_neutral_codes.clone(),
        http_failure_statuses: http_failure_statuses.iter().map(write_statuses).collect(),
        http_neutral_statuses: http_neutral_statuses.iter().map(write_statuses).collect(),
        error_types: error_types.iter().map(write_error_type).collect(),
    }
}

fn write_statuses(range: &RangeInclusive<u32>) -> v1::HttpStatusRange {
    v1::HttpStatusRange { first: *range.start(), last: *range.end() }
}

fn write_error_type(rule: &ErrorTypeRule) -> v1::ErrorTypeRule {
    let ErrorTypeRule { type_name, outcome } = rule;
    let outcome = match outcome {
        Outcome::Success => v1::OutcomeClass::Success,
        Outcome::Failure => v1::OutcomeClass::Failure,
        Outcome::Neutral => v1::OutcomeClass::Neutral,
    };
    v1::ErrorTypeRule { type_name: type_name.clone(), outcome: outcome.into() }
}

fn write_retry(policy: &RetryPolicy) -> v1::RetryPolicy {
    let RetryPolicy {
        max_attempts,
        initial_backoff,
        multiplier,
        max_backoff,
        jitter,
        budget,
        retryable_grpc_codes,
        only_idempotent,
        honour_pushback,
        max_pushback,
    } = policy;
    let BudgetPolicy { ratio, min_per_second, ttl } = *budget;
    let (jitter, jitter_ratio) = match jitter {
        Jitter::None => (v1::Jitter::None, None),
        Jitter::PlusMinus(ratio) => (v1::Jitter::PlusMinus, real(*ratio)),
        Jitter::Equal => (v1::Jitter::Equal, None),
        Jitter::Full => (v1::Jitter::Full, None),
    };
    v1::RetryPolicy {
        max_attempts: Some(*max_attempts),
        initial_backoff: duration(*initial_backoff),
        multiplier: real(*multiplier),
        max_backoff: duration(*max_backoff),
        jitter: jitter.into(),
        jitter_ratio,
        budget: Some(v1::RetryBudget { ratio: real(ratio), min_per_second: Some(min_per_second), ttl: duration(ttl) }),
        retryable_grpc_codes: retryable_grpc_codes.clone(),
        only_idempotent: Some(*only_idempotent),
        honour_pushback: Some(*honour_pushback),
        max_pushback: duration(*max_pushback),
    }
}

fn write_hedge(policy: HedgePolicy) -> v1::HedgePolicy {
    let HedgePolicy { delay, max_extra, percentile } = policy;
    v1::HedgePolicy { delay: duration(delay), max_extra: Some(max_extra), percentile: percentile + 0.0 }
}

fn write_bulkhead(policy: &BulkheadPolicy) -> v1::BulkheadPolicy {
    let BulkheadPolicy { max_concurrent, max_queue, max_wait, pools } = policy;
    v1::BulkheadPolicy {
        max_concurrent: Some(*max_concurrent),
        max_queue: Some(*max_queue),
        max_wait: duration(*max_wait),
        pools: pools.iter().map(write_pool).collect(),
    }
}

fn write_pool(policy: &PoolPolicy) -> v1::BulkheadPool {
    let PoolPolicy { name, max_concurrent, max_queue, max_wait, method_globs, isolate_breaker } = policy;
    v1::BulkheadPool {
        name: name.clone(),
        max_concurrent: Some(*max_concurrent),
        max_queue: Some(*max_queue),
        max_wait: duration(*max_wait),
        method_globs: method_globs.clone(),
        isolate_breaker: *isolate_breaker,
    }
}

fn write_adaptive_limit(policy: AdaptiveLimitPolicy) -> v1::AdaptiveLimitPolicy {
    let AdaptiveLimitPolicy { kind, min, initial, max } = policy;
    let kind = match kind {
        AdaptiveLimitKind::Off => v1::AdaptiveLimitKind::Off,
        AdaptiveLimitKind::Gradient2 => v1::AdaptiveLimitKind::Gradient2,
        AdaptiveLimitKind::Aimd => v1::AdaptiveLimitKind::Aimd,
    };
    v1::AdaptiveLimitPolicy { kind: kind.into(), min: Some(min), initial: Some(initial), max: Some(max) }
}

fn write_rate_limit(policy: RateLimitPolicy) -> v1::RateLimitPolicy {
    let RateLimitPolicy { permits, period, burst, max_wait } = policy;
    v1::RateLimitPolicy { permits, period: duration(period), burst, max_wait: duration(max_wait) }
}

fn write_fallback(policy: &FallbackPolicy) -> v1::FallbackPolicy {
    let FallbackPolicy { enabled, chain, on, max_concurrent, reserve } = policy;
    v1::FallbackPolicy {
        enabled: Some(*enabled),
        chain: chain.iter().map(write_step).collect(),
        on: on.iter().map(|trigger| write_trigger(*trigger).into()).collect(),
        max_concurrent: Some(*max_concurrent),
        reserve: reserve.map(duration_to_wire),
    }
}

fn write_override(entry: &MethodOverride) -> v1::MethodOverride {
    let MethodOverride {
        glob,
        is_idempotent,
        timeout,
        breaker,
        classification,
        retry,
        hedge,
        bulkhead,
        adaptive_limit,
        rate_limit,
        fallback,
    } = entry;
    let no_limit = v1::RateLimitPolicy::default();
    let policy = v1::IsolationPolicy {
        timeout: timeout.map(write_timeout),
        circuit_breaker: breaker.as_ref().map(write_breaker),
        classification: classification.as_ref().map(write_classification),
        // The budget is the service's.
        retry: retry.as_ref().map(|retry| v1::RetryPolicy { budget: None, ..write_retry(retry) }),
        hedge: hedge.map(write_hedge),
        bulkhead: bulkhead.as_ref().map(write_bulkhead),
        adaptive_limit: adaptive_limit.map(write_adaptive_limit),
        rate_limit: rate_limit.map(|limit| limit.map_or(no_limit, write_rate_limit)),
        fallback: fallback.as_ref().map(write_fallback),
        ..Default::default()
    };
    v1::MethodOverride { glob: glob.clone(), idempotent: *is_idempotent, policy: Some(policy) }
}

fn write_trigger(trigger: FallbackTrigger) -> v1::FallbackTrigger {
    match trigger {
        FallbackTrigger::Failure => v1::FallbackTrigger::Failure,
        FallbackTrigger::Timeout => v1::FallbackTrigger::Timeout,
        FallbackTrigger::Open => v1::FallbackTrigger::Open,
        FallbackTrigger::Bulkhead => v1::FallbackTrigger::Bulkhead,
        FallbackTrigger::RateLimit => v1::FallbackTrigger::RateLimit,
    }
}

fn write_step(step: &FallbackStep) -> v1::FallbackStep {
    let strategy = match step {
        FallbackStep::Static(StaticFallback { payload, content_type }) => {
            Strategy::Static(v1::StaticFallback { payload: payload.clone(), content_type: content_type.clone() })
        }
        FallbackStep::Cached(step) => Strategy::Cached(write_cached(step)),
        FallbackStep::Alternative(AlternativeFallback { service, method, timeout }) => {
            Strategy::Alternative(v1::AlternativeFallback {
                service: service.to_string(),
                method: method.clone(),
                timeout: duration(*timeout),
            })
        }
        FallbackStep::Degraded(DegradedFallback { features, reason }) => {
            Strategy::Degraded(v1::DegradedFallback { features: features.clone(), reason: reason.clone() })
        }
    };
    v1::FallbackStep { strategy: Some(strategy) }
}

fn write_cached(step: &CachedFallback) -> v1::CachedFallback {
    let CachedFallback { ttl, stale_if_error, max_entries, max_entry_bytes, max_bytes, key_fields } = step;
    v1::CachedFallback {
        ttl: duration(*ttl),
        stale_if_error: duration(*stale_if_error),
        max_entries: Some(*max_entries),
        max_entry_bytes: Some(*max_entry_bytes),
        key_fields: key_fields.clone(),
        max_bytes: unless(*max_bytes, CachedFallback::default().max_bytes),
    }
}

fn write_health(policy: HealthPolicy) -> v1::HealthPolicy {
    let HealthPolicy { degraded_error_rate, unhealthy_error_rate, window, minimum_calls } = policy;
    v1::HealthPolicy {
        degraded_error_rate: real(degraded_error_rate),
        unhealthy_error_rate: real(unhealthy_error_rate),
        window: duration(window),
        minimum_calls: Some(minimum_calls),
    }
}

fn write_fleet_hint(policy: FleetHintPolicy) -> v1::FleetHintPolicy {
    let FleetHintPolicy { mode, min_open_instances, min_open_ratio, ttl } = policy;
    v1::FleetHintPolicy {
        mode: fleet_hint_mode_to_wire(mode).into(),
        min_open_instances: Some(min_open_instances),
        min_open_ratio: real(min_open_ratio),
        ttl: duration(ttl),
    }
}

/// What a fleet hint does, as messages say it.
pub const fn fleet_hint_mode_to_wire(mode: FleetHintMode) -> v1::FleetHintMode {
    match mode {
        FleetHintMode::Off => v1::FleetHintMode::Off,
        FleetHintMode::Advisory => v1::FleetHintMode::Advisory,
        FleetHintMode::Enforce => v1::FleetHintMode::Enforce,
    }
}

#[cfg(test)]
mod tests;
