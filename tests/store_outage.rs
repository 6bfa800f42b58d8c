//! While the store is away: reads go on from memory and say so, writes say that they were not done, and everything
//! works again by itself.

use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Etcd, Manager, Refusal, eventually, within};
use tonic::Code;

/// A write that was not done while the store is away: it says so, or that it cannot know.
fn says_so(refusal: &Refusal) -> bool {
    matches!(
        (refusal.code, &refusal.reason[..]),
        (Code::Unavailable, "STORE_UNAVAILABLE") | (Code::DeadlineExceeded, "STORE_OUTCOME_UNKNOWN")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_are_marked_stale_and_writes_unavailable_until_etcd_is_back() {
    let mut etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    let before = client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    assert_eq!(client.info("payments").await.unwrap().stale_for, None);

    etcd.kill(0);
    let refusal = within("a refused write", client.set_level("payments", IsolationLevel::Full)).await.unwrap_err();
    assert!(says_so(&refusal), "{refusal:?}");
    let stale = eventually("reads that say how old they are", async || {
        let info = client.info("payments").await.unwrap();
        if info.stale_for.is_some() { Ok(info) } else { Err(info) }
    })
    .await;
    assert_eq!(stale.service.unwrap().revision, before.revision, "reads go on from memory");
    assert!(client.stats().await.unwrap().stale_for.is_some());
    assert_eq!(client.list().await.unwrap(), ["payments"]);

    etcd.restart(0).await;
    let raised = eventually("a write", async || client.set_level("payments", IsolationLevel::Full).await).await;
    eventually("reads that are current again", async || {
        let info = client.info("payments").await.unwrap();
        if info.stale_for.is_none() { Ok(()) } else { Err(info) }
    })
    .await;
    assert_eq!(client.info("payments").await.unwrap().service.unwrap().revision, raised.revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_etcd_holds_up_no_read_and_no_write_for_ever() {
    let etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    etcd.pause(0);
    let refusal = within("a refused write", client.set_level("payments", IsolationLevel::Full)).await.unwrap_err();
    assert!(says_so(&refusal), "{refusal:?}");
    assert_eq!(client.list().await.unwrap(), ["payments"]);
    etcd.resume(0);
    eventually("a write", async || client.set_level("payments", IsolationLevel::Enhanced).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_manager_writes_every_manager_shows() {
    let etcd = Etcd::start(1).await;
    let (one, other) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    let (one, other) = (one.client(), other.client());
    let written = one.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let shows = async |revision| {
        eventually("the other manager", async || match other.revision("payments").await {
            Ok(shown) if Some(shown) == revision => Ok(()),
            seen => Err(format!("{seen:?}")),
        })
        .await;
    };
    shows(written.revision).await;
    let written = one.set_level("payments", IsolationLevel::Full).await.unwrap();
    shows(written.revision).await;
    other.set_level("payments", IsolationLevel::Basic).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_the_majority_stops_writes_and_no_reads() {
    let mut etcd = Etcd::start(3).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    etcd.kill(0);
    etcd.kill(1);
    let refusal = within("a refused write", client.set_level("payments", IsolationLevel::Full)).await.unwrap_err();
    assert!(says_so(&refusal), "{refusal:?}");
    assert_eq!(client.list().await.unwrap(), ["payments"]);
    etcd.restart(0).await;
    eventually("a write", async || client.set_level("payments", IsolationLevel::Enhanced).await).await;
}
