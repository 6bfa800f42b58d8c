//! Policies that add, keep, change and drop overrides, whatever state their breakers are in and whoever is in them.

use super::*;
use futures_util::FutureExt;
use std::pin::pin;

/// An override with a breaker of its own that opens at so many failures in a row, for 30 s.
fn own(glob: &str, failures: u32) -> MethodOverride {
    MethodOverride { breaker: Some(breaker_after(failures)), ..named(glob) }
}

fn enhanced(overrides: Vec<MethodOverride>) -> PolicySpec {
    with(Level::Enhanced, overrides)
}

async fn succeed(bench: &Bench, options: CallOptions<'_>) {
    bench.run(&mut Script::new([Reply::Answer("live")]), options).await.unwrap();
}

/// The state of the breaker that a method meets.
fn state(bench: &Bench, method: &str) -> State {
    bench.isolation.breaker_state_for(method, None, bench.runtime.now()).unwrap()
}

/// Config change while open: <https://github.com/resilience4j/resilience4j/issues/975>
#[tokio::test(start_paused = true)]
async fn t24_an_override_that_stays_keeps_its_open_breaker() {
    let bench = Bench::new(enhanced(vec![own("Get*", 2)]));
    fail(&bench, of("Get")).await;
    fail(&bench, of("Get")).await;
    // Other numbers, another place in the list, a section less and one more: the glob is what it is known by.
    let timeout = TimeoutPolicy { call_timeout: 9 * SECOND, ..TimeoutPolicy::default() };
    let changed = MethodOverride { timeout: Some(timeout), is_idempotent: Some(false), ..own("Get*", 7) };
    bench.apply(enhanced(vec![own("List*", 2), changed.clone()]));
    assert_eq!((state(&bench, "Get"), state(&bench, "List")), (State::Open, State::Closed));
    for level in [Level::Basic, Level::None, Level::Full] {
        bench.apply(with(level, vec![changed.clone()]));
    }
    assert!(is_rejected(&bench, of("Get")).await);

    let mut shorter = changed;
    shorter.breaker.as_mut().unwrap().open_duration = 10 * SECOND;
    tokio::time::advance(9 * SECOND).await;
    bench.apply(enhanced(vec![shorter]));
    assert!(is_rejected(&bench, of("Get")).await);
    tokio::time::advance(SECOND).await;
    assert_eq!(state(&bench, "Get"), State::HalfOpen, "a shorter open time counts from when it opened");
}

/// Config change while half-open: <https://github.com/resilience4j/resilience4j/issues/2181>
#[tokio::test(start_paused = true)]
async fn t24_an_override_that_stays_keeps_its_half_open_breaker_and_its_probes() {
    let bench = Bench::new(enhanced(vec![own("Get*", 1)]));
    fail(&bench, of("Get")).await;
    tokio::time::advance(30 * SECOND).await;
    let mut script = Script::new([Reply::AnswerAfter(SECOND, "probe")]);
    let mut probe = pin!(bench.run(&mut script, of("Get")));
    assert!(probe.as_mut().now_or_never().is_none());
    bench.apply(enhanced(vec![own("Other*", 1), own("Get*", 5)]));
    let mut script = Script::new([Reply::AnswerAfter(SECOND, "probe")]);
    let mut second = pin!(bench.run(&mut script, of("Get")));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(is_rejected(&bench, of("Get")).await, "two probes are out, one under each policy");
    let (first, second) = tokio::join!(probe, second);
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(state(&bench, "Get"), State::Closed, "both counted");
    assert_eq!(bench.counters().stale_results, 0);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[tokio::test(start_paused = true)]
async fn t24_an_override_that_comes_or_goes_moves_its_methods_to_another_breaker() {
    let bench = Bench::new(enhanced(Vec::new()));
    for _ in 0..5 {
        fail(&bench, of("Get")).await;
    }
    assert!(is_rejected(&bench, of("Get")).await);
    bench.apply(enhanced(vec![own("Get*", 1)]));
    succeed(&bench, of("Get")).await;
    fail(&bench, of("Get")).await;
    assert_eq!(states(&bench), [(Part::Service, State::Open), (methods("Get*"), State::Open)]);
    // Without a breaker of its own, the override is no reason to meet another one than the service's.
    bench.apply(enhanced(vec![named("Get*")]));
    assert_eq!(states(&bench), [(Part::Service, State::Open)]);
    tokio::time::advance(30 * SECOND).await;
    succeed(&bench, of("Get")).await;
    succeed(&bench, of("Put")).await;
    assert_eq!(state(&bench, "Get"), State::Closed);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[tokio::test(start_paused = true)]
async fn t24_what_a_dropped_override_learned_is_gone_once_nobody_uses_it() {
    let bench = Bench::new(enhanced(vec![own("Get*", 1)]));
    let mut script = Script::new([Reply::AnswerAfter(SECOND, "late")]);
    let mut in_flight = pin!(bench.run(&mut script, of("Get")));
    assert!(in_flight.as_mut().now_or_never().is_none());
    fail(&bench, of("Get")).await;
    bench.apply(enhanced(Vec::new()));
    assert_eq!(states(&bench), [(Part::Service, State::Closed)]);
    bench.apply(enhanced(vec![own("Get*", 1)]));
    assert_eq!(states(&bench)[1..], [(methods("Get*"), State::Open)], "a call of the first policy is under way");

    in_flight.await.unwrap();
    bench.apply(enhanced(Vec::new()));
    bench.apply(enhanced(vec![own("Get*", 2)]));
    assert_eq!(states(&bench)[1..], [(methods("Get*"), State::Closed)]);
}

/// Metrics lost with the breaker that a change of configuration replaced:
/// <https://github.com/resilience4j/resilience4j/issues/1116>
#[tokio::test(start_paused = true)]
async fn t24_calls_of_a_dropped_override_end_in_its_breaker_and_in_the_services_figures() {
    let told = Arc::new(Told::default());
    let observer = Arc::<Told>::clone(&told);
    let isolation =
        Isolation::new(Policy::new(enhanced(vec![own("Get*", 1)])).unwrap(), None, Clocks::default(), observer);
    let bench = Bench { isolation, runtime: Paused(tokio::time::Instant::now()) };
    let mut script = Script::new([Reply::Hang]);
    let mut in_flight = pin!(bench.run(&mut script, of("Get")));
    assert!(in_flight.as_mut().now_or_never().is_none());
    bench.apply(enhanced(Vec::new()));
    assert_eq!(in_flight.await.unwrap_err().cause, FailureCause::Timeout);
    assert_eq!(*told.0.lock().unwrap(), [(methods("Get*"), State::Open)]);
    assert_eq!(bench.breaker(), Some(State::Closed));
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.failed, counters.timeouts, counters.breaker_opened), (1, 1, 1, 1));

    for _ in 0..5 {
        fail(&bench, of("Get")).await;
    }
    assert_eq!(*told.0.lock().unwrap(), [(methods("Get*"), State::Open), (Part::Service, State::Open)]);
    assert_eq!(bench.counters().breaker_opened, 2);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[tokio::test(start_paused = true)]
async fn t24_places_and_rate_of_an_override_outlive_a_policy() {
    let narrow = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
    let rate = Some(RateLimitPolicy::per_second(2));
    let spec = |max_concurrent| {
        let bulkhead = BulkheadPolicy { max_concurrent, ..narrow.clone() };
        with(Level::Full, vec![MethodOverride { bulkhead: Some(bulkhead), rate_limit: Some(rate), ..named("Get*") }])
    };
    let bench = Bench::new(spec(1));
    let mut script = Script::new([Reply::AnswerAfter(SECOND / 4, "first")]);
    let mut running = pin!(bench.run(&mut script, of("Get")));
    assert!(running.as_mut().now_or_never().is_none());
    bench.apply(spec(1));
    let refused = bench.run(&mut Script::new([Reply::Answer("kept out")]), of("Get")).await.unwrap_err();
    assert_eq!(refused.cause, FailureCause::BulkheadFull);
    bench.apply(spec(2));
    let refused = bench.run(&mut Script::new([Reply::Answer("too many")]), of("Get")).await.unwrap_err();
    assert!(matches!(refused.cause, FailureCause::RateLimited { .. }), "two have started in this second: {refused:?}");
    running.await.unwrap();
}

/// Each policy that comes leaves nothing behind: <https://github.com/TykTechnologies/tyk/issues/2617>
#[tokio::test(start_paused = true)]
async fn t24_policies_without_end_leave_nothing_behind() {
    let bench = Bench::new(enhanced(Vec::new()));
    for round in 0..1000 {
        let glob = format!("Get{round}*");
        bench.apply(enhanced(vec![own(&glob, 1), own("Put*", 1)]));
        fail(&bench, of(&glob)).await;
    }
    assert_eq!(bench.isolation.known_breakers(), 3, "the service's, and those of two overrides");
    assert_eq!(state(&bench, "Put"), State::Closed);
    assert_eq!(bench.counters().breaker_opened, 1000);
}
