//! The end of a manager with streams open (P17).

use super::{SERVICE, near_and_far};
use cofferdam::Cofferdam;
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Direction, Fault, Follower, Manager, Store, eventually};
use futures_util::future::join_all;
use tonic::Code;

/// What the manager logs when connections are still there after its grace.
const CLOSING: &str = "closing the connections that did not end";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p17_two_hundred_streams_are_each_asked_to_come_again_and_the_manager_ends_by_itself() {
    let mut manager = Manager::start_with(Store::Memory, &[("COFFERDAM_LISTEN_GRACE", "20s")]).await;
    manager.client().register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let names: Vec<_> = (0..200).map(|index| format!("task-{index}")).collect();
    let followers = join_all(names.iter().map(|name| Follower::start(&manager, name, &[SERVICE]))).await;

    manager.process().terminate();
    let told = followers.into_iter().map(async |(mut follower, _)| {
        let farewell = follower.next().await;
        assert!(matches!(farewell, Ok(Response::Reconnect(_))), "{farewell:?}");
        // It says nothing more, and does not end its own half of the stream: the manager does not wait for it.
        let end = follower.next().await.unwrap_err();
        assert_eq!(end.code(), Code::Ok, "{end:?}");
    });
    join_all(told).await;
    let exit = manager.process().exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.log.contains("stopped") && !exit.log.contains(CLOSING), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p17_whoever_cannot_hear_it_delays_the_end_by_the_grace_and_no_longer() {
    let (mut manager, _client, network, near, far) = near_and_far(&[("COFFERDAM_LISTEN_GRACE", "1s")]).await;
    let crowd: Vec<_> = (0..20)
        .map(|index| {
            let id = format!("task-{index}");
            let cofferdam = Cofferdam::builder("checkout").manager(network.url()).instance_id(id).start();
            (cofferdam.service(SERVICE), cofferdam)
        })
        .collect();
    eventually("the crowd", async || {
        let here = crowd.iter().filter(|(_, cofferdam)| cofferdam.connection().is_connected()).count();
        if here == crowd.len() { Ok(()) } else { Err(here) }
    })
    .await;
    network.set(Fault::Blackhole(Direction::Both));
    manager.process().terminate();
    let exit = manager.process().exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    assert!(exit.log.contains(CLOSING), "there was nobody left to close: {exit:?}");
    assert!(network.seen().held_back > 0, "nothing was lost");
    for service in crowd.iter().map(|(service, _)| service).chain([&near.service, &far.service]) {
        service.execute("get", || async { Ok::<_, std::io::Error>(7) }).await.unwrap();
    }
}
