use crate::{
    BreakerState, Cofferdam, Error, Event, HealthStatus, Json, Level, Outcome, Policy, PolicySpec, Service, Source,
};
use cofferdam_core::policy::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, AlternativeFallback, BreakerPolicy, BulkheadPolicy, CachedFallback,
    DegradedFallback, FallbackPolicy, FallbackStep, Jitter, RetryPolicy, StaticFallback, TimeoutPolicy,
};
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, advance, sleep};

mod chain;
mod hedges;
mod http_answers;
mod passed_over;
mod yielding;

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("boom {0}")]
struct Boom(u32);

const SECOND: Duration = Duration::from_secs(1);

fn spec(level: Level) -> PolicySpec {
    PolicySpec {
        level,
        timeout: TimeoutPolicy { call_timeout: SECOND, ..TimeoutPolicy::default() },
        breaker: BreakerPolicy {
            consecutive_failures: 3,
            failure_rate: 0.0,
            open_duration: 10 * SECOND,
            open_jitter_ratio: 0.0,
            success_threshold: 1,
            ..BreakerPolicy::default()
        },
        retry: RetryPolicy {
            max_attempts: 2,
            initial_backoff: Duration::from_millis(100),
            jitter: Jitter::None,
            ..RetryPolicy::default()
        },
        bulkhead: BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() },
        ..PolicySpec::default()
    }
}

fn client(spec: PolicySpec) -> Cofferdam {
    Cofferdam::builder("test").default_policy(Policy::new(spec).unwrap()).start()
}

fn service(spec: PolicySpec) -> Service {
    client(spec).service("orders-db")
}

async fn fails(service: &Service) -> Result<(), Error<Boom>> {
    service.execute("list", || async { Err(Boom(1)) }).await
}

#[tokio::test(start_paused = true)]
async fn an_answer_says_where_it_came_from() {
    let service = service(spec(Level::Full));
    assert_eq!(service.execute("list", || async { Ok::<_, Boom>(7) }).await, Ok(7));
    let answer = service.execute("list", || async { Ok::<_, Boom>(7) }).answer().await.unwrap();
    assert_eq!((answer.value, answer.source), (7, Source::Live));
    assert_eq!((answer.receipt.attempts, answer.receipt.why, answer.receipt.revision), (1, None, None));
    assert_eq!((service.counters().calls, service.counters().served_live), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn the_callers_error_comes_back_as_it_is() {
    for level in Level::ALL {
        let service = service(spec(level));
        let error = fails(&service).await.unwrap_err();
        assert_eq!(error, Error::Inner(Boom(1)), "{level}");
        assert_eq!(error.to_string(), "boom 1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_times_out_from_basic_on() {
    for level in Level::ALL {
        let service = service(spec(level));
        let begin = Instant::now();
        let slow = || async {
            sleep(3 * SECOND).await;
            Ok::<_, Boom>(())
        };
        let answered = service.execute("list", slow).await;
        if level == Level::None {
            assert_eq!((answered, begin.elapsed()), (Ok(()), 3 * SECOND));
        } else {
            assert_eq!((answered, begin.elapsed()), (Err(Error::Timeout), SECOND));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_limit_holds_at_every_level() {
    for level in Level::ALL {
        let service = service(spec(level));
        let begin = Instant::now();
        let answered = service.execute("list", pending::<Result<(), Boom>>).timeout(SECOND / 4).await;
        assert_eq!((answered, begin.elapsed()), (Err(Error::Timeout), SECOND / 4));
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_call_is_retried_from_enhanced_on() {
    for level in Level::ALL {
        let service = service(spec(level));
        for is_idempotent in [false, true] {
            let attempts = AtomicU32::new(0);
            let begin = Instant::now();
            let call = service.execute("list", || async {
                match attempts.fetch_add(1, Ordering::Relaxed) {
                    0 => Err(Boom(0)),
                    _ => Ok("second"),
                }
            });
            let answered = if is_idempotent { call.idempotent().answer().await } else { call.answer().await };
            if is_idempotent && level >= Level::Enhanced {
                let answer = answered.unwrap();
                assert_eq!((answer.value, answer.receipt.attempts), ("second", 2));
                assert_eq!(begin.elapsed(), Duration::from_millis(100));
            } else {
                let failure = answered.unwrap_err();
                assert_eq!((failure.error, failure.receipt.attempts), (Error::Inner(Boom(0)), 1));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_probes_and_closes_from_enhanced_on() {
    for level in Level::ALL {
        let client = client(spec(level));
        let mut events = client.events();
        let service = client.service("orders-db");
        for _ in 0..3 {
            assert_eq!(fails(&service).await, Err(Error::Inner(Boom(1))));
        }
        if level < Level::Enhanced {
            assert_eq!(service.breaker_state(), None);
            assert_eq!(fails(&service).await, Err(Error::Inner(Boom(1))));
            continue;
        }
        assert_eq!((service.breaker_state(), service.health()), (Some(BreakerState::Open), HealthStatus::CircuitOpen));
        advance(4 * SECOND).await;
        let Err(Error::Open { retry_after, .. }) = fails(&service).await else { panic!("not rejected") };
        // A breaker keeps its time in whole milliseconds.
        assert_eq!(retry_after.unwrap().as_secs(), 6);
        advance(6 * SECOND + Duration::from_millis(1)).await;
        assert_eq!(service.breaker_state(), Some(BreakerState::HalfOpen));
        assert_eq!(service.execute("list", || async { Ok::<_, Boom>(1) }).await, Ok(1));
        assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
        drop((client, service));
        let mut states = Vec::new();
        while let Some(event) = events.next().await {
            if let Event::Transition { service, to, .. } = event {
                assert_eq!(&*service, "orders-db");
                states.push(to);
            }
        }
        assert_eq!(states, [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_limit_rejects_at_full_and_shows() {
    let limit =
        AdaptiveLimitPolicy { kind: AdaptiveLimitKind::Gradient2, initial: 1, ..AdaptiveLimitPolicy::default() };
    let bulkhead = BulkheadPolicy::default();
    let service = service(PolicySpec { adaptive_limit: limit, bulkhead, ..spec(Level::Full) });
    let held = tokio::spawn({
        let service = service.clone();
        async move { service.execute("list", pending::<Result<(), Boom>>).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(service.adaptive_limit().unwrap().in_flight, 1);
    let answered = service.execute("list", || async { Ok::<_, Boom>(1) }).await;
    assert_eq!(answered, Err(Error::AdaptiveLimitReached));
    assert_eq!(service.counters().rejected_adaptive_limit, 1);
    held.abort();
    tokio::task::yield_now().await;
    assert_eq!(service.execute("list", || async { Ok::<_, Boom>(1) }).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn a_bulkhead_rejects_at_full() {
    for level in Level::ALL {
        let service = service(spec(level));
        let held = tokio::spawn({
            let service = service.clone();
            async move { service.execute("list", pending::<Result<(), Boom>>).await }
        });
        tokio::task::yield_now().await;
        let answered = service.execute("list", || async { Ok::<_, Boom>(1) }).await;
        assert_eq!(answered, if level == Level::Full { Err(Error::BulkheadFull) } else { Ok(1) });
        held.abort();
    }
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>, <https://github.com/sony/gobreaker/issues/105>.
#[tokio::test(start_paused = true)]
async fn t03_t23_a_dropped_call_gives_its_place_back_and_teaches_nothing() {
    let service = service(spec(Level::Full));
    for _ in 0..10 {
        let call = service.execute("list", pending::<Result<(), Boom>>).into_future();
        assert!(tokio::time::timeout(SECOND / 10, call).await.is_err());
    }
    assert_eq!(service.execute("list", || async { Ok::<_, Boom>(1) }).await, Ok(1));
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
    assert_eq!((service.counters().cancelled, service.counters().attempt_failures), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_awaited_is_none() {
    let service = service(spec(Level::Full));
    drop(service.execute("list", || async { Ok::<_, Boom>(1) }).idempotent());
    assert_eq!(service.counters().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_told_its_number_and_the_time_left() {
    let service = service(spec(Level::Enhanced));
    let mut seen = Vec::new();
    let call = service.execute_with("list", |attempt| {
        seen.push((attempt.number, attempt.tell_remaining));
        async { Err::<(), _>(Boom(1)) }
    });
    assert_eq!(call.idempotent().await, Err(Error::Inner(Boom(1))));
    assert_eq!(seen, [(1, Some(SECOND)), (2, Some(Duration::from_millis(900)))]);
}

#[tokio::test(start_paused = true)]
async fn a_classification_of_the_callers_own_decides() {
    let service = service(spec(Level::Enhanced));
    for _ in 0..10 {
        let call = service.execute("get", || async { Err::<(), _>(Boom(404)) });
        let call = call.classify(|result| if result.is_err() { Outcome::Success } else { Outcome::Failure });
        assert_eq!(call.idempotent().await, Err(Error::Inner(Boom(404))));
    }
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
    assert_eq!((service.counters().attempts, service.counters().attempt_successes), (10, 10));
}

/// Seen in <https://github.com/projectbeskar/virtrigaud/issues/70>,
/// <https://github.com/resilience4j/resilience4j/issues/1065>.
#[tokio::test(start_paused = true)]
async fn t37_a_call_within_a_call_that_is_rejected_opens_no_outer_breaker() {
    let client = client(spec(Level::Enhanced));
    let (outer, inner) = (client.service("orders"), client.service("orders-db"));
    for _ in 0..3 {
        fails(&inner).await.unwrap_err();
    }
    for _ in 0..10 {
        let call = outer.execute("list", || async { fails(&inner).await.map_err(Error::boxed) });
        let failure = call.idempotent().answer().await.unwrap_err();
        assert_eq!(failure.receipt.attempts, 1);
    }
    assert_eq!((inner.breaker_state(), outer.breaker_state()), (Some(BreakerState::Open), Some(BreakerState::Closed)));
    assert_eq!(outer.counters().attempt_neutrals, 10);
}

/// Three layers of three attempts each would make 27 of one call. Each layer's budget leaves it a fifth more than it was
/// called, while every call fails and no breaker ends it.
///
/// Seen in <https://github.com/joshrotenberg/tower-resilience/issues/171>,
/// <https://github.com/HKUDS/nanobot/issues/2760>.
#[tokio::test(start_paused = true)]
async fn t28_three_layers_of_retries_multiply_their_budgets_and_not_their_attempts() {
    let mut policy = spec(Level::Enhanced);
    policy.breaker.consecutive_failures = 0;
    policy.retry = RetryPolicy { max_attempts: 3, initial_backoff: Duration::ZERO, ..policy.retry };
    policy.retry.budget.min_per_second = 0;
    let client = client(policy);
    let [top, middle, bottom] = ["shop", "orders", "orders-db"].map(|name| client.service(name));
    for _ in 0..100 {
        let call = top.execute("list", || async {
            let call = middle.execute("list", || async {
                let call = bottom.execute("list", || async { Err::<(), _>(Boom(1)) });
                call.idempotent().await.map_err(Error::boxed)
            });
            call.idempotent().await.map_err(Error::boxed)
        });
        call.idempotent().await.unwrap_err();
    }
    let attempts = [top, middle, bottom].map(|service| service.counters().attempts);
    assert_eq!(attempts, [120, 144, 172]);
}

#[tokio::test(start_paused = true)]
async fn an_error_without_any_trait_will_do() {
    struct Opaque(#[expect(dead_code, reason = "an error is more than its type")] u8);
    let service = service(spec(Level::Enhanced));
    let answered = service.execute("get", || async { Err::<(), _>(Opaque(1)) }).await;
    assert!(matches!(answered, Err(Error::Inner(Opaque(_)))));
}

#[tokio::test(start_paused = true)]
async fn calls_can_be_spawned() {
    let service = service(spec(Level::Full));
    let task = tokio::spawn(async move {
        let key = String::from("7");
        let call = service.execute("get", || async { Ok::<_, Boom>(vec![1]) });
        let call =
            call.codec(Json).cache_key(&key).fallback(|_| async { Ok(vec![]) }).degraded(|_, _| async { Ok(vec![]) });
        call.await
    });
    assert_eq!(task.await.unwrap(), Ok(vec![1]));
}

#[tokio::test]
async fn a_calls_future_is_little_larger_than_its_operations() {
    let service = service(spec(Level::Full));
    let operation = || async {
        let buffer = [1_u8; 4096];
        tokio::task::yield_now().await;
        Ok::<_, Boom>(buffer[7])
    };
    let call = service.execute("get", operation).into_future();
    let overhead = size_of_val(&call) - size_of_val(&operation());
    assert!(overhead < 1536, "{overhead} bytes");
}

/// It was the answer, however often another attempt would have mended it, and whatever could have stood in.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_is_repeated_and_stood_in_for() {
    let is_bad = |result: Result<&u16, &Boom>| match result {
        Ok(500..) | Err(_) => Outcome::Failure,
        Ok(_) => Outcome::Success,
    };
    let statuses = |statuses: [u16; 2]| {
        let mut statuses = statuses.into_iter();
        move || std::future::ready(Ok::<_, Boom>(statuses.next().unwrap()))
    };
    // Of many in a row, the breaker would open.
    let breaker = BreakerPolicy { consecutive_failures: 0, failure_rate: 0.0, ..spec(Level::Enhanced).breaker };
    let service = service(PolicySpec { breaker, ..spec(Level::Enhanced) });
    let mended = service.execute("list", statuses([503, 200])).idempotent().classify(is_bad).answer().await.unwrap();
    assert_eq!((mended.value, mended.receipt.attempts), (200, 2));
    let call = service.execute("list", statuses([503, 502])).idempotent().classify(is_bad);
    let stood_in = call.fallback(|_| async { Ok(299) }).answer().await.unwrap();
    assert_eq!((stood_in.value, stood_in.source), (299, Source::Local));
    let bad = service.execute("list", statuses([503, 502])).idempotent().classify(is_bad).answer().await.unwrap();
    assert_eq!((bad.value, bad.source, bad.receipt.attempts), (502, Source::Live, 2), "nothing better has come");
    let once = service.execute("list", statuses([503, 200])).classify(is_bad).answer().await.unwrap();
    assert_eq!((once.value, once.receipt.attempts), (503, 1), "it may not run twice");
}
