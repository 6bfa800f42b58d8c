//! What operators have ordered, as the command line shows it, and what it would refuse.

use super::{Operator, refused};

/// Before, holds and levels for a time were to be seen in JSON and YAML alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_and_levels_for_a_time_are_shown_with_who_why_until_when_and_what_ends_them() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    operator.done(&["hold", "payments", "open", "--for", "5m", "--owner", "ann", "--reason", "the database is moved"]);
    operator.done(&["hold", "payments", "closed", "--instance", "pay-1", "--reason", "a trial"]);
    let set = operator.done(&["set-level", "payments", "full", "--for", "10m", "--reason", "trial", "--actor", "bob"]);
    assert!(set.starts_with("payments: full until 20") && set.contains("Z, then enhanced, revision "), "{set}");

    let held = "breakers held open by ann for ";
    let described = operator.done(&["describe", "service", "payments"]);
    for words in [
        held,
        "more: the database is moved\n",
        "to end it: cofferdam release payments --reason TEXT\n",
        "breakers at pay-1 held closed by ",
        "until released: a trial\n",
        "to end it: cofferdam release payments --instance pay-1 --reason TEXT\n",
        "full for ",
        "more, then enhanced (bob: trial)\n",
    ] {
        assert!(described.contains(words), "no {words:?} in {described}");
    }
    // No instance is connected, and all the same calls would be rejected.
    let check = operator.run(&["check"]);
    assert_eq!(check.code, Some(4), "{check:?}");
    for words in [held, "try: cofferdam release payments --reason TEXT\n", "level       payments: full for "] {
        assert!(check.out.contains(words), "no {words:?} in {check:?}");
    }
    let listed = operator.done(&["get", "services"]);
    assert!(listed.contains("held open") && listed.contains("full*"), "{listed}");
    let history = operator.done(&["history", "payments"]);
    for words in ["held: open by ann until 20", "held: closed at pay-1 by ", "level: full until 20"] {
        assert!(history.contains(words), "no {words:?} in {history}");
    }
    assert!(!history.contains("orders.holds"), "{history}");

    operator.done(&["release", "payments", "--instance", "pay-1", "--reason", "done"]);
    operator.done(&["release", "payments", "--reason", "done"]);
    let ended = operator.done(&["set-level", "payments", "enhanced"]);
    assert!(ended.starts_with("payments: the level for a time ended, enhanced is in force, revision "), "{ended}");
    assert_eq!(operator.run(&["check"]).code, Some(0));
    assert!(!operator.done(&["describe", "service", "payments"]).contains("held"));
}

/// Before, what was suggested went to another manager, and a hold of an instance that nobody knows was told like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_suggested_is_for_the_manager_that_was_said() {
    let (manager, operator) = Operator::with_manager().await;
    let elsewhere = Operator::at("http://127.0.0.1:1");
    let (url, at) = (manager.url(), ["-s", &manager.url()].map(str::to_owned));
    let run = |arguments: &[&str]| elsewhere.run(&[arguments, &[at[0].as_str(), at[1].as_str()]].concat());
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let held = run(&["hold", "payments", "open", "--instance", "typo-0", "--reason", "x"]);
    assert_eq!(held.code, Some(0), "{held:?}");
    assert!(held.err.contains("no instance typo-0 is connected that uses payments"), "{held:?}");
    let release = format!("cofferdam -s {url} release payments --instance typo-0 --reason TEXT");
    let described = run(&["describe", "service", "payments"]);
    assert!(described.out.contains(&format!("to end it: {release}\n")), "{described:?}");
    let check = run(&["check"]);
    assert!(check.out.contains(&format!("try: {release}\n")), "{check:?}");
    let check = run(&["check", "-q", "-o", "json"]);
    assert!(check.out.contains(&release), "{check:?}");
    let misnamed = run(&["release", "paymnets", "--reason", "x"]);
    refused(&misnamed, 1, &[&format!("try: cofferdam -s {url} get services -n default\n")]);
}

/// Before, all of them said that it would be done, or that nothing would change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_refuses_what_a_manager_would_refuse() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    operator.done(&["set-level", "payments", "none", "--for", "10m"]);
    let dry = operator.done(&["set-level", "payments", "enhanced", "--dry-run"]);
    assert!(dry.contains("in force: level: none -> enhanced"), "{dry}");
    let kept = operator.done(&["register", "payments", "--level", "enhanced", "--dry-run"]);
    assert_eq!(kept, "payments: nothing would change\n");
    operator.done(&["set-level", "payments", "enhanced"]);

    for (arguments, words) in [
        (
            &["hold", "payments", "open", "--pool", "nope", "--reason", "x", "--dry-run"][..],
            "pool nope has no circuit breaker",
        ),
        (&["release", "payments", "--reason", "x", "--dry-run"], "it is not held"),
        (&["set-level", "payments", "full", "--expected-revision", "1", "--dry-run"], "and 1 is expected"),
        (&["register", "payments", "--expected-revision", "1", "--dry-run"], "and 1 is expected"),
        (&["unregister", "payments", "--expected-revision", "1", "--dry-run"], "and 1 is expected"),
        (&["trip", "payments", "--expected-revision", "1", "--reason", "x", "--dry-run"], "and 1 is expected"),
        (
            &["policy", "set", "payments", "retry.max_attempts=2", "--expected-revision", "1", "--dry-run"],
            "and 1 is expected",
        ),
    ] {
        refused(&operator.run(arguments), 1, &[words, "\ntry: cofferdam "]);
    }
    operator.done(&["set-level", "payments", "basic"]);
    let none = operator.run(&["hold", "payments", "open", "--reason", "x", "--dry-run"]);
    refused(&none, 1, &["no circuit breaker is in force at level basic"]);
}

/// Before, `cofferdam --server URL get services` was no command line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_of_the_manager_go_before_the_command_as_well() {
    let (manager, _) = Operator::with_manager().await;
    let operator = Operator::at("http://127.0.0.1:1");
    let server = manager.url();
    operator.done(&["--server", &server, "-n", "shop", "register", "payments"]);
    let listed = operator.done(&["-s", &server, "--output", "name", "get", "services", "-A"]);
    assert_eq!(listed, "shop/payments\n");
    // What stands behind the command wins.
    let both = operator.done(&[
        "-s",
        "http://127.0.0.1:2",
        "-n",
        "nope",
        "get",
        "services",
        "-o",
        "name",
        "-s",
        &server,
        "-n",
        "shop",
    ]);
    assert_eq!(both, "payments\n");
    refused(&operator.run(&["--server", &server, "version"]), 2, &["--server before a command"]);
}

/// Before, the first of them panicked, and the others were orders without an end.
#[test]
fn a_time_that_nobody_waits_is_refused() {
    let operator = Operator::at("http://127.0.0.1:1");
    for arguments in [
        &["get", "services", "--timeout", "12000y"][..],
        &["hold", "payments", "open", "--reason", "x", "--for", "300000000000y"],
        &["trip", "payments", "--reason", "x", "--for", "300000000000y"],
        &["set-level", "payments", "none", "--for", "300000000000y"],
    ] {
        refused(&operator.run(arguments), 2, &["must be at most 365days"]);
    }
}
