//! The cached fallback: what is kept, for whom, and when the service is not asked at all.

use super::*;
use crate::policy::MethodOverride;
use futures_util::FutureExt as _;

const KEY: CallOptions<'static> = CallOptions {
    method: "list",
    is_idempotent: false,
    pool: None,
    timeout: None,
    cache_key: Some(b"7"),
    cache_fields: &[],
    is_alternative: false,
};

/// Fresh for 10 s, and good for another 20 s.
fn cached_step() -> CachedFallback {
    CachedFallback { ttl: 10 * SECOND, stale_if_error: 20 * SECOND, ..CachedFallback::default() }
}

fn cached(level: Level) -> PolicySpec {
    with_chain(level, vec![FallbackStep::Cached(cached_step())])
}

fn keyed_by(fields: &[&str]) -> PolicySpec {
    let key_fields = fields.iter().map(|field| (*field).to_owned()).collect();
    with_chain(Level::Basic, vec![FallbackStep::Cached(CachedFallback { key_fields, ..cached_step() })])
}

async fn ask(bench: &Bench, options: CallOptions<'_>, reply: Reply) -> CallResult {
    bench.run(&mut Script::new([reply]), options).await
}

/// Who answers while the service is down.
async fn stand_in(bench: &Bench, options: CallOptions<'_>) -> Option<Source> {
    ask(bench, options, Reply::Code(UNAVAILABLE)).await.ok().map(|answer| answer.source)
}

/// A fallback's answer, kept as a live one, would outlive the service's own answers and be taken for one of them.
/// <https://github.com/bentleypark/aiwatch/issues/378>
#[tokio::test(start_paused = true)]
async fn t39_no_fallback_answer_is_ever_kept() {
    let cached = || FallbackStep::Cached(cached_step());
    let degraded = FallbackStep::Degraded(DegradedFallback::default());
    let chains = [
        vec![cached(), static_step("static")],
        vec![cached(), alternative_step()],
        vec![cached(), degraded],
        vec![cached()],
    ];
    for chain in chains {
        let bench = Bench::new(with_chain(Level::Enhanced, chain));
        let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
        (script.alternative, script.degraded, script.local) = (Some("backup"), Some("less"), Some("mine"));
        let answer = bench.run(&mut script, KEY).await.unwrap();
        assert_ne!(answer.source, Source::Live);
        assert!(bench.isolation.in_force().scope("list").cache.is_empty(), "{:?}", answer.source);
    }
}

/// <https://github.com/bentleypark/aiwatch/issues/378>
#[tokio::test(start_paused = true)]
async fn t39_neither_an_error_nor_an_error_page_is_kept() {
    for reply in [Reply::Code(NOT_FOUND), Reply::Code(UNAVAILABLE), Reply::Code(8), Reply::Answer("<html>500")] {
        let bench = Bench::new(cached(Level::Basic));
        let _ = ask(&bench, KEY, reply).await;
        assert!(bench.isolation.in_force().scope("list").cache.is_empty());
        ask(&bench, KEY, Reply::Answer("live")).await.unwrap();
        let _ = ask(&bench, KEY, reply).await;
        let kept = ask(&bench, KEY, Reply::Code(UNAVAILABLE)).await;
        let is_taken_back = matches!(reply, Reply::Code(NOT_FOUND));
        assert_eq!(kept.ok().map(|answer| answer.value).as_deref(), (!is_taken_back).then_some("live"));
    }
}

/// A NOT_FOUND is the caller's to see, and what it says outlasts it.
/// <https://github.com/nestjs-redisx/nestjs-redisx/issues/11>
#[tokio::test(start_paused = true)]
async fn t39_what_the_service_no_longer_has_is_not_served_stale() {
    let bench = Bench::new(cached(Level::Basic));
    ask(&bench, KEY, Reply::Answer("live")).await.unwrap();
    let failure = ask(&bench, KEY, Reply::Code(NOT_FOUND)).await.unwrap_err();
    assert_eq!((failure.receipt.why, stand_in(&bench, KEY).await), (None, None));
}

/// <https://github.com/getnora-io/nora/issues/532>
#[tokio::test(start_paused = true)]
async fn t40_e5_an_expired_answer_stands_in_with_its_age_and_nothing_past_its_time_does() {
    let bench = Bench::new(cached(Level::Basic));
    ask(&bench, KEY, Reply::Answer("live")).await.unwrap();
    for (wait, age) in [(9, Some(9)), (2, Some(11)), (18, Some(29)), (1, None)] {
        tokio::time::advance(wait * SECOND).await;
        let expected = age.map(|age| Source::Cached { age: age * SECOND });
        assert_eq!(stand_in(&bench, KEY).await, expected, "after {wait} s more");
    }
}

/// Every refresher of a service that is down costs it a request, and its caller the wait.
/// <https://github.com/codeinthehole/django-cacheback/issues/74>
#[tokio::test(start_paused = true)]
async fn t40_of_the_calls_for_a_stale_answer_of_a_failing_service_one_asks_it() {
    let bench = Bench::new(cached(Level::Basic));
    ask(&bench, KEY, Reply::Answer("old")).await.unwrap();
    tokio::time::advance(11 * SECOND).await;
    assert!(matches!(stand_in(&bench, KEY).await, Some(Source::Cached { .. })));

    let mut script = Script::new([Reply::AnswerAfter(SECOND, "new")]);
    let mut refresher = Box::pin(bench.run(&mut script, KEY));
    assert!(refresher.as_mut().now_or_never().is_none());
    for _ in 0..10 {
        let answer = ask(&bench, KEY, Reply::Answer("not asked")).await.unwrap();
        assert_eq!((answer.value.as_str(), answer.source), ("old", Source::Cached { age: 11 * SECOND }));
        let why =
            Why { trigger: FallbackTrigger::Failure, is_adaptive_limit: false, retry_after: None, is_forced: false };
        assert_eq!((answer.receipt.attempts, answer.receipt.why), (0, Some(why)));
    }
    let other = CallOptions { cache_key: Some(b"8"), ..KEY };
    assert_eq!(ask(&bench, other, Reply::Answer("other")).await.unwrap().source, Source::Live);
    assert_eq!(refresher.await.unwrap().value, "new");
    for _ in 0..2 {
        assert_eq!(ask(&bench, KEY, Reply::Answer("live")).await.unwrap().source, Source::Live);
    }
    let counters = bench.counters();
    assert_eq!((counters.calls, counters.served_cached, counters.attempts), (16, 11, 6));
}

/// Seen in <https://github.com/codeinthehole/django-cacheback/issues/74>.
#[tokio::test(start_paused = true)]
async fn t40_a_refresher_that_fails_or_is_cancelled_leaves_the_turn_to_the_next() {
    let bench = Bench::new(cached(Level::Basic));
    ask(&bench, KEY, Reply::Answer("old")).await.unwrap();
    tokio::time::advance(11 * SECOND).await;
    for _ in 0..3 {
        stand_in(&bench, KEY).await.unwrap();
        assert!(tokio::time::timeout(SECOND, ask(&bench, KEY, Reply::Hang)).await.is_err());
    }
    assert_eq!(ask(&bench, KEY, Reply::Answer("new")).await.unwrap().source, Source::Live);
}

#[tokio::test(start_paused = true)]
async fn the_service_is_asked_first_by_every_call_unless_it_has_failed_for_a_stale_answer() {
    let live_while_one_asks = async |bench: &Bench| {
        let mut script = Script::new([Reply::AnswerAfter(SECOND, "slow")]);
        let mut first = Box::pin(bench.run(&mut script, KEY));
        assert!(first.as_mut().now_or_never().is_none());
        ask(bench, KEY, Reply::Answer("live")).await.unwrap().source == Source::Live
    };
    let stored = async |spec| {
        let bench = Bench::new(spec);
        ask(&bench, KEY, Reply::Answer("old")).await.unwrap();
        bench
    };
    let fresh = stored(cached(Level::Basic)).await;
    stand_in(&fresh, KEY).await.unwrap();
    assert!(live_while_one_asks(&fresh).await, "it is fresh");

    let well = stored(cached(Level::Basic)).await;
    tokio::time::advance(11 * SECOND).await;
    assert!(live_while_one_asks(&well).await, "the service has not failed");

    let mut second = cached(Level::Basic);
    second.fallback.chain.insert(0, FallbackStep::Degraded(DegradedFallback::default()));
    let second = stored(second).await;
    tokio::time::advance(11 * SECOND).await;
    stand_in(&second, KEY).await.unwrap();
    assert!(live_while_one_asks(&second).await, "another step is asked before it");

    let narrowed = stored(cached(Level::Basic)).await;
    tokio::time::advance(11 * SECOND).await;
    stand_in(&narrowed, KEY).await.unwrap();
    let mut spec = cached(Level::Basic);
    spec.fallback.on = vec![FallbackTrigger::Timeout];
    narrowed.apply(spec);
    assert!(live_while_one_asks(&narrowed).await, "the chain no longer answers for failures");

    let impatient = stored(cached(Level::Basic)).await;
    tokio::time::advance(11 * SECOND).await;
    let hasty = CallOptions { timeout: Some(SECOND / 1000), ..KEY };
    assert!(matches!(stand_in(&impatient, hasty).await, Some(Source::Cached { .. })));
    assert!(live_while_one_asks(&impatient).await, "it was the caller's own haste");
}

#[tokio::test(start_paused = true)]
async fn the_policy_picks_the_fields_that_make_up_the_key() {
    let bench = Bench::new(keyed_by(&["user", "region"]));
    let with = |fields| CallOptions { cache_fields: fields, ..KEY };
    let ada: CallOptions<'_> = with(&[("trace", b"1"), ("region", b"eu"), ("user", b"ada")]);
    ask(&bench, ada, Reply::Answer("ada's")).await.unwrap();
    let again: CallOptions<'_> = with(&[("user", b"ada"), ("region", b"eu"), ("trace", b"2"), ("user", b"bob")]);
    assert!(matches!(stand_in(&bench, again).await, Some(Source::Cached { .. })));
    let others: [CallOptions<'_>; 5] = [
        with(&[("user", b"bob"), ("region", b"eu")]),
        with(&[("user", b"eu"), ("region", b"ada")]),
        with(&[("user", b"ada")]),
        with(&[]),
        CallOptions { method: "get", ..ada },
    ];
    for other in others {
        assert_eq!(stand_in(&bench, other).await, None, "{other:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_a_call_that_lacks_a_field() {
    let bench = Bench::new(keyed_by(&["user"]));
    ask(&bench, KEY, Reply::Answer("live")).await.unwrap();
    assert!(bench.isolation.in_force().scope("list").cache.is_empty(), "the caller's own key does not count");
}

#[tokio::test(start_paused = true)]
async fn a_key_by_other_fields_finds_nothing_that_was_kept_before() {
    let bench = Bench::new(keyed_by(&["user"]));
    let options: CallOptions<'_> = CallOptions { cache_fields: &[("user", b"7"), ("id", b"7")], ..KEY };
    ask(&bench, options, Reply::Answer("by user")).await.unwrap();
    for spec in [keyed_by(&["id"]), keyed_by(&["user", "id"]), cached(Level::Basic)] {
        bench.apply(spec);
        assert_eq!(stand_in(&bench, options).await, None);
    }
    bench.apply(keyed_by(&["user"]));
    assert!(stand_in(&bench, options).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_override_with_a_fallback_of_its_own_has_a_cache_of_its_own() {
    let narrow = CachedFallback { max_entries: 1, ..cached_step() };
    let fallback = with_chain(Level::Basic, vec![FallbackStep::Cached(narrow)]).fallback;
    let own = MethodOverride { glob: "get*".to_owned(), fallback: Some(fallback), ..MethodOverride::default() };
    let bench = Bench::new(PolicySpec { method_overrides: vec![own], ..cached(Level::Basic) });
    let get = CallOptions { method: "getUser", ..KEY };
    let calls = [KEY, get, CallOptions { cache_key: Some(b"8"), ..KEY }, CallOptions { cache_key: Some(b"8"), ..get }];
    for options in calls {
        ask(&bench, options, Reply::Answer("live")).await.unwrap();
    }
    let mut kept = Vec::new();
    for options in calls {
        kept.push(stand_in(&bench, options).await.is_some());
    }
    assert_eq!(kept, [true, false, true, true]);
}
