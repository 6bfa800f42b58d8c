//! Changes of policy and level while calls are under way.

use super::*;
use futures_util::FutureExt;
use std::pin::pin;

#[tokio::test(start_paused = true)]
async fn a_level_change_keeps_what_the_breaker_learned() {
    let spec = |level| PolicySpec { retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }, ..at(level) };
    let bench = Bench::new(spec(Level::Enhanced));
    for _ in 0..4 {
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    for level in [Level::Basic, Level::None, Level::Full] {
        bench.apply(spec(level));
    }
    bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    assert_eq!(bench.breaker(), Some(State::Open), "the fifth in a row");
    bench.apply(spec(Level::Basic));
    bench.call([Reply::Answer("let through")]).await.unwrap();
    bench.apply(spec(Level::Enhanced));
    assert_eq!(bench.breaker(), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_under_the_policy_it_began_with() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![static_step("old")]));
    let mut call = pin!(bench.call([Reply::Code(UNAVAILABLE)]));
    assert!(call.as_mut().now_or_never().is_none(), "in the pause before its retry");
    let newer = Revision { epoch: 1, revision: 2 };
    let policy = Policy::new(with_chain(Level::None, vec![static_step("new")])).unwrap();
    bench.isolation.apply(policy, Some(newer), true, Clocks::default());

    let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    assert_eq!((failure.receipt.attempts, failure.receipt.revision), (1, Some(newer)));
    let answer = call.await.unwrap();
    assert_eq!((answer.value.as_str(), answer.receipt.attempts), ("old", 3));
    assert_eq!(answer.receipt.revision, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_ends_though_its_service_is_disabled() {
    let bench = Bench::new(at(Level::Full));
    let mut call = pin!(bench.call([Reply::Code(UNAVAILABLE), Reply::Answer("second")]));
    assert!(call.as_mut().now_or_never().is_none());
    let policy = bench.isolation.in_force().policy.clone();
    bench.isolation.apply(policy, None, false, Clocks::default());
    assert_eq!(call.await.unwrap().value, "second");
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::Disabled);
}

/// One place and one to wait for it, in the common bulkhead and in a pool.
fn narrow(level: Level) -> PolicySpec {
    let (max_concurrent, max_queue, max_wait) = (1, 1, 4 * SECOND);
    let pool = PoolPolicy { name: "readPool".to_owned(), max_concurrent, max_queue, max_wait, ..PoolPolicy::default() };
    PolicySpec { bulkhead: BulkheadPolicy { max_concurrent, max_queue, max_wait, pools: vec![pool] }, ..at(level) }
}

fn reading() -> CallOptions<'static> {
    CallOptions { pool: Some("readPool"), ..idempotent() }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_queue_keeps_its_turn_over_a_change_of_level() {
    let bench = Bench::new(narrow(Level::Full));
    let mut running = pin!(bench.call([Reply::AnswerAfter(SECOND, "first")]));
    let mut queued = pin!(bench.call([Reply::Answer("second")]));
    assert!(running.as_mut().now_or_never().is_none());
    assert!(queued.as_mut().now_or_never().is_none());
    bench.apply(narrow(Level::Basic));
    bench.call([Reply::Answer("free to go")]).await.unwrap();
    bench.apply(narrow(Level::Full));
    let failure = bench.call([Reply::Answer("kept out")]).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::BulkheadFull);
    let (first, second) = tokio::join!(running, queued);
    assert_eq!((first.unwrap().value, second.unwrap().value), ("first".into(), "second".into()));
    bench.call([Reply::Answer("free again")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_places_let_the_queue_in_at_once() {
    let bench = Bench::new(narrow(Level::Full));
    let mut running = pin!(bench.call([Reply::Hang]));
    let mut queued = pin!(bench.call([Reply::Answer("second")]));
    assert!(running.as_mut().now_or_never().is_none());
    assert!(queued.as_mut().now_or_never().is_none());
    let mut wider = narrow(Level::Full);
    wider.bulkhead.max_concurrent = 2;
    bench.apply(wider);
    assert_eq!(queued.await.unwrap().value, "second");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_pool_gets_in_though_the_pool_is_renamed() {
    let bench = Bench::new(narrow(Level::Full));
    let mut first = Script::new([Reply::AnswerAfter(SECOND, "first")]);
    let mut second = Script::new([Reply::Answer("second")]);
    let mut running = pin!(bench.run(&mut first, reading()));
    let mut queued = pin!(bench.run(&mut second, reading()));
    assert!(running.as_mut().now_or_never().is_none());
    assert!(queued.as_mut().now_or_never().is_none());
    let mut renamed = narrow(Level::Full);
    renamed.bulkhead.pools[0].name = "queryPool".to_owned();
    bench.apply(renamed);
    let (first, second) = tokio::join!(running, queued);
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_comes_back_still_knows_who_is_in_it() {
    let bench = Bench::new(narrow(Level::Full));
    let mut first = Script::new([Reply::AnswerAfter(SECOND, "first")]);
    let mut running = pin!(bench.run(&mut first, reading()));
    assert!(running.as_mut().now_or_never().is_none());
    bench.apply(at(Level::Full));
    bench.apply(at(Level::Enhanced));
    let mut spec = narrow(Level::Full);
    spec.bulkhead.pools[0].max_queue = 0;
    bench.apply(spec);
    let failure = bench.run(&mut Script::new([Reply::Answer("kept out")]), reading()).await;
    assert_eq!(failure.unwrap_err().cause, FailureCause::BulkheadFull);
    running.await.unwrap();
    bench.run(&mut Script::new([Reply::Answer("in")]), reading()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_the_policy_does_not_know_is_the_common_bulkhead() {
    let bench = Bench::new(narrow(Level::Full));
    let options = CallOptions { pool: Some("writePool"), ..idempotent() };
    let mut script = Script::new([Reply::Hang]);
    let mut running = pin!(bench.run(&mut script, options));
    assert!(running.as_mut().now_or_never().is_none());
    let places = Arc::clone(&bench.isolation.in_force().scope("list").lane(None, "list").places);
    assert_eq!(places.in_flight(), 1);
}

#[tokio::test(start_paused = true)]
async fn answers_outlast_the_step_that_kept_them() {
    let cached = || {
        FallbackStep::Cached(CachedFallback {
            ttl: 10 * SECOND,
            stale_if_error: Duration::ZERO,
            ..CachedFallback::default()
        })
    };
    let bench = Bench::new(with_chain(Level::Basic, vec![cached()]));
    let options = CallOptions { cache_key: Some(b""), ..CallOptions::default() };
    let call = |replies: [Reply; 1]| {
        let bench = &bench;
        async move { bench.run(&mut Script::new(replies), options).await }
    };
    call([Reply::Answer("live")]).await.unwrap();
    bench.apply(at(Level::Basic));
    assert!(call([Reply::Code(UNAVAILABLE)]).await.is_err());
    tokio::time::advance(9 * SECOND).await;
    bench.apply(with_chain(Level::Basic, vec![cached()]));
    let answer = call([Reply::Code(UNAVAILABLE)]).await.unwrap();
    assert_eq!(answer.source, Source::Cached { age: 9 * SECOND });
    tokio::time::advance(SECOND).await;
    assert!(call([Reply::Code(UNAVAILABLE)]).await.is_err());
}
