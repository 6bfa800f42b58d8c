//! What a manager does when there is too much of something: it says so, and goes on serving who is there.

use cofferdam::Cofferdam;
use cofferdam_proto::v1::policy_sync_service_client::PolicySyncServiceClient;
use cofferdam_proto::v1::sync_request::Message as Request;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{Convergence, GetConvergenceRequest, IsolationLevel};
use cofferdam_tests::wire::{fallback, registration, static_json};
use cofferdam_tests::{
    Follower, Grpcurl, Manager, Process, Refusal, Store, eventually, hello, manager_binary, unused_address, within,
    without_settings,
};
use futures_util::future::join_all;
use serde_json::json;
use std::process::Command;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// That it is the refusal of somebody who may come again, and is told when.
fn assert_come_again(status: &Status, quota: &str) {
    let refusal = Refusal::of(status);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{refusal:?}");
    assert_eq!(refusal.metadata["quota"], quota);
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "{status:?}");
}

async fn convergence(manager: &Manager) -> Convergence {
    let answer = manager.client().get_convergence(GetConvergenceRequest::default()).await.unwrap();
    answer.convergence.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_too_many_is_told_when_to_come_again_and_operators_are_served() {
    let manager = Manager::start_with(Store::Memory, &[("COFFERDAM_LIMITS_MAX_INSTANCES", "2")]).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (first, _) = Follower::start(&manager, "one", &["payments"]).await;
    let (mut second, _) = Follower::start(&manager, "two", &["payments"]).await;
    for _ in 0..3 {
        let mut third = Follower::open(&manager).await;
        third.say(Request::Hello(hello("three", &["payments"]))).await;
        assert_come_again(&third.next().await.unwrap_err(), "instances");
    }
    let list = manager.grpcurl().isolation("ListIsolatedServices", &json!({})).unwrap();
    assert_eq!(list["services"][0]["service"]["name"], "payments", "{list}");
    client.set_level("payments", IsolationLevel::Full).await.unwrap();
    assert!(matches!(second.next().await, Ok(Response::Update(_))));

    // An SDK comes by itself when there is room.
    let sdk = Cofferdam::builder("checkout").manager(manager.url()).instance_id("three").start();
    eventually("the refusal", async || {
        let reason = sdk.connection().reason.unwrap_or_default();
        if reason.contains("limits.max_instances") { Ok(()) } else { Err(reason) }
    })
    .await;
    drop(first);
    eventually("the SDK's stream", async || if sdk.connection().is_connected() { Ok(()) } else { Err("away") }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_leave_the_reserved_connections_to_operators() {
    let limits = [("COFFERDAM_LIMITS_MAX_CONNECTIONS", "5"), ("COFFERDAM_LIMITS_RESERVED_CONNECTIONS", "3")];
    let manager = Manager::start_with(Store::Memory, &limits).await;
    let (mut first, _) = Follower::start(&manager, "one", &["payments"]).await;
    let (_second, _) = Follower::start(&manager, "two", &["payments"]).await;
    // More often than there are places: who is sent away does not keep one.
    for _ in 0..10 {
        let refused = eventually("a place among the reserved ones", async || {
            let hello = futures_util::stream::pending();
            let mut client = PolicySyncServiceClient::new(manager.channel());
            let refused = within("a refusal", client.sync(hello)).await.unwrap_err();
            if refused.code() == Code::ResourceExhausted { Ok(refused) } else { Err(refused) }
        })
        .await;
        assert_come_again(&refused, "connections");
    }
    eventually("grpcurl's answer", async || manager.grpcurl().isolation("ListIsolatedServices", &json!({}))).await;
    let client = manager.client();
    eventually("a registration", async || client.register(registration("payments", IsolationLevel::Basic)).await).await;
    assert!(matches!(first.next().await, Ok(Response::Update(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_does_not_get_all_connections() {
    let manager = Manager::start_with(Store::Memory, &[("COFFERDAM_LIMITS_MAX_CONNECTIONS_PER_IP", "3")]).await;
    let follower = Follower::start(&manager, "one", &[]).await.0;
    let kept: Vec<_> = join_all((0..2).map(|_| TcpStream::connect(manager.address()))).await;
    let mut over = TcpStream::connect(manager.address()).await.unwrap();
    let mut rest = Vec::new();
    let end = within("the end of a connection too many", over.read_to_end(&mut rest)).await;
    assert!(end.is_err() || rest.is_empty());
    drop(kept);
    let client = manager.client();
    eventually("a free place", async || client.register(registration("payments", IsolationLevel::Basic)).await).await;
    follower.say(Request::Subscribe(Default::default())).await;
    drop(follower);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_stands_still_is_cut_at_its_deadline() {
    let manager = Manager::start_with(Store::Memory, &[("COFFERDAM_LISTEN_HANDSHAKE_TIMEOUT", "200ms")]).await;
    let mut silent = join_all((0..50).map(|_| TcpStream::connect(manager.address()))).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let ends = silent.iter_mut().map(|socket| async {
        let read = within("the cut", socket.as_mut().unwrap().read(&mut [0; 64])).await;
        assert!(read.as_ref().is_err() || read.as_ref().is_ok_and(|count| *count == 0), "{read:?}");
    });
    join_all(ends).await;
    client.stats().await.unwrap();
}

/// The manager runs out of file descriptors: it waits, and takes in whoever comes when there are some again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_without_file_descriptors_comes_round() {
    let address = unused_address();
    let script = format!("ulimit -n 48; exec \"$0\" serve --store memory --listen {address}");
    let mut command = Command::new("sh");
    let mut manager =
        Process::start("manager", without_settings(&mut command).arg("-c").arg(script).arg(manager_binary()));
    manager.printed("its start line", |line| line.contains("is listening").then_some(())).await;
    let crowd: Vec<_> = join_all((0..64).map(|_| TcpStream::connect(address.clone()))).await;
    manager.printed("that it has none", |line| line.contains("no connection could be accepted").then_some(())).await;
    drop(crowd);
    let grpcurl = Grpcurl::at(address);
    eventually("an answer", async || grpcurl.isolation("ListIsolatedServices", &json!({}))).await;
    manager.terminate();
    assert_eq!(manager.exit().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_stops_with_fifty_streams_open_ends_well_and_its_instances_come_again() {
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let instances: Vec<_> = (0..50)
        .map(|index| {
            let id = format!("checkout-{index}");
            let sdk = Cofferdam::builder("checkout").manager(manager.url()).instance_id(id).start();
            (sdk.service("payments"), sdk)
        })
        .collect();
    let all_applied = async |manager: &Manager| {
        eventually("all instances with the policy", async || {
            let convergence = convergence(manager).await;
            let service = convergence.services.first();
            let is_done = convergence.converged_services == 1 && service.is_none_or(|service| service.applied == 50);
            let stats = manager.client().stats().await.unwrap();
            if is_done && stats.services[0].instances == 50 { Ok(()) } else { Err(format!("{convergence:?}")) }
        })
        .await;
    };
    all_applied(&manager).await;
    manager.process().terminate();
    let exit = manager.process().exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(!exit.log.contains("closing the connections that did not end"), "{exit:?}");
    manager.restart().await;
    all_applied(&manager).await;
    drop(instances);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_a_certain_age_is_opened_anew_and_nobody_notices() {
    let manager = Manager::start_with(Store::Memory, &[("COFFERDAM_SYNC_MAX_AGE", "1s")]).await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let mut follower = Follower::start(&manager, "one", &["payments"]).await.0;
    let farewell = follower.next().await;
    assert!(matches!(farewell, Ok(Response::Reconnect(_))), "{farewell:?}");

    let sdk = Cofferdam::builder("checkout").manager(manager.url()).instance_id("two").start();
    let service = sdk.service("payments");
    eventually("two streams, one after the other", async || {
        service.execute("m", async || Ok::<_, Status>(())).await.unwrap();
        let reason = sdk.connection().reason;
        if reason.is_some_and(|reason| reason.contains("asked to come again")) { Ok(()) } else { Err("the first one") }
    })
    .await;
    eventually("the second stream", async || if sdk.connection().is_connected() { Ok(()) } else { Err("away") }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_stops_reading_is_cut_off_and_delays_nobody() {
    let manager = Manager::start_with(Store::Memory, &[("COFFERDAM_SYNC_STALL_TIMEOUT", "1s")]).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let stuck = Follower::start(&manager, "stuck", &["payments"]).await.0;
    let (mut reading, _) = Follower::start(&manager, "reads", &["payments"]).await;
    // More than what the way to it holds; a change that the one who reads has is one that nobody held up.
    let large = ["x", "y"].map(|letter| format!("\"{}\"", letter.repeat(60_000)));
    eventually("that it is stuck and cut off", async || {
        for answer in &large {
            client.update_fallback("payments", fallback([static_json(answer)])).await.unwrap();
            let told = reading.next().await;
            assert!(matches!(told, Ok(Response::Update(_))), "{told:?}");
        }
        let convergence = convergence(&manager).await;
        let laggards = convergence.services.iter().flat_map(|service| &service.laggards);
        let state = laggards.filter(|laggard| laggard.instance_id == "stuck").map(|laggard| laggard.state()).next();
        match state {
            Some(cofferdam_proto::v1::InstanceSyncState::Silent) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    drop(stuck);
}
