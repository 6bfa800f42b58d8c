//! Every field at the ends of its range, and beyond them: a fault there is named by its path, and nothing else is.

use crate::policy::limits::MAX_DURATION;
use crate::policy::{InvalidPolicy, ViolationKind};
use crate::wire::testing::step;
use crate::wire::{duration_to_wire, effective_policy};
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;
use cofferdam_proto::v1::fallback_step::Strategy;
use prost_types::Duration as Wire;
use std::time::Duration;

/// A field with the range of its values.
struct Field<T, W = T> {
    path: &'static str,
    min: T,
    max: T,
    /// Whether zero is taken, although below the range.
    or_zero: bool,
    set: Set<W>,
}

/// Writes a value into a policy.
type Set<W> = fn(&mut v1::IsolationPolicy, W);

/// A policy in which each field can take its whole range: nothing that it is compared with stands in its way.
fn roomy() -> v1::IsolationPolicy {
    let day = Some(duration_to_wire(MAX_DURATION));
    let zero = Some(Wire::default());
    let second = Some(Wire { seconds: 1, nanos: 0 });
    let millisecond = Some(Wire {
        seconds: 0,
        nanos: 1_000_000,
    });
    v1::IsolationPolicy {
        timeout: Some(v1::TimeoutPolicy {
            call_timeout: zero,
            min_attempt_budget: zero,
            ..Default::default()
        }),
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
            pools: vec![v1::BulkheadPool {
                name: "readPool".to_owned(),
                max_wait: second,
                ..Default::default()
            }],
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

fn timeout(policy: &mut v1::IsolationPolicy) -> &mut v1::TimeoutPolicy {
    policy.timeout.get_or_insert_default()
}

fn breaker(policy: &mut v1::IsolationPolicy) -> &mut v1::CircuitBreakerPolicy {
    policy.circuit_breaker.get_or_insert_default()
}

/// One bucket, which is as short as a window may be.
fn length(policy: &mut v1::IsolationPolicy, length: Wire) {
    breaker(policy).window = Some(Window::TimeWindow(v1::TimeWindow {
        length: Some(length),
        buckets: 1,
    }));
}

fn retry(policy: &mut v1::IsolationPolicy) -> &mut v1::RetryPolicy {
    policy.retry.get_or_insert_default()
}

fn budget(policy: &mut v1::IsolationPolicy) -> &mut v1::RetryBudget {
    retry(policy).budget.get_or_insert_default()
}

fn hedge(policy: &mut v1::IsolationPolicy) -> &mut v1::HedgePolicy {
    policy.hedge.get_or_insert_default()
}

fn bulkhead(policy: &mut v1::IsolationPolicy) -> &mut v1::BulkheadPolicy {
    policy.bulkhead.get_or_insert_default()
}

fn pool(policy: &mut v1::IsolationPolicy) -> &mut v1::BulkheadPool {
    &mut bulkhead(policy).pools[0]
}

fn rate(policy: &mut v1::IsolationPolicy) -> &mut v1::RateLimitPolicy {
    policy.rate_limit.get_or_insert_default()
}

fn fallback(policy: &mut v1::IsolationPolicy) -> &mut v1::FallbackPolicy {
    policy.fallback.get_or_insert_default()
}

fn cached(policy: &mut v1::IsolationPolicy) -> &mut v1::CachedFallback {
    match &mut fallback(policy).chain[0].strategy {
        Some(Strategy::Cached(step)) => step,
        _ => panic!(),
    }
}

fn alternative(policy: &mut v1::IsolationPolicy) -> &mut v1::AlternativeFallback {
    match &mut fallback(policy).chain[1].strategy {
        Some(Strategy::Alternative(step)) => step,
        _ => panic!(),
    }
}

fn fixed(policy: &mut v1::IsolationPolicy) -> &mut v1::StaticFallback {
    match &mut fallback(policy).chain[2].strategy {
        Some(Strategy::Static(step)) => step,
        _ => panic!(),
    }
}

fn degraded(policy: &mut v1::IsolationPolicy) -> &mut v1::DegradedFallback {
    match &mut fallback(policy).chain[3].strategy {
        Some(Strategy::Degraded(step)) => step,
        _ => panic!(),
    }
}

fn health(policy: &mut v1::IsolationPolicy) -> &mut v1::HealthPolicy {
    policy.health.get_or_insert_default()
}

/// The paths at fault once a field of a roomy policy is set.
fn faults<W>(set: Set<W>, value: W) -> Vec<(String, ViolationKind)> {
    let mut policy = roomy();
    set(&mut policy, value);
    let result = effective_policy(&policy);
    let violations = result.as_ref().err().map_or(&[][..], InvalidPolicy::violations);
    violations
        .iter()
        .map(|violation| (violation.path.clone(), violation.kind))
        .collect()
}

fn refused(path: &str) -> Vec<(String, ViolationKind)> {
    vec![(path.to_owned(), ViolationKind::Invalid)]
}

const NANOSECOND: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

macro_rules! field {
    ($path:literal, $min:expr, $max:expr, $set:expr) => {
        Field {
            path: $path,
            min: $min,
            max: $max,
            or_zero: false,
            set: $set,
        }
    };
    ($path:literal, 0 or $min:expr, $max:expr, $set:expr) => {
        Field {
            path: $path,
            min: $min,
            max: $max,
            or_zero: true,
            set: $set,
        }
    };
}

fn durations() -> Vec<Field<Duration, Wire>> {
    let day = MAX_DURATION;
    vec![
        field!("timeout.call_timeout", 0 or MILLISECOND, day, |p, d| timeout(p).call_timeout = Some(d)),
        field!("timeout.attempt_timeout", 0 or MILLISECOND, day, |p, d| timeout(p).attempt_timeout = Some(d)),
        field!("timeout.min_attempt_budget", Duration::ZERO, day, |p, d| timeout(p)
            .min_attempt_budget =
            Some(d)),
        field!("circuit_breaker.time_window.length", 100 * MILLISECOND, day, length),
        field!("circuit_breaker.open_duration", MILLISECOND, day, |p, d| breaker(p)
            .open_duration =
            Some(d)),
        field!("circuit_breaker.max_open_duration", MILLISECOND, day, |p, d| breaker(
            p
        )
        .max_open_duration =
            Some(d)),
        field!("circuit_breaker.half_open_lease", 0 or MILLISECOND, day, |p, d| breaker(p).half_open_lease = Some(d)),
        field!("retry.initial_backoff", Duration::ZERO, day, |p, d| retry(p)
            .initial_backoff =
            Some(d)),
        field!("retry.max_backoff", Duration::ZERO, day, |p, d| retry(p).max_backoff =
            Some(d)),
        field!("retry.budget.ttl", SECOND, 60 * SECOND, |p, d| budget(p).ttl = Some(d)),
        field!("retry.max_pushback", 0 or MILLISECOND, day, |p, d| retry(p).max_pushback = Some(d)),
        field!("bulkhead.max_wait", Duration::ZERO, day, |p, d| bulkhead(p).max_wait =
            Some(d)),
        field!("bulkhead.pools[0].max_wait", Duration::ZERO, day, |p, d| pool(p)
            .max_wait =
            Some(d)),
        field!("fallback.chain[0].cached.ttl", MILLISECOND, day, |p, d| cached(p).ttl =
            Some(d)),
        field!(
            "fallback.chain[0].cached.stale_if_error",
            Duration::ZERO,
            day,
            |p, d| {
                cached(p).stale_if_error = Some(d);
            }
        ),
        field!("fallback.chain[1].alternative.timeout", MILLISECOND, day, |p, d| {
            alternative(p).timeout = Some(d)
        }),
        field!("fallback.reserve", Duration::ZERO, day, |p, d| fallback(p).reserve =
            Some(d)),
        field!("health.window", SECOND, 3600 * SECOND, |p, d| health(p).window =
            Some(d)),
        // In this release these take nothing but zero, or wait for another field.
        field!("rate_limit.period", Duration::ZERO, day, |p, d| rate(p).period =
            Some(d)),
        field!("rate_limit.max_wait", Duration::ZERO, day, |p, d| rate(p).max_wait =
            Some(d)),
    ]
}

fn reals() -> Vec<Field<f64>> {
    vec![
        field!("circuit_breaker.failure_rate", 0.0, 1.0, |p, x| breaker(p)
            .failure_rate =
            Some(x)),
        field!("circuit_breaker.slow_call_rate", 0.0, 1.0, |p, x| breaker(p)
            .slow_call_rate =
            Some(x)),
        field!("circuit_breaker.open_backoff_multiplier", 1.0, 10.0, |p, x| {
            breaker(p).open_backoff_multiplier = Some(x);
        }),
        field!("circuit_breaker.open_jitter_ratio", 0.0, 1.0, |p, x| breaker(p)
            .open_jitter_ratio =
            Some(x)),
        field!("circuit_breaker.ramp_min_ratio", 0.0, 1.0, |p, x| breaker(p)
            .ramp_min_ratio =
            Some(x)),
        field!("retry.multiplier", 1.0, 10.0, |p, x| retry(p).multiplier = Some(x)),
        field!("retry.jitter_ratio", 0.0, 1.0, |p, x| retry(p).jitter_ratio = Some(x)),
        // It is checked where it waits for its jitter, too.
        field!("retry.jitter_ratio", 0.0, 1.0, |p, x| {
            retry(p).jitter = 0;
            retry(p).jitter_ratio = Some(x);
        }),
        field!("retry.budget.ratio", 0.0, 1.0, |p, x| budget(p).ratio = Some(x)),
        field!("health.degraded_error_rate", 0.0, 1.0, |p, x| health(p)
            .degraded_error_rate =
            Some(x)),
        field!("health.unhealthy_error_rate", 0.0, 1.0, |p, x| health(p)
            .unhealthy_error_rate =
            Some(x)),
    ]
}

fn numbers() -> Vec<Field<u32>> {
    let buckets = |p: &mut v1::IsolationPolicy, buckets| {
        breaker(p).window = Some(Window::TimeWindow(v1::TimeWindow { length: None, buckets }));
    };
    vec![
        field!("circuit_breaker.time_window.buckets", 0, 60, buckets),
        field!("circuit_breaker.minimum_calls", 0, u32::MAX, |p, n| breaker(p)
            .minimum_calls =
            Some(n)),
        field!("circuit_breaker.consecutive_failures", 0, 1023, |p, n| breaker(p)
            .consecutive_failures =
            Some(n)),
        field!("circuit_breaker.failure_count", 0, u32::MAX, |p, n| breaker(p)
            .failure_count =
            Some(n)),
        field!("circuit_breaker.half_open_max_in_flight", 0, 1023, |p, n| {
            breaker(p).half_open_max_in_flight = Some(n);
        }),
        field!("circuit_breaker.success_threshold", 1, 1023, |p, n| breaker(p)
            .success_threshold =
            Some(n)),
        field!("circuit_breaker.half_open_allowed_failures", 0, 1023, |p, n| {
            breaker(p).half_open_allowed_failures = Some(n);
        }),
        field!("retry.max_attempts", 1, 10, |p, n| retry(p).max_attempts = Some(n)),
        field!("retry.budget.min_per_second", 0, 10_000, |p, n| budget(p)
            .min_per_second =
            Some(n)),
        field!("hedge.max_extra", 1, 4, |p, n| hedge(p).max_extra = Some(n)),
        field!("bulkhead.max_concurrent", 1, 100_000, |p, n| bulkhead(p)
            .max_concurrent =
            Some(n)),
        field!("bulkhead.max_queue", 0, 100_000, |p, n| bulkhead(p).max_queue = Some(n)),
        field!("bulkhead.pools[0].max_concurrent", 1, 100_000, |p, n| pool(p)
            .max_concurrent =
            Some(n)),
        field!("bulkhead.pools[0].max_queue", 0, 100_000, |p, n| pool(p).max_queue =
            Some(n)),
        field!("fallback.max_concurrent", 1, 100_000, |p, n| fallback(p)
            .max_concurrent =
            Some(n)),
        field!("fallback.chain[0].cached.max_entries", 1, 100_000, |p, n| cached(p)
            .max_entries =
            Some(n)),
        field!("fallback.chain[0].cached.max_entry_bytes", 1, 1_048_576, |p, n| {
            cached(p).max_entry_bytes = Some(n);
        }),
        field!("health.minimum_calls", 0, u32::MAX, |p, n| health(p).minimum_calls =
            Some(n)),
    ]
}

#[test]
fn durations_have_their_range() {
    let mut refusals = 0;
    for Field {
        path,
        min,
        max,
        or_zero,
        set,
    } in durations()
    {
        for good in [min, max].into_iter().chain(or_zero.then_some(Duration::ZERO)) {
            assert_eq!(faults(set, duration_to_wire(good)), [], "{path} at {good:?}");
        }
        let below = (min > Duration::ZERO)
            .then(|| min - NANOSECOND)
            .filter(|below| !(or_zero && below.is_zero()));
        let zero = (min > Duration::ZERO && !or_zero).then_some(Duration::ZERO);
        let out = [below, zero, Some(max + NANOSECOND), Some(365 * MAX_DURATION)]
            .into_iter()
            .flatten();
        let broken = [
            (-1, 0),
            (0, -1),
            (1, -1),
            (i64::MIN, i32::MIN),
            (0, 1_000_000_000),
            (i64::MAX, 0),
        ]
        .map(|(seconds, nanos)| Wire { seconds, nanos });
        for bad in out.map(duration_to_wire).chain(broken) {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad:?}");
            refusals += 1;
        }
    }
    assert!(refusals >= 150, "{refusals}");
}

/// Durations that only say "off" are checked like the others.
#[test]
fn durations_of_what_is_not_in_force_are_checked_all_the_same() {
    let fields: [(&str, Set<Wire>); 3] = [
        ("circuit_breaker.slow_call_duration", |p, d| {
            breaker(p).slow_call_duration = Some(d)
        }),
        ("circuit_breaker.ramp_duration", |p, d| {
            breaker(p).ramp_duration = Some(d)
        }),
        ("hedge.delay", |p, d| hedge(p).delay = Some(d)),
    ];
    for (path, set) in fields {
        assert_eq!(faults(set, Wire::default()), []);
        for good in [NANOSECOND, MAX_DURATION] {
            let not_in_force = vec![(path.to_owned(), ViolationKind::NotInForce)];
            assert_eq!(faults(set, duration_to_wire(good)), not_in_force, "{path} at {good:?}");
        }
        for (seconds, nanos) in [(-1, 0), (0, i32::MAX), (86_400, 1), (i64::MAX, 0)] {
            assert_eq!(faults(set, Wire { seconds, nanos }), refused(path), "{path}");
        }
    }
}

#[test]
fn reals_have_their_range() {
    for Field {
        path,
        min,
        max,
        or_zero: _,
        set,
    } in reals()
    {
        for good in [min, max, f64::midpoint(min, max)] {
            assert_eq!(faults(set, good), [], "{path} at {good}");
        }
        for bad in [
            min.next_down(),
            max.next_up(),
            -1.0,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            -f64::NAN,
        ] {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
    for bad in [-f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN] {
        assert_eq!(faults(|p, x| hedge(p).percentile = x, bad), refused("hedge.percentile"));
    }
}

#[test]
fn numbers_have_their_range() {
    for Field {
        path,
        min,
        max,
        or_zero: _,
        set,
    } in numbers()
    {
        for good in [min, max] {
            assert_eq!(faults(set, good), [], "{path} at {good}");
        }
        for bad in [
            min.checked_sub(1),
            max.checked_add(1),
            (max < u32::MAX).then_some(u32::MAX),
        ]
        .into_iter()
        .flatten()
        {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
}

#[test]
fn enumerations_have_their_numbers() {
    let fields: [(&str, i32, Set<i32>); 6] = [
        ("level", 4, |p, n| p.level = n),
        ("circuit_breaker.on_lease_expiry", 3, |p, n| {
            breaker(p).on_lease_expiry = n
        }),
        ("circuit_breaker.mode", 3, |p, n| breaker(p).mode = n),
        ("retry.jitter", 4, |p, n| retry(p).jitter = n),
        ("adaptive_limit.kind", 1, |p, n| {
            p.adaptive_limit.get_or_insert_default().kind = n
        }),
        ("fallback.on[1]", 5, |p, n| {
            fallback(p).on = vec![1, if n == 0 { 2 } else { n }]
        }),
    ];
    for (path, last, set) in fields {
        for good in 0..=last {
            let twice = path == "fallback.on[1]" && good == 1;
            assert_eq!(
                faults(set, good),
                if twice { refused("fallback.on") } else { vec![] },
                "{path} at {good}"
            );
        }
        for bad in [-1, 6, 99, i32::MIN, i32::MAX] {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
    assert_eq!(faults(|p, on| fallback(p).on = on, vec![0]), refused("fallback.on[0]"));
}

#[test]
fn texts_have_their_form() {
    type Text = (&'static str, Set<String>, Vec<String>, Vec<String>);
    let x = |length| "x".repeat(length);
    let control = || vec!["\0".to_owned(), "line\nbreak".to_owned(), "\u{85}".to_owned()];
    let names = ["", "-a", "a-", "A", "a/b", "..", "a b", "\u{e9}"]
        .map(str::to_owned)
        .to_vec();
    let pools = ["", "1pool", "-pool", "read pool", "p\u{f6}l"]
        .map(str::to_owned)
        .to_vec();
    let with = |mut some: Vec<String>, more: String| {
        some.push(more);
        some
    };
    let fields: [Text; 8] = [
        (
            "fallback.chain[1].alternative.service",
            |p, s| alternative(p).service = s,
            vec!["backup-service".to_owned(), x(128)],
            with(names, x(129)),
        ),
        (
            "fallback.chain[1].alternative.method",
            |p, s| alternative(p).method = s,
            vec![x(0), x(512)],
            with(control(), x(513)),
        ),
        (
            "fallback.chain[2].static.content_type",
            |p, s| fixed(p).content_type = s,
            vec![x(0), x(256)],
            with(control(), x(257)),
        ),
        (
            "fallback.chain[3].degraded.reason",
            |p, s| degraded(p).reason = s,
            vec![x(0), x(256)],
            with(control(), x(257)),
        ),
        (
            "fallback.chain[3].degraded.features[0]",
            |p, s| degraded(p).features = vec![s],
            vec![x(64)],
            with(control(), x(65)),
        ),
        (
            "bulkhead.pools[0].name",
            |p, s| pool(p).name = s,
            vec!["authPool".to_owned(), x(64)],
            with(pools, x(65)),
        ),
        (
            "bulkhead.pools[0].method_globs[0]",
            |p, s| pool(p).method_globs = vec![s],
            vec!["*".to_owned(), "/orders.v1.Orders/Get*".to_owned(), x(256)],
            with(with(control(), x(257)), String::new()),
        ),
        (
            "preset",
            |p, s| p.preset = s,
            vec!["stripe".to_owned()],
            vec!["Stripe".to_owned(), x(1000)],
        ),
    ];
    for (path, set, good, bad) in fields {
        for text in good {
            assert_eq!(faults(set, text.clone()), [], "{path} at {text:?}");
        }
        for text in bad {
            assert_eq!(faults(set, text.clone()), refused(path), "{path} at {text:?}");
        }
    }
}

#[test]
fn lists_have_their_length_and_hold_things_once() {
    let codes: [(&str, Set<Vec<u32>>); 3] = [
        ("classification.grpc_failure_codes", |p, c| {
            p.classification.get_or_insert_default().grpc_failure_codes = c
        }),
        ("classification.grpc_neutral_codes", |p, c| {
            p.classification.get_or_insert_default().grpc_neutral_codes = c
        }),
        ("retry.retryable_grpc_codes", |p, c| retry(p).retryable_grpc_codes = c),
    ];
    for (path, set) in codes {
        for good in [vec![], vec![0], vec![14], (0..=16).collect()] {
            assert_eq!(faults(set, good.clone()), [], "{path} at {good:?}");
        }
        for bad in [
            vec![17],
            vec![u32::MAX],
            vec![14, 14],
            vec![1, 2, 17],
            (0..=17).collect(),
        ] {
            assert_eq!(faults(set, bad.clone()), refused(path), "{path} at {bad:?}");
        }
    }
    let set_pools = |p: &mut v1::IsolationPolicy, count: usize| {
        bulkhead(p).pools = (0..count)
            .map(|i| v1::BulkheadPool {
                name: format!("p{i}"),
                ..Default::default()
            })
            .collect();
    };
    assert_eq!(faults(set_pools, 32), []);
    assert_eq!(faults(set_pools, 33), refused("bulkhead.pools"));
    let same = |p: &mut v1::IsolationPolicy, count: usize| {
        bulkhead(p).pools = vec![
            v1::BulkheadPool {
                name: "p".to_owned(),
                ..Default::default()
            };
            count
        ];
    };
    assert_eq!(faults(same, 2), refused("bulkhead.pools[1].name"));
    let globs = |p: &mut v1::IsolationPolicy, count| pool(p).method_globs = vec!["*".to_owned(); count];
    assert_eq!(faults(globs, 32), []);
    assert_eq!(faults(globs, 33), refused("bulkhead.pools[0].method_globs"));
    let features = |p: &mut v1::IsolationPolicy, count| degraded(p).features = vec!["x".to_owned(); count];
    assert_eq!(faults(features, 32), []);
    assert_eq!(faults(features, 33), refused("fallback.chain[3].degraded.features"));
    let steps = |p: &mut v1::IsolationPolicy, count| fallback(p).chain = vec![fallback(p).chain[1].clone(); count];
    assert_eq!(faults(steps, 4), []);
    assert_eq!(faults(steps, 5), refused("fallback.chain"));
    let twice = |p: &mut v1::IsolationPolicy, kind: usize| fallback(p).chain[1] = fallback(p).chain[kind].clone();
    for (kind, path) in [
        (0, "fallback.chain[1].cached"),
        (2, "fallback.chain[2].static"),
        (3, "fallback.chain[3].degraded"),
    ] {
        assert_eq!(faults(twice, kind), refused(path));
    }
    let empty = |p: &mut v1::IsolationPolicy, index: usize| fallback(p).chain[index].strategy = None;
    for index in 0..4 {
        assert_eq!(faults(empty, index), refused(&format!("fallback.chain[{index}]")));
    }
    let payload = |p: &mut v1::IsolationPolicy, length| fixed(p).payload = vec![0; length].into();
    assert_eq!(faults(payload, 65_536), []);
    assert_eq!(faults(payload, 65_537), refused("fallback.chain[2].static.payload"));
}
