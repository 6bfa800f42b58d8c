//! How many instances have a change in force, of how many: whatever becomes of them, it is never said that it is done
//! where it is not.

use crate::sync_fleet::caller;
use cofferdam_proto::v1::wait_for_convergence_request::Quorum;
use cofferdam_proto::v1::{
    GetConvergenceRequest, InstanceSyncState, IsolationLevel, ServiceConvergence, WaitForConvergenceRequest,
};
use cofferdam_tests::wire::{millis, registration, seconds};
use cofferdam_tests::{Behaviour, Client, Direction, Fault, FaultProxy, Instance, Manager, Upstream, eventually};

const SERVICE: &str = "orders-db";

async fn convergence(client: &Client) -> ServiceConvergence {
    let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
    client.get_convergence(request).await.unwrap().convergence.unwrap().services.remove(0)
}

/// Applied, pending, refused, silent; once they are as they should be.
async fn stands(client: &Client, expected: [u32; 4]) -> ServiceConvergence {
    eventually("the instances to stand so", async || {
        let seen = convergence(client).await;
        assert_eq!(seen.instances, seen.applied + seen.pending + seen.refused + seen.silent);
        let stand = [seen.applied, seen.pending, seen.refused, seen.silent];
        if stand == expected { Ok(seen) } else { Err(seen) }
    })
    .await
}

/// Waits for so many instances, and returns whether they were reached and how things stood.
async fn waited(client: &Client, quorum: Option<Quorum>, timeout: prost_types::Duration) -> (bool, ServiceConvergence) {
    let service = SERVICE.to_owned();
    let request = WaitForConvergenceRequest { service, quorum, timeout: Some(timeout), ..Default::default() };
    let answer = client.wait_for_convergence(request).await.unwrap();
    (answer.reached, answer.convergence.unwrap().services.remove(0))
}

fn laggards(seen: &ServiceConvergence) -> Vec<(&str, InstanceSyncState)> {
    seen.laggards.iter().map(|laggard| (laggard.instance_id.as_str(), laggard.state())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_is_silent_and_one_that_ends_is_gone() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let url = manager.url();
    let mut doomed = caller(&url, "doomed", SERVICE, &upstream).await;
    let ending = caller(&url, "ending", SERVICE, &upstream).await;
    let _staying = caller(&url, "staying", SERVICE, &upstream).await;
    client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    let (reached, seen) = waited(&client, Some(Quorum::Count(3)), seconds(30)).await;
    assert!(reached, "{seen:?}");
    assert_eq!((seen.applied, seen.instances), (3, 3));

    doomed.kill();
    let seen = stands(&client, [2, 0, 0, 1]).await;
    assert_eq!(laggards(&seen), [("doomed", InstanceSyncState::Silent)]);
    client.set_level(SERVICE, IsolationLevel::Enhanced).await.unwrap();
    let (reached, _) = waited(&client, Some(Quorum::Count(2)), seconds(30)).await;
    assert!(reached);
    let (reached, seen) = waited(&client, Some(Quorum::Count(3)), millis(50)).await;
    assert!(!reached);
    assert_eq!(laggards(&seen), [("doomed", InstanceSyncState::Silent)]);

    ending.terminate();
    stands(&client, [1, 0, 0, 1]).await;
    let _again = caller(&url, "doomed", SERVICE, &upstream).await;
    stands(&client, [2, 0, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_behind_a_blackhole_is_pending_until_it_has_answered() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let network = FaultProxy::start(manager.address().parse().unwrap()).await;
    let _near = Instance::start(&manager.url(), "near", SERVICE, &upstream.address());
    let far = Instance::start(&network.url(), "far", SERVICE, &upstream.address());
    stands(&client, [2, 0, 0, 0]).await;

    for way in [Direction::ToClient, Direction::ToServer] {
        let before = network.seen().held_back;
        network.set(Fault::Blackhole(way));
        let level = if way == Direction::ToClient { IsolationLevel::Full } else { IsolationLevel::Enhanced };
        client.set_level(SERVICE, level).await.unwrap();
        let (reached, _) = waited(&client, Some(Quorum::Count(1)), seconds(30)).await;
        assert!(reached);
        eventually("something to be lost", async || if network.seen().held_back > before { Ok(()) } else { Err(()) })
            .await;
        let (reached, seen) = waited(&client, Some(Quorum::Count(2)), millis(50)).await;
        assert!(!reached);
        assert_eq!(laggards(&seen), [("far", InstanceSyncState::Pending)]);
        network.set(Fault::None);
        let (reached, seen) = waited(&client, Some(Quorum::Count(2)), seconds(30)).await;
        assert!(reached, "{seen:?}");
    }
    drop(far);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_has_just_started_does_not_take_those_who_came_first_for_all() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let _instance = Instance::start(&manager.url(), "first", SERVICE, &upstream.address());
    stands(&client, [1, 0, 0, 0]).await;
    manager.kill();
    manager.restart().await;
    let client = manager.client();
    stands(&client, [1, 0, 0, 0]).await;
    let service = SERVICE.to_owned();
    let request = WaitForConvergenceRequest { service, timeout: Some(millis(50)), ..Default::default() };
    let answer = client.wait_for_convergence(request).await.unwrap();
    let observed_for = answer.convergence.unwrap().observed_for.unwrap();
    assert!(!answer.reached || observed_for.seconds >= 10, "{observed_for:?}");
    let (reached, _) = waited(&client, None, seconds(30)).await;
    assert!(reached, "it is not too early for ever");
}
