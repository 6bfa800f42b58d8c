//! Hedges and the budget that they share with the retries.

use super::*;
use crate::policy::BudgetPolicy;

fn with_budget(max_extra: u32, min_per_second: u32) -> PolicySpec {
    let mut spec = hedging(max_extra);
    spec.retry.budget = BudgetPolicy { ratio: 0.0, min_per_second, ttl: SECOND };
    spec.breaker.mode = BreakerMode::Disabled;
    spec
}

/// [failsafe-go#141](https://github.com/failsafe-go/failsafe-go/issues/141): a budget that was spent cancelled what ran.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_the_budget_refuses_is_counted_and_the_call_goes_on() {
    let bench = Bench::new(with_budget(4, 0));
    let mut script = Script::new([answer_after(450, "first")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("first", millis(450)));
    assert_eq!((script.attempts.len(), hedges(&bench)), (1, (0, 0, 4)));
    assert_eq!(bench.counters().retries_refused, 0, "that counts retries");
    assert_eq!(places_in_use(&bench), 0);

    let mut script = Script::new([fail_after(10)]);
    let (result, took) = run(&bench, &mut script).await;
    let cause = result.unwrap_err().cause;
    assert!(matches!(cause, FailureCause::Inner(Error { code: UNAVAILABLE, .. })), "the real error, not the budget's");
    assert_eq!(took, millis(10), "nothing runs that would be worth another try");
}

#[tokio::test(start_paused = true)]
async fn hedges_and_retries_share_one_budget() {
    let mut spec = with_budget(1, 3);
    spec.retry = RetryPolicy { max_attempts: 3, initial_backoff: Duration::ZERO, ..spec.retry };
    let bench = Bench::new(spec);
    let call = || bench.call([Reply::Code(UNAVAILABLE)]);
    let (first, second) = tokio::join!(call(), call());
    assert_eq!(first.unwrap_err().receipt.attempts + second.unwrap_err().receipt.attempts, 2 + 3);
    let counters = bench.counters();
    assert_eq!((counters.hedges, counters.retries, counters.retries_refused), (2, 1, 1));
}

/// Seen in <https://github.com/joshrotenberg/tower-resilience/issues/171>.
#[tokio::test(start_paused = true)]
async fn t28_a_slow_service_gets_a_fifth_more_at_most() {
    let mut spec = hedging(4);
    spec.retry.budget = BudgetPolicy { min_per_second: 0, ..BudgetPolicy::default() };
    spec.breaker.mode = BreakerMode::Disabled;
    spec.timeout.call_timeout = millis(500);
    spec.bulkhead.max_concurrent = 1_000;
    let bench = Bench::new(spec);
    let calls = (0..100).map(|_| bench.call([Reply::Hang]));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.attempts, counters.hedges), (100, 120, 20));
}
