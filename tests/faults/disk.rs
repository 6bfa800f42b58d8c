//! A disk that fails under an embedded store (F14).

use super::{LEVELS, SERVICE, near_and_far_on};
use cofferdam_proto::v1::{IsolationLevel, RegisterServiceRequest};
use cofferdam_tests::wire::{fallback, position, registration, revision, static_json};
use cofferdam_tests::{Client, Disk, Manager, Preload, Refusal, Store, command, eventually, run, within};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const NO_ROOM: (Code, &str) = (Code::ResourceExhausted, "QUOTA_EXCEEDED");
const NOT_DONE: (Code, &str) = (Code::Unavailable, "STORE_UNAVAILABLE");
/// The disk failed in the midst of it, and what is on it cannot be looked at or may not last.
const NOBODY_KNOWS: (Code, &str) = (Code::DeadlineExceeded, "STORE_OUTCOME_UNKNOWN");

/// What is said of the first write that each disk refuses, and of the next one.
const SAID: [(Disk, [(Code, &str); 2]); 4] = [
    (Disk::Full, [NO_ROOM, NO_ROOM]),
    (Disk::Broken, [NOBODY_KNOWS, NOT_DONE]),
    (Disk::ReadOnly, [NOBODY_KNOWS, NOT_DONE]),
    (Disk::Unsynced, [NOBODY_KNOWS, NOT_DONE]),
];

/// A registration that takes room.
fn large(name: &str) -> RegisterServiceRequest {
    let answer = format!("\"{}\"", "x".repeat(60_000));
    let fallback = Some(fallback([static_json(&answer)]));
    RegisterServiceRequest { fallback, ..registration(name, IsolationLevel::Enhanced) }
}

/// Writes until a write is refused. Which service was refused, and how.
async fn refused(client: &Client, disk: Disk, names: &mut impl Iterator<Item = String>) -> (String, Refusal) {
    for name in names.take(500) {
        // Where there is room, a file that grows would only fail at another step.
        let request = if disk == Disk::Full { large(&name) } else { registration(&name, IsolationLevel::Basic) };
        if let Err(refusal) = within("an answer", client.register(request)).await {
            return (name, refusal);
        }
    }
    panic!("the disk never refused a write");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_disk_that_fails_costs_writes_alone_and_is_written_again_when_it_is_well() {
    let faults = Preload::new();
    let variables = faults.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (mut manager, client, network, near, far) = near_and_far_on(Store::Embedded, &variables).await;
    let mut health = HealthClient::new(manager.channel());
    let mut takes_writes = async |expected: ServingStatus| {
        eventually("health to say whether it takes writes", async || {
            let request = HealthCheckRequest { service: "cofferdam.Store".into() };
            match health.check(request).await.unwrap().into_inner().status() {
                status if status == expected => Ok(()),
                status => Err(status),
            }
        })
        .await;
    };
    let mut newest = client.info(SERVICE).await.unwrap().service.unwrap();
    let mut names = (0..).map(|index| format!("service-{index}"));
    for (round, (disk, said)) in SAID.into_iter().enumerate() {
        let before = faults.refused();
        faults.disk(disk);
        for expected in said {
            let (name, refusal) = refused(&client, disk, &mut names).await;
            assert_eq!((refusal.code, &*refusal.reason), expected, "{disk:?}: {refusal:?}");
            assert!(refusal.message.contains("cofferdam.redb"), "{disk:?}: {refusal:?}");
            let shown = client.info(&name).await.unwrap_err();
            assert_eq!(shown.code, Code::NotFound, "{disk:?}: what was refused is not there: {shown:?}");
        }
        assert!(faults.refused() > before, "{disk:?}: nothing was refused");
        // It looks every few seconds: once is enough.
        if disk == Disk::Full {
            takes_writes(ServingStatus::NotServing).await;
        }
        assert_eq!(client.revision(SERVICE).await.unwrap(), revision(Some(&newest)), "{disk:?}: reads go on");
        assert!(near.is_at(&newest) && far.is_at(&newest), "{disk:?}");
        faults.disk(Disk::Well);
        newest = client.set_level(SERVICE, LEVELS[round % 2]).await.unwrap();
        if disk == Disk::Full {
            takes_writes(ServingStatus::Serving).await;
        }
        for instance in [&near, &far] {
            instance.follows(&newest).await;
        }
    }
    assert_eq!(network.seen().accepted, 1, "no stream was lost");
    manager.kill();
    manager.restart().await;
    assert_eq!(client.revision(SERVICE).await.unwrap(), revision(Some(&newest)));
    let after = client.set_level(SERVICE, IsolationLevel::None).await.unwrap();
    assert!(position(revision(Some(&after))) > position(revision(Some(&newest))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_store_on_a_read_only_disk_is_checked_and_a_manager_says_why_it_does_not_start() {
    let faults = Preload::new();
    let mut manager = Manager::embedded().await;
    manager.client().register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let data_dir = manager.data_dir().to_str().unwrap().to_owned();
    let check = || run(command(&["store", "check", "--data-dir", &data_dir]).envs(faults.variables()));
    faults.disk(Disk::ReadOnly);
    let said = check();
    assert_eq!(said.code, Some(1), "a manager has it open: {said:?}");
    assert!(said.err.contains("in use") || said.err.contains("another"), "{said:?}");

    manager.kill();
    let before = faults.refused();
    let said = check();
    assert!(faults.refused() > before, "nothing was refused");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.lines().any(|line| line.split_whitespace().eq(["services", "1"])), "{said:?}");

    let elsewhere = tempfile::tempdir().unwrap();
    let backup = elsewhere.path().join("backup");
    let backup = ["store", "backup", "--data-dir", &data_dir, "--output", backup.to_str().unwrap()];
    let said = run(command(&backup).envs(faults.variables()));
    assert_eq!(said.code, Some(0), "what is on it can be saved: {said:?}");

    let variables = faults.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let arguments = ["--listen", "127.0.0.1:0", "--store", "embedded", "--data-dir", &data_dir];
    let exit = Manager::bare(&arguments, &variables).exit().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.log.contains("cofferdam.redb") && exit.log.contains("Read-only file system"), "{exit:?}");
}
