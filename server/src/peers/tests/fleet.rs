//! Managers that find each other in a store, on real sockets.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cofferdam_core::{breaker::State, health::HealthStatus, stats::CounterSnapshot};
use cofferdam_proto::v1;

use super::super::PeersOptions;
use crate::{
    activity::Activity,
    grpc::SyncOptions,
    instances::{Condition, Report, Session},
    listener::ListenerOptions,
    store::Store,
    testing::{FaultyStore, Manager, PATIENCE, key, registration},
};

async fn manager(store: &Arc<FaultyStore>) -> Manager {
    let options =
        PeersOptions { timeout: Duration::from_secs(2), lease: Duration::from_secs(1), ..PeersOptions::default() };
    let listener = ListenerOptions { grace: Duration::from_secs(5), ..ListenerOptions::default() };
    Manager::start_among(Arc::clone(store), SyncOptions::default(), listener, Some(options)).await
}

/// Looks again until something holds.
pub(super) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("in vain: {what}"));
}

/// Managers that have heard of each other.
pub(super) async fn fleet(store: &Arc<FaultyStore>, size: usize) -> Vec<Manager> {
    let mut managers = Vec::new();
    for _ in 0..size {
        managers.push(manager(store).await);
    }
    let ids: Vec<_> = managers.iter().map(|manager| manager.peers.id().to_owned()).collect();
    for manager in &managers {
        until("managers to find each other", async || {
            let known = manager.peers.heard();
            ids.iter().filter(|id| *id != manager.peers.id()).all(|id| known.contains_key(id))
        })
        .await;
    }
    managers
}

pub(super) fn connect(manager: &Manager, id: &str) -> Session {
    let session = manager.instances.connect(id, "app", key("default/payments").namespace).unwrap();
    session.follow([(&key("default/payments"), true)]).unwrap();
    session
}

fn calls(session: &Session, calls: u64, state: State, health: HealthStatus) {
    let counters = CounterSnapshot { calls, ..CounterSnapshot::default() };
    let condition = Condition { breaker: Some(state), health: Some(health) };
    let activity = Activity { counters, ..Activity::default() };
    let report = Report { activity, condition, learned: Some(state), is_registered: true, ..Report::default() };
    session.report(&key("default/payments"), report);
}

async fn stats(manager: &Manager) -> v1::GetIsolationStatsResponse {
    let request = v1::GetIsolationStatsRequest {
        service: "payments".into(),
        include_instances: true,
        include_history: true,
        ..Default::default()
    };
    manager.client().await.get_isolation_stats(request).await.unwrap().into_inner()
}

async fn wait(manager: &Manager, timeout: Duration) -> v1::WaitForConvergenceResponse {
    let timeout = Some(prost_types::Duration::try_from(timeout).unwrap());
    let request = v1::WaitForConvergenceRequest { service: "payments".into(), timeout, ..Default::default() };
    manager.client().await.wait_for_convergence(request).await.unwrap().into_inner()
}

async fn convergence(manager: &Manager) -> v1::Convergence {
    let request = v1::GetConvergenceRequest { service: "payments".into(), ..Default::default() };
    manager.client().await.get_convergence(request).await.unwrap().into_inner().convergence.unwrap()
}

#[tokio::test]
async fn whichever_manager_is_asked_says_the_same() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 3).await;
    managers[0].registry.register(registration("payments")).await.unwrap();
    for manager in &managers {
        until("all to know the service", async || manager.registry.get(&key("default/payments")).is_some()).await;
    }
    let (one, two) = (connect(&managers[0], "one"), connect(&managers[1], "two"));
    calls(&one, 3, State::Closed, HealthStatus::Healthy);
    calls(&two, 4, State::Open, HealthStatus::CircuitOpen);
    for manager in &managers {
        let said = stats(manager).await;
        assert_eq!(said.unreachable_managers, []);
        assert_eq!(said.stats.as_ref().unwrap().counters.unwrap().calls, 7);
        assert_eq!(said.stats.unwrap().open_services, 1);
        let service = &said.services[0];
        assert_eq!((service.instances, service.open_instances), (2, 1));
        assert_eq!(service.open_instance_ids, ["two"]);
        let ids: Vec<_> = said.instances.iter().map(|row| row.instance_id.as_str()).collect();
        assert_eq!(ids, ["one", "two"]);
        let in_slots: u64 = said.history.iter().map(|p| p.calls.as_ref().unwrap().counters.unwrap().calls).sum();
        assert_eq!(in_slots, 7);
        until("health to be the same everywhere", async || {
            let request = v1::GetServiceIsolationInfoRequest { service: "payments".into(), ..Default::default() };
            let info = manager.client().await.get_service_isolation_info(request).await.unwrap().into_inner();
            let service = info.service.unwrap();
            let health = service.health.as_ref().map(v1::ServiceHealth::status);
            (service.breaker_state(), health) == (v1::BreakerState::Open, Some(v1::HealthStatus::CircuitOpen))
        })
        .await;
    }
}

#[tokio::test]
async fn all_of_the_fleet_have_to_be_done_and_who_moves_counts_once() {
    let store = FaultyStore::new();
    let managers = fleet(&store, 3).await;
    managers[0].registry.register(registration("payments")).await.unwrap();
    let payments = key("default/payments");
    for manager in &managers {
        until("all to know the service", async || manager.registry.get(&payments).is_some()).await;
    }
    let registered = managers[0].registry.get(&payments).unwrap();
    let apply = |session: &Session| session.applied(&payments, registered.revision(), registered.policy_hash());
    let (one, two) = (connect(&managers[0], "one"), connect(&managers[1], "two"));
    apply(&one);
    let answer = wait(&managers[2], Duration::from_millis(300)).await;
    assert!(!answer.reached, "two is not done: {answer:?}");
    apply(&two);
    let answer = wait(&managers[2], PATIENCE).await;
    let said = &answer.convergence.as_ref().unwrap().services[0];
    assert!(answer.reached, "{answer:?}");
    assert_eq!((said.applied, said.instances), (2, 2));

    // Two breaks off without a word and comes to the third manager: neither silent nor there twice.
    drop(two);
    let two = connect(&managers[2], "two");
    for manager in &managers {
        until("two to count once, as pending", async || {
            let said = convergence(manager).await;
            let service = &said.services[0];
            assert!(service.instances >= 2, "it is never lost: {said:?}");
            said.unreachable_managers.is_empty() && (service.instances, service.pending) == (2, 1)
        })
        .await;
    }
    apply(&two);
    assert!(wait(&managers[0], PATIENCE).await.reached);
}

#[tokio::test]
async fn a_manager_that_does_not_answer_is_named_until_its_lease_is_over() {
    let store = FaultyStore::new();
    let mut managers = fleet(&store, 2).await;
    managers[0].registry.register(registration("payments")).await.unwrap();
    let payments = key("default/payments");
    let registered = managers[0].registry.get(&payments).unwrap();
    let one = connect(&managers[0], "one");
    one.applied(&payments, registered.revision(), registered.policy_hash());
    // A lease that nobody renews and that outlasts what is asked meanwhile.
    let lease = store.grant_lease(Duration::from_secs(60)).await.unwrap();
    let lost = managers.pop().unwrap();
    let (id, address) = (lost.peers.id().to_owned(), lost.address.to_string());
    lost.stop().await;
    let key = format!("peer/{id}");
    let value = super::super::record::encode(Some(&address), &crate::clock::testing::FixedClock(0));
    let put = crate::store::Op::Put { key, value, lease: Some(lease) };
    store.commit(crate::store::Txn { preconditions: Vec::new(), ops: vec![put] }).await.unwrap();

    let said = stats(&managers[0]).await.unreachable_managers;
    assert_eq!((said.len(), &said[0].id, &said[0].address), (1, &id, &address), "{said:?}");
    assert!(!said[0].reason.is_empty());
    let answer = wait(&managers[0], Duration::from_millis(300)).await;
    assert!(!answer.reached, "what its instances have is not known");
    assert_eq!(answer.convergence.unwrap().unreachable_managers.len(), 1);
    let count = v1::WaitForConvergenceRequest {
        service: "payments".into(),
        quorum: Some(v1::wait_for_convergence_request::Quorum::Count(1)),
        ..Default::default()
    };
    let answer = managers[0].client().await.wait_for_convergence(count).await.unwrap().into_inner();
    assert!(answer.reached, "one is one, whoever else there is");

    store.revoke_lease(lease).await.unwrap();
    let answer = wait(&managers[0], PATIENCE).await;
    assert!(answer.reached, "nobody is at its address, and its lease is over: {answer:?}");
    assert_eq!(answer.convergence.unwrap().unreachable_managers, []);
}

#[tokio::test]
async fn one_that_does_not_know_the_others_yet_or_they_it_names_itself_and_reaches_nothing() {
    let faults: [fn(&FaultyStore) -> &AtomicBool; 2] = [|store| &store.has_no_peers, |store| &store.has_no_leases];
    for fault in faults {
        let store = FaultyStore::new();
        fault(&store).store(true, Ordering::SeqCst);
        let manager = manager(&store).await;
        manager.registry.register(registration("payments")).await.unwrap();
        let payments = key("default/payments");
        let registered = manager.registry.get(&payments).unwrap();
        let one = connect(&manager, "one");
        one.applied(&payments, registered.revision(), registered.policy_hash());

        let answer = wait(&manager, Duration::from_millis(300)).await;
        assert!(!answer.reached, "others may have instances: {answer:?}");
        for named in [answer.convergence.unwrap().unreachable_managers, stats(&manager).await.unreachable_managers] {
            assert_eq!(named.len(), 1, "{named:?}");
            assert_eq!((&*named[0].id, &named[0].address), (manager.peers.id(), &manager.address.to_string()));
        }

        fault(&store).store(false, Ordering::SeqCst);
        let answer = wait(&manager, PATIENCE).await;
        assert!(answer.reached, "{answer:?}");
        assert_eq!(answer.convergence.unwrap().unreachable_managers, []);
    }
}

/// Its key ran out, another manager could come and take instances, and it still spoke for all.
#[tokio::test]
async fn one_whose_lease_must_have_run_out_speaks_for_itself_no_more() {
    let store = FaultyStore::new();
    let manager = manager(&store).await;
    manager.registry.register(registration("payments")).await.unwrap();
    until("it to be alone", async || manager.peers.are_none()).await;
    store.set_away(true);
    until("it to doubt itself", async || {
        let doubted = stats(&manager).await.unreachable_managers;
        doubted.iter().any(|doubted| doubted.id == manager.peers.id()) && !manager.peers.are_none()
    })
    .await;
    store.set_away(false);
    until("it to be back", async || stats(&manager).await.unreachable_managers.is_empty()).await;
}

#[tokio::test]
async fn one_that_only_another_manager_knows_is_named() {
    let store = FaultyStore::new();
    let (near, far) = (manager(&store).await, manager(&store.beside()).await);
    until("managers to find each other", async || {
        near.peers.heard().contains_key(far.peers.id()) && far.peers.heard().contains_key(near.peers.id())
    })
    .await;
    near.registry.register(registration("payments")).await.unwrap();
    assert_eq!(convergence(&near).await.unreachable_managers, []);
    // From now on it hears of nobody who comes.
    store.set_deaf(true);
    let record = super::super::record::encode(None, &crate::clock::testing::FixedClock(0));
    store.inner().commit(crate::store::Txn::new().put("peer/third", record)).await.unwrap();
    until("the other one to know it", async || far.peers.heard().contains_key("third")).await;
    let named = convergence(&near).await.unreachable_managers;
    assert_eq!(named.iter().map(|manager| &*manager.id).collect::<Vec<_>>(), ["third"], "{named:?}");
    assert!(named[0].reason.contains(far.peers.id()), "{named:?}");
}
