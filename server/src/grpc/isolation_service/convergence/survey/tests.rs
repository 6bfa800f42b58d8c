use super::*;
use crate::{
    grpc::SyncOptions,
    listener::ListenerOptions,
    peers::PeersOptions,
    testing::{FaultyStore, Manager, key},
};
use cofferdam_core::{policy::Policy, wire::policy_hash};
use tokio::time::Instant;
use tonic::Code;

async fn manager() -> Manager {
    let (sync, listener) = (SyncOptions::default(), ListenerOptions::default());
    Manager::start_among(FaultyStore::new(), sync, listener, Some(PeersOptions::default())).await
}

fn target(service: &str) -> v1::PolicyTarget {
    let revision = Revision { epoch: 1, revision: 1 };
    let (key, hash) = (key(&format!("default/{service}")), policy_hash(&Policy::default()));
    target_to_wire(&Target { key, revision, current: revision, hash, since: Instant::now(), is_contained: false })
}

fn targets(count: usize) -> Vec<v1::PolicyTarget> {
    (0..count).map(|index| target(&format!("s{index}"))).collect()
}

#[tokio::test]
async fn targets_that_cannot_be_read_or_are_too_many_are_refused() {
    let manager = manager().await;
    let manager_id = manager.peers.id().to_owned();
    let unreadable = v1::PolicyTarget { service: "no service".into(), ..target("s0") };
    for targets in [targets(MAX_TARGETS + 1), vec![target("s0"), unreadable]] {
        let mut client = PeerServiceClient::new(manager.channel().await);
        let request = v1::CollectConvergenceRequest { manager_id: manager_id.clone(), targets, max_laggards: 0 };
        let refused = client.collect_convergence(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

#[tokio::test]
async fn more_targets_than_one_question_takes_are_asked_for_by_several() {
    let manager = manager().await;
    let last = format!("s{MAX_TARGETS}");
    let used = [key("default/s0"), key(&format!("default/{last}"))];
    let session = manager.instances.connect("one", "app", used[0].namespace.clone()).unwrap();
    session.follow(used.iter().map(|key| (key, true))).unwrap();
    for (count, services) in [(0, vec![]), (1, vec!["s0"]), (MAX_TARGETS + 1, vec!["s0", &last])] {
        let client = PeerServiceClient::new(manager.channel().await);
        let part = collect(client, manager.peers.id().to_owned(), targets(count), 0).await.unwrap().into_inner();
        let found: Vec<_> = part.services.iter().map(|standing| standing.service.as_str()).collect();
        assert_eq!((found, part.arrived), (services, 1), "{count}");
    }
}

#[test]
fn a_manager_that_only_others_know_is_named() {
    let view = |id: &str, heard: &[&str]| {
        let heard = heard.iter().map(|id| ((*id).to_owned(), 0)).collect();
        (id.to_owned(), 0, heard)
    };
    let silent = v1::UnreachableManager { id: "c".to_owned(), ..Default::default() };
    let views = [view("a", &["b", "c"]), view("b", &["a", "c", "d"])];
    let unknown: Vec<_> = unknown(&views, &[silent]).into_iter().map(|manager| manager.id).collect();
    assert_eq!(unknown, ["d"], "a has just started, and b waits for d's instances");
}
