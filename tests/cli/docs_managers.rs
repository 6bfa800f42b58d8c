//! What the documents have those type who run managers: each command works as it is printed. Addresses and folders of
//! the tests' own stand for those that are printed.

use super::Operator;
use super::docs::commands_of;
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{
    Behaviour, Collector, Etcd, Manager, Process, Upstream, eventually, unused_address, workspace_root,
};
use serde_json::Value;
use std::fs;

const PRINTED_FOLDER: &str = "/var/lib/cofferdam";
const PRINTED_ETCD: &str = "a:2379,b:2379,c:2379";

/// The arguments of each `cofferdam serve` of a document.
fn serves_of(name: &str) -> Vec<String> {
    let commands: Vec<_> = commands_of(name).into_iter().map(|snippet| snippet.commands).collect();
    let arguments = commands.iter().flat_map(|commands| commands.lines());
    let arguments: Vec<_> =
        arguments.filter_map(|line| Some(line.strip_prefix("cofferdam serve ")?.to_owned())).collect();
    assert!(!arguments.is_empty(), "{name} starts managers");
    arguments
}

/// Starts a manager as a line of a document has it, and returns when it serves at this address.
async fn serve(arguments: &str, address: &str, variables: &[(&str, &str)]) -> Process {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let mut process = Manager::bare(&arguments, variables);
    process.printed("its start line", |line| line.contains(address).then_some(())).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_managers_share_an_etcd_of_three_nodes_as_printed() {
    let etcd = Etcd::start(3).await;
    let lines = serves_of("docs/managers.md");
    assert_eq!(lines.len(), 2);
    let mut managers = Vec::new();
    for (line, printed) in lines.iter().zip(["127.0.0.1:7420", "127.0.0.1:7421"]) {
        let address = unused_address();
        assert!(line.contains(printed) && line.contains(PRINTED_ETCD), "{line}");
        let line = line.replace(printed, &address).replace(PRINTED_ETCD, &etcd.endpoints());
        managers.push((serve(&line, &address, &[]).await, Operator::at(format!("http://{address}"))));
    }
    let [(_, one), (_, other)] = &managers[..] else { panic!("two managers") };
    one.done(&["register", "payments", "--level", "enhanced"]);
    eventually("the other to have it", async || match other.run(&["get", "services", "-o", "name"]) {
        said if said.out == "payments\n" => Ok(()),
        said => Err(said),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_is_checked_backed_up_and_moved_as_printed() {
    let etcd = Etcd::start(1).await;
    let mut manager = Manager::embedded().await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    manager.process().terminate();
    manager.process().exit().await;
    let operator = Operator::at("");
    let guide = fs::read_to_string(workspace_root().join("docs/storage.md")).unwrap();
    let mut ran = 0;
    for (index, snippet) in commands_of("docs/storage.md").into_iter().enumerate() {
        // Each begins with a store of its own, and with nothing in the second.
        let folder = operator.home.path().join(index.to_string());
        fs::create_dir(&folder).unwrap();
        fs::copy(manager.data_dir().join("cofferdam.redb"), folder.join("cofferdam.redb")).unwrap();
        let commands = snippet.commands.replace(PRINTED_FOLDER, folder.to_str().unwrap());
        let told = operator.paste(&commands.replace(PRINTED_ETCD, &etcd.endpoints()));
        let line = snippet.line;
        assert_eq!(told.code, Some(0), "docs/storage.md:{line}: as printed, this fails:\n{commands}\n{told:?}");
        if commands.contains("store check") {
            let rows: Vec<_> = told.out.lines().filter_map(|row| row.split_once("  ")).collect();
            assert!(rows.len() > 10 && rows.contains(&("services", "        1")), "{told:?}");
            for (name, _) in rows {
                assert!(guide.contains(&format!("\n{name}  ")), "docs/storage.md does not show {name:?}");
            }
        }
        ran += commands.lines().count();
    }
    assert!(ran >= 5, "it shows how to check, back up, restore and migrate both ways");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_logs_json_and_exports_spans_as_printed() {
    let (collector, upstream) = (Collector::start().await, Upstream::start(Behaviour::echo()).await);
    let lines = serves_of("docs/telemetry.md");
    let [as_json, with_spans] = &lines[..] else { panic!("{lines:?}") };
    let address = unused_address();
    // In the environment, so that the lines are what they are.
    let here = [("COFFERDAM_LISTEN_ADDRESS", &*address), ("COFFERDAM_STORE_KIND", "memory")];

    let mut process = serve(as_json, &address, &here).await;
    Operator::at(format!("http://{address}")).done(&["register", "payments", "--actor", "ann"]);
    let is_json = |line: &str| serde_json::from_str::<Value>(line).is_ok();
    let change = |line: &str| {
        let record: Value = serde_json::from_str(line).ok()?;
        (record["message"] == "service changed" && record["actor"] == "ann").then_some(())
    };
    process.printed("the change as a record", change).await;
    process.terminate();
    let log = process.exit().await.log;
    assert!(log.lines().all(is_json), "{log}");

    let printed = "http://127.0.0.1:4317";
    assert!(with_spans.contains(printed), "{with_spans}");
    let line = with_spans.replace(printed, &collector.url());
    let variables = [&here[..], &[("OTEL_BSP_SCHEDULE_DELAY", "100")]].concat();
    let _process = serve(&line, &address, &variables).await;
    let operator = Operator::at(format!("http://{address}"));
    operator.done(&["register", "payments", "--endpoint", &upstream.address(), "--level", "basic"]);
    operator.done(&["exec", "payments", "shop.Payments/Charge", "--data-raw", "one"]);
    eventually("the spans of the call", async || match collector.spans().len() {
        0 => Err("none"),
        _ => Ok(()),
    })
    .await;
}
