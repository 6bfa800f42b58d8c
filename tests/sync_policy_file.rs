//! A process that starts with no manager in reach begins under the last policy that the manager had.

use cofferdam::{Cofferdam, Level, Origin, Revision};
use cofferdam_proto::v1::{self, IsolationLevel};
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{Manager, eventually};
use std::path::Path;

fn process(manager: &Manager, dir: &Path) -> Cofferdam {
    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).policy_dir(dir).start();
    cofferdam.service("orders-db");
    cofferdam
}

fn at(cofferdam: &Cofferdam) -> Option<(u64, u64)> {
    cofferdam.service("orders-db").revision().map(|Revision { epoch, revision }| (epoch, revision))
}

/// Waits until a revision, or none, is in force.
async fn follows(cofferdam: &Cofferdam, revision: Option<v1::Revision>) {
    let expected = revision.map(position);
    eventually("the instance to follow", async || match at(cofferdam) {
        seen if seen == expected => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_the_manager_down_keeps_the_policy_and_its_return_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let first = process(&manager, dir.path());
    follows(&first, Some(revision(Some(&registered)))).await;
    assert_eq!(first.service("orders-db").origin(), Origin::Manager);
    first.shutdown().await;
    drop(first);

    manager.kill();
    let second = process(&manager, dir.path());
    let service = second.service("orders-db");
    assert_eq!(at(&second), Some(position(revision(Some(&registered)))), "at once, before any contact");
    assert_eq!((service.policy().level, service.origin()), (Level::Full, Origin::File));
    assert!(!second.connection().is_connected());

    manager.restart().await;
    let changed = manager.client().set_level("orders-db", IsolationLevel::Basic).await.unwrap();
    follows(&second, Some(revision(Some(&changed)))).await;
    assert_eq!((service.policy().level, service.origin()), (Level::Basic, Origin::Manager));
    second.shutdown().await;
    drop((second, service));

    // Unregistered while nobody is there to hear of it.
    let third = process(&manager, dir.path());
    assert_eq!(at(&third), Some(position(revision(Some(&changed)))));
    let request = v1::UnregisterServiceRequest { service: "orders-db".to_owned(), ..Default::default() };
    manager.client().unregister_service(request).await.unwrap();
    follows(&third, None).await;
    third.shutdown().await;
    manager.kill();
    let fourth = process(&manager, dir.path());
    assert_eq!((at(&fourth), fourth.policy_file().unwrap().found), (None, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_takes_no_files_has_no_effect_but_a_count() {
    let occupied = tempfile::NamedTempFile::new().unwrap();
    let manager = Manager::embedded().await;
    let client = manager.client();
    let registered = client.register(registration("orders-db", IsolationLevel::Full)).await.unwrap();
    let cofferdam = process(&manager, occupied.path());
    follows(&cofferdam, Some(revision(Some(&registered)))).await;
    eventually("the failure to be counted", async || match cofferdam.policy_file().unwrap() {
        file if file.failures > 0 && file.failure.is_some() => Ok(()),
        file => Err(file),
    })
    .await;
    let changed = client.set_level("orders-db", IsolationLevel::Basic).await.unwrap();
    follows(&cofferdam, Some(revision(Some(&changed)))).await;
    let answer = cofferdam.service("orders-db").execute("get", || async { Ok::<_, std::io::Error>(7) }).await;
    assert_eq!(answer.unwrap(), 7);
}
