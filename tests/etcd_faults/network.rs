//! A bad network between a manager and its etcd.

use super::*;
use cofferdam_proto::v1::UnregisterServiceRequest;
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{Direction, Fault, Recovery, rounds, within};
use std::collections::BTreeMap;

/// What is compacted under a watch that is cut, this often.
const ROUNDS: usize = 3;
const LONG_ROUNDS: usize = 1000;

/// Where every service stands, as a manager has it.
async fn positions(client: &Client) -> BTreeMap<String, (u64, u64)> {
    let mut positions = BTreeMap::new();
    for name in client.list().await.unwrap() {
        if let Ok(at) = client.revision(&name).await {
            positions.insert(name, position(at));
        }
    }
    positions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_compacted_under_a_cut_watch_costs_one_resync_and_no_change() {
    let rounds = rounds(ROUNDS, LONG_ROUNDS);
    let etcd = current(1).await;
    let mut history = etcd.client().await;
    let (proxy, mut manager) = behind_a_proxy(&etcd).await;
    let other = Manager::on(&etcd).await;
    let (client, other) = (manager.client(), other.client());
    for name in ["payments", "orders", "still"] {
        other.register(registration(name, IsolationLevel::Basic)).await.unwrap();
    }
    let (mut follower, _) = Follower::start(&manager, "one", &["payments", "orders", "still", "passing"]).await;
    for round in 0..rounds {
        let seen = history.get("any", None).await.unwrap().header().unwrap().revision();
        proxy.refuse(true);
        proxy.cut();
        stale(&client).await;

        // Changed twice, changed once, made or removed; and one that stays as it is.
        other.set_level("payments", IsolationLevel::None).await.unwrap();
        let mut expected = Vec::new();
        expected.push(other.set_level("payments", LEVELS[round % 2]).await.unwrap());
        expected.push(other.set_level("orders", LEVELS[round % 2]).await.unwrap());
        let is_removed = round % 2 == 1;
        if is_removed {
            let request = UnregisterServiceRequest { service: "passing".into(), ..Default::default() };
            other.unregister_service(request).await.unwrap();
        } else {
            expected.push(other.register(registration("passing", IsolationLevel::Basic)).await.unwrap());
        }
        let head = history.get("any", None).await.unwrap().header().unwrap().revision();
        history.compact(head, None).await.unwrap();
        let mut lost =
            history.watch("any", Some(etcd_client::WatchOptions::new().with_start_revision(seen + 1))).await.unwrap();
        let first = within("a word on the watch", async {
            loop {
                let message = lost.message().await.unwrap().unwrap();
                if message.canceled() {
                    return message.compact_revision();
                }
            }
        })
        .await;
        assert_eq!(first, head, "what the manager has seen last is forgotten");

        let recovery =
            Recovery::of("history is compacted under a cut watch: from the repair until the instance has it all");
        proxy.refuse(false);
        in_touch(&client).await;
        assert_eq!(positions(&client).await, positions(&other).await, "round {round}: nothing is missed");
        let mut told = Vec::new();
        let mut removals = Vec::new();
        while told.len() < expected.len() || removals.len() < usize::from(is_removed) {
            match follower.next().await.expect("the stream stays open") {
                Response::Update(update) => told.push((update.service, update.revision.map(position))),
                Response::Removal(removal) => removals.push(removal.service),
                other => panic!("{other:?}"),
            }
        }
        recovery.is_over();
        told.sort();
        let of = |service: cofferdam_proto::v1::IsolatedService| {
            (service.service.unwrap().name, service.revision.map(position))
        };
        let mut expected: Vec<_> = expected.into_iter().map(of).collect();
        expected.sort();
        assert_eq!(told, expected, "round {round}: each change once, and nothing else");
        assert_eq!(removals, if is_removed { vec!["passing"] } else { vec![] });
        assert_eq!(losses(&mut manager), round + 1, "one resync for each cut");
    }
    assert!(proxy.seen().cut as usize >= rounds, "{:?}", proxy.seen());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_off_leaves_the_write_unknown_and_its_repetition_is_right() {
    let etcd = current(1).await;
    let (proxy, manager) = behind_a_proxy(&etcd).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    // From here on the records of requests have a lease: what is cut off is the answer to the write itself.
    client.set_isolation_level(level(LEVELS[0], "before")).await.unwrap();
    let mut store = etcd.client().await;
    let stored = async |store: &mut etcd_client::Client| {
        let answer = store.get("/cofferdam/v1/service/default/payments", None).await.unwrap();
        let pair = answer.kvs().first().expect("the service is stored");
        (pair.mod_revision(), pair.version())
    };
    let (before, versions) = stored(&mut store).await;

    proxy.set(Fault::Blackhole(Direction::ToClient));
    let refusal = within("an answer", client.set_isolation_level(level(LEVELS[1], "cut off"))).await.unwrap_err();
    assert!(is_unknown(&refusal), "{refusal:?}");
    assert!(refusal.message.contains("request_id"), "it says what to do: {refusal:?}");
    assert!(proxy.seen().held_back > 0, "{:?}", proxy.seen());
    let (applied, _) = stored(&mut store).await;
    assert!(applied > before, "it was done: only the answer was lost");
    // So that to do it again would be a write.
    let other = Manager::on(&etcd).await;
    other.client().set_isolation_level(level(LEVELS[0], "between")).await.unwrap();
    let (between, _) = stored(&mut store).await;

    proxy.reset();
    proxy.set(Fault::None);
    let again = eventually("the repetition", async || {
        client.set_isolation_level(level(LEVELS[1], "cut off")).await.map_err(|refusal| {
            assert!(is_unavailable(&refusal) || is_unknown(&refusal), "{refusal:?}");
            refusal
        })
    })
    .await;
    assert_eq!(revision(again.service.as_ref()).revision, u64::try_from(applied).unwrap());
    assert_eq!(stored(&mut store).await, (between, versions + 2), "it was done once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_is_slow_and_nothing_else() {
    let etcd = current(1).await;
    let (proxy, mut manager) = behind_a_proxy(&etcd).await;
    let other = Manager::on(&etcd).await;
    let (client, other) = (manager.client(), other.client());
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;
    proxy.set(Fault::Delay(Duration::from_millis(100)));
    for turn in 0..10 {
        let written = client.set_level("payments", LEVELS[turn % 2]).await.unwrap();
        assert_eq!(update(&mut follower).await.revision, written.revision);
    }
    let written = other.set_level("payments", IsolationLevel::None).await.unwrap();
    assert_eq!(update(&mut follower).await.revision, written.revision, "the watch tells");
    assert_eq!((stale_for(&client).await, losses(&mut manager)), (None, 0), "the watch was never given up");
    // A manager that begins there loads all of it, too.
    manager.kill();
    manager.restart().await;
    assert_eq!(client.revision("payments").await.unwrap(), revision(Some(&written)));
    assert_eq!(losses(&mut manager), 0);
    assert!(proxy.seen().delayed > 20, "{:?}", proxy.seen());
}
