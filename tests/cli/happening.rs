//! What an operator sees of what happens: lists, streams, and all breakers at a glance.

use super::{Operator, refused};
use cofferdam::Cofferdam;
use cofferdam_tests::eventually;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// A command that goes on, and ends with the test.
struct Going(std::process::Child);

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_happened_is_listed_with_who_and_why() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    operator.done(&["register", "search"]);
    operator.done(&["set-level", "payments", "full", "--reason", "black friday", "--actor", "ann"]);
    let line = "default/payments: level enhanced -> full by ann: black friday";
    let listed = eventually("the change to be told", async || {
        let said = operator.done(&["events", "payments"]);
        if said.contains(line) { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(listed.starts_with("TIME ") && listed.lines().count() == 3 && !listed.contains("search"), "{listed}");
    let all = operator.done(&["get", "events"]);
    assert!(all.contains("default/search: registered") && all.contains("manager "), "{all}");
    assert_eq!(operator.done(&["get", "events", "payments"]), listed);
    let json = operator.json(&["events", "--kind", "change", "--limit", "1", "--since", "1h"]);
    assert_eq!(json["events"].as_array().unwrap().len(), 1);
    assert_eq!((&json["events"][0]["summary"], &json["hasOlder"]), (&line.into(), &true.into()));
    let names = operator.done(&["events", "-A", "--kind", "manager,change", "-o", "name"]);
    assert_eq!(names.lines().count(), 4, "{names}");
    refused(&operator.run(&["events", "--kind", "nothing"]), 2, &["--kind"]);
    refused(&operator.run(&["events", "-A", "payments"]), 2, &["cannot be used"]);
    refused(&operator.run(&["get", "events", "a", "b"]), 2, &["of one service"]);
    // Before, nothing had happened to it, and that was all.
    refused(&operator.run(&["events", "paymens"]), 1, &["payments?", "try: cofferdam events payments\n"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c23_what_happens_is_printed_as_it_comes() {
    let (_manager, operator) = Operator::with_manager().await;
    let (lines, printed) = std::sync::mpsc::channel();
    let mut child = operator.command(&["watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let _going = Going(child);
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert!(first.starts_with("watching"), "{first}");
    std::thread::spawn(move || {
        out.lines().map_while(Result::ok).for_each(|line| {
            let _ = lines.send(line);
        })
    });
    // It says that it watches before it does: what comes first may be missed.
    let mut changes = 0..;
    let told = eventually("a change to be printed", async || {
        operator.done(&["register", "payments", "--label", &format!("at={}", changes.next().unwrap())]);
        printed.recv_timeout(std::time::Duration::from_millis(200)).map_err(|_| "nothing")
    })
    .await;
    assert!(told.starts_with("TIME"), "{told}");
    let told = printed.recv_timeout(std::time::Duration::from_secs(20)).unwrap();
    assert!(told.contains("change") && told.contains("default/payments: registered"), "{told}");
}

/// Before, it was told as "h2 protocol error", with a command that mends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_is_killed_under_a_watch_went_away_and_is_asked_again() {
    let (mut manager, operator) = Operator::with_manager().await;
    let mut children = ["watch", "get services -w"].map(|arguments| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        operator.done(&["register", "payments", "--label", &format!("for={}", arguments[0])]);
        let mut child = operator.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        (BufReader::new(child.stderr.take().unwrap()), out, Going(child))
    });
    // Both have shown something.
    let mut line = String::new();
    children[1].1.read_line(&mut line).unwrap();
    assert!(line.starts_with("NAME"), "{line}");
    let (lines, printed) = std::sync::mpsc::channel();
    let [(said, out, _watching), (said_too, _, _getting)] = children;
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut changes = 0..;
    eventually("a change to be printed", async || {
        operator.done(&["register", "payments", "--label", &format!("at={}", changes.next().unwrap())]);
        printed.recv_timeout(std::time::Duration::from_millis(200)).map_err(|_| "nothing")
    })
    .await;
    manager.kill();
    for (said, end) in [(said, "; connecting again"), (said_too, "; asking again")] {
        let complaint = said.lines().map_while(Result::ok).find(|line| line.starts_with("cofferdam: ")).unwrap();
        let is_away = complaint.contains(" went away under ") || complaint.contains("no manager answers at ");
        assert!(is_away && complaint.ends_with(end), "{complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_the_monitor_shows_all_breakers_and_ends_with_4_where_one_is_open() {
    let (manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--level", "enhanced"]);
    operator.done(&["register", "search"]);
    let sdk = Cofferdam::builder("checkout").manager(manager.url()).start();
    let payments = sdk.service("payments");
    eventually("the first policy", async || payments.revision().ok_or(())).await;
    let calm = operator.done(&["monitor"]);
    assert_eq!((calm.lines().count(), calm.matches("CLOSED").count()), (3, 2), "{calm}");
    operator.done(&["trip", "payments", "--reason", "a drill", "--wait"]);
    let open = eventually("an open breaker", async || {
        let said = operator.run(&["monitor"]);
        if said.code == Some(4) { Ok(said.out) } else { Err(said) }
    })
    .await;
    let line = open.lines().find(|line| line.starts_with("payments ")).unwrap();
    assert!(line.contains(" OPEN ") && open.contains("search"), "{open}");
    let read = operator.run(&["monitor", "-o", "json"]);
    let breakers = serde_json::from_str::<Value>(&read.out).unwrap()["breakers"].clone();
    let expected = json!({
        "namespace": "default", "service": "payments", "state": "OPEN", "status": "circuit-open",
        "successes": 0, "failures": 0,
    });
    assert_eq!((read.code, &breakers[0]), (Some(4), &expected), "{read:?}");
    assert_eq!((&breakers[1]["service"], &breakers[1]["state"]), (&"search".into(), &"CLOSED".into()), "{read:?}");
    let yaml = operator.run(&["monitor", "-o", "yaml"]);
    assert!(yaml.code == Some(4) && yaml.out.starts_with("---\nbreakers:\n"), "{yaml:?}");
    assert_eq!(operator.run(&["monitor", "-o", "name"]).out, "payments\nsearch\n");
}

/// A look is a line, so that `while read` and `jq` take one at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_monitor_goes_on_in_lines_of_json() {
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments"]);
    let mut command = operator.command(&["monitor", "watch", "--every", "100ms", "-o", "json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().take(2).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let look: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(look["breakers"][0]["service"], "payments", "{look}");
        assert!(look["time"].as_str().unwrap().ends_with('Z'), "{look}");
    }
}
