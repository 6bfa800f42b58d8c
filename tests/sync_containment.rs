//! A policy that turns a working service's calls away: the SDKs put it back, and the manager hands it out no more.

use cofferdam::{BreakerState, Level};
use cofferdam_proto::v1::{
    Containment, IsolatedService, IsolationLevel, IsolationPolicy, Revision, TimeoutPolicy,
    UpdateIsolationPolicyRequest, WaitForConvergenceRequest,
};
use cofferdam_tests::wire::{millis, position, registration, revision};
use cofferdam_tests::{Behaviour, Client, Etcd, Instance, Manager, Store, Upstream, cofferdam, eventually, within};
use futures_util::future::join_all;
use std::time::Duration;

/// More than the 20 decisions that a verdict takes, before it and under it.
const CALLS: u64 = 30;
/// Calls that may be turned away before a policy is put back: 20 decisions, and a look every quarter of a second.
const BOUND: u64 = 1_000;

fn attempts_of(timeout: u64) -> IsolationPolicy {
    let timeout = TimeoutPolicy { attempt_timeout: Some(millis(timeout)), ..TimeoutPolicy::default() };
    IsolationPolicy { timeout: Some(timeout), ..IsolationPolicy::default() }
}

/// Waits until an instance has the policy of a revision in force.
async fn follows(instance: &Instance, service: &IsolatedService) {
    let expected = Some(position(revision(Some(service))));
    eventually("the policy to be in force", async || {
        let seen = instance.service.revision().map(|seen| (seen.epoch, seen.revision));
        if seen == expected { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_of_a_millisecond_is_put_back_handed_out_no_more_and_healed_by_the_next() {
    let upstream = Upstream::start(Behaviour::echo().after(Duration::from_millis(20))).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    let good = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let start = |id: &str| Instance::start(&manager.url(), id, "orders-db", &upstream.address());
    let mut fleet: Vec<_> = ["one", "two", "three"].into_iter().map(start).collect();
    join_all(fleet.iter().map(|instance| follows(instance, &good))).await;
    join_all(fleet.iter_mut().map(|instance| instance.proceed(CALLS))).await;
    assert!(fleet.iter().all(|instance| instance.tally().failed == 0));

    let poison = client.update_policy("orders-db", attempts_of(1), &["timeout.attempt_timeout"]).await.unwrap();
    join_all(fleet.iter().map(|instance| follows(instance, &poison))).await;
    join_all(fleet.iter().map(|instance| follows(instance, &good))).await;
    for instance in &fleet {
        let failed = instance.tally().failed;
        assert!((1..BOUND).contains(&failed), "{failed} calls");
        assert_eq!(instance.cofferdam.connection().refused, 1);
    }
    let contained = eventually("the manager to contain it", async || {
        let info = client.info("orders-db").await.unwrap();
        info.containment.ok_or(info.stats)
    })
    .await;
    assert_eq!((contained.revision, contained.in_place), (poison.revision, good.revision));
    assert!(contained.reason.starts_with("contained: "), "{}", contained.reason);

    let request = WaitForConvergenceRequest { service: "orders-db".to_owned(), ..Default::default() };
    let answer = within("waiting to be of no use", client.wait_for_convergence(request)).await.unwrap();
    assert!(!answer.reached);

    // One that comes now never has it, and one that has it put back does not get it again.
    let mut fourth = start("four");
    follows(&fourth, &good).await;
    fourth.proceed(CALLS).await;
    assert_eq!(fourth.tally().failed, 0);
    assert_eq!(fourth.cofferdam.connection().refused, 0);

    let healed = client.update_policy("orders-db", attempts_of(2_000), &["timeout.attempt_timeout"]).await.unwrap();
    fleet.push(fourth);
    join_all(fleet.iter().map(|instance| follows(instance, &healed))).await;
    assert_eq!(client.info("orders-db").await.unwrap().containment, None);
    for instance in &fleet {
        assert_eq!(instance.service.policy().level, Level::Full);
        assert!(instance.cofferdam.connection().is_connected());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contained_policy_that_an_operator_insists_on_is_handed_out_and_stays() {
    let upstream = Upstream::start(Behaviour::echo().after(Duration::from_millis(20))).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    let good = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let mut instance = Instance::start(&manager.url(), "one", "orders-db", &upstream.address());
    follows(&instance, &good).await;
    instance.proceed(CALLS).await;
    client.update_policy("orders-db", attempts_of(1), &["timeout.attempt_timeout"]).await.unwrap();
    eventually("the manager to contain it", async || {
        let info = client.info("orders-db").await.unwrap();
        info.containment.ok_or(info.stats)
    })
    .await;
    follows(&instance, &good).await;

    let insist = UpdateIsolationPolicyRequest {
        service: "orders-db".to_owned(),
        policy: Some(IsolationPolicy::default()),
        insist: true,
        ..UpdateIsolationPolicyRequest::default()
    };
    let insisted = client.update_isolation_policy(insist).await.unwrap().service.unwrap();
    assert!(insisted.insisted);
    follows(&instance, &insisted).await;
    let failed = instance.tally().failed;
    instance.proceed(10 * CALLS).await;
    assert!(instance.tally().failed - failed >= CALLS, "it turns calls away");
    follows(&instance, &insisted).await;
    assert_eq!(client.info("orders-db").await.unwrap().containment, None);
}

/// Waits until a manager says that the policy is contained.
async fn contained(client: &Client) -> Containment {
    eventually("the policy to be contained", async || {
        let info = client.info("orders-db").await.map_err(|refusal| format!("{refusal:?}"))?;
        info.containment.ok_or_else(|| format!("{:?}", info.stats))
    })
    .await
}

/// Orders go out with what is in the place of a contained policy: they are in force where that is, and a wait for the
/// policy itself is of no use all the same.
fn an_order_is_waited_for(managers: &[Manager; 2], fleet: &[Instance; 2], in_place: Revision) {
    let order = |manager: &Manager, arguments: &[&str]| {
        let why = ["orders-db", "--reason", "a drill", "--wait", "-s", &manager.url()];
        cofferdam(&[&arguments[..1], &why, &arguments[1..]].concat())
    };
    let states = || fleet.each_ref().map(|instance| instance.service.breaker_state());
    for (manager, other) in [(&managers[0], &managers[1]), (&managers[1], &managers[0])] {
        // What the contained policy made the breakers learn is forgotten first.
        for (manager, ordered, state) in [
            (manager, &["hold", "closed"][..], BreakerState::Closed),
            (other, &["release"], BreakerState::Closed),
            (manager, &["trip"], BreakerState::Open),
            (other, &["reset"], BreakerState::Closed),
        ] {
            let said = order(manager, ordered);
            assert_eq!((said.code, states()), (Some(0), [Some(state); 2]), "{said:?}");
            assert!(said.out.contains("applied by 2/2"), "{said:?}");
            assert!(said.err.contains("the policy is contained for "), "{said:?}");
        }
        let leveled = order(other, &["set-level", "basic", "--for", "1h"]);
        assert_eq!(leveled.code, Some(0), "{leveled:?}");
        assert_eq!(fleet.each_ref().map(|instance| instance.service.policy().level), [Level::Basic; 2]);
        let ended = order(manager, &["set-level", "full"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for kind in ["services", "policies"] {
            let listed = cofferdam(&["get", kind, "-s", &manager.url()]);
            assert!(listed.out.contains(&format!(", {} in force", in_place.revision)), "{listed:?}");
        }
        let policy = cofferdam(&["wait", "orders-db", "-s", &manager.url()]);
        assert_eq!(policy.code, Some(3), "{policy:?}");
        assert!(policy.err.contains("contained"), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_contained_is_so_at_all_managers_and_when_they_start_again() {
    let upstream = Upstream::start(Behaviour::echo().after(Duration::from_millis(20))).await;
    let etcd = Etcd::start(1).await;
    let start = async || Manager::start_with(Store::Etcd(etcd.endpoints()), &[("COFFERDAM_PEERS_LEASE", "3s")]).await;
    let mut managers = [start().await, start().await];
    let clients = [managers[0].client(), managers[1].client()];
    let good = clients[0].register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    for client in &clients {
        eventually("the managers to know the service and each other", async || {
            let info = client.info("orders-db").await.map_err(|refusal| format!("{refusal:?}"))?;
            if info.unreachable_managers.is_empty() { Ok(()) } else { Err(format!("{info:?}")) }
        })
        .await;
    }
    // One at each: neither is enough by itself.
    let instance = |manager: &Manager, id: &str| Instance::start(&manager.url(), id, "orders-db", &upstream.address());
    let mut fleet = [instance(&managers[0], "one"), instance(&managers[1], "two")];
    join_all(fleet.iter().map(|instance| follows(instance, &good))).await;
    join_all(fleet.iter_mut().map(|instance| instance.proceed(CALLS))).await;
    let poison = clients[1].update_policy("orders-db", attempts_of(1), &["timeout.attempt_timeout"]).await.unwrap();
    for client in &clients {
        let contained = contained(client).await;
        assert_eq!((contained.revision, contained.in_place), (poison.revision, good.revision));
        assert!(contained.reason.starts_with("contained: "), "{}", contained.reason);
    }
    join_all(fleet.iter().map(|instance| follows(instance, &good))).await;
    an_order_is_waited_for(&managers, &fleet, revision(Some(&good)));
    let ordered = revision(clients[0].info("orders-db").await.unwrap().service.as_ref());

    for manager in &mut managers {
        manager.kill();
    }
    for manager in &mut managers {
        manager.restart().await;
    }
    let clients = [managers[0].client(), managers[1].client()];
    for (client, manager) in clients.iter().zip(&managers) {
        let contained = contained(client).await;
        assert_eq!((contained.revision, contained.in_place), (Some(ordered), good.revision));
        // One that has never had any gets the one before.
        let mut new = instance(manager, "new");
        follows(&new, &good).await;
        new.proceed(CALLS).await;
        assert_eq!((new.tally().failed, new.cofferdam.connection().refused), (0, 0));
    }

    let healed = clients[0].update_policy("orders-db", attempts_of(2_000), &["timeout.attempt_timeout"]).await.unwrap();
    join_all(fleet.iter().map(|instance| follows(instance, &healed))).await;
    for client in &clients {
        assert_eq!(client.info("orders-db").await.unwrap().containment, None);
    }
}
