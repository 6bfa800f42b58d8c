use super::{Operator, refused};
use cofferdam::Cofferdam;
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::{Follower, Instance, Manager, eventually, unused_address, wire};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

fn register(manager: &Manager, request: &Value) {
    manager.grpcurl().isolation("RegisterService", request).unwrap();
}

fn column<'a>(table: &'a str, name: &str, title: &str) -> &'a str {
    let mut lines = table.lines();
    let at = lines.next().unwrap().find(title).unwrap_or_else(|| panic!("no {title} in\n{table}"));
    let row = lines
        .find(|line| line.split_whitespace().next() == Some(name))
        .unwrap_or_else(|| panic!("no {name} in\n{table}"));
    row[at..].split("   ").next().unwrap().trim()
}

/// Numbers are numbers: 1 and 1.0 are written differently and mean the same.
fn same(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64()),
        Value::Array(items) => items.iter().map(same).collect(),
        Value::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), same(value))).collect(),
        other => other.clone(),
    }
}

/// What a machine reads is what grpcurl prints: one contract, no second model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_the_contracts_own() {
    let (manager, operator) = Operator::with_manager().await;
    let fallback = json!({"chain": [{"static": {"payload": "aGk="}}], "timeout": "30s"});
    for name in ["payments", "stripe", "prices"] {
        let service = json!({"name": name, "labels": {"team": "shop"}, "version": "1.0.0"});
        register(&manager, &json!({"service": service, "level": "ISOLATION_LEVEL_FULL", "fallback": fallback}));
    }
    let grpcurl = manager.grpcurl();
    let list = same(&grpcurl.isolation("ListIsolatedServices", &json!({})).unwrap());
    assert_eq!(same(&operator.json(&["get", "services"])), list);
    assert_eq!(same(&operator.json(&["get", "policies"])), list);
    assert_eq!(same(&operator.json(&["get", "services", "payments"]))["services"], json!([list["services"][0]]));
    let info = grpcurl.isolation("GetServiceIsolationInfo", &json!({"service": "stripe"})).unwrap();
    let mut described = operator.json(&["describe", "service", "stripe"]);
    // The one thing that goes on while they are asked.
    described["stats"]["calls"]["period"] = info["stats"]["calls"]["period"].clone();
    assert_eq!(same(&described), same(&info));
    let stats = operator.json(&["stats", "--window", "all"]);
    assert_eq!(stats["totals"], grpcurl.isolation("GetIsolationStats", &json!({})).unwrap()["totals"]);
    // YAML has the same to say as JSON: it is one document, in the contract's names.
    let yaml = operator.done(&["get", "services", "-o", "yaml"]);
    assert!(yaml.starts_with("---\nservices:\n") && yaml.contains("ISOLATION_LEVEL_FULL"), "{yaml}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_listed_and_names_are_one_a_line() {
    let (manager, operator) = Operator::with_manager().await;
    let client = manager.client();
    let names: Vec<_> = (0..1_003).map(|number| format!("service-{number:04}")).collect();
    for name in &names {
        client.register(wire::registration(name, IsolationLevel::Basic)).await.unwrap();
    }
    register(&manager, &json!({"service": {"name": "other", "namespace": "shop"}}));
    let listed = operator.done(&["get", "services", "-o", "name"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), names);
    assert_eq!(operator.done(&["get", "services"]).lines().count(), names.len() + 1);
    assert_eq!(operator.done(&["get", "services", "-n", "shop", "-o", "name"]), "other\n");
    let everywhere = operator.done(&["get", "services", "-A", "-o", "name"]);
    assert!(everywhere.starts_with("default/service-0000\n") && everywhere.ends_with("shop/other\n"));
    assert_eq!(operator.done(&["get", "services", "shop/other", "-o", "name"]), "shop/other\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c21_instances_are_listed_with_what_they_have_in_force() {
    let (manager, operator) = Operator::with_manager().await;
    register(&manager, &json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED"}));
    let sdk = Cofferdam::builder("checkout").manager(manager.url()).instance_id("pay-1").start();
    let _service = sdk.service("payments");
    let waited = operator.run(&["wait", "payments"]);
    assert_eq!((waited.code, waited.out.as_str()), (Some(0), ""), "{waited:?}");
    assert!(waited.err.starts_with("payments: applied by 1/1 in "), "{waited:?}");

    let services = operator.done(&["get", "services"]);
    assert_eq!((column(&services, "payments", "SYNC"), column(&services, "payments", "LEVEL")), ("1/1", "enhanced"));
    let clients = operator.done(&["get", "clients"]);
    assert_eq!((column(&clients, "pay-1", "APPLICATION"), column(&clients, "pay-1", "SYNC")), ("checkout", "1/1"));
    let instances = operator.done(&["get", "instances"]);
    assert_eq!(
        (column(&instances, "payments", "INSTANCE"), column(&instances, "payments", "SYNC")),
        ("pay-1", "synced")
    );
    let json = operator.json(&["get", "instances", "payments"]);
    assert_eq!(json["instances"][0]["instanceId"], "pay-1");
    let described = operator.done(&["describe", "instance", "pay-1"]);
    assert!(described.contains("default/payments"), "{described}");
    let described = operator.json(&["describe", "instance", "pay-1"]);
    assert_eq!((&described["instanceId"], &described["application"]), (&json!("pay-1"), &json!("checkout")));
    let [service] = &described["services"].as_array().unwrap()[..] else { panic!("{described}") };
    assert_eq!((&service["namespace"], &service["service"]), (&json!("default"), &json!("payments")));
    assert_eq!((&service["sync"], &service["stats"]["appliedRevision"]), (&json!("synced"), &service["revision"]));
    assert_eq!(service["stats"]["breakerState"], json["instances"][0]["breakerState"]);
    refused(&operator.run(&["describe", "instance", "pay-9", "-o", "json"]), 1, &["no instance pay-9"]);
    refused(&operator.run(&["describe", "instance", "pay-9"]), 1, &["no instance pay-9", "try: cofferdam get clients"]);
    // A revision that is not there yet.
    let ahead = operator.run(&["wait", "payments", "--revision", "99999999", "--timeout", "20s"]);
    refused(&ahead, 1, &["revision: is not there yet", "try: "]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_an_instance_that_lags_ends_with_3_and_names_it() {
    let (manager, operator) = Operator::with_manager().await;
    register(&manager, &json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED"}));
    // It takes what comes, and never says that it has it in force.
    let (_lags, _) = Follower::start(&manager, "pay-1", &["payments"]).await;
    let waited = operator.run(&["wait", "payments", "--timeout", "3s"]);
    refused(
        &waited,
        3,
        &[
            "  pay-1 pending",
            ", has nothing",
            "payments: applied by 0/1 after ",
            "try: cofferdam describe service payments",
        ],
    );
    let set = operator.run(&["set-level", "payments", "full", "--wait", "--timeout", "3s"]);
    assert_eq!(set.code, Some(3), "{set:?}");
    // Before, what had been so already was not waited for.
    let file = operator.file("payments.yaml", &operator.done(&["export", "payments"]));
    let revision = operator.done(&["history", "payments", "--limit", "1", "-o", "name"]);
    for arguments in [
        &["apply", "-f", &file][..],
        &["edit", "payments"],
        &["rollback", "payments", "--to-revision", revision.trim()],
    ] {
        let mut command = operator.command(&[arguments, &["--wait", "--timeout", "3s"]].concat());
        let again = super::said(command.env_remove("VISUAL").env("EDITOR", "true"));
        assert_eq!(again.code, Some(3), "{arguments:?}: {again:?}");
        assert!(again.err.contains("applied by 0/1"), "{arguments:?}: {again:?}");
    }
}

/// Before, it ended with 0: what had not changed since was in no answer, and not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_all_waits_for_what_had_not_changed_too() {
    let (manager, operator) = Operator::with_manager().await;
    register(&manager, &json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED"}));
    let (_lags, _) = Follower::start(&manager, "pay-1", &["payments"]).await;
    for all in [&["--all"][..], &["-A"]] {
        let flags = ["--to-time", "1ms", "--wait", "--timeout", "3s"];
        let back = operator.run(&[&["rollback"], all, &flags].concat());
        refused(&back, 3, &["1 more had not changed since", "  pay-1 pending", "payments: applied by 0/1 after "]);
    }

    let (manager, operator) = Operator::with_manager().await;
    register(&manager, &json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED"}));
    let _sdk = Cofferdam::builder("checkout").manager(manager.url()).start().service("payments");
    operator.done(&["wait", "payments"]);
    let back = operator.run(&["rollback", "--all", "--to-time", "1ms", "--wait"]);
    assert_eq!(back.code, Some(0), "{back:?}");
    assert!(back.err.contains("default: every service that instances use is in force, after "), "{back:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c10_describe_says_where_values_come_from_and_which_are_not_in_force() {
    let (manager, operator) = Operator::with_manager().await;
    let policy = json!({"preset": "flask-module", "retry": {"maxAttempts": 4}});
    let service = json!({"name": "payments", "dependencies": [{"service": "disk"}, {"service": "mail", "kind": 2}]});
    register(&manager, &json!({"service": service, "level": "ISOLATION_LEVEL_BASIC", "policy": policy}));
    let described = operator.done(&["describe", "service", "payments"]);
    let row = |start: &str| {
        let found = described.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in\n{described}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("retry.max_attempts"), "retry.max_attempts 4 policy not in force below level enhanced");
    assert!(row("circuit_breaker.open_duration").starts_with("circuit_breaker.open_duration 1m preset flask-module"));
    assert_eq!(row("timeout.call_timeout").split(' ').nth(2), Some("default"));
    assert_eq!(row("not in force"), "not in force retry at this level");
    assert_eq!(row("depends on"), "depends on disk (critical), mail (optional)");
}

/// Exit codes say how things are, so that a script need not read the words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_ends_with_what_it_found() {
    let (manager, operator) = Operator::with_manager().await;
    let fine = operator.run(&["check"]);
    assert_eq!((fine.code, fine.err.as_str()), (Some(0), ""), "{fine:?}");
    assert!(fine.out.lines().all(|line| line.starts_with("ok ")), "{fine:?}");
    assert_eq!(operator.done(&["check", "-q"]), "");

    register(&manager, &json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED"}));
    operator.done(&["health", "set", "payments", "degraded", "--message", "High latency detected"]);
    let degraded = operator.run(&["check", "-q"]);
    assert_eq!(degraded.code, Some(3), "{degraded:?}");
    assert!(degraded.out.contains("payments is degraded: High latency detected"), "{degraded:?}");
    assert!(degraded.out.contains("try: cofferdam describe service payments"), "{degraded:?}");

    let _failing = Instance::start(&manager.url(), "pay-1", "payments", &unused_address());
    let open = eventually("the breaker to be seen open", async || {
        let said = operator.run(&["check", "-q"]);
        if said.code == Some(4) { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(open.out.contains("payments is open"), "{open:?}");
    let services = operator.done(&["get", "services"]);
    assert!(column(&services, "payments", "STATE").ends_with("1/1"), "{services}");
    let described = operator.done(&["describe", "service", "payments"]);
    assert!(described.contains("at 1 of 1 instances: pay-1"), "{described}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_what_changes_and_ends_quietly_when_nobody_reads() {
    let (manager, operator) = Operator::with_manager().await;
    for name in ["payments", "stripe"] {
        register(&manager, &json!({"service": {"name": name}}));
    }
    let mut watch = operator
        .command(&["get", "services", "-w", "--every", "100ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Vec<_> = lines.by_ref().take(3).collect();
    assert!(first[0].starts_with("NAME") && first[1].starts_with("payments") && first[2].starts_with("stripe"));
    operator.done(&["set-level", "stripe", "full"]);
    let changed = lines.next().unwrap();
    assert!(changed.starts_with("stripe") && changed.contains("full"), "{changed}");
    operator.done(&["unregister", "payments"]);
    assert_eq!(lines.next().unwrap(), "payments is gone");
    drop(lines);
    operator.done(&["set-level", "stripe", "none"]);
    operator.done(&["set-level", "stripe", "full"]);
    operator.done(&["register", "payments"]);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}
