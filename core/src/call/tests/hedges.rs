//! Hedging, on virtual time.

mod budget;
mod measured;
mod schedules;

use super::*;
use crate::policy::{BreakerMode, HedgePolicy, MethodOverride};
use futures_util::FutureExt;

const INTERNAL: u32 = 13;
const DEADLINE_EXCEEDED: u32 = 4;
const MILLISECOND: Duration = Duration::from_millis(1);
const DELAY: Duration = Duration::from_millis(100);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Hedges after 100 ms, so often, and retries nothing.
fn hedging(max_extra: u32) -> PolicySpec {
    let mut spec = at(Level::Full);
    spec.retry.max_attempts = 1;
    spec.hedge = HedgePolicy { max_extra, ..HedgePolicy::after(DELAY) };
    spec
}

fn answer_after(delay: u64, answer: &'static str) -> Reply {
    Reply::AnswerAfter(millis(delay), answer)
}

fn fail_after(delay: u64) -> Reply {
    Reply::CodeAfter(millis(delay), UNAVAILABLE)
}

/// How a call ended, and how long it took.
async fn run(bench: &Bench, script: &mut Script) -> (CallResult, Duration) {
    let begin = bench.runtime.now();
    let result = bench.run(script, idempotent()).await;
    (result, bench.runtime.now().saturating_since(begin))
}

/// When attempts started, by the time left that they were told of 5 s.
fn starts(script: &Script) -> Vec<Duration> {
    script.attempts.iter().map(|attempt| 5 * SECOND - attempt.tell_remaining.unwrap()).collect()
}

fn places_in_use(bench: &Bench) -> u32 {
    bench.isolation.in_force().scope("list").lane(None, "list").places.in_flight()
}

/// Hedges, those that won and those that were refused.
fn hedges(bench: &Bench) -> (u64, u64, u64) {
    let counters = bench.counters();
    (counters.hedges, counters.hedge_wins, counters.hedges_refused)
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_delay_is_not_hedged() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([answer_after(99, "fast")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().receipt.attempts, took), (1, millis(99)));
    assert_eq!((hedges(&bench), bench.counters().attempts), ((0, 0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_starts_at_exactly_the_delay_and_wins() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([Reply::Hang, answer_after(50, "second")]);
    let (result, took) = run(&bench, &mut script).await;
    let answer = result.unwrap();
    assert_eq!((answer.value.as_str(), answer.source, answer.receipt.attempts), ("second", Source::Live, 2));
    assert_eq!((starts(&script), took), (vec![Duration::ZERO, DELAY], millis(150)));
    assert_eq!(script.cancelled(), [1]);
    let counters = bench.counters();
    assert_eq!((hedges(&bench), counters.retries), ((1, 1, 0), 0));
    assert_eq!((counters.attempts, counters.attempt_successes, counters.attempt_neutrals), (2, 1, 1));
    assert_eq!((counters.calls, counters.served_live), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_may_still_win() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([answer_after(120, "first"), answer_after(100, "second")]);
    let (result, took) = run(&bench, &mut script).await;
    let answer = result.unwrap();
    assert_eq!((answer.value.as_str(), answer.receipt.attempts, took), ("first", 2, millis(120)));
    assert_eq!((script.cancelled(), hedges(&bench)), (vec![2], (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_loser_is_cancelled_once_and_before_the_caller_has_the_answer() {
    let mut spec = hedging(1);
    spec.bulkhead.max_concurrent = 2;
    let bench = Bench::new(spec);
    for _ in 0..10 {
        let mut script = Script::new([Reply::Hang, answer_after(50, "second")]);
        bench.run(&mut script, idempotent()).await.unwrap();
        assert_eq!((script.cancelled(), places_in_use(&bench)), (vec![1], 0));
    }
    assert_eq!(bench.isolation.health(bench.runtime.now()), crate::health::HealthStatus::Healthy);
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_failure_waits_for_the_attempt_beside_it_and_the_last_one_speaks() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([fail_after(300), Reply::CodeAfter(millis(50), DEADLINE_EXCEEDED)]);
    let (result, took) = run(&bench, &mut script).await;
    let failure = result.unwrap_err();
    assert!(matches!(failure.cause, FailureCause::Inner(Error { code: UNAVAILABLE, .. })));
    assert_eq!((failure.receipt.attempts, took), (2, millis(300)));
    assert_eq!((script.cancelled(), hedges(&bench)), (vec![], (1, 0, 0)));
    assert_eq!(bench.counters().attempt_failures, 2);

    let mut script = Script::new([answer_after(300, "first"), fail_after(50)]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("first", millis(300)));
}

/// As gRPC (gRFC A6) and Polly do.
#[tokio::test(start_paused = true)]
async fn a_failure_before_the_delay_starts_the_next_attempt_at_once() {
    let bench = Bench::new(hedging(2));
    let mut script = Script::new([fail_after(10), fail_after(20), answer_after(5, "third")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("third", millis(35)));
    assert_eq!(starts(&script), [0, 10, 30].map(millis));
    assert_eq!((hedges(&bench), bench.counters().retries), ((2, 1, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn the_delay_counts_from_the_start_of_the_last_attempt() {
    let bench = Bench::new(hedging(2));
    let mut script = Script::new([fail_after(40), Reply::Hang, answer_after(1, "third")]);
    let (result, _) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), starts(&script)), ("third", [0, 40, 140].map(millis).to_vec()));
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_hedges_than_the_policy_says() {
    for max_extra in 1..=4 {
        let bench = Bench::new(hedging(max_extra));
        let mut script = Script::new([Reply::Hang]);
        let (result, took) = run(&bench, &mut script).await;
        assert_eq!((result.unwrap_err().cause, took), (FailureCause::Timeout, 5 * SECOND));
        let expected: Vec<Duration> = (0..=max_extra).map(|attempt| attempt * DELAY).collect();
        assert_eq!((starts(&script), script.cancelled().len()), (expected, script.attempts.len()));
        assert_eq!(bench.counters().timeouts, u64::from(1 + max_extra));
    }
}

/// [resty#1197](https://github.com/go-resty/resty/pull/1197),
/// [hedgedhttp#61](https://github.com/cristalhq/hedgedhttp/issues/61)
#[tokio::test(start_paused = true)]
async fn t34_what_is_not_idempotent_is_never_hedged() {
    let mut spec = hedging(4);
    spec.breaker.mode = BreakerMode::Disabled;
    let once = CallOptions { is_idempotent: false, ..idempotent() };
    let bench = Bench::new(spec.clone());
    for replies in [vec![answer_after(1_000, "late")], vec![Reply::Unreached]] {
        let mut script = Script::new(replies);
        drop(bench.run(&mut script, once).await);
        assert_eq!(script.attempts.len(), 1);
    }
    assert_eq!(hedges(&bench), (0, 0, 0));

    // The policy's word on a method is worth more than the caller's.
    let says = |glob: &str, is_idempotent| MethodOverride {
        glob: glob.to_owned(),
        is_idempotent: Some(is_idempotent),
        ..MethodOverride::default()
    };
    spec.method_overrides = vec![says("list", true), says("charge", false)];
    bench.apply(spec);
    for (method, is_idempotent, attempts) in [("list", false, 5), ("charge", true, 1)] {
        let mut script = Script::new([Reply::Hang]);
        let options = CallOptions { method, is_idempotent, ..idempotent() };
        bench.run(&mut script, options).await.unwrap_err();
        assert_eq!(script.attempts.len(), attempts, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn levels_below_full_do_not_hedge() {
    for level in Level::ALL {
        let bench = Bench::new(PolicySpec { level, ..hedging(1) });
        let mut script = Script::new([answer_after(300, "slow")]);
        bench.run(&mut script, idempotent()).await.unwrap();
        assert_eq!(script.attempts.len(), if level == Level::Full { 2 } else { 1 }, "{level}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_alternative_is_tried_once() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([answer_after(300, "slow")]);
    let options = CallOptions { is_alternative: true, ..idempotent() };
    bench.run(&mut script, options).await.unwrap();
    assert_eq!(script.attempts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_the_request_ends_the_call_whoever_brings_it() {
    let mut spec = hedging(2);
    spec.retry.max_attempts = 5;
    let bench = Bench::new(spec);
    let mut script = Script::new([Reply::Hang, Reply::CodeAfter(millis(20), NOT_FOUND)]);
    let (result, took) = run(&bench, &mut script).await;
    let failure = result.unwrap_err();
    assert!(matches!(failure.cause, FailureCause::Inner(Error { code: NOT_FOUND, .. })));
    assert_eq!((failure.receipt.attempts, failure.receipt.why, took), (2, None, millis(120)));
    assert_eq!((script.cancelled(), hedges(&bench)), (vec![1], (1, 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_no_other_attempt_can_mend_ends_the_hedging_but_not_what_runs() {
    let mut spec = hedging(3);
    spec.retry.max_attempts = 5;
    let bench = Bench::new(spec);
    let internal = Reply::CodeAfter(millis(110), INTERNAL);
    let mut script = Script::new([internal, answer_after(500, "second")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("second", millis(600)));
    assert_eq!(script.attempts.len(), 2);

    let mut script = Script::new([internal, fail_after(500)]);
    let (result, _) = run(&bench, &mut script).await;
    assert_eq!(result.unwrap_err().receipt.attempts, 2, "nor is it retried");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_counts_as_a_failure_waits_for_a_better_one_and_beats_an_error() {
    let mut spec = hedging(1);
    spec.classification.grpc_failure_codes = vec![0, UNAVAILABLE];
    let bench = Bench::new(spec);
    let mut script = Script::new([answer_after(120, "bad"), Reply::CodeAfter(millis(100), NOT_FOUND)]);
    let (result, took) = run(&bench, &mut script).await;
    assert!(result.is_err(), "the service works, and says that there is nothing");
    assert_eq!(took, millis(200));

    let mut script = Script::new([answer_after(120, "bad"), fail_after(100)]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("bad", millis(200)));
}

#[tokio::test(start_paused = true)]
async fn the_services_own_word_decides_when_a_hedge_starts_and_whether() {
    let bench = Bench::new(hedging(2));
    let after = Reply::Pushback(Pushback::After(SECOND));
    let mut script = Script::new([after, answer_after(10, "second")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("second", millis(1_010)));

    // The first is let run on, but gets no more company.
    let mut script = Script::new([answer_after(900, "first"), Reply::Pushback(Pushback::Never)]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took, script.attempts.len()), ("first", millis(900), 2));

    let mut spec = hedging(2);
    spec.retry = RetryPolicy { max_attempts: 5, max_pushback: SECOND / 2, ..spec.retry };
    bench.apply(spec.clone());
    for never in [after, Reply::Pushback(Pushback::Never)] {
        let mut script = Script::new([never]);
        assert_eq!(run(&bench, &mut script).await.0.unwrap_err().receipt.attempts, 1);
    }
    spec.retry.honour_pushback = false;
    bench.apply(spec);
    let mut script = Script::new([Reply::Pushback(Pushback::Never), answer_after(10, "second")]);
    assert_eq!(run(&bench, &mut script).await.1, millis(10));
}

#[tokio::test(start_paused = true)]
async fn retries_come_after_the_hedges_and_only_up_to_the_most_attempts() {
    for (max_attempts, max_extra, attempts, retries) in [(4, 1, 4, 2), (2, 2, 3, 0), (3, 2, 3, 0), (1, 4, 5, 0)] {
        let mut spec = hedging(max_extra);
        spec.retry.max_attempts = max_attempts;
        spec.breaker.mode = BreakerMode::Disabled;
        let bench = Bench::new(spec);
        let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
        assert_eq!(failure.receipt.attempts, attempts, "{max_attempts}, {max_extra}");
        let counters = bench.counters();
        assert_eq!((counters.hedges, counters.retries), (u64::from(max_extra), retries));
        assert_eq!(counters.attempts, 1 + counters.hedges + counters.retries);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_runs_out_of_time_is_followed_at_once() {
    let mut spec = hedging(1);
    spec.timeout.attempt_timeout = DELAY / 2;
    let bench = Bench::new(spec);
    let mut script = Script::new([Reply::Hang, answer_after(10, "second")]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap().value.as_str(), took), ("second", millis(60)));
    assert!(script.attempts.iter().all(|attempt| attempt.tell_remaining == Some(DELAY / 2)));

    let mut spec = hedging(1);
    spec.timeout.attempt_timeout = 2 * DELAY;
    bench.apply(spec);
    let mut script = Script::new([Reply::Hang]);
    let (result, took) = run(&bench, &mut script).await;
    assert_eq!((result.unwrap_err().cause, took), (FailureCause::Timeout, 3 * DELAY), "each has its own time");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_has_no_time_left_does_not_start() {
    let mut spec = hedging(4);
    spec.breaker.mode = BreakerMode::Disabled;
    let bench = Bench::new(spec);
    for (limit, attempts) in [(109, 1), (110, 2), (209, 2), (210, 3)] {
        let mut script = Script::new([Reply::Hang]);
        let options = CallOptions { timeout: Some(millis(limit)), ..idempotent() };
        bench.run(&mut script, options).await.unwrap_err();
        assert_eq!(script.attempts.len(), attempts, "{limit} ms");
    }
    assert_eq!(hedges(&bench), (4, 0, 0), "what cannot start is not due");
}

#[tokio::test(start_paused = true)]
async fn a_full_bulkhead_refuses_a_hedge_and_lets_the_call_go_on() {
    let mut spec = hedging(3);
    spec.bulkhead = BulkheadPolicy { max_concurrent: 2, max_queue: 5, max_wait: SECOND, ..spec.bulkhead };
    let bench = Bench::new(spec);
    let mut other = Script::new([answer_after(150, "other")]);
    let once = CallOptions { is_idempotent: false, ..idempotent() };
    let mut script = Script::new([Reply::Hang, answer_after(10, "second")]);
    let (other, (result, took)) = tokio::join!(bench.run(&mut other, once), run(&bench, &mut script));
    other.unwrap();
    assert_eq!((result.unwrap().value.as_str(), took), ("second", millis(210)), "a place was free at the second try");
    assert_eq!((hedges(&bench), bench.counters().rejected_bulkhead), ((1, 1, 1), 0));
    assert_eq!(places_in_use(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_not_doubled() {
    let bench = Bench::new(hedging(4));
    for _ in 0..5 {
        bench.run(&mut Script::new([Reply::Code(INTERNAL)]), idempotent()).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    tokio::time::advance(30 * SECOND).await;
    let mut script = Script::new([answer_after(1_000, "probe")]);
    let mut probe = Box::pin(bench.run(&mut script, idempotent()));
    assert!(probe.as_mut().now_or_never().is_none());
    tokio::time::advance(500 * MILLISECOND).await;
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    assert!(probe.as_mut().now_or_never().is_none());
    // The other slot is free: for a call of its own.
    bench.call([Reply::Answer("second probe")]).await.unwrap();
    probe.await.unwrap();
    assert_eq!(script.attempts.len(), 1);
    assert_eq!((bench.breaker(), hedges(&bench)), (Some(State::Closed), (0, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_not_closed_refuses_hedges_and_no_slot_is_taken() {
    let mut spec = hedging(4);
    spec.breaker.open_duration = millis(200);
    let bench = Bench::new(spec);
    let mut script = Script::new([answer_after(1_000, "first")]);
    let mut running = Box::pin(bench.run(&mut script, idempotent()));
    assert!(running.as_mut().now_or_never().is_none());
    for _ in 0..5 {
        bench.run(&mut Script::new([Reply::Code(INTERNAL)]), idempotent()).await.unwrap_err();
    }
    // Open at 100 ms, half-open at 200, 300 and 400 ms.
    running.await.unwrap();
    assert_eq!((script.attempts.len(), hedges(&bench)), (1, (0, 0, 4)));
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    for _ in 0..2 {
        bench.call([Reply::Answer("probe")]).await.unwrap();
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_cancels_all_of_its_attempts() {
    let bench = Bench::new(hedging(2));
    let mut script = Script::new([Reply::Hang]);
    assert!(tokio::time::timeout(SECOND, bench.run(&mut script, idempotent())).await.is_err());
    let mut cancelled = script.cancelled();
    cancelled.sort_unstable();
    assert_eq!((cancelled, places_in_use(&bench)), (vec![1, 2, 3], 0));
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.cancelled), (1, 1));
    assert_eq!((counters.attempts, counters.attempt_neutrals, counters.hedges), (3, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_the_policy_that_it_began_with() {
    let bench = Bench::new(hedging(1));
    let mut before = Script::new([answer_after(300, "slow")]);
    let mut running = Box::pin(bench.run(&mut before, idempotent()));
    assert!(running.as_mut().now_or_never().is_none());
    bench.apply(at(Level::Full));
    let mut after = Script::new([answer_after(300, "slow")]);
    let (first, second) = tokio::join!(running, bench.run(&mut after, idempotent()));
    assert!(first.is_ok() && second.is_ok());
    assert_eq!((before.attempts.len(), after.attempts.len()), (2, 1));
    assert_eq!(places_in_use(&bench), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_panics_gives_everything_back_and_counts_as_a_failure() {
    let bench = Bench::new(hedging(1));
    let mut script = Script::new([Reply::Hang, Reply::Panic]);
    let call = std::panic::AssertUnwindSafe(bench.run(&mut script, idempotent()));
    assert!(call.catch_unwind().await.is_err());
    let counters = bench.counters();
    assert_eq!((counters.attempts, counters.attempt_failures, counters.attempt_neutrals), (2, 1, 1));
    assert_eq!(places_in_use(&bench), 0);
}
