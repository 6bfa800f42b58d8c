//! The fallback chain of a policy, and the caller's own.

use super::*;

pub(super) fn with_chain(level: Level, chain: Vec<FallbackStep>) -> PolicySpec {
    PolicySpec { fallback: FallbackPolicy { chain, ..FallbackPolicy::default() }, ..spec(level) }
}

pub(super) fn fixed(json: &'static str) -> FallbackStep {
    FallbackStep::Static(StaticFallback {
        payload: bytes::Bytes::from_static(json.as_bytes()),
        content_type: "application/json".to_owned(),
    })
}

pub(super) fn degraded(feature: &str) -> FallbackStep {
    FallbackStep::Degraded(DegradedFallback { features: vec![feature.to_owned()], reason: "busy".to_owned() })
}

pub(super) fn alternative(service: &str) -> FallbackStep {
    FallbackStep::Alternative(AlternativeFallback {
        service: crate::Name::new(service).unwrap(),
        method: String::new(),
        timeout: SECOND / 2,
    })
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_fallback_answers_at_every_level() {
    for level in Level::ALL {
        let service = service(spec(level));
        let call = service.execute("list", || async { Err(Boom(1)) }).fallback(|why| async move {
            assert_eq!(why.trigger, cofferdam_core::policy::FallbackTrigger::Failure);
            Ok(vec![0])
        });
        let answer = call.answer().await.unwrap();
        assert_eq!((answer.value, answer.source), (vec![0], Source::Local), "{level}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_callers_own_fallback_has_the_last_word() {
    let service = service(spec(Level::Basic));
    let call = service.execute("list", || async { Err::<(), _>(Boom(1)) });
    assert_eq!(call.fallback(|_| async { Err(Boom(2)) }).await, Err(Error::Inner(Boom(2))));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_asks_the_fallback_when_to_come_again() {
    let service = service(spec(Level::Enhanced));
    for _ in 0..3 {
        let _ = fails(&service).await;
    }
    let call = service.execute("list", || async { Err(Boom(1)) });
    let answered = call.fallback(|why| async move { Ok(why.retry_after) }).await;
    assert_eq!(answered.unwrap().unwrap().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn static_answers_need_a_codec_and_bytes_that_mean_something() {
    let numbers = |json| {
        let service = service(with_chain(Level::Basic, vec![fixed(json)]));
        async move {
            assert_eq!(fails(&service).await, Err(Error::Inner(Boom(1))));
            let call = service.execute("list", || async { Err::<Vec<u32>, _>(Boom(1)) });
            call.codec(Json).answer().await.map(|answer| (answer.value, answer.source))
        }
    };
    assert_eq!(numbers("[1,2]").await, Ok((vec![1, 2], Source::Static)));
    assert_eq!(numbers("not json").await.unwrap_err().error, Error::Inner(Boom(1)));
}

#[tokio::test(start_paused = true)]
async fn cached_answers_belong_to_their_key_and_age() {
    let cached = FallbackStep::Cached(CachedFallback {
        ttl: 5 * SECOND,
        stale_if_error: 5 * SECOND,
        ..CachedFallback::default()
    });
    let service = service(with_chain(Level::Basic, vec![cached]));
    let call = |key: Option<&'static str>, result: Result<u32, Boom>| {
        let service = service.clone();
        async move {
            let call = service.execute("get", || std::future::ready(result.clone())).codec(Json);
            let answered = if let Some(key) = key { call.cache_key(key).answer().await } else { call.answer().await };
            answered.map(|answer| (answer.value, answer.source)).map_err(Error::from)
        }
    };
    // What belongs to nobody is not kept.
    assert_eq!(call(None, Ok(1)).await, Ok((1, Source::Live)));
    assert_eq!(call(None, Err(Boom(1))).await, Err(Error::Inner(Boom(1))));

    assert_eq!(call(Some("a"), Ok(2)).await, Ok((2, Source::Live)));
    advance(3 * SECOND).await;
    assert_eq!(call(Some("a"), Err(Boom(1))).await, Ok((2, Source::Cached { age: 3 * SECOND })));
    assert_eq!(call(Some("b"), Err(Boom(1))).await, Err(Error::Inner(Boom(1))));
    advance(8 * SECOND).await;
    assert_eq!(call(Some("a"), Err(Boom(1))).await, Err(Error::Inner(Boom(1))));

    // A call that says not what its answer belongs to is not given one that belongs to everybody.
    assert_eq!(call(Some(""), Ok(3)).await, Ok((3, Source::Live)));
    assert_eq!(call(None, Err(Boom(1))).await, Err(Error::Inner(Boom(1))));
    assert!(matches!(call(Some(""), Err(Boom(1))).await, Ok((3, Source::Cached { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_policy_picks_the_fields_that_an_answer_belongs_to() {
    let key_fields = vec!["user".to_owned()];
    let cached = FallbackStep::Cached(CachedFallback { key_fields, ..CachedFallback::default() });
    let service = service(with_chain(Level::Basic, vec![cached]));
    let call = |user: &'static str, trace: &'static str, result: Result<u32, Boom>| {
        let service = service.clone();
        async move {
            let call = service.execute("get", || std::future::ready(result.clone())).codec(Json).cache_key("ignored");
            let fields = [("trace", trace.as_bytes()), ("user", user.as_bytes())];
            call.cache_fields(&fields).answer().await.map(|answer| answer.value).map_err(Error::from)
        }
    };
    assert_eq!(call("ada", "1", Ok(7)).await, Ok(7));
    assert_eq!(call("ada", "2", Err(Boom(1))).await, Ok(7));
    assert_eq!(call("bob", "3", Err(Boom(1))).await, Err(Error::Inner(Boom(1))));
}

#[tokio::test(start_paused = true)]
async fn degraded_answers_are_the_callers_to_make() {
    let service = service(with_chain(Level::Basic, vec![degraded("search"), fixed("\"fixed\"")]));
    let call = |is_able: bool| {
        let call = service.execute("list", || async { Err::<String, _>(Boom(1)) }).codec(Json);
        call.degraded(move |step, _| async move {
            if is_able { Ok(step.features.concat() + &step.reason) } else { Err(Boom(3)) }
        })
        .answer()
    };
    let answer = call(true).await.unwrap();
    assert_eq!(answer.value, "searchbusy");
    assert!(matches!(answer.source, Source::Degraded(step) if step.features == ["search"]));
    assert_eq!(call(false).await.unwrap().source, Source::Static);
}

#[tokio::test(start_paused = true)]
async fn an_alternative_goes_through_its_own_isolation() {
    let client = client(with_chain(Level::Enhanced, vec![alternative("replica")]));
    let (service, replica) = (client.service("orders-db"), client.service("replica"));
    let call = |is_up: bool| {
        let call = service.execute("list", || async { Err::<String, _>(Boom(1)) });
        call.alternative(move |target| async move {
            assert_eq!(target.remaining, Some(SECOND / 2));
            if is_up { Ok(format!("{}/{}", target.service, target.method)) } else { Err(Boom(2)) }
        })
        .answer()
    };
    let answer = call(true).await.unwrap();
    assert_eq!((answer.value.as_str(), answer.source), ("replica/list", Source::Alternative));
    assert_eq!((replica.counters().calls, replica.counters().attempt_successes), (1, 1));

    // The breaker of orders-db opens, that of the replica stays closed until it fails itself.
    for _ in 0..2 {
        call(true).await.unwrap();
    }
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
    assert_eq!(replica.breaker_state(), Some(BreakerState::Closed));
    for _ in 0..3 {
        assert!(matches!(call(false).await.unwrap_err().error, Error::Open { .. }));
    }
    assert_eq!(replica.breaker_state(), Some(BreakerState::Open));
    assert!(call(true).await.is_err(), "an open alternative must not be asked");
    assert_eq!(replica.counters().rejected_open, 1);
}

#[tokio::test(start_paused = true)]
async fn an_alternative_of_a_basic_policy_is_not_asked() {
    let service = service(with_chain(Level::Basic, vec![alternative("replica")]));
    let call = service.execute("list", || async { Err::<(), _>(Boom(1)) });
    let answered = call.alternative(|_| async { panic!("asked") }).await;
    assert_eq!(answered, Err(Error::Inner(Boom(1))));
}

#[tokio::test(start_paused = true)]
async fn the_chain_is_asked_in_order_and_the_callers_own_last() {
    let service = service(with_chain(Level::Enhanced, vec![alternative("replica"), degraded("a"), fixed("[9]")]));
    let asked = std::sync::Mutex::new(Vec::new());
    let call = service.execute("list", || async { Err::<Vec<u32>, _>(Boom(1)) });
    let call = call
        .alternative(|_| async {
            asked.lock().unwrap().push("alternative");
            Err(Boom(2))
        })
        .degraded(|_, _| async {
            asked.lock().unwrap().push("degraded");
            Err(Boom(3))
        })
        .fallback(|_| async {
            asked.lock().unwrap().push("own");
            Ok(vec![7])
        });
    assert_eq!(call.await, Ok(vec![7]));
    assert_eq!(*asked.lock().unwrap(), ["alternative", "degraded", "own"]);
}

/// A step that cannot answer hands over; an answer that `classify` calls a failure is none.
#[tokio::test(start_paused = true)]
async fn a_bad_answer_of_the_alternative_is_no_answer() {
    let chain = vec![alternative("replica"), fixed("200")];
    let service = service(with_chain(Level::Enhanced, chain));
    let is_bad = |result: Result<&u32, &Boom>| match result {
        Ok(status) if *status < 500 => Outcome::Success,
        _ => Outcome::Failure,
    };
    let call = service.execute("list", || async { Ok(503) }).classify(is_bad).codec(Json);
    let answer = call.alternative(|_| async { Ok(502) }).answer().await.unwrap();
    assert_eq!((answer.value, answer.source), (200, Source::Static));
    assert_eq!(service.sibling("replica").counters().attempt_failures, 1);
}
