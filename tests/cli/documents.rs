//! Services as files where something is odd: what is for a time, what is bad, what nobody reads.

use super::{Operator, refused, said, text};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::process::Stdio;

fn listed(operator: &Operator) -> Value {
    operator.json(&["get", "services", "-A"])
}

fn written(operator: &Operator, service: &str) -> Value {
    operator.json(&["describe", "service", service])["service"]["writtenPolicy"].clone()
}

/// Before, the level of the ten minutes was written as if somebody had chosen it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_level_does_not_become_permanent_by_way_of_a_file() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "orders-db", "--preset", "database"]);
    let before = written(&operator, "orders-db");
    operator.done(&["set-level", "orders-db", "none", "--for", "10m"]);

    let dry = operator.done(&["register", "orders-db", "--preset", "database", "--dry-run"]);
    assert_eq!(dry, "orders-db: nothing would change\n");
    let exported = operator.done(&["export"]);
    assert!(!exported.contains("ISOLATION_LEVEL_NONE"), "{exported}");
    let applied = operator.feed(&["apply", "-f", "-"], &exported);
    assert!(applied.code == Some(0) && applied.out.contains("orders-db: unchanged"), "{applied:?}");
    assert_eq!(written(&operator, "orders-db"), before);

    let editor = operator.file("editor", "#!/bin/sh\nprintf '  retry: {max_attempts: 7}\\n' >> \"$1\"\n");
    let mut command = operator.command(&["edit", "orders-db"]);
    let edited = said(command.env_remove("VISUAL").env("EDITOR", format!("sh {editor}")));
    assert!(edited.code == Some(0) && edited.out.contains("retry.max_attempts: unset -> 7"), "{edited:?}");
    let after = written(&operator, "orders-db");
    assert_eq!(after["retry"]["maxAttempts"], 7);
    assert_ne!(after["level"], "ISOLATION_LEVEL_NONE");
}

/// Before, both said that all is as said, and `apply` changed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_without_a_policy_is_compared_by_what_it_would_write() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    for (said, line) in
        [("level: full", "level: enhanced -> full"), ("fallback: {max_retries: 7}", "retry.max_attempts: unset -> 8")]
    {
        let file = operator.file("f.yaml", &format!("service: {{name: payments}}\n{said}\n"));
        let diff = operator.run(&["diff", "-f", &file]);
        assert!(diff.code == Some(3) && diff.out.contains(line), "{said}: {diff:?}");
        assert!(operator.done(&["apply", "-f", &file, "--dry-run"]).contains(line), "{said}");
        assert!(operator.done(&["apply", "-f", &file]).contains(line), "{said}");
        assert_eq!(operator.run(&["diff", "-f", &file]).code, Some(0), "{said}");
    }
}

/// Before, the first line that nobody read was the last service that was written, and the exit code was 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_writes_all_even_where_nobody_reads_what_it_says() {
    const MANY: usize = 60;
    let (_manager, operator) = Operator::with_manager().await;
    let many = |version: &str| {
        (0..MANY).fold(String::new(), |mut text, number| {
            writeln!(text, "---\nservice: {{name: s{number}, version: \"{version}\"}}").unwrap();
            text
        })
    };
    let at = |version: &str| {
        let services = listed(&operator)["services"].as_array().cloned().unwrap_or_default();
        services.iter().filter(|one| one["service"]["version"] == version).count()
    };
    let file = operator.file("many.yaml", &many("1"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = operator.command(&["apply", "-f", &file]).stdin(Stdio::null()).stdout(writer).output().unwrap();
    let closed = text(output);
    assert_eq!(at("1"), MANY, "{closed:?}");
    refused(&closed, 1, &["all 60 services were applied, and not all of it could be told", "try: cofferdam diff"]);

    let file = operator.file("many.yaml", &many("2"));
    let full: File = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = operator.command(&["apply", "-f", &file]).stdin(Stdio::null()).stdout(full).output().unwrap();
    let told = text(output);
    assert_eq!(at("2"), MANY, "{told:?}");
    refused(&told, 1, &["all 60 services were applied", "No space left"]);
    assert!(!told.err.contains("refused"), "{told:?}");
}

/// Before, all of these passed the dry run, and `apply` registered the first file before the manager refused the second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_changes_nothing_whatever_is_bad_about_it() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.file("folder/a.yaml", "service: {name: a}\n");
    let folder = operator.home.path().join("folder");
    let folder = folder.to_str().unwrap();
    let long = format!("service: {{name: b}}\nreason: {}\n", "r".repeat(300));
    for (code, bad, words) in [
        (2, "service: {name: b, endpoints: [{address: nonsense}]}\n", "b.yaml: service.endpoints[0].address: "),
        (2, "service: {name: b}\nfallback: {max_retries: 99}\n", "b.yaml: fallback.max_retries: "),
        (2, "service: {name: b}\nlevel: 99\n", "b.yaml: level"),
        (2, &long, "b.yaml: reason: must be at most 256 bytes"),
        (2, "service: {name: b, dependencies: [{service: b}]}\n", "b.yaml: service.dependencies[0].service: "),
        (
            1,
            "service: {name: b}\npolicy: {fallback: {chain: [{alternative: {service: b}}]}}\n",
            "b.yaml: policy.fallback.chain: b is asked as an alternative, and leads back",
        ),
    ] {
        operator.file("folder/b.yaml", bad);
        for also in [&[][..], &["--dry-run"]] {
            let arguments = [&["apply", "-f", folder], also].concat();
            refused(&operator.run(&arguments), code, &["so nothing was done", words]);
        }
    }
    operator.file("folder/b.yaml", "service: {name: b}\n");
    refused(
        &operator.run(&["apply", "-f", folder, "--reason", &"r".repeat(300)]),
        2,
        &["--reason must be at most 256"],
    );
    assert_eq!(listed(&operator), json!({}));
}

/// Before, documents of JSON one behind the other were no YAML, and so refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_export_prints_can_be_applied_in_each_format() {
    let (_manager, operator) = Operator::with_manager().await;
    for name in ["a", "b", "c"] {
        operator.done(&["register", name, "--preset", "cache", "--label", "team=no"]);
    }
    for format in ["json", "yaml", "table"] {
        let exported = operator.done(&["export", "-o", format]);
        let (_other, elsewhere) = Operator::with_manager().await;
        for at in [&operator, &elsewhere] {
            let applied = at.feed(&["apply", "-f", "-"], &exported);
            assert!(applied.code == Some(0) && applied.out.lines().count() == 3, "{format}: {applied:?}");
            let diff = at.feed(&["diff", "-f", "-"], &exported);
            assert_eq!((diff.code, diff.out.as_str()), (Some(0), ""), "{format}: {diff:?}");
        }
        assert_eq!(elsewhere.done(&["export", "-o", format]), exported);
        let again = operator.feed(&["apply", "-f", "-"], &exported);
        assert!(again.out.lines().all(|line| line.contains(": unchanged, ")), "{format}: {again:?}");
    }
}

/// What docs/simulate.md shows, of the policy and the calls that stand there.
#[test]
fn simulate_prints_a_document_for_programs() {
    let operator = Operator::at("");
    let policy = "level: enhanced\ncircuit_breaker: {consecutive_failures: 3, open_duration: 10s, open_jitter_ratio: 0}\n\
                  fallback: {chain: [{static: {payload: e30=}}]}\n";
    let call = |second: u32| {
        let code = if (5..30).contains(&second) { "UNAVAILABLE" } else { "OK" };
        json!({"at": second, "method": "shop.Pay/Get", "latency": "10ms", "code": code}).to_string() + "\n"
    };
    let policy = operator.file("policy.yaml", policy);
    let calls = operator.file("calls.jsonl", &(0..60).map(call).collect::<String>());
    let report = operator.json(&["simulate", &policy, &calls]);
    let run = &report["runs"][0];
    let guide = std::fs::read_to_string(cofferdam_tests::workspace_root().join("docs/simulate.md")).unwrap();
    let (_, shown) = guide.split_once("```json\n").unwrap();
    let shown: Value = serde_json::from_str(shown.split_once("```").unwrap().0).unwrap();
    for (name, value) in shown.as_object().unwrap().iter().filter(|(name, _)| *name != "events") {
        assert_eq!(run[name], *value, "{name} in {run:#}");
    }
    assert_eq!(run.as_object().unwrap().len(), shown.as_object().unwrap().len());
    let events = run["events"].as_array().unwrap();
    assert!(events.starts_with(shown["events"].as_array().unwrap()) && events.len() == 10, "{events:#?}");

    let both = operator.json(&["simulate", &policy, &calls, "--against", &policy, "--limit", "4"]);
    let counted = |run: &Value| (run["events"].as_array().map(Vec::len), run["events_left_out"].as_u64());
    let runs: Vec<_> = both["runs"].as_array().unwrap().iter().map(counted).collect();
    assert_eq!(runs, [(Some(4), Some(6)); 2]);
    let yaml = operator.done(&["simulate", &policy, &calls, "-o", "yaml"]);
    assert!(yaml.starts_with("runs:\n") || yaml.contains("\nruns:\n"), "{yaml}");
    refused(&operator.run(&["simulate", &policy, &calls, "-o", "wide"]), 2, &["wide"]);
    refused(&operator.run(&["-o", "json", "simulate", &policy, &calls]), 2, &["--output before a command"]);
}

/// Before, each of them had the manager store that it had been asked: ten thousand documents were ten thousand writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_are_as_they_are_said_write_nothing() {
    let (_manager, operator) = Operator::with_manager().await;
    let services = ["service: {name: a}\nlevel: full", "service: {name: b}", "service: {name: c}\nlevel: auto"];
    let file = operator.file("services.yaml", &services.join("\n---\n"));
    operator.done(&["apply", "-f", &file]);
    let newest = |service: &str| -> u64 {
        operator.done(&["history", service, "--limit", "1", "-o", "name"]).trim().parse().unwrap()
    };
    let before = newest("c");
    let said = operator.done(&["apply", "-f", &file]);
    assert_eq!(said.lines().filter(|line| line.contains(": unchanged, revision ")).count(), 3, "{said}");
    let exported = operator.done(&["export"]);
    let file = operator.file("exported.yaml", &exported);
    assert!(!operator.done(&["apply", "-f", &file]).contains("changed, revision 0"));
    operator.done(&["register", "d"]);
    assert_eq!(newest("d"), before + 1, "nothing was written in between");
    assert_eq!(operator.done(&["export", "-o", "name"]), "a\nb\nc\nd\n");
}
