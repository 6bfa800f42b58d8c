//! Every number at the ends of its range, and beyond them: a fault there is named by its path, and nothing else is.

use super::roomy::{
    Set, adaptive, alternative, breaker, budget, bulkhead, cached, fallback, faults, fleet_hint, health, hedge, length,
    pool, rate, refused, retry, timeout,
};
use crate::policy::limits::MAX_DURATION;
use crate::wire::duration_to_wire;
use cofferdam_proto::v1;
use cofferdam_proto::v1::circuit_breaker_policy::Window;
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

const NANOSECOND: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

macro_rules! field {
    ($path:literal, $min:expr, $max:expr, $set:expr) => {
        Field { path: $path, min: $min, max: $max, or_zero: false, set: $set }
    };
    ($path:literal, 0 or $min:expr, $max:expr, $set:expr) => {
        Field { path: $path, min: $min, max: $max, or_zero: true, set: $set }
    };
}

fn durations() -> Vec<Field<Duration, Wire>> {
    let day = MAX_DURATION;
    vec![
        field!("timeout.call_timeout", 0 or MILLISECOND, day, |p, d| timeout(p).call_timeout = Some(d)),
        field!("timeout.attempt_timeout", 0 or MILLISECOND, day, |p, d| timeout(p).attempt_timeout = Some(d)),
        field!("timeout.min_attempt_budget", Duration::ZERO, day, |p, d| timeout(p).min_attempt_budget = Some(d)),
        field!("circuit_breaker.time_window.length", 100 * MILLISECOND, day, length),
        field!("circuit_breaker.open_duration", MILLISECOND, day, |p, d| breaker(p).open_duration = Some(d)),
        field!("circuit_breaker.max_open_duration", MILLISECOND, day, |p, d| breaker(p).max_open_duration = Some(d)),
        field!("circuit_breaker.half_open_lease", 0 or MILLISECOND, day, |p, d| breaker(p).half_open_lease = Some(d)),
        field!("retry.initial_backoff", Duration::ZERO, day, |p, d| retry(p).initial_backoff = Some(d)),
        field!("retry.max_backoff", Duration::ZERO, day, |p, d| retry(p).max_backoff = Some(d)),
        field!("retry.budget.ttl", SECOND, 60 * SECOND, |p, d| budget(p).ttl = Some(d)),
        field!("retry.max_pushback", 0 or MILLISECOND, day, |p, d| retry(p).max_pushback = Some(d)),
        field!("bulkhead.max_wait", Duration::ZERO, day, |p, d| bulkhead(p).max_wait = Some(d)),
        field!("bulkhead.pools[0].max_wait", Duration::ZERO, day, |p, d| pool(p).max_wait = Some(d)),
        field!("fallback.chain[0].cached.ttl", MILLISECOND, day, |p, d| cached(p).ttl = Some(d)),
        field!("fallback.chain[0].cached.stale_if_error", Duration::ZERO, day, |p, d| {
            cached(p).stale_if_error = Some(d);
        }),
        field!("fallback.chain[1].alternative.timeout", MILLISECOND, day, |p, d| { alternative(p).timeout = Some(d) }),
        field!("fallback.reserve", Duration::ZERO, day, |p, d| fallback(p).reserve = Some(d)),
        field!("health.window", SECOND, 3600 * SECOND, |p, d| health(p).window = Some(d)),
        field!("fleet_hint.ttl", SECOND, 600 * SECOND, |p, d| fleet_hint(p).ttl = Some(d)),
        field!("rate_limit.period", NANOSECOND, day, |p, d| {
            let limit = rate(p);
            (limit.permits, limit.period) = (1, Some(d));
        }),
        field!("rate_limit.max_wait", Duration::ZERO, day, |p, d| {
            let limit = rate(p);
            (limit.permits, limit.max_wait) = (1, Some(d));
        }),
        field!("circuit_breaker.slow_call_duration", Duration::ZERO, day, |p, d| {
            breaker(p).slow_call_duration = Some(d);
        }),
        field!("circuit_breaker.ramp_duration", Duration::ZERO, day, |p, d| breaker(p).ramp_duration = Some(d)),
        field!("hedge.delay", Duration::ZERO, day, |p, d| hedge(p).delay = Some(d)),
        // These wait for another field.
        field!("rate_limit.period", Duration::ZERO, day, |p, d| rate(p).period = Some(d)),
        field!("rate_limit.max_wait", Duration::ZERO, day, |p, d| rate(p).max_wait = Some(d)),
    ]
}

fn reals() -> Vec<Field<f64>> {
    vec![
        field!("circuit_breaker.failure_rate", 0.0, 1.0, |p, x| breaker(p).failure_rate = Some(x)),
        field!("circuit_breaker.slow_call_rate", 0.0, 1.0, |p, x| breaker(p).slow_call_rate = Some(x)),
        field!("circuit_breaker.open_backoff_multiplier", 1.0, 10.0, |p, x| {
            breaker(p).open_backoff_multiplier = Some(x);
        }),
        field!("circuit_breaker.open_jitter_ratio", 0.0, 1.0, |p, x| breaker(p).open_jitter_ratio = Some(x)),
        field!("circuit_breaker.ramp_min_ratio", 0.0, 1.0, |p, x| breaker(p).ramp_min_ratio = Some(x)),
        field!("retry.multiplier", 1.0, 10.0, |p, x| retry(p).multiplier = Some(x)),
        field!("retry.jitter_ratio", 0.0, 1.0, |p, x| retry(p).jitter_ratio = Some(x)),
        // It is checked where it waits for its jitter, too.
        field!("retry.jitter_ratio", 0.0, 1.0, |p, x| {
            retry(p).jitter = 0;
            retry(p).jitter_ratio = Some(x);
        }),
        field!("retry.budget.ratio", 0.0, 1.0, |p, x| budget(p).ratio = Some(x)),
        field!("health.degraded_error_rate", 0.0, 1.0, |p, x| health(p).degraded_error_rate = Some(x)),
        field!("health.unhealthy_error_rate", 0.0, 1.0, |p, x| health(p).unhealthy_error_rate = Some(x)),
        field!("fleet_hint.min_open_ratio", 0.0, 1.0, |p, x| fleet_hint(p).min_open_ratio = Some(x)),
    ]
}

fn statuses(policy: &mut v1::IsolationPolicy, first: u32, last: u32) {
    let statuses = &mut policy.classification.get_or_insert_default().http_failure_statuses;
    *statuses = vec![v1::HttpStatusRange { first: 500, last: 0 }, v1::HttpStatusRange { first, last }];
}

fn numbers() -> Vec<Field<u32>> {
    let buckets = |p: &mut v1::IsolationPolicy, buckets| {
        breaker(p).window = Some(Window::TimeWindow(v1::TimeWindow { length: None, buckets }));
    };
    vec![
        field!("classification.http_failure_statuses[1].first", 100, 599, |p, n| statuses(p, n, 0)),
        field!("classification.http_failure_statuses[1].last", 400, 599, |p, n| statuses(p, 400, n)),
        field!("classification.http_neutral_statuses[0].first", 100, 599, |p, first| {
            let range = v1::HttpStatusRange { first, last: 0 };
            p.classification.get_or_insert_default().http_neutral_statuses = vec![range];
        }),
        field!("circuit_breaker.time_window.buckets", 0, 60, buckets),
        field!("circuit_breaker.count_window.size", 1, 1024, |p, size| {
            breaker(p).window = Some(Window::CountWindow(v1::CountWindow { size }));
        }),
        field!("circuit_breaker.minimum_calls", 0, u32::MAX, |p, n| breaker(p).minimum_calls = Some(n)),
        field!("circuit_breaker.consecutive_failures", 0, 1023, |p, n| breaker(p).consecutive_failures = Some(n)),
        field!("circuit_breaker.failure_count", 0, u32::MAX, |p, n| breaker(p).failure_count = Some(n)),
        field!("circuit_breaker.half_open_max_in_flight", 0, 1023, |p, n| {
            breaker(p).half_open_max_in_flight = Some(n);
        }),
        field!("circuit_breaker.success_threshold", 1, 1023, |p, n| breaker(p).success_threshold = Some(n)),
        field!("circuit_breaker.half_open_allowed_failures", 0, 1023, |p, n| {
            breaker(p).half_open_allowed_failures = Some(n);
        }),
        field!("retry.max_attempts", 1, 10, |p, n| retry(p).max_attempts = Some(n)),
        field!("retry.budget.min_per_second", 0, 10_000, |p, n| budget(p).min_per_second = Some(n)),
        field!("hedge.max_extra", 1, 4, |p, n| hedge(p).max_extra = Some(n)),
        field!("bulkhead.max_concurrent", 1, 100_000, |p, n| bulkhead(p).max_concurrent = Some(n)),
        field!("bulkhead.max_queue", 0, 100_000, |p, n| bulkhead(p).max_queue = Some(n)),
        field!("bulkhead.pools[0].max_concurrent", 1, 100_000, |p, n| pool(p).max_concurrent = Some(n)),
        field!("bulkhead.pools[0].max_queue", 0, 100_000, |p, n| pool(p).max_queue = Some(n)),
        field!("fallback.max_concurrent", 1, 100_000, |p, n| fallback(p).max_concurrent = Some(n)),
        field!("fallback.chain[0].cached.max_entries", 1, 100_000, |p, n| cached(p).max_entries = Some(n)),
        field!("fallback.chain[0].cached.max_entry_bytes", 1, 1_048_576, |p, n| {
            cached(p).max_entry_bytes = Some(n);
        }),
        field!("fallback.chain[0].cached.max_bytes", 1, 1_073_741_824, |p, n| cached(p).max_bytes = Some(n)),
        field!("adaptive_limit.min", 1, 100_000, |p, n| adaptive(p).min = Some(n)),
        field!("adaptive_limit.initial", 1, 100_000, |p, n| adaptive(p).initial = Some(n)),
        field!("adaptive_limit.max", 1, 100_000, |p, n| adaptive(p).max = Some(n)),
        field!("health.minimum_calls", 0, u32::MAX, |p, n| health(p).minimum_calls = Some(n)),
        field!("fleet_hint.min_open_instances", 2, 100_000, |p, n| fleet_hint(p).min_open_instances = Some(n)),
    ]
}

#[test]
fn durations_have_their_range() {
    let mut refusals = 0;
    for Field { path, min, max, or_zero, set } in durations() {
        for good in [min, max].into_iter().chain(or_zero.then_some(Duration::ZERO)) {
            assert_eq!(faults(set, duration_to_wire(good)), Vec::<String>::new(), "{path} at {good:?}");
        }
        let below = (min > Duration::ZERO).then(|| min - NANOSECOND).filter(|below| !(or_zero && below.is_zero()));
        let zero = (min > Duration::ZERO && !or_zero).then_some(Duration::ZERO);
        let out = [below, zero, Some(max + NANOSECOND), Some(365 * MAX_DURATION)].into_iter().flatten();
        let broken = [(-1, 0), (0, -1), (1, -1), (i64::MIN, i32::MIN), (0, 1_000_000_000), (i64::MAX, 0)]
            .map(|(seconds, nanos)| Wire { seconds, nanos });
        for bad in out.map(duration_to_wire).chain(broken) {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad:?}");
            refusals += 1;
        }
    }
    assert!(refusals >= 150, "{refusals}");
}

#[test]
fn reals_have_their_range() {
    for Field { path, min, max, or_zero: _, set } in reals() {
        for good in [min, max, f64::midpoint(min, max)] {
            assert_eq!(faults(set, good), Vec::<String>::new(), "{path} at {good}");
        }
        for bad in [min.next_down(), max.next_up(), -1.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN]
        {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
    let percentile: Set<f64> = |p, percentile| {
        *hedge(p) = v1::HedgePolicy { delay: Some(Wire { seconds: 1, nanos: 0 }), max_extra: None, percentile };
    };
    for good in [0.0, f64::MIN_POSITIVE, 0.95, 1.0_f64.next_down()] {
        assert_eq!(faults(percentile, good), Vec::<String>::new());
    }
    for bad in [-f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN] {
        assert_eq!(faults(percentile, bad), refused("hedge.percentile"));
        assert_eq!(faults(|p, x| hedge(p).percentile = x, bad), refused("hedge.percentile"), "without a delay, too");
    }
    assert_eq!(faults(|p, x| hedge(p).percentile = x, 0.95), refused("hedge.delay"), "until enough is measured");
}

#[test]
fn numbers_have_their_range() {
    for Field { path, min, max, or_zero: _, set } in numbers() {
        for good in [min, max] {
            assert_eq!(faults(set, good), Vec::<String>::new(), "{path} at {good}");
        }
        for bad in [min.checked_sub(1), max.checked_add(1), (max < u32::MAX).then_some(u32::MAX)].into_iter().flatten()
        {
            assert_eq!(faults(set, bad), refused(path), "{path} at {bad}");
        }
    }
}
