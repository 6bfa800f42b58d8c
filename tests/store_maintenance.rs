//! `cofferdam store`: what is checked, backed up, restored and migrated is what managers served before and serve after.

use cofferdam::{Cofferdam, Revision};
use cofferdam_proto::v1::{self, HealthStatus, IsolationLevel};
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{
    Client, Etcd, Fault, FaultProxy, Manager, Process, Said, Store, cofferdam, command, eventually, manager_binary,
    run, without_settings,
};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const FILE: &str = "cofferdam.redb";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Asserts that a command did what it was asked.
#[track_caller]
fn done(said: Said) -> Said {
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

/// Asserts that a command refused, with this code and in one line that holds these words.
#[track_caller]
fn refused(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, Some(code), "{said:?}");
    let last = said.err.lines().last().unwrap_or_default();
    assert!(last.starts_with("cofferdam: ") && last.contains(words), "no {words:?} in {said:?}");
    assert!(!said.err.contains("panicked"), "{said:?}");
}

/// The value of a line of `check`.
#[track_caller]
fn line<'a>(said: &'a Said, name: &str) -> &'a str {
    let value = said.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {said:?}")).trim()
}

/// Registers so many services, one of them with a report of its health.
async fn populate(client: &Client, services: usize) {
    for index in 0..services {
        client.register(registration(&format!("service-{index:03}"), IsolationLevel::Full)).await.unwrap();
    }
    client.report_health("service-000", HealthStatus::Degraded, "slow today").await.unwrap();
}

/// All that a manager shows of its services, but where that is in the store's history, and what instances report of them:
/// that comes when it comes.
async fn shown(client: &Client) -> Vec<v1::IsolatedService> {
    let mut services = Vec::new();
    for name in client.list().await.unwrap() {
        // What is gone by now is not shown either.
        if let Ok(info) = client.info(&name).await {
            let service = info.service.unwrap();
            let breaker_state = v1::BreakerState::Unspecified.into();
            services.push(v1::IsolatedService { revision: None, health: None, breaker_state, ..service });
        }
    }
    assert!(!services.is_empty(), "nothing is shown");
    services
}

/// Waits until a process has a revision in force.
async fn follows(process: &Cofferdam, service: &str, expected: v1::Revision) {
    let at = || process.service(service).revision().map(|Revision { epoch, revision }| (epoch, revision));
    eventually("the instance to follow", async || match at() {
        Some(seen) if seen == position(expected) => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_moves_to_etcd_and_back_and_instances_follow_it() {
    let etcd = Etcd::start(1).await;
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    populate(&client, 3).await;
    let process = Cofferdam::builder("checkout").manager(manager.url()).start();
    follows(&process, "service-001", client.revision("service-001").await.unwrap()).await;
    let before = shown(&client).await;
    let embedded = format!("embedded:{}", manager.data_dir().display());
    let cluster = format!("etcd:{}", etcd.endpoints());
    let migrate = |from: &str, to: &str, more: &[&str]| {
        cofferdam(&[&["store", "migrate", "--from", from, "--to", to], more].concat())
    };

    refused(&migrate(&embedded, &cluster, &[]), 1, "in use by another manager");
    manager.kill();
    let said = done(migrate(&embedded, &cluster, &[]));
    assert!(said.err.contains("of 7 keys written") && said.err.contains("comparing"), "{said:?}");
    refused(&migrate(&embedded, &cluster, &[]), 1, "not empty: it has 7 keys");
    let check = ["store", "check", "--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
    let said = done(cofferdam(&check));
    assert_eq!((line(&said, "services"), line(&said, "health reports")), ("3", "1"));

    manager.move_to(Store::Etcd(etcd.endpoints()));
    manager.restart().await;
    assert_eq!(shown(&client).await, before);
    follows(&process, "service-001", client.revision("service-001").await.unwrap()).await;
    let changed = client.set_level("service-001", IsolationLevel::Basic).await.unwrap();
    follows(&process, "service-001", revision(Some(&changed))).await;
    let before = shown(&client).await;

    manager.kill();
    refused(&migrate(&cluster, &embedded, &[]), 1, "--replace");
    done(migrate(&cluster, &embedded, &["--replace"]));
    manager.move_to(Store::Embedded);
    manager.restart().await;
    assert_eq!(shown(&client).await, before);
    let back = client.revision("service-001").await.unwrap();
    assert!(position(back) > position(revision(Some(&changed))), "{changed:?}, then {back:?}");
    follows(&process, "service-001", back).await;
    let changed = client.set_level("service-001", IsolationLevel::Enhanced).await.unwrap();
    follows(&process, "service-001", revision(Some(&changed))).await;
    process.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_leaves_nothing_to_serve_and_is_finished_by_running_it_again() {
    let etcd = Etcd::start(1).await;
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    populate(&client, 200).await;
    let before = shown(&client).await;
    manager.kill();
    let slow = FaultProxy::start(etcd.endpoints().parse().unwrap()).await;
    let embedded = format!("embedded:{}", manager.data_dir().display());
    let to = |endpoints: &str| format!("etcd:{endpoints}");

    slow.set(Fault::Delay(Duration::from_millis(100)));
    let mut cut = Process::start(
        "migrate",
        &mut command(&["store", "migrate", "--from", &embedded, "--to", &to(&slow.address().to_string())]),
    );
    cut.printed("the first part", |line| line.starts_with("64 of ").then_some(())).await;
    cut.kill();
    assert!(!cut.log().contains("comparing"), "it was over: {}", cut.log());

    manager.move_to(Store::Etcd(etcd.endpoints()));
    let exit = manager.rival().exit().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.log.contains("has not finished: run it again"), "{exit:?}");
    let check = ["store", "check", "--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
    let said = cofferdam(&check);
    refused(&said, 1, "1 problem was found");
    assert!(line(&said, "problem").starts_with("meta/store: "), "{said:?}");

    let said = done(cofferdam(&["store", "migrate", "--from", &embedded, "--to", &to(&etcd.endpoints())]));
    assert!(said.err.contains("going on where it stopped"), "{said:?}");
    manager.restart().await;
    assert_eq!(shown(&client).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_brings_everything_back_and_a_damaged_one_nothing() {
    let folder = TempDir::new().unwrap();
    let backup = folder.path().join("cofferdam.backup");
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    populate(&client, 3).await;
    let lost = client.revision("service-000").await.unwrap();
    let before = shown(&client).await;
    let dir = manager.data_dir().to_owned();
    let save = ["store", "backup", "--data-dir", text(&dir), "--output", text(&backup)];
    refused(&cofferdam(&save), 1, "in use by another manager");
    assert!(!backup.exists());
    manager.kill();
    assert_eq!(done(cofferdam(&save)).out, format!("{}\n", backup.display()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    }
    refused(&cofferdam(&save), 1, "exists and is left as it is");

    let damaged = folder.path().join("damaged.backup");
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, &bytes).unwrap();
    fs::remove_file(dir.join(FILE)).unwrap();
    let restore = |file: &Path| cofferdam(&["store", "restore", text(file), "--data-dir", text(&dir)]);
    refused(&restore(&damaged), 1, "its checksum is another");
    assert!(!dir.join(FILE).exists(), "a store was made for it");
    refused(&restore(&folder.path().join("none")), 1, "No such file");

    // Before, all of it was read into memory first.
    let endless =
        ["--as=2147483648", text(manager_binary()), "store", "restore", "/dev/zero", "--data-dir", text(&dir)];
    let endless = run(without_settings(&mut Command::new("prlimit")).args(endless));
    refused(&endless, 1, "/dev/zero cannot be restored: it does not begin as a backup");

    done(restore(&backup));
    refused(&restore(&backup), 1, "not empty");
    manager.restart().await;
    assert_eq!(shown(&client).await, before);
    let restored = client.revision("service-000").await.unwrap();
    assert!(restored.epoch > lost.epoch, "{lost:?}, then {restored:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn managers_on_etcd_go_on_with_what_is_restored_under_them() {
    let folder = TempDir::new().unwrap();
    let backup = folder.path().join("cofferdam.backup");
    let etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    populate(&client, 2).await;
    let before = shown(&client).await;
    let at = ["--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
    done(cofferdam(&[&["store", "backup", "--output", text(&backup)], &at[..]].concat()));
    client.register(registration("later", IsolationLevel::Basic)).await.unwrap();
    client.set_level("service-001", IsolationLevel::Basic).await.unwrap();
    let process = Cofferdam::builder("checkout").manager(manager.url()).start();
    follows(&process, "service-001", client.revision("service-001").await.unwrap()).await;

    done(cofferdam(&[&["store", "restore", text(&backup), "--replace"], &at[..]].concat()));
    eventually("the manager to show what was restored", async || match shown(&client).await {
        now if now == before => Ok(()),
        now => Err(now),
    })
    .await;
    follows(&process, "service-001", client.revision("service-001").await.unwrap()).await;
    process.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_names_what_managers_would_skip() {
    let etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    populate(&manager.client(), 2).await;
    let poison = "/cofferdam/v1/service/default/poison";
    etcd.client().await.put(poison, "\u{1}", None).await.unwrap();
    let check = ["store", "check", "--store", "etcd", "--etcd-endpoints", &etcd.endpoints()];
    let said = cofferdam(&check);
    refused(&said, 1, "1 problem was found");
    assert!(line(&said, "problem").starts_with("service/default/poison: "), "{said:?}");
    assert_eq!((line(&said, "services"), line(&said, "managers")), ("2", "1"));
    assert_eq!(line(&said, "of later releases"), "0 services, 0 other keys");
    etcd.client().await.delete(poison, None).await.unwrap();
    done(cofferdam(&check));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_reads_a_file_to_its_end_and_leaves_it_as_it_is() {
    let mut manager = Manager::embedded().await;
    populate(&manager.client(), 2).await;
    let path = manager.data_dir().join(FILE);
    let check = ["store", "check", "--data-dir", text(manager.data_dir())].map(str::to_owned);
    let check = || cofferdam(&check.each_ref().map(String::as_str));
    refused(&check(), 1, "in use by another manager");
    manager.kill();
    let whole = fs::read(&path).unwrap();
    let said = done(check());
    assert_eq!((line(&said, "services"), line(&said, "health reports")), ("2", "1"));
    assert!(fs::read(&path).unwrap() == whole, "the file was changed");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(&check(), 1, text(&path));
    fs::remove_file(&path).unwrap();
    refused(&check(), 1, "there is no store in");
    assert!(!path.exists(), "a store was made for it");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_named_in_two_ways_is_not_migrated_into_itself() {
    let folder = TempDir::new().unwrap();
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    populate(&client, 2).await;
    let before = shown(&client).await;
    manager.kill();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(manager.data_dir(), &link).unwrap();
    let place = |dir: &Path| format!("embedded:{}", dir.display());
    let migrate = ["store", "migrate", "--from", &place(manager.data_dir()), "--to", &place(&link), "--replace"]
        .map(str::to_owned);
    refused(&cofferdam(&migrate.each_ref().map(String::as_str)), 2, "the same store");
    manager.restart().await;
    assert_eq!(shown(&client).await, before);
}

#[test]
fn what_makes_no_sense_is_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let dir = text(folder.path());
    for wrong in [
        &["store"][..],
        &["store", "check", "--store", "memory"],
        &["store", "check", "--store", "etcd"],
        &["store", "check", "--store", "embedded", "--etcd-endpoints", "127.0.0.1:1"],
        &["store", "check", "--config", "/nowhere/cofferdam.toml"],
        &["store", "backup", "--data-dir", dir],
        &["store", "backup", "--output", "-", "--data-dir", dir],
        &["store", "restore"],
        &["store", "migrate", "--from", "embedded"],
        &["store", "migrate", "--from", "redb:x", "--to", "etcd"],
    ] {
        let said = cofferdam(wrong);
        assert_eq!(said.code, Some(2), "{wrong:?}: {said:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{wrong:?}: {said:?}");
    }
    let place = format!("embedded:{dir}");
    refused(&cofferdam(&["store", "migrate", "--from", &place, "--to", &place]), 2, "the same store");
}
