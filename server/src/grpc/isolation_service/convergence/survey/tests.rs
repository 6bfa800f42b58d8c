use super::*;
use crate::{
    execute::{Executor, Fence},
    grpc::SyncOptions,
    listener::ListenerOptions,
    peers::{Local, Peers, PeersOptions},
    testing::{FaultyStore, Manager, key, registry},
};
use cofferdam_core::{policy::Policy, wire::policy_hash};
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Code;

async fn manager() -> Manager {
    let (sync, listener) = (SyncOptions::default(), ListenerOptions::default());
    Manager::start_among(FaultyStore::new(), sync, listener, Some(PeersOptions::default())).await
}

fn own_target(service: &str) -> Target {
    let revision = Revision { epoch: 1, revision: 1 };
    let (key, hash) = (key(&format!("default/{service}")), policy_hash(&Policy::default()));
    Target { key, revision, current: revision, hash, since: Instant::now(), is_contained: false, in_place: None }
}

fn target(service: &str) -> v1::PolicyTarget {
    target_to_wire(&own_target(service))
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

/// Of a service that all of the instances that were counted have in force.
fn survey(unreachable: &[&str], doubts: &[&str]) -> Survey {
    let named = |ids: &[&str]| {
        ids.iter().map(|id| v1::UnreachableManager { id: (*id).to_owned(), ..Default::default() }).collect()
    };
    let standing = v1::ServiceConvergence { applied: 1, instances: 1, ..Default::default() };
    Survey { services: vec![(own_target("s0"), standing)], unreachable: named(unreachable), doubts: named(doubts) }
}

#[tokio::test]
async fn who_is_silent_keeps_a_share_and_who_is_in_doubt_a_number_from_being_reached() {
    let (share, number) = (Quorum::Percent(100), Quorum::Count(1));
    for (unreachable, doubts, of_share, of_number) in [
        (&[][..], &[][..], true, true),
        (&["b"][..], &[][..], false, true),
        (&[][..], &["b"][..], false, false),
        (&["c"][..], &["b"][..], false, false),
    ] {
        let survey = survey(unreachable, doubts);
        let reached = (survey.is_reached(share), survey.is_reached(number));
        assert_eq!(reached, (of_share, of_number), "silent {unreachable:?}, in doubt {doubts:?}");
    }
}

#[tokio::test]
async fn a_manager_of_which_others_have_not_heard_what_it_has_counted_is_in_doubt() {
    let registry = Arc::new(registry(&FaultyStore::new()).await);
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let executor = Arc::new(Executor::new(Arc::clone(&registry), Fence::loopback_except(Vec::new())));
    let api = IsolationApi::new(Local::new(registry, instances, executor), Peers::alone(), CancellationToken::new());
    let view = |id: &str, arrived: u64, (other, heard): (&str, u64)| -> View {
        (id.to_owned(), arrived, BTreeMap::from([(other.to_owned(), heard)]))
    };
    for (a_of_b, b_of_a, expected) in
        [(1, 2, &[][..]), (1, 1, &["a"]), (0, 2, &["b"]), (2, 2, &["b"]), (0, 3, &["a", "b"])]
    {
        let doubts = api.doubts(&[view("a", 2, ("b", a_of_b)), view("b", 1, ("a", b_of_a))]);
        let ids: Vec<_> = doubts.iter().map(|manager| &*manager.id).collect();
        assert_eq!(ids, expected, "a has heard of {a_of_b} at b, and b of {b_of_a} at a");
    }
}
