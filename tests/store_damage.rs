//! A manager whose file is damaged does not start, and one whose disk is full goes on with all but writes. So do the
//! commands that an operator turns to.

use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{IsolationLevel, RegisterServiceRequest};
use cofferdam_tests::wire::{position, registration, revision};
use cofferdam_tests::{Exit, Follower, Manager, Said, cofferdam, command};
use std::fs;
use std::process::Command;
use tonic::Code;

/// The file of a manager's embedded store.
const FILE: &str = "cofferdam.redb";

/// How a manager ends whose file, with one service in it, was changed while it was down.
async fn start_on(damage: impl FnOnce(&mut Vec<u8>)) -> Exit {
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    manager.kill();
    let path = manager.data_dir().join(FILE);
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    let exit = manager.rival().exit().await;
    assert_eq!(exit.code, Some(1), "{exit:?}");
    assert!(exit.log.contains(path.to_str().unwrap()), "no {path:?} in {exit:?}");
    let told: Vec<_> = exit.log.lines().filter(|line| line.starts_with("cofferdam: ")).collect();
    assert_eq!(told.len(), 1, "{exit:?}");
    assert!(!exit.log.contains("panicked"), "{exit:?}");
    // What helps, not another command that says the same.
    assert!(told[0].contains("left as it is: move it away, and `cofferdam store restore`"), "{exit:?}");
    assert!(!told[0].contains("store check") && !told[0].contains("cofferdam serve"), "{exit:?}");
    let checked = cofferdam(&["store", "check", "--data-dir", manager.data_dir().to_str().unwrap()]);
    assert_eq!((checked.code, checked.err.trim_end()), (Some(1), told[0]), "{checked:?}");
    assert!(fs::read(&path).unwrap() == bytes, "the evidence was changed: {exit:?}");
    exit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_refuses_a_damaged_file_in_one_line() {
    let emptied = start_on(Vec::clear).await;
    assert!(emptied.log.contains("it is empty"), "{emptied:?}");
    start_on(|bytes| bytes.truncate(bytes.len() / 2)).await;
    start_on(|bytes| bytes.iter_mut().for_each(|byte| *byte ^= 0xff)).await;
}

/// A registration that takes room.
fn large(name: &str) -> RegisterServiceRequest {
    let mut request = registration(name, IsolationLevel::Basic);
    request.service.as_mut().unwrap().description = "x".repeat(1000);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_without_room_refuses_writes_alone_and_goes_on_when_there_is_room_again() {
    let mut manager = Manager::embedded().await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let (mut follower, _) = Follower::start(&manager, "instance", &["payments"]).await;
    let size = fs::metadata(manager.data_dir().join(FILE)).unwrap().len();
    manager.process().limit_file_size(Some(size));

    let mut written = 0;
    let refusal = loop {
        match client.register(large(&format!("service-{written}"))).await {
            Ok(_) => written += 1,
            Err(refusal) => break refusal,
        }
        assert!(written < 5000, "the file never grew past {size} bytes");
    };
    assert_eq!((refusal.code, &*refusal.reason), (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{refusal:?}");
    assert!(refusal.message.contains(FILE), "{refusal:?}");
    let before = client.revision("payments").await.unwrap();
    let refused = client.info(&format!("service-{written}")).await.unwrap_err();
    assert_eq!(refused.code, Code::NotFound, "what was refused is not there: {refused:?}");

    manager.process().limit_file_size(None);
    let changed = client.set_level("payments", IsolationLevel::Full).await.unwrap();
    assert!(position(revision(Some(&changed))) > position(before));
    match follower.next().await.unwrap() {
        Response::Update(update) => assert_eq!(update.revision, changed.revision, "the stream has gone on"),
        other => panic!("{other:?}"),
    }
    manager.kill();
    manager.restart().await;
    assert_eq!(client.revision("payments").await.unwrap(), revision(Some(&changed)));
    for index in 0..written {
        client.info(&format!("service-{index}")).await.unwrap();
    }
}

/// Runs a command whose files may have so many bytes at most.
fn limited(bytes: u64, arguments: &[&str]) -> Said {
    let plain = command(arguments);
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={bytes}")).arg(plain.get_program()).args(plain.get_args());
    for (name, _) in plain.get_envs().filter(|(_, value)| value.is_none()) {
        limited.env_remove(name);
    }
    let output = limited.output().expect("util-linux has prlimit");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_without_room_says_so_and_leaves_nothing_half_done() {
    let mut manager = Manager::embedded().await;
    for index in 0..5 {
        manager.client().register(large(&format!("service-{index}"))).await.unwrap();
    }
    manager.kill();
    let data_dir = manager.data_dir().to_str().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let backup = dir.path().join("backup");
    let backup = backup.to_str().unwrap();
    let names = || fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();

    let said = limited(1024, &["store", "backup", "--data-dir", &data_dir, "--output", backup]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains(backup), "{said:?}");
    assert!(names().is_empty(), "{:?} is left", names());

    let said = cofferdam(&["store", "backup", "--data-dir", &data_dir, "--output", backup]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let restored = dir.path().join("restored");
    let restore = ["store", "restore", backup, "--data-dir", restored.to_str().unwrap()];
    let said = limited(1024, &restore);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("make room"), "{said:?}");
    assert_eq!(cofferdam(&restore).code, Some(0), "there is room again");
}
