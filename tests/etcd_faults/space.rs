//! An etcd without room.

use super::*;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{shell_snippets, workspace_root};
use etcd_client::DeleteOptions;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Little, and more than an empty database takes.
const QUOTA: &[&str] = &["--quota-backend-bytes=4000000"];

async fn a_full_etcd_refuses_writes_with_the_fix_and_disturbs_nobody(release: Release) {
    let etcd = Etcd::start_as(Setup { release, arguments: QUOTA, ..Setup::default() }).await;
    let mut manager = Manager::on(&etcd).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (mut follower, _) = Follower::start(&manager, "one", &["payments"]).await;
    let connected = async || client.info("payments").await.unwrap().stats.unwrap().instances;
    assert_eq!(connected().await, 1);

    let mut filler = etcd.client().await;
    let mut pieces = 0;
    let full = loop {
        match filler.put(format!("filler/{pieces}"), vec![0; 500_000], None).await {
            Ok(_) => pieces += 1,
            // A busy disk.
            Err(error) if error.to_string().contains("timed out") => {}
            Err(error) => break error.to_string(),
        }
        assert!(pieces < 100, "etcd never got full");
    };
    assert!(full.contains("database space exceeded"), "{full}");

    let mut health = HealthClient::new(manager.channel());
    let mut store = async || {
        let request = HealthCheckRequest { service: "cofferdam.Store".into() };
        health.check(request).await.unwrap().into_inner().status()
    };
    eventually("health to say that nothing can be written", async || match store().await {
        ServingStatus::NotServing => Ok(()),
        status => Err(status),
    })
    .await;
    manager.process().printed("the alarm", |line| line.contains("alarm NOSPACE").then_some(())).await;
    for _ in 0..3 {
        let refusal = client.set_level("payments", LEVELS[0]).await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{refusal:?}");
        assert!(refusal.message.contains("disarm"), "it says what to do: {refusal:?}");
        assert_eq!(refusal.metadata.get("quota").map(String::as_str), Some("store"));
    }
    assert_eq!(stale_for(&client).await, None, "reads are current");
    assert_eq!((connected().await, losses(&mut manager)), (1, 0), "the instance stays");

    filler.delete("filler/", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    let guide = std::fs::read_to_string(workspace_root().join("docs/etcd.md")).unwrap();
    let remedy = shell_snippets(&guide).into_iter().find(|snippet| snippet.commands.contains("alarm disarm")).unwrap();
    etcd.control(&remedy.commands);
    eventually("health to say that it can be written again", async || match store().await {
        ServingStatus::Serving => Ok(()),
        status => Err(status),
    })
    .await;
    let written = eventually("a write", async || client.set_level("payments", LEVELS[0]).await).await;
    assert_eq!(update(&mut follower).await.revision, written.revision, "on the stream that was open all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_of_the_oldest_release_refuses_writes_with_the_fix_and_disturbs_nobody() {
    a_full_etcd_refuses_writes_with_the_fix_and_disturbs_nobody(Release::Oldest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_etcd_of_the_current_release_refuses_writes_with_the_fix_and_disturbs_nobody() {
    a_full_etcd_refuses_writes_with_the_fix_and_disturbs_nobody(Release::Current).await;
}
