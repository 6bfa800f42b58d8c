//! Calls that were turned away: whoever did it, an operator sees the receipt at whichever manager is asked.

use super::Operator;
use cofferdam::{Cofferdam, Error};
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest, RetryPolicy};
use cofferdam_tests::wire::{breaker, registration};
use cofferdam_tests::{Behaviour, Etcd, Manager, Store, Upstream, eventually};
use serde_json::{Value, json};
use std::io;
use std::time::Duration;

/// What a manager tells of calls that were turned away, until there is one like that.
async fn told(operator: &Operator, arguments: &[&str], is_it: impl Fn(&Value) -> bool) -> Value {
    eventually("a rejection", async || {
        let explained = operator.json(&[&["explain", "payments"], arguments].concat());
        let calls = explained["rejections"].as_array().cloned().unwrap_or_default();
        calls.into_iter().find(&is_it).ok_or_else(|| explained["unreachableManagers"].clone())
    })
    .await
}

/// A text with one space where there are several.
fn words(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_call_of_a_program_is_explained_by_its_receipt_at_every_manager() {
    let etcd = Etcd::start(1).await;
    let (near, far) =
        (Manager::start(Store::Etcd(etcd.endpoints())).await, Manager::start(Store::Etcd(etcd.endpoints())).await);
    let (operator, other) = (Operator::at(near.url()), Operator::at(far.url()));
    let retry = Some(RetryPolicy { max_attempts: Some(1), ..RetryPolicy::default() });
    let policy = IsolationPolicy { retry, ..breaker(3, Duration::from_secs(3600)) };
    let request = RegisterServiceRequest { policy: Some(policy), ..registration("payments", IsolationLevel::Enhanced) };
    near.client().register(request).await.unwrap();
    let revision = near.client().revision("payments").await.unwrap();
    assert!(operator.json(&["explain", "payments"]).get("rejections").is_none(), "nobody was turned away");

    let program = Cofferdam::builder("checkout").manager(near.url()).instance_id("checkout-1").start();
    let payments = program.service("payments");
    eventually("the policy", async || payments.revision().ok_or("none")).await;
    let call = async || payments.execute("Get", async || Err::<(), _>(io::Error::other("down"))).await.unwrap_err();
    for _ in 0..3 {
        assert!(matches!(call().await, Error::Inner(_)));
    }
    assert!(matches!(call().await, Error::Open { .. }));

    for operator in [&operator, &other] {
        let call = told(operator, &[], |call| call["instanceId"] == "checkout-1").await;
        assert_eq!((&call["method"], &call["reason"]), (&json!("Get"), &json!("REJECTION_REASON_CIRCUIT_OPEN")));
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        assert_eq!(
            (number(&call["revision"]["epoch"]), number(&call["revision"]["revision"])),
            (revision.epoch, revision.revision)
        );
        let receipt = &call["breaker"];
        assert_eq!((&receipt["state"], &receipt["by"]), (&json!("BREAKER_STATE_OPEN"), &json!("REJECTED_BY_RULES")));
        assert_eq!((&receipt["calls"], &receipt["failures"]), (&json!("2"), &json!("2")), "the third one opened it");
        assert!(receipt["openFor"].is_string() && receipt["retryAfter"].is_string(), "{receipt}");
        for command in [
            &["explain", "payments"][..],
            &["explain", "payments", "--method", "/Get"],
            &["describe", "service", "payments"],
        ] {
            let text = words(&operator.done(command));
            let row = text.lines().find(|line| line.contains(" ago checkout-1 Get breaker, open for "));
            let row = row.unwrap_or_else(|| panic!("{text}"));
            assert!(row.ends_with(&format!(" {} 2/2", revision.revision)), "{row}");
        }
    }
    let elsewhere = operator.json(&["explain", "payments", "--instance", "checkout-1"]);
    assert_eq!(elsewhere["rejections"].as_array().map(Vec::len), Some(1), "{elsewhere}");
    program.shutdown().await;
    told(&operator, &[], |call| call["instanceId"] == "checkout-1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_manager_turned_away_itself_is_told_as_well() {
    let upstream = Upstream::start(Behaviour::bytes("live data")).await;
    let (_manager, operator) = Operator::with_manager().await;
    operator.done(&["register", "payments", "--endpoint", &upstream.address(), "--level", "enhanced"]);
    operator.done(&["hold", "payments", "open", "--for", "5m", "--reason", "the disk is changed", "--owner", "ann"]);
    assert_eq!(operator.run(&["exec", "payments", "a.B/C", "--data-raw", "x"]).code, Some(4));
    let call = told(&operator, &["--method", "a.B/C"], |call| call["method"] == "a.B/C").await;
    let receipt = &call["breaker"];
    assert_eq!((&receipt["by"], &receipt["holdOwner"]), (&json!("REJECTED_BY_HOLD"), &json!("ann")));
    assert!(!call["instanceId"].as_str().unwrap().is_empty(), "the manager's id");
    let text = words(&operator.done(&["explain", "payments"]));
    assert!(text.contains(" a.B/C breaker, held open by ann: the disk is changed"), "{text}");
    assert_eq!(upstream.calls(), 0);
}
