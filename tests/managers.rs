//! Several managers over one etcd: whichever is asked answers for all of them, one that does not answer is named, and one
//! that is killed is no loss to anybody.

mod frozen;
mod own_calls;

use cofferdam::Cofferdam;
use cofferdam_proto::v1::wait_for_convergence_request::Quorum;
use cofferdam_proto::v1::{
    Convergence, GetConvergenceRequest, GetIsolationStatsResponse, IsolationLevel, WaitForConvergenceRequest,
    WaitForConvergenceResponse,
};
use cofferdam_tests::wire::{millis, registration, seconds};
use cofferdam_tests::{
    Behaviour, Client, Etcd, Instance, Manager, Recovery, Store, Upstream, eventually, rounds, within,
};
use std::collections::BTreeSet;

const SERVICE: &str = "orders-db";
const MANAGERS: usize = 3;
const LEVELS: [IsolationLevel; 3] = [IsolationLevel::Full, IsolationLevel::Enhanced, IsolationLevel::Basic];

/// Managers that take each other for gone within seconds.
async fn managers(etcd: &Etcd) -> Vec<Manager> {
    let mut managers = Vec::new();
    for _ in 0..MANAGERS {
        let store = Store::Etcd(etcd.endpoints());
        managers.push(Manager::start_with(store, &[("COFFERDAM_PEERS_LEASE", "3s")]).await);
    }
    managers
}

fn urls(managers: &[Manager]) -> String {
    managers.iter().map(Manager::url).collect::<Vec<_>>().join(",")
}

async fn convergence(client: &Client) -> Convergence {
    let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
    client.get_convergence(request).await.unwrap().convergence.unwrap()
}

async fn wait(client: &Client, quorum: Option<Quorum>, timeout: prost_types::Duration) -> WaitForConvergenceResponse {
    let service = SERVICE.to_owned();
    let request = WaitForConvergenceRequest { service, quorum, timeout: Some(timeout), ..Default::default() };
    client.wait_for_convergence(request).await.unwrap()
}

fn calls_of(stats: &GetIsolationStatsResponse) -> u64 {
    stats.services.iter().map(|service| service.counters.unwrap().calls).sum()
}

/// Waits until a manager says that all have answered, and these many instances use the service.
async fn all_answer(client: &Client, instances: u32) {
    eventually("all managers to answer", async || {
        let seen = convergence(client).await;
        let is_whole = seen.unreachable_managers.is_empty() && seen.services[0].instances == instances;
        if is_whole { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whichever_manager_is_asked_answers_for_all_and_names_one_that_is_paused() {
    let etcd = Etcd::start(1).await;
    let upstream = Upstream::start(Behaviour::echo()).await;
    let mut managers = managers(&etcd).await;
    let clients: Vec<_> = managers.iter().map(Manager::client).collect();
    clients[0].register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();

    // One instance at each.
    let mut instances = Vec::new();
    for (index, manager) in managers.iter().enumerate() {
        let id = format!("at-{index}");
        let mut instance = Instance::start(&manager.url(), &id, SERVICE, &upstream.address());
        instance.proceed(20).await;
        instances.push(instance);
    }
    let mut made = 0;
    for instance in &mut instances {
        made += instance.rest().await.made;
    }
    for client in &clients {
        all_answer(client, 3).await;
        eventually("all calls, whoever is asked", async || {
            let stats = client.stats().await.unwrap();
            let seen = (calls_of(&stats), stats.stats.as_ref().unwrap().instances, stats.services[0].instances);
            if seen == (made, 3, 3) { Ok(()) } else { Err((seen, made)) }
        })
        .await;
    }
    clients[1].set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    for client in &clients {
        let answer = wait(client, Some(Quorum::Count(3)), seconds(30)).await;
        assert!(answer.reached, "{answer:?}");
    }

    managers[2].process().pause().await;
    let paused = managers[2].address();
    let seen = eventually("the paused manager to be named", async || {
        let seen = convergence(&clients[0]).await;
        if seen.unreachable_managers.is_empty() { Err(seen) } else { Ok(seen) }
    })
    .await;
    assert_eq!(seen.unreachable_managers[0].address, paused);
    assert_eq!(seen.services[0].instances, 2, "what it knows is in no count");
    let stats = within("statistics", clients[1].stats()).await.unwrap();
    assert_eq!(stats.unreachable_managers[0].address, paused);
    let answer = wait(&clients[0], None, millis(500)).await;
    assert!(!answer.reached, "nobody knows what its instance has: {answer:?}");
    assert_eq!(answer.convergence.unwrap().unreachable_managers[0].address, paused);

    managers[2].process().resume();
    all_answer(&clients[0], 3).await;
    let answer = wait(&clients[0], None, seconds(30)).await;
    assert!(answer.reached, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_of_a_killed_manager_move_and_no_policy_is_lost() {
    const INSTANCES: usize = 9;
    let etcd = Etcd::start(1).await;
    let mut managers = managers(&etcd).await;
    let client = managers[0].client();
    client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let urls = urls(&managers);
    let sdks: Vec<_> = (0..INSTANCES)
        .map(|index| {
            let id = format!("sdk-{index}");
            let cofferdam = Cofferdam::builder("checkout").manager(urls.clone()).instance_id(id).start();
            let service = cofferdam.service(SERVICE);
            (cofferdam, service)
        })
        .collect();
    let at = |sdk: &Cofferdam| sdk.connection().manager.map(|url| url.to_string());
    let all_connected = async || {
        eventually("every instance to be at a manager", async || {
            let at: Vec<_> = sdks.iter().filter_map(|(sdk, _)| at(sdk)).collect();
            if at.len() == INSTANCES { Ok(at) } else { Err(at) }
        })
        .await
    };
    let first: BTreeSet<_> = all_connected().await.into_iter().collect();
    assert!(first.len() > 1, "nine instances have all gone to one of three managers");

    for round in 0..rounds(2 * MANAGERS, 20 * MANAGERS) {
        let victim = round % MANAGERS;
        let lost = managers[victim].url();
        let moving = sdks.iter().filter(|(sdk, _)| at(sdk).as_deref() == Some(&*lost)).count();
        let recovery =
            Recovery::of("one of three managers is killed: until its instances are at others with a newer policy");
        managers[victim].kill();
        let client = managers[(victim + 1) % MANAGERS].client();
        let level = LEVELS[round % LEVELS.len()];
        let written = client.set_level(SERVICE, level).await.unwrap().revision.unwrap();
        eventually("everybody to have moved and to have the policy", async || {
            let has = |sdk: &Cofferdam, service: &cofferdam::Service| {
                let revision = service.revision().map(|revision| (revision.epoch, revision.revision));
                at(sdk).is_some_and(|url| url != lost) && revision == Some((written.epoch, written.revision))
            };
            let done = sdks.iter().filter(|(sdk, service)| has(sdk, service)).count();
            if done == INSTANCES { Ok(()) } else { Err((done, moving)) }
        })
        .await;
        recovery.is_over();
        let asked = managers[(victim + 2) % MANAGERS].client();
        let count = u32::try_from(INSTANCES).unwrap();
        let answer = wait(&asked, Some(Quorum::Count(count)), seconds(30)).await;
        assert!(answer.reached, "round {round}: {answer:?}");
        managers[victim].restart().await;
    }
    // The last ones killed are gone from all lists, and nobody is missed or counted twice.
    for manager in &managers {
        all_answer(&manager.client(), u32::try_from(INSTANCES).unwrap()).await;
    }
}
