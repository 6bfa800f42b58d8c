//! What an operator does at night: sees what is wrong and who did it, stops it, and undoes it.

use super::{Operator, refused};
use cofferdam::{BreakerState, Cofferdam};
use cofferdam_tests::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d10_breakers_are_held_released_tripped_and_reset_with_instances_that_say_so() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).start();
    let service = cofferdam.service("payments");
    eventually("the first policy", async || service.revision().ok_or(())).await;

    let why = ["--reason", "a drill", "--wait"];
    let held = operator.done(&[&["hold", "payments", "open", "--for", "5m"][..], &why].concat());
    assert!(held.starts_with("payments: breakers held open for 5m, revision "), "{held}");
    assert!(held.contains("applied by 1/1"), "{held}");
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
    let checked = operator.run(&["check", "-q", "-o", "json"]);
    let checks: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let [check] = &checks["checks"].as_array().unwrap()[..] else { panic!("{checks}") };
    assert_eq!((checked.code, &check["verdict"], &check["about"]), (Some(4), &"open".into(), &"hold".into()));
    assert!(check["try"].as_str().unwrap().starts_with("cofferdam release payments"), "{check}");
    let clients = operator.json(&["get", "clients"]);
    assert_eq!(
        (&clients["clients"][0]["application"], &clients["clients"][0]["synced"]),
        (&"checkout".into(), &1.into())
    );
    operator.done(&[&["release", "payments"][..], &why].concat());
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));
    let tripped = operator.done(&[&["trip", "payments"][..], &why].concat());
    assert!(tripped.starts_with("payments: breakers tripped, revision "), "{tripped}");
    assert_eq!(service.breaker_state(), Some(BreakerState::Open));
    operator.done(&[&["reset", "payments"][..], &why].concat());
    assert_eq!(service.breaker_state(), Some(BreakerState::Closed));

    let dry = operator.done(&["hold", "payments", "closed", "--dry-run", "--instance", "pay-1", "--reason", "x"]);
    assert_eq!(dry, "payments: would be: breakers at pay-1 held closed until released\n");
    refused(&operator.run(&["release", "payments", "--reason", "done"]), 1, &["is not held"]);
    let kinds = operator.json(&["history", "payments"]);
    let kinds = kinds["revisions"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap().to_owned());
    let expected = ["RESET", "TRIPPED", "RELEASED", "HELD", "REGISTERED"].map(|kind| format!("CHANGE_KIND_{kind}"));
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
}

/// Before, they asked a manager first, `reset --all` had itself confirmed first, and a dry run of a release said that it
/// would be done.
#[test]
fn orders_want_a_reason_before_anybody_is_asked() {
    let operator = Operator::at("http://127.0.0.1:1");
    for arguments in [
        &["hold", "payments", "open"][..],
        &["release", "payments"],
        &["trip", "payments"],
        &["reset", "payments"],
        &["reset", "--all"],
        &["reset", "--all", "--yes"],
        &["release", "payments", "--dry-run"],
        &["hold", "payments", "open", "--reason", ""],
    ] {
        refused(&operator.run(arguments), 2, &["--reason <TEXT>"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_found_with_who_and_why_and_undone() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    operator.done(&["set-level", "payments", "none", "--reason", "it was slow", "--actor", "bob"]);
    let history = operator.done(&["history", "payments"]);
    let newest = history.lines().nth(1).unwrap();
    for word in ["payments", "bob", "level: level enhanced -> none", "it was slow"] {
        assert!(newest.contains(word), "no {word:?} in {history}");
    }
    let names = operator.done(&["history", "payments", "-o", "name"]);
    let first = names.lines().nth(1).unwrap();
    let dry = operator.done(&["rollback", "payments", "--to-revision", first, "--dry-run"]);
    assert!(dry.starts_with(&format!("payments: would go back to {first}, from ")), "{dry}");
    assert_eq!(
        operator.json(&["history", "payments"])["revisions"].as_array().unwrap().len(),
        2,
        "nothing was written"
    );
    let back = operator.done(&["rollback", "payments", "--to-revision", first, "--reason", "too much"]);
    assert!(back.starts_with(&format!("payments: back to {first}, revision ")), "{back}");
    assert!(back.contains("\n  level none -> enhanced\n"), "{back}");
    assert!(operator.done(&["history", "payments", "--limit", "1"]).contains(&format!("rollback to {first}")));
    refused(&operator.run(&["rollback", "payments", "--to-revision", "999999"]), 1, &["999999"]);
    refused(&operator.run(&["rollback", "payments"]), 2, &["--to-time"]);
    refused(&operator.run(&["rollback", "--all", "--to-revision", "1"]), 2, &["--all"]);
    refused(&operator.run(&["rollback", "payments", "--to-time", "yesterday"]), 2, &["10m"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_the_graph_shows_the_order_what_is_lost_and_cycles() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "wallet", "--depends-on", "orders-db", "--depends-on", "cache:optional"]);
    operator.done(&["register", "orders-db"]);
    let graph = operator.done(&["graph", "orders-db"]);
    let layers: Vec<_> =
        graph.lines().skip(1).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>()).collect();
    assert_eq!(layers[..2], [["0", "orders-db"], ["1", "wallet"]]);
    assert!(graph.ends_with("without orders-db: wallet would not work, nothing would work with less\n"), "{graph}");
    assert!(operator.done(&["graph", "--as", "dot"]).contains("\"wallet\" -> \"cache\" [style=dashed];"));
    operator.done(&["register", "orders-db", "--depends-on", "wallet"]);
    let cyclic = operator.run(&["graph"]);
    assert_eq!(cyclic.code, Some(3), "{cyclic:?}");
    assert!(cyclic.err.contains("orders-db -> wallet -> orders-db"), "{cyclic:?}");
}
