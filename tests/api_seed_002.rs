//! The flow of the isolation manager that Cofferdam was made to replace, with its own names and values: over gRPC, and
//! again with grpcurl.

use cofferdam_proto::v1::{
    FallbackConfig, FallbackStep, HealthStatus, IsolatedService, IsolationLevel, IsolationPolicy, ServedBy,
};
use cofferdam_tests::wire::{
    alternative, cached, degraded, fallback, position, registration, revision, seconds, static_json,
};
use cofferdam_tests::{Behaviour, Client, Manager, Upstream, wire};
use serde_json::{Value, json};

const SERVICE: &str = "test-service";
const METHOD: &str = "test-method";
const REQUEST: &str = "test-request";
const FALLBACK_DATA: &str = r#"{"default_response":"fallback data"}"#;

/// Static, 3 retries a second apart, 30 s in all.
fn first_fallback() -> FallbackConfig {
    FallbackConfig {
        max_retries: Some(3),
        retry_delay: Some(seconds(1)),
        timeout: Some(seconds(30)),
        ..fallback([static_json(FALLBACK_DATA)])
    }
}

/// Cached, 5 retries two seconds apart, 60 s in all.
fn second_fallback() -> FallbackConfig {
    FallbackConfig {
        max_retries: Some(5),
        retry_delay: Some(seconds(2)),
        timeout: Some(seconds(60)),
        ..fallback([cached()])
    }
}

fn policy(service: &IsolatedService) -> &IsolationPolicy {
    service.policy.as_ref().expect("a registered service has a policy")
}

/// Retries, their pause and the time for all, as the policy in force has them.
fn in_force(service: &IsolatedService) -> (Option<u32>, Option<prost_types::Duration>, Option<prost_types::Duration>) {
    let (retry, timeout) = (policy(service).retry.as_ref().unwrap(), policy(service).timeout.as_ref().unwrap());
    (retry.max_attempts.map(|attempts| attempts - 1), retry.initial_backoff, timeout.call_timeout)
}

fn chain(service: &IsolatedService) -> &[FallbackStep] {
    &policy(service).fallback.as_ref().unwrap().chain
}

async fn total(client: &Client, key: &str) -> u32 {
    let stats = client.stats().await.unwrap();
    *stats.totals.get(key).unwrap_or_else(|| panic!("no {key} in {:?}", stats.totals))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flow_over_grpc() {
    let mut upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let manager = Manager::embedded().await;
    let client = manager.client();

    // Register, with isolation enhanced and a static fallback.
    let registered = client
        .register_service(cofferdam_proto::v1::RegisterServiceRequest {
            fallback: Some(first_fallback()),
            ..wire::registration_at(SERVICE, IsolationLevel::Enhanced, &upstream.address())
        })
        .await
        .unwrap();
    assert!(registered.created);
    let service = registered.service.unwrap();
    assert_eq!(service.service.as_ref().unwrap().version, "1.0.0");
    assert_eq!(policy(&service).level(), IsolationLevel::Enhanced);
    assert_eq!(in_force(&service), (Some(3), Some(seconds(1)), Some(seconds(30))));

    // Execute: live, and with the service down the fallback's own data.
    let answer = client.execute(SERVICE, METHOD, REQUEST).await.unwrap();
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Live, &b"live data"[..]));
    assert_eq!(answer.attempts, 1);
    assert_eq!(upstream.calls_of("/test-service/test-method"), 1);
    upstream.down().await;
    let answer = client.execute(SERVICE, METHOD, REQUEST).await.unwrap();
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Static, FALLBACK_DATA.as_bytes()));
    assert_eq!(answer.content_type, "application/json");
    assert!(!answer.fallback_reason.is_empty());
    upstream.up().await;

    assert_eq!(total(&client, "total_services").await, 1);
    assert_eq!(total(&client, "enhanced_isolation").await, 1);
    assert_eq!(total(&client, "fallback_enabled").await, 1);

    // Health.
    let health = client.report_health(SERVICE, HealthStatus::Degraded, "High latency detected").await.unwrap();
    assert_eq!((health.status(), &health.message[..]), (HealthStatus::Degraded, "High latency detected"));
    let info = client.info(SERVICE).await.unwrap().service.unwrap();
    let reported = info.reported_health.as_ref().unwrap();
    assert_eq!((reported.status(), &reported.message[..]), (HealthStatus::Degraded, "High latency detected"));
    assert!(reported.observe_time.is_some(), "the manager says when");
    assert_eq!(info.health.as_ref().unwrap().status(), HealthStatus::Degraded);
    assert_eq!(info.revision, service.revision, "health is no policy");

    // Isolation level.
    let raised = client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    assert_eq!(policy(&raised).level(), IsolationLevel::Full);
    assert!(position(revision(Some(&raised))) > position(revision(Some(&service))));
    assert_eq!(total(&client, "enhanced_isolation").await, 0);
    assert_eq!(total(&client, "full_isolation").await, 1);

    // Another fallback.
    let updated = client.update_fallback(SERVICE, second_fallback()).await.unwrap();
    assert_eq!(in_force(&updated), (Some(5), Some(seconds(2)), Some(seconds(60))));
    assert!(matches!(chain(&updated), [FallbackStep { strategy: Some(wire::Strategy::Cached(_)) }]), "{updated:?}");
    assert_eq!(policy(&updated).level(), IsolationLevel::Full, "the level is not the fallback's to change");
    assert!(position(revision(Some(&updated))) > position(revision(Some(&raised))));

    assert_eq!(client.list().await.unwrap(), [SERVICE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_e6_e15_the_four_fallbacks() {
    let mut upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let backup = Upstream::start(Behaviour::bytes("backup data")).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    client.register(wire::registration_at("backup-service", IsolationLevel::Basic, &backup.address())).await.unwrap();
    client.register(wire::registration_at(SERVICE, IsolationLevel::Enhanced, &upstream.address())).await.unwrap();
    let execute = async || client.execute(SERVICE, METHOD, REQUEST).await.unwrap();

    client.update_fallback(SERVICE, fallback([cached()])).await.unwrap();
    assert_eq!(execute().await.served_by(), ServedBy::Live);
    upstream.down().await;
    let answer = execute().await;
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Cached, &b"live data"[..]));
    assert!(answer.cache_age.is_some());

    client
        .update_fallback(SERVICE, fallback([static_json(r#"{"status":"fallback","data":"static fallback data"}"#)]))
        .await
        .unwrap();
    let answer = execute().await;
    let data: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert_eq!((answer.served_by(), &data["data"]), (ServedBy::Static, &json!("static fallback data")));

    client.update_fallback(SERVICE, fallback([alternative("backup-service", "getData")])).await.unwrap();
    let answer = execute().await;
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Alternative, &b"backup data"[..]));
    assert_eq!(backup.calls_of("/backup-service/getData"), 1);

    client.update_fallback(SERVICE, fallback([degraded("basic_functionality")])).await.unwrap();
    let answer = execute().await;
    assert_eq!((answer.served_by(), &answer.payload[..]), (ServedBy::Degraded, &b""[..]));
    assert_eq!(answer.degraded_features, ["basic_functionality"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_without_an_endpoint_can_be_isolated_but_not_executed() {
    let manager = Manager::start(cofferdam_tests::Store::Memory).await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let refusal = client.execute(SERVICE, METHOD, REQUEST).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (tonic::Code::FailedPrecondition, "NO_ENDPOINT"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_the_flow_with_grpcurl() {
    let mut upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let manager = Manager::embedded().await;
    let grpcurl = manager.grpcurl();
    let call = |method: &str, request: Value| {
        grpcurl.isolation(method, &request).unwrap_or_else(|error| panic!("{method} {request}: {}", error.text))
    };

    let registered = call(
        "RegisterService",
        json!({
            "service": {"name": SERVICE, "version": "1.0.0", "endpoints": [{"address": upstream.address()}]},
            "level": "ISOLATION_LEVEL_ENHANCED",
            "fallback": {
                "enabled": true,
                "chain": [{"static": {"payload": wire::base64(FALLBACK_DATA.as_bytes()), "contentType": "application/json"}}],
                "maxRetries": 3,
                "retryDelay": "1s",
                "timeout": "30s",
            },
        }),
    );
    assert_eq!(registered["created"], true);
    assert_eq!(registered["service"]["policy"]["level"], "ISOLATION_LEVEL_ENHANCED");
    assert_eq!(registered["service"]["policy"]["retry"]["maxAttempts"], 4);
    assert_eq!(registered["service"]["policy"]["timeout"]["callTimeout"], "30s");

    let execution = json!({"service": SERVICE, "method": METHOD, "payload": wire::base64(REQUEST.as_bytes())});
    let answer = call("ExecuteWithIsolation", execution.clone());
    assert_eq!(
        (&answer["servedBy"], &answer["payload"]),
        (&json!("SERVED_BY_LIVE"), &json!(wire::base64(b"live data")))
    );
    upstream.down().await;
    let answer = call("ExecuteWithIsolation", execution);
    assert_eq!(
        (&answer["servedBy"], &answer["payload"]),
        (&json!("SERVED_BY_STATIC"), &json!(wire::base64(FALLBACK_DATA.as_bytes())))
    );

    let raised = call("SetIsolationLevel", json!({"service": SERVICE, "level": "ISOLATION_LEVEL_FULL"}));
    assert_eq!(raised["service"]["policy"]["level"], "ISOLATION_LEVEL_FULL");

    let fallback = json!({"chain": [{"cached": {}}], "maxRetries": 5, "retryDelay": "2s", "timeout": "60s"});
    let updated = call("UpdateFallbackConfig", json!({"service": SERVICE, "fallback": fallback}));
    assert_eq!(updated["service"]["policy"]["retry"]["maxAttempts"], 6);
    assert_eq!(updated["service"]["policy"]["retry"]["initialBackoff"], "2s");
    assert_eq!(updated["service"]["policy"]["timeout"]["callTimeout"], "60s");
    assert!(updated["service"]["policy"]["fallback"]["chain"][0]["cached"].is_object(), "{updated}");

    let health = json!({"status": "HEALTH_STATUS_DEGRADED", "message": "High latency detected"});
    call("UpdateServiceHealth", json!({"service": SERVICE, "health": health}));
    let info = call("GetServiceIsolationInfo", json!({"service": SERVICE}));
    assert_eq!(info["service"]["reportedHealth"]["status"], "HEALTH_STATUS_DEGRADED");
    assert_eq!(info["service"]["reportedHealth"]["message"], "High latency detected");

    let stats = call("GetIsolationStats", json!({}));
    assert_eq!(stats["totals"]["total_services"], 1);
    assert_eq!(stats["totals"]["enhanced_isolation"], 0);
    assert_eq!(stats["totals"]["full_isolation"], 1);
    assert_eq!(stats["totals"]["fallback_enabled"], 1);

    let list = call("ListIsolatedServices", json!({}));
    assert_eq!(list["services"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["services"][0]["service"]["name"], SERVICE);

    call("UnregisterService", json!({"service": SERVICE}));
    let gone = grpcurl.isolation("GetServiceIsolationInfo", &json!({"service": SERVICE})).unwrap_err();
    assert_eq!(gone.code, "NotFound", "{}", gone.text);
}
