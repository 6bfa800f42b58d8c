mod adaptive;
mod cached;
mod changes;
mod deadlines;
mod dropped;
mod hedges;
mod holds;
mod methods;
mod observers;
mod overrides;
mod panics;
mod places;
mod rates;
mod recovery;
mod rejections;
mod repeats;
mod stand_ins;
mod threads;
mod timing;
mod unfinished;

use super::*;
use crate::breaker::{OpenedBy, State};
use crate::isolation::Unobserved;
use crate::level::Level;
use crate::name::Name;
use crate::policy::{
    AlternativeFallback, BreakerPolicy, BulkheadPolicy, CachedFallback, DegradedFallback, FallbackPolicy, FallbackStep,
    FallbackTrigger, Jitter, Policy, PoolPolicy, RetryPolicy, StaticFallback, TimeoutPolicy,
};
use crate::revision::Revision;
use crate::stats::CounterSnapshot;
use crate::time::{Clocks, WallTime};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;

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
#[derive(Clone, Copy, Debug)]
enum Reply {
    Answer(&'static str),
    Code(u32),
    /// The connection could not be made.
    Unreached,
    Pushback(Pushback),
    AnswerAfter(Duration, &'static str),
    CodeAfter(Duration, u32),
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
    /// The numbers of the attempts that were dropped before they ended.
    cancelled: Arc<Mutex<Vec<u32>>>,
    alternative: Option<&'static str>,
    degraded: Option<&'static str>,
    local: Option<&'static str>,
    /// How long an alternative, a degraded answer and the caller's own fallback take.
    delay: Duration,
    /// Whether the caller's own fallback panics.
    panics: bool,
    /// Answers that have begun: those that say so.
    unfinished: Vec<Unfinished>,
    /// What was passed over, by its name, and why.
    passed_over: Vec<(&'static str, PassedOver)>,
}

impl Script {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        let replies = replies.into_iter().collect();
        let (attempts, cancelled) = (Vec::new(), Arc::default());
        Self {
            replies,
            attempts,
            cancelled,
            alternative: None,
            degraded: None,
            local: None,
            delay: Duration::ZERO,
            panics: false,
            unfinished: Vec::new(),
            passed_over: Vec::new(),
        }
    }

    fn cancelled(&self) -> Vec<u32> {
        self.cancelled.lock().unwrap().clone()
    }
}

/// An attempt under way.
struct UnderWay {
    number: u32,
    has_ended: bool,
    cancelled: Arc<Mutex<Vec<u32>>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_ended {
            self.cancelled.lock().unwrap().push(self.number);
        }
    }
}

impl Operation for Script {
    type Output = String;
    type Error = Error;

    fn attempt(&mut self, attempt: Attempt) -> impl Future<Output = Result<String, Error>> + Send + use<> {
        self.attempts.push(attempt);
        let reply = if self.replies.len() > 1 { self.replies.pop_front() } else { self.replies.front().copied() };
        let error = |code, reached, pushback| Err(Error { code, reached, pushback });
        let cancelled = Arc::clone(&self.cancelled);
        let under_way = UnderWay { number: attempt.number, has_ended: false, cancelled };
        async move {
            let mut under_way = under_way;
            let result = match reply.unwrap() {
                Reply::Answer(answer) => Ok(answer.to_owned()),
                Reply::AnswerAfter(delay, answer) => {
                    tokio::time::sleep(delay).await;
                    Ok(answer.to_owned())
                }
                Reply::Code(code) => error(code, true, None),
                Reply::Unreached => error(UNAVAILABLE, false, None),
                Reply::Pushback(pushback) => error(UNAVAILABLE, true, Some(pushback)),
                Reply::Hang => std::future::pending().await,
                Reply::CodeAfter(delay, code) => {
                    tokio::time::sleep(delay).await;
                    error(code, true, None)
                }
                Reply::Panic => panic!("the service's client panics"),
            };
            under_way.has_ended = true;
            result
        }
    }

    fn classify(&self, result: Result<&String, &Error>, context: Context<'_>) -> Verdict {
        // An error page is an answer that the transport takes for a good one.
        let code = result.map_or_else(|error| error.code, |answer| if answer.starts_with("<html>") { 13 } else { 0 });
        Verdict {
            outcome: context.policy.classification.grpc(code, context.is_probe),
            is_retryable: context.policy.retry.retries_grpc(code, context.is_idempotent),
            may_have_reached: result.err().is_none_or(|error| error.reached),
            is_overload: matches!(code, 4 | 8 | 14),
            pushback: result.err().and_then(|error| error.pushback),
        }
    }

    fn is_unfinished(&self, output: &String) -> bool {
        output == "begun"
    }

    fn follow(&mut self, output: &mut String, unfinished: Unfinished) {
        output.push_str(", to be continued");
        self.unfinished.push(unfinished);
    }

    fn encode(&self, output: &String) -> Option<Bytes> {
        Some(Bytes::from(output.clone()))
    }

    fn decode(&mut self, payload: Payload<'_>) -> Option<String> {
        String::from_utf8(payload.bytes.to_vec()).ok()
    }

    fn has_alternative(&self) -> bool {
        self.alternative.is_some()
    }

    async fn alternative(&mut self, _: &AlternativeFallback, _: Option<Duration>) -> Option<String> {
        tokio::time::sleep(self.delay).await;
        self.alternative.map(str::to_owned)
    }

    async fn degraded(&mut self, _: &DegradedFallback, _: Why) -> Option<String> {
        tokio::time::sleep(self.delay).await;
        self.degraded.map(str::to_owned)
    }

    fn passed_over(&mut self, step: &'static str, why: PassedOver) {
        self.passed_over.push((step, why));
    }

    async fn local_fallback(&mut self, _: Why) -> Option<String> {
        assert!(!self.panics, "a bug of the fallback's");
        tokio::time::sleep(self.delay).await;
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
        let isolation = Isolation::new(Policy::new(spec).unwrap(), None, Clocks::default(), Arc::new(Unobserved));
        Self { isolation, runtime: Paused(tokio::time::Instant::now()) }
    }

    fn apply(&self, spec: PolicySpec) {
        let clocks = Clocks { monotonic: self.runtime.now(), wall: WallTime::default() };
        self.isolation.apply(Policy::new(spec).unwrap(), None, true, clocks);
    }

    async fn run(&self, script: &mut Script, options: CallOptions<'_>) -> CallResult {
        execute(&self.isolation, &self.runtime, script, &options).await
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
    CallOptions { method: "list", is_idempotent: true, ..CallOptions::default() }
}

fn at(level: Level) -> PolicySpec {
    PolicySpec {
        level,
        retry: RetryPolicy { jitter: Jitter::None, ..RetryPolicy::default() },
        breaker: BreakerPolicy { open_jitter_ratio: 0.0, ..BreakerPolicy::default() },
        ..PolicySpec::default()
    }
}

fn with_chain(level: Level, chain: Vec<FallbackStep>) -> PolicySpec {
    PolicySpec { fallback: FallbackPolicy { chain, ..FallbackPolicy::default() }, ..at(level) }
}

fn static_step(text: &'static str) -> FallbackStep {
    FallbackStep::Static(StaticFallback { payload: Bytes::from_static(text.as_bytes()), content_type: String::new() })
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
        assert!(matches!(failure.cause, FailureCause::Inner(Error { code: UNAVAILABLE, .. })));
        assert_eq!(failure.receipt.attempts, 1);
    }
    assert_eq!(bench.breaker(), None);
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.served_live, counters.failed, counters.attempts), (21, 1, 20, 21));
}

#[tokio::test(start_paused = true)]
async fn basic_bounds_the_call_and_falls_back_but_neither_retries_nor_trips() {
    let bench = Bench::new(with_chain(Level::Basic, vec![alternative_step(), static_step("static")]));
    let mut script = Script::new([Reply::Hang]);
    script.alternative = Some("alternative");
    let before = bench.runtime.now();
    let answer = bench.run(&mut script, idempotent()).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("static", Source::Static));
    assert_eq!(answer.receipt.why.unwrap().trigger, FallbackTrigger::Timeout);
    assert_eq!(bench.runtime.now().saturating_since(before), 5 * SECOND);
    for _ in 0..20 {
        assert_eq!(bench.call([Reply::Code(UNAVAILABLE)]).await.unwrap().receipt.attempts, 1);
    }
    assert_eq!(bench.breaker(), None);
    assert_eq!(bench.counters().served_static, 21);
}

#[tokio::test(start_paused = true)]
async fn c19_enhanced_retries_with_growing_pauses() {
    let bench = Bench::new(at(Level::Enhanced));
    let before = bench.runtime.now();
    let mut script = Script::new([Reply::Code(UNAVAILABLE), Reply::Code(UNAVAILABLE), Reply::Answer("third")]);
    let answer = bench.run(&mut script, idempotent()).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.receipt.attempts), ("third", 3));
    assert_eq!(bench.runtime.now().saturating_since(before), Duration::from_millis(100 + 200));
    assert_eq!(script.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(script.attempts[2].tell_remaining, Some(Duration::from_millis(4_700)));
    assert_eq!(bench.counters().retries, 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_have_been_made_is_not_repeated_unless_it_is_idempotent() {
    let bench = Bench::new(at(Level::Enhanced));
    let once = CallOptions { is_idempotent: false, ..idempotent() };
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
async fn full_caps_the_calls_that_run_at_once() {
    let pool = PoolPolicy {
        name: "readPool".to_owned(),
        max_concurrent: 1,
        max_queue: 1,
        max_wait: SECOND,
        method_globs: vec!["get*".to_owned()],
        ..PoolPolicy::default()
    };
    let bulkhead = BulkheadPolicy { max_concurrent: 2, pools: vec![pool], ..BulkheadPolicy::default() };
    let bench = Bench::new(PolicySpec { bulkhead, ..at(Level::Full) });
    let busy = || bench.call([Reply::AnswerAfter(SECOND / 2, "busy")]);
    let (first, second, third) = tokio::join!(busy(), busy(), busy());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(third.unwrap_err().cause, FailureCause::BulkheadFull);
    assert_eq!(bench.breaker(), Some(State::Closed), "our own rejection says nothing of the service");

    let read = async || {
        let options = CallOptions { method: "getUser", ..idempotent() };
        let before = bench.runtime.now();
        let result = bench.run(&mut Script::new([Reply::AnswerAfter(SECOND / 2, "read")]), options).await;
        (result.is_ok(), bench.runtime.now().saturating_since(before))
    };
    let named = CallOptions { pool: Some("readPool"), ..idempotent() };
    let mut script = Script::new([Reply::Answer("full")]);
    let (first, queued, full) = tokio::join!(read(), read(), bench.run(&mut script, named));
    assert_eq!((first, queued), ((true, SECOND / 2), (true, SECOND)));
    assert_eq!(full.unwrap_err().cause, FailureCause::BulkheadFull);
    assert_eq!(bench.counters().rejected_bulkhead, 2);
}

/// Seen in <https://github.com/Netflix/Hystrix/issues/1621>, <https://github.com/sony/gobreaker/issues/105>.
#[tokio::test(start_paused = true)]
async fn t03_t23_a_cancelled_call_gives_everything_back_and_says_nothing() {
    let bulkhead = BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() };
    let bench = Bench::new(PolicySpec { bulkhead, ..at(Level::Full) });
    for _ in 0..20 {
        let cancelled = tokio::time::timeout(SECOND, bench.call([Reply::Hang])).await;
        assert!(cancelled.is_err());
    }
    bench.call([Reply::Answer("free again")]).await.unwrap();
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.cancelled, counters.attempt_neutrals), (21, 20, 20));
    assert_eq!(bench.breaker(), Some(State::Closed));
}

#[tokio::test(start_paused = true)]
async fn slow_answers_trip_the_breaker_and_the_wait_for_a_place_is_not_their_latency() {
    let breaker = BreakerPolicy { slow_call_duration: SECOND, minimum_calls: 3, ..at(Level::Full).breaker };
    let bulkhead = BulkheadPolicy { max_concurrent: 1, max_queue: 2, max_wait: 3 * SECOND, ..at(Level::Full).bulkhead };
    let bench = Bench::new(PolicySpec { breaker, bulkhead, ..at(Level::Full) });
    let call = |millis| bench.call([Reply::AnswerAfter(Duration::from_millis(millis), "answer")]);
    let (first, queued, last) = tokio::join!(call(900), call(900), call(900));
    assert!(first.is_ok() && queued.is_ok() && last.is_ok());
    assert_eq!(bench.breaker(), Some(State::Closed));
    bench.runtime.sleep(60 * SECOND).await;
    for _ in 0..3 {
        assert_eq!(bench.breaker(), Some(State::Closed));
        call(1_000).await.unwrap();
    }
    assert_eq!(bench.breaker(), Some(State::Open));
}

#[tokio::test(start_paused = true)]
async fn a_disabled_service_is_not_called() {
    let bench = Bench::new(with_chain(Level::Basic, vec![static_step("static")]));
    let policy = bench.isolation.in_force().policy.clone();
    bench.isolation.apply(policy, None, false, Clocks::default());
    let answer = bench.call([Reply::Answer("not asked")]).await.unwrap();
    assert_eq!((answer.source, answer.receipt.attempts), (Source::Static, 0));
    assert_eq!(bench.counters().rejected_disabled, 1);
}

#[test]
fn a_pushback_that_is_no_time_means_never() {
    assert_eq!(Pushback::parse(b" 250 "), Pushback::After(Duration::from_millis(250)));
    for value in [&b"-1"[..], b"", b"soon", b"\xff", b"1.5"] {
        assert_eq!(Pushback::parse(value), Pushback::Never);
    }
}
