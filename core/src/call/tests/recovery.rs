//! The breaker as calls meet it.

use super::*;
use futures_util::FutureExt;

/// Trips at the fifth failure, retries nothing.
fn once(level: Level) -> PolicySpec {
    PolicySpec { retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }, ..at(level) }
}

async fn half_open(spec: PolicySpec) -> Bench {
    let bench = Bench::new(spec);
    for _ in 0..5 {
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    tokio::time::advance(30 * SECOND).await;
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    bench
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1647>.
#[tokio::test(start_paused = true)]
async fn t27_at_full_a_closed_breaker_ramps_up_and_what_it_keeps_out_falls_back() {
    for (level, expected) in [(Level::Enhanced, Source::Live), (Level::Full, Source::Static)] {
        let mut spec = with_chain(level, vec![static_step("static")]);
        spec.breaker.ramp_duration = 10 * SECOND;
        let bench = Bench::new(spec);
        for _ in 0..5 {
            bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap();
        }
        bench.runtime.sleep(60 * SECOND).await;
        for _ in 0..2 {
            bench.call([Reply::Answer("probe")]).await.unwrap();
        }
        assert_eq!(bench.breaker(), Some(State::Closed));
        // The test's random number is the highest there is: the ramp keeps every call out until it is over.
        let before = bench.counters();
        let answer = bench.call([Reply::Answer("live")]).await.unwrap();
        assert_eq!(answer.source, expected, "{level}");
        let since = bench.counters().since(&before);
        assert_eq!(since.rejected_open + since.attempts, 1);
        bench.runtime.sleep(10 * SECOND).await;
        assert_eq!(bench.call([Reply::Answer("live")]).await.unwrap().source, Source::Live);
    }
}

#[tokio::test(start_paused = true)]
async fn d8_the_fifth_failure_opens_and_the_service_is_left_alone() {
    let spec = PolicySpec { retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }, ..at(Level::Enhanced) };
    let bench = Bench::new(spec);
    for _ in 0..5 {
        assert_eq!(bench.breaker(), Some(State::Closed));
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::Open { retry_after: Some(30 * SECOND), by: OpenedBy::Rules });
    assert_eq!(failure.receipt.attempts, 0);
    assert_eq!(bench.isolation.health(bench.runtime.now()), crate::health::HealthStatus::CircuitOpen);

    tokio::time::advance(30 * SECOND).await;
    assert_eq!(bench.call([Reply::Answer("probe")]).await.unwrap().source, Source::Live);
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    bench.call([Reply::Answer("probe")]).await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Closed));
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1638>,
/// <https://github.com/alibaba/sentinel-golang/issues/196>.
#[tokio::test(start_paused = true)]
async fn t05_probes_that_a_full_bulkhead_keeps_out_take_no_slot() {
    let mut spec = once(Level::Full);
    spec.bulkhead.max_concurrent = 1;
    spec.breaker.success_threshold = 2;
    let bench = half_open(spec).await;
    let mut probe = Box::pin(bench.call([Reply::AnswerAfter(SECOND, "probe")]));
    assert!(probe.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        let failure = bench.call([Reply::Answer("kept out")]).await.unwrap_err();
        assert_eq!(failure.cause, FailureCause::BulkheadFull);
    }
    probe.await.unwrap();
    bench.call([Reply::Answer("second probe")]).await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Closed));
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/674>, <https://github.com/App-vNext/Polly/issues/311>.
#[tokio::test(start_paused = true)]
async fn t06_a_neutral_probe_leaves_its_slot_to_the_next() {
    let mut spec = once(Level::Enhanced);
    spec.breaker.success_threshold = 1;
    let bench = half_open(spec).await;
    for _ in 0..10 {
        bench.call([Reply::Code(1)]).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    bench.call([Reply::Answer("probe")]).await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Closed));
}

/// Seen in <https://github.com/OpenLiberty/open-liberty/issues/7080>,
/// <https://github.com/smallrye/smallrye-fault-tolerance/issues/319>,
/// <https://github.com/nodeshift/opossum/issues/119>.
#[tokio::test(start_paused = true)]
async fn t08_of_many_calls_at_once_only_the_probes_reach_the_service() {
    let bench = half_open(once(Level::Enhanced)).await;
    let calls: Vec<_> = (0..50).map(|_| bench.call([Reply::AnswerAfter(SECOND, "probe")])).collect();
    let answered = futures_util::future::join_all(calls).await;
    assert_eq!(answered.iter().filter(|answer| answer.is_ok()).count(), 2);
    let counters = bench.counters();
    assert_eq!((counters.attempts, counters.rejected_open, bench.breaker()), (5 + 2, 48, Some(State::Closed)));
}

/// Seen in <https://github.com/smallrye/smallrye-fault-tolerance/issues/320>.
#[tokio::test(start_paused = true)]
async fn t43_an_error_that_is_a_success_when_closed_is_one_as_a_probe() {
    let bench = half_open(once(Level::Enhanced)).await;
    for _ in 0..2 {
        bench.call([Reply::Code(NOT_FOUND)]).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_told_of_exhaustion_opens_again() {
    let bench = half_open(once(Level::Enhanced)).await;
    bench.call([Reply::Code(8)]).await.unwrap_err();
    assert_eq!(bench.breaker(), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn calls_at_a_level_without_a_breaker_teach_it_nothing() {
    let bench = half_open(once(Level::Enhanced)).await;
    bench.apply(once(Level::Basic));
    for reply in [Reply::Code(UNAVAILABLE), Reply::Answer("live")] {
        for _ in 0..10 {
            let _ = bench.call([reply]).await;
        }
    }
    bench.apply(once(Level::Enhanced));
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
}

/// Seen in <https://github.com/App-vNext/Polly/issues/217>, <https://github.com/Netflix/Hystrix/issues/1350>,
/// <https://github.com/sony/gobreaker/issues/122>.
#[tokio::test(start_paused = true)]
async fn t09_a_probe_that_outlives_its_lease_changes_nothing() {
    let mut spec = once(Level::Enhanced);
    spec.timeout.call_timeout = Duration::ZERO;
    spec.breaker.success_threshold = 1;
    let bench = half_open(spec).await;
    let mut late = Box::pin(bench.call([Reply::AnswerAfter(40 * SECOND, "late")]));
    assert!(late.as_mut().now_or_never().is_none());
    tokio::time::advance(31 * SECOND).await;
    bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    assert_eq!(bench.breaker(), Some(State::Open), "the fresh probe failed");
    late.await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Open));
    assert_eq!(bench.counters().stale_results, 1);
}
