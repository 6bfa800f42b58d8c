use super::{Operator, refused, said};
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire;
use serde_json::json;
use std::process::Stdio;

#[test]
fn a_command_line_that_makes_no_sense_is_exit_code_2() {
    let operator = Operator::at("http://127.0.0.1:1");
    for arguments in [
        &["get"][..],
        &["get", "things"],
        &["get", "services", "a/b/c"],
        &["get", "services", "-o", "xml"],
        &["get", "services", "--window", "soon"],
        &["get", "services", "--every", "1s"],
        &["set-level", "payments"],
        &["set-level", "payments", "high"],
        &["set-level", "payments", "full", "--dry-run", "--wait"],
        &["set-level", "payments", "full", "--quorum", "3"],
        &["wait", "payments", "--quorum", "0%"],
        &["policy", "set", "payments"],
        &["policy", "set", "payments", "retry.max_attempts"],
        &["policy", "set", "payments", "retry.max_attemts=3"],
        &["policy", "set", "payments", "retry.max_attempts=many"],
        &["policy", "set", "payments", "--file", "/nowhere/policy.yaml"],
        &["fallback", "set", "payments"],
        &["fallback", "set", "payments", "--step", "mock"],
        &["health", "set", "payments", "circuit-open"],
        &["exec", "payments", "Get", "--data", "{}"],
        &["config", "set-context", "", "--server", "a:1"],
        &["get", "services", "--timeout", "soon"],
        &["get", "services", "-s", "ftp://a:1"],
        &["policy", "set", "payments", "retry.max_attempts=3", "retry.max_attempts=4"],
        &["rollback", "payments", "--to-revision", "0.3"],
        // Before, it was ignored.
        &["check", "-o", "name"],
        &["-o", "name", "stats"],
        &["describe", "service", "payments", "-o", "name"],
        &["wait", "payments", "-o", "name"],
        &["exec", "payments", "Get", "--data-raw", "x", "-o", "name"],
        &["top", "-o", "name"],
        &["config", "get-contexts", "-o", "json"],
    ] {
        let said = operator.run(arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert_eq!(said.out, "", "{arguments:?}: {said:?}");
        assert!(said.err.contains("try: ") || said.err.contains("--help"), "what mends {arguments:?}? {said:?}");
    }
}

#[test]
fn a_manager_that_is_away_is_said_with_what_mends_it() {
    let operator = Operator::at("http://127.0.0.1:1");
    for arguments in [
        &["get", "services"][..],
        &["check"],
        &["describe", "service", "payments"],
        &["set-level", "payments", "full"],
        &["stats"],
        &["get", "services", "-w"],
    ] {
        let said = operator.run(arguments);
        refused(&said, 1, &["cofferdam: no manager answers at http://127.0.0.1:1: ", "try: cofferdam serve"]);
    }
    // It takes the connection and never says a word.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let operator = Operator::at(format!("http://{}", silent.local_addr().unwrap()));
    let said = operator.run(&["get", "services", "--timeout", "300ms"]);
    refused(
        &said,
        1,
        &["did not answer ListIsolatedServices within the 300ms of --timeout", "try: more time with --timeout"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c15_a_refusal_names_the_field_and_the_nearest_name() {
    let (manager, operator) = Operator::with_manager().await;
    manager.grpcurl().isolation("RegisterService", &json!({"service": {"name": "payments"}})).unwrap();
    let invalid = operator.run(&["policy", "set", "payments", "retry.max_attempts=99"]);
    refused(&invalid, 1, &["\n  policy.retry.max_attempts: "]);
    let misnamed = operator.run(&["set-level", "paymnets", "full", "--wait"]);
    // What changes a service is not handed out for one that nobody named.
    refused(&misnamed, 1, &["paymnets", "payments?", "try: cofferdam get services -n default\n"]);
    let read = operator.run(&["wait", "paymnets", "--quorum", "1"]);
    refused(&read, 1, &["paymnets", "payments?", "try: cofferdam wait payments --quorum 1\n"]);
    let nothing_like_it = operator.run(&["describe", "service", "zzz"]);
    refused(&nothing_like_it, 1, &["zzz", "try: cofferdam get services -n default\n"]);
    let mut taken = operator.run(&["set-level", "payments", "full", "--expected-revision", "1"]);
    refused(&taken, 1, &["revision", "try: cofferdam history"]);
    taken = operator.run(&["register", "Payments!"]);
    refused(&taken, 1, &["\n  service: must be of a-z"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_that_nobody_reads_ends_a_command_quietly() {
    let (manager, operator) = Operator::with_manager().await;
    let client = manager.client();
    // More than a pipe holds.
    for number in 0..100 {
        client.register(wire::registration(&format!("service-{number}"), IsolationLevel::Basic)).await.unwrap();
    }
    let mut command = operator.command(&["get", "services", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipe_gets_no_colours_and_prose_goes_elsewhere() {
    let (_manager, operator) = Operator::with_manager().await;
    let empty = operator.run(&["get", "services"]);
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""), "no data, so nothing on the standard output");
    assert!(
        empty.err.contains("no service is registered") && empty.err.contains("try: cofferdam register"),
        "{empty:?}"
    );
    operator.done(&["register", "payments"]);
    for no_color in ["", "1"] {
        let said = said(operator.command(&["check"]).env("NO_COLOR", no_color));
        assert!(said.code == Some(0) && !said.out.contains('\u{1b}'), "{said:?}");
    }
}
