//! Hedging after a quantile of the measured latency.

use super::*;
use crate::latency::LatencySnapshot;
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};

/// Hedges after the 95th percentile, once known; until then after 100 ms.
fn by_percentile() -> PolicySpec {
    let mut spec = hedging(1);
    spec.hedge.percentile = 0.95;
    spec
}

fn measured(bench: &Bench, method: &str) -> LatencySnapshot {
    let in_force = bench.isolation.in_force();
    let latency = in_force.scope(method).latency.clone();
    latency.map_or_else(LatencySnapshot::default, |latency| latency.snapshot())
}

/// Makes calls, twenty at once.
async fn call(bench: &Bench, times: usize, delay: u64) {
    let call = |_| bench.call([answer_after(delay, "measured")]);
    for begin in (0..times).step_by(20) {
        let calls = (begin..times.min(begin + 20)).map(call);
        futures_util::future::join_all(calls).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    }
}

/// When a call of now is hedged.
async fn hedge_delay(bench: &Bench) -> Duration {
    let mut script = Script::new([Reply::Hang, Reply::Answer("hedge")]);
    run(bench, &mut script).await.1
}

fn near(delay: Duration, millis: u64) -> bool {
    let expected = Duration::from_millis(millis);
    // Tokio's timer counts in milliseconds.
    delay.abs_diff(expected) <= expected / 17 + MILLISECOND
}

#[tokio::test(start_paused = true)]
async fn the_delay_follows_the_measured_latency() {
    let bench = Bench::new(by_percentile());
    assert_eq!(hedge_delay(&bench).await, DELAY, "nothing is known yet");
    // 200 are enough, and the attempt that has just lost was the first.
    call(&bench, 198, 40).await;
    bench.runtime.sleep(SECOND).await;
    assert_eq!(hedge_delay(&bench).await, DELAY);
    bench.runtime.sleep(SECOND).await;
    let delay = hedge_delay(&bench).await;
    assert!(near(delay, 40), "{delay:?}");

    // A slower minute: 90 ms is soon what 95 of a hundred do not exceed.
    call(&bench, 400, 90).await;
    bench.runtime.sleep(SECOND).await;
    let delay = hedge_delay(&bench).await;
    assert!(near(delay, 90), "{delay:?}");

    // A quiet one: yesterday decides nothing.
    bench.runtime.sleep(60 * SECOND).await;
    assert_eq!(hedge_delay(&bench).await, DELAY);
}

#[tokio::test(start_paused = true)]
async fn losers_and_timeouts_count_for_as_long_as_they_ran_and_hedges_not_at_all() {
    let bench = Bench::new(by_percentile());
    let counts = |expected: &[Duration]| {
        let histogram = crate::latency::LatencyHistogram::new();
        expected.iter().for_each(|latency| histogram.record(*latency));
        assert_eq!(measured(&bench, "list"), histogram.snapshot());
    };
    // The first attempt loses after 150 ms to a hedge that took 50.
    bench.call([Reply::Hang, answer_after(50, "hedge")]).await.unwrap();
    counts(&[millis(150)]);
    // The first wins after 120 ms; the hedge ran for 20, which says nothing.
    bench.call([answer_after(120, "first"), Reply::Hang]).await.unwrap();
    counts(&[millis(150), millis(120)]);
    // A failure is no latency, neither is what its successor takes.
    bench.call([fail_after(1), answer_after(7, "hedge")]).await.unwrap();
    counts(&[millis(150), millis(120)]);
    let options = CallOptions { timeout: Some(millis(70)), ..idempotent() };
    bench.run(&mut Script::new([Reply::Hang]), options).await.unwrap_err();
    counts(&[millis(150), millis(120), millis(70)]);
    // Nor is what the caller has cancelled.
    drop(tokio::time::timeout(millis(5), bench.call([Reply::Hang])).await);
    counts(&[millis(150), millis(120), millis(70)]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_hedged_is_not_measured() {
    let bench = Bench::new(by_percentile());
    let once = CallOptions { is_idempotent: false, ..idempotent() };
    bench.run(&mut Script::new([answer_after(10, "once")]), once).await.unwrap();
    bench.apply(PolicySpec { level: Level::Enhanced, ..by_percentile() });
    call(&bench, 1, 10).await;
    assert_eq!(measured(&bench, "list").count(), 0);
    bench.apply(by_percentile());
    call(&bench, 1, 10).await;
    assert_eq!(measured(&bench, "list").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_percentile_keeps_what_was_measured() {
    let bench = Bench::new(by_percentile());
    call(&bench, 200, 40).await;
    let mut spec = by_percentile();
    spec.hedge.percentile = 0.5;
    bench.apply(spec);
    let delay = hedge_delay(&bench).await;
    assert!(near(delay, 40), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn methods_with_a_hedge_policy_of_their_own_are_measured_on_their_own() {
    let mut spec = by_percentile();
    let hedge = Some(HedgePolicy { percentile: 0.5, ..HedgePolicy::after(SECOND) });
    spec.method_overrides = vec![MethodOverride { glob: "search".to_owned(), hedge, ..MethodOverride::default() }];
    let bench = Bench::new(spec);
    call(&bench, 3, 40).await;
    let options = CallOptions { method: "search", ..idempotent() };
    bench.run(&mut Script::new([answer_after(70, "found")]), options).await.unwrap();
    assert_eq!((measured(&bench, "list").count(), measured(&bench, "search").count()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn without_a_percentile_nothing_is_measured() {
    let bench = Bench::new(hedging(1));
    assert!(bench.isolation.in_force().scope("list").latency.is_none());
}

/// With those that win alone, a service that gets slower would look as fast as ever.
#[tokio::test(start_paused = true)]
async fn attempts_that_lose_to_a_hedge_teach_the_adaptive_limit() {
    let mut spec = hedging(1);
    spec.adaptive_limit = AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Aimd, initial: 2, ..Default::default() };
    let bench = Bench::new(spec);
    for _ in 0..5 {
        // The first runs for 150 ms, the hedge for 50; a window is ten lessons.
        bench.call([Reply::Hang, answer_after(50, "hedge")]).await.unwrap();
    }
    assert_eq!(bench.isolation.adaptive_limit().unwrap().limit, 3);
}
