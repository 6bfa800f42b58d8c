//! ExecuteWithIsolation, against this manager's siblings: another one's health check is as good an upstream as any.

use cofferdam_proto::v1;
use prost::Message;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};

use crate::testing::{Manager, alternative_step, fallback, reason, registration, static_step};

const CHECK: &str = "/grpc.health.v1.Health/Check";

fn at(name: &str, address: &str) -> v1::RegisterServiceRequest {
    let mut request = registration(name);
    request.service.as_mut().unwrap().endpoints = vec![v1::Endpoint { address: address.to_owned() }];
    request.set_level(v1::IsolationLevel::Enhanced);
    request
}

fn call(service: &str) -> v1::ExecuteWithIsolationRequest {
    v1::ExecuteWithIsolationRequest {
        service: service.to_owned(),
        method: CHECK.to_owned(),
        payload: HealthCheckRequest::default().encode_to_vec().into(),
        ..v1::ExecuteWithIsolationRequest::default()
    }
}

/// An address where nobody listens.
async fn deserted() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn refused(manager: &Manager, request: v1::ExecuteWithIsolationRequest) -> Status {
    manager.client().await.execute_with_isolation(request).await.unwrap_err()
}

#[tokio::test]
async fn a_call_is_relayed() {
    let (manager, upstream) = (Manager::start().await, Manager::start().await);
    let mut client = manager.client().await;
    let registered = client.register_service(at("payments", &upstream.address.to_string())).await.unwrap().into_inner();
    let answer = client.execute_with_isolation(call("payments")).await.unwrap().into_inner();
    assert_eq!((answer.served_by(), answer.attempts), (v1::ServedBy::Live, 1));
    assert_eq!(answer.breaker_state(), v1::BreakerState::Closed);
    assert_eq!(answer.revision, registered.service.unwrap().revision);
    assert_eq!(answer.content_type, "application/grpc+proto");
    let health = HealthCheckResponse::decode(answer.payload).unwrap();
    assert_eq!(health.status(), ServingStatus::Serving);
}

/// A pool that the policy does not have was taken for none, and took the call out of the one that its method is for.
#[tokio::test]
async fn a_pool_that_is_not_there_is_refused_with_those_that_are() {
    let (manager, upstream) = (Manager::start().await, Manager::start().await);
    let mut client = manager.client().await;
    let mut request = at("payments", &upstream.address.to_string());
    request.set_level(v1::IsolationLevel::Full);
    let pool = v1::BulkheadPool { name: "reads".to_owned(), ..Default::default() };
    request.policy.get_or_insert_default().bulkhead.get_or_insert_default().pools = vec![pool];
    client.register_service(request).await.unwrap();
    let of = |pool: &str| v1::ExecuteWithIsolationRequest { pool: pool.to_owned(), ..call("payments") };
    let refusal = refused(&manager, of("raeds")).await;
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::NotFound, "POOL_NOT_FOUND"));
    assert!(refusal.message().contains("it has: reads"), "{refusal}");
    client.execute_with_isolation(of("reads")).await.unwrap();
}

#[tokio::test]
async fn what_the_service_says_is_passed_on() {
    let (manager, upstream) = (Manager::start().await, Manager::start().await);
    manager.client().await.register_service(at("payments", &upstream.address.to_string())).await.unwrap();
    let unknown = HealthCheckRequest { service: "nobody".to_owned() }.encode_to_vec().into();
    let status = refused(&manager, v1::ExecuteWithIsolationRequest { payload: unknown, ..call("payments") }).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "UPSTREAM"));
}

#[tokio::test]
async fn a_service_that_is_down_is_answered_for() {
    let (manager, upstream) = (Manager::start().await, Manager::start().await);
    let mut client = manager.client().await;
    let request = v1::RegisterServiceRequest {
        fallback: Some(fallback(vec![static_step(b"sorry")])),
        ..at("payments", &deserted().await)
    };
    client.register_service(request).await.unwrap();
    let answer = client.execute_with_isolation(call("payments")).await.unwrap().into_inner();
    assert_eq!((answer.served_by(), &answer.payload[..]), (v1::ServedBy::Static, b"sorry".as_slice()));
    assert_eq!(answer.content_type, "application/octet-stream");
    assert!(!answer.fallback_reason.is_empty());

    client.register_service(at("backup", &upstream.address.to_string())).await.unwrap();
    let chain = vec![alternative_step("backup")];
    let request = v1::UpdateFallbackConfigRequest {
        service: "payments".to_owned(),
        fallback: Some(fallback(chain)),
        ..v1::UpdateFallbackConfigRequest::default()
    };
    client.update_fallback_config(request).await.unwrap();
    let answer = client.execute_with_isolation(call("payments")).await.unwrap().into_inner();
    assert_eq!(answer.served_by(), v1::ServedBy::Alternative);
}

#[tokio::test]
async fn a_degraded_answer_says_what_works_and_why() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let degraded =
        v1::DegradedFallback { features: vec!["browsing".to_owned()], reason: "payments are down".to_owned() };
    let step = v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Degraded(degraded)) };
    let fallback = Some(fallback(vec![step]));
    let request = v1::RegisterServiceRequest { fallback, ..at("payments", &deserted().await) };
    client.register_service(request).await.unwrap();
    let answer = client.execute_with_isolation(call("payments")).await.unwrap().into_inner();
    assert_eq!((answer.served_by(), answer.degraded_features), (v1::ServedBy::Degraded, vec!["browsing".to_owned()]));
    assert_eq!((answer.fallback_reason.as_str(), answer.content_type.as_str()), ("payments are down", ""));
}

#[tokio::test]
async fn a_service_whose_name_does_not_resolve_is_down() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(at("payments", "nobody.invalid:1")).await.unwrap();
    let status = refused(&manager, call("payments")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "UPSTREAM"), "{status}");
    assert!(status.message().contains("nobody.invalid:1 does not resolve"), "{status}");
    let request = v1::RegisterServiceRequest {
        fallback: Some(fallback(vec![static_step(b"sorry")])),
        ..at("payments", "nobody.invalid:1")
    };
    client.register_service(request).await.unwrap();
    let answer = client.execute_with_isolation(call("payments")).await.unwrap().into_inner();
    assert_eq!(answer.served_by(), v1::ServedBy::Static);
}

#[tokio::test]
async fn a_breaker_opens_and_says_when_to_come_again() {
    let manager = Manager::start().await;
    let retry = v1::RetryPolicy { max_attempts: Some(1), ..v1::RetryPolicy::default() };
    let policy = v1::IsolationPolicy { retry: Some(retry), ..v1::IsolationPolicy::default() };
    let request = v1::RegisterServiceRequest { policy: Some(policy), ..at("payments", &deserted().await) };
    manager.client().await.register_service(request).await.unwrap();
    for _ in 0..5 {
        let status = refused(&manager, call("payments")).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "UPSTREAM"), "{status}");
    }
    let status = refused(&manager, call("payments")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "CIRCUIT_OPEN"));
    let info = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert!(info.metadata["retry_after_ms"].parse::<u64>().unwrap() > 20_000);
}

/// It was known to nobody: reads showed a healthy service, of whose calls half had failed, with no breaker.
#[tokio::test]
async fn a_breaker_that_opens_at_a_call_of_the_manager_is_seen_by_all() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(at("payments", &deserted().await)).await.unwrap();
    let request = v1::GetServiceIsolationInfoRequest { service: "payments".to_owned(), ..Default::default() };
    let before = client.get_service_isolation_info(request.clone()).await.unwrap().into_inner().service.unwrap();
    assert_eq!((before.breaker_state(), before.health), (v1::BreakerState::Unspecified, None), "nobody has called it");
    let open = async {
        while reason(&refused(&manager, call("payments")).await) != "CIRCUIT_OPEN" {}
        loop {
            let info = client.get_service_isolation_info(request.clone()).await.unwrap().into_inner();
            let service = info.service.unwrap();
            if service.breaker_state() == v1::BreakerState::Open {
                return service;
            }
            tokio::task::yield_now().await;
        }
    };
    let service = tokio::time::timeout(std::time::Duration::from_secs(30), open).await.unwrap();
    assert_eq!(service.health.unwrap().status(), v1::HealthStatus::CircuitOpen);
    let events = client.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner().events;
    let told = events.iter().find(|event| event.kind() == v1::EventKind::Breaker).unwrap();
    assert_eq!((&*told.service, told.instance_id.is_empty()), ("payments", false), "{}", told.summary);
}

#[tokio::test]
async fn the_fence_holds() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    for (name, address) in [
        ("metadata", "169.254.169.254:80"),
        ("mapped", "[::ffff:169.254.169.254]:80"),
        ("anywhere", "0.0.0.0:80"),
        ("itself", &manager.address.to_string()),
    ] {
        client.register_service(at(name, address)).await.unwrap();
        let status = refused(&manager, call(name)).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::PermissionDenied, "ENDPOINT_NOT_ALLOWED"),
            "{name}"
        );
    }
    client.register_service(registration("nowhere")).await.unwrap();
    let status = refused(&manager, call("nowhere")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "NO_ENDPOINT"));
}

#[tokio::test]
async fn one_manager_is_the_limit() {
    // Two managers, each of which has the other registered: a call may not go back and forth.
    let (here, there) = (Manager::start().await, Manager::start().await);
    here.client().await.register_service(at("there", &there.address.to_string())).await.unwrap();
    there.client().await.register_service(at("here", &here.address.to_string())).await.unwrap();
    let inner = call("here").encode_to_vec().into();
    let status = refused(
        &here,
        v1::ExecuteWithIsolationRequest {
            method: "/cofferdam.v1.IsolationService/ExecuteWithIsolation".to_owned(),
            payload: inner,
            ..call("there")
        },
    )
    .await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "UPSTREAM"), "{status}");
}

#[tokio::test]
async fn bad_calls_are_refused() {
    let manager = Manager::start().await;
    let mut disabled = at("disabled", &deserted().await);
    disabled.service.as_mut().unwrap().enabled = Some(false);
    manager.client().await.register_service(disabled).await.unwrap();
    let status = refused(&manager, call("disabled")).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SERVICE_DISABLED"));
    let status = refused(&manager, call("nobody")).await;
    assert_eq!(status.code(), Code::NotFound);
    let with_fields = |fields: Vec<(String, String)>| v1::ExecuteWithIsolationRequest {
        cache_fields: fields.into_iter().collect(),
        ..call("disabled")
    };
    let too_long = Some(prost_types::Duration { seconds: 31, nanos: 0 });
    for request in [
        v1::ExecuteWithIsolationRequest { method: String::new(), ..call("disabled") },
        v1::ExecuteWithIsolationRequest { method: "http://host/a".to_owned(), ..call("disabled") },
        v1::ExecuteWithIsolationRequest { timeout: too_long, ..call("disabled") },
        v1::ExecuteWithIsolationRequest { cache_key: "k".repeat(1025), ..call("disabled") },
        with_fields((0..33).map(|number| (number.to_string(), String::new())).collect()),
        with_fields(vec![("n".repeat(129), String::new())]),
        with_fields(vec![("name".to_owned(), "v".repeat(1025))]),
        v1::ExecuteWithIsolationRequest { payload: vec![0; 256 * 1024 + 1].into(), ..call("disabled") },
    ] {
        assert_eq!(refused(&manager, request).await.code(), Code::InvalidArgument);
    }
}
