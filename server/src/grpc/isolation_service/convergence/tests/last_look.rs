//! What becomes true just before the time is over.

use std::{sync::Arc, time::Duration};

use cofferdam_core::wire::duration_to_wire;
use cofferdam_proto::v1::{
    WaitForConvergenceRequest, WaitForConvergenceResponse, wait_for_convergence_request::Quorum as WireQuorum,
};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::{
    execute::{Executor, Fence},
    grpc::isolation_service::{IsolationApi, convergence::PAUSE},
    instances::Instances,
    peers::{Local, Peers},
    testing::{FaultyStore, key, registration, registry},
};

/// The answer where the only instance is done after the last look that the time allows, and before it is over.
async fn done_at_the_last_moment(quorum: WireQuorum, settling: Duration) -> WaitForConvergenceResponse {
    let payments = key("default/payments");
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    registry.register(registration("payments")).await.unwrap();
    let registered = registry.get(&payments).unwrap();
    let instances = Arc::new(Instances::new(10, settling));
    let executor = Arc::new(Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new())));
    let local = Local::new(registry, Arc::clone(&instances), executor);
    let api = IsolationApi::new(local, Peers::alone(), CancellationToken::new());
    let session = instances.connect("one", "app", payments.namespace.clone()).unwrap();
    session.follow([(&payments, true)]).unwrap();
    let request = WaitForConvergenceRequest {
        service: "payments".into(),
        timeout: Some(duration_to_wire(PAUSE / 2)),
        quorum: Some(quorum),
        ..Default::default()
    };
    let instance = async {
        yield_now().await;
        // News that change nothing: the next look is a pause away, and that is too late.
        session.unfollow(&key("default/other"));
        for _ in 0..10 {
            yield_now().await;
        }
        session.applied(&payments, registered.revision(), registered.policy_hash());
    };
    let (answer, ()) = tokio::join!(api.wait_for_convergence(&request), instance);
    let answer = answer.unwrap();
    let service = &answer.convergence.as_ref().unwrap().services[0];
    assert_eq!((service.applied, service.instances), (1, 1), "{answer:?}");
    answer
}

#[tokio::test(start_paused = true)]
async fn what_the_last_look_shows_is_what_it_says() {
    for quorum in [WireQuorum::Count(1), WireQuorum::Percent(100)] {
        let answer = done_at_the_last_moment(quorum, Duration::ZERO).await;
        assert!(answer.reached, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn before_all_had_the_time_to_come_only_a_number_is_reached() {
    let settling = Duration::from_secs(10);
    let answer = done_at_the_last_moment(WireQuorum::Count(1), settling).await;
    assert!(answer.reached, "{answer:?}");
    let answer = done_at_the_last_moment(WireQuorum::Percent(100), settling).await;
    assert!(!answer.reached, "{answer:?}");
}
