//! Overrides for methods: what they replace, and what they share.

mod swaps;

use super::*;
use crate::breaker::Transition;
use crate::isolation::{Observer, Part};
use crate::policy::{MethodOverride, RateLimitPolicy};
use std::sync::Mutex;

fn named(glob: &str) -> MethodOverride {
    MethodOverride { glob: glob.to_owned(), ..MethodOverride::default() }
}

/// A policy with overrides, that retries nothing of itself.
fn with(level: Level, method_overrides: Vec<MethodOverride>) -> PolicySpec {
    PolicySpec { retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }, method_overrides, ..at(level) }
}

fn breaker_after(failures: u32) -> BreakerPolicy {
    BreakerPolicy { consecutive_failures: failures, open_jitter_ratio: 0.0, ..BreakerPolicy::default() }
}

fn of(method: &str) -> CallOptions<'_> {
    CallOptions { method, ..idempotent() }
}

fn in_pool<'a>(pool: &'a str, method: &'a str) -> CallOptions<'a> {
    CallOptions { pool: Some(pool), ..of(method) }
}

fn methods(glob: &str) -> Part {
    Part::Methods(glob.into())
}

fn pool(name: &str) -> Part {
    Part::Pool(name.into())
}

async fn fail(bench: &Bench, options: CallOptions<'_>) -> FailureCause<Error> {
    bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), options).await.unwrap_err().cause
}

async fn is_rejected(bench: &Bench, options: CallOptions<'_>) -> bool {
    let result = bench.run(&mut Script::new([Reply::Answer("live")]), options).await;
    result.is_err_and(|failure| matches!(failure.cause, FailureCause::Open { .. }))
}

/// The states of all breakers, which are those that the policy is said to have.
fn states(bench: &Bench) -> Vec<(Part, State)> {
    let states = bench.isolation.breaker_states(bench.runtime.now());
    let own: Vec<Part> = states.iter().skip(1).map(|(part, _)| part.clone()).collect();
    assert_eq!(own, Part::with_own_breaker(&bench.isolation.in_force().policy));
    states
}

#[tokio::test(start_paused = true)]
async fn the_first_override_that_matches_wins_and_the_rest_is_the_services() {
    let timeout = |seconds| TimeoutPolicy { call_timeout: seconds * SECOND, ..TimeoutPolicy::default() };
    let overrides = vec![
        MethodOverride { timeout: Some(timeout(1)), ..named("Get*") },
        MethodOverride { timeout: Some(timeout(2)), ..named("*Order") },
    ];
    let bench = Bench::new(with(Level::Enhanced, overrides));
    for (method, seconds) in [("GetOrder", 1), ("PlaceOrder", 2), ("List", 5)] {
        let before = bench.runtime.now();
        bench.run(&mut Script::new([Reply::Hang]), of(method)).await.unwrap_err();
        assert_eq!(bench.runtime.now().saturating_since(before), seconds * SECOND, "{method}");
    }
    assert_eq!(bench.counters().calls, 3, "one service, one count");
}

#[tokio::test(start_paused = true)]
async fn a_replaced_breaker_is_shared_by_its_methods_and_by_nobody_else() {
    let overrides = vec![MethodOverride { breaker: Some(breaker_after(2)), ..named("Get*") }, named("List*")];
    let bench = Bench::new(with(Level::Enhanced, overrides));
    fail(&bench, of("GetUser")).await;
    fail(&bench, of("GetOrder")).await;
    assert_eq!(states(&bench), [(Part::Service, State::Closed), (methods("Get*"), State::Open)]);
    assert!(is_rejected(&bench, of("GetItem")).await);
    assert!(!is_rejected(&bench, of("PutUser")).await);
    for _ in 0..5 {
        fail(&bench, of("ListUsers")).await;
    }
    assert_eq!(bench.breaker(), Some(State::Open), "an override without a breaker of its own teaches the service's");
    assert!(is_rejected(&bench, of("PutUser")).await);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_bulkhead_takes_its_methods_out_of_every_pool() {
    let narrow = |max_concurrent| BulkheadPolicy { max_concurrent, ..BulkheadPolicy::default() };
    let reads = PoolPolicy {
        name: "readPool".to_owned(),
        max_concurrent: 1,
        method_globs: vec!["Get*".to_owned()],
        isolate_breaker: true,
        ..PoolPolicy::default()
    };
    let spec = PolicySpec {
        bulkhead: BulkheadPolicy { pools: vec![reads], ..narrow(1) },
        ..with(Level::Full, vec![MethodOverride { bulkhead: Some(narrow(2)), ..named("GetReport*") }])
    };
    let bench = Bench::new(spec);
    let busy = async |options| bench.run(&mut Script::new([Reply::AnswerAfter(SECOND, "busy")]), options).await.is_ok();
    let held = tokio::join!(
        busy(of("GetUser")),
        busy(of("GetUser")),
        busy(of("GetReportA")),
        busy(in_pool("readPool", "GetReportB")),
        busy(of("GetReportC")),
        busy(of("Put")),
    );
    assert_eq!(held, (true, false, true, true, false, true));
    for _ in 0..5 {
        fail(&bench, of("GetReportA")).await;
    }
    let service = (Part::Service, State::Open);
    assert_eq!(states(&bench), [service, (pool("readPool"), State::Closed)], "out of the pool, out of its breaker");
}

#[tokio::test(start_paused = true)]
async fn a_pool_may_have_a_breaker_of_its_own_and_an_overrides_wins_over_it() {
    let pool_of = |name: &str, isolate_breaker| PoolPolicy {
        name: name.to_owned(),
        method_globs: vec![format!("{name}/*")],
        isolate_breaker,
        ..PoolPolicy::default()
    };
    let pools = vec![pool_of("read", true), pool_of("write", false)];
    let spec = PolicySpec {
        bulkhead: BulkheadPolicy { pools, ..BulkheadPolicy::default() },
        ..with(Level::Full, vec![MethodOverride { breaker: Some(breaker_after(1)), ..named("read/Slow") }])
    };
    let bench = Bench::new(spec.clone());
    for _ in 0..5 {
        fail(&bench, of("read/Get")).await;
    }
    fail(&bench, in_pool("read", "read/Slow")).await;
    let closed = (Part::Service, State::Closed);
    assert_eq!(states(&bench), [closed.clone(), (pool("read"), State::Open), (methods("read/Slow"), State::Open)]);
    assert!(is_rejected(&bench, in_pool("read", "Put")).await);
    assert!(!is_rejected(&bench, of("write/Put")).await, "its breaker is the service's");

    // A level without pools has no pools' breakers either; what they learned is kept.
    bench.apply(PolicySpec { level: Level::Enhanced, ..spec.clone() });
    assert_eq!(states(&bench), [closed, (methods("read/Slow"), State::Open)]);
    assert!(!is_rejected(&bench, of("read/Get")).await);
    bench.apply(spec);
    assert!(is_rejected(&bench, of("read/Get")).await);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_rate_limit_is_its_own_and_may_be_none() {
    let limit = |permits| Some(RateLimitPolicy::per_second(permits));
    let overrides = vec![
        MethodOverride { rate_limit: Some(limit(1)), ..named("Get*") },
        MethodOverride { rate_limit: Some(None), ..named("List*") },
        named("Put*"),
    ];
    let bench = Bench::new(PolicySpec { rate_limit: limit(2), ..with(Level::Full, overrides) });
    let call = async |method| bench.run(&mut Script::new([Reply::Answer("live")]), of(method)).await.is_ok();
    assert_eq!([call("GetA").await, call("GetB").await], [true, false]);
    assert_eq!([call("PutA").await, call("Other").await, call("PutB").await], [true, true, false]);
    for _ in 0..5 {
        assert!(call("List").await);
    }
}

#[tokio::test(start_paused = true)]
async fn an_override_decides_whether_a_method_may_run_twice() {
    let says = |glob, is_idempotent| MethodOverride { is_idempotent, ..named(glob) };
    let overrides = vec![says("Get*", Some(true)), says("Put*", Some(false)), says("List*", None)];
    let mut spec = PolicySpec { method_overrides: overrides, ..at(Level::Enhanced) };
    spec.breaker.mode = crate::policy::BreakerMode::Disabled;
    let bench = Bench::new(spec);
    let cases = [("Get", false, 3), ("Put", true, 1), ("List", true, 3), ("List", false, 1), ("Other", true, 3)];
    for (method, is_idempotent, attempts) in cases {
        let options = CallOptions { method, is_idempotent, ..CallOptions::default() };
        let failure = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), options).await.unwrap_err();
        assert_eq!(failure.receipt.attempts, attempts, "{method}, said to be idempotent: {is_idempotent}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_of_an_override_come_out_of_the_services_budget() {
    let mut spec = with(Level::Enhanced, Vec::new());
    spec.breaker = breaker_after(0);
    spec.breaker.failure_rate = 0.0;
    spec.retry.budget.ratio = 0.0;
    spec.retry.budget.min_per_second = 0;
    let retry = RetryPolicy { max_attempts: 3, ..spec.retry.clone() };
    spec.method_overrides = vec![MethodOverride { retry: Some(retry), ..named("Get*") }];
    let bench = Bench::new(spec);
    fail(&bench, of("Get")).await;
    assert_eq!((bench.counters().retries, bench.counters().retries_refused), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_fallback_has_a_chain_and_places_of_its_own() {
    let chain = |text| FallbackPolicy { chain: vec![static_step(text)], ..FallbackPolicy::default() };
    let degraded = FallbackStep::Degraded(DegradedFallback::default());
    let one = FallbackPolicy { chain: vec![degraded], max_concurrent: 1, ..FallbackPolicy::default() };
    let overrides = vec![
        MethodOverride { fallback: Some(chain("of the method")), ..named("Get*") },
        MethodOverride { fallback: Some(one), ..named("Slow*") },
    ];
    let bench = Bench::new(PolicySpec { fallback: chain("of the service"), ..with(Level::Basic, overrides) });
    let answer = async |method| {
        let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
        (script.degraded, script.delay) = (Some("less"), SECOND);
        bench.run(&mut script, of(method)).await.map(|answer| answer.value).ok()
    };
    assert_eq!(answer("Get").await.unwrap(), "of the method");
    assert_eq!(answer("Put").await.unwrap(), "of the service");
    let (first, second) = tokio::join!(answer("Slow"), answer("Slow"));
    assert_eq!((first.as_deref(), second), (Some("less"), None), "one place");
}

/// Keeps what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<(Part, State)>>);

impl Observer for Told {
    fn transition(&self, part: &Part, transition: &Transition) {
        self.0.lock().unwrap().push((part.clone(), transition.to));
    }
}

#[tokio::test(start_paused = true)]
async fn transitions_say_whose_breaker_it_was() {
    let told = Arc::new(Told::default());
    let spec = with(Level::Enhanced, vec![MethodOverride { breaker: Some(breaker_after(1)), ..named("Get*") }]);
    let observer = Arc::<Told>::clone(&told);
    let isolation = Isolation::new(Policy::new(spec).unwrap(), None, Clocks::default(), observer);
    let bench = Bench { isolation, runtime: Paused(tokio::time::Instant::now()) };
    fail(&bench, of("Get")).await;
    for _ in 0..5 {
        fail(&bench, of("Put")).await;
    }
    assert_eq!(*told.0.lock().unwrap(), [(methods("Get*"), State::Open), (Part::Service, State::Open)]);
    assert_eq!(bench.counters().breaker_opened, 2);
}
