//! What was acknowledged is kept, whatever is killed and whenever.
//!
//! Writers change levels without a pause, each write under a `request_id` of its own that is repeated until an answer
//! comes, while a manager, an etcd or both are killed in the midst of it and started again. Since only its own writer
//! touches a service, what the store holds must be, at every moment, the last write that was acknowledged or the one that
//! is under way. Each write is on the condition that the one before it was the last, so one that was lost, or done twice
//! because a retry was taken for another write, ends the chain with an error.

use cofferdam_proto::v1::{IsolatedService, IsolationLevel, Revision, SetIsolationLevelRequest};
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{Client, Etcd, Manager, Numbers, Refusal, Store, before_the_next_try, eventually, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Code;

const WRITERS: usize = 4;

/// A write and what was acknowledged of it.
#[derive(Clone, Debug)]
struct Written {
    request: SetIsolationLevelRequest,
    revision: Revision,
}

/// Writers at work, and readers that watch them.
struct Load {
    stop: Arc<AtomicBool>,
    acknowledged: watch::Receiver<u64>,
    writers: Vec<JoinHandle<[Written; 2]>>,
    readers: Vec<JoinHandle<u64>>,
}

impl Load {
    /// Registers a service for each writer, and starts. Writers and readers use the clients in turn.
    async fn start(clients: &[Client]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (acknowledge, acknowledged) = watch::channel(0);
        let acknowledge = Arc::new(acknowledge);
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for index in 0..WRITERS {
            let service = format!("service-{index}");
            let registered = clients[0].register(registration(&service, IsolationLevel::Basic)).await.unwrap();
            for client in clients {
                // Reads come from memory, which a manager that did not make the write itself has yet to fill.
                eventually("every manager to show the service", async || client.info(&service).await).await;
            }
            let clients = clients.to_vec();
            let client = move |index: usize| clients[index % clients.len()].clone();
            let (stop, acknowledge) = (Arc::clone(&stop), Arc::clone(&acknowledge));
            readers.push(tokio::spawn(read(client(index + 1), service.clone(), Arc::clone(&stop))));
            writers.push(tokio::spawn(async move {
                let mut last = write(&client(index), &service, 0, revision(Some(&registered))).await;
                for count in 1.. {
                    let next = write(&client(index + count), &service, count, last.revision).await;
                    assert!(position(next.revision) > position(last.revision), "{last:?}, then {next:?}");
                    acknowledge.send_modify(|acknowledged| *acknowledged += 1);
                    if stop.load(Ordering::Relaxed) {
                        return [last, next];
                    }
                    last = next;
                }
                unreachable!("the count does not end")
            }));
        }
        Self { stop, acknowledged, writers, readers }
    }

    /// Waits until so many more writes are acknowledged: then others are under way.
    async fn proceed(&mut self, writes: u64) {
        let goal = *self.acknowledged.borrow() + writes;
        while *self.acknowledged.borrow_and_update() < goal {
            within("the next acknowledged write", self.acknowledged.changed()).await.unwrap();
        }
    }

    /// Stops everyone, and returns the last two writes that were acknowledged for each service.
    async fn finish(self) -> Vec<[Written; 2]> {
        self.stop.store(true, Ordering::Relaxed);
        let mut last = Vec::new();
        for writer in self.writers {
            last.push(within("a writer", writer).await.unwrap());
        }
        for reader in self.readers {
            assert!(within("a reader", reader).await.unwrap() > 0, "a reader that never reads proves nothing");
        }
        last
    }
}

/// Writes until an answer comes, under one request_id.
async fn write(client: &Client, service: &str, count: usize, before: Revision) -> Written {
    // Never the level before: that would be no write.
    let levels = [IsolationLevel::None, IsolationLevel::Full, IsolationLevel::Enhanced];
    let request = SetIsolationLevelRequest {
        service: service.into(),
        level: levels[count % levels.len()].into(),
        expected_revision: Some(before),
        request_id: format!("{service}-{count}"),
        ..SetIsolationLevelRequest::default()
    };
    let asking = async {
        loop {
            match client.set_isolation_level(request.clone()).await {
                Ok(answer) => return answer,
                Err(refusal) => assert!(is_outage(&refusal), "{request:?}: {refusal:?}"),
            }
            before_the_next_try().await;
        }
    };
    let answer = within("the answer to a write", asking).await;
    Written { request, revision: revision(answer.service.as_ref()) }
}

/// Reads until told to stop; what is read never goes back. Returns how often it could read.
async fn read(client: Client, service: String, stop: Arc<AtomicBool>) -> u64 {
    let (mut reads, mut last) = (0, (0, 0));
    while !stop.load(Ordering::Relaxed) {
        match client.info(&service).await {
            Ok(info) => {
                let now = position(revision(info.service.as_ref()));
                assert!(now >= last || info.stale_for.is_some(), "{service} was at {last:?}, then at {now:?}");
                last = last.max(now);
                reads += 1;
            }
            Err(refusal) => assert!(is_outage(&refusal), "{refusal:?}"),
        }
        before_the_next_try().await;
    }
    reads
}

/// Whether an error is one that a caller may see while something is down: it says so, or the connection broke.
fn is_outage(refusal: &Refusal) -> bool {
    let expected = ["STORE_UNAVAILABLE", "STORE_OUTCOME_UNKNOWN", "SHUTTING_DOWN"];
    expected.contains(&&refusal.reason[..])
        || (refusal.reason.is_empty() && matches!(refusal.code, Code::Unavailable | Code::Cancelled | Code::Unknown))
}

/// Asserts that a manager shows exactly what was last acknowledged, and answers the last two writes again as before.
async fn check(client: &Client, last: &[[Written; 2]]) {
    for [before, last] in last {
        let service = &last.request.service;
        let stored: IsolatedService = eventually("the manager to have caught up", async || {
            let service = client.info(service).await.map_err(|refusal| format!("{refusal:?}"))?.service.unwrap();
            let at = revision(Some(&service));
            if position(at) >= position(last.revision) { Ok(service) } else { Err(format!("{at:?}")) }
        })
        .await;
        assert_eq!(revision(Some(&stored)), last.revision, "{service}");
        assert_eq!(stored.policy.unwrap().level, last.request.level, "{service}");
        for written in [last, before] {
            let again = client.set_isolation_level(written.request.clone()).await.unwrap();
            assert_eq!(revision(again.service.as_ref()), written.revision, "a retry of {written:?}");
        }
        assert_eq!(client.revision(service).await.unwrap(), last.revision, "the retries changed nothing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_keeps_every_acknowledged_write_when_the_manager_is_killed() {
    let mut numbers = Numbers::seeded();
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    let mut load = Load::start(std::slice::from_ref(&client)).await;
    let kills = if std::env::var_os("COFFERDAM_LONG").is_some() { 500 } else { 20 };
    for _ in 0..kills {
        load.proceed(1 + numbers.below(40)).await;
        manager.kill();
        manager.restart().await;
    }
    let last = load.finish().await;
    check(&client, &last).await;
    manager.kill();
    manager.restart().await;
    check(&client, &last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_keeps_every_acknowledged_write_when_it_or_the_manager_is_killed() {
    let mut numbers = Numbers::seeded();
    let mut etcd = Etcd::start(1).await;
    let mut manager = Manager::on(&etcd).await;
    let client = manager.client();
    let mut load = Load::start(std::slice::from_ref(&client)).await;
    for round in 0..9 {
        load.proceed(1 + numbers.below(40)).await;
        match round % 3 {
            0 => {
                manager.kill();
                manager.restart().await;
            }
            1 => {
                etcd.kill(0);
                etcd.restart(0).await;
            }
            _ => {
                manager.kill();
                etcd.kill(0);
                etcd.restart(0).await;
                manager.restart().await;
            }
        }
    }
    let last = load.finish().await;
    check(&client, &last).await;
    manager.kill();
    etcd.kill(0);
    etcd.restart(0).await;
    manager.restart().await;
    check(&client, &last).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_managers_on_three_etcd_nodes_lose_nothing_when_any_one_of_them_is_killed() {
    let mut numbers = Numbers::seeded();
    let mut etcd = Etcd::start(3).await;
    let mut managers = [Manager::on(&etcd).await, Manager::on(&etcd).await];
    let clients = managers.each_ref().map(Manager::client);
    let mut load = Load::start(&clients).await;
    for round in 0..5 {
        load.proceed(1 + numbers.below(40)).await;
        match round {
            3 | 4 => {
                let manager = &mut managers[round - 3];
                manager.kill();
                manager.restart().await;
            }
            node => {
                etcd.kill(node);
                // Two of three nodes go on taking writes.
                load.proceed(20).await;
                etcd.restart(node).await;
            }
        }
    }
    let last = load.finish().await;
    for client in &clients {
        check(client, &last).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_manager_on_the_same_embedded_store_ends_at_once_and_names_the_file() {
    let manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let exit = manager.rival().exit().await;
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    let file = manager.data_dir().to_str().unwrap();
    assert!(exit.log.contains(file), "no {file} in {exit:?}");
    assert!(!exit.log.contains("panicked"), "{exit:?}");
    client.set_level("payments", IsolationLevel::Full).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_forgets_and_says_so_by_a_new_epoch() {
    let mut manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let before = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    manager.kill();
    manager.restart().await;
    let services = eventually("the manager", async || client.list().await).await;
    assert_eq!(services, [""; 0]);
    let after = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    assert!(position(revision(Some(&after))) > position(revision(Some(&before))), "{before:?}, then {after:?}");
}
