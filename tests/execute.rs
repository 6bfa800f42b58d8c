//! ExecuteWithIsolation, through a real manager to a real service: what it relays, what it isolates, what it refuses.

use bytes::Bytes;
use cofferdam_proto::v1::{
    BreakerState, BulkheadPolicy, ExecuteWithIsolationRequest, FallbackConfig, IsolatedService, IsolationLevel,
    IsolationPolicy, RegisterServiceRequest, RetryPolicy, ServedBy, Service,
};
use cofferdam_tests::wire::{alternative, cached, degraded, fallback, millis, registration_at, seconds, static_json};
use cofferdam_tests::{Behaviour, Client, Manager, Reply, Store, Upstream, eventually, wire};
use futures_util::future::join_all;
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
        client
            .register(RegisterServiceRequest {
                policy: Some(policy),
                ..request
            })
            .await
            .unwrap();
        Self {
            upstream,
            manager,
            client,
        }
    }

    async fn fall_back_on(&self, chain: impl IntoIterator<Item = wire::Strategy>) -> IsolatedService {
        self.client.update_fallback("payments", fallback(chain)).await.unwrap()
    }
}

/// One attempt a call, and a breaker that stays open from the third failure in a row on.
fn three_strikes() -> IsolationPolicy {
    IsolationPolicy {
        retry: Some(attempts(1)),
        ..wire::breaker(3, HOUR)
    }
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
            let answer = bench
                .client
                .execute("payments", method, payload.to_vec())
                .await
                .unwrap();
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
    for code in [
        Code::Unimplemented,
        Code::NotFound,
        Code::PermissionDenied,
        Code::InvalidArgument,
        Code::Aborted,
    ] {
        bench.upstream.behave(Behaviour::fail(code));
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (code, "UPSTREAM"), "{refusal:?}");
    }
    assert_eq!(
        bench.upstream.calls(),
        5,
        "none of these opens the breaker or is worth a retry"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_breaker_keeps_calls_from_the_service() {
    let bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..3 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::Unavailable, "UPSTREAM"),
            "{refusal:?}"
        );
    }
    for _ in 0..10 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::Unavailable, "CIRCUIT_OPEN"),
            "{refusal:?}"
        );
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
    assert_eq!(
        (answer.served_by(), answer.breaker_state()),
        (ServedBy::Live, BreakerState::Unspecified)
    );
    bench
        .client
        .set_level("payments", IsolationLevel::Enhanced)
        .await
        .unwrap();
    let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
    assert_eq!(
        (answer.served_by(), answer.breaker_state()),
        (ServedBy::Static, BreakerState::Open)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_closes_when_the_service_works_again() {
    let policy = IsolationPolicy {
        retry: Some(attempts(1)),
        ..wire::breaker(3, Duration::from_millis(50))
    };
    let bench = Bench::new(IsolationLevel::Enhanced, policy).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Internal));
    for _ in 0..3 {
        assert_eq!(
            bench
                .client
                .execute("payments", "charge", "")
                .await
                .unwrap()
                .served_by(),
            ServedBy::Static
        );
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
async fn only_what_may_run_twice_is_tried_again() {
    let policy = IsolationPolicy {
        retry: Some(attempts(4)),
        ..wire::breaker(0, HOUR)
    };
    let mut bench = Bench::new(IsolationLevel::Enhanced, policy).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    let idempotent = |idempotent| ExecuteWithIsolationRequest {
        idempotent,
        ..request("charge", "")
    };
    let answer = bench.client.execute_with_isolation(idempotent(true)).await.unwrap();
    assert_eq!(
        (answer.served_by(), answer.attempts, bench.upstream.calls()),
        (ServedBy::Static, 4, 4)
    );
    let answer = bench.client.execute_with_isolation(idempotent(false)).await.unwrap();
    assert_eq!(
        (answer.served_by(), answer.attempts, bench.upstream.calls()),
        (ServedBy::Static, 1, 5)
    );

    bench.upstream.down().await;
    let answer = bench.client.execute_with_isolation(idempotent(false)).await.unwrap();
    assert_eq!(
        answer.served_by(),
        ServedBy::Static,
        "what never reached the service was safe to repeat"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_answer_is_not_waited_for() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let limit = FallbackConfig {
        timeout: Some(millis(200)),
        ..FallbackConfig::default()
    };
    bench.client.update_fallback("payments", limit).await.unwrap();
    bench.upstream.behave(Behaviour::at_once(Reply::Hang));
    let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::DeadlineExceeded, "TIMEOUT"),
        "{refusal:?}"
    );

    bench.fall_back_on([static_json("{}")]).await;
    let answer = bench.client.execute("payments", "charge", "").await.unwrap();
    assert_eq!(answer.served_by(), ServedBy::Static);

    let long = FallbackConfig {
        timeout: Some(seconds(60)),
        ..FallbackConfig::default()
    };
    bench.client.update_fallback("payments", long).await.unwrap();
    let own = ExecuteWithIsolationRequest {
        timeout: Some(millis(200)),
        ..request("charge", "")
    };
    let answer = bench.client.execute_with_isolation(own).await.unwrap();
    assert_eq!(
        answer.served_by(),
        ServedBy::Static,
        "the caller's own limit counts, too"
    );
    let bad = ExecuteWithIsolationRequest {
        timeout: Some(seconds(-1)),
        ..request("charge", "")
    };
    let refusal = bench.client.execute_with_isolation(bad).await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.fields[..]),
        (Code::InvalidArgument, &["timeout".to_owned()][..])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_a_failure_of_the_service_every_time() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([static_json("{}")]).await;
    for round in 0..20 {
        bench.upstream.behave(Behaviour::at_once(Reply::Drop));
        let calls = (0..4).map(|_| bench.client.execute("payments", "charge", ""));
        for answer in join_all(calls).await {
            assert_eq!(answer.unwrap().served_by(), ServedBy::Static, "round {round}");
        }
        bench.upstream.behave(Behaviour::echo());
        eventually("the service to be reached again", async || {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            if answer.served_by() == ServedBy::Live {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_down_is_a_failure_from_the_first_call_on() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([static_json("{}")]).await;
    for round in 0..20 {
        eventually("the service to be reached", async || {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            if answer.served_by() == ServedBy::Live {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
        bench.upstream.down().await;
        for _ in 0..3 {
            let answer = bench.client.execute("payments", "charge", "").await.unwrap();
            assert_eq!(answer.served_by(), ServedBy::Static, "round {round}");
        }
        bench.upstream.up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_bulkhead_turns_calls_away() {
    let bulkhead = BulkheadPolicy {
        max_concurrent: Some(2),
        ..BulkheadPolicy::default()
    };
    let policy = IsolationPolicy {
        bulkhead: Some(bulkhead),
        ..IsolationPolicy::default()
    };
    let bench = Bench::new(IsolationLevel::Full, policy).await;
    bench
        .upstream
        .behave(Behaviour::echo().after(Duration::from_millis(300)));
    let answers = join_all((0..10).map(|_| bench.client.execute("payments", "charge", "x"))).await;
    assert_eq!(bench.upstream.peak(), 2);
    let (live, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(
        (live.len() as u64, live.len() + refused.len()),
        (bench.upstream.calls(), 10)
    );
    for refusal in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::ResourceExhausted, "BULKHEAD_FULL"),
            "{refusal:?}"
        );
    }

    // At enhanced the bulkhead is not in force.
    bench
        .client
        .set_level("payments", IsolationLevel::Enhanced)
        .await
        .unwrap();
    for answer in join_all((0..10).map(|_| bench.client.execute("payments", "charge", "x"))).await {
        assert_eq!(answer.unwrap().served_by(), ServedBy::Live);
    }
    assert_eq!(bench.upstream.peak(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level_none_calls_directly() {
    let bench = Bench::new(IsolationLevel::None, three_strikes()).await;
    bench.fall_back_on([static_json("{}")]).await;
    bench.upstream.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..10 {
        let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::Unavailable, "UPSTREAM"),
            "{refusal:?}"
        );
    }
    assert_eq!(bench.upstream.calls(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_service_is_not_called() {
    let bench = Bench::new(IsolationLevel::Enhanced, IsolationPolicy::default()).await;
    let enabled = registration_at("payments", IsolationLevel::Enhanced, &bench.upstream.address());
    let service = Service {
        enabled: Some(false),
        ..enabled.service.clone().unwrap()
    };
    bench
        .client
        .register(RegisterServiceRequest {
            service: Some(service),
            ..enabled.clone()
        })
        .await
        .unwrap();
    let refusal = bench.client.execute("payments", "charge", "").await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::Unavailable, "SERVICE_DISABLED"),
        "{refusal:?}"
    );
    assert_eq!(bench.upstream.calls(), 0);
    bench.client.register(enabled).await.unwrap();
    assert_eq!(
        bench
            .client
            .execute("payments", "charge", "")
            .await
            .unwrap()
            .served_by(),
        ServedBy::Live
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_answer_is_that_of_the_same_request() {
    let mut bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    bench.fall_back_on([cached(), static_json("none kept")]).await;
    let keyed = |payload: &'static str, key: &str| ExecuteWithIsolationRequest {
        cache_key: key.into(),
        ..request("get", payload)
    };
    for ask in [
        request("get", "a"),
        request("get", "b"),
        request("list", "a"),
        keyed("c", "k"),
    ] {
        assert_eq!(
            bench.client.execute_with_isolation(ask).await.unwrap().served_by(),
            ServedBy::Live
        );
    }
    bench.upstream.down().await;
    for (ask, kept) in [
        (request("get", "a"), Some("a")),
        (request("get", "b"), Some("b")),
        (request("get", "c"), None),
        (request("other", "a"), None),
        (keyed("anything", "k"), Some("c")),
        (keyed("a", "j"), None),
    ] {
        let answer = bench.client.execute_with_isolation(ask.clone()).await.unwrap();
        let (by, payload) = kept.map_or((ServedBy::Static, "none kept"), |kept| (ServedBy::Cached, kept));
        assert_eq!(
            (answer.served_by(), &answer.payload[..]),
            (by, payload.as_bytes()),
            "{ask:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_on_where_a_step_has_no_answer() {
    let mut bench = Bench::new(IsolationLevel::Enhanced, three_strikes()).await;
    let backup = Upstream::start(Behaviour::bytes("backup data")).await;
    let request = registration_at("backup", IsolationLevel::Enhanced, &backup.address());
    bench
        .client
        .register(RegisterServiceRequest {
            policy: Some(three_strikes()),
            ..request
        })
        .await
        .unwrap();
    bench
        .fall_back_on([
            cached(),
            alternative("backup", "shop.v1.Backup/Get"),
            degraded("browsing"),
        ])
        .await;
    bench.upstream.down().await;

    let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
    assert_eq!(
        (answer.served_by(), &answer.payload[..]),
        (ServedBy::Alternative, &b"backup data"[..])
    );
    assert_eq!(backup.calls_of("/shop.v1.Backup/Get"), 1);

    // The alternative has a breaker of its own, which opens like any other.
    backup.behave(Behaviour::fail(Code::Unavailable));
    for _ in 0..10 {
        let answer = bench.client.execute("payments", "charge", "x").await.unwrap();
        assert_eq!(
            (answer.served_by(), &answer.degraded_features[..]),
            (ServedBy::Degraded, &["browsing".to_owned()][..])
        );
    }
    assert_eq!(backup.calls(), 4, "three failures open the alternative's breaker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_endpoints_that_the_operator_allows_are_dialled() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let own = bench.manager.address();
    let own_port = own.rsplit_once(':').unwrap().1;
    let refused = [
        "192.0.2.1:50051",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        &own,
        &format!("localhost:{own_port}"),
        &format!("[::ffff:127.0.0.1]:{own_port}"),
        &format!("0.0.0.0:{own_port}"),
        &format!("[::]:{own_port}"),
    ];
    for (index, address) in refused.into_iter().enumerate() {
        let name = format!("refused-{index}");
        bench
            .client
            .register(registration_at(&name, IsolationLevel::Basic, address))
            .await
            .unwrap();
        let method = "cofferdam.v1.IsolationService/GetIsolationStats";
        let refusal = bench.client.execute(&name, method, "").await.unwrap_err();
        let reason = (refusal.code, &refusal.reason[..]);
        assert_eq!(
            reason,
            (Code::PermissionDenied, "ENDPOINT_NOT_ALLOWED"),
            "{address}: {refusal:?}"
        );
    }
    let (_, port) = bench
        .upstream
        .address()
        .rsplit_once(':')
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .unwrap();
    let allowed = format!("localhost:{port}");
    bench
        .client
        .register(registration_at("allowed", IsolationLevel::Basic, &allowed))
        .await
        .unwrap();
    assert_eq!(
        bench.client.execute("allowed", "get", "").await.unwrap().served_by(),
        ServedBy::Live
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_not_relayed() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let most = vec![7; 256 * 1024];
    assert_eq!(
        bench
            .client
            .execute("payments", "put", most)
            .await
            .unwrap()
            .payload
            .len(),
        256 * 1024
    );
    let refusal = bench
        .client
        .execute("payments", "put", vec![7; 256 * 1024 + 1])
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
        "{refusal:?}"
    );
    assert_eq!(bench.upstream.calls(), 1);

    bench.upstream.behave(Behaviour::bytes(vec![7; 1 << 20]));
    assert_eq!(
        bench.client.execute("payments", "get", "").await.unwrap().payload.len(),
        1 << 20
    );
    bench.upstream.behave(Behaviour::bytes(vec![7; (1 << 20) + 1]));
    let refusal = bench.client.execute("payments", "get", "").await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
        "{refusal:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_credentials_go_no_further() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let mut client =
        cofferdam_proto::v1::isolation_service_client::IsolationServiceClient::new(bench.manager.channel());
    let mut request = tonic::Request::new(request("charge", ""));
    for key in ["authorization", "cookie", "x-forwarded-for", "x-secret"] {
        request.metadata_mut().insert(key, "secret-7719".parse().unwrap());
    }
    client.execute_with_isolation(request).await.unwrap();
    let headers = bench.upstream.last_headers();
    assert!(!headers.is_empty());
    assert!(
        !headers.iter().any(|(_, value)| value.contains("secret-7719")),
        "{headers:?}"
    );
}
