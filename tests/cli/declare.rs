use super::{Operator, refused, text};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

const TWO: &str = "\
service: {name: payments, version: \"1.0.0\"}
level: enhanced
policy:
  retry: {max_attempts: 4}
  fallback:
    chain:
    - alternative: {service: backup}
---
service: {name: backup}
policy: {level: basic, timeout: {call_timeout: 2s}}
";

fn list(manager: &cofferdam_tests::Manager) -> Value {
    manager.grpcurl().isolation("ListIsolatedServices", &json!({"namespace": "*"})).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_can_be_applied_elsewhere() {
    let (manager, operator) = Operator::with_manager().await;
    let file = operator.file("two.yaml", TWO);
    let applied = operator.done(&["apply", "-f", &file]);
    let lines: Vec<_> = applied.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("backup: registered, revision "),
        "what others need is first: {applied}"
    );
    assert!(lines[1].starts_with("payments: registered, revision "), "{applied}");
    let before = list(&manager);
    let again = operator.done(&["apply", "-f", &file]);
    assert!(again.lines().all(|line| line.contains(": unchanged, revision ")), "{again}");
    assert_eq!(list(&manager), before);
    assert_eq!(operator.run(&["diff", "-f", &file]).code, Some(0));

    operator.done(&["register", "prices", "-n", "shop", "--preset", "cache", "--label", "team=no"]);
    let exported = operator.done(&["export", "--all"]);
    let (other, elsewhere) = Operator::with_manager().await;
    let fed = elsewhere.feed(&["apply", "-f", "-"], &exported);
    assert_eq!(fed.code, Some(0), "{fed:?}\n{exported}");
    assert_eq!(elsewhere.done(&["export", "--all"]), exported);
    let policies = |list: &Value| {
        let services = list["services"].as_array().unwrap();
        services.iter().map(|service| (service["service"].clone(), service["policyHash"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(policies(&list(&other)), policies(&list(&manager)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_with_one_bad_file_changes_nothing_and_each_fault_is_placed() {
    let (manager, operator) = Operator::with_manager().await;
    operator.file("folder/a.yaml", "service: {name: good}\n");
    operator.file(
        "folder/b.yaml",
        "service: {name: one}\n---\nservice: {name: two}\npolicy: {retry: {max_attempts: 99}}\n",
    );
    operator.file("folder/c.json", r#"{"service": {"name": "good"}}"#);
    operator.file("folder/d.yml", "service: {name: x\npolicy: {}\n");
    operator.file("folder/e.yaml", "service: {name: e}\npolicy: {retries: {}}\n");
    operator.file("folder/notes.txt", "not a service");
    let folder = operator.home.path().join("folder");
    let said = operator.run(&["apply", "-f", folder.to_str().unwrap()]);
    let faults = [
        "cofferdam: 4 faults, so nothing was done:",
        "b.yaml (document 2): policy.retry.max_attempts: ",
        "c.json: service.name: good is said in ",
        "d.yml:",
        "e.yaml: policy",
    ];
    refused(&said, 2, &faults);
    let empty = operator.home.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    refused(&operator.run(&["apply", "-f", empty.to_str().unwrap()]), 2, &["has no file that ends with"]);
    refused(&operator.run(&["apply", "-f", "/nowhere.yaml"]), 2, &["/nowhere.yaml: No such file"]);
    let lonely = operator.file("lonely.yaml", TWO.split("---").next().unwrap());
    refused(&operator.run(&["apply", "-f", &lonely]), 1, &["backup is asked as an alternative"]);
    assert_eq!(list(&manager), json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn diff_tells_drift_field_by_field_and_changes_nothing() {
    let (manager, operator) = Operator::with_manager().await;
    let file = operator.file("two.yaml", TWO);
    let none = operator.run(&["diff", "-f", &file]);
    assert_eq!(none.code, Some(3), "{none:?}");
    assert!(none.out.contains("payments: is not registered\n") && none.err.contains("2 of 2"), "{none:?}");
    operator.done(&["apply", "-f", &file]);
    operator.done(&["policy", "set", "payments", "retry.max_attempts=2", "bulkhead.max_concurrent=9"]);
    let before = list(&manager);
    let drift = operator.run(&["diff", "-f", &file]);
    assert_eq!(drift.code, Some(3), "{drift:?}");
    let expected = "payments: differs\n  retry.max_attempts: 2 -> 4\n  bulkhead.max_concurrent: 9 -> unset\n";
    assert_eq!(drift.out, expected);
    let shown = operator.done(&["apply", "-f", &file, "--dry-run"]);
    assert!(shown.contains(expected) && shown.contains("backup: is as said\n"), "{shown}");
    assert_eq!(list(&manager), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_is_applied_and_nobody_elses_change_is_lost() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let script = |name: &str, commands: &str| {
        let path = operator.file(name, &format!("#!/bin/sh\nset -e\n{commands}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    };
    let edit = |editor: &str| {
        let mut command = operator.command(&["edit", "payments"]);
        super::said(command.env_remove("VISUAL").env("EDITOR", editor).env("TMPDIR", operator.home.path()))
    };
    let level = |manager: &cofferdam_tests::Manager| list(manager)["services"][0]["policy"]["level"].clone();

    let said = edit("true");
    assert_eq!((said.code, said.err.as_str()), (Some(0), "nothing was changed\n"), "{said:?}");
    let said = edit(&script("raise", "sed -i s/ISOLATION_LEVEL_ENHANCED/full/ \"$1\""));
    assert!(said.code == Some(0) && said.out.starts_with("payments: enhanced -> full, revision "), "{said:?}");
    assert_eq!(level(&manager), "ISOLATION_LEVEL_FULL");

    // Before, the editor was opened first.
    let mut stale = operator.command(&["edit", "payments", "--expected-revision", "1"]);
    refused(&super::said(stale.env("VISUAL", "false")), 1, &["and 1 is expected: it would be refused"]);
    refused(&edit("/nowhere/editor"), 1, &["cannot be started", "try: EDITOR="]);
    refused(&edit("false"), 1, &["nothing was registered"]);
    let bad = edit(&script("bad", "sed -i s/ISOLATION_LEVEL_FULL/high/ \"$1\""));
    refused(&bad, 2, &["policy.level: ", "what was edited is kept in "]);
    // Somebody else changes it while the editor is open.
    let other = format!(
        "{} set-level payments basic -s {} >/dev/null",
        cofferdam_tests::manager_binary().display(),
        manager.url()
    );
    let late = edit(&script("late", &format!("{other}\nsed -i s/ISOLATION_LEVEL_FULL/none/ \"$1\"")));
    let words = [
        "The other change:\n  level: full -> basic\n",
        "try: cofferdam edit payments, ",
        "what was edited is kept in ",
    ];
    refused(&late, 1, &words);
    assert_eq!(level(&manager), "ISOLATION_LEVEL_BASIC");
}

/// Before, the file was deleted with all that was typed, and the words were those of an output that cannot be written to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_edited_is_kept_whatever_goes_wrong() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments"]);
    let folder = operator.home.path().join("edits");
    std::fs::create_dir(&folder).unwrap();
    let edit = |commands: &str, folder: &std::path::Path| {
        let path = operator.file("editor", commands);
        let mut command = operator.command(&["edit", "payments"]);
        super::said(command.env_remove("VISUAL").env("EDITOR", format!("sh {path}")).env("TMPDIR", folder))
    };
    let kept = || {
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
        files.len()
    };
    for (commands, code, words) in [
        ("printf '\\377' >> \"$1\"", 2, "is no text in UTF-8"),
        ("echo '# mine' >> \"$1\"; exit 1", 1, "ended with exit status: 1"),
        ("echo nonsense >> \"$1\"", 2, "so nothing was done"),
    ] {
        let said = edit(commands, &folder);
        refused(&said, code, &[words, "try: ", "what was edited is kept in "]);
        assert!(!said.err.contains("output cannot be written"), "{said:?}");
        assert_eq!(kept(), 1, "{commands}");
    }
    refused(&edit("rm \"$1\"", &folder), 1, &["what was edited is gone", "try: "]);
    refused(&edit("true", &folder.join("nowhere")), 1, &["no file to edit can be made in ", "try: TMPDIR="]);
    assert_eq!(edit("true", &folder).code, Some(0));
    assert_eq!(edit("echo '# mine' >> \"$1\"", &folder).code, Some(0));
    assert_eq!(kept(), 0, "what is registered or unchanged is not kept");
}

/// As with `| head -1`: whoever reads of it, what is found is what it ends with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_hides_no_drift() {
    let (_manager, operator) = Operator::with_manager().await;
    let unread = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = operator.command(arguments).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output();
        text(ended.unwrap())
    };
    let service = |name: &str| format!("---\nservice: {{name: {name}}}\npolicy: {{level: enhanced}}\n");
    let file = operator.file("services.yaml", &["a", "b", "c"].map(service).concat());
    let drift = unread(&["diff", "-f", &file]);
    assert!(drift.code == Some(3) && drift.err.contains("3 of 3 services are not as the files say"), "{drift:?}");
    operator.done(&["apply", "-f", &file]);
    assert_eq!(unread(&["diff", "-f", &file]).code, Some(0));
    assert_eq!(unread(&["get", "services"]).code, Some(0));
    // What goes on until it is stopped stops when nobody reads.
    assert_eq!(unread(&["get", "services", "-w"]).code, Some(0));
    assert_eq!(unread(&["monitor", "watch"]).code, Some(0));
}

/// C13: the JSON of the Go manager, by way of `import` into `apply`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c13_what_other_libraries_are_configured_with_is_imported() {
    let (manager, operator) = Operator::with_manager().await;
    let config = r#"{"enabled": true, "strategy": "static", "max_retries": 3, "retry_delay": 1000000000, "timeout": "30s",
        "circuit_breaker": true, "fallback_data": {"default_response": "fallback data"}}"#;
    let file = operator.file("fallback.json", config);
    let imported = operator.done(&["import", "seed-json", &file, "--service", "test-service"]);
    assert_eq!(operator.feed(&["apply", "-f", "-"], &imported).code, Some(0));
    let policy = list(&manager)["services"][0]["policy"].clone();
    assert_eq!((&policy["retry"]["maxAttempts"], &policy["timeout"]["callTimeout"]), (&json!(4), &json!("30s")));
    let answer = operator.run(&["exec", "test-service", "test-method"]);
    assert_eq!(answer.code, Some(1), "it has no endpoint: {answer:?}");

    let options = operator.file("opossum.json", r#"{"timeout": 3000, "cache": true}"#);
    let said = operator.run(&["import", "opossum", &options, "--service", "prices"]);
    assert!(said.code == Some(0) && said.err.contains("prices: cache has no counterpart"), "{said:?}");
    refused(&operator.run(&["import", "opossum", &options]), 2, &["--service"]);
    refused(&operator.run(&["import", "sentinel", &options]), 2, &["has no rules"]);
    refused(&operator.run(&["import", "hystrix", &options]), 2, &["--help"]);
}

/// Before, `-n` was ignored where a document has a namespace, which those of `export` have: `diff` told that all was as said of
/// services that were not there, and `apply` wrote into the other namespace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_said_is_never_another_one() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "keep", "--level", "full"]);
    let exported = operator.done(&["export", "keep"]);
    for command in ["diff", "apply"] {
        let said = operator.feed(&[command, "-n", "staging", "-f", "-"], &exported);
        refused(
            &said,
            2,
            &["1 fault, so nothing was done:", "service.namespace: is default, and --namespace says staging"],
        );
    }
    let elsewhere =
        operator.feed(&["apply", "-n", "staging", "-f", "-"], &exported.replace("  namespace: default\n", ""));
    assert_eq!((elsewhere.code, elsewhere.out.as_str()), (Some(0), "keep: registered, revision 3\n"), "{elsewhere:?}");
    assert_eq!(operator.feed(&["diff", "-n", "default", "-f", "-"], &exported).code, Some(0));
    let nowhere = operator.run(&["diff", "-f", "/nowhere.yaml"]);
    assert!(!nowhere.err.contains("apply"), "{nowhere:?}");
}
