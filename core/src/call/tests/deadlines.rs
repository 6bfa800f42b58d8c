//! One deadline through all of a call.

use super::*;
use crate::policy::limits::MAX_DURATION;

fn limited(timeout: Duration) -> CallOptions<'static> {
    CallOptions { timeout: Some(timeout), ..idempotent() }
}

/// Seen in <https://github.com/alexfalkowski/go-service/issues/3173>.
#[tokio::test(start_paused = true)]
async fn t44_a_deadline_spent_before_the_call_says_nothing_of_the_service() {
    let bench = Bench::new(PolicySpec {
        timeout: TimeoutPolicy { min_attempt_budget: Duration::from_millis(10), ..TimeoutPolicy::default() },
        ..at(Level::Enhanced)
    });
    for _ in 0..20 {
        let options = CallOptions { timeout: Some(Duration::from_millis(9)), ..idempotent() };
        let failure = bench.run(&mut Script::new([Reply::Answer("not asked")]), options).await.unwrap_err();
        assert_eq!((failure.cause, failure.receipt.attempts), (FailureCause::DeadlineSpent, 0));
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
    assert_eq!(bench.counters().rejected_deadline, 20);
}

/// Seen in <https://github.com/vert-x3/vertx-circuit-breaker/issues/62>,
/// <https://github.com/connor4312/cockatiel/issues/69>.
#[tokio::test(start_paused = true)]
async fn t33_an_answer_at_the_very_end_wins_over_the_timeout() {
    let bench = Bench::new(at(Level::Enhanced));
    let answer = bench.call([Reply::AnswerAfter(5 * SECOND, "just in time")]).await;
    assert_eq!(answer.unwrap().value, "just in time");
    assert_eq!(bench.counters().timeouts, 0);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/905>,
/// <https://github.com/failsafe-lib/failsafe/issues/120>.
#[tokio::test(start_paused = true)]
async fn t32_a_timeout_cancels_the_attempt() {
    let mut spec = at(Level::Enhanced);
    spec.timeout.attempt_timeout = SECOND;
    let bench = Bench::new(spec);
    let mut script = Script::new([Reply::Hang]);
    bench.run(&mut script, idempotent()).await.unwrap_err();
    assert_eq!((script.attempts.len(), script.cancelled()), (3, vec![1, 2, 3]));
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/905>,
/// <https://github.com/failsafe-lib/failsafe/issues/120>.
#[tokio::test(start_paused = true)]
async fn t32_a_call_that_times_out_in_the_queue_is_never_made() {
    let bulkhead = BulkheadPolicy { max_concurrent: 1, max_queue: 1, max_wait: 60 * SECOND, pools: Vec::new() };
    let bench = Bench::new(PolicySpec { bulkhead, ..at(Level::Full) });
    let mut queued = Script::new([Reply::Answer("not asked")]);
    let (running, waiting) = tokio::join!(bench.call([Reply::Hang]), bench.run(&mut queued, limited(SECOND)));
    assert_eq!(running.unwrap_err().cause, FailureCause::Timeout);
    assert_eq!((waiting.unwrap_err().cause, queued.attempts.len()), (FailureCause::BulkheadFull, 0));
}

#[tokio::test(start_paused = true)]
async fn at_level_none_an_attempt_needs_no_least_time() {
    let bench = Bench::new(at(Level::None));
    let mut script = Script::new([Reply::Answer("live")]);
    let answer = bench.run(&mut script, limited(Duration::from_millis(5))).await;
    assert_eq!(answer.unwrap().source, Source::Live);
}

#[tokio::test(start_paused = true)]
async fn a_caller_without_time_is_told_so_at_every_level() {
    for level in Level::ALL {
        let bench = Bench::new(at(level));
        let mut script = Script::new([Reply::Answer("not asked")]);
        let failure = bench.run(&mut script, limited(Duration::ZERO)).await.unwrap_err();
        assert_eq!(failure.cause, FailureCause::DeadlineSpent, "{level}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_a_hurry_keeps_back_a_share_of_its_own_time() {
    let mut spec = with_chain(Level::Enhanced, vec![alternative_step()]);
    for (reserve, kept_back) in [(None, 40), (Some(SECOND), 80), (Some(4 * SECOND), 320)] {
        spec.fallback.reserve = reserve;
        let bench = Bench::new(spec.clone());
        let limit = Duration::from_millis(400);
        let mut script = Script::new([Reply::Answer("live")]);
        let answer = bench.run(&mut script, limited(limit)).await.unwrap();
        assert_eq!(answer.source, Source::Live, "{reserve:?}");

        let mut script = Script::new([Reply::Hang]);
        script.alternative = Some("backup");
        let before = bench.runtime.now();
        let answer = bench.run(&mut script, limited(limit)).await.unwrap();
        assert_eq!(answer.source, Source::Alternative);
        let live = bench.runtime.now().saturating_since(before);
        assert_eq!(live, limit - Duration::from_millis(kept_back), "{reserve:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_of_the_policys_the_callers_is_the_whole() {
    let mut spec = with_chain(Level::Enhanced, vec![alternative_step()]);
    spec.timeout.call_timeout = Duration::ZERO;
    for (reserve, kept_back) in [(None, SECOND / 10), (Some(SECOND / 5), SECOND / 5), (Some(9 * SECOND), SECOND / 2)] {
        spec.fallback.reserve = reserve;
        let bench = Bench::new(spec.clone());
        let mut script = Script::new([Reply::Hang]);
        script.alternative = Some("backup");
        let before = bench.runtime.now();
        let answer = bench.run(&mut script, limited(SECOND)).await.unwrap();
        assert_eq!(answer.source, Source::Alternative);
        let live = bench.runtime.now().saturating_since(before);
        assert_eq!(live, SECOND - kept_back, "{reserve:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_that_hangs_does_not_hang_the_call() {
    for chain in [Vec::new(), vec![FallbackStep::Degraded(DegradedFallback::default())]] {
        let bench = Bench::new(with_chain(Level::Basic, chain));
        let mut script = Script::new([Reply::Hang]);
        script.delay = MAX_DURATION;
        let before = bench.runtime.now();
        let failure = bench.run(&mut script, idempotent()).await.unwrap_err();
        assert_eq!(failure.cause, FailureCause::Timeout);
        assert!(bench.runtime.now().saturating_since(before) <= 6 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stand_in_gets_a_little_time_after_a_timeout() {
    let bench = Bench::new(at(Level::Basic));
    let mut script = Script::new([Reply::Hang]);
    script.local = Some("mine");
    script.delay = SECOND / 4;
    assert_eq!(bench.run(&mut script, idempotent()).await.unwrap().source, Source::Local);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_by_its_own_limit_or_the_calls_whichever_is_first() {
    let bench = Bench::new(PolicySpec {
        timeout: TimeoutPolicy { call_timeout: SECOND * 5 / 2, attempt_timeout: SECOND, ..TimeoutPolicy::default() },
        ..at(Level::Enhanced)
    });
    let mut script = Script::new([Reply::Hang]);
    let before = bench.runtime.now();
    let failure = bench.run(&mut script, idempotent()).await.unwrap_err();
    assert_eq!(failure.cause, FailureCause::Timeout);
    assert_eq!(bench.runtime.now().saturating_since(before), SECOND * 5 / 2);
    let told: Vec<_> = script.attempts.iter().map(|attempt| attempt.tell_remaining).collect();
    assert_eq!(told, [Some(SECOND), Some(SECOND), Some(SECOND / 5)]);
    assert_eq!(bench.counters().timeouts, 3);
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_zero_are_none() {
    let bench = Bench::new(PolicySpec {
        timeout: TimeoutPolicy {
            call_timeout: Duration::ZERO,
            attempt_timeout: Duration::ZERO,
            ..TimeoutPolicy::default()
        },
        ..at(Level::Full)
    });
    let mut script = Script::new([Reply::AnswerAfter(2 * MAX_DURATION, "late")]);
    let answer = bench.run(&mut script, idempotent()).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("late", Source::Live));
    assert_eq!(script.attempts[0].tell_remaining, None);
}

#[tokio::test(start_paused = true)]
async fn the_longest_durations_do_no_harm() {
    let mut spec = with_chain(Level::Full, vec![alternative_step(), static_step("static")]);
    spec.timeout.call_timeout = MAX_DURATION;
    spec.timeout.attempt_timeout = MAX_DURATION;
    spec.timeout.min_attempt_budget = MAX_DURATION / 2;
    spec.retry.initial_backoff = MAX_DURATION;
    spec.retry.max_backoff = MAX_DURATION;
    spec.retry.multiplier = 10.0;
    spec.retry.jitter = Jitter::PlusMinus(1.0);
    spec.bulkhead.max_queue = 1;
    spec.bulkhead.max_wait = MAX_DURATION;
    spec.breaker.open_duration = MAX_DURATION;
    spec.breaker.max_open_duration = MAX_DURATION;
    spec.breaker.open_jitter_ratio = 1.0;
    let bench = Bench::new(spec);
    for _ in 0..6 {
        let answer = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), limited(Duration::MAX)).await;
        assert_eq!(answer.unwrap().source, Source::Static);
    }
    assert_eq!(bench.breaker(), Some(State::Open));
}

/// A third of the time was left for a service that answers in half of it.
#[tokio::test(start_paused = true)]
async fn no_time_is_kept_back_for_an_alternative_that_is_not_asked() {
    let mut spec = with_chain(Level::Enhanced, vec![alternative_step()]);
    spec.timeout.call_timeout = 3 * SECOND;
    spec.fallback.reserve = Some(2 * SECOND);
    let slow = || Script::new([Reply::AnswerAfter(SECOND * 3 / 2, "slow")]);
    let with_backup = || Script { alternative: Some("backup"), ..slow() };
    let answer = async |spec: &PolicySpec, mut script: Script| {
        Bench::new(spec.clone()).run(&mut script, idempotent()).await.unwrap().value
    };
    assert_eq!(answer(&spec, with_backup()).await, "backup");
    assert_eq!(answer(&spec, slow()).await, "slow", "the host has none");
    spec.fallback.on = vec![FallbackTrigger::Failure];
    assert_eq!(answer(&spec, with_backup()).await, "slow", "not after a timeout");
}
