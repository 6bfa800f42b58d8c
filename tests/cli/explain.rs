//! Why a call is treated as it is: `explain`, `diff` of revisions, `describe --at`, and what `Explain` answers by gRPC and HTTP.

use super::{Operator, refused};
use cofferdam_proto::v1::sync_request::Message as Request;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{IsolationLevel, PolicyAck, PolicyNack};
use cofferdam_tests::{Curl, Follower, eventually, wire};
use serde_json::{Value, json};

fn field<'a>(explained: &'a Value, path: &str) -> &'a Value {
    let fields = explained["fields"].as_array().unwrap();
    fields.iter().find(|field| field["path"] == path).unwrap_or_else(|| panic!("no {path} in {explained:#}"))
}

/// Value, origin and who that is.
fn said(explained: &Value, path: &str) -> [String; 3] {
    let field = field(explained, path);
    ["value", "origin", "originName"].map(|key| field[key].as_str().unwrap_or_default().replace("ORIGIN_KIND_", ""))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_explain_tells_every_origin_and_what_needs_a_higher_level() {
    let (manager, operator) = Operator::with_manager().await;
    let overrides = json!([{"glob": "shop.Pay/Get*", "idempotent": true, "policy": {
        "timeout": {"callTimeout": "2s"}, "circuitBreaker": {"consecutiveFailures": 3},
    }}]);
    let policy = json!({
        "preset": "database", "level": "ISOLATION_LEVEL_ENHANCED", "retry": {"maxAttempts": 4, "initialBackoff": "5s"},
        "bulkhead": {"maxConcurrent": 7}, "methodOverrides": overrides,
    });
    let request = json!({"service": {"name": "payments"}, "policy": policy});
    manager.grpcurl().isolation("RegisterService", &request).unwrap();

    let all = operator.json(&["explain", "payments"]);
    assert_eq!(said(&all, "level"), ["ISOLATION_LEVEL_ENHANCED", "SERVICE", ""]);
    assert_eq!(said(&all, "retry.max_attempts"), ["4", "SERVICE", ""]);
    assert_eq!(said(&all, "retry.max_backoff"), ["5s", "FOLLOWS", "retry.initial_backoff"]);
    assert_eq!(said(&all, "circuit_breaker.failure_count"), ["3", "PRESET", "database"]);
    assert_eq!(said(&all, "timeout.call_timeout"), ["5s", "DEFAULT", ""]);
    assert_eq!(said(&all, "bulkhead.pools[0].name"), ["readPool", "PRESET", "database"]);
    assert_eq!(field(&all, "bulkhead.max_concurrent")["needsLevel"], "ISOLATION_LEVEL_FULL");
    assert_eq!(field(&all, "retry.max_attempts").get("needsLevel"), None);
    assert_eq!((&all["breaker"], all.get("methodGlob")), (&json!({}), None));

    let get = operator.json(&["explain", "payments", "--method", "/shop.Pay/GetOne"]);
    assert_eq!((&get["methodGlob"], &get["idempotent"]), (&json!("shop.Pay/Get*"), &json!(true)));
    assert_eq!(said(&get, "timeout.call_timeout"), ["2s", "METHOD_OVERRIDE", "shop.Pay/Get*"]);
    assert_eq!(said(&get, "circuit_breaker.failure_count"), ["3", "PRESET", "database"], "a section is replaced whole");
    assert_eq!(said(&get, "retry.max_attempts"), ["4", "SERVICE", ""]);
    assert_eq!(get["breaker"]["methodGlob"], "shop.Pay/Get*");

    // The values are those of the policy in force.
    let effective = operator.json(&["describe", "service", "payments"])["service"]["policy"].clone();
    assert_eq!(effective["retry"]["maxBackoff"], "5s");
    assert_eq!(effective["circuitBreaker"]["failureCount"], 3);

    let why = ["--reason", "a drill", "--actor", "ann"];
    operator.done(&[&["set-level", "payments", "basic", "--for", "10m"][..], &why].concat());
    let text = operator.done(&["explain", "payments"]);
    assert!(text.contains("level         basic for another 9m") && text.contains(", by ann: a drill"), "{text}");
    assert!(text.contains("breaker       none in force at this level"), "{text}");
    let row = text.lines().find(|line| line.starts_with("retry.max_attempts")).unwrap();
    let row: Vec<_> = row.split_whitespace().collect();
    assert_eq!(row.join(" "), "retry.max_attempts 4 policy not in force below level enhanced");
    let body = Curl::at(manager.url()).ask(&[], "/v1/services/payments/explain?method=shop.Pay/GetOne").json();
    assert_eq!(said(&body, "level"), ["ISOLATION_LEVEL_BASIC", "TEMPORARY_LEVEL", "ann"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_names_the_hold_that_counts_and_refuses_names_that_are_not_there() {
    let (manager, operator) = Operator::with_manager().await;
    let pool = json!({"name": "reads", "isolateBreaker": true, "methodGlobs": ["*/Get*"]});
    let request = json!({"service": {"name": "payments"}, "policy":
        {"level": "ISOLATION_LEVEL_FULL", "bulkhead": {"pools": [pool]}}});
    manager.grpcurl().isolation("RegisterService", &request).unwrap();
    operator.done(&["hold", "payments", "open", "--for", "5m", "--reason", "all of it", "--owner", "ann"]);
    operator.done(&["hold", "payments", "disabled", "--pool", "reads", "--reason", "let them", "--owner", "bob"]);
    let reads = operator.json(&["explain", "payments", "--method", "shop.Pay/GetOne"]);
    assert_eq!((&reads["pool"], &reads["breaker"]["pool"]), (&json!("reads"), &json!("reads")));
    let owners: Vec<_> = reads["holds"].as_array().unwrap().iter().map(|hold| hold["owner"].clone()).collect();
    assert_eq!(owners, ["bob", "ann"], "the narrower one counts first");
    let writes = operator.done(&["explain", "payments", "--method", "shop.Pay/Put"]);
    assert!(
        writes.contains("held          open by ann for another 4m") || writes.contains("for another 5m"),
        "{writes}"
    );
    assert!(!writes.contains("bob"), "{writes}");

    refused(&operator.run(&["explain", "paymnets"]), 1, &["did you mean payments?", "try: cofferdam explain payments"]);
    refused(&operator.run(&["explain", "payments", "--pool", "writes"]), 1, &["no pool writes; it has: reads"]);
    refused(&operator.run(&["explain", "payments", "--instance", "x"]), 1, &["no instance x", "get clients"]);
    refused(&operator.run(&["explain", "payments", "--method", "a\nb"]), 1, &["method: must not hold control"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_what_an_instance_really_has_in_force_and_why_it_lags() {
    let (manager, operator) = Operator::with_manager().await;
    manager.client().register(wire::registration("payments", IsolationLevel::Enhanced)).await.unwrap();
    let (follower, answers) = Follower::start(&manager, "pay-1", &["payments"]).await;
    let Response::Update(first) = &answers[0] else { panic!("{answers:?}") };
    let ack =
        PolicyAck { service: "payments".into(), revision: first.revision, policy_hash: first.policy_hash.clone() };
    follower.say(Request::Ack(ack)).await;
    let state = |id: &str| operator.json(&["explain", "payments", "--instance", id])["instance"].clone();
    eventually("the first policy", async || {
        let instance = state("pay-1");
        if instance["state"] == "INSTANCE_SYNC_STATE_APPLIED" { Ok(()) } else { Err(instance) }
    })
    .await;
    operator.done(&["policy", "set", "payments", "retry.max_attempts=5"]);
    let second = manager.client().revision("payments").await.unwrap();
    let nack = PolicyNack {
        service: "payments".into(),
        revision: Some(second),
        reason: "must be at most 4 here".into(),
        field_path: "retry.max_attempts".into(),
        applied_revision: first.revision,
        ..PolicyNack::default()
    };
    follower.say(Request::Nack(nack)).await;
    let (old, new) = (first.revision.unwrap().revision, second.revision);
    let lagging = eventually("the refusal", async || {
        let text = operator.done(&["explain", "payments", "--instance", "pay-1"]);
        if text.contains("pay-1         refused") { Ok(text) } else { Err(text) }
    })
    .await;
    for words in [
        "in force      at 0 of 1 instances".to_owned(),
        format!("refused, has revision {old} in force, hash "),
        "retry.max_attempts: must be at most 4 here".to_owned(),
        format!("try: cofferdam diff payments {old} {new}"),
    ] {
        assert!(lagging.contains(&words), "no {words:?} in\n{lagging}");
    }
    let instance = state("pay-1");
    assert_eq!(instance["appliedPolicyHash"].as_str().map(str::len), Some(24), "16 bytes in base64: {instance}");
    assert!(operator.done(&["explain", "payments"]).contains("pay-1 refused"), "laggards are named");

    let diff = operator.done(&["diff", "payments", &old.to_string(), &new.to_string()]);
    assert_eq!(diff, format!("payments: revision {old} -> {new}\n  retry.max_attempts 3 (unset) -> 5\n"));
    let ago = operator.done(&["diff", "payments", "1h"]);
    assert!(ago.starts_with(&format!("payments: revision before its first change -> {new}\n")), "{ago}");
    refused(&operator.run(&["diff", "payments", "999999"]), 1, &["999999"]);
    refused(&operator.run(&["diff", "payments"]), 2, &["FROM"]);
    refused(&operator.run(&["diff"]), 2, &["--file"]);
    let was = operator.done(&["describe", "service", "payments", "--at", &old.to_string()]);
    let row = was.lines().find(|line| line.starts_with("retry.max_attempts")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>().join(" "), "retry.max_attempts 3 default");
    assert!(
        operator.done(&["describe", "service", "payments", "--at", "1h"]).contains("registered                  no")
    );

    let checked = operator.done(&["stats", "payments", "--history"]);
    let marked = checked.lines().skip(1).map(|line| line.split_whitespace().last().unwrap()).collect::<Vec<_>>();
    assert!(marked.iter().any(|last| last.ends_with(&new.to_string())), "{checked}");
    let report = operator.run(&["check"]).out;
    assert!(report.contains("instances   1 tests/1"), "{report}");
    assert!(report.contains(&format!("versions    {}, here and there", env!("CARGO_PKG_VERSION"))), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e12_all_breakers_are_reset_once_that_is_confirmed() {
    let (_manager, operator) = Operator::with_manager().await;
    for (name, level) in [("auth", "full"), ("mail", "basic"), ("payments", "enhanced")] {
        operator.done(&["register", name, "--level", level]);
    }
    let asked = operator.run(&["reset", "--all", "--reason", "over"]);
    refused(&asked, 2, &["reset the breakers of 2 services", "cofferdam reset --all --yes --reason TEXT"]);
    let done = operator.done(&["reset", "--all", "--yes", "--reason", "over"]);
    let reset: Vec<_> = done.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(reset, ["auth: breakers reset", "payments: breakers reset"]);
    assert!(operator.done(&["history", "auth", "--limit", "1"]).contains("reset"));
    refused(&operator.run(&["reset"]), 2, &["--all"]);
}
