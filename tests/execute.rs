//! ExecuteWithIsolation, through a real manager to a real service: what it relays, what it isolates, what it refuses.

mod failures;
mod fallbacks;
mod fence;
mod hedges;
mod overrides;

use bytes::Bytes;
use cofferdam_proto::v1::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, BreakerState, BulkheadPolicy, BulkheadPool, ExecuteWithIsolationRequest,
    ExecuteWithIsolationResponse, IsolatedService, IsolationLevel, IsolationPolicy, RegisterServiceRequest,
    RetryPolicy, ServedBy, Service, TimeoutPolicy,
};
use cofferdam_tests::wire::{fallback, millis, registration_at, static_json};
use cofferdam_tests::{Behaviour, Client, Gate, Manager, Refusal, Store, Upstream, eventually, wire};
use futures_util::future::{join, join_all};
use std::cell::Cell;
use std::collections::HashSet;
use std::time::Duration;
use tonic::Code;

/// Longer than any test: what is open stays open.
const HOUR: Duration = Duration::from_secs(3600);

struct Bench {
    upstream: Upstream,
    manager: Manager,
    client: Client,
}

impl Bench {
    /// A manager, and a service `payments` that answers with what it was asked, isolated so.
    async fn new(level: IsolationLevel, policy: IsolationPolicy) -> Self {
        let upstream = Upstream::start(Behaviour::echo()).await;
        let manager = Manager::start(Store::Memory).await;
        let client = manager.client();
        let request = registration_at("payments", level, &upstream.address());
        client.register(RegisterServiceRequest { policy: Some(policy), ..request }).await.unwrap();
        Self { upstream, manager, client }
    }

    async fn fall_back_on(&self, chain: impl IntoIterator<Item = wire::Strategy>) -> IsolatedService {
        self.client.update_fallback("payments", fallback(chain)).await.unwrap()
    }

    /// What so many calls at once were answered: the service answers none before it has every call in hand that was not
    /// turned away.
    async fn crowd(&self, size: u64) -> Vec<Result<ExecuteWithIsolationResponse, Refusal>> {
        let gate = Gate::shut();
        self.upstream.behave(Behaviour::echo().behind(&gate));
        let answered = Cell::new(0);
        let calls = (0..size).map(|_| async {
            let answer = self.client.execute("payments", "charge", "x").await;
            answered.set(answered.get() + 1);
            answer
        });
        let opens = async {
            eventually("every call to be in hand or turned away", async || {
                let seen = (answered.get(), self.upstream.under_way());
                if seen.0 + seen.1 == size { Ok(()) } else { Err(seen) }
            })
            .await;
            gate.open();
        };
        join(join_all(calls), opens).await.0
    }
}

/// A policy under which a call takes as long as it takes.
fn unhurried() -> IsolationPolicy {
    let timeout = TimeoutPolicy { call_timeout: Some(wire::duration(HOUR)), ..TimeoutPolicy::default() };
    IsolationPolicy { timeout: Some(timeout), ..IsolationPolicy::default() }
}

/// One attempt a call, and a breaker that stays open from the third failure in a row on.
fn three_strikes() -> IsolationPolicy {
    IsolationPolicy { retry: Some(attempts(1)), ..wire::breaker(3, HOUR) }
}

/// So many attempts, with next to no pause in between.
fn attempts(max_attempts: u32) -> RetryPolicy {
    RetryPolicy {
        max_attempts: Some(max_attempts),
        initial_backoff: Some(millis(1)),
        max_backoff: Some(millis(2)),
        ..RetryPolicy::default()
    }
}

fn request(method: &str, payload: impl Into<Bytes>) -> ExecuteWithIsolationRequest {
    ExecuteWithIsolationRequest {
        service: "payments".into(),
        method: method.into(),
        payload: payload.into(),
        ..ExecuteWithIsolationRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_any_method_and_any_bytes() {
    let bench = Bench::new(IsolationLevel::Full, IsolationPolicy::default()).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(200 * 1024).collect();
    for (method, path) in [
        ("/shop.v1.Payments/Charge", "/shop.v1.Payments/Charge"),
        ("shop.v1.Payments/Refund", "/shop.v1.Payments/Refund"),
        ("charge", "/payments/charge"),
    ] {
        for payload in [&b""[..], b"\0", &bytes] {
            let answer = bench.client.execute("payments", method, payload.to_vec()).await.unwrap();
            assert_eq!((answer.served_by(), answer.attempts), (ServedBy::Live, 1), "{method}");
            assert_eq!(answer.payload, payload, "{method}");
            assert_eq!(answer.content_type, "application/grpc+proto");
            assert_eq!(answer.breaker_state(), BreakerState::Closed);
            assert!(answer.fallback_reason.is_empty() && answer.revision.is_some());
        }
        assert_eq!(bench.upstream.calls_of(path), 3, "{method}");
    }
    for method in ["", "/", "//", "a/b/c", "/a/", "a b", "a\u{e9}/b", &"m".repeat(513)] {
        let refusal = bench.client.execute("payments", method, "").await.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.fields[..]),
            (Code::InvalidArgument, &["method".to_owned()][..]),
            "{method:?}"
        );
    }
    assert_eq!(bench.upstream.calls(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_own_error_comes_back_as_its_own() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    for code in [Code::Unimplemented, Code::NotFound, Code::PermissionDenied, Code::InvalidArgument, Code::Aborted] {
        bench.upstream.behave(Behaviour::fail(code));
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (code, "UPSTREAM"), "{refusal:?}");
    }
    assert_eq!(bench.upstream.calls(), 5, "none of these opens the breaker or is worth a retry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_keeps_calls_from_the_service() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..3 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "UPSTREAM"), "{refusal:?}");
    }
    for _ in 0..10 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "CIRCUIT_OPEN"), "{refusal:?}");
        assert!(refusal.number("retry_after_ms") > 3_000_000, "{refusal:?}");
    }
    bench.fall_back_on([static_json("{}")]).await;
    let answer = bench.client.execute("payments", "charge", "").await.unwrap();
    assert_eq!((answer.served_by(), answer.attempts), (ServedBy::Static, 0));
    assert_eq!(answer.breaker_state(), BreakerState::Open);
    assert_eq!(bench.upstream.calls(), 3, "the service has its rest");

    // Levels are masks: without the breaker the service is called, and the breaker has forgotten nothing.
    bench.upstream.behave(Behaviour::echo());
    bench.client.set_level("payments", IsolationLevel::Basic).await.unwrap();
    let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
    assert_eq!((answer.served_by(), answer.breaker_state()), (ServedBy::Live, BreakerState::Unspecified));
    bench.client.set_level("payments", IsolationLevel::Enhanced).await.unwrap();
    let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
    assert_eq!((answer.served_by(), answer.breaker_state()), (ServedBy::Static, BreakerState::Open));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_closes_when_the_service_works_again() {
    let policy = IsolationPolicy { retry: Some(attempts(1)), ..wire::breaker(3, Duration::from_millis(50)) };
    let bench = Bench::new(IsolationLevel::Enhanced, policy).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Internal));
    for _ in 0..3 {
        assert_eq!(bench.client.execute("payments", "charge", "").await.unwrap().served_by(), ServedBy::Static);
    }
    bench.upstream.behave(Behaviour::echo());
    eventually("a closed breaker", async || {
        let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
        match (answer.served_by(), answer.breaker_state()) {
            (ServedBy::Live, BreakerState::Closed) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bulkhead_turns_calls_away() {
    let bulkhead = BulkheadPolicy { max_concurrent: Some(2), ..BulkheadPolicy::default() };
    let policy = IsolationPolicy { bulkhead: Some(bulkhead), ..unhurried() };
    let bench = Bench::new(IsolationLevel::Full, policy).await;
    let answers = bench.crowd(10).await;
    assert_eq!(bench.upstream.peak(), 2);
    let (live, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((live.len() as u64, live.len() + refused.len()), (bench.upstream.calls(), 10));
    for refusal in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::ResourceExhausted, "BULKHEAD_FULL"), "{refusal:?}");
    }

    // At enhanced the bulkhead is not in force.
    bench.client.set_level("payments", IsolationLevel::Enhanced).await.unwrap();
    for answer in bench.crowd(10).await {
        assert_eq!(answer.unwrap().served_by(), ServedBy::Live);
    }
    assert_eq!(bench.upstream.peak(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_pool_is_named_that_took_the_method() {
    let pool = BulkheadPool {
        name: "writes".to_owned(),
        max_concurrent: Some(1),
        method_globs: vec!["*charge*".to_owned()],
        ..BulkheadPool::default()
    };
    let bulkhead = BulkheadPolicy { pools: vec![pool], ..BulkheadPolicy::default() };
    let policy = IsolationPolicy { bulkhead: Some(bulkhead), ..unhurried() };
    let bench = Bench::new(IsolationLevel::Full, policy).await;
    let refused: Vec<_> = bench.crowd(5).await.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 4);
    for refusal in refused {
        assert_eq!(refusal.metadata.get("pool").map(String::as_str), Some("writes"), "{refusal:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adaptive_limit_turns_calls_away_and_says_so() {
    let kind = AdaptiveLimitKind::Gradient2.into();
    let limit = AdaptiveLimitPolicy { kind, initial: Some(2), ..AdaptiveLimitPolicy::default() };
    let policy = IsolationPolicy { adaptive_limit: Some(limit), ..unhurried() };
    let bench = Bench::new(IsolationLevel::Full, policy).await;
    let refused: Vec<_> = bench.crowd(9).await.into_iter().filter_map(Result::err).collect();
    assert_eq!((bench.upstream.peak(), refused.len()), (2, 7));
    for refusal in &refused {
        let reason = (refusal.code, &refusal.reason[..]);
        assert_eq!(reason, (Code::ResourceExhausted, "ADAPTIVE_LIMIT_REACHED"), "{refusal:?}");
    }
    let counters = bench.client.info("payments").await.unwrap().stats.unwrap().counters.unwrap();
    assert_eq!((counters.rejected_adaptive_limit, counters.rejected_bulkhead), (7, 0));

    bench.fall_back_on([static_json("{}")]).await;
    let reasons: HashSet<String> =
        bench.crowd(9).await.into_iter().map(|answer| answer.unwrap().fallback_reason).collect();
    assert_eq!(reasons, HashSet::from([String::new(), "the adaptive limit is reached".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_none_calls_directly() {
    let bench = Bench::new(IsolationLevel::None, three_strikes()).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..10 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "UPSTREAM"), "{refusal:?}");
    }
    assert_eq!(bench.upstream.calls(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a8_a_disabled_service_is_not_called() {
    let bench = Bench::new(IsolationLevel::Enhanced, IsolationPolicy::default()).await;
    let enabled = registration_at("payments", IsolationLevel::Enhanced, &bench.upstream.address());
    let service = Service { enabled: Some(false), ..enabled.service.clone().unwrap() };
    bench.client.register(RegisterServiceRequest { service: Some(service), ..enabled.clone() }).await.unwrap();
    let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::Unavailable, "SERVICE_DISABLED"), "{refusal:?}");
    assert_eq!(bench.upstream.calls(), 0);
    bench.client.register(enabled).await.unwrap();
    assert_eq!(bench.client.execute("payments", "charge", "").await.unwrap().served_by(), ServedBy::Live);
}
