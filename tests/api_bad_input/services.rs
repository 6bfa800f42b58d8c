//! What is said of a service, and which service is meant.

use super::{Bench, timeout};
use cofferdam_proto::v1::{
    Endpoint, FallbackConfig, GetServiceIsolationInfoRequest, HealthStatus, IsolationLevel, RegisterServiceRequest,
    Service, UnregisterServiceRequest, UpdateFallbackConfigRequest,
};
use cofferdam_tests::wire;
use cofferdam_tests::wire::{registration, seconds};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_service_is_not_found_and_the_nearest_names_are_told() {
    let bench = Bench::new().await;
    let client = &bench.client;
    let fallback = Some(FallbackConfig { max_retries: Some(1), ..FallbackConfig::default() });
    let service = || "paymnets".to_owned();
    let refusals = [
        ("info", client.info("paymnets").await.map(drop)),
        ("set level", client.set_level("paymnets", IsolationLevel::Full).await.map(drop)),
        ("execute", client.execute("paymnets", "charge", "").await.map(drop)),
        ("health", client.report_health("paymnets", HealthStatus::Healthy, "").await.map(drop)),
        ("policy", client.update_policy("paymnets", timeout(seconds(1)), &[]).await.map(drop)),
        ("fallback", {
            let request = UpdateFallbackConfigRequest { service: service(), fallback, ..Default::default() };
            client.update_fallback_config(request).await.map(drop)
        }),
        ("unregister", {
            let request = UnregisterServiceRequest { service: service(), ..Default::default() };
            client.unregister_service(request).await.map(drop)
        }),
    ];
    for (what, result) in refusals {
        let refusal = result.expect_err(what);
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::NotFound, "SERVICE_NOT_FOUND"), "{what}: {refusal:?}");
        assert_eq!(refusal.metadata["namespace"], "default", "{what}");
        assert_eq!(refusal.metadata["service"], "paymnets", "{what}");
        assert!(refusal.metadata["nearest"].contains("payments"), "{what}: {refusal:?}");
        assert!(refusal.message.contains("payments"), "{what}: {refusal:?}");
    }
    let elsewhere = GetServiceIsolationInfoRequest { namespace: "staging".into(), service: "payments".into() };
    let refusal = client.get_service_isolation_info(elsewhere).await.unwrap_err();
    assert_eq!(refusal.code, Code::NotFound, "a namespace of its own: {refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_none_are_refused() {
    let bench = Bench::new().await;
    let long = "a".repeat(129);
    let names = ["", &long, "Payments", "a b", "..", "-a", "a-", "a/b", "a\0b", "раyments", "\u{202e}abc", "a*"];
    for name in names {
        bench.refuses_service(&format!("name {name:?}"), wire::service(name), "service.name").await;
        let level = bench.client.set_level(name, IsolationLevel::Full).await;
        bench.refuses(&format!("level of {name:?}"), level, "service").await;
        if !name.is_empty() {
            let namespaced = Service { namespace: name.to_owned(), ..wire::service("orders") };
            bench.refuses_service(&format!("namespace {name:?}"), namespaced, "service.namespace").await;
        }
    }
    let request = RegisterServiceRequest::default();
    bench.refuses("no service", bench.client.register(request).await, "service").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_of_a_service_is_bounded() {
    let bench = Bench::new().await;
    let service = || wire::service("orders");
    let endpoints = |address: &str| vec![Endpoint { address: address.to_owned() }];
    for (what, service, field) in [
        ("version", Service { version: "v".repeat(65), ..service() }, "service.version"),
        ("description", Service { description: "d".repeat(1025), ..service() }, "service.description"),
        ("no port", Service { endpoints: endpoints("127.0.0.1"), ..service() }, "service.endpoints[0].address"),
        ("a url", Service { endpoints: endpoints("http://a:1/x"), ..service() }, "service.endpoints[0].address"),
        ("port 0", Service { endpoints: endpoints("127.0.0.1:0"), ..service() }, "service.endpoints[0].address"),
        ("port 65536", Service { endpoints: endpoints("a:65536"), ..service() }, "service.endpoints[0].address"),
        (
            "17 endpoints",
            Service {
                endpoints: (1..=17).map(|port| Endpoint { address: format!("127.0.0.1:{port}") }).collect(),
                ..service()
            },
            "service.endpoints",
        ),
        (
            "17 labels",
            Service { labels: (0..17).map(|n| (format!("k{n}"), String::new())).collect(), ..service() },
            "service.labels",
        ),
    ] {
        bench.refuses_service(what, service, field).await;
    }
    let request =
        RegisterServiceRequest { request_id: "x".repeat(129), ..registration("orders", IsolationLevel::Basic) };
    bench.refuses("request_id", bench.client.register(request).await, "request_id").await;
}
