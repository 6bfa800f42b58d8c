//! How long calls and attempts took.

use super::*;
use crate::latency::{CallLatencySnapshot, SparseLatency};
use std::pin::pin;

const MILLI: Duration = Duration::from_millis(1);

fn histogram(durations: &[Duration]) -> SparseLatency {
    let mut latency = SparseLatency::default();
    durations.iter().for_each(|duration| latency.record(*duration));
    latency
}

fn timed(bench: &Bench, calls: &[Duration], attempts: &[Duration]) {
    let expected = CallLatencySnapshot { calls: histogram(calls), attempts: histogram(attempts) };
    assert_eq!(bench.isolation.latencies(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_one_attempt_took_as_long_as_the_attempt() {
    let bench = Bench::new(at(Level::None));
    bench.call([Reply::AnswerAfter(20 * MILLI, "slow")]).await.unwrap();
    timed(&bench, &[20 * MILLI], &[20 * MILLI]);
    bench.call([Reply::CodeAfter(30 * MILLI, NOT_FOUND)]).await.unwrap_err();
    let both = [20 * MILLI, 30 * MILLI];
    timed(&bench, &both, &both);
}

#[tokio::test(start_paused = true)]
async fn retries_pauses_and_fallbacks_are_part_of_the_call() {
    let bench = Bench::new(at(Level::Enhanced));
    bench.call([Reply::CodeAfter(20 * MILLI, UNAVAILABLE), Reply::AnswerAfter(30 * MILLI, "second")]).await.unwrap();
    timed(&bench, &[150 * MILLI], &[20 * MILLI, 30 * MILLI]);

    let mut script = Script::new([Reply::CodeAfter(SECOND, UNAVAILABLE)]);
    (script.local, script.delay) = (Some("mine"), 3 * SECOND);
    bench.run(&mut script, CallOptions::default()).await.unwrap();
    timed(&bench, &[150 * MILLI, 4 * SECOND], &[20 * MILLI, 30 * MILLI, SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_place_is_the_calls_and_not_the_attempts() {
    let mut spec = at(Level::Full);
    spec.bulkhead = BulkheadPolicy { max_concurrent: 1, max_queue: 1, max_wait: 10 * SECOND, ..spec.bulkhead };
    let bench = Bench::new(spec);
    let (first, second) = tokio::join!(
        bench.call([Reply::AnswerAfter(SECOND, "first")]),
        bench.call([Reply::AnswerAfter(2 * SECOND, "second")]),
    );
    first.unwrap();
    second.unwrap();
    timed(&bench, &[SECOND, 3 * SECOND], &[SECOND, 2 * SECOND]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_is_timed_and_makes_no_attempt() {
    let mut spec = at(Level::Enhanced);
    spec.breaker = BreakerPolicy { consecutive_failures: 1, ..spec.breaker };
    let bench = Bench::new(spec);
    bench.call([Reply::CodeAfter(20 * MILLI, UNAVAILABLE)]).await.unwrap_err();
    bench.call([Reply::Answer("never asked")]).await.unwrap_err();
    timed(&bench, &[20 * MILLI, Duration::ZERO], &[20 * MILLI]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_waited_for_is_timed_only_where_the_policy_goes_by_latency() {
    let mut spec = at(Level::Enhanced);
    spec.breaker.slow_call_duration = Duration::ZERO;
    let bench = Bench::new(spec.clone());
    bench.call([Reply::Answer("at once")]).await.unwrap();
    timed(&bench, &[], &[]);
    spec.breaker.slow_call_duration = SECOND;
    bench.apply(spec);
    bench.call([Reply::Answer("at once")]).await.unwrap();
    timed(&bench, &[Duration::ZERO], &[Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_is_not_timed() {
    let bench = Bench::new(at(Level::Enhanced));
    let cancelled = tokio::time::timeout(SECOND, bench.call([Reply::Hang])).await;
    assert!(cancelled.is_err());
    {
        // In the pause after its first attempt: that one has ended.
        let mut call = pin!(bench.call([Reply::CodeAfter(20 * MILLI, UNAVAILABLE), Reply::Hang]));
        assert!(tokio::time::timeout(50 * MILLI, &mut call).await.is_err());
    }
    timed(&bench, &[], &[20 * MILLI]);
}

#[tokio::test(start_paused = true)]
async fn of_attempts_side_by_side_those_are_timed_that_end() {
    let mut spec = at(Level::Full);
    (spec.hedge.delay, spec.hedge.max_extra) = (SECOND, 1);
    let bench = Bench::new(spec);
    bench.call([Reply::Hang, Reply::AnswerAfter(2 * SECOND, "hedge")]).await.unwrap();
    timed(&bench, &[3 * SECOND], &[2 * SECOND]);
    bench.call([Reply::AnswerAfter(SECOND / 2, "first")]).await.unwrap();
    timed(&bench, &[3 * SECOND, SECOND / 2], &[2 * SECOND, SECOND / 2]);
}
