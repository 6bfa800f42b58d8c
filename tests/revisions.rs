//! What an operator sees of changes and how they are undone, with the real grpcurl, on the embedded store and on etcd.

use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Curl, Etcd, Grpcurl, Manager, eventually};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

fn changes(grpcurl: &Grpcurl, service: &str) -> Vec<Value> {
    let answer = grpcurl.isolation("ListRevisions", &json!({"service": service, "pageSize": 100})).unwrap();
    answer["revisions"].as_array().cloned().unwrap_or_default()
}

fn revision(service: &Value) -> u64 {
    service["revision"]["revision"].as_str().unwrap().parse().unwrap()
}

/// Who, why and what are told, and one call undoes it.
async fn seen_and_undone(manager: &Manager) {
    let grpcurl = manager.grpcurl();
    grpcurl.isolation("RegisterService", &json!({"service": {"name": "payments"}})).unwrap();
    let named = grpcurl.with_header("cofferdam-actor: ann");
    let request =
        json!({"service": "payments", "policy": {"retry": {"maxAttempts": 5}}, "reason": "they asked for it"});
    named.isolation("UpdateIsolationPolicy", &request).unwrap();

    let told = changes(&grpcurl, "payments");
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0]["actor"], &told[0]["reason"]), (&json!("ann"), &json!("they asked for it")));
    assert_eq!(told[0]["changes"], json!([{"path": "retry.max_attempts", "after": "5", "beforeDefault": "3"}]));
    assert!(told[1]["actor"].as_str().unwrap().starts_with("127.0.0.1:"), "{told:?}");

    let request =
        json!({"service": "payments", "to": {"revision": {"revision": revision(&told[1])}}, "reason": "undo"});
    let answer = named.isolation("Rollback", &request).unwrap();
    assert_eq!(answer["services"][0]["outcome"], "ROLLBACK_OUTCOME_DONE", "{answer}");
    let now = changes(&grpcurl, "payments");
    assert_eq!((&now[0]["kind"], &now[0]["restored"]), (&json!("CHANGE_KIND_ROLLBACK"), &told[1]["revision"]));
    let info = grpcurl.isolation("GetServiceIsolationInfo", &json!({"service": "payments"})).unwrap();
    assert_eq!(info["service"]["writtenPolicy"].get("retry"), None, "{info}");
    assert_eq!(info["service"]["revision"], now[0]["revision"]);

    for (header, said) in
        [("cofferdam-actor: ", "must not be empty"), ("cofferdam-actor: \u{1b}[31m", "cofferdam-actor")]
    {
        let refused = grpcurl.with_header(header).isolation("Rollback", &request);
        assert!(refused.unwrap_err().text.contains(said));
    }
    let unknown = json!({"service": "payments", "to": {"revision": {"revision": 999_999}}});
    let refused = grpcurl.isolation("Rollback", &unknown).unwrap_err();
    assert_eq!(refused.code, "NotFound");
    assert!(refused.text.contains("REVISION_UNKNOWN"), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_and_undone_on_the_embedded_store() {
    let mut manager = Manager::embedded().await;
    seen_and_undone(&manager).await;
    let before = changes(&manager.grpcurl(), "payments");
    manager.kill();
    manager.restart().await;
    assert_eq!(changes(&manager.grpcurl(), "payments"), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_and_undone_on_etcd() {
    let etcd = Etcd::start(1).await;
    let manager = Manager::on(&etcd).await;
    seen_and_undone(&manager).await;
    let other = Manager::on(&etcd).await;
    assert_eq!(changes(&other.grpcurl(), "payments"), changes(&manager.grpcurl(), "payments"));
}

/// Killed at any moment, a manager leaves no change without its record and no record without its change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_is_killed_leaves_change_and_record_together() {
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    for round in 0..3 {
        let client = manager.client();
        let (count, mut written) = watch::channel(0);
        let writing = tokio::spawn(async move {
            let levels = [IsolationLevel::Full, IsolationLevel::None, IsolationLevel::Enhanced];
            for level in levels.into_iter().cycle() {
                if client.set_level("payments", level).await.is_err() {
                    break;
                }
                count.send_modify(|written| *written += 1);
            }
        });
        written.wait_for(|written| *written >= 10 + 7 * round).await.unwrap();
        manager.kill();
        writing.await.unwrap();
        manager.restart().await;
        let told = changes(&manager.grpcurl(), "payments");
        let present = manager.client().revision("payments").await.unwrap();
        assert_eq!(revision(&told[0]), present.revision, "after {round} rounds");
        let level = manager.client().info("payments").await.unwrap().service.unwrap().written_policy.unwrap().level();
        let last = told[0]["changes"].as_array().unwrap().iter().find(|change| change["path"] == "level");
        assert_eq!(last.unwrap()["after"], level.as_str_name());
    }
}

/// Of two managers the one that was asked is killed in the middle of a rollback of many: the other one brings it to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_of_many_is_carried_to_its_end_by_another_manager() {
    const MANY: usize = 600;
    let etcd = Etcd::start(1).await;
    let (mut asked, other) = (Manager::on(&etcd).await, Manager::on(&etcd).await);
    let client = asked.client();
    let each = |level| {
        let client = client.clone();
        async move {
            let all = stream::iter(0..MANY).map(|number| {
                let (client, name) = (client.clone(), format!("s-{number:03}"));
                async move { client.register(registration(&name, level)).await.unwrap() }
            });
            all.buffer_unordered(32).collect::<Vec<_>>().await
        }
    };
    let registered = each(IsolationLevel::Basic).await;
    let last = registered.iter().filter_map(|service| service.update_time).max_by_key(|at| (at.seconds, at.nanos));
    let time = last.unwrap().to_string();
    each(IsolationLevel::Full).await;

    let waiting = |manager: &Manager| {
        let page = Curl::at(manager.url()).ask(&[], "/metrics").body;
        let line = page.lines().find_map(|line| line.strip_prefix("cofferdam_bulk_change_waiting_services{} "));
        line.unwrap().parse::<f64>().unwrap()
    };
    let request = json!({"to": {"time": time}, "requestId": "once", "reason": "the night"});
    let order = {
        let (grpcurl, request) = (asked.grpcurl().with_header("cofferdam-actor: ann"), request.clone());
        tokio::task::spawn_blocking(move || grpcurl.isolation("Rollback", &request))
    };
    eventually("it goes on", async || if waiting(&other) > 0.0 { Ok(()) } else { Err("not yet") }).await;
    asked.kill();
    assert!(waiting(&other) > 0.0, "it was over before the manager was killed");
    assert!(order.await.unwrap().is_err());
    let refused = other.grpcurl().isolation("Rollback", &json!({"to": {"time": time}})).unwrap_err();
    assert_eq!(refused.code, "FailedPrecondition");
    assert!(refused.text.contains("ann ordered a change of"), "{}", refused.text);
    let answer = eventually("the other one brings it to its end", async || {
        let answer = other.grpcurl().with_header("cofferdam-actor: ann").isolation("Rollback", &request).unwrap();
        if answer["bulk"]["finished"] == true { Ok(answer) } else { Err(answer["bulk"].clone()) }
    })
    .await;
    let services = answer["services"].as_array().unwrap();
    assert_eq!((services.len(), &answer["bulk"]["done"]), (MANY, &json!(MANY)));
    assert!(services.iter().all(|service| service["outcome"] == "ROLLBACK_OUTCOME_DONE"));
    let info = other.client().info("s-599").await.unwrap().service.unwrap();
    assert_eq!(info.written_policy.unwrap().level(), IsolationLevel::Basic);
}
