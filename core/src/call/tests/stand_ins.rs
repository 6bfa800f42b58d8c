//! Answers that stand in for a live one.

use super::*;

#[tokio::test(start_paused = true)]
async fn live_answers_are_cached_and_stand_in_with_their_age() {
    let cached = FallbackStep::Cached(CachedFallback {
        ttl: 10 * SECOND,
        stale_if_error: 20 * SECOND,
        ..CachedFallback::default()
    });
    let bench = Bench::new(with_chain(Level::Basic, vec![cached, static_step("static")]));
    let keyed = |key: &'static str| CallOptions { cache_key: Some(key.as_bytes()), ..idempotent() };
    bench.run(&mut Script::new([Reply::Answer("live")]), keyed("7")).await.unwrap();

    tokio::time::advance(29 * SECOND).await;
    let answer = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("7")).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("live", Source::Cached { age: 29 * SECOND }));
    let other = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("8")).await.unwrap();
    assert_eq!(other.source, Source::Static);

    tokio::time::advance(2 * SECOND).await;
    let answer = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), keyed("7")).await.unwrap();
    assert_eq!(answer.source, Source::Static, "past ttl and stale_if_error; and no fallback was ever cached");
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/691>,
/// <https://github.com/resilience4j/resilience4j/issues/575>.
#[tokio::test(start_paused = true)]
async fn t38_steps_that_cannot_answer_hand_over_to_the_next() {
    let degraded = DegradedFallback { features: vec!["basic_functionality".to_owned()], reason: String::new() };
    let chain = vec![alternative_step(), FallbackStep::Degraded(degraded.clone())];
    let bench = Bench::new(with_chain(Level::Enhanced, chain));
    let once = CallOptions { is_idempotent: false, ..idempotent() };

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.alternative = Some("backup");
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Alternative);

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.degraded = Some("less");
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Degraded(degraded));

    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.local = Some("mine");
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Local);

    let failure = bench.run(&mut Script::new([Reply::Code(UNAVAILABLE)]), once).await.unwrap_err();
    assert_eq!(failure.receipt.why.unwrap().trigger, FallbackTrigger::Failure);
    let counters = bench.counters();
    assert_eq!((counters.served_alternative, counters.served_degraded, counters.failed), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_alternative_gets_the_time_kept_back_for_it() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![alternative_step()]));
    let mut script = Script::new([Reply::Hang]);
    script.alternative = Some("backup");
    let before = bench.runtime.now();
    let once = CallOptions { is_idempotent: false, ..idempotent() };
    assert_eq!(bench.run(&mut script, once).await.unwrap().source, Source::Alternative);
    assert_eq!(bench.runtime.now().saturating_since(before), Duration::from_millis(4_500));
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/691>,
/// <https://github.com/resilience4j/resilience4j/issues/575>.
#[tokio::test(start_paused = true)]
async fn t38_an_alternative_has_no_retry_and_no_fallback_of_its_own() {
    let bench = Bench::new(with_chain(Level::Full, vec![static_step("static")]));
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.local = Some("mine");
    let failure = bench.run(&mut script, CallOptions { is_alternative: true, ..idempotent() }).await.unwrap_err();
    assert_eq!(failure.receipt.attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_fallback_takes_no_place_of_the_policys() {
    let fallback = FallbackPolicy { max_concurrent: 1, ..FallbackPolicy::default() };
    for level in Level::ALL {
        let bench = Bench::new(PolicySpec { fallback: fallback.clone(), ..at(level) });
        let call = async || {
            let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
            script.local = Some("mine");
            script.delay = SECOND;
            let once = CallOptions { is_idempotent: false, ..idempotent() };
            u32::from(bench.run(&mut script, once).await.is_ok())
        };
        let (first, second, third) = tokio::join!(call(), call(), call());
        assert_eq!(first + second + third, 3, "{level}");
    }
}

fn degraded_step() -> FallbackStep {
    FallbackStep::Degraded(DegradedFallback::default())
}

#[tokio::test(start_paused = true)]
async fn a_degraded_step_that_finds_no_place_is_told() {
    let mut spec = with_chain(Level::Basic, vec![degraded_step()]);
    spec.fallback.max_concurrent = 1;
    let bench = Bench::new(spec);
    let call = async || {
        let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
        (script.degraded, script.delay) = (Some("less"), SECOND);
        let result = bench.run(&mut script, idempotent()).await;
        (result.map(|answer| answer.receipt), script.passed_over)
    };
    let ((first, of_first), (second, of_second)) = tokio::join!(call(), call());
    assert_eq!((first.unwrap().passed_over, of_first), (None, vec![]));
    assert_eq!(second.unwrap_err().receipt.passed_over, Some(PassedOver::TooMany));
    assert_eq!(of_second, [("degraded", PassedOver::TooMany)]);
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_to_stand_in_is_told() {
    let bench = Bench::new(with_chain(Level::Enhanced, vec![alternative_step(), degraded_step()]));
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    (script.alternative, script.degraded, script.local) = (Some("backup"), Some("less"), Some("mine"));
    script.delay = 3600 * SECOND;
    let failure = bench.run(&mut script, CallOptions { is_idempotent: false, ..idempotent() }).await.unwrap_err();
    assert_eq!(failure.receipt.passed_over, Some(PassedOver::TooLate));
    assert_eq!(script.passed_over, ["alternative", "degraded", "caller"].map(|step| (step, PassedOver::TooLate)));
}

#[tokio::test(start_paused = true)]
async fn a_cached_step_without_a_key_is_told_and_one_that_kept_nothing_is_not() {
    let bench = Bench::new(with_chain(Level::Basic, vec![FallbackStep::Cached(CachedFallback::default())]));
    for (cache_key, passed_over) in [(None, Some(PassedOver::NoKey)), (Some(&b"7"[..]), None)] {
        let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
        let failure = bench.run(&mut script, CallOptions { cache_key, ..idempotent() }).await.unwrap_err();
        assert_eq!(failure.receipt.passed_over, passed_over);
    }
}

#[tokio::test(start_paused = true)]
async fn the_chain_answers_for_its_triggers_only_and_the_caller_for_all() {
    let mut spec = with_chain(Level::Basic, vec![static_step("static")]);
    spec.fallback.on = vec![FallbackTrigger::Timeout];
    let bench = Bench::new(spec);
    let mut script = Script::new([Reply::Code(UNAVAILABLE)]);
    script.local = Some("mine");
    assert_eq!(bench.run(&mut script, idempotent()).await.unwrap().source, Source::Local);
    assert_eq!(bench.call([Reply::Hang]).await.unwrap().source, Source::Static);
}

/// Seen in <https://github.com/resilience4j/resilience4j/issues/691>,
/// <https://github.com/resilience4j/resilience4j/issues/575>.
#[tokio::test(start_paused = true)]
async fn t38_a_chain_that_is_disabled_keeps_nothing_and_answers_nothing() {
    let cached = FallbackStep::Cached(CachedFallback::default());
    let mut spec = with_chain(Level::Full, vec![cached, static_step("static")]);
    spec.fallback.enabled = false;
    let bench = Bench::new(spec);
    bench.call([Reply::Answer("live")]).await.unwrap();
    assert!(bench.isolation.in_force().scope("list").cache.is_empty());
    assert!(bench.call([Reply::Code(UNAVAILABLE)]).await.is_err());
}
