//! Panics, of the operation and of others.

use super::*;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;

/// Seen in <https://github.com/resilience4j/resilience4j/issues/1389>.
#[tokio::test(start_paused = true)]
async fn t04_a_panic_gives_everything_back_and_counts_as_a_failure() {
    let bulkhead = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
    let bench = Bench::new(PolicySpec { bulkhead, ..at(Level::Full) });
    for _ in 0..5 {
        let caught = AssertUnwindSafe(bench.call([Reply::Panic])).catch_unwind().await;
        assert!(caught.is_err());
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    tokio::time::advance(30 * SECOND).await;
    bench.call([Reply::Answer("probe")]).await.unwrap();
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/1389>.
#[tokio::test(start_paused = true)]
async fn t04_a_probe_that_panics_has_failed_and_gives_its_slot_back() {
    let mut spec = at(Level::Full);
    (spec.breaker.consecutive_failures, spec.breaker.half_open_allowed_failures) = (1, 1);
    let bench = Bench::new(spec);
    let panics = async || {
        let caught = AssertUnwindSafe(bench.call([Reply::Panic])).catch_unwind().await;
        assert!(caught.is_err());
    };
    panics().await;
    tokio::time::advance(30 * SECOND).await;
    panics().await;
    assert_eq!(bench.breaker(), Some(State::HalfOpen), "one is forgiven");
    bench.call([Reply::Answer("a probe in its place")]).await.unwrap();
    panics().await;
    assert_eq!(bench.breaker(), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_as_a_failed_attempt() {
    let bench = Bench::new(at(Level::Enhanced));
    let caught = AssertUnwindSafe(bench.call([Reply::Panic])).catch_unwind().await;
    assert!(caught.is_err());
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.attempts, counters.attempt_failures), (1, 1, 1));
    assert_eq!((counters.failed, counters.cancelled), (1, 0), "nobody has cancelled it");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_callers_own_fallback_is_a_failed_call() {
    let bench = Bench::new(at(Level::Enhanced));
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.panics = true;
    let caught = AssertUnwindSafe(bench.run(&mut script, CallOptions::default())).catch_unwind().await;
    assert!(caught.is_err());
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.failed, counters.cancelled), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_in_the_callers_task_says_nothing_of_the_service() {
    let bench = Bench::new(at(Level::Enhanced));
    for _ in 0..5 {
        let both = async {
            let bug = async {
                tokio::task::yield_now().await;
                panic!("a bug of the caller's");
            };
            tokio::join!(bench.call([Reply::Hang]), bug)
        };
        assert!(AssertUnwindSafe(both).catch_unwind().await.is_err());
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
    let counters = bench.counters();
    assert_eq!((counters.cancelled, counters.attempt_neutrals), (5, 5));
}
