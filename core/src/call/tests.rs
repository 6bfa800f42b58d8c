use super::*;
use crate::breaker::State;
use crate::isolation::Unobserved;
use crate::level::Level;
use crate::name::Name;
use crate::policy::{
    BreakerPolicy, BulkheadPolicy, CachedFallback, FallbackPolicy, Jitter, Policy, PoolPolicy, RetryPolicy,
    StaticFallback, TimeoutPolicy,
};
use crate::stats::CounterSnapshot;
use futures_util::FutureExt;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;

const UNAVAILABLE: u32 = 14;
const NOT_FOUND: u32 = 5;
const SECOND: Duration = Duration::from_secs(1);

/// Tokio's paused clock.
struct Paused(tokio::time::Instant);

impl Runtime for Paused {
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Timestamp {
        Timestamp::ZERO.saturating_add(self.0.elapsed() + SECOND)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        tokio::time::sleep(duration)
    }

    fn random(&self) -> u64 {
        u64::MAX
    }
}

/// What a scripted service does at one attempt.
#[derive(Clone, Copy)]
enum Reply {
    Answer(&'static str),
    Code(u32),
    /// The connection could not be made.
    Unreached,
    Pushback(Pushback),
    AnswerAfter(Duration, &'static str),
    Hang,
    Panic,
}

#[derive(Debug, PartialEq)]
struct Error {
    code: u32,
    reached: bool,
    pushback: Option<Pushback>,
}

/// A scripted service; its last reply repeats.
struct Script {
    replies: VecDeque<Reply>,
    attempts: Vec<Attempt>,
    alternative: Option<&'static str>,
    degraded: Option<&'static str>,
    local: Option<&'static str>,
}

impl Script {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = replies.into_iter().collect();
        Self {
            replies,
            attempts: Vec::new(),
            alternative: None,
            degraded: None,
            local: None,
        }
    }
}

impl Operation for Script {
    type Output = String;
    type Error = Error;

    async fn attempt(&mut self, attempt: Attempt) -> Result<String, Error> {
        self.attempts.push(attempt);
        let reply = if self.replies.len() > 1 {
            self.replies.pop_front()
        } else {
            self.replies.front().copied()
        };
        let error = |code, reached, pushback| {
            Err(Error {
                code,
                reached,
                pushback,
            })
        };
        match reply.unwrap() {
            Reply::Answer(answer) => Ok(answer.to_owned()),
            Reply::AnswerAfter(delay, answer) => {
                tokio::time::sleep(delay).await;
                Ok(answer.to_owned())
            }
            Reply::Code(code) => error(code, true, None),
            Reply::Unreached => error(UNAVAILABLE, false, None),
            Reply::Pushback(pushback) => error(UNAVAILABLE, true, Some(pushback)),
            Reply::Hang => std::future::pending().await,
            Reply::Panic => panic!("the service's client panics"),
        }
    }

    fn classify(&self, result: Result<&String, &Error>, context: Context<'_>) -> Verdict {
        let code = result.map_or_else(|error| error.code, |_| 0);
        Verdict {
            outcome: context.policy.classification.grpc(code, context.is_probe),
            is_retryable: context.policy.retry.retries_grpc(code, context.is_idempotent),
            may_have_reached: result.err().is_none_or(|error| error.reached),
            pushback: result.err().and_then(|error| error.pushback),
        }
    }

    fn encode(&self, output: &String) -> Option<Bytes> {
        Some(Bytes::from(output.clone()))
    }

    fn decode(&mut self, payload: Payload<'_>) -> Option<String> {
        String::from_utf8(payload.bytes.to_vec()).ok()
    }

    async fn alternative(&mut self, _: &AlternativeFallback, _: Option<Duration>) -> Option<String> {
        self.alternative.map(str::to_owned)
    }

    async fn degraded(&mut self, _: &DegradedFallback, _: Why) -> Option<String> {
        self.degraded.map(str::to_owned)
    }

    async fn local_fallback(&mut self, _: Why) -> Option<String> {
        self.local.map(str::to_owned)
    }
}

struct Bench {
    isolation: Isolation,
    runtime: Paused,
}

type CallResult = Result<Answer<String>, Failure<Error>>;

impl Bench {
    fn new(spec: PolicySpec) -> Self {
        let isolation = Isolation::new(Policy::new(spec).unwrap(), None, Arc::new(Unobserved));
        Self {
            isolation,
            runtime: Paused(tokio::time::Instant::now()),
        }
    }

    fn apply(&self, spec: PolicySpec) {
        self.isolation.apply(Policy::new(spec).unwrap(), None, true);
    }

    async fn run(&self, script: &mut Script, options: CallOptions<'_>) -> CallResult {
        execute(&self.isolation, &self.runtime, script, options).await
    }

    async fn call(&self, replies: impl IntoIterator<Item = Reply>) -> CallResult {
        self.run(&mut Script::new(replies), idempotent()).await
    }

    fn counters(&self) -> CounterSnapshot {
        self.isolation.counters()
    }

    fn breaker(&self) -> Option<State> {
        self.isolation.breaker_state(self.runtime.now())
    }
}

fn idempotent() -> CallOptions<'static> {
    CallOptions {
        method: "list",
        is_idempotent: true,
        ..CallOptions::default()
    }
}

fn at(level: Level) -> PolicySpec {
    PolicySpec {
        level,
        retry: RetryPolicy {
            jitter: Jitter::None,
            ..RetryPolicy::default()
        },
        breaker: BreakerPolicy {
            open_jitter_ratio: 0.0,
            ..BreakerPolicy::default()
        },
        ..PolicySpec::default()
    }
}

fn with_chain(level: Level, chain: Vec<FallbackStep>) -> PolicySpec {
    PolicySpec {
        fallback: FallbackPolicy {
            chain,
            ..FallbackPolicy::default()
        },
        ..at(level)
    }
}

fn static_step(text: &'static str) -> FallbackStep {
    FallbackStep::Static(StaticFallback {
        payload: Bytes::from_static(text.as_bytes()),
        content_type: String::new(),
    })
}

fn alternative_step() -> FallbackStep {
    FallbackStep::Alternative(AlternativeFallback {
        service: Name::new("backup-service").unwrap(),
        method: "getData".to_owned(),
        timeout: AlternativeFallback::DEFAULT_TIMEOUT,
    })
}

#[tokio::test(start_paused = true)]
async fn level_none_calls_directly_and_only_counts() {
    let bench = Bench::new(with_chain(Level::None, vec![static_step("static")]));
    let answer = bench.call([Reply::AnswerAfter(60 * SECOND, "late")]).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("late", Source::Live));
    for _ in 0..20 {
        let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
        assert!(matches!(
            failure.cause,
            FailureCause::Inner(Error { code: UNAVAILABLE, .. })
        ));
        assert_eq!(failure.receipt.attempts, 1);
    }
    assert_eq!(bench.breaker(), None);
    let counters = bench.counters();
    assert_eq!(
        (counters.calls, counters.served_live, counters.failed, counters.attempts),
        (21, 1, 20, 21)
    );
}

#[tokio::test(start_paused = true)]
async fn basic_bounds_the_call_and_falls_back_but_neither_retries_nor_trips() {
    let bench = Bench::new(with_chain(
        Level::Basic,
        vec![alternative_step(), static_step("static")],
    ));
    let mut script = Script::new([Reply::Hang]);
    script.alternative = Some("alternative");
    let before = bench.runtime.now();
    let answer = bench.run(&mut script, idempotent()).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("static", Source::Static));
    assert_eq!(answer.receipt.why.unwrap().trigger, FallbackTrigger::Timeout);
    assert_eq!(bench.runtime.now().saturating_since(before), 5 * SECOND);
    for _ in 0..20 {
        assert_eq!(
            bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap().receipt.attempts,
            1
        );
    }
    assert_eq!(bench.breaker(), None);
    assert_eq!(bench.counters().served_static, 21);
}

#[tokio::test(start_paused = true)]
async fn enhanced_retries_with_growing_pauses() {
    let bench = Bench::new(at(Level::Enhanced));
    let before = bench.runtime.now();
    let mut script = Script::new([
        Reply::Code(UNAVAILABLE),
        Reply::Code(UNAVAILABLE),
        Reply::Answer("third"),
    ]);
    let answer = bench.run(&mut script, idempotent()).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.receipt.attempts), ("third", 3));
    assert_eq!(
        bench.runtime.now().saturating_since(before),
        Duration::from_millis(100 + 200)
    );
    assert_eq!(
        script.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(script.attempts[2].tell_remaining, Some(Duration::from_millis(4_700)));
    assert_eq!(bench.counters().retries, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_been_made_is_not_repeated_unless_it_is_idempotent() {
    let bench = Bench::new(at(Level::Enhanced));
    let once = CallOptions {
        is_idempotent: false,
        ..idempotent()
    };
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    assert_eq!(bench.run(&mut script, once).await.unwrap_err().receipt.attempts, 1);
    let mut script = Script::new([Reply::Unreached, Reply::Answer("second")]);
    assert_eq!(bench.run(&mut script, once).await.unwrap().receipt.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_the_request_is_neither_retried_nor_replaced() {
    let bench = Bench::new(with_chain(Level::Full, vec![static_step("static")]));
    for code in [NOT_FOUND, 1, 8] {
        let failure = bench.call([Reply::Code(code)]).await.unwrap_err();
        assert_eq!((failure.receipt.attempts, failure.receipt.why), (1, None));
    }
}

#[tokio::test(start_paused = true)]
async fn the_fifth_failure_opens_and_the_service_is_left_alone() {
    let spec = PolicySpec {
        retry: RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        },
        ..at(Level::Enhanced)
    };
    let bench = Bench::new(spec);
    for _ in 0..5 {
        assert_eq!(bench.breaker(), Some(State::Closed));
        bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    let failure = bench.call([Reply::Answer("not asked")]).await.unwrap_err();
    assert_eq!(
        failure.cause,
        FailureCause::Open {
            retry_after: Some(30 * SECOND)
        }
    );
    assert_eq!(failure.receipt.attempts, 0);
    assert_eq!(
        bench.isolation.health(bench.runtime.now()),
        crate::health::HealthStatus::CircuitOpen
    );

    tokio::time::advance(30 * SECOND).await;
    assert_eq!(bench.call([Reply::Answer("probe")]).await.unwrap().source, Source::Live);
    assert_eq!(bench.breaker(), Some(State::HalfOpen));
    bench.call([Reply::Answer("probe")]).await.unwrap();
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn t37_an_open_breaker_ends_the_retries_with_the_real_error() {
    let spec = PolicySpec {
        retry: RetryPolicy {
            max_attempts: 10,
            ..at(Level::Enhanced).retry
        },
        ..at(Level::Enhanced)
    };
    let bench = Bench::new(spec);
    let failure = bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap_err();
    assert!(matches!(
        failure.cause,
        FailureCause::Inner(Error { code: UNAVAILABLE, .. })
    ));
    assert_eq!((failure.receipt.attempts, bench.breaker()), (5, Some(State::Open)));
    assert_eq!(bench.counters().rejected_open, 1);
}

#[tokio::test(start_paused = true)]
async fn t31_a_pause_that_leaves_no_time_is_not_begun() {
    let spec = PolicySpec {
        retry: RetryPolicy {
            initial_backoff: 2 * SECOND,
            ..at(Level::Enhanced).retry
        },
        ..at(Level::Enhanced)
    };
    let bench = Bench::new(spec);
    let before = bench.runtime.now();
    let options = CallOptions {
        timeout: Some(SECOND),
        ..idempotent()
    };
    let failure = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), options).await;
    assert!(matches!(failure.unwrap_err().cause, FailureCause::Inner(_)));
    assert_eq!(bench.runtime.now(), before);
}

#[tokio::test(start_paused = true)]
async fn the_services_own_word_decides_the_pause() {
    let bench = Bench::new(at(Level::Enhanced));
    let before = bench.runtime.now();
    bench
        .call([Reply::Pushback(Pushback::After(SECOND)), Reply::Answer("second")])
        .await
        .unwrap();
    assert_eq!(bench.runtime.now().saturating_since(before), SECOND);
    assert_eq!(
        bench
            .call([Reply::Pushback(Pushback::Never)])
            .await
            .unwrap_err()
            .receipt
            .attempts,
        1
    );
}

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
        assert!(
            matches!(failure.cause, FailureCause::Inner(_)),
            "the real error, not the budget's"
        );
    }
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.attempts, counters.retries), (100, 120, 20));
    assert!(counters.retries_refused >= 80);
}

#[tokio::test(start_paused = true)]
async fn live_answers_are_cached_and_stand_in_with_their_age() {
    let cached = FallbackStep::Cached(CachedFallback {
        ttl: 10 * SECOND,
        stale_if_error: 20 * SECOND,
        ..CachedFallback::default()
    });
    let bench = Bench::new(with_chain(Level::Basic, vec![cached, static_step("static")]));
    let keyed = |key: &'static str| CallOptions {
        cache_key: key.as_bytes(),
        ..idempotent()
    };
    bench
        .run(&mut Script::new([Reply::Answer("live")]), keyed("7"))
        .await
        .unwrap();

    tokio::time::advance(29 * SECOND).await;
    let answer = bench
        .run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("7"))
        .await
        .unwrap();
    assert_eq!(
        (answer.value.as_str(), answer.source),
        ("live", Source::Cached { age: 29 * SECOND })
    );
    let other = bench
        .run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("8"))
        .await
        .unwrap();
    assert_eq!(other.source, Source::Static);

    tokio::time::advance(2 * SECOND).await;
    let answer = bench
        .run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("7"))
        .await
        .unwrap();
    assert_eq!(
        answer.source,
        Source::Static,
        "past ttl and stale_if_error; and no fallback was ever cached"
    );
}

#[tokio::test(start_paused = true)]
async fn steps_that_cannot_answer_hand_over_to_the_next() {
    let degraded = DegradedFallback {
        features: vec!["basic_functionality".to_owned()],
        reason: String::new(),
    };
    let chain = vec![alternative_step(), FallbackStep::Degraded(degraded.clone())];
    let bench = Bench::new(with_chain(Level::Enhanced, chain));
    let once = CallOptions {
        is_idempotent: false,
        ..idempotent()
    };

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.alternative = Some("backup");
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Alternative);

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.degraded = Some("less");
    assert_eq!(
        bench.run(&mut script, once).await.unwrap().source,
        Source::Degraded(degraded)
    );

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.local = Some("mine");
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Local);

    let failure = bench
        .run(&mut Script::new([Reply::Code(UNAVAILABLE)]), once)
        .await
        .unwrap_err();
    assert_eq!(failure.receipt.why.unwrap().trigger, FallbackTrigger::Failure);
    let counters = bench.counters();
    assert_eq!(
        (counters.served_alternative, counters.served_degraded, counters.failed),
        (1, 2, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_alternative_gets_the_time_kept_back_for_it() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![alternative_step()]));
    let mut script = Script::new([Reply::Hang]);
    script.alternative = Some("backup");
    let before = bench.runtime.now();
    let once = CallOptions {
        is_idempotent: false,
        ..idempotent()
    };
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Alternative);
    assert_eq!(
        bench.runtime.now().saturating_since(before),
        Duration::from_millis(4_500)
    );
}

#[tokio::test(start_paused = true)]
async fn t38_an_alternative_has_no_retry_and_no_fallback_of_its_own() {
    let bench = Bench::new(with_chain(Level::Full, vec![static_step("static")]));
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.local = Some("mine");
    let failure = bench
        .run(
            &mut script,
            CallOptions {
                is_alternative: true,
                ..idempotent()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(failure.receipt.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn full_caps_the_calls_that_run_at_once() {
    let pool = PoolPolicy {
        name: "readPool".to_owned(),
        max_concurrent: 1,
        max_queue: 1,
        max_wait: SECOND,
        method_globs: vec!["get*".to_owned()],
    };
    let bulkhead = BulkheadPolicy {
        max_concurrent: 2,
        pools: vec![pool],
        ..BulkheadPolicy::default()
    };
    let bench = Bench::new(PolicySpec {
        bulkhead,
        ..at(Level::Full)
    });
    let busy = || bench.call([Reply::AnswerAfter(SECOND / 2, "busy")]);
    let (first, second, third) = tokio::join!(busy(), busy(), busy());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(third.unwrap_err().cause, FailureCause::BulkheadFull);
    assert_eq!(
        bench.breaker(),
        Some(State::Closed),
        "our own rejection says nothing of the service"
    );

    let read = async || {
        let options = CallOptions {
            method: "getUser",
            ..idempotent()
        };
        let before = bench.runtime.now();
        let result = bench
            .run(&mut Script::new([Reply::AnswerAfter(SECOND / 2, "read")]), options)
            .await;
        (result.is_ok(), bench.runtime.now().saturating_since(before))
    };
    let named = CallOptions {
        pool: Some("readPool"),
        ..idempotent()
    };
    let mut script = Script::new([Reply::Answer("full")]);
    let (first, queued, full) = tokio::join!(read(), read(), bench.run(&mut script, named));
    assert_eq!((first, queued), ((true, SECOND / 2), (true, SECOND)));
    assert_eq!(full.unwrap_err().cause, FailureCause::BulkheadFull);
    assert_eq!(bench.counters().rejected_bulkhead, 2);
}

#[tokio::test(start_paused = true)]
async fn a_level_change_keeps_what_the_breaker_learned() {
    let spec = |level| PolicySpec {
        retry: RetryPolicy {
            max_attempts: 1,
            ..RetryPolicy::default()
        },
        ..at(level)
    };
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
async fn t03_t23_a_cancelled_call_gives_everything_back_and_says_nothing() {
    let bulkhead = BulkheadPolicy {
        max_concurrent: 1,
        ..BulkheadPolicy::default()
    };
    let bench = Bench::new(PolicySpec {
        bulkhead,
        ..at(Level::Full)
    });
    for _ in 0..20 {
        let cancelled = tokio::time::timeout(SECOND, bench.call([Reply::Hang])).await;
        assert!(cancelled.is_err());
    }
    bench.call([Reply::Answer("free again")]).await.unwrap();
    let counters = bench.counters();
    assert_eq!(
        (counters.calls, counters.cancelled, counters.attempt_neutrals),
        (21, 20, 20)
    );
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn t04_a_panic_gives_everything_back_and_counts_as_a_failure() {
    let bulkhead = BulkheadPolicy {
        max_concurrent: 1,
        ..BulkheadPolicy::default()
    };
    let bench = Bench::new(PolicySpec {
        bulkhead,
        ..at(Level::Full)
    });
    for _ in 0..5 {
        let caught = AssertUnwindSafe(bench.call([Reply::Panic])).catch_unwind().await;
        assert!(caught.is_err());
    }
    assert_eq!(bench.breaker(), Some(State::Open));
    tokio::time::advance(30 * SECOND).await;
    bench.call([Reply::Answer("probe")]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t44_a_deadline_spent_before_the_call_says_nothing_of_the_service() {
    let bench = Bench::new(PolicySpec {
        timeout: TimeoutPolicy {
            min_attempt_budget: Duration::from_millis(10),
            ..TimeoutPolicy::default()
        },
        ..at(Level::Enhanced)
    });
    for _ in 0..20 {
        let options = CallOptions {
            timeout: Some(Duration::from_millis(9)),
            ..idempotent()
        };
        let failure = bench
            .run(&mut Script::new([Reply::Answer("not asked")]), options)
            .await
            .unwrap_err();
        assert_eq!(
            (failure.cause, failure.receipt.attempts),
            (FailureCause::DeadlineSpent, 0)
        );
    }
    assert_eq!(bench.breaker(), Some(State::Closed));
    assert_eq!(bench.counters().rejected_deadline, 20);
}

#[tokio::test(start_paused = true)]
async fn t33_an_answer_at_the_very_end_wins_over_the_timeout() {
    let bench = Bench::new(at(Level::Enhanced));
    let answer = bench.call([Reply::AnswerAfter(5 * SECOND, "just in time")]).await;
    assert_eq!(answer.unwrap().value, "just in time");
    assert_eq!(bench.counters().timeouts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_service_is_not_called() {
    let bench = Bench::new(with_chain(Level::Basic, vec![static_step("static")]));
    let policy = bench.isolation.in_force().policy.clone();
    bench.isolation.apply(policy, None, false);
    let answer = bench.call([Reply::Answer("not asked")]).await.unwrap();
    assert_eq!((answer.source, answer.receipt.attempts), (Source::Static, 0));
    assert_eq!(bench.counters().rejected_disabled, 1);
}
