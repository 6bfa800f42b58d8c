//! The rate limit, around everything that a call does live.

use super::*;
use crate::policy::RateLimitPolicy;

fn limited(limit: RateLimitPolicy) -> PolicySpec {
    PolicySpec { rate_limit: Some(limit), ..at(Level::Full) }
}

fn one_per_second(max_wait: Duration) -> RateLimitPolicy {
    RateLimitPolicy { max_wait, ..RateLimitPolicy::per_second(1) }
}

#[tokio::test(start_paused = true)]
async fn calls_over_the_rate_are_rejected_and_say_nothing_of_the_service() {
    let bench = Bench::new(limited(RateLimitPolicy::per_second(2)));
    for _ in 0..2 {
        bench.call([Reply::Answer("live")]).await.unwrap();
    }
    for _ in 0..20 {
        let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
        assert_eq!(failure.cause, FailureCause::RateLimited { retry_after: SECOND / 2 });
        assert_eq!(failure.receipt.attempts, 0);
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
    let counters = bench.counters();
    assert_eq!((counters.rejected_rate_limit, counters.attempts, counters.failed), (20, 2, 20));
    tokio::time::sleep(SECOND / 2).await;
    bench.call([Reply::Answer("live")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_chain_answers_for_a_call_over_the_rate() {
    let chain = with_chain(Level::Full, vec![static_step("static")]).fallback;
    let bench = Bench::new(PolicySpec { fallback: chain, ..limited(one_per_second(Duration::ZERO)) });
    assert_eq!(bench.call([Reply::Answer("live")]).await.unwrap().source, Source::Live);
    let answer = bench.call([Reply::Answer("not asked")]).await.unwrap();
    let why = Why {
        trigger: FallbackTrigger::RateLimit,
        retry_after: Some(SECOND),
        is_adaptive_limit: false,
        is_forced: false,
    };
    assert_eq!((answer.source, answer.receipt.why), (Source::Static, Some(why)));
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_one_turn_however_often_it_is_tried() {
    let bench = Bench::new(limited(RateLimitPolicy::per_second(1)));
    let replies = [Reply::Code(UNAVAILABLE), Reply::Code(UNAVAILABLE), Reply::Answer("third")];
    assert_eq!(bench.call(replies).await.unwrap().receipt.attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_turn_counts_against_the_deadline() {
    let bench = Bench::new(limited(one_per_second(60 * SECOND)));
    bench.call([Reply::Answer("first")]).await.unwrap();
    let before = bench.runtime.now();
    let limited = CallOptions { timeout: Some(SECOND / 2), ..idempotent() };
    let failure = bench.run(&mut Script::new([Reply::Answer("late")]), limited).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::RateLimited { retry_after: SECOND });
    assert_eq!(bench.runtime.now(), before, "a wait that leaves no time is not begun");
    let failure = bench.call([Reply::Hang]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::Timeout);
    assert_eq!(bench.runtime.now().saturating_since(before), 5 * SECOND, "the second it has waited included");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_gives_its_turn_back() {
    let bench = Bench::new(limited(one_per_second(2 * SECOND)));
    bench.call([Reply::Answer("first")]).await.unwrap();
    for _ in 0..20 {
        let cancelled = tokio::time::timeout(SECOND / 100, bench.call([Reply::Answer("cancelled")])).await;
        assert!(cancelled.is_err());
    }
    let before = bench.runtime.now();
    bench.call([Reply::Answer("second")]).await.unwrap();
    assert_eq!(bench.runtime.now().saturating_since(before), SECOND - SECOND / 5);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>,
/// <https://github.com/nodeshift/opossum/issues/450>.
#[tokio::test(start_paused = true)]
async fn t24_neither_policy_nor_level_gives_a_fresh_burst() {
    let bench = Bench::new(limited(RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(10) }));
    bench.call([Reply::Answer("first")]).await.unwrap();
    bench.apply(PolicySpec { level: Level::Enhanced, ..limited(RateLimitPolicy::per_second(1)) });
    for _ in 0..20 {
        bench.call([Reply::Answer("not limited at enhanced")]).await.unwrap();
    }
    bench.apply(limited(RateLimitPolicy { burst: 1, ..RateLimitPolicy::per_second(20) }));
    let failure = bench.call([Reply::Answer("too early")]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::RateLimited { retry_after: SECOND / 20 });
}
