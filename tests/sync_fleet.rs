//! A fleet of live instances follows every change of level, loses no call over it and forgets nothing.

use cofferdam::{Error, Revision};
use cofferdam_proto::v1::{BreakerState, IsolatedService, IsolationLevel, IsolationPolicy, ServiceStats};
use cofferdam_tests::wire::{registration, registration_at, revision};
use cofferdam_tests::{Behaviour, Client, Instance, Manager, Process, Tally, Upstream, eventually, wire};
use futures_util::future::join_all;
use std::process::Command;
use std::time::Duration;

const TASKS: usize = 50;
const PROCESSES: usize = 3;

async fn stats(client: &Client, service: &str) -> ServiceStats {
    client.info(service).await.unwrap().stats.unwrap()
}

/// Waits until the manager shows that so many instances have acknowledged the newest policy, and nobody refused it.
async fn applied(client: &Client, service: &str, instances: usize) {
    eventually("every instance to have applied the policy", async || {
        let stats = stats(client, service).await;
        let expected = u32::try_from(instances).unwrap();
        if stats.applied_instances == expected && stats.instances == expected { Ok(()) } else { Err(stats) }
    })
    .await;
    assert_eq!(stats(client, service).await.refused_instances, 0);
}

fn position(service: &IsolatedService) -> Revision {
    let revision = revision(Some(service));
    Revision { epoch: revision.epoch, revision: revision.revision }
}

/// An application in a process of its own, calling.
pub(crate) async fn caller(manager: &str, id: &str, service: &str, upstream: &Upstream) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caller"));
    let mut process = Process::start(id, command.args([manager, id, service, &upstream.address()]));
    process.printed("that it calls", |line| (line == "calling").then_some(())).await;
    process
}

/// What a process of its own came to, by its last word.
async fn last_word(mut process: Process) -> Tally {
    process.terminate();
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
    let mut words = exit.log.lines().last().unwrap_or_default().split_whitespace();
    let mut number = |name: &str| {
        assert_eq!(words.next(), Some(name), "{exit:?}");
        words.next().and_then(|word| word.parse().ok()).unwrap()
    };
    Tally { made: number("made"), failed: number("failed") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_instances_and_three_processes_follow_each_level_without_losing_a_call() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    let registered =
        client.register(registration_at("orders-db", IsolationLevel::None, &upstream.address())).await.unwrap();

    let mut instances: Vec<_> = (0..TASKS)
        .map(|index| Instance::start(&manager.url(), &format!("task-{index}"), "orders-db", &upstream.address()))
        .collect();
    let starting = (0..PROCESSES)
        .map(async |index| caller(&manager.url(), &format!("process-{index}"), "orders-db", &upstream).await);
    let processes = join_all(starting).await;
    applied(&client, "orders-db", TASKS + PROCESSES).await;

    let mut newest = registered;
    for level in [IsolationLevel::Basic, IsolationLevel::Enhanced, IsolationLevel::Full, IsolationLevel::Basic] {
        for instance in &instances {
            assert_eq!(instance.service.revision(), Some(position(&newest)), "before {level:?}");
        }
        newest = client.set_level("orders-db", level).await.unwrap();
        applied(&client, "orders-db", TASKS + PROCESSES).await;
        join_all(instances.iter_mut().map(|instance| instance.proceed(3))).await;
    }

    let mut total = Tally::default();
    for instance in &mut instances {
        assert_eq!(instance.service.revision(), Some(position(&newest)));
        let tally = instance.rest().await;
        total = Tally { made: total.made + tally.made, failed: total.failed + tally.failed };
    }
    for process in processes {
        let tally = last_word(process).await;
        assert!(tally.made > 0);
        total = Tally { made: total.made + tally.made, failed: total.failed + tally.failed };
    }
    assert_eq!(total.failed, 0);
    let counters = eventually("every call to be reported", async || {
        let counters = stats(&client, "orders-db").await.counters.unwrap();
        if counters.calls == total.made { Ok(counters) } else { Err((counters, total)) }
    })
    .await;
    assert_eq!((counters.served_live, counters.failed, counters.cancelled), (total.made, 0, 0));
    assert_eq!((counters.attempts, upstream.calls()), (total.made, total.made), "each call went out once");
    applied(&client, "orders-db", TASKS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fifty_breakers_have_learned_outlives_every_level() {
    let manager = Manager::embedded().await;
    let client = manager.client();
    let request = registration("orders-db", IsolationLevel::Enhanced);
    let policy = IsolationPolicy { retry: None, ..wire::breaker(5, Duration::from_secs(3600)) };
    client.register(cofferdam_proto::v1::RegisterServiceRequest { policy: Some(policy), ..request }).await.unwrap();

    let fleet: Vec<_> = (0..TASKS)
        .map(|index| {
            let id = format!("task-{index}");
            cofferdam::Cofferdam::builder("checkout").manager(manager.url()).instance_id(id).start()
        })
        .collect();
    let services: Vec<_> = fleet.iter().map(|cofferdam| cofferdam.service("orders-db")).collect();
    applied(&client, "orders-db", TASKS).await;

    let fails = || async { Err::<(), _>(std::io::Error::other("down")) };
    for service in &services {
        for _ in 0..5 {
            assert_eq!(service.breaker_state(), Some(cofferdam::BreakerState::Closed));
            let error = service.execute("get", fails).await.unwrap_err();
            assert!(matches!(error, Error::Inner(_)), "{error:?}");
        }
        assert!(matches!(service.execute("get", fails).await, Err(Error::Open { .. })));
    }
    eventually("the manager to know of every open breaker", async || {
        let info = client.info("orders-db").await.unwrap();
        let open = info.stats.unwrap().open_instances;
        if open == 50 && info.service.unwrap().breaker_state() == BreakerState::Open { Ok(()) } else { Err(open) }
    })
    .await;

    for level in [IsolationLevel::Basic, IsolationLevel::None] {
        client.set_level("orders-db", level).await.unwrap();
        applied(&client, "orders-db", TASKS).await;
        for service in &services {
            assert_eq!(service.breaker_state(), None, "no breaker at {level:?}");
            service.execute("get", || async { Ok::<_, std::io::Error>(()) }).await.unwrap();
        }
    }
    for level in [IsolationLevel::Full, IsolationLevel::Enhanced] {
        client.set_level("orders-db", level).await.unwrap();
        applied(&client, "orders-db", TASKS).await;
        for service in &services {
            assert_eq!(service.breaker_state(), Some(cofferdam::BreakerState::Open), "at {level:?}");
            assert!(matches!(service.execute("get", fails).await, Err(Error::Open { .. })));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_is_gone_is_not_counted() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration("orders-db", IsolationLevel::Basic)).await.unwrap();
    let mut killed = caller(&manager.url(), "killed", "orders-db", &upstream).await;
    let ended = caller(&manager.url(), "ended", "orders-db", &upstream).await;
    let instance = Instance::start(&manager.url(), "stays", "orders-db", &upstream.address());
    applied(&client, "orders-db", 3).await;
    killed.kill();
    applied(&client, "orders-db", 2).await;
    last_word(ended).await;
    applied(&client, "orders-db", 1).await;
    drop(instance);
    applied(&client, "orders-db", 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_goes_leaves_the_built_in_default_and_one_that_comes_back_its_policy() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::embedded().await;
    let client = manager.client();
    let mut instance = Instance::start(&manager.url(), "early", "orders-db", &upstream.address());
    instance.proceed(3).await;
    assert_eq!(instance.service.revision(), None, "not registered yet");
    let revision_is = async |expected: Option<Revision>| {
        eventually("a policy", async || match instance.service.revision() {
            seen if seen == expected => Ok(()),
            seen => Err(seen),
        })
        .await;
    };
    let registered = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    revision_is(Some(position(&registered))).await;
    let request = cofferdam_proto::v1::UnregisterServiceRequest { service: "orders-db".into(), ..Default::default() };
    client.unregister_service(request).await.unwrap();
    revision_is(None).await;
    let registered = client.register(registration("orders-db", IsolationLevel::Basic)).await.unwrap();
    revision_is(Some(position(&registered))).await;
    assert_eq!(instance.tally().failed, 0);
}
