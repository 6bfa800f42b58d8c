//! Bad input: the right code and reason, the path of the field at fault, and nothing changed.

use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use cofferdam_proto::v1::{
    AdaptiveLimitKind, AdaptiveLimitPolicy, BulkheadPolicy, BulkheadPool, CachedFallback, CircuitBreakerPolicy,
    DegradedFallback, Endpoint, ExecuteWithIsolationRequest, FallbackConfig, FallbackPolicy, FallbackStep,
    GetServiceIsolationInfoRequest, HealthPolicy, HealthStatus, HedgePolicy, IsolatedService, IsolationLevel,
    IsolationPolicy, ListIsolatedServicesRequest, MethodOverride, RateLimitPolicy, RegisterServiceRequest, RetryPolicy,
    Revision, Service, SetIsolationLevelRequest, StaticFallback, TimeoutPolicy, UnregisterServiceRequest,
    UpdateFallbackConfigRequest, UpdateIsolationPolicyRequest, UpdateServiceHealthRequest,
};
use cofferdam_tests::wire::{alternative, degraded, fallback, registration, revision, seconds, static_json};
use cofferdam_tests::{Client, Manager, Refusal, Store, wire};
use std::fmt;
use tonic::{Code, Request};

/// A manager with one service, and what that service must still be like after each bad request.
struct Bench {
    manager: Manager,
    client: Client,
    before: IsolatedService,
}

impl Bench {
    async fn new() -> Self {
        let manager = Manager::start(Store::Memory).await;
        let client = manager.client();
        let before = client
            .register(registration("payments", IsolationLevel::Enhanced))
            .await
            .unwrap();
        Self {
            manager,
            client,
            before,
        }
    }

    /// Asserts that a request was refused for one field, and changed nothing.
    async fn refuses<T: fmt::Debug>(&self, what: &str, result: Result<T, Refusal>, field: &str) {
        self.refuses_as(what, result, field, "INVALID_FIELD").await;
    }

    async fn refuses_as<T: fmt::Debug>(&self, what: &str, result: Result<T, Refusal>, field: &str, reason: &str) {
        let refusal = result.expect_err(what);
        assert_eq!(refusal.code, Code::InvalidArgument, "{what}: {refusal:?}");
        assert_eq!(refusal.reason, reason, "{what}: {refusal:?}");
        assert_eq!(refusal.fields, [field], "{what}: {refusal:?}");
        let services = self.client.list().await.unwrap();
        assert_eq!(services, ["payments"], "{what} changed the services");
        let after = self.client.info("payments").await.unwrap().service.unwrap();
        assert_eq!(after, self.before, "{what} changed the service");
    }

    async fn refuses_policy(&self, what: &str, policy: IsolationPolicy, field: &str) {
        self.refuses(what, self.client.update_policy("payments", policy, &[]).await, field)
            .await;
    }

    async fn refuses_fallback(&self, what: &str, fallback: FallbackConfig, field: &str) {
        self.refuses(what, self.client.update_fallback("payments", fallback).await, field)
            .await;
    }

    async fn refuses_service(&self, what: &str, service: Service, field: &str) {
        let request = RegisterServiceRequest {
            service: Some(service),
            ..RegisterServiceRequest::default()
        };
        self.refuses(what, self.client.register(request).await, field).await;
    }
}

fn breaker(circuit_breaker: CircuitBreakerPolicy) -> IsolationPolicy {
    IsolationPolicy {
        circuit_breaker: Some(circuit_breaker),
        ..IsolationPolicy::default()
    }
}

fn retry(retry: RetryPolicy) -> IsolationPolicy {
    IsolationPolicy {
        retry: Some(retry),
        ..IsolationPolicy::default()
    }
}

fn timeout(call_timeout: prost_types::Duration) -> IsolationPolicy {
    let timeout = TimeoutPolicy {
        call_timeout: Some(call_timeout),
        ..TimeoutPolicy::default()
    };
    IsolationPolicy {
        timeout: Some(timeout),
        ..IsolationPolicy::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_service_is_not_found_and_the_nearest_names_are_told() {
    let bench = Bench::new().await;
    let client = &bench.client;
    let fallback = Some(FallbackConfig {
        max_retries: Some(1),
        ..FallbackConfig::default()
    });
    let service = || "paymnets".to_owned();
    let refusals = [
        ("info", client.info("paymnets").await.map(drop)),
        (
            "set level",
            client.set_level("paymnets", IsolationLevel::Full).await.map(drop),
        ),
        ("execute", client.execute("paymnets", "charge", "").await.map(drop)),
        (
            "health",
            client
                .report_health("paymnets", HealthStatus::Healthy, "")
                .await
                .map(drop),
        ),
        (
            "policy",
            client
                .update_policy("paymnets", timeout(seconds(1)), &[])
                .await
                .map(drop),
        ),
        ("fallback", {
            let request = UpdateFallbackConfigRequest {
                service: service(),
                fallback,
                ..Default::default()
            };
            client.update_fallback_config(request).await.map(drop)
        }),
        ("unregister", {
            let request = UnregisterServiceRequest {
                service: service(),
                ..Default::default()
            };
            client.unregister_service(request).await.map(drop)
        }),
    ];
    for (what, result) in refusals {
        let refusal = result.expect_err(what);
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::NotFound, "SERVICE_NOT_FOUND"),
            "{what}: {refusal:?}"
        );
        assert_eq!(refusal.metadata["namespace"], "default", "{what}");
        assert_eq!(refusal.metadata["service"], "paymnets", "{what}");
        assert!(refusal.metadata["nearest"].contains("payments"), "{what}: {refusal:?}");
        assert!(refusal.message.contains("payments"), "{what}: {refusal:?}");
    }
    let elsewhere = GetServiceIsolationInfoRequest {
        namespace: "staging".into(),
        service: "payments".into(),
    };
    let refusal = client.get_service_isolation_info(elsewhere).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotFound, "a namespace of its own: {refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_none_are_refused() {
    let bench = Bench::new().await;
    let long = "a".repeat(129);
    let names = [
        "",
        &long,
        "Payments",
        "a b",
        "..",
        "-a",
        "a-",
        "a/b",
        "a\0b",
        "раyments",
        "\u{202e}abc",
        "a*",
    ];
    for name in names {
        bench
            .refuses_service(&format!("name {name:?}"), wire::service(name), "service.name")
            .await;
        let level = bench.client.set_level(name, IsolationLevel::Full).await;
        bench.refuses(&format!("level of {name:?}"), level, "service").await;
        if !name.is_empty() {
            let namespaced = Service {
                namespace: name.to_owned(),
                ..wire::service("orders")
            };
            bench
                .refuses_service(&format!("namespace {name:?}"), namespaced, "service.namespace")
                .await;
        }
    }
    let request = RegisterServiceRequest::default();
    bench
        .refuses("no service", bench.client.register(request).await, "service")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_service_is_bounded() {
    let bench = Bench::new().await;
    let service = || wire::service("orders");
    let endpoints = |address: &str| {
        vec![Endpoint {
            address: address.to_owned(),
        }]
    };
    for (what, service, field) in [
        (
            "version",
            Service {
                version: "v".repeat(65),
                ..service()
            },
            "service.version",
        ),
        (
            "description",
            Service {
                description: "d".repeat(1025),
                ..service()
            },
            "service.description",
        ),
        (
            "no port",
            Service {
                endpoints: endpoints("127.0.0.1"),
                ..service()
            },
            "service.endpoints[0].address",
        ),
        (
            "a url",
            Service {
                endpoints: endpoints("http://a:1/x"),
                ..service()
            },
            "service.endpoints[0].address",
        ),
        (
            "port 0",
            Service {
                endpoints: endpoints("127.0.0.1:0"),
                ..service()
            },
            "service.endpoints[0].address",
        ),
        (
            "port 65536",
            Service {
                endpoints: endpoints("a:65536"),
                ..service()
            },
            "service.endpoints[0].address",
        ),
        (
            "17 endpoints",
            Service {
                endpoints: (1..=17)
                    .map(|port| Endpoint {
                        address: format!("127.0.0.1:{port}"),
                    })
                    .collect(),
                ..service()
            },
            "service.endpoints",
        ),
        (
            "17 labels",
            Service {
                labels: (0..17).map(|n| (format!("k{n}"), String::new())).collect(),
                ..service()
            },
            "service.labels",
        ),
    ] {
        bench.refuses_service(what, service, field).await;
    }
    let request = RegisterServiceRequest {
        request_id: "x".repeat(129),
        ..registration("orders", IsolationLevel::Basic)
    };
    bench
        .refuses("request_id", bench.client.register(request).await, "request_id")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn durations_that_are_negative_malformed_or_absurd_are_refused() {
    let bench = Bench::new().await;
    let duration = |seconds, nanos| prost_types::Duration { seconds, nanos };
    let absurd = [
        ("negative", duration(-1, 0)),
        ("slightly negative", duration(0, -1)),
        ("over a day", duration(86_401, 0)),
        ("as long as can be", duration(i64::MAX, 999_999_999)),
        ("as negative as can be", duration(i64::MIN, -999_999_999)),
        ("too many nanos", duration(1, 1_000_000_000)),
        ("of two signs", duration(1, -1)),
    ];
    for (what, bad) in absurd {
        bench
            .refuses_policy(what, timeout(bad), "policy.timeout.call_timeout")
            .await;
        let open = CircuitBreakerPolicy {
            open_duration: Some(bad),
            ..CircuitBreakerPolicy::default()
        };
        let updated = bench.client.update_policy("payments", breaker(open), &[]).await;
        assert!(
            updated
                .unwrap_err()
                .fields
                .contains(&"policy.circuit_breaker.open_duration".to_owned()),
            "{what}"
        );
        let delay = FallbackConfig {
            retry_delay: Some(bad),
            ..FallbackConfig::default()
        };
        bench.refuses_fallback(what, delay, "fallback.retry_delay").await;
        let all = FallbackConfig {
            timeout: Some(bad),
            ..FallbackConfig::default()
        };
        bench.refuses_fallback(what, all, "fallback.timeout").await;
        let ttl = CachedFallback {
            ttl: Some(bad),
            ..CachedFallback::default()
        };
        let chain = fallback([wire::Strategy::Cached(ttl)]);
        bench
            .refuses_fallback(what, chain, "fallback.chain[0].cached.ttl")
            .await;
    }
    bench
        .refuses_policy(
            "under a millisecond",
            timeout(duration(0, 999_999)),
            "policy.timeout.call_timeout",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_and_numbers_out_of_range_are_refused() {
    let bench = Bench::new().await;
    for rate in [-0.1, 1.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let failure_rate = CircuitBreakerPolicy {
            failure_rate: Some(rate),
            ..CircuitBreakerPolicy::default()
        };
        bench
            .refuses_policy(
                "failure rate",
                breaker(failure_rate),
                "policy.circuit_breaker.failure_rate",
            )
            .await;
    }
    let c = CircuitBreakerPolicy::default;
    for (what, policy, field) in [
        (
            "failures",
            CircuitBreakerPolicy {
                consecutive_failures: Some(1024),
                ..c()
            },
            "consecutive_failures",
        ),
        (
            "successes",
            CircuitBreakerPolicy {
                success_threshold: Some(0),
                ..c()
            },
            "success_threshold",
        ),
        (
            "backoff",
            CircuitBreakerPolicy {
                open_backoff_multiplier: Some(0.9),
                ..c()
            },
            "open_backoff_multiplier",
        ),
    ] {
        bench
            .refuses_policy(what, breaker(policy), &format!("policy.circuit_breaker.{field}"))
            .await;
    }
    for attempts in [0, 11, u32::MAX] {
        let policy = retry(RetryPolicy {
            max_attempts: Some(attempts),
            ..RetryPolicy::default()
        });
        bench
            .refuses_policy("attempts", policy, "policy.retry.max_attempts")
            .await;
    }
    for retries in [10, u32::MAX] {
        let config = FallbackConfig {
            max_retries: Some(retries),
            ..FallbackConfig::default()
        };
        bench.refuses_fallback("retries", config, "fallback.max_retries").await;
    }
    let codes = retry(RetryPolicy {
        retryable_grpc_codes: vec![17],
        ..RetryPolicy::default()
    });
    bench
        .refuses_policy("status code", codes, "policy.retry.retryable_grpc_codes")
        .await;
    let bulkhead = BulkheadPolicy {
        max_concurrent: Some(0),
        ..BulkheadPolicy::default()
    };
    let policy = IsolationPolicy {
        bulkhead: Some(bulkhead),
        ..IsolationPolicy::default()
    };
    bench
        .refuses_policy("no places", policy, "policy.bulkhead.max_concurrent")
        .await;
    let twins = ["readPool", "readPool"].map(|name| BulkheadPool {
        name: name.into(),
        ..BulkheadPool::default()
    });
    let bulkhead = BulkheadPolicy {
        pools: twins.into(),
        ..BulkheadPolicy::default()
    };
    let policy = IsolationPolicy {
        bulkhead: Some(bulkhead),
        ..IsolationPolicy::default()
    };
    bench
        .refuses_policy("twin pools", policy, "policy.bulkhead.pools[1].name")
        .await;
    let health = HealthPolicy {
        degraded_error_rate: Some(0.5),
        unhealthy_error_rate: Some(0.4),
        ..HealthPolicy::default()
    };
    let policy = IsolationPolicy {
        health: Some(health),
        ..IsolationPolicy::default()
    };
    bench
        .refuses_policy("unordered rates", policy, "policy.health.unhealthy_error_rate")
        .await;
    let policy = IsolationPolicy {
        preset: "postgres".into(),
        ..IsolationPolicy::default()
    };
    bench.refuses_policy("unknown preset", policy, "policy.preset").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unspecified_and_unknown_enums_are_refused_where_they_would_decide() {
    let bench = Bench::new().await;
    let unspecified = bench.client.set_level("payments", IsolationLevel::Unspecified).await;
    bench.refuses("unspecified level", unspecified, "level").await;
    let unknown = SetIsolationLevelRequest {
        service: "payments".into(),
        level: 99,
        ..Default::default()
    };
    bench
        .refuses(
            "unknown level",
            bench.client.set_isolation_level(unknown).await,
            "level",
        )
        .await;
    for status in [HealthStatus::Unspecified, HealthStatus::CircuitOpen] {
        let reported = bench.client.report_health("payments", status, "").await;
        bench.refuses("health status", reported, "health.status").await;
    }
    let no_health = UpdateServiceHealthRequest {
        service: "payments".into(),
        ..Default::default()
    };
    bench
        .refuses(
            "no health",
            bench.client.update_service_health(no_health).await,
            "health",
        )
        .await;
    let request = UpdateFallbackConfigRequest {
        service: "payments".into(),
        ..Default::default()
    };
    bench
        .refuses(
            "no fallback",
            bench.client.update_fallback_config(request).await,
            "fallback",
        )
        .await;
    let request = UpdateIsolationPolicyRequest {
        service: "payments".into(),
        ..Default::default()
    };
    bench
        .refuses(
            "no policy",
            bench.client.update_isolation_policy(request).await,
            "policy",
        )
        .await;
    let empty_step = FallbackConfig {
        chain: vec![FallbackStep { strategy: None }],
        ..FallbackConfig::default()
    };
    let refusal = bench.client.update_fallback("payments", empty_step).await.unwrap_err();
    assert_eq!(refusal.code, Code::InvalidArgument, "{refusal:?}");
    assert!(refusal.fields[0].starts_with("fallback.chain[0]"), "{refusal:?}");
    for paths in [&["retry.max_attemtps"][..], &["*", "retry"], &["retry.budget.nothing"]] {
        let updated = bench
            .client
            .update_policy("payments", IsolationPolicy::default(), paths)
            .await;
        bench.refuses("update mask", updated, "update_mask").await;
    }
    let page = ListIsolatedServicesRequest {
        page_size: -1,
        ..Default::default()
    };
    bench
        .refuses(
            "page size",
            bench.client.list_isolated_services(page).await,
            "page_size",
        )
        .await;
    let page = ListIsolatedServicesRequest {
        page_token: "nonsense".into(),
        ..Default::default()
    };
    bench
        .refuses(
            "page token",
            bench.client.list_isolated_services(page).await,
            "page_token",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_chains_are_bounded() {
    let bench = Bench::new().await;
    let five = fallback(["a", "b", "c", "d", "e"].map(degraded));
    let refusal = bench.client.update_fallback("payments", five).await.unwrap_err();
    assert!(refusal.fields.contains(&"fallback.chain".to_owned()), "{refusal:?}");
    let big = StaticFallback {
        payload: vec![0; 64 * 1024 + 1].into(),
        content_type: String::new(),
    };
    let big = fallback([wire::Strategy::Static(big)]);
    bench
        .refuses_fallback("a payload over 64 KiB", big, "fallback.chain[0].static.payload")
        .await;
    let features = (0..33).map(|n| n.to_string()).collect();
    let many = fallback([wire::Strategy::Degraded(DegradedFallback {
        features,
        reason: String::new(),
    })]);
    bench
        .refuses_fallback("33 features", many, "fallback.chain[0].degraded.features")
        .await;
    let both = RegisterServiceRequest {
        fallback: Some(fallback([static_json("{}")])),
        policy: Some(IsolationPolicy {
            fallback: Some(FallbackPolicy::default()),
            ..IsolationPolicy::default()
        }),
        ..registration("orders", IsolationLevel::Basic)
    };
    bench
        .refuses("two fallbacks", bench.client.register(both).await, "fallback")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternatives_that_are_missing_or_cyclic_are_refused_and_one_in_use_stays() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    for name in ["a", "b", "c"] {
        client
            .register(registration(name, IsolationLevel::Enhanced))
            .await
            .unwrap();
    }
    let refused = async |service: &str, other: &str| {
        let before = client.revision(service).await.unwrap();
        let refusal = client
            .update_fallback(service, fallback([alternative(other, "")]))
            .await
            .unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{refusal:?}"
        );
        assert_eq!(refusal.fields, ["fallback.chain[0].alternative.service"], "{refusal:?}");
        assert_eq!(client.revision(service).await.unwrap(), before);
    };
    refused("a", "nowhere").await;
    refused("a", "a").await;
    refused("a", "").await;
    client
        .update_fallback("a", fallback([alternative("b", "")]))
        .await
        .unwrap();
    client
        .update_fallback("b", fallback([alternative("c", "")]))
        .await
        .unwrap();
    refused("c", "a").await;
    refused("b", "a").await;

    let request = |service: &str| UnregisterServiceRequest {
        service: service.into(),
        ..Default::default()
    };
    let refusal = client.unregister_service(request("c")).await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::FailedPrecondition, "SERVICE_IN_USE"),
        "{refusal:?}"
    );
    assert_eq!(refusal.metadata["services"], "b");
    for name in ["a", "b", "c"] {
        client.unregister_service(request(name)).await.unwrap();
    }
    assert_eq!(client.list().await.unwrap(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_are_not_in_force_are_refused_and_never_ignored() {
    let bench = Bench::new().await;
    let p = IsolationPolicy::default;
    let limit = AdaptiveLimitPolicy {
        kind: AdaptiveLimitKind::Aimd.into(),
        ..AdaptiveLimitPolicy::default()
    };
    let method = MethodOverride {
        glob: "Get*".into(),
        policy: Some(timeout(seconds(1))),
        idempotent: None,
    };
    for (section, policy) in [
        (
            "rate_limit",
            IsolationPolicy {
                rate_limit: Some(RateLimitPolicy {
                    permits: 5,
                    ..Default::default()
                }),
                ..p()
            },
        ),
        (
            "hedge",
            IsolationPolicy {
                hedge: Some(HedgePolicy {
                    delay: Some(seconds(1)),
                    ..Default::default()
                }),
                ..p()
            },
        ),
        (
            "adaptive_limit",
            IsolationPolicy {
                adaptive_limit: Some(limit),
                ..p()
            },
        ),
        (
            "method_overrides",
            IsolationPolicy {
                method_overrides: vec![method],
                ..p()
            },
        ),
    ] {
        let refusal = bench.client.update_policy("payments", policy, &[]).await.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::InvalidArgument, "FIELD_NOT_IN_FORCE"),
            "{refusal:?}"
        );
        let field = &refusal.fields[0];
        assert!(field.starts_with(&format!("policy.{section}")), "{refusal:?}");
        assert_eq!(
            bench.client.revision("payments").await.unwrap(),
            revision(Some(&bench.before))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_at_fault_is_named_at_once() {
    let bench = Bench::new().await;
    let policy = IsolationPolicy {
        timeout: timeout(seconds(-1)).timeout,
        retry: Some(RetryPolicy {
            max_attempts: Some(0),
            multiplier: Some(100.0),
            ..RetryPolicy::default()
        }),
        ..IsolationPolicy::default()
    };
    let refusal = bench.client.update_policy("payments", policy, &[]).await.unwrap_err();
    let fields = [
        "policy.timeout.call_timeout",
        "policy.retry.max_attempts",
        "policy.retry.multiplier",
    ];
    assert_eq!(refusal.fields, fields, "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_expected_revision_is_aborted_with_the_current_one() {
    let bench = Bench::new().await;
    let old = revision(Some(&bench.before));
    let current = revision(Some(
        &bench.client.set_level("payments", IsolationLevel::Full).await.unwrap(),
    ));
    let expected_revision = Some(old);
    let service = || "payments".to_owned();
    let refusals = [
        {
            let level = IsolationLevel::None.into();
            let request = SetIsolationLevelRequest {
                service: service(),
                level,
                expected_revision,
                ..Default::default()
            };
            bench.client.set_isolation_level(request).await.map(drop)
        },
        {
            let fallback = Some(FallbackConfig {
                max_retries: Some(1),
                ..FallbackConfig::default()
            });
            let request = UpdateFallbackConfigRequest {
                service: service(),
                fallback,
                expected_revision,
                ..Default::default()
            };
            bench.client.update_fallback_config(request).await.map(drop)
        },
        {
            let policy = Some(timeout(seconds(1)));
            let request = UpdateIsolationPolicyRequest {
                service: service(),
                policy,
                expected_revision,
                ..Default::default()
            };
            bench.client.update_isolation_policy(request).await.map(drop)
        },
        {
            let request = RegisterServiceRequest {
                expected_revision,
                ..registration("payments", IsolationLevel::Basic)
            };
            bench.client.register(request).await.map(drop)
        },
        {
            let request = UnregisterServiceRequest {
                service: service(),
                expected_revision,
                ..Default::default()
            };
            bench.client.unregister_service(request).await.map(drop)
        },
    ];
    for result in refusals {
        let refusal = result.unwrap_err();
        assert_eq!(
            (refusal.code, &refusal.reason[..]),
            (Code::Aborted, "REVISION_MISMATCH"),
            "{refusal:?}"
        );
        assert_eq!(
            (refusal.number("expected_epoch"), refusal.number("expected_revision")),
            (old.epoch, old.revision)
        );
        assert_eq!(
            (refusal.number("current_epoch"), refusal.number("current_revision")),
            (current.epoch, current.revision)
        );
    }
    assert_eq!(bench.client.revision("payments").await.unwrap(), current);

    let any_epoch = Some(Revision {
        epoch: 0,
        revision: current.revision,
    });
    let level = IsolationLevel::Basic.into();
    let request = SetIsolationLevelRequest {
        service: service(),
        level,
        expected_revision: any_epoch,
        ..Default::default()
    };
    bench.client.set_isolation_level(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_names_one_request_and_its_retry_returns_the_first_result() {
    let bench = Bench::new().await;
    let request = |level: IsolationLevel| SetIsolationLevelRequest {
        service: "payments".into(),
        level: level.into(),
        request_id: "change-1".into(),
        ..Default::default()
    };
    let first = bench
        .client
        .set_isolation_level(request(IsolationLevel::Full))
        .await
        .unwrap()
        .service;
    bench.client.set_level("payments", IsolationLevel::Basic).await.unwrap();
    let again = bench
        .client
        .set_isolation_level(request(IsolationLevel::Full))
        .await
        .unwrap()
        .service;
    assert_eq!(
        revision(again.as_ref()),
        revision(first.as_ref()),
        "the first result, not a second change"
    );
    let now = bench.client.info("payments").await.unwrap().service.unwrap();
    assert_eq!(
        now.policy.unwrap().level(),
        IsolationLevel::Basic,
        "the retry changed nothing"
    );

    let refusal = bench
        .client
        .set_isolation_level(request(IsolationLevel::None))
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::InvalidArgument, "REQUEST_ID_REUSED"),
        "{refusal:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_malformed_messages_are_refused() {
    let bench = Bench::new().await;
    let payload: Bytes = vec![0; 256 * 1024 + 1].into();
    let request = ExecuteWithIsolationRequest {
        service: "payments".into(),
        method: "charge".into(),
        payload,
        ..ExecuteWithIsolationRequest::default()
    };
    let refusal = bench.client.execute_with_isolation(request).await.unwrap_err();
    assert_eq!(
        (refusal.code, &refusal.reason[..]),
        (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"),
        "{refusal:?}"
    );

    let raw = async |bytes: Vec<u8>| {
        let mut client = tonic::client::Grpc::new(bench.manager.channel());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/cofferdam.v1.IsolationService/SetIsolationLevel");
        client
            .unary(Request::new(Bytes::from(bytes)), path, BytesCodec)
            .await
            .map(drop)
            .unwrap_err()
    };
    // Field 2 (service): a length beyond the end; a text that is no UTF-8. Then groups in groups, and a message over
    // every limit.
    for (what, bytes) in [
        ("truncated", vec![0x12, 0x7f, b'a']),
        ("not UTF-8", vec![0x12, 0x02, 0xff, 0xfe]),
        ("nested groups", vec![0x0b; 5000]),
    ] {
        let status = raw(bytes).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    }
    let status = raw(vec![0; 8 << 20]).await;
    let refused = [Code::ResourceExhausted, Code::OutOfRange, Code::InvalidArgument].contains(&status.code());
    assert!(refused, "8 MiB: {status:?}");
    assert_eq!(
        bench.client.list().await.unwrap(),
        ["payments"],
        "the manager is unharmed"
    );
}
