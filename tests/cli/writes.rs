use super::{Operator, refused};
use cofferdam::Cofferdam;
use cofferdam_tests::{Behaviour, Manager, Upstream, eventually};
use serde_json::{Value, json};

fn info(manager: &Manager, service: &str) -> Value {
    manager.grpcurl().isolation("GetServiceIsolationInfo", &json!({"service": service})).unwrap()
}

/// The nine calls of the isolation manager, each as a command, with its own names and values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c01_to_c09_the_nine_calls_as_commands() {
    let mut upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (manager, operator) = Operator::with_manager().await;
    let registered = operator.done(&[
        "register",
        "test-service",
        "--version",
        "1.0.0",
        "--endpoint",
        &upstream.address(),
        "--level",
        "enhanced",
    ]);
    assert!(registered.starts_with("test-service: registered, revision "), "{registered}");
    let fallback = operator.done(&[
        "fallback",
        "set",
        "test-service",
        "--step",
        r#"static={"default_response":"fallback data"}"#,
        "--max-retries",
        "3",
        "--retry-delay",
        "1s",
        "--timeout-call",
        "30s",
        "--circuit-breaker",
        "true",
    ]);
    assert!(fallback.starts_with("test-service: ") && fallback.contains("fields, revision "), "{fallback}");
    assert!(fallback.contains("\n  retry.max_attempts: unset -> 4\n"), "{fallback}");

    let live = operator.run(&["exec", "test-service", "test-method", "--data-raw", "test-request"]);
    assert_eq!((live.code, live.out.as_str()), (Some(0), "live data"), "{live:?}");
    upstream.down().await;
    let fixed = operator.run(&["exec", "test-service", "test-method", "--data-raw", "test-request"]);
    assert_eq!((fixed.code, fixed.out.as_str()), (Some(3), r#"{"default_response":"fallback data"}"#), "{fixed:?}");
    assert!(fixed.err.contains("the static fallback answered"), "{fixed:?}");

    let raised =
        operator.done(&["set-level", "test-service", "full", "--reason", "the upstream is flaky", "--actor", "ann"]);
    assert!(raised.starts_with("test-service: enhanced -> full, revision "), "{raised}");
    let health = operator.done(&["health", "set", "test-service", "degraded", "-m", "High latency detected"]);
    assert!(health.starts_with("test-service: reported degraded, health "), "{health}");
    let service = &info(&manager, "test-service")["service"];
    assert_eq!(service["reportedHealth"]["message"], "High latency detected");
    assert_eq!(service["policy"]["level"], "ISOLATION_LEVEL_FULL");
    assert_eq!(operator.json(&["stats"])["totals"]["full_isolation"], 1);
    assert_eq!(operator.done(&["get", "services", "-o", "name"]), "test-service\n");
    assert!(operator.done(&["unregister", "test-service"]).starts_with("test-service: unregistered, revision "));
    refused(&operator.run(&["describe", "service", "test-service"]), 1, &["try: cofferdam get services"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_set_level_dry_run_prints_the_difference_and_changes_nothing() {
    let (manager, operator) = Operator::with_manager().await;
    let policy = json!({"level": 2, "retry": {"maxAttempts": 4}});
    let request = json!({"service": {"name": "payments"}, "policy": policy});
    manager.grpcurl().isolation("RegisterService", &request).unwrap();
    let before = info(&manager, "payments")["service"].clone();
    let shown = operator.run(&["set-level", "payments", "enhanced", "--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let expected = "payments: would change\n  level: basic -> enhanced\n  comes into force: retry\n";
    assert_eq!(shown.out, expected);
    assert!(shown.err.contains("the manager has not checked it"), "{shown:?}");
    let same = operator.done(&["set-level", "payments", "basic", "--dry-run"]);
    assert_eq!(same, "payments: nothing would change\n");
    for command in [
        &["policy", "set", "payments", "retry.max_attempts=5", "--dry-run"][..],
        &["fallback", "set", "payments", "--step", "cached=5m", "--dry-run"],
        &["register", "payments", "--preset", "stripe", "--dry-run"],
        &["register", "other", "--dry-run"],
        &["unregister", "payments", "--dry-run"],
    ] {
        let shown = operator.done(command);
        assert!(shown.contains("would"), "{command:?}: {shown}");
    }
    let invalid = operator.run(&["policy", "set", "payments", "retry.max_attempts=99", "--dry-run"]);
    refused(&invalid, 1, &["\n  retry.max_attempts: "]);
    assert_eq!(info(&manager, "payments")["service"], before);
    assert_eq!(operator.done(&["get", "services", "-o", "name"]), "payments\n");
}

/// What a manager would refuse is no good reason for a dry run either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_refuses_the_reasons_that_a_write_would_be_refused_for() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments"]);
    let long = "x".repeat(257);
    for command in [
        &["policy", "set", "payments", "retry.max_attempts=5"][..],
        &["fallback", "set", "payments", "--step", "cached=5m"],
        &["set-level", "payments", "full"],
        &["register", "payments", "--preset", "stripe"],
        &["unregister", "payments"],
    ] {
        for (reason, what) in [(long.as_str(), "at most 256 bytes"), ("a\u{7}", "control characters")] {
            let with = |more: &[&str]| operator.run(&[command, &["--reason", reason], more].concat());
            refused(&with(&["--dry-run"]), 1, &["payments: reason must", what, "try: "]);
            refused(&with(&[]), 1, &["reason", what]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_says_how_many_instances_have_it() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let instances: Vec<_> = (0..4)
        .map(|number| {
            let id = format!("pay-{number}");
            let sdk = Cofferdam::builder("checkout").manager(manager.url()).instance_id(&id).start();
            (sdk.service("payments"), sdk)
        })
        .collect();
    eventually("four instances", async || {
        let instances = operator.json(&["get", "instances", "payments"])["instances"].as_array().map(Vec::len);
        if instances == Some(4) { Ok(()) } else { Err(instances) }
    })
    .await;
    let told = operator.done(&["set-level", "payments", "full", "--wait"]);
    assert!(
        told.starts_with("payments: enhanced -> full, revision ") && told.contains(", applied by 4/4 in "),
        "{told}"
    );
    let again = operator.done(&["set-level", "payments", "full", "--wait"]);
    assert!(again.starts_with("payments: unchanged, revision "), "{again}");
    let quorum = operator.done(&["policy", "set", "payments", "retry.max_attempts=5", "--wait", "--quorum", "50%"]);
    assert!(quorum.starts_with("payments: retry.max_attempts: unset -> 5, revision "), "{quorum}");
    drop(instances);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_changed_by_paths_or_by_a_file() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "full"]);
    let policy = |path: &str| info(&manager, "payments")["service"]["writtenPolicy"].pointer(path).cloned();
    operator.done(&[
        "policy",
        "set",
        "payments",
        "retry.max_attempts=5",
        "circuit_breaker.open_duration=250ms",
        "circuit_breaker.mode=metrics-only",
        r#"fallback.chain=[{"cached": {"ttl": "5m"}}]"#,
    ]);
    assert_eq!(policy("/retry/maxAttempts"), Some(json!(5)));
    assert_eq!(policy("/circuitBreaker/openDuration"), Some(json!("0.250s")));
    assert_eq!(policy("/circuitBreaker/mode"), Some(json!("BREAKER_MODE_METRICS_ONLY")));
    assert_eq!(policy("/fallback/chain/0/cached/ttl"), Some(json!("300s")));
    operator.done(&["policy", "set", "payments", "circuit_breaker.mode="]);
    assert_eq!((policy("/circuitBreaker/mode"), policy("/retry/maxAttempts")), (None, Some(json!(5))));

    let file = operator.file("policy.yaml", "bulkhead:\n  max_concurrent: 7\nretry: {maxAttempts: 2}\n");
    operator.done(&["policy", "set", "payments", "--file", &file]);
    assert_eq!((policy("/bulkhead/maxConcurrent"), policy("/retry/maxAttempts")), (Some(json!(7)), Some(json!(2))));
    assert!(policy("/circuitBreaker").is_some(), "a section that the file does not have stays");
    let fed = operator.feed(&["policy", "set", "payments", "--file", "-", "--replace"], r#"{"level": "basic"}"#);
    assert_eq!(fed.code, Some(0), "{fed:?}");
    assert_eq!(policy(""), Some(json!({"level": "ISOLATION_LEVEL_BASIC"})));

    let bad = operator.file("bad.yaml", "retry:\n  max_attempts: many\n");
    refused(&operator.run(&["policy", "set", "payments", "--file", &bad]), 2, &["bad.yaml: retry.max_attempts: "]);
    let torn = operator.file("torn.yaml", "retry: [1,\nlevel: basic\n");
    refused(&operator.run(&["policy", "set", "payments", "--file", &torn]), 2, &["torn.yaml:1: "]);
    assert_eq!(policy(""), Some(json!({"level": "ISOLATION_LEVEL_BASIC"})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_an_open_breaker_refuses_is_exit_code_4() {
    let upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (_manager, operator) = Operator::with_manager().await;
    let address = upstream.address();
    operator.done(&["register", "payments", "--endpoint", &address, "--level", "enhanced"]);
    operator.done(&["policy", "set", "payments", "circuit_breaker.mode=forced-open"]);
    let said = operator.run(&["exec", "payments", "a.B/C", "--data-raw", "x"]);
    refused(&said, 4, &["try: cofferdam explain default/"]);
    let receipt = said.err.split('\'').nth(1).unwrap();
    assert!(receipt.starts_with("breaker=service state=open by="), "{receipt}");
    let service = said.err.split("explain ").nth(1).unwrap().split(' ').next().unwrap();
    let told = operator.done(&["explain", service, "--receipt", receipt]);
    assert!(told.starts_with("the service's own breaker was ") || told.starts_with("the policy forced"), "{told}");
    assert!(told.contains("which is the present one"), "{told}");
    refused(&operator.run(&["explain", service, "--receipt", "open"]), 2, &["the receipt cannot be read"]);
    assert_eq!(upstream.calls(), 0);
}

/// With the service's descriptors, both sides of a call are JSON; here the service is another manager.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_descriptors_a_call_is_json_both_ways() {
    let (other, elsewhere) = Operator::with_manager().await;
    elsewhere.done(&["register", "payments"]);
    let (_manager, operator) = Operator::with_manager().await;
    let path = operator.home.path().join("descriptors.binpb");
    std::fs::write(&path, cofferdam_proto::FILE_DESCRIPTOR_SET).unwrap();
    let path = path.to_str().unwrap();
    operator.done(&["register", "manager", "--endpoint", &other.address()]);
    let method = "cofferdam.v1.IsolationService/GetServiceIsolationInfo";
    let data = r#"{"service": "payments"}"#;
    let answer = operator.done(&["exec", "manager", method, "--data", data, "--descriptors", path]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["service"]["service"]["name"], "payments");
    let wrong = operator.run(&["exec", "manager", method, "--data", r#"{"servce": 1}"#, "--descriptors", path]);
    refused(&wrong, 2, &["GetServiceIsolationInfoRequest", "servce"]);
    let none = operator.run(&["exec", "manager", "a.B/C", "--data", "{}", "--descriptors", path]);
    refused(&none, 2, &["has no method a.B/C"]);
}
