//! A level that is left to the policy (`auto`): it follows what the policy states, wherever that is seen and felt.

use super::{Operator, refused};
use cofferdam::{BreakerState, Cofferdam, Level};
use cofferdam_tests::{Behaviour, Upstream, eventually};
use serde_json::json;

/// A row of what `describe` prints, its words one space apart.
#[track_caller]
fn row(printed: &str, start: &str) -> String {
    let found = printed.lines().find(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start} in\n{printed}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_an_auto_level_follows_what_the_policy_states_and_callers_feel_it() {
    let mut upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "test-service", "--endpoint", &upstream.address(), "--level", "enhanced"]);
    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
    let service = cofferdam.service("test-service");
    let in_force = async |level: Level| {
        eventually("the level at the instance", async || {
            let has = (service.revision().is_some(), service.policy().level);
            if has == (true, level) { Ok(()) } else { Err(has) }
        })
        .await;
    };
    in_force(Level::Enhanced).await;

    // Nothing is stated, so it is as if no level were said; the breaker is gone.
    let set = operator.done(&["set-level", "test-service", "auto"]);
    assert!(set.starts_with("test-service: enhanced -> basic (auto), revision "), "{set}");
    in_force(Level::Basic).await;
    assert_eq!(service.breaker_state(), None);
    let exec = || {
        let call = json!({"service": "test-service", "method": "test-method"});
        manager.grpcurl().isolation("ExecuteWithIsolation", &call)
    };
    assert_eq!(exec().unwrap().get("breakerState"), None, "none is in force");

    // A block that needs a higher level brings it, for every caller.
    let set = operator.done(&["policy", "set", "test-service", "circuit_breaker.consecutive_failures=2"]);
    let expected =
        "test-service: circuit_breaker.consecutive_failures: unset -> 2, level basic (auto) -> enhanced (auto), ";
    assert!(set.starts_with(expected), "{set}");
    in_force(Level::Enhanced).await;
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
    assert_eq!(exec().unwrap()["breakerState"], "BREAKER_STATE_CLOSED");
    upstream.down().await;
    for _ in 0..2 {
        exec().unwrap_err();
    }
    let open = exec().unwrap_err();
    assert!(format!("{open:?}").contains("open"), "{open:?}");

    operator.done(&["policy", "set", "test-service", "bulkhead.max_concurrent=9"]);
    in_force(Level::Full).await;
    let info = operator.json(&["describe", "service", "test-service"]);
    assert_eq!(info["service"]["policy"]["level"], "ISOLATION_LEVEL_FULL");
    assert_eq!(info["service"]["writtenPolicy"]["level"], "ISOLATION_LEVEL_AUTO");
    assert_eq!(info.get("inactiveFields"), None);
    let explained = operator.json(&["explain", "test-service"]);
    let level = explained["fields"].as_array().unwrap().iter().find(|field| field["path"] == "level").unwrap();
    assert_eq!((&level["origin"], &level["originName"]), (&json!("ORIGIN_KIND_AUTO_LEVEL"), &json!("bulkhead")));
    let text = operator.done(&["explain", "test-service"]);
    assert!(text.contains("level         full (auto: because of bulkhead)\n"), "{text}");
    assert_eq!(row(&operator.done(&["describe", "service", "test-service"]), "level "), "level full (auto)");
    for list in ["services", "policies"] {
        let listed = operator.done(&["get", list]);
        assert!(row(&listed, "test-service").starts_with("test-service full (auto) "), "{listed}");
    }
    assert_eq!(operator.json(&["stats"])["totals"]["full_isolation"], 1);
    let history = operator.done(&["history", "test-service", "-o", "wide"]);
    assert!(history.contains("level enhanced (auto) -> full (auto)"), "{history}");
    assert!(history.contains("level enhanced -> basic (auto)"), "{history}");

    // For a time another level is in its place, and a block that goes takes its level along.
    operator.done(&["set-level", "test-service", "none", "--for", "10m", "--actor", "ann"]);
    in_force(Level::None).await;
    let described = operator.done(&["describe", "service", "test-service"]);
    assert!(row(&described, "level ").ends_with(" more, then full (auto) (ann)"), "{described}");
    let back = operator.done(&["set-level", "test-service", "auto"]);
    assert!(back.contains("the level for a time ended, full (auto) is in force"), "{back}");
    let set = operator.done(&["policy", "set", "test-service", "bulkhead="]);
    assert!(set.contains("level full (auto) -> enhanced (auto), revision "), "{set}");
    in_force(Level::Enhanced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_dry_run_says_which_level_would_follow_and_documents_keep_the_word() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--preset", "database"]);
    let shown = operator.done(&["set-level", "payments", "auto", "--dry-run"]);
    let expected = "payments: would change\n  level: unset -> auto\n  in force: level: enhanced -> full\n";
    assert_eq!(shown, expected, "the preset brings pools");
    operator.done(&["set-level", "payments", "auto"]);
    let same = operator.done(&["set-level", "payments", "auto", "--dry-run"]);
    assert_eq!(same, "payments: nothing would change\n");
    let shown = operator.done(&["policy", "set", "payments", "preset=stripe", "rate_limit=", "--dry-run"]);
    assert!(shown.contains("  in force: level: full -> enhanced\n"), "{shown}");

    let exported = operator.done(&["export", "payments"]);
    assert!(exported.contains("  level: ISOLATION_LEVEL_AUTO\n"), "{exported}");
    let file = operator.file("payments.yaml", &exported);
    let applied = operator.done(&["apply", "-f", &file]);
    assert!(applied.contains("unchanged"), "{applied}");
    let other = "service: {name: orders}\npolicy: {level: auto, retry: {max_attempts: 2}}\n";
    operator.done(&["apply", "-f", &operator.file("orders.yaml", other)]);
    let info = operator.json(&["describe", "service", "orders"]);
    assert_eq!(info["service"]["policy"]["level"], "ISOLATION_LEVEL_ENHANCED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c11_a_level_that_is_none_is_refused_with_those_that_there_are() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments"]);
    let names = ["none", "basic", "enhanced", "full", "auto"];
    refused(&operator.run(&["set-level", "payments", "atuo"]), 2, &names);
    refused(&operator.run(&["register", "payments", "--level", "Auto"]), 2, &names);
    refused(&operator.run(&["policy", "set", "payments", "level=autom"]), 2, &names);
    refused(&operator.run(&["set-level", "payments", "auto", "--for", "10m"]), 1, &["level", "auto is for good"]);
    let level =
        |level| manager.grpcurl().isolation("SetIsolationLevel", &json!({"service": "payments", "level": level}));
    let unset = format!("{:?}", level(json!(0)).unwrap_err());
    assert!(names.iter().all(|name| unset.contains(name)), "{unset}");
    let unknown = format!("{:?}", level(json!(6)).unwrap_err());
    assert!(unknown.contains("5 (auto), not 6"), "{unknown}");
}
