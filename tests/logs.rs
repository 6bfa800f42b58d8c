//! What the manager's log says, for machines.

use cofferdam::Cofferdam;
use cofferdam_proto::v1::{IsolationLevel, UnregisterServiceRequest};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Client, Curl, Manager, Store, command, eventually};
use serde_json::{Value, json};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Records with this message, in order.
fn records(manager: &mut Manager, message: &str) -> Vec<Value> {
    let log = manager.process().log();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    records.filter(|record| record["message"] == message).collect()
}

/// One change is one record that says who changed what, when, why, and to which revision; what changed nothing is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_is_one_record() {
    let mut manager = Manager::start_with(Store::Embedded, &[("COFFERDAM_TELEMETRY_LOG_FORMAT", "json")]).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let curl = Curl::at(manager.url());
    let body = json!({"level": "ISOLATION_LEVEL_FULL", "reason": "the \"night\"", "requestId": "abc-1"}).to_string();
    let headers = ["-X", "PUT", "-H", "Content-Type: application/json", "-H", "Cofferdam-Actor: ops@shop", "-d", &body];
    let first = curl.ask(&headers, "/v1/services/payments/level");
    // A repetition, what is so already, a refusal, and a trial change nothing.
    assert_eq!((first.status, curl.ask(&headers, "/v1/services/payments/level").status), (200, 200));
    client.set_level("payments", IsolationLevel::Full).await.unwrap();
    client.set_level("nobody", IsolationLevel::Full).await.unwrap_err();
    let gone = UnregisterServiceRequest { service: "payments".to_owned(), ..Default::default() };
    client.unregister_service(gone).await.unwrap();
    let told = eventually("a record of each change", async || {
        let told = records(&mut manager, "service changed");
        if told.len() >= 3 { Ok(told) } else { Err(told) }
    })
    .await;
    let changes: Vec<_> = told.iter().map(|record| record["change"].as_str().unwrap()).collect();
    assert_eq!(changes, ["registered", "level", "unregistered"]);
    let level = &told[1];
    let tag = first.header("etag").trim_matches('"').to_owned();
    assert_eq!(format!("{}-{}", level["epoch"], level["revision"]), tag);
    for (field, value) in [
        ("namespace", "default"),
        ("service", "payments"),
        ("actor", "ops@shop"),
        ("reason", "the \"night\""),
        ("request_id", "abc-1"),
        ("level", "INFO"),
        ("target", "cofferdam_server::changes"),
    ] {
        assert_eq!(level[field], value, "{level:#}");
    }
    assert!(level["timestamp"].is_string());
}

/// Who came from where, and what it has in force.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_on_streams_has_instance_service_and_revision() {
    let variables = [
        ("COFFERDAM_TELEMETRY_LOG_FORMAT", "json"),
        ("COFFERDAM_TELEMETRY_LOG_LEVEL", "info,cofferdam_server::sync=debug"),
    ];
    let mut manager = Manager::start_with(Store::Memory, &variables).await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let newest = manager.client().revision("payments").await.unwrap();
    let cofferdam = Cofferdam::builder("checkout").manager(manager.url()).instance_id("checkout-1").start();
    let _service = cofferdam.service("payments");
    let [came, applied] = eventually("both records", async || {
        let told = ["instance connected", "policy in force"].map(|message| records(&mut manager, message));
        match told.each_ref().map(Vec::as_slice) {
            [[came, ..], [applied, ..]] => Ok([came.clone(), applied.clone()]),
            _ => Err(told),
        }
    })
    .await;
    assert_eq!((&came["instance"], &came["application"]), (&json!("checkout-1"), &json!("checkout")), "{came:#}");
    assert!(came["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{came:#}");
    assert_eq!((&applied["instance"], &applied["service"]), (&json!("checkout-1"), &json!("payments")));
    assert_eq!((&applied["epoch"], &applied["revision"]), (&json!(newest.epoch), &json!(newest.revision)));
}

/// A manager whose log goes into a pipe that nobody reads.
struct Unread(Child);

impl Drop for Unread {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Nobody reads the log: the manager goes on, and counts what is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_nothing_and_what_is_lost_is_counted() {
    let address = cofferdam_tests::unused_address();
    let mut command = command(&["serve", "--store", "memory", "--listen", &address, "--log-level", "trace"]);
    let _manager = Unread(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    eventually("the port", async || TcpStream::connect(&address).map(drop)).await;
    let client = Client::patient(&format!("http://{address}"), Duration::from_secs(20));
    let lost = eventually("lines to be lost", async || {
        for _ in 0..200 {
            client.list().await.unwrap();
        }
        let metrics = Curl::at(format!("http://{address}")).ask(&[], "/metrics").body;
        let lost = metrics.lines().find(|line| line.starts_with("cofferdam_log_lines_lost_total")).unwrap();
        let lost = lost.rsplit(' ').next().unwrap();
        if lost == "0" { Err(lost.to_owned()) } else { Ok(lost.to_owned()) }
    })
    .await;
    assert!(lost.parse::<u64>().unwrap() > 0, "{lost}");
}
