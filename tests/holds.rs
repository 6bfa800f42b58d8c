//! What operators order for a service apart from its policy: holds, trips, resets and temporary levels, from grpcurl to
//! the process that calls, with the manager there and dead.

use cofferdam::{BreakerState, Cofferdam, Error, Level, OpenedBy, Service};
use cofferdam_proto::v1::{
    ForcedState, HoldBreakerRequest, IsolationLevel, ReleaseBreakerRequest, ResetBreakerRequest,
    SetIsolationLevelRequest, TripBreakerRequest,
};
use cofferdam_tests::wire::{registration, registration_at, revision, seconds};
use cofferdam_tests::{Behaviour, Client, Etcd, Manager, Store, Upstream, eventually};
use serde_json::{Value, json};
use std::convert::Infallible;
use tonic::Code;

const SERVICE: &str = "orders-db";

async fn get(service: &Service) -> Result<(), Error<Infallible>> {
    service.execute("Get", || async { Ok(()) }).await
}

/// A process that follows the service.
async fn instance(url: &str) -> (Cofferdam, Service) {
    let cofferdam = Cofferdam::builder("checkout").manager(url).start();
    let service = cofferdam.service(SERVICE);
    eventually("the first policy", async || service.revision().ok_or(())).await;
    (cofferdam, service)
}

/// Waits until a process has a revision in force.
async fn follows(service: &Service, at: u64) {
    eventually("the revision", async || {
        let seen = service.revision().map(|seen| seen.revision);
        if seen == Some(at) { Ok(()) } else { Err(seen) }
    })
    .await;
}

fn held_open(ttl: Option<i64>) -> HoldBreakerRequest {
    HoldBreakerRequest {
        service: SERVICE.to_owned(),
        forced: ForcedState::Open.into(),
        ttl: ttl.map(seconds),
        owner: "alice".to_owned(),
        reason: "the disk is being changed".to_owned(),
        ..HoldBreakerRequest::default()
    }
}

async fn hold(client: &Client, ttl: Option<i64>) -> u64 {
    let answer = client.hold_breaker(held_open(ttl)).await.unwrap();
    revision(answer.service.as_ref()).revision
}

async fn release(client: &Client) -> u64 {
    let (service, reason) = (SERVICE.to_owned(), "it is changed".to_owned());
    let request = ReleaseBreakerRequest { service, reason, ..ReleaseBreakerRequest::default() };
    revision(client.release_breaker(request).await.unwrap().service.as_ref()).revision
}

async fn trip(client: &Client) -> u64 {
    let (service, reason) = (SERVICE.to_owned(), "a drill".to_owned());
    let request = TripBreakerRequest { service, reason, open_duration: Some(seconds(600)), ..Default::default() };
    revision(client.trip_breaker(request).await.unwrap().service.as_ref()).revision
}

async fn reset(client: &Client) -> u64 {
    let (service, reason) = (SERVICE.to_owned(), "it works".to_owned());
    let request = ResetBreakerRequest { service, reason, ..ResetBreakerRequest::default() };
    revision(client.reset_breaker(request).await.unwrap().service.as_ref()).revision
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_obeyed_and_ends_on_time_with_the_manager_killed() {
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let (_cofferdam, service) = instance(&manager.url()).await;
    get(&service).await.unwrap();

    // On a machine that is busy beyond measure it may be over before it has come: then for longer.
    let mut ttl = 2;
    loop {
        let at = hold(&client, Some(ttl)).await;
        follows(&service, at).await;
        match get(&service).await {
            Err(Error::Open { by: OpenedBy::Hold(hold), .. }) => {
                assert_eq!((hold.owner(), hold.reason()), ("alice", "the disk is being changed"));
                break;
            }
            live => live.unwrap(),
        }
        ttl *= 2;
    }
    manager.kill();
    eventually("calls to go through again", async || get(&service).await).await;
    assert!(service.holds().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpcurl_holds_shows_and_releases_and_is_told_what_is_wrong() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::start(Store::Memory).await;
    let (client, grpcurl) = (manager.client(), manager.grpcurl());
    client.register(registration_at(SERVICE, IsolationLevel::Enhanced, &upstream.address())).await.unwrap();
    let (_cofferdam, service) = instance(&manager.url()).await;

    let hold = json!({"service": SERVICE, "forced": "FORCED_STATE_OPEN", "ttl": "3600s", "reason": "a drill"});
    let held = grpcurl.isolation("HoldBreaker", &hold).unwrap();
    let at: u64 = held["service"]["revision"]["revision"].as_str().unwrap().parse().unwrap();
    follows(&service, at).await;
    assert!(matches!(get(&service).await, Err(Error::Open { by: OpenedBy::Hold(_), .. })));
    let refusal = client.execute(SERVICE, "get", "").await.unwrap_err();
    assert_eq!((refusal.code, refusal.metadata["opened_by"].as_str()), (Code::Unavailable, "hold"), "{refusal:?}");

    let info = |path: fn(&Value) -> Value| {
        path(&grpcurl.isolation("GetServiceIsolationInfo", &json!({"service": SERVICE})).unwrap())
    };
    let shown = info(|info| info["service"]["holds"][0].clone());
    assert_eq!((&shown["forced"], &shown["reason"]), (&json!("FORCED_STATE_OPEN"), &json!("a drill")), "{shown}");
    assert!(shown["endsIn"].is_string() && shown["heldTooLong"].is_null(), "{shown}");
    eventually("the instance to report it", async || {
        let stats = info(|info| info["stats"].clone());
        if stats["heldInstances"] == 1 { Ok(()) } else { Err(stats) }
    })
    .await;

    let released = json!({"service": SERVICE, "reason": "done"});
    grpcurl.isolation("ReleaseBreaker", &released).unwrap();
    assert_eq!(info(|info| info["service"]["holds"].clone()), Value::Null);
    eventually("calls to go through again", async || get(&service).await).await;

    for (method, request, code, reason, words) in [
        ("ReleaseBreaker", released, "NotFound", "HOLD_NOT_FOUND", "it is not held"),
        ("HoldBreaker", json!({"service": SERVICE}), "InvalidArgument", "INVALID_FIELD", "forced must be set"),
        (
            "TripBreaker",
            json!({"service": SERVICE, "reason": "a drill", "target": {"pool": "reads"}}),
            "FailedPrecondition",
            "NO_BREAKER",
            "target.pool",
        ),
        ("ResetBreaker", json!({"service": "orders-bd", "reason": "x"}), "NotFound", "SERVICE_NOT_FOUND", SERVICE),
    ] {
        let refused = grpcurl.isolation(method, &request).unwrap_err();
        assert_eq!(refused.code, code, "{}", refused.text);
        assert!(refused.text.contains(reason) && refused.text.contains(words), "{}", refused.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_and_a_reset_are_done_once_and_not_again_by_who_starts_later() {
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let (_cofferdam, service) = instance(&manager.url()).await;
    let tripped = trip(&client).await;
    follows(&service, tripped).await;
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
    let (_later, fresh) = instance(&manager.url()).await;
    assert_eq!((fresh.revision(), fresh.breaker_state()), (service.revision(), Some(BreakerState::Closed)));

    // Given while nobody is connected, it is done by who comes back.
    manager.kill();
    manager.restart().await;
    let at = reset(&manager.client()).await;
    follows(&service, at).await;
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
    let at = trip(&manager.client()).await;
    follows(&fresh, at).await;
    assert_eq!(fresh.breaker_state(), Some(BreakerState::Open));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_level_goes_back_with_the_manager_killed() {
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let (_cofferdam, service) = instance(&manager.url()).await;
    let mut ttl = 2;
    loop {
        let request = SetIsolationLevelRequest {
            service: SERVICE.to_owned(),
            level: IsolationLevel::None.into(),
            ttl: Some(seconds(ttl)),
            reason: "a drill".to_owned(),
            ..SetIsolationLevelRequest::default()
        };
        let answer = client.set_isolation_level(request).await.unwrap();
        let shown = answer.service.clone().unwrap();
        assert_eq!(shown.written_policy.unwrap().level(), IsolationLevel::Enhanced);
        follows(&service, revision(answer.service.as_ref()).revision).await;
        if service.policy().level == Level::None {
            break;
        }
        ttl *= 2;
    }
    manager.kill();
    eventually("the level to go back", async || {
        let level = service.policy().level;
        if level == Level::Enhanced { Ok(()) } else { Err(level) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_at_one_manager_is_obeyed_by_an_instance_at_another() {
    let etcd = Etcd::start(1).await;
    let (one, other) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    one.client().register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let (_cofferdam, service) = instance(&other.url()).await;
    let at = hold(&one.client(), None).await;
    follows(&service, at).await;
    assert!(matches!(get(&service).await, Err(Error::Open { by: OpenedBy::Hold(_), .. })));
    let at = release(&one.client()).await;
    follows(&service, at).await;
    get(&service).await.unwrap();
}
