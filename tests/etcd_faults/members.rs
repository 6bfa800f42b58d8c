//! Three members, of which some die, stand still or are alone, or that the network parts.

use super::*;
use cofferdam_tests::wire::{position, registration};
use cofferdam_tests::{Recovery, rounds, within};

/// How many writes in a row must succeed once one has.
const WRITES: usize = 100;

/// A manager that asks the leader first loses it, and writes again with the next.
async fn a_lost_leader_is_replaced(what: &'static str, lose: impl AsyncFn(&mut Etcd, usize)) {
    for _ in 0..rounds(1, 10) {
        a_leader_is_lost(what, &lose).await;
    }
}

async fn a_leader_is_lost(what: &'static str, lose: impl AsyncFn(&mut Etcd, usize)) {
    let mut etcd = current(3).await;
    let leader = etcd.leader().await;
    let order = [leader, (leader + 1) % 3, (leader + 2) % 3].map(|member| etcd.address(member)).join(",");
    let manager = Manager::start(Store::Etcd(order)).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();

    let recovery = Recovery::of(what);
    lose(&mut etcd, leader).await;
    eventually("a write", async || {
        let written = client.set_level("payments", LEVELS[0]).await;
        written.inspect_err(|refusal| assert!(is_unavailable(refusal) || is_unknown(refusal), "{refusal:?}"))
    })
    .await;
    recovery.is_over();
    assert_ne!(etcd.leader().await, leader, "another one leads");
    for turn in 1..=WRITES {
        let written = client.set_level("payments", LEVELS[turn % 2]).await;
        assert!(written.is_ok(), "write {turn} after the first that succeeded: {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_then_no_write_fails() {
    let what = "the leader of three etcds is killed: until a write is acknowledged";
    a_lost_leader_is_replaced(what, async |etcd: &mut Etcd, leader| etcd.kill(leader)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_leader_is_replaced_and_then_no_write_fails() {
    let what = "the leader of three etcds stands still: until a write is acknowledged";
    a_lost_leader_is_replaced(what, async |etcd: &mut Etcd, leader| etcd.pause(leader).await).await;
}

/// The network parts the leader from the others, and clients still reach all three.
async fn a_parted_leader_is_replaced(part: impl Fn(&Etcd, usize)) {
    let (release, arguments) = (Release::Current, unhurried(3));
    let etcd = Etcd::start_as(Setup { release, nodes: 3, arguments, can_part: true, ..Setup::default() }).await;
    let leader = etcd.leader().await;
    let order = [leader, (leader + 1) % 3, (leader + 2) % 3].map(|member| etcd.address(member)).join(",");
    let manager = Manager::start(Store::Etcd(order)).await;
    // On the wrong side, and with no way out.
    let alone = Manager::start(Store::Etcd(etcd.address(leader))).await;
    let (client, alone) = (manager.client(), alone.client());
    let before = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    eventually("the other manager to show it", async || alone.info("payments").await).await;
    let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;

    part(&etcd, leader);
    eventually("a write", async || {
        let written = client.set_level("payments", LEVELS[0]).await;
        written.inspect_err(|refusal| assert!(is_unavailable(refusal) || is_unknown(refusal), "{refusal:?}"))
    })
    .await;
    let mut last = None;
    for turn in 1..=WRITES {
        let written = client.set_level("payments", LEVELS[turn % 2]).await;
        last =
            Some(written.unwrap_or_else(|refusal| panic!("write {turn} after the first that succeeded: {refusal:?}")));
    }
    let last = last.and_then(|last| last.revision);
    eventually("the instance to have the last of them", async || match update(&mut follower).await.revision {
        seen if seen == last => Ok(()),
        seen => Err(seen),
    })
    .await;
    eventually("another one to lead", async || match etcd.leader().await {
        same if same == leader => Err(same),
        _ => Ok(()),
    })
    .await;
    assert!(etcd.held_back() > 0, "nothing was held back");

    // The member is there and answers; it has no leader, and its manager says so.
    stale(&alone).await;
    let refusal = within("a refused write", alone.set_level("payments", IsolationLevel::None)).await.unwrap_err();
    assert!(is_unavailable(&refusal) || is_unknown(&refusal), "{refusal:?}");
    assert_eq!(alone.info("payments").await.unwrap().service.unwrap().revision, before.revision, "reads go on");

    etcd.heal();
    in_touch(&alone).await;
    eventually("what was written on the other side", async || match alone.info("payments").await.unwrap().service {
        Some(service) if service.revision.map(position) >= last.map(position) => Ok(()),
        behind => Err(behind),
    })
    .await;
    let written = eventually("a write", async || alone.set_level("payments", IsolationLevel::Enhanced).await).await;
    eventually("the instance to follow it", async || match update(&mut follower).await.revision {
        seen if seen == written.revision => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_leader_that_is_cut_off_is_replaced_and_then_no_write_fails() {
    a_parted_leader_is_replaced(Etcd::cut_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_leader_that_hears_nobody_is_replaced_and_then_no_write_fails() {
    a_parted_leader_is_replaced(Etcd::deafen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_without_a_majority_acknowledges_nothing_and_its_reads_are_stale() {
    let mut etcd = current(3).await;
    let alone = Manager::start(Store::Etcd(etcd.address(0))).await;
    let client = alone.client();
    let before = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    etcd.kill(1);
    etcd.kill(2);
    // The member itself is there, with its connections; it says that it has no leader.
    stale(&client).await;
    for (turn, level) in LEVELS.into_iter().enumerate() {
        let refusal = within("a refused write", client.set_level("payments", level)).await.unwrap_err();
        assert!(is_unavailable(&refusal) || is_unknown(&refusal), "write {turn}: {refusal:?}");
    }
    let info = client.info("payments").await.unwrap();
    assert_eq!(info.service.unwrap().revision, before.revision, "reads go on from memory");
    assert!(info.stale_for.is_some() && client.stats().await.unwrap().stale_for.is_some());

    etcd.restart(1).await;
    in_touch(&client).await;
    eventually("a write", async || client.set_level("payments", LEVELS[0]).await).await;
}
