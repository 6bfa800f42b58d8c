//! Policies for tests: messages in a few words, and any valid policy.

use crate::level::Level;
use crate::name::Name;
use crate::outcome::Outcome;
use crate::policy::limits::MAX_DURATION;
use crate::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, AlternativeFallback, BreakerMode, BreakerPolicy, BreakerWindow,
    BudgetPolicy, BulkheadPolicy, CachedFallback, ClassificationPolicy, DegradedFallback, ErrorTypeRule,
    FallbackPolicy, FallbackStep, FallbackTrigger, FleetHintMode, FleetHintPolicy, HealthPolicy, HedgePolicy,
    InvalidPolicy, Jitter, LeaseExpiry, MethodOverride, Policy, PolicySpec, PoolPolicy, RateLimitPolicy, RetryPolicy,
    StaticFallback, TimeWindow, TimeoutPolicy,
};
use crate::time::WallTime;
use bytes::Bytes;
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy as Step;
use proptest::collection::vec;
use proptest::prelude::*;
use std::ops::RangeInclusive;
use std::time::Duration;

pub(super) fn secs(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub(super) fn millis(millis: i32) -> prost_types::Duration {
    prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 }
}

pub(super) fn step(strategy: Step) -> v1::FallbackStep {
    v1::FallbackStep { strategy: Some(strategy) }
}

pub(super) fn alternative(service: &str) -> v1::FallbackStep {
    step(Step::Alternative(v1::AlternativeFallback { service: service.to_owned(), ..Default::default() }))
}

pub(super) fn cached() -> v1::FallbackStep {
    step(Step::Cached(v1::CachedFallback::default()))
}

pub(super) fn degraded() -> v1::FallbackStep {
    step(Step::Degraded(v1::DegradedFallback::default()))
}

pub(super) fn with_chain(chain: Vec<v1::FallbackStep>) -> v1::IsolationPolicy {
    v1::IsolationPolicy { fallback: Some(v1::FallbackPolicy { chain, ..Default::default() }), ..Default::default() }
}

pub(super) fn paths<T: std::fmt::Debug>(result: &Result<T, InvalidPolicy>) -> Vec<&str> {
    result.as_ref().unwrap_err().violations().iter().map(|violation| violation.path.as_str()).collect()
}

/// Any valid policy.
pub(super) fn policy() -> impl Strategy<Value = Policy> {
    // Boxed, for all of it by value is more than a test's stack.
    let sections = (
        timeout().boxed(),
        breaker().boxed(),
        classification().boxed(),
        retry().boxed(),
        hedge().boxed(),
        bulkhead().boxed(),
        limits().boxed(),
        (health(), fleet_hint()).boxed(),
    );
    let level = prop::sample::select(Level::ALL.to_vec());
    (level, sections, vec(method_override().boxed(), 0..4))
        .prop_flat_map(
            |(
                level,
                (timeout, breaker, classification, retry, hedge, bulkhead, limits, (health, fleet_hint)),
                overrides,
            )| {
                let (adaptive_limit, rate_limit) = limits;
                fallback(timeout).boxed().prop_map(move |fallback| {
                    let budget = retry.budget;
                    let mut spec = PolicySpec {
                        level,
                        timeout,
                        breaker: breaker.clone(),
                        classification: classification.clone(),
                        retry: retry.clone(),
                        hedge,
                        bulkhead: bulkhead.clone(),
                        adaptive_limit,
                        rate_limit,
                        fallback,
                        health,
                        fleet_hint,
                        method_overrides: Vec::new(),
                    };
                    for (index, entry) in overrides.iter().cloned().enumerate() {
                        let glob = format!("{}{index}", entry.glob);
                        // As it is read: a slash at its front says nothing.
                        let glob = crate::glob::method_name(&glob).to_owned();
                        let retry = entry.retry.map(|retry| RetryPolicy { budget, ..retry });
                        spec.method_overrides.push(MethodOverride { glob, retry, ..entry });
                    }
                    spec
                })
            },
        )
        .prop_map(|spec| Policy::new(spec).unwrap())
}

/// An override that goes with any policy: deadline and reserve, which depend on each other, are replaced together.
fn method_override() -> impl Strategy<Value = MethodOverride> {
    let alone = bulkhead().prop_map(|bulkhead| BulkheadPolicy { pools: Vec::new(), ..bulkhead });
    let both = timeout().prop_flat_map(|timeout| (Just(timeout), fallback(timeout)));
    let sections = (
        prop::option::of(breaker().boxed()),
        prop::option::of(classification().boxed()),
        prop::option::of(retry().boxed()),
        prop::option::of(hedge().boxed()),
        prop::option::of(alone.boxed()),
        prop::option::of(adaptive_limit().boxed()),
        prop::option::of(rate_limit().boxed()),
        prop::option::of(both.boxed()),
    );
    ("[^\\p{Cc}]{1,64}", any::<Option<bool>>(), sections).prop_map(
        |(glob, is_idempotent, (breaker, classification, retry, hedge, bulkhead, adaptive_limit, rate_limit, both))| {
            let (timeout, fallback) = both.unzip();
            MethodOverride {
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
            }
        },
    )
}

fn between(min: Duration, max: Duration) -> impl Strategy<Value = Duration> {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
    (nanos(min)..=nanos(max)).prop_map(Duration::from_nanos)
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn or_zero(min: Duration) -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), between(min, MAX_DURATION)]
}

fn ratio() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(-0.0), Just(1.0), 0.0..=1.0]
}

fn timeout() -> impl Strategy<Value = TimeoutPolicy> {
    (or_zero(MILLISECOND), or_zero(MILLISECOND), any::<bool>(), any::<u64>()).prop_map(
        |(call_timeout, attempt_timeout, propagate_deadline, budget)| {
            let limit = if call_timeout.is_zero() { MAX_DURATION } else { call_timeout };
            let limit = u64::try_from(limit.as_nanos()).unwrap();
            let min_attempt_budget = Duration::from_nanos(budget % limit);
            TimeoutPolicy { call_timeout, attempt_timeout, propagate_deadline, min_attempt_budget }
        },
    )
}

fn breaker() -> impl Strategy<Value = BreakerPolicy> {
    let modes = prop::sample::select(vec![
        BreakerMode::Auto,
        BreakerMode::ForcedOpen,
        BreakerMode::Disabled,
        BreakerMode::MetricsOnly,
    ]);
    let expiries = prop::sample::select(vec![LeaseExpiry::Reprobe, LeaseExpiry::Open, LeaseExpiry::Close]);
    let window = (between(Duration::from_millis(600), MAX_DURATION), 1..=60u32)
        .prop_map(|(length, buckets)| BreakerWindow::Time(TimeWindow { length, buckets }));
    let window = prop_oneof![window, (1..=1024u32).prop_map(BreakerWindow::Count)];
    let open = (between(MILLISECOND, MAX_DURATION), between(MILLISECOND, MAX_DURATION), 1.0..=10.0, ratio());
    let triggers = (any::<u32>(), 0..=1023u32, any::<u32>(), ratio(), between(Duration::ZERO, MAX_DURATION), ratio());
    let probes = (0..=1023u32, 1..=1023u32, 0..=1023u32, or_zero(MILLISECOND), expiries);
    let ramp = (between(Duration::ZERO, MAX_DURATION), ratio());
    let until = (-62_135_596_800..=253_402_300_799_i64, 0..1_000_000_000_u32);
    let until = prop::option::of(until.prop_map(|(seconds, nanos)| WallTime::new(seconds, nanos).unwrap()));
    ((modes, until), window, triggers, open, probes, ramp).prop_map(
        |(
            (mode, mode_until),
            window,
            (minimum_calls, consecutive_failures, failure_count, failure_rate, slow_call_duration, slow_call_rate),
            (one, other, open_backoff_multiplier, open_jitter_ratio),
            (half_open_max_in_flight, success_threshold, half_open_allowed_failures, half_open_lease, on_lease_expiry),
            (ramp_duration, ramp_min_ratio),
        )| BreakerPolicy {
            mode,
            mode_until,
            window,
            minimum_calls,
            consecutive_failures,
            failure_count,
            failure_rate,
            slow_call_duration,
            slow_call_rate,
            open_duration: one.min(other),
            open_backoff_multiplier,
            max_open_duration: one.max(other),
            open_jitter_ratio,
            half_open_max_in_flight,
            success_threshold,
            half_open_allowed_failures,
            half_open_lease,
            on_lease_expiry,
            ramp_duration,
            ramp_min_ratio,
        },
    )
}

fn codes(least: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::sample::subsequence((0..=16).collect::<Vec<u32>>(), least..=17).prop_shuffle()
}

fn statuses() -> impl Strategy<Value = Vec<RangeInclusive<u32>>> {
    vec((100..=599u32, 100..=599u32).prop_map(|(one, other)| one.min(other)..=one.max(other)), 1..6)
}

fn classification() -> impl Strategy<Value = ClassificationPolicy> {
    let outcomes = prop::sample::select(vec![Outcome::Success, Outcome::Failure, Outcome::Neutral]);
    let rule = ("[^\\p{Cc}]{1,64}", outcomes).prop_map(|(type_name, outcome)| ErrorTypeRule { type_name, outcome });
    (codes(1), codes(1), statuses(), statuses(), vec(rule, 0..4)).prop_map(
        |(grpc_failure_codes, grpc_neutral_codes, http_failure_statuses, http_neutral_statuses, error_types)| {
            ClassificationPolicy {
                grpc_failure_codes,
                grpc_neutral_codes,
                http_failure_statuses,
                http_neutral_statuses,
                error_types,
            }
        },
    )
}

fn retry() -> impl Strategy<Value = RetryPolicy> {
    let jitter =
        prop_oneof![Just(Jitter::None), ratio().prop_map(Jitter::PlusMinus), Just(Jitter::Equal), Just(Jitter::Full)];
    let budget = (ratio(), 0..=10_000u32, between(SECOND, 60 * SECOND))
        .prop_map(|(ratio, min_per_second, ttl)| BudgetPolicy { ratio, min_per_second, ttl });
    let pauses = (between(Duration::ZERO, MAX_DURATION), between(Duration::ZERO, MAX_DURATION), 1.0..=10.0);
    (1..=10u32, pauses, jitter, budget, codes(0), any::<[bool; 2]>(), or_zero(MILLISECOND)).prop_map(
        |(max_attempts, (one, other, multiplier), jitter, budget, retryable_grpc_codes, flags, max_pushback)| {
            RetryPolicy {
                max_attempts,
                initial_backoff: one.min(other),
                multiplier,
                max_backoff: one.max(other),
                jitter,
                budget,
                retryable_grpc_codes,
                only_idempotent: flags[0],
                honour_pushback: flags[1],
                max_pushback,
            }
        },
    )
}

fn hedge() -> impl Strategy<Value = HedgePolicy> {
    let percentile = prop_oneof![Just(0.0), Just(-0.0), 0.0..1.0];
    (or_zero(Duration::from_nanos(1)), 1..=4u32, percentile).prop_map(|(delay, max_extra, percentile)| {
        let percentile = if delay.is_zero() { 0.0 } else { percentile };
        HedgePolicy { delay, max_extra, percentile }
    })
}

/// `max_concurrent`, `max_queue` and `max_wait`.
fn places() -> impl Strategy<Value = (u32, u32, Duration)> {
    let waiting = prop_oneof![
        (Just(0), between(Duration::ZERO, MAX_DURATION)),
        (1..=100_000u32, between(Duration::from_nanos(1), MAX_DURATION)),
    ];
    (1..=100_000u32, waiting).prop_map(|(max_concurrent, (max_queue, max_wait))| (max_concurrent, max_queue, max_wait))
}

fn bulkhead() -> impl Strategy<Value = BulkheadPolicy> {
    let pool = ("[a-zA-Z][a-zA-Z0-9._-]{0,59}", places(), vec("[^\\p{Cc}]{1,64}", 0..4), any::<bool>());
    (places(), vec(pool, 0..6)).prop_map(|((max_concurrent, max_queue, max_wait), pools)| {
        let pools =
            pools.into_iter().enumerate().map(|(index, (name, places, method_globs, isolate_breaker))| PoolPolicy {
                name: format!("{name}{index}"),
                max_concurrent: places.0,
                max_queue: places.1,
                max_wait: places.2,
                method_globs,
                isolate_breaker,
            });
        BulkheadPolicy { max_concurrent, max_queue, max_wait, pools: pools.collect() }
    })
}

fn limits() -> impl Strategy<Value = (AdaptiveLimitPolicy, Option<RateLimitPolicy>)> {
    (adaptive_limit(), rate_limit())
}

fn adaptive_limit() -> impl Strategy<Value = AdaptiveLimitPolicy> {
    let kinds =
        prop::sample::select(vec![AdaptiveLimitKind::Off, AdaptiveLimitKind::Gradient2, AdaptiveLimitKind::Aimd]);
    (kinds, [1..=100_000u32, 1..=100_000u32, 1..=100_000u32]).prop_map(|(kind, mut bounds)| {
        bounds.sort_unstable();
        let [min, initial, max] = bounds;
        AdaptiveLimitPolicy { kind, min, initial, max }
    })
}

fn rate_limit() -> impl Strategy<Value = Option<RateLimitPolicy>> {
    let limit = (
        1..=u32::MAX,
        between(Duration::from_nanos(1), MAX_DURATION),
        any::<u32>(),
        between(Duration::ZERO, MAX_DURATION),
    );
    prop::option::of(limit.prop_map(|(permits, period, burst, max_wait)| RateLimitPolicy {
        permits,
        period,
        burst,
        max_wait,
    }))
}

fn fallback(timeout: TimeoutPolicy) -> impl Strategy<Value = FallbackPolicy> {
    let fixed = (vec(any::<u8>(), 0..64), "[^\\p{Cc}]{0,60}").prop_map(|(payload, content_type)| {
        FallbackStep::Static(StaticFallback { payload: Bytes::from(payload), content_type })
    });
    let bytes = (1..=1_048_576u32).prop_flat_map(|max_entry_bytes| {
        (Just(max_entry_bytes), prop_oneof![Just(67_108_864), max_entry_bytes..=1_073_741_824u32])
    });
    let key_fields = prop::sample::subsequence(vec!["user_id", "region", "a"], 0..=3).prop_shuffle();
    let ages = (between(MILLISECOND, MAX_DURATION), between(Duration::ZERO, MAX_DURATION));
    let cached = (ages, 1..=100_000u32, bytes, key_fields).prop_map(
        |((ttl, stale_if_error), max_entries, (max_entry_bytes, max_bytes), key_fields)| {
            let key_fields = key_fields.into_iter().map(str::to_owned).collect();
            let step = CachedFallback { ttl, stale_if_error, max_entries, max_entry_bytes, max_bytes, key_fields };
            FallbackStep::Cached(step)
        },
    );
    let alternative = ("[a-z0-9]([a-z0-9._-]{0,60}[a-z0-9])?", "[^\\p{Cc}]{0,64}", between(MILLISECOND, MAX_DURATION))
        .prop_map(|(service, method, timeout)| {
            let service = Name::new(&service).unwrap();
            FallbackStep::Alternative(AlternativeFallback { service, method, timeout })
        });
    let degraded = (vec("[^\\p{Cc}]{0,16}", 0..8), "[^\\p{Cc}]{0,60}")
        .prop_map(|(features, reason)| FallbackStep::Degraded(DegradedFallback { features, reason }));
    let chain = (fixed, cached, alternative, degraded)
        .prop_map(|steps| vec![steps.0, steps.1, steps.2, steps.3])
        .prop_shuffle()
        .prop_flat_map(|steps| prop::sample::subsequence(steps, 0..=4));
    let on = prop::sample::subsequence(FallbackTrigger::ALL.to_vec(), 1..=5).prop_shuffle();
    let limit =
        if timeout.call_timeout.is_zero() { MAX_DURATION } else { timeout.call_timeout - timeout.min_attempt_budget };
    let reserve = prop::option::of(between(Duration::ZERO, limit - Duration::from_nanos(1)));
    (any::<bool>(), chain, on, 1..=100_000u32, reserve).prop_map(|(enabled, chain, on, max_concurrent, reserve)| {
        FallbackPolicy { enabled, chain, on, max_concurrent, reserve }
    })
}

fn health() -> impl Strategy<Value = HealthPolicy> {
    (ratio(), ratio(), between(SECOND, 3600 * SECOND), any::<u32>()).prop_map(|(one, other, window, minimum_calls)| {
        HealthPolicy {
            degraded_error_rate: one.min(other),
            unhealthy_error_rate: one.max(other),
            window,
            minimum_calls,
        }
    })
}

fn fleet_hint() -> impl Strategy<Value = FleetHintPolicy> {
    let modes = prop::sample::select(vec![FleetHintMode::Off, FleetHintMode::Advisory, FleetHintMode::Enforce]);
    (modes, 2..=100_000u32, ratio(), between(SECOND, 600 * SECOND)).prop_map(
        |(mode, min_open_instances, min_open_ratio, ttl)| FleetHintPolicy {
            mode,
            min_open_instances,
            min_open_ratio,
            ttl,
        },
    )
}
