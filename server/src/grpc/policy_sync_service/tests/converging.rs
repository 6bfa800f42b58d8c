//! How far a policy has come, as operators see it.

use cofferdam_proto::v1::{
    GetConvergenceRequest, InstanceSyncState as State, WaitForConvergenceRequest, sync_request::Message,
    wait_for_convergence_request::Quorum,
};
use tonic::Code;

use super::*;
use crate::testing::reason;

async fn convergence(manager: &Manager, request: GetConvergenceRequest) -> Result<v1::Convergence, Status> {
    let answer = manager.client().await.get_convergence(request).await?;
    Ok(answer.into_inner().convergence.unwrap())
}

async fn of(manager: &Manager, service: &str) -> v1::ServiceConvergence {
    let request = GetConvergenceRequest { service: service.to_owned(), ..Default::default() };
    convergence(manager, request).await.unwrap().services.remove(0)
}

/// Applied, pending, refused, silent; once they are as they should be.
async fn stands(manager: &Manager, service: &str, expected: [u32; 4]) -> v1::ServiceConvergence {
    let asking = async {
        loop {
            let seen = of(manager, service).await;
            assert_eq!(seen.instances, seen.applied + seen.pending + seen.refused + seen.silent);
            if [seen.applied, seen.pending, seen.refused, seen.silent] == expected {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it never stood so")
}

fn wait(service: &str, quorum: Option<Quorum>, timeout: Duration) -> WaitForConvergenceRequest {
    let timeout = cofferdam_core::wire::duration_to_wire(timeout);
    WaitForConvergenceRequest { service: service.to_owned(), quorum, timeout: Some(timeout), ..Default::default() }
}

async fn waited(manager: &Manager, request: WaitForConvergenceRequest) -> Result<(bool, v1::Convergence), Status> {
    let answer = manager.client().await.wait_for_convergence(request).await?.into_inner();
    Ok((answer.reached, answer.convergence.unwrap()))
}

fn nack(update: &v1::PolicyUpdate) -> Message {
    let nack = v1::PolicyNack {
        service: update.service.clone(),
        revision: update.revision,
        // Whoever may connect may try to write on an operator's terminal.
        reason: "\u{1b}[2Jcannot\nok".to_owned(),
        field_path: "retry.max_attempts\n".to_owned(),
        applied_revision: None,
        contained: false,
        applied_policy_hash: Default::default(),
    };
    Message::Nack(nack)
}

/// A release that improves a default changes what is in force under a revision that nobody has changed.
#[tokio::test]
async fn who_has_another_policy_under_the_revision_is_sent_ours_and_done_by_its_hash() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let revision = manager.registry.get(&crate::testing::key("default/payments")).unwrap().revision();
    let revision = Some(cofferdam_core::wire::revision_to_wire(revision));
    let of_another_release: tonic::codegen::Bytes = vec![7; 16].into();
    let applied =
        v1::AppliedPolicy { service: "payments".to_owned(), revision, policy_hash: of_another_release.clone() };
    let hello = v1::SyncHello { applied: vec![applied], ..hello("one", &["payments"]) };
    let mut instance = Instance::connect(&manager, hello).await;
    let update = instance.update().await;
    assert_eq!(update.revision, revision);
    instance.complete().await;

    let ack = v1::PolicyAck { service: "payments".to_owned(), revision, policy_hash: of_another_release };
    instance.say(Message::Ack(ack)).await;
    let is_diverged = |seen: &v1::ServiceConvergence| seen.laggards[0].reason.contains("another policy");
    while !is_diverged(&stands(&manager, "payments", [0, 1, 0, 0]).await) {}
    instance.ack(&update).await;
    stands(&manager, "payments", [1, 0, 0, 0]).await;
}

#[tokio::test]
async fn n_of_m_and_who_is_missing_and_why() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    assert_eq!(of(&manager, "payments").await.instances, 0);
    let mut instances = Vec::new();
    for id in ["good", "bad", "slow"] {
        instances.push(Instance::connect(&manager, hello(id, &["payments"])).await);
    }
    // A process of its own, as far as its connection goes: it will crash.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let channel = manager.channel_of(process.handle()).await;
    instances.push(Instance::on(channel, hello("gone", &["payments"])).await);
    stands(&manager, "payments", [0, 4, 0, 0]).await;
    let mut updates = Vec::new();
    for instance in &mut instances {
        updates.push(instance.update().await);
    }
    instances[0].ack(&updates[0]).await;
    instances[1].say(nack(&updates[1])).await;
    instances[3].ack(&updates[3]).await;
    stands(&manager, "payments", [2, 1, 1, 0]).await;
    process.shutdown_background();
    let seen = stands(&manager, "payments", [1, 1, 1, 1]).await;
    let told = seen.laggards.iter().map(|lag| (lag.instance_id.as_str(), lag.state(), lag.reason.as_str()));
    let laggards: Vec<_> = told.collect();
    assert_eq!(
        laggards,
        [
            ("bad", State::Refused, " [2Jcannot ok"),
            ("gone", State::Silent, "its stream broke off"),
            ("slow", State::Pending, "no answer yet"),
        ]
    );
    assert_eq!(seen.laggards[0].field_path, "retry.max_attempts ");
    assert_eq!(seen.laggards[1].applied_revision, updates[3].revision);
    assert!(seen.laggards.iter().all(|lag| lag.application == "checkout" && lag.age.is_some()));
    assert_eq!((seen.revision, seen.current_revision), (updates[0].revision, updates[0].revision));
    let request = GetConvergenceRequest { service: "payments".to_owned(), max_laggards: 1, ..Default::default() };
    let seen = convergence(&manager, request).await.unwrap().services.remove(0);
    assert_eq!((seen.laggards.len(), seen.laggards_left_out), (1, 2));

    // A process that ends in good order says so by ending its own side of the stream.
    let Instance { say, hear: _hear } = instances.remove(2);
    drop(say);
    stands(&manager, "payments", [1, 0, 1, 1]).await;
}

#[tokio::test]
async fn waiting_ends_with_the_last_acknowledgement_and_not_before() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut one = Instance::connect(&manager, hello("one", &["payments"])).await;
    let mut two = Instance::connect(&manager, hello("two", &["payments"])).await;
    let (first, second) = (one.update().await, two.update().await);
    one.ack(&first).await;
    stands(&manager, "payments", [1, 1, 0, 0]).await;

    let soon = Duration::from_millis(20);
    for (quorum, is_reached) in [
        (Some(Quorum::Count(1)), true),
        (Some(Quorum::Percent(50)), true),
        (Some(Quorum::Percent(51)), false),
        (Some(Quorum::Count(2)), false),
        (None, false),
    ] {
        let (reached, convergence) = waited(&manager, wait("payments", quorum, soon)).await.unwrap();
        assert_eq!(reached, is_reached, "{quorum:?}");
        let seen = &convergence.services[0];
        assert_eq!((seen.applied, seen.instances, seen.laggards[0].instance_id.as_str()), (1, 2, "two"));
    }

    let mut client = manager.client().await;
    let waiting = tokio::spawn(async move { client.wait_for_convergence(wait("payments", None, PATIENCE)).await });
    two.ack(&second).await;
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap().into_inner();
    let seen = answer.convergence.unwrap();
    assert!(answer.reached);
    assert_eq!((seen.services[0].applied, seen.services[0].instances), (2, 2));
    assert_eq!((seen.total_services, seen.converged_services), (1, 1));

    // The next policy has come nowhere yet; the first one still counts where it is asked for.
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    let (reached, _) = waited(&manager, wait("payments", None, soon)).await.unwrap();
    assert!(!reached);
    let earlier = WaitForConvergenceRequest { revision: first.revision, ..wait("payments", None, soon) };
    assert!(waited(&manager, earlier).await.unwrap().0);
}

#[tokio::test]
async fn nobody_is_not_everybody() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let soon = Duration::from_millis(20);
    for service in ["payments", ""] {
        let (reached, convergence) = waited(&manager, wait(service, None, soon)).await.unwrap();
        assert!(!reached, "{service:?}: {convergence:?}");
    }
}

#[tokio::test]
async fn a_namespace_names_the_services_that_are_not_done() {
    let manager = Manager::start().await;
    for name in ["a", "b", "unused"] {
        register(&manager, name).await;
    }
    let mut one = Instance::connect(&manager, hello("one", &["a", "b"])).await;
    let (a, b) = (one.update().await, one.update().await);
    one.ack(&a).await;
    stands(&manager, "a", [1, 0, 0, 0]).await;
    let seen = convergence(&manager, GetConvergenceRequest::default()).await.unwrap();
    let names: Vec<_> = seen.services.iter().map(|service| service.service.as_str()).collect();
    assert_eq!((names.as_slice(), seen.total_services, seen.converged_services), (["b"].as_slice(), 2, 1));
    one.ack(&b).await;
    let (reached, seen) = waited(&manager, wait("", None, PATIENCE)).await.unwrap();
    assert!(reached && seen.services.is_empty());
}

#[tokio::test]
async fn what_cannot_be_asked() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let revision = Some(v1::Revision { epoch: 1, revision: 1 });
    let gets = [
        (GetConvergenceRequest { revision, ..Default::default() }, "revision"),
        (GetConvergenceRequest { max_laggards: 1001, ..Default::default() }, "max_laggards"),
        (GetConvergenceRequest { namespace: "No".to_owned(), ..Default::default() }, "namespace"),
        (GetConvergenceRequest { service: "No".to_owned(), ..Default::default() }, "service"),
    ];
    for (request, path) in gets {
        let status = convergence(&manager, request).await.unwrap_err();
        assert_eq!((status.code(), status.message().contains(path)), (Code::InvalidArgument, true), "{status:?}");
    }
    let second = Duration::from_secs(1);
    let waits = [
        (wait("payments", Some(Quorum::Count(0)), second), "count"),
        (wait("payments", Some(Quorum::Percent(0)), second), "percent"),
        (wait("payments", Some(Quorum::Percent(101)), second), "percent"),
        (wait("payments", None, Duration::from_secs(601)), "timeout"),
    ];
    for (request, path) in waits {
        let status = waited(&manager, request).await.unwrap_err();
        assert_eq!((status.code(), status.message().contains(path)), (Code::InvalidArgument, true), "{status:?}");
    }
    // No instance can have what was never written: healthy ones were said to be of another release.
    let present = of(&manager, "payments").await.current_revision.unwrap();
    for epoch in [present.epoch, 0] {
        let revision = Some(v1::Revision { revision: present.revision + 1, epoch });
        let never = WaitForConvergenceRequest { revision, ..wait("payments", None, second) };
        let status = waited(&manager, never).await.unwrap_err();
        let is_said = status.message().contains("is not there yet");
        assert_eq!((status.code(), is_said), (Code::InvalidArgument, true), "{status:?}");
    }
    let status = waited(&manager, wait("payment", None, second)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "SERVICE_NOT_FOUND"));
    assert!(status.message().contains("payments"), "{status:?}");
}

#[tokio::test]
async fn a_manager_that_stops_does_not_keep_anybody_waiting() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut client = manager.client().await;
    let waiting = tokio::spawn(async move { client.wait_for_convergence(wait("payments", None, PATIENCE * 10)).await });
    // It has arrived once it waits for progress, as whoever tells events does.
    while manager.instances.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    manager.drain();
    let status = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap().unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
}
