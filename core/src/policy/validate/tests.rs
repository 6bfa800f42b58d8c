use super::super::{
    AdaptiveLimitPolicy, AlternativeFallback, BreakerWindow, BudgetPolicy, BulkheadPolicy, CachedFallback,
    DegradedFallback, FallbackPolicy, FallbackStep, FallbackTrigger, Jitter, MethodOverride, Policy, PolicySpec,
    PoolPolicy, RateLimitPolicy, RetryPolicy, StaticFallback, TimeWindow, TimeoutPolicy,
};
use super::{InvalidPolicy, MAX_DURATION, Violation};
use crate::name::Name;
use bytes::Bytes;
use std::time::Duration;

type Change = fn(&mut PolicySpec);

fn paths(change: Change) -> Vec<String> {
    let mut spec = PolicySpec::default();
    change(&mut spec);
    let result = Policy::new(spec);
    let violations = result.as_ref().err().map_or(&[][..], InvalidPolicy::violations);
    violations.iter().map(|violation| violation.path.clone()).collect()
}

fn check(cases: &[(&str, Change)]) {
    for (index, (path, change)) in cases.iter().enumerate() {
        assert_eq!(paths(*change), [*path], "case {index}");
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);
const TOO_LONG: Duration = Duration::from_nanos(86_400_000_000_001);
const TOO_SHORT: Duration = Duration::from_nanos(999_999);

#[test]
fn the_default_is_valid() {
    assert_eq!(paths(|_| {}), [""; 0]);
}

#[test]
fn timeouts() {
    check(&[
        ("timeout.call_timeout", |spec| spec.timeout.call_timeout = TOO_LONG),
        ("timeout.call_timeout", |spec| spec.timeout.call_timeout = TOO_SHORT),
        ("timeout.call_timeout", |spec| spec.timeout.call_timeout = Duration::MAX),
        ("timeout.attempt_timeout", |spec| spec.timeout.attempt_timeout = TOO_LONG),
        ("timeout.attempt_timeout", |spec| spec.timeout.attempt_timeout = NANOSECOND),
        ("timeout.min_attempt_budget", |spec| spec.timeout.min_attempt_budget = TOO_LONG),
        ("timeout.min_attempt_budget", |spec| spec.timeout.min_attempt_budget = spec.timeout.call_timeout),
    ]);
    assert_eq!(paths(|spec| spec.timeout.call_timeout = Duration::ZERO), [""; 0]);
    assert_eq!(paths(|spec| spec.timeout.call_timeout = MAX_DURATION), [""; 0]);
}

fn time(spec: &mut PolicySpec) -> &mut TimeWindow {
    let BreakerWindow::Time(window) = &mut spec.breaker.window else { panic!() };
    window
}

#[test]
fn breakers() {
    check(&[
        ("circuit_breaker.time_window.length", |spec| time(spec).length = Duration::from_millis(99)),
        ("circuit_breaker.time_window.length", |spec| time(spec).length = TOO_LONG),
        ("circuit_breaker.time_window.buckets", |spec| time(spec).buckets = 0),
        ("circuit_breaker.time_window.buckets", |spec| time(spec).buckets = 61),
        ("circuit_breaker.time_window.buckets", |spec| {
            time(spec).length = Duration::from_millis(100);
            time(spec).buckets = 11;
        }),
        ("circuit_breaker.count_window.size", |spec| spec.breaker.window = BreakerWindow::Count(0)),
        ("circuit_breaker.count_window.size", |spec| spec.breaker.window = BreakerWindow::Count(1_025)),
        ("circuit_breaker.consecutive_failures", |spec| spec.breaker.consecutive_failures = 1024),
        ("circuit_breaker.failure_rate", |spec| spec.breaker.failure_rate = f64::NAN),
        ("circuit_breaker.failure_rate", |spec| spec.breaker.failure_rate = 1.01),
        ("circuit_breaker.failure_rate", |spec| spec.breaker.failure_rate = -0.01),
        ("circuit_breaker.slow_call_duration", |spec| spec.breaker.slow_call_duration = TOO_LONG),
        ("circuit_breaker.slow_call_rate", |spec| spec.breaker.slow_call_rate = 1.01),
        ("circuit_breaker.slow_call_rate", |spec| spec.breaker.slow_call_rate = f64::NAN),
        ("circuit_breaker.open_duration", |spec| spec.breaker.open_duration = TOO_SHORT),
        ("circuit_breaker.open_backoff_multiplier", |spec| spec.breaker.open_backoff_multiplier = 0.99),
        ("circuit_breaker.open_backoff_multiplier", |spec| spec.breaker.open_backoff_multiplier = f64::INFINITY),
        ("circuit_breaker.max_open_duration", |spec| spec.breaker.max_open_duration = TOO_LONG),
        ("circuit_breaker.max_open_duration", |spec| spec.breaker.max_open_duration = Duration::from_secs(29)),
        ("circuit_breaker.open_jitter_ratio", |spec| spec.breaker.open_jitter_ratio = 2.0),
        ("circuit_breaker.half_open_max_in_flight", |spec| spec.breaker.half_open_max_in_flight = 1024),
        ("circuit_breaker.success_threshold", |spec| spec.breaker.success_threshold = 0),
        ("circuit_breaker.success_threshold", |spec| spec.breaker.success_threshold = 1024),
        ("circuit_breaker.half_open_allowed_failures", |spec| spec.breaker.half_open_allowed_failures = 1024),
        ("circuit_breaker.half_open_lease", |spec| spec.breaker.half_open_lease = TOO_SHORT),
        ("circuit_breaker.ramp_duration", |spec| spec.breaker.ramp_duration = TOO_LONG),
        ("circuit_breaker.ramp_min_ratio", |spec| spec.breaker.ramp_min_ratio = -0.01),
        ("circuit_breaker.ramp_min_ratio", |spec| spec.breaker.ramp_min_ratio = f64::NAN),
    ]);
}

#[test]
fn codes() {
    check(&[
        ("classification.grpc_failure_codes", |spec| spec.classification.grpc_failure_codes = vec![17]),
        ("classification.grpc_failure_codes", |spec| spec.classification.grpc_failure_codes = vec![2, 2]),
        ("classification.grpc_failure_codes", |spec| spec.classification.grpc_failure_codes.clear()),
        ("classification.grpc_neutral_codes", |spec| spec.classification.grpc_neutral_codes = vec![1; 1_000_000]),
        ("classification.grpc_neutral_codes", |spec| spec.classification.grpc_neutral_codes.clear()),
        ("retry.retryable_grpc_codes", |spec| spec.retry.retryable_grpc_codes = vec![u32::MAX]),
    ]);
    assert_eq!(paths(|spec| spec.classification.grpc_failure_codes = (0..=16).collect()), [""; 0]);
}

#[test]
fn retries() {
    check(&[
        ("retry.max_attempts", |spec| spec.retry.max_attempts = 0),
        ("retry.max_attempts", |spec| spec.retry.max_attempts = 11),
        ("retry.initial_backoff", |spec| spec.retry.initial_backoff = TOO_LONG),
        ("retry.multiplier", |spec| spec.retry.multiplier = f64::NAN),
        ("retry.max_backoff", |spec| spec.retry.max_backoff = Duration::from_millis(99)),
        ("retry.jitter_ratio", |spec| spec.retry.jitter = Jitter::PlusMinus(1.1)),
        ("retry.budget.ratio", |spec| spec.retry.budget.ratio = -1.0),
        ("retry.budget.min_per_second", |spec| spec.retry.budget.min_per_second = 10_001),
        ("retry.budget.ttl", |spec| spec.retry.budget.ttl = Duration::from_millis(999)),
        ("retry.budget.ttl", |spec| spec.retry.budget.ttl = Duration::from_secs(61)),
        ("retry.max_pushback", |spec| spec.retry.max_pushback = TOO_SHORT),
    ]);
}

fn pool(name: &str) -> PoolPolicy {
    PoolPolicy { name: name.to_owned(), ..PoolPolicy::default() }
}

#[test]
fn bulkheads() {
    check(&[
        ("bulkhead.max_concurrent", |spec| spec.bulkhead.max_concurrent = 0),
        ("bulkhead.max_wait", |spec| spec.bulkhead.max_queue = 1),
        ("bulkhead.max_queue", |spec| spec.bulkhead.max_queue = 100_001),
        ("bulkhead.pools[1].name", |spec| spec.bulkhead.pools = vec![pool("a"), pool("a")]),
        ("bulkhead.pools[0].name", |spec| spec.bulkhead.pools = vec![pool("a b")]),
        ("bulkhead.pools[0].max_concurrent", |spec| {
            spec.bulkhead.pools = vec![PoolPolicy { max_concurrent: 0, ..pool("a") }];
        }),
        ("bulkhead.pools[0].max_wait", |spec| {
            spec.bulkhead.pools = vec![PoolPolicy { max_queue: 1, ..pool("a") }];
        }),
        ("bulkhead.pools[0].method_globs[0]", |spec| {
            spec.bulkhead.pools = vec![PoolPolicy { method_globs: vec![String::new()], ..pool("a") }];
        }),
        ("bulkhead.pools", |spec| {
            spec.bulkhead.pools = (0..33).map(|index| pool(&format!("p{index}"))).collect();
        }),
    ]);
}

fn alternative() -> FallbackStep {
    let service = Name::new("backup").unwrap();
    FallbackStep::Alternative(AlternativeFallback {
        service,
        method: String::new(),
        timeout: AlternativeFallback::DEFAULT_TIMEOUT,
    })
}

fn fixed(length: usize) -> FallbackStep {
    FallbackStep::Static(StaticFallback { payload: Bytes::from(vec![0; length]), ..StaticFallback::default() })
}

#[test]
fn fallbacks() {
    check(&[
        ("fallback.chain", |spec| spec.fallback.chain = vec![alternative(); 1_000_000]),
        ("fallback.chain[1].static", |spec| spec.fallback.chain = vec![fixed(0), fixed(1)]),
        ("fallback.chain[0].static.payload", |spec| spec.fallback.chain = vec![fixed(65_537)]),
        ("fallback.chain[0].cached.ttl", |spec| {
            spec.fallback.chain =
                vec![FallbackStep::Cached(CachedFallback { ttl: Duration::ZERO, ..CachedFallback::default() })];
        }),
        ("fallback.chain[0].cached.max_bytes", |spec| {
            let cached = CachedFallback { max_entry_bytes: 1000, max_bytes: 999, ..CachedFallback::default() };
            spec.fallback.chain = vec![FallbackStep::Cached(cached)];
        }),
        ("fallback.chain[0].cached.key_fields[1]", |spec| {
            let key_fields = vec!["user_id".to_owned(), "user_id".to_owned()];
            spec.fallback.chain =
                vec![FallbackStep::Cached(CachedFallback { key_fields, ..CachedFallback::default() })];
        }),
        ("fallback.chain[1].degraded.reason", |spec| {
            let reason = "\u{1b}[31m".to_owned();
            spec.fallback.chain =
                vec![alternative(), FallbackStep::Degraded(DegradedFallback { features: Vec::new(), reason })];
        }),
        ("fallback.on", |spec| spec.fallback.on.clear()),
        ("fallback.on", |spec| spec.fallback.on = vec![FallbackTrigger::Open; 2]),
        ("fallback.max_concurrent", |spec| spec.fallback.max_concurrent = 0),
        ("fallback.reserve", |spec| spec.fallback.reserve = Some(spec.timeout.call_timeout)),
        ("fallback.reserve", |spec| spec.fallback.reserve = Some(TOO_LONG)),
        ("fallback.reserve", |spec| {
            spec.fallback.reserve = Some(spec.timeout.call_timeout - spec.timeout.min_attempt_budget)
        }),
    ]);
    assert_eq!(paths(|spec| spec.fallback.chain = vec![alternative(), alternative(), fixed(65_536)]), [""; 0]);
}

#[test]
fn http_statuses() {
    check(&[
        ("classification.http_failure_statuses", |spec| spec.classification.http_failure_statuses.clear()),
        ("classification.http_neutral_statuses", |spec| {
            spec.classification.http_neutral_statuses = vec![429..=429; 501];
        }),
        ("classification.http_failure_statuses[1].first", |spec| {
            spec.classification.http_failure_statuses = vec![500..=599, 99..=500];
        }),
        ("classification.http_failure_statuses[0].last", |spec| {
            spec.classification.http_failure_statuses = vec![500..=600];
        }),
    ]);
}

#[test]
fn adaptive_limits() {
    check(&[
        ("adaptive_limit.min", |spec| spec.adaptive_limit.min = 0),
        ("adaptive_limit.initial", |spec| spec.adaptive_limit.initial = 0),
        ("adaptive_limit.initial", |spec| spec.adaptive_limit.initial = 201),
        ("adaptive_limit.initial", |spec| spec.adaptive_limit.min = 21),
        ("adaptive_limit.max", |spec| spec.adaptive_limit.max = 100_001),
        ("adaptive_limit.max", |spec| spec.adaptive_limit.min = 201),
        ("method_overrides[0].policy.adaptive_limit.max", |spec| {
            let limit = AdaptiveLimitPolicy { max: 100_001, ..AdaptiveLimitPolicy::default() };
            spec.method_overrides = vec![MethodOverride { adaptive_limit: Some(limit), ..named("a") }];
        }),
    ]);
    assert_eq!(paths(|spec| (spec.adaptive_limit.min, spec.adaptive_limit.initial) = (200, 200)), [""; 0]);
}

#[test]
fn rate_limits() {
    check(&[
        ("rate_limit.permits", |spec| spec.rate_limit = Some(RateLimitPolicy::per_second(0))),
        ("rate_limit.period", |spec| {
            spec.rate_limit = Some(RateLimitPolicy { period: Duration::ZERO, ..RateLimitPolicy::per_second(1) });
        }),
        ("rate_limit.max_wait", |spec| {
            spec.rate_limit = Some(RateLimitPolicy { max_wait: TOO_LONG, ..RateLimitPolicy::per_second(1) });
        }),
    ]);
    assert_eq!(paths(|spec| spec.rate_limit = Some(RateLimitPolicy::per_second(u32::MAX))), [""; 0]);
}

#[test]
fn health() {
    check(&[
        ("health.degraded_error_rate", |spec| spec.health.degraded_error_rate = f64::NAN),
        ("health.unhealthy_error_rate", |spec| spec.health.unhealthy_error_rate = 0.1),
        ("health.window", |spec| spec.health.window = Duration::from_millis(999)),
        ("health.window", |spec| spec.health.window = Duration::from_secs(3601)),
    ]);
}

#[test]
fn a_fault_does_not_bring_others_along() {
    check(&[
        // Below min_attempt_budget, too, but that one is not at fault.
        ("timeout.call_timeout", |spec| {
            spec.timeout.call_timeout = NANOSECOND;
            spec.fallback.reserve = Some(Duration::from_secs(1));
        }),
        ("circuit_breaker.open_duration", |spec| spec.breaker.open_duration = TOO_LONG),
        ("circuit_breaker.time_window.length", |spec| time(spec).length = Duration::ZERO),
        ("retry.initial_backoff", |spec| spec.retry.initial_backoff = TOO_LONG),
        ("health.degraded_error_rate", |spec| spec.health.degraded_error_rate = 1.5),
    ]);
}

#[test]
fn the_message_names_all_faults() {
    let mut spec = PolicySpec::default();
    spec.retry.max_attempts = 0;
    spec.health.window = Duration::ZERO;
    assert_eq!(
        Policy::new(spec).unwrap_err().to_string(),
        "invalid policy: retry.max_attempts must be in [1, 10], not 0; health.window must be in [1s, 24h], not 0ns"
    );
    let alone = InvalidPolicy::from(Violation::invalid("level", "must be set"));
    assert_eq!(alone.to_string(), "invalid policy: level must be set");
    assert_eq!(InvalidPolicy::from_violations(Vec::new()), None);
}

fn named(glob: &str) -> MethodOverride {
    MethodOverride { glob: glob.to_owned(), ..MethodOverride::default() }
}

#[test]
fn overrides() {
    check(&[
        ("method_overrides", |spec| spec.method_overrides = (0..65).map(|index| named(&index.to_string())).collect()),
        ("method_overrides[0].glob", |spec| spec.method_overrides = vec![named("")]),
        ("method_overrides[1].glob", |spec| spec.method_overrides = vec![named("a"), named(&"a".repeat(257))]),
        ("method_overrides[2].glob", |spec| spec.method_overrides = vec![named("a"), named("b"), named("/a")]),
        ("method_overrides[1].policy.retry.max_attempts", |spec| {
            let retry = RetryPolicy { max_attempts: 11, ..RetryPolicy::default() };
            spec.method_overrides = vec![named("a"), MethodOverride { retry: Some(retry), ..named("b") }];
        }),
        ("method_overrides[0].policy.retry.budget", |spec| {
            let budget = BudgetPolicy { ratio: 2.0, ..BudgetPolicy::default() };
            let retry = RetryPolicy { budget, ..RetryPolicy::default() };
            spec.method_overrides = vec![MethodOverride { retry: Some(retry), ..named("a") }];
        }),
        ("method_overrides[0].policy.bulkhead.pools", |spec| {
            let bulkhead = BulkheadPolicy { pools: vec![PoolPolicy::default()], ..BulkheadPolicy::default() };
            spec.method_overrides = vec![MethodOverride { bulkhead: Some(bulkhead), ..named("a") }];
        }),
        ("method_overrides[0].policy.rate_limit.permits", |spec| {
            spec.method_overrides =
                vec![MethodOverride { rate_limit: Some(Some(RateLimitPolicy::per_second(0))), ..named("a") }];
        }),
    ]);
    let most = |spec: &mut PolicySpec| spec.method_overrides = (0..64).map(|index| named(&index.to_string())).collect();
    assert_eq!(paths(most), [""; 0]);
}

/// What an override inherits has to go with what it replaces; what is wrong with the service's own is said once.
#[test]
fn overrides_are_checked_together_with_what_they_inherit() {
    let timeout = TimeoutPolicy { call_timeout: Duration::from_secs(1), ..TimeoutPolicy::default() };
    let mut spec = PolicySpec::default();
    spec.fallback.reserve = Some(Duration::from_secs(2));
    spec.method_overrides = vec![MethodOverride { timeout: Some(timeout), ..named("a") }];
    let invalid = Policy::new(spec.clone()).unwrap_err();
    let [violation] = invalid.violations() else { panic!("{invalid}") };
    assert_eq!(violation.path, "method_overrides[0].policy.fallback.reserve");
    assert!(violation.description.ends_with("it is the service's, so override that section too"), "{violation}");

    spec.method_overrides[0].fallback = Some(FallbackPolicy::default());
    assert!(Policy::new(spec).is_ok());
    let twice = |spec: &mut PolicySpec| {
        spec.retry.max_attempts = 0;
        spec.method_overrides = vec![named("a"), named("b")];
    };
    assert_eq!(paths(twice), ["retry.max_attempts"]);
}
