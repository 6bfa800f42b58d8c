//! How a manager starts and stops.

use cofferdam_proto::v1::fallback_step::Strategy;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use cofferdam_proto::v1::sync_response::Message;
use cofferdam_proto::v1::{
    ExecuteWithIsolationRequest, FallbackConfig, FallbackStep, IsolationLevel, RegisterServiceRequest, StaticFallback,
};
use cofferdam_tests::wire::{registration, registration_at};
use cofferdam_tests::{Follower, Grpcurl, Manager, Process, Store, manager_binary, unused_address, without_settings};
use std::process::Command;
use tonic::Request;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_a_manager_with_streams_open_and_tells_them_to_come_again() {
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let mut followers = Vec::new();
    for index in 0..20 {
        followers.push(Follower::start(&manager, &format!("tests-{index}"), &["payments"]).await.0);
    }
    manager.process().terminate();
    for follower in &mut followers {
        let farewell = follower.next().await;
        assert!(matches!(farewell, Ok(Message::Reconnect(_))), "{farewell:?}");
    }
    // The promise is 15 s; `exit` waits for twice that on a machine that may be busy with something else.
    let exit = manager.process().exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");

    manager.restart().await;
    assert_eq!(manager.client().list().await.unwrap(), ["payments"]);
}

/// Before, it ended at once, as if it had been killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_whose_terminal_is_closed_ends_as_on_sigterm() {
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let mut follower = Follower::start(&manager, "tests", &["payments"]).await.0;
    manager.process().hang_up();
    let farewell = follower.next().await;
    assert!(matches!(farewell, Ok(Message::Reconnect(_))), "{farewell:?}");
    let exit = manager.process().exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nohup_keeps_a_manager_whose_terminal_is_closed() {
    let mut nohup = Command::new("sh");
    without_settings(&mut nohup).args(["-c", "trap '' HUP; exec \"$@\"", "nohup"]).arg(manager_binary());
    nohup.args(["serve", "--listen", "127.0.0.1:0", "--store", "memory"]);
    let mut process = Process::start("manager under nohup", &mut nohup);
    process.printed("its start line", |line| line.contains("127.0.0.1:").then_some(())).await;
    assert!(process.ignores_hang_up());
    process.hang_up();
    process.terminate();
    assert_eq!(process.exit().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_waits_for_its_store_can_be_stopped() {
    let nobody = unused_address();
    let arguments =
        ["--listen", "127.0.0.1:0", "--store", "etcd", "--etcd-endpoints", &nobody, "--store-timeout", "1h"];
    let mut process = Manager::bare(&arguments, &[]);
    process.printed("that it waits", |line| line.contains("not ready").then_some(())).await;
    process.terminate();
    let exit = process.exit().await;
    assert_eq!(exit.code, Some(0), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_0_is_a_port_that_the_start_line_names() {
    let mut process = Manager::bare(&["--listen", "127.0.0.1:0", "--store", "memory"], &[]);
    let port = process
        .printed("its start line", |line| {
            let (_, rest) = line.split_once("127.0.0.1:")?;
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<u16>().ok()
        })
        .await;
    assert!(port != 0);
    let list = Grpcurl::at(format!("127.0.0.1:{port}")).ask(&["list"]).unwrap();
    assert!(list.contains("cofferdam.v1.IsolationService"), "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_settings_are_refused_in_words() {
    let taken = Manager::start(Store::Memory).await;
    let address = taken.address();
    for (arguments, names) in [
        (&["--listen", "0.0.0.0:0", "--store", "memory"][..], "0.0.0.0"),
        (&["--listen", "nonsense", "--store", "memory"], "nonsense"),
        (&["--listen", &address, "--store", "memory"], &address),
        (&["--store", "etcd"], "etcd-endpoints"),
        (&["--store", "papyrus"], "papyrus"),
        (&["--config", "/does/not/exist.toml"], "/does/not/exist.toml"),
        (&["--log-format", "xml"], "xml"),
        (&["--log-level", "loud", "--store", "memory"], "loud"),
    ] {
        let exit = Manager::bare(arguments, &[]).exit().await;
        assert!(exit.code.is_some_and(|code| code != 0), "{arguments:?}: {exit:?}");
        assert!(exit.log.contains(names), "{arguments:?} names no {names}: {exit:?}");
        assert!(!exit.log.contains("panicked"), "{arguments:?}: {exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_win_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("cofferdam.toml");
    let file = file.to_str().unwrap();
    let [by_file, by_environment, by_flag] = [unused_address(), unused_address(), unused_address()];
    std::fs::write(file, format!("[listen]\naddress = \"{by_file}\"\n[store]\nkind = \"memory\"\n")).unwrap();
    let environment = [("COFFERDAM_LISTEN_ADDRESS", &by_environment[..])];
    for (arguments, variables, address) in [
        (&["--config", file][..], &[][..], &by_file),
        (&["--config", file], &environment, &by_environment),
        (&["--config", file, "--listen", &by_flag], &environment, &by_flag),
    ] {
        let mut process = Manager::bare(arguments, variables);
        process.printed("its address", |line| line.contains(&address[..]).then_some(())).await;
        Grpcurl::at(address).ask(&["list"]).unwrap();
    }
    std::fs::write(file, "[listen]\naddres = \"127.0.0.1:0\"\n").unwrap();
    let exit = Manager::bare(&["--config", file], &[]).exit().await;
    assert!(exit.code.is_some_and(|code| code != 0), "{exit:?}");
    assert!(exit.log.contains("addres") && exit.log.contains("address") && exit.log.contains(file), "{exit:?}");
}

/// Before, a variable that was misspelt did nothing, and nobody said so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_that_means_nothing_is_refused_with_the_nearest_one() {
    let memory = &["--listen", "127.0.0.1:0", "--store", "memory"][..];
    for (name, nearest) in [
        ("COFFERDAM_LISTEN_ADRESS", "did you mean COFFERDAM_LISTEN_ADDRESS?"),
        ("COFFERDAM_DATA_DIR", "did you mean COFFERDAM_STORE_DATA_DIR?"),
        ("COFFERDAM_LONG", "unknown variable COFFERDAM_LONG"),
    ] {
        let exit = Manager::bare(memory, &[(name, "1")]).exit().await;
        assert!(exit.code == Some(1) && exit.log.contains(name) && exit.log.contains(nearest), "{exit:?}");
    }
    // What Kubernetes makes up for services of such names, and a variable of the same binary's other commands.
    let of_others = [
        ("COFFERDAM_PORT", "tcp://10.0.0.1:7420"),
        ("COFFERDAM_SERVICE_HOST", "10.0.0.1"),
        ("COFFERDAM_MANAGER_PORT_7420_TCP_ADDR", "10.0.0.1"),
        ("COFFERDAM_MANAGER_SERVICE_PORT_GRPC", "7420"),
        ("COFFERDAM_ACTOR", "ann"),
        ("COFFERDAM_EMPTY", ""),
    ];
    let mut process = Manager::bare(memory, &of_others);
    process.printed("its start line", |line| line.contains("127.0.0.1:").then_some(())).await;
}

/// Before, all of it was read into memory first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_an_end_is_refused() {
    let memory = &["--listen", "127.0.0.1:0", "--store", "memory"][..];
    let long = tempfile::NamedTempFile::new().unwrap();
    long.as_file().set_len((1 << 20) + 1).unwrap();
    let long = long.path().to_str().unwrap();
    for (arguments, variables) in [
        (&["--config", long][..], &[][..]),
        (&["--webhook-urls", "http://127.0.0.1:1", "--webhook-secret-file", long], &[]),
        (&[], &[("COFFERDAM_WEBHOOK_URLS", "https://127.0.0.1:1"), ("COFFERDAM_WEBHOOK_CA_FILE", long)]),
    ] {
        let exit = Manager::bare(&[memory, arguments].concat(), variables).exit().await;
        assert!(exit.code == Some(1) && exit.log.contains("is larger than 1 MiB"), "{exit:?}");
        assert!(exit.log.contains(long), "{exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_that_go_to_a_file_are_plain_text_or_json() {
    for format in ["text", "json"] {
        let arguments = ["--listen", "127.0.0.1:0", "--store", "memory", "--log-format", format];
        let mut process = Manager::bare(&arguments, &[]);
        process.printed("its start line", |line| line.contains("127.0.0.1:").then_some(())).await;
        process.terminate();
        let exit = process.exit().await;
        assert!(!exit.log.contains('\u{1b}'), "colours are for terminals: {exit:?}");
        let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object());
        assert!(exit.log.lines().all(|line| is_json(line) == (format == "json")), "{exit:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_callers_and_policies_carry_is_never_logged() {
    let mut process = Manager::bare(&["--listen", "127.0.0.1:0", "--store", "memory", "--log-level", "trace"], &[]);
    let address = process
        .printed("its start line", |line| {
            let (_, rest) = line.split_once("address=").filter(|_| line.contains("is listening"))?;
            Some(rest.split_whitespace().next()?.to_owned())
        })
        .await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = IsolationServiceClient::new(endpoint.connect_lazy());
    let answer = StaticFallback { payload: b"CANARY".as_slice().into(), ..StaticFallback::default() };
    let chain = vec![FallbackStep { strategy: Some(Strategy::Static(answer)) }];
    let request = RegisterServiceRequest {
        fallback: Some(FallbackConfig { chain, ..FallbackConfig::default() }),
        request_id: "one".to_owned(),
        ..registration_at("payments", IsolationLevel::Full, "127.0.0.1:1")
    };
    client.register_service(request).await.unwrap();
    let mut request = Request::new(ExecuteWithIsolationRequest {
        service: "payments".to_owned(),
        method: "a.B/C".to_owned(),
        payload: b"CANARY".as_slice().into(),
        ..ExecuteWithIsolationRequest::default()
    });
    request.metadata_mut().insert("authorization", "Bearer CANARY".parse().unwrap());
    client.execute_with_isolation(request).await.unwrap();
    process.terminate();
    process.exit().await;
    let log = process.log();
    assert!(log.contains("TRACE"), "it did not log all it can");
    for secret in ["CANARY", "Q0FOQVJZ", "[67, 65, 78, 65, 82, 89]"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
