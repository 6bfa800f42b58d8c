//! Whole calls of our SDK, with no manager: a policy is in force, and the call is awaited on a runtime.

use super::{Case, Failed, fail, runtime, succeed};
use cofferdam::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, BreakerMode, BreakerPolicy, BulkheadPolicy, CachedFallback, FallbackPolicy,
    FallbackStep, HedgePolicy, MethodOverride, PoolPolicy, RateLimitPolicy, RetryPolicy, TimeoutPolicy,
};
use cofferdam::{Cofferdam, Json, Level, Policy, PolicySpec, Service};
use std::time::Duration;

pub const NONE: &str = "Cofferdam, level none";
pub const BASIC: &str = "Cofferdam, level basic";
pub const ENHANCED: &str = "Cofferdam, level enhanced";
pub const FULL: &str = "Cofferdam, level full";

/// For as long as a breaker may be open.
const LONG: Duration = Duration::from_secs(3600);
/// Later than any call here takes.
const LATE: Duration = Duration::from_secs(1);

/// The levels as they come: the default of every number.
pub fn none() -> Case {
    at_level(NONE, Level::None)
}

pub fn basic() -> Case {
    at_level(BASIC, Level::Basic)
}

pub fn enhanced() -> Case {
    at_level(ENHANCED, Level::Enhanced)
}

/// With a rate limit, which has no default.
pub fn full() -> Case {
    case(FULL, PolicySpec { level: Level::Full, rate_limit: Some(generous_rate()), ..PolicySpec::default() })
}

/// A call that an open breaker turns away. The first one of each second is looked at, for whoever asks why.
pub fn rejected() -> Case {
    let breaker = BreakerPolicy {
        consecutive_failures: 1,
        open_duration: LONG,
        max_open_duration: LONG,
        ..BreakerPolicy::default()
    };
    let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::default() };
    let service = service(PolicySpec { level: Level::Enhanced, breaker, retry, ..PolicySpec::default() });
    Case::looped("Cofferdam, open", move |count| {
        runtime().block_on(async {
            let _ = service.execute("get", || async { fail() }).await;
            for _ in 0..count {
                let answer = service.execute("get", || async { succeed() }).await;
                assert!(answer.is_err(), "the call must be turned away");
            }
        });
    })
}

/// What each part adds to a call without it.
pub fn parts() -> Vec<Case> {
    let counted = "calls counted, nothing else";
    let enhanced = "enhanced: timeout, breaker, retry with its budget";
    let bulkhead = "and a bulkhead";
    vec![
        case(counted, PolicySpec { level: Level::Basic, ..bare() }),
        case("a call timeout", PolicySpec { level: Level::Basic, timeout: TimeoutPolicy::default(), ..bare() })
            .versus(counted),
        case("a circuit breaker", PolicySpec { breaker: BreakerPolicy::default(), ..bare() }).versus(counted),
        case("retry with its budget", PolicySpec { retry: RetryPolicy::default(), ..bare() }).versus(counted),
        at_level(enhanced, Level::Enhanced).versus(counted),
        at_level(bulkhead, Level::Full).versus(enhanced),
        case("and two pools, chosen by method", full_with(|spec| spec.bulkhead = pools(false))).versus(bulkhead),
        case("and two pools with breakers of their own", full_with(|spec| spec.bulkhead = pools(true)))
            .versus(bulkhead),
        case("and overrides for two kinds of methods", full_with(|spec| spec.method_overrides = overrides()))
            .versus(bulkhead),
        case("and a rate limit", full_with(|spec| spec.rate_limit = Some(generous_rate()))).versus(bulkhead),
        case("and a ramp-up that is over", full_with(|spec| spec.breaker.ramp_duration = Duration::from_secs(30)))
            .versus(bulkhead),
        case("and an adaptive limit, by latency", full_with(|spec| spec.adaptive_limit = follows_latency()))
            .versus(bulkhead),
        case("and a hedge that never starts", full_with(|spec| spec.hedge = HedgePolicy::after(LATE))).versus(bulkhead),
        case("and one after a quantile of the latencies", full_with(|spec| spec.hedge = hedge_at_quantile()))
            .versus(bulkhead),
        keeping("and each answer kept for a cached fallback").versus(bulkhead),
    ]
}

fn service(spec: PolicySpec) -> Service {
    let policy = Policy::new(spec).expect("a valid policy");
    Cofferdam::builder("bench").default_policy(policy).start().service("bench")
}

fn at_level(name: &'static str, level: Level) -> Case {
    case(name, PolicySpec { level, ..PolicySpec::default() })
}

fn case(name: &'static str, spec: PolicySpec) -> Case {
    let service = service(spec);
    Case::looped(name, move |count| {
        runtime().block_on(async {
            for _ in 0..count {
                let answer = service.execute("get", || async { succeed() }).idempotent().await;
                assert!(answer.is_ok(), "the call must be answered");
            }
        });
    })
}

fn keeping(name: &'static str) -> Case {
    let chain = vec![FallbackStep::Cached(CachedFallback::default())];
    let service = service(full_with(|spec| spec.fallback = FallbackPolicy { chain, ..FallbackPolicy::default() }));
    Case::looped(name, move |count| {
        runtime().block_on(async {
            for _ in 0..count {
                let call = service.execute("get", || async { succeed() });
                let answer: Result<u64, cofferdam::Error<Failed>> = call.codec(Json).cache_key("7").await;
                assert!(answer.is_ok(), "the call must be answered");
            }
        });
    })
}

/// Enhanced, with everything that can be off switched off.
fn bare() -> PolicySpec {
    PolicySpec {
        level: Level::Enhanced,
        timeout: TimeoutPolicy { call_timeout: Duration::ZERO, ..TimeoutPolicy::default() },
        breaker: BreakerPolicy { mode: BreakerMode::Disabled, ..BreakerPolicy::default() },
        retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
        ..PolicySpec::default()
    }
}

fn full_with(change: impl FnOnce(&mut PolicySpec)) -> PolicySpec {
    let mut spec = PolicySpec { level: Level::Full, ..PolicySpec::default() };
    change(&mut spec);
    spec
}

/// Never reached: a call every ten nanoseconds.
fn generous_rate() -> RateLimitPolicy {
    RateLimitPolicy::per_second(100_000_000)
}

fn follows_latency() -> AdaptiveLimitPolicy {
    AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Gradient2, ..AdaptiveLimitPolicy::default() }
}

/// The latencies are recorded, and the attempt beside the first never starts.
fn hedge_at_quantile() -> HedgePolicy {
    HedgePolicy { percentile: 0.99, ..HedgePolicy::after(LATE) }
}

/// The method of the call is in the second.
fn pools(isolate_breaker: bool) -> BulkheadPolicy {
    let pool = |name: &str, glob: &str| PoolPolicy {
        name: name.to_owned(),
        method_globs: vec![glob.to_owned()],
        isolate_breaker,
        ..PoolPolicy::default()
    };
    BulkheadPolicy { pools: vec![pool("writes", "put*"), pool("reads", "get*")], ..BulkheadPolicy::default() }
}

/// The method of the call is in the second, which has a breaker of its own.
fn overrides() -> Vec<MethodOverride> {
    let of = |glob: &str| MethodOverride {
        glob: glob.to_owned(),
        breaker: Some(BreakerPolicy { consecutive_failures: 3, ..BreakerPolicy::default() }),
        ..MethodOverride::default()
    };
    vec![of("put*"), of("get*")]
}
