//! Retries: which, when, and at whose expense.

use super::*;

/// Seen in <https://github.com/projectbeskar/virtrigaud/issues/70>,
/// <https://github.com/resilience4j/resilience4j/issues/1065>.
#[tokio::test(start_paused = true)]
async fn t37_an_open_breaker_ends_the_retries_with_the_real_error() {
    let spec =
        PolicySpec { retry: RetryPolicy { max_attempts: 10, ..at(Level::Enhanced).retry }, ..at(Level::Enhanced) };
    let bench = Bench::new(spec);
    let begin = bench.runtime.now();
    let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    assert!(matches!(failure.cause, FailureCause::Inner(Error { code: UNAVAILABLE, .. })));
    assert_eq!((failure.receipt.attempts, bench.breaker()), (5, Some(State::Open)));
    // Four pauses, and not a fifth for a retry that would be rejected; that one costs the budget nothing either.
    assert_eq!(bench.runtime.now().saturating_since(begin), Duration::from_millis(100 + 200 + 400 + 800));
    assert_eq!((bench.counters().rejected_open, bench.counters().retries_refused), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_outlasts_the_open_time_ends_with_a_probe() {
    let mut spec = at(Level::Enhanced);
    spec.breaker = BreakerPolicy { consecutive_failures: 1, open_duration: SECOND, ..spec.breaker };
    spec.retry.initial_backoff = SECOND;
    let bench = Bench::new(spec.clone());
    let answer = bench.call([Reply::Code(UNAVAILABLE), Reply::Answer("probe")]).await.unwrap();
    assert_eq!((answer.receipt.attempts, bench.breaker()), (2, Some(State::HalfOpen)));

    spec.retry.initial_backoff = SECOND - Duration::from_millis(1);
    let bench = Bench::new(spec);
    let begin = bench.runtime.now();
    bench.call([Reply::Code(UNAVAILABLE), Reply::Answer("probe")]).await.unwrap_err();
    assert_eq!(bench.runtime.now(), begin);
}

/// Seen in <https://github.com/thomhurst/Kevlar/issues/506>,
/// <https://github.com/googleapis/java-bigtable-hbase/issues/1858>.
#[tokio::test(start_paused = true)]
async fn t31_a_pause_that_leaves_no_time_is_not_begun() {
    let spec = PolicySpec {
        retry: RetryPolicy { initial_backoff: 2 * SECOND, ..at(Level::Enhanced).retry },
        ..at(Level::Enhanced)
    };
    let bench = Bench::new(spec);
    let before = bench.runtime.now();
    let options = CallOptions { timeout: Some(SECOND), ..idempotent() };
    let failure = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), options).await;
    assert!(matches!(failure.unwrap_err().cause, FailureCause::Inner(_)));
    assert_eq!(bench.runtime.now(), before);
}

#[tokio::test(start_paused = true)]
async fn the_services_own_word_decides_the_pause() {
    let bench = Bench::new(at(Level::Enhanced));
    let before = bench.runtime.now();
    bench.call([Reply::Pushback(Pushback::After(SECOND)), Reply::Answer("second")]).await.unwrap();
    assert_eq!(bench.runtime.now().saturating_since(before), SECOND);
    assert_eq!(bench.call([Reply::Pushback(Pushback::Never)]).await.unwrap_err().receipt.attempts, 1);
}

/// Seen in <https://github.com/joshrotenberg/tower-resilience/issues/171>,
/// <https://github.com/HKUDS/nanobot/issues/2760>.
#[tokio::test(start_paused = true)]
async fn t28_the_budget_bounds_retries_over_all_calls() {
    let mut spec = at(Level::Enhanced);
    spec.retry.budget.min_per_second = 0;
    spec.breaker.consecutive_failures = 0;
    spec.breaker.failure_rate = 0.0;
    spec.retry.initial_backoff = Duration::ZERO;
    let bench = Bench::new(spec);
    for _ in 0..100 {
        let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
        assert!(matches!(failure.cause, FailureCause::Inner(_)), "the real error, not the budget's");
    }
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.attempts, counters.retries), (100, 120, 20));
    assert!(counters.retries_refused >= 80);
}

/// Seen in <https://github.com/tower-rs/tower/issues/857>,
/// <https://github.com/joshrotenberg/tower-resilience/issues/370>,
/// <https://github.com/failsafe-go/failsafe-go/issues/139>.
#[tokio::test(start_paused = true)]
async fn t29_a_budget_that_is_spent_leaves_the_last_attempts_own_error() {
    let mut spec = at(Level::Enhanced);
    spec.retry.budget = crate::policy::BudgetPolicy { ratio: 0.0, min_per_second: 1, ttl: SECOND };
    let bench = Bench::new(spec);
    let failure = bench.call([Reply::Code(UNAVAILABLE), Reply::Unreached]).await.unwrap_err();
    let last = Error { code: UNAVAILABLE, reached: false, pushback: None };
    assert_eq!((failure.cause, failure.receipt.attempts), (FailureCause::Inner(last), 2));
    assert_eq!(bench.counters().retries_refused, 1);
}

#[tokio::test(start_paused = true)]
async fn codes_that_the_policy_lists_are_retried_whatever_they_say_of_the_service() {
    let mut spec = at(Level::Enhanced);
    spec.retry.retryable_grpc_codes = vec![8, 10];
    let bench = Bench::new(spec);
    for code in [8, 10] {
        let answer = bench.call([Reply::Code(code), Reply::Answer("second")]).await.unwrap();
        assert_eq!(answer.receipt.attempts, 2, "code {code}");
    }
    assert_eq!(bench.call([Reply::Code(NOT_FOUND)]).await.unwrap_err().receipt.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_the_breaker_rejects_is_none() {
    let mut spec = at(Level::Enhanced);
    spec.retry.max_attempts = 10;
    let bench = Bench::new(spec);
    bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    let counters = bench.counters();
    assert_eq!((counters.attempts, counters.retries), (5, 4));
}

#[tokio::test(start_paused = true)]
async fn a_pushback_longer_than_the_policy_waits_for_stops() {
    let mut spec = at(Level::Enhanced);
    spec.retry.max_pushback = SECOND;
    let bench = Bench::new(spec.clone());
    let pushed = [Reply::Pushback(Pushback::After(SECOND * 2)), Reply::Answer("second")];
    assert_eq!(bench.call(pushed).await.unwrap_err().receipt.attempts, 1);

    spec.retry.honour_pushback = false;
    bench.apply(spec);
    let before = bench.runtime.now();
    assert_eq!(bench.call(pushed).await.unwrap().receipt.attempts, 2);
    assert_eq!(bench.runtime.now().saturating_since(before), SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn calls_that_run_at_once_share_one_budget() {
    let mut spec = at(Level::Enhanced);
    spec.retry.budget = crate::policy::BudgetPolicy { ratio: 0.0, min_per_second: 1, ttl: 3 * SECOND };
    spec.breaker.mode = crate::policy::BreakerMode::Disabled;
    let bench = Bench::new(spec);
    let call = || bench.call([Reply::Code(UNAVAILABLE)]);
    let (first, second, third) = tokio::join!(call(), call(), call());
    let attempts = [first, second, third].map(|call| call.unwrap_err().receipt.attempts);
    assert_eq!(attempts.iter().sum::<u32>(), 3 + 3);
    assert_eq!(bench.counters().retries, 3);
}

/// A header of the service must not keep a caller for centuries who set no limit.
#[tokio::test(start_paused = true)]
async fn a_pushback_beyond_all_policies_is_never() {
    let mut spec = at(Level::Enhanced);
    (spec.timeout.call_timeout, spec.timeout.attempt_timeout) = (Duration::ZERO, Duration::ZERO);
    let bench = Bench::new(spec);
    let begin = bench.runtime.now();
    let pushed = Reply::Pushback(Pushback::After(Duration::from_millis(9_999_999_999_999)));
    assert_eq!(bench.call([pushed]).await.unwrap_err().receipt.attempts, 1);
    assert_eq!(bench.runtime.now(), begin);
    let day = Reply::Pushback(Pushback::After(86_400 * SECOND));
    assert_eq!(bench.call([day, Reply::Answer("second")]).await.unwrap().receipt.attempts, 2);
}
