//! `grpc.health.v1` for every registered service: what was reported, and what its instances find out.

use cofferdam::{BreakerState, Cofferdam};
use cofferdam_proto::v1::{HealthStatus, IsolationLevel, RegisterServiceRequest, UnregisterServiceRequest};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Manager, Store, eventually, wire, within};
use futures_util::StreamExt;
use std::time::Duration;
use tonic::{Code, Streaming};
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// How long a breaker is open here: some reports long, as an instance reports about once a second.
const OPEN: Duration = Duration::from_secs(3);

/// The next status that a watch tells.
async fn next(watch: &mut Streaming<HealthCheckResponse>) -> i32 {
    within("the next health", watch.next()).await.expect("a watch goes on").unwrap().status
}

/// Waits until a watch tells a status; others may come before.
async fn until(watch: &mut Streaming<HealthCheckResponse>, status: i32) {
    while next(watch).await != status {}
}

const UNKNOWN: i32 = ServingStatus::Unknown as i32;
const SERVING: i32 = ServingStatus::Serving as i32;
const NOT_SERVING: i32 = ServingStatus::NotServing as i32;
/// SERVICE_UNKNOWN of `grpc.health.v1`, which only watches tell.
const SERVICE_UNKNOWN: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c16_follows_what_is_reported() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let mut health = HealthClient::new(manager.channel());
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status, SERVING);
    assert_eq!(health.check(of("payments")).await.unwrap_err().code(), Code::NotFound);

    let mut watch = health.watch(of("payments")).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, SERVICE_UNKNOWN);
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    assert_eq!(next(&mut watch).await, UNKNOWN, "nobody has said anything");
    client.report_health("payments", HealthStatus::Unhealthy, "the disk is full").await.unwrap();
    assert_eq!(next(&mut watch).await, NOT_SERVING);
    assert_eq!(health.check(of("payments")).await.unwrap().into_inner().status, NOT_SERVING);
    client.report_health("payments", HealthStatus::Healthy, "").await.unwrap();
    assert_eq!(next(&mut watch).await, SERVING);
    assert_eq!(
        health.check(of("")).await.unwrap().into_inner().status,
        SERVING,
        "the manager itself was well throughout"
    );

    let request = UnregisterServiceRequest { service: "payments".into(), ..Default::default() };
    client.unregister_service(request).await.unwrap();
    assert_eq!(next(&mut watch).await, SERVICE_UNKNOWN);
    assert_eq!(health.check(of("payments")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_degraded_service_still_serves() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    client.report_health("payments", HealthStatus::Degraded, "High latency detected").await.unwrap();
    let mut health = HealthClient::new(manager.channel());
    assert_eq!(health.check(of("payments")).await.unwrap().into_inner().status, SERVING);
    let info = client.info("payments").await.unwrap().service.unwrap();
    assert_eq!(info.health.unwrap().status(), HealthStatus::Degraded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_what_the_breakers_of_the_instances_learn() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let policy = Some(wire::breaker(3, OPEN));
    let request = registration("payments", IsolationLevel::Enhanced);
    client.register(RegisterServiceRequest { policy, ..request }).await.unwrap();
    let mut health = HealthClient::new(manager.channel());
    let mut watch = health.watch(of("payments")).await.unwrap().into_inner();

    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
    let service = cofferdam.service("payments");
    eventually("a policy", async || service.revision().ok_or(())).await;
    for _ in 0..3 {
        service.execute("charge", || async { Err::<(), _>(std::io::Error::other("down")) }).await.unwrap_err();
    }
    until(&mut watch, NOT_SERVING).await;
    let info = client.info("payments").await.unwrap().service.unwrap();
    assert_eq!(info.health.unwrap().status(), HealthStatus::CircuitOpen);
    assert_eq!(info.reported_health, None, "nobody reported it");

    eventually("a closed breaker", async || {
        service.execute("charge", || async { Ok::<_, std::io::Error>(()) }).await.map_err(|error| error.to_string())?;
        if service.breaker_state() == Some(BreakerState::Closed) { Ok(()) } else { Err("not yet closed".to_owned()) }
    })
    .await;
    until(&mut watch, SERVING).await;
}
