//! The one check of a policy: run before a manager stores it, and again before an instance applies it.

mod method_overrides;

use super::limits::{
    MAX_ATTEMPTS, MAX_CONCURRENT, MAX_DURATION, MAX_ERROR_TYPES, MAX_FEATURES, MAX_GLOBS, MAX_GRPC_CODE, MAX_HEDGES,
    MAX_HINT_TTL, MAX_HTTP_RANGES, MAX_HTTP_STATUS, MAX_KEY_FIELDS, MAX_POOLS, MAX_STEPS,
};
use super::{
    AdaptiveLimitPolicy, BreakerPolicy, BreakerWindow, BulkheadPolicy, CachedFallback, ClassificationPolicy,
    FallbackPolicy, FallbackStep, FleetHintPolicy, HealthPolicy, HedgePolicy, Jitter, PolicySpec, RateLimitPolicy,
    RetryPolicy, TimeWindow, TimeoutPolicy,
};
use std::collections::HashSet;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The highest cap of a half-open count: each has ten bits in the breaker's word.
const MAX_PROBES: u32 = 1023;
/// The most calls of a count window: its sums have eleven bits each.
const MAX_WINDOW_CALLS: u32 = 1024;
/// The most instances that a hint can be made to wait for.
const MAX_INSTANCES: u32 = 100_000;
const MAX_GLOB_BYTES: usize = 256;
const MAX_TYPE_NAME_BYTES: usize = 256;
const MAX_STATIC_BYTES: usize = 64 * 1024;
const MAX_CACHE_ENTRY_BYTES: u32 = 1024 * 1024;
const MAX_CACHE_BYTES: u32 = 1024 * 1024 * 1024;
const MAX_KEY_FIELD_BYTES: usize = 128;

/// A spec that is not a policy: every field at fault, section by section in the order of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidPolicy {
    violations: Vec<Violation>,
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the contract's `IsolationPolicy`, for example `circuit_breaker.open_duration`.
    pub path: String,
    /// What is wrong and what would be right.
    pub description: String,
}

impl InvalidPolicy {
    /// Every field at fault; at least one.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The violations of one or several checks; `None` where there is none.
    pub fn from_violations(violations: Vec<Violation>) -> Option<Self> {
        if violations.is_empty() { None } else { Some(Self { violations }) }
    }
}

impl From<Violation> for InvalidPolicy {
    fn from(violation: Violation) -> Self {
        Self { violations: vec![violation] }
    }
}

impl Display for InvalidPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid policy: ")?;
        for (index, violation) in self.violations.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidPolicy {}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.description)
    }
}

impl Violation {
    /// A value that is not taken.
    pub fn invalid(path: impl Into<String>, description: impl Into<String>) -> Self {
        Self { path: path.into(), description: description.into() }
    }
}

/// Checks a spec as a whole.
pub(super) fn check(spec: &PolicySpec) -> Result<(), InvalidPolicy> {
    let mut faults = Faults::default();
    sections(&mut faults, spec);
    method_overrides::check(&mut faults, spec);
    InvalidPolicy::from_violations(faults.0).map_or(Ok(()), Err)
}

fn sections(faults: &mut Faults, spec: &PolicySpec) {
    timeout(faults, &spec.timeout);
    breaker(faults, &spec.breaker);
    classification(faults, &spec.classification);
    retry(faults, &spec.retry);
    hedge(faults, spec.hedge);
    bulkhead(faults, &spec.bulkhead);
    adaptive_limit(faults, spec.adaptive_limit);
    if let Some(policy) = &spec.rate_limit {
        rate_limit(faults, policy);
    }
    fallback(faults, &spec.fallback, &spec.timeout);
    health(faults, &spec.health);
    fleet_hint(faults, spec.fleet_hint);
}

#[derive(Default)]
struct Faults(Vec<Violation>);

impl Faults {
    /// Names a field at fault; only its first fault is kept, for the next ones often follow from it. What is in order costs
    /// no words: they are put together for a fault alone.
    fn require(&mut self, holds: bool, path: impl Display, description: impl Display) {
        if !holds && !self.blames(&path) {
            self.0.push(Violation::invalid(path.to_string(), description.to_string()));
        }
    }

    /// What must hold between a field and another one; nothing is said of it where the other one is at fault itself.
    fn relate(&mut self, holds: bool, path: impl Display, other: impl Display, description: impl Display) {
        self.require(holds || self.blames(other), path, description);
    }

    fn blames(&self, path: impl Display) -> bool {
        let path = path.to_string();
        self.0.iter().any(|violation| violation.path == path)
    }

    fn duration(&mut self, path: impl Display, value: Duration, min: Duration) {
        let holds = (min..=MAX_DURATION).contains(&value);
        self.require(holds, path, format_args!("must be in [{min:?}, 24h], not {value:?}"));
    }

    /// Zero stands for "off" or "the default".
    fn duration_or_zero(&mut self, path: impl Display, value: Duration, min: Duration) {
        if !value.is_zero() {
            self.duration(path, value, min);
        }
    }

    fn number(&mut self, path: impl Display, value: u32, min: u32, max: u32) {
        self.require((min..=max).contains(&value), path, format_args!("must be in [{min}, {max}], not {value}"));
    }

    fn real(&mut self, path: impl Display, value: f64, min: f64, max: f64) {
        // NaN is in no range.
        self.require((min..=max).contains(&value), path, format_args!("must be in [{min}, {max}], not {value}"));
    }

    fn codes(&mut self, path: impl Display, codes: &[u32]) {
        let mut seen = 0_u32;
        let holds = codes.iter().all(|code| {
            let bit = 1_u32.checked_shl(*code).unwrap_or_default();
            let is_new = *code <= MAX_GRPC_CODE && seen & bit == 0;
            seen |= bit;
            is_new
        });
        self.require(holds, path, "must be gRPC status codes, 0 to 16, each at most once");
    }

    /// A list that the contract has no way to write empty: there, empty is the default.
    fn not_empty<T>(&mut self, path: impl Display, list: &[T]) {
        self.require(!list.is_empty(), path, "must not be empty");
    }

    fn text(&mut self, path: impl Display, text: &str, max: usize) {
        self.require(text.len() <= max, &path, format_args!("must be at most {max} bytes long, not {}", text.len()));
        self.require(!text.contains(char::is_control), path, "must not hold control characters");
    }

    fn queue(&mut self, path: &str, max_concurrent: u32, max_queue: u32, max_wait: Duration) {
        self.number(format_args!("{path}.max_concurrent"), max_concurrent, 1, MAX_CONCURRENT);
        self.number(format_args!("{path}.max_queue"), max_queue, 0, MAX_CONCURRENT);
        self.duration(format_args!("{path}.max_wait"), max_wait, Duration::ZERO);
        let waits = max_queue == 0 || !max_wait.is_zero();
        let description = "must be above zero where max_queue is";
        self.relate(waits, format_args!("{path}.max_wait"), format_args!("{path}.max_queue"), description);
    }
}

const NANOSECOND: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn timeout(faults: &mut Faults, policy: &TimeoutPolicy) {
    faults.duration_or_zero("timeout.call_timeout", policy.call_timeout, MILLISECOND);
    faults.duration_or_zero("timeout.attempt_timeout", policy.attempt_timeout, MILLISECOND);
    faults.duration("timeout.min_attempt_budget", policy.min_attempt_budget, Duration::ZERO);
    if !policy.call_timeout.is_zero() {
        let fits = policy.min_attempt_budget < policy.call_timeout;
        let description = "must be below call_timeout, or no attempt ever starts";
        faults.relate(fits, "timeout.min_attempt_budget", "timeout.call_timeout", description);
    }
}

fn breaker(faults: &mut Faults, policy: &BreakerPolicy) {
    match policy.window {
        BreakerWindow::Time(window) => time_window(faults, window),
        BreakerWindow::Count(size) => faults.number("circuit_breaker.count_window.size", size, 1, MAX_WINDOW_CALLS),
    }
    faults.number("circuit_breaker.consecutive_failures", policy.consecutive_failures, 0, MAX_PROBES);
    faults.real("circuit_breaker.failure_rate", policy.failure_rate, 0.0, 1.0);
    faults.duration("circuit_breaker.slow_call_duration", policy.slow_call_duration, Duration::ZERO);
    faults.real("circuit_breaker.slow_call_rate", policy.slow_call_rate, 0.0, 1.0);
    faults.duration("circuit_breaker.open_duration", policy.open_duration, MILLISECOND);
    faults.real("circuit_breaker.open_backoff_multiplier", policy.open_backoff_multiplier, 1.0, 10.0);
    faults.duration("circuit_breaker.max_open_duration", policy.max_open_duration, MILLISECOND);
    let ordered = policy.max_open_duration >= policy.open_duration;
    let (longest, first) = ("circuit_breaker.max_open_duration", "circuit_breaker.open_duration");
    faults.relate(ordered, longest, first, "must not be below open_duration");
    faults.real("circuit_breaker.open_jitter_ratio", policy.open_jitter_ratio, 0.0, 1.0);
    faults.number("circuit_breaker.half_open_max_in_flight", policy.half_open_max_in_flight, 0, MAX_PROBES);
    faults.number("circuit_breaker.success_threshold", policy.success_threshold, 1, MAX_PROBES);
    faults.number("circuit_breaker.half_open_allowed_failures", policy.half_open_allowed_failures, 0, MAX_PROBES);
    faults.duration_or_zero("circuit_breaker.half_open_lease", policy.half_open_lease, MILLISECOND);
    faults.duration("circuit_breaker.ramp_duration", policy.ramp_duration, Duration::ZERO);
    faults.real("circuit_breaker.ramp_min_ratio", policy.ramp_min_ratio, 0.0, 1.0);
}

fn time_window(faults: &mut Faults, window: TimeWindow) {
    faults.duration("circuit_breaker.time_window.length", window.length, Duration::from_millis(100));
    faults.number("circuit_breaker.time_window.buckets", window.buckets, 1, 60);
    let bucket = window.length.checked_div(window.buckets).unwrap_or_default();
    let wide = window.buckets == 0 || bucket >= Duration::from_millis(10);
    let (buckets, length) = ("circuit_breaker.time_window.buckets", "circuit_breaker.time_window.length");
    faults.relate(wide, buckets, length, "must leave each bucket at least 10 ms");
}

fn classification(faults: &mut Faults, policy: &ClassificationPolicy) {
    let lists = [
        ("classification.grpc_failure_codes", &policy.grpc_failure_codes),
        ("classification.grpc_neutral_codes", &policy.grpc_neutral_codes),
    ];
    for (path, codes) in lists {
        faults.not_empty(path, codes);
        faults.codes(path, codes);
    }
    statuses(faults, "classification.http_failure_statuses", &policy.http_failure_statuses);
    statuses(faults, "classification.http_neutral_statuses", &policy.http_neutral_statuses);
    let few = policy.error_types.len() <= MAX_ERROR_TYPES;
    faults.require(few, "classification.error_types", format_args!("must be at most {MAX_ERROR_TYPES}"));
    for (index, rule) in policy.error_types.iter().take(MAX_ERROR_TYPES).enumerate() {
        let path = format!("classification.error_types[{index}].type_name");
        faults.require(!rule.type_name.is_empty(), &path, "must not be empty");
        faults.text(&path, &rule.type_name, MAX_TYPE_NAME_BYTES);
    }
}

fn statuses(faults: &mut Faults, path: &str, ranges: &[RangeInclusive<u32>]) {
    faults.not_empty(path, ranges);
    faults.require(ranges.len() <= MAX_HTTP_RANGES, path, format_args!("must be at most {MAX_HTTP_RANGES} ranges"));
    for (index, range) in ranges.iter().take(MAX_HTTP_RANGES).enumerate() {
        faults.number(format_args!("{path}[{index}].first"), *range.start(), 100, MAX_HTTP_STATUS);
        let fits = (*range.start()..=MAX_HTTP_STATUS).contains(range.end());
        faults.relate(
            fits,
            format_args!("{path}[{index}].last"),
            format_args!("{path}[{index}].first"),
            "must be in [first, 599], or zero for the first alone",
        );
    }
}

fn retry(faults: &mut Faults, policy: &RetryPolicy) {
    faults.number("retry.max_attempts", policy.max_attempts, 1, MAX_ATTEMPTS);
    faults.duration("retry.initial_backoff", policy.initial_backoff, Duration::ZERO);
    faults.real("retry.multiplier", policy.multiplier, 1.0, 10.0);
    faults.duration("retry.max_backoff", policy.max_backoff, Duration::ZERO);
    let ordered = policy.max_backoff >= policy.initial_backoff;
    faults.relate(ordered, "retry.max_backoff", "retry.initial_backoff", "must not be below initial_backoff");
    if let Jitter::PlusMinus(ratio) = policy.jitter {
        faults.real("retry.jitter_ratio", ratio, 0.0, 1.0);
    }
    faults.real("retry.budget.ratio", policy.budget.ratio, 0.0, 1.0);
    faults.number("retry.budget.min_per_second", policy.budget.min_per_second, 0, 10_000);
    faults.duration("retry.budget.ttl", policy.budget.ttl, SECOND);
    faults.require(policy.budget.ttl <= 60 * SECOND, "retry.budget.ttl", "must be at most 60 s");
    faults.codes("retry.retryable_grpc_codes", &policy.retryable_grpc_codes);
    faults.duration_or_zero("retry.max_pushback", policy.max_pushback, MILLISECOND);
}

fn hedge(faults: &mut Faults, policy: HedgePolicy) {
    faults.duration("hedge.delay", policy.delay, Duration::ZERO);
    faults.number("hedge.max_extra", policy.max_extra, 1, MAX_HEDGES);
    let percentile = policy.percentile;
    faults.require(
        (0.0..1.0).contains(&percentile),
        "hedge.percentile",
        format_args!("must be in [0, 1), not {percentile}"),
    );
    let starts = percentile == 0.0 || !policy.delay.is_zero();
    let description = "must be above zero where percentile is: it is the delay until enough has been measured";
    faults.relate(starts, "hedge.delay", "hedge.percentile", description);
}

fn bulkhead(faults: &mut Faults, policy: &BulkheadPolicy) {
    faults.queue("bulkhead", policy.max_concurrent, policy.max_queue, policy.max_wait);
    faults.require(policy.pools.len() <= MAX_POOLS, "bulkhead.pools", format_args!("must be at most {MAX_POOLS}"));
    let mut names = HashSet::new();
    for (index, pool) in policy.pools.iter().take(MAX_POOLS).enumerate() {
        let path = format!("bulkhead.pools[{index}]");
        let punctuation = |c: char| matches!(c, '.' | '_' | '-');
        let formed = (1..=64).contains(&pool.name.len())
            && pool.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && pool.name.chars().all(|c| c.is_ascii_alphanumeric() || punctuation(c));
        let form = "must be 1 to 64 letters, digits, '.', '_' and '-', starting with a letter";
        faults.require(formed, format_args!("{path}.name"), form);
        faults.require(
            names.insert(&pool.name),
            format_args!("{path}.name"),
            "must differ from the other pools' names",
        );
        faults.queue(&path, pool.max_concurrent, pool.max_queue, pool.max_wait);
        globs(faults, &format!("{path}.method_globs"), &pool.method_globs);
    }
}

fn globs(faults: &mut Faults, path: &str, globs: &[String]) {
    faults.require(globs.len() <= MAX_GLOBS, path, format_args!("must be at most {MAX_GLOBS}"));
    for (index, pattern) in globs.iter().take(MAX_GLOBS).enumerate() {
        glob(faults, &format!("{path}[{index}]"), pattern);
    }
}

fn glob(faults: &mut Faults, path: &str, glob: &str) {
    faults.require(!glob.is_empty(), path, "must not be empty: use * for all methods");
    faults.text(path, glob, MAX_GLOB_BYTES);
}

fn adaptive_limit(faults: &mut Faults, policy: AdaptiveLimitPolicy) {
    let AdaptiveLimitPolicy { kind: _, min, initial, max } = policy;
    let [min_path, initial_path, max_path] = ["adaptive_limit.min", "adaptive_limit.initial", "adaptive_limit.max"];
    faults.number(min_path, min, 1, MAX_CONCURRENT);
    faults.number(initial_path, initial, 1, MAX_CONCURRENT);
    faults.number(max_path, max, 1, MAX_CONCURRENT);
    faults.relate(min <= max, max_path, min_path, "must not be below min");
    if min <= max {
        faults.relate(min <= initial, initial_path, min_path, "must not be below min");
        faults.relate(initial <= max, initial_path, max_path, "must not be above max");
    }
}

fn rate_limit(faults: &mut Faults, policy: &RateLimitPolicy) {
    faults.number("rate_limit.permits", policy.permits, 1, u32::MAX);
    faults.duration("rate_limit.period", policy.period, NANOSECOND);
    faults.duration("rate_limit.max_wait", policy.max_wait, Duration::ZERO);
}

fn fallback(faults: &mut Faults, policy: &FallbackPolicy, timeout: &TimeoutPolicy) {
    faults.require(
        policy.chain.len() <= MAX_STEPS,
        "fallback.chain",
        format_args!("must be at most {MAX_STEPS} steps"),
    );
    let mut kinds = HashSet::new();
    for (index, step) in policy.chain.iter().take(MAX_STEPS).enumerate() {
        let path = format!("fallback.chain[{index}].{}", step.name());
        let repeatable = matches!(step, FallbackStep::Alternative(_));
        let once = repeatable || kinds.insert(step.name());
        faults.require(once, &path, "must stand in the chain once: the second would answer just as the first");
        fallback_step(faults, &path, step);
    }
    let mut triggers = HashSet::new();
    faults.not_empty("fallback.on", &policy.on);
    let once = policy.on.iter().all(|trigger| triggers.insert(*trigger));
    faults.require(once, "fallback.on", "must name each trigger at most once");
    faults.number("fallback.max_concurrent", policy.max_concurrent, 1, MAX_CONCURRENT);
    if let Some(reserve) = policy.reserve {
        faults.duration("fallback.reserve", reserve, Duration::ZERO);
        let fits = timeout.call_timeout.is_zero() || reserve < timeout.call_timeout;
        faults.relate(fits, "fallback.reserve", "timeout.call_timeout", "must be below timeout.call_timeout");
        let fits =
            timeout.call_timeout.is_zero() || reserve.saturating_add(timeout.min_attempt_budget) < timeout.call_timeout;
        faults.relate(
            fits || faults.blames("timeout.call_timeout"),
            "fallback.reserve",
            "timeout.min_attempt_budget",
            "must leave more than timeout.min_attempt_budget of timeout.call_timeout, or no attempt ever starts",
        );
    }
}

fn fallback_step(faults: &mut Faults, path: &str, step: &FallbackStep) {
    match step {
        FallbackStep::Static(step) => {
            let length = step.payload.len();
            let fits = length <= MAX_STATIC_BYTES;
            faults.require(
                fits,
                format_args!("{path}.payload"),
                format_args!("must be at most 64 KiB, not {length} bytes"),
            );
            faults.text(format_args!("{path}.content_type"), &step.content_type, 256);
        }
        FallbackStep::Cached(step) => cached_step(faults, path, step),
        FallbackStep::Alternative(step) => {
            faults.text(format_args!("{path}.method"), &step.method, 512);
            faults.duration(format_args!("{path}.timeout"), step.timeout, MILLISECOND);
        }
        FallbackStep::Degraded(step) => {
            let few = step.features.len() <= MAX_FEATURES;
            faults.require(few, format_args!("{path}.features"), format_args!("must be at most {MAX_FEATURES}"));
            for (index, feature) in step.features.iter().take(MAX_FEATURES).enumerate() {
                faults.text(format_args!("{path}.features[{index}]"), feature, 64);
            }
            faults.text(format_args!("{path}.reason"), &step.reason, 256);
        }
    }
}

fn cached_step(faults: &mut Faults, path: &str, step: &CachedFallback) {
    let CachedFallback { ttl, stale_if_error, max_entries, max_entry_bytes, max_bytes, key_fields } = step;
    faults.duration(format_args!("{path}.ttl"), *ttl, MILLISECOND);
    faults.duration(format_args!("{path}.stale_if_error"), *stale_if_error, Duration::ZERO);
    faults.number(format_args!("{path}.max_entries"), *max_entries, 1, 100_000);
    let (largest, all) = (format!("{path}.max_entry_bytes"), format!("{path}.max_bytes"));
    faults.number(&largest, *max_entry_bytes, 1, MAX_CACHE_ENTRY_BYTES);
    faults.number(&all, *max_bytes, 1, MAX_CACHE_BYTES);
    faults.relate(max_bytes >= max_entry_bytes, &all, &largest, "must not be below max_entry_bytes");
    let path = format!("{path}.key_fields");
    faults.require(key_fields.len() <= MAX_KEY_FIELDS, &path, format_args!("must be at most {MAX_KEY_FIELDS}"));
    let mut names = HashSet::new();
    for (index, name) in key_fields.iter().take(MAX_KEY_FIELDS).enumerate() {
        let path = format!("{path}[{index}]");
        faults.require(!name.is_empty(), &path, "must not be empty");
        faults.text(&path, name, MAX_KEY_FIELD_BYTES);
        faults.require(names.insert(name), &path, "must differ from the other fields");
    }
}

fn health(faults: &mut Faults, policy: &HealthPolicy) {
    faults.real("health.degraded_error_rate", policy.degraded_error_rate, 0.0, 1.0);
    faults.real("health.unhealthy_error_rate", policy.unhealthy_error_rate, 0.0, 1.0);
    let ordered = policy.unhealthy_error_rate >= policy.degraded_error_rate;
    let (unhealthy, degraded) = ("health.unhealthy_error_rate", "health.degraded_error_rate");
    faults.relate(ordered, unhealthy, degraded, "must not be below degraded_error_rate");
    faults.duration("health.window", policy.window, SECOND);
    faults.require(policy.window <= 3600 * SECOND, "health.window", "must be at most 1 h");
}

fn fleet_hint(faults: &mut Faults, policy: FleetHintPolicy) {
    let few = "must be at least 2: one instance alone must never decide for the others";
    faults.require(policy.min_open_instances >= 2, "fleet_hint.min_open_instances", few);
    faults.number("fleet_hint.min_open_instances", policy.min_open_instances, 2, MAX_INSTANCES);
    faults.real("fleet_hint.min_open_ratio", policy.min_open_ratio, 0.0, 1.0);
    faults.duration("fleet_hint.ttl", policy.ttl, SECOND);
    faults.require(policy.ttl <= MAX_HINT_TTL, "fleet_hint.ttl", "must be at most 10 min");
}

#[cfg(test)]
mod tests;
