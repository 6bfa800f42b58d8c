//! One etcd, killed or paused.

use super::*;
use cofferdam_proto::v1::IsolatedService;
use cofferdam_server::store::DEFAULT_PREFIX;
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::within;

async fn a_killed_etcd_costs_no_stream_and_no_news(release: Release) {
    let mut etcd = Etcd::start_as(Setup { release, ..Setup::default() }).await;
    let (mut manager, other) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    let (client, other) = (manager.client(), other.client());
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;

    etcd.kill(0);
    let first = stale(&client).await;
    eventually("the age to grow", async || match stale(&client).await {
        later if later > first => Ok(()),
        same => Err(same),
    })
    .await;
    assert_eq!(client.list().await.unwrap(), ["payments"]);
    assert!(client.stats().await.unwrap().stale_for.is_some());
    let refusal = within("a refused write", client.set_level("payments", LEVELS[0])).await.unwrap_err();
    assert!(is_unavailable(&refusal) || is_unknown(&refusal), "{refusal:?}");
    // What is logged comes after what is answered.
    manager.process().printed("a lost watch", |line| line.contains(LOSS).then_some(())).await;
    assert_eq!(losses(&mut manager), 1, "the watch was lost");

    etcd.restart(0).await;
    in_touch(&client).await;
    // By another manager, so that only a watch can tell.
    let written = eventually("a write", async || other.set_level("payments", LEVELS[0]).await).await;
    assert_eq!(update(&mut follower).await.revision, written.revision, "on the stream that was open all the time");
    assert_eq!(losses(&mut manager), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_of_the_oldest_release_costs_no_stream_and_no_news() {
    a_killed_etcd_costs_no_stream_and_no_news(Release::Oldest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_etcd_of_the_current_release_costs_no_stream_and_no_news() {
    a_killed_etcd_costs_no_stream_and_no_news(Release::Current).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_a_paused_etcd_is_unknown_until_it_is_read_or_repeated() {
    let etcd = current(1).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    let registered = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    // The lease of the records of requests is there from here on: what is asked for below is the write itself.
    let before = client.set_isolation_level(level(LEVELS[0], "before")).await.unwrap().service.unwrap();
    assert!(position(revision(Some(&before))) > position(revision(Some(&registered))));

    etcd.pause(0).await;
    let refusal = within("an answer", client.set_isolation_level(level(LEVELS[1], "during"))).await.unwrap_err();
    assert!(is_unknown(&refusal), "{refusal:?}");
    stale(&client).await;
    assert_eq!(client.list().await.unwrap(), ["payments"], "no read is held up");
    etcd.resume(0);
    in_touch(&client).await;

    // What was under way when etcd stood still is in the store before what is written now, or never will be. The
    // manager's memory may hear of it later.
    client.register(registration("orders", IsolationLevel::Basic)).await.unwrap();
    let stored = etcd.client().await.get(format!("{DEFAULT_PREFIX}service/default/payments"), None).await.unwrap();
    let found = stored.kvs().first().unwrap().mod_revision();
    let number = |service: &IsolatedService| i64::try_from(revision(Some(service)).revision).unwrap();
    let is_applied = found != number(&before);
    // So that to do it again would be a write in any case.
    let between = client.set_isolation_level(level(LEVELS[0], "between")).await.unwrap().service.unwrap();
    let repeated = client.set_isolation_level(level(LEVELS[1], "during")).await.unwrap().service.unwrap();
    assert_eq!(repeated.policy.as_ref().unwrap().level, i32::from(LEVELS[1]));
    let last = if is_applied {
        assert_eq!(number(&repeated), found, "the repetition is answered with the first result");
        between
    } else {
        repeated
    };
    assert_eq!(client.revision("payments").await.unwrap(), revision(Some(&last)));
}
