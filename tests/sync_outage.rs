//! The manager goes away and comes back, and protected calls take no notice.

use cofferdam::{BreakerState, Cofferdam, Error, Level, Revision};
use cofferdam_proto::v1::{IsolationLevel, Revision as WireRevision};
use cofferdam_tests::wire::{registration, revision};
use cofferdam_tests::{Behaviour, Etcd, Instance, Manager, Store, Upstream, eventually, unused_address};
use futures_util::future::join_all;

const INSTANCES: usize = 10;

fn start(manager: &Manager, upstream: &Upstream) -> Vec<Instance> {
    let instance = |index| Instance::start(&manager.url(), &format!("task-{index}"), "orders-db", &upstream.address());
    (0..INSTANCES).map(instance).collect()
}

fn position(revision: WireRevision) -> Revision {
    Revision { epoch: revision.epoch, revision: revision.revision }
}

/// Waits until every instance has the policy of this revision in force.
async fn follow(instances: &[Instance], revision: WireRevision) {
    eventually("every instance to follow", async || {
        let seen: Vec<_> = instances.iter().map(|instance| instance.service.revision()).collect();
        if seen.iter().all(|seen| *seen == Some(position(revision))) { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn connected(instances: &[Instance], expected: bool) {
    eventually("every instance to notice", async || {
        let states = instances.iter().map(|instance| instance.cofferdam.connection());
        let odd: Vec<_> = states.filter(|state| state.is_connected() != expected).collect();
        if odd.is_empty() { Ok(()) } else { Err(odd) }
    })
    .await;
}

/// Every instance makes more calls, and none of them fails.
async fn unharmed(instances: &mut [Instance]) {
    join_all(instances.iter_mut().map(|instance| instance.proceed(20))).await;
    for instance in instances {
        assert_eq!(instance.tally().failed, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_killed_under_load_harms_no_call_and_its_policy_stays() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let at = revision(Some(&registered));
    let mut instances = start(&manager, &upstream);
    follow(&instances, at).await;

    for _ in 0..3 {
        manager.kill();
        unharmed(&mut instances).await;
        connected(&instances, false).await;
        unharmed(&mut instances).await;
        for instance in &instances {
            assert_eq!(instance.service.revision(), Some(position(at)), "the policy stays");
            assert_eq!(instance.service.policy().level, Level::Full);
        }
        manager.restart().await;
        connected(&instances, true).await;
        unharmed(&mut instances).await;
    }
    let raised = client.set_level("orders-db", IsolationLevel::Basic).await.unwrap();
    follow(&instances, revision(Some(&raised))).await;

    let mut made = 0;
    for instance in &mut instances {
        made += instance.rest().await.made;
    }
    assert_eq!(upstream.calls(), made, "each call went out once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_manager_harms_no_call() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let mut instances = start(&manager, &upstream);
    follow(&instances, revision(Some(&registered))).await;
    manager.process().pause().await;
    unharmed(&mut instances).await;
    manager.process().resume();
    unharmed(&mut instances).await;
    let raised = client.set_level("orders-db", IsolationLevel::Basic).await.unwrap();
    follow(&instances, revision(Some(&raised))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_while_the_manager_was_away_arrives_when_it_is_back() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let etcd = Etcd::start(1).await;
    let mut manager = Manager::on(&etcd).await;
    let other = Manager::on(&etcd).await;
    let client = other.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Basic)).await.unwrap();
    let mut instances = start(&manager, &upstream);
    follow(&instances, revision(Some(&registered))).await;

    manager.kill();
    connected(&instances, false).await;
    let raised = client.set_level("orders-db", IsolationLevel::Full).await.unwrap();
    unharmed(&mut instances).await;
    for instance in &instances {
        assert_eq!(instance.service.policy().level, Level::Basic, "nobody could have told it");
    }
    manager.restart().await;
    follow(&instances, revision(Some(&raised))).await;
    unharmed(&mut instances).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_outlive_an_etcd_that_is_killed() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Basic)).await.unwrap();
    let mut instances = start(&manager, &upstream);
    follow(&instances, revision(Some(&registered))).await;

    etcd.kill(0);
    unharmed(&mut instances).await;
    connected(&instances, true).await;
    etcd.restart(0).await;
    let raised = eventually("a write", async || client.set_level("orders-db", IsolationLevel::Full).await).await;
    follow(&instances, revision(Some(&raised))).await;
    unharmed(&mut instances).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d12_without_a_manager_there_ever_was_the_built_in_default_protects() {
    let cofferdam = Cofferdam::builder("checkout").manager(format!("http://{}", unused_address())).start();
    let service = cofferdam.service("orders-db");
    assert_eq!((service.revision(), service.policy().level), (None, Level::Enhanced));
    service.execute("get", || async { Ok::<_, std::io::Error>(7) }).await.unwrap();
    let fails = || async { Err::<(), _>(std::io::Error::other("down")) };
    while service.breaker_state() == Some(BreakerState::Closed) {
        let error = service.execute("get", fails).await.unwrap_err();
        assert!(matches!(error, Error::Inner(_)), "{error:?}");
    }
    assert!(matches!(service.execute("get", fails).await, Err(Error::Open { .. })));
    let answer = service.execute("get", fails).fallback(|_| async { Ok(()) }).await;
    assert!(answer.is_ok(), "{answer:?}");
    assert!(!cofferdam.connection().is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_comes_later_is_found() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut manager = Manager::start(Store::Embedded).await;
    let registered = manager.client().register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    manager.kill();
    let mut instances = start(&manager, &upstream);
    unharmed(&mut instances).await;
    manager.restart().await;
    follow(&instances, revision(Some(&registered))).await;
}
