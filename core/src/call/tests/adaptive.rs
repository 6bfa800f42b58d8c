//! The adaptive limit, between the bulkhead and the breaker.

use super::*;
use crate::adaptive_limit::Load;
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy, MethodOverride};
use futures_util::FutureExt as _;
use futures_util::future::join_all;

/// A policy that lets so many calls be in flight until something is learned, and tries each once.
fn limited(level: Level, initial: u32) -> PolicySpec {
    let kind = AdaptiveLimitKind::Aimd;
    PolicySpec {
        adaptive_limit: AdaptiveLimitPolicy { kind, initial, ..AdaptiveLimitPolicy::default() },
        retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
        ..at(level)
    }
}

fn never_open(mut spec: PolicySpec) -> PolicySpec {
    (spec.breaker.consecutive_failures, spec.breaker.failure_rate) = (0, 0.0);
    spec
}

/// So many calls at once that end alike, and how many of them were turned away by the limit.
async fn turned_away(bench: &Bench, calls: usize, reply: Reply) -> usize {
    let results = join_all((0..calls).map(|_| bench.call([reply]))).await;
    let reached =
        |result: &CallResult| result.as_ref().is_err_and(|failure| failure.cause == FailureCause::AdaptiveLimitReached);
    results.iter().filter(|result| reached(result)).count()
}

fn load(bench: &Bench) -> Load {
    bench.isolation.adaptive_limit().unwrap()
}

#[tokio::test(start_paused = true)]
async fn at_full_only_the_limit_is_in_force() {
    for (level, expected) in [(Level::None, 0), (Level::Basic, 0), (Level::Enhanced, 0), (Level::Full, 3)] {
        let bench = Bench::new(limited(level, 2));
        assert_eq!(turned_away(&bench, 5, Reply::AnswerAfter(SECOND, "live")).await, expected, "{level}");
        assert_eq!(bench.isolation.adaptive_limit().is_some(), level == Level::Full);
    }
    let off = Bench::new(PolicySpec { adaptive_limit: AdaptiveLimitPolicy::default(), ..limited(Level::Full, 2) });
    assert_eq!(turned_away(&off, 25, Reply::AnswerAfter(SECOND, "live")).await, 0);
    assert_eq!(off.isolation.adaptive_limit(), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_at_the_limit_is_rejected_at_once_and_told_apart_from_the_bulkhead() {
    let mut spec = limited(Level::Full, 1);
    spec.fallback = with_chain(Level::Full, vec![static_step("static")]).fallback;
    let bench = Bench::new(spec.clone());
    let mut script = Script::new([Reply::Hang]);
    let mut running = Box::pin(bench.run(&mut script, idempotent()));
    assert!(running.as_mut().now_or_never().is_none());
    let before = bench.runtime.now();
    let answer = bench.call([Reply::Answer("not asked")]).await.unwrap();
    let why = Why { trigger: FallbackTrigger::Bulkhead, is_adaptive_limit: true, retry_after: None, is_forced: false };
    assert_eq!((answer.source, answer.receipt.why, answer.receipt.attempts), (Source::Static, Some(why), 0));
    assert_eq!((bench.runtime.now(), load(&bench)), (before, Load { limit: 1, in_flight: 1 }));

    spec.fallback.on = vec![FallbackTrigger::Failure];
    bench.apply(spec);
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    assert_eq!((failure.cause, failure.receipt.why), (FailureCause::AdaptiveLimitReached, Some(why)));
    let counters = bench.counters();
    assert_eq!((counters.rejected_adaptive_limit, counters.rejected_bulkhead, counters.attempts), (2, 0, 0));
    assert_eq!(bench.breaker(), Some(State::Closed));
    drop(running);
    assert_eq!(load(&bench), Load { limit: 1, in_flight: 0 });
}

#[tokio::test(start_paused = true)]
async fn calls_teach_it_by_their_outcome() {
    let rounds = async |reply| {
        let bench = Bench::new(never_open(limited(Level::Full, 20)));
        for _ in 0..10 {
            turned_away(&bench, 20, reply).await;
            bench.runtime.sleep(SECOND).await;
        }
        assert_eq!(load(&bench).in_flight, 0);
        load(&bench).limit
    };
    assert_eq!(rounds(Reply::Code(1)).await, 20, "neutral");
    assert_eq!(rounds(Reply::Code(NOT_FOUND)).await, 20, "an answer, and never two in flight");
    assert!(rounds(Reply::AnswerAfter(SECOND / 10, "live")).await > 25);
    assert!(rounds(Reply::Code(UNAVAILABLE)).await < 10);
    assert!(rounds(Reply::Hang).await < 10, "a timeout is a failure");
}

/// failsafe-go 0.9.2 fixed permits that a cancelled call kept for ever.
/// <https://github.com/failsafe-go/failsafe-go/blob/master/CHANGELOG.md>
#[tokio::test(start_paused = true)]
async fn t41_cancelled_and_panicking_calls_give_their_permits_back() {
    let bench = Bench::new(never_open(limited(Level::Full, 2)));
    for _ in 0..5 {
        let calls = (0..2).map(|_| tokio::time::timeout(SECOND, bench.call([Reply::Hang])));
        assert!(join_all(calls).await.iter().all(Result::is_err));
        let panicking = std::panic::AssertUnwindSafe(bench.call([Reply::Panic]));
        assert!(panicking.catch_unwind().await.is_err());
        assert_eq!(load(&bench).in_flight, 0);
    }
}

/// What comes after the limit keeps a call out, and its permit goes back.
/// <https://github.com/alibaba/Sentinel/issues/1638>
#[tokio::test(start_paused = true)]
async fn t05_a_call_that_the_breaker_rejects_holds_no_permit() {
    let bench = Bench::new(limited(Level::Full, 2));
    for _ in 0..20 {
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    assert_eq!(load(&bench).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_the_limit_keeps_out_takes_no_slot() {
    let mut spec = limited(Level::Full, 1);
    spec.breaker = BreakerPolicy { consecutive_failures: 1, success_threshold: 2, ..spec.breaker };
    let bench = Bench::new(spec);
    bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    bench.runtime.sleep(30 * SECOND).await;
    let mut probe = Box::pin(bench.call([Reply::AnswerAfter(SECOND, "probe")]));
    assert!(probe.as_mut().now_or_never().is_none());
    assert_eq!(turned_away(&bench, 10, Reply::Answer("kept out")).await, 10);
    probe.await.unwrap();
    bench.call([Reply::Answer("second probe")]).await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_place_is_not_in_flight() {
    let bulkhead = BulkheadPolicy { max_concurrent: 1, max_queue: 5, max_wait: 4 * SECOND, pools: Vec::new() };
    let bench = Bench::new(PolicySpec { bulkhead, ..limited(Level::Full, 1) });
    assert_eq!(turned_away(&bench, 4, Reply::AnswerAfter(SECOND / 2, "live")).await, 0);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/975>.
#[tokio::test(start_paused = true)]
async fn t24_what_was_learned_outlives_level_and_policy_and_calls_in_flight_stay_so() {
    let bench = Bench::new(limited(Level::Full, 20));
    for _ in 0..11 {
        turned_away(&bench, 20, Reply::AnswerAfter(SECOND / 10, "live")).await;
        bench.runtime.sleep(SECOND).await;
    }
    let learned = load(&bench).limit;
    assert!(learned > 20);
    let mut script = Script::new([Reply::AnswerAfter(SECOND, "live")]);
    let mut running = Box::pin(bench.run(&mut script, idempotent()));
    assert!(running.as_mut().now_or_never().is_none());
    bench.apply(limited(Level::Basic, 20));
    assert_eq!(bench.isolation.adaptive_limit(), None);
    bench.apply(limited(Level::Full, 5));
    assert_eq!(load(&bench), Load { limit: learned, in_flight: 1 });
    running.await.unwrap();
    assert_eq!(load(&bench).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn methods_with_a_limit_of_their_own_share_it_with_nobody_else() {
    let narrow = AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Gradient2, initial: 1, ..Default::default() };
    let own = |glob: &str, limit| MethodOverride {
        glob: glob.to_owned(),
        adaptive_limit: Some(limit),
        ..MethodOverride::default()
    };
    let method_overrides = vec![own("get*", narrow), own("free*", AdaptiveLimitPolicy::default())];
    let bench = Bench::new(PolicySpec { method_overrides, ..limited(Level::Full, 2) });
    let admitted = async |method| {
        let calls = (0..5).map(async |_| {
            let options = CallOptions { method, ..idempotent() };
            u32::from(bench.run(&mut Script::new([Reply::AnswerAfter(SECOND, "live")]), options).await.is_ok())
        });
        join_all(calls).await.into_iter().sum::<u32>()
    };
    let (list, get, free) = tokio::join!(admitted("list"), admitted("getUser"), admitted("freeForAll"));
    assert_eq!((list, get, free), (2, 1, 5));
}
