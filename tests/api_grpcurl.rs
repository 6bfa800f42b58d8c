//! What an operator does with grpcurl, which knows nothing of the contract but what the manager tells it.

use cofferdam_tests::{Manager, Store, shell_snippets, workspace_root};
use futures_util::StreamExt;
use prost_reflect::DescriptorPool;
use serde_json::{Value, json};
use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1alpha::server_reflection_response::MessageResponse;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_and_describes_everything_that_is_served() {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    let list = grpcurl.ask(&["list"]).unwrap();
    for service in [
        "cofferdam.v1.IsolationService",
        "cofferdam.v1.PolicySyncService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ] {
        assert!(list.lines().any(|line| line == service), "no {service} in:\n{list}");
        grpcurl.ask(&["describe", service]).unwrap();
    }
    let methods = grpcurl.ask(&["list", "cofferdam.v1.IsolationService"]).unwrap();
    let contract = DescriptorPool::decode(cofferdam_proto::FILE_DESCRIPTOR_SET).unwrap();
    let service = contract.get_service_by_name("cofferdam.v1.IsolationService").unwrap();
    let mut declared: Vec<_> = service.methods().map(|method| method.full_name().to_owned()).collect();
    declared.sort_unstable();
    assert_eq!(methods.lines().collect::<Vec<_>>(), declared);
    let method = grpcurl.ask(&["describe", "cofferdam.v1.IsolationService.SetIsolationLevel"]).unwrap();
    assert!(method.contains("( .cofferdam.v1.SetIsolationLevelRequest )"), "{method}");
    let policy = grpcurl.ask(&["describe", "cofferdam.v1.IsolationPolicy"]).unwrap();
    assert!(policy.contains("Which sections are in force"), "comments come along:\n{policy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_answers_older_clients_too() {
    let manager = Manager::start(Store::Memory).await;
    let mut client = ServerReflectionClient::new(manager.channel());
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let questions = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("cofferdam.v1.IsolationService".into())),
    ];
    let mut answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap().into_inner();
    let list = answers.next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = list else { panic!("no list: {list:?}") };
    assert!(list.service.iter().any(|service| service.name == "cofferdam.v1.IsolationService"), "{list:?}");
    let file = answers.next().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::FileDescriptorResponse(file)) = file else { panic!("no file: {file:?}") };
    assert!(!file.file_descriptor_proto.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_can_be_checked() {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    let check = |service: &str| grpcurl.call("grpc.health.v1.Health/Check", &json!({"service": service}));
    assert_eq!(check("").unwrap()["status"], "SERVING");
    assert_eq!(check("payments").unwrap_err().code, "NotFound");
    grpcurl.isolation("RegisterService", &json!({"service": {"name": "payments"}})).unwrap();
    assert_eq!(check("payments").unwrap(), json!({}), "UNKNOWN: nobody has said anything");
    for (health, status) in [("HEALTH_STATUS_DEGRADED", "SERVING"), ("HEALTH_STATUS_UNHEALTHY", "NOT_SERVING")] {
        let report = json!({"service": "payments", "health": {"status": health}});
        grpcurl.isolation("UpdateServiceHealth", &report).unwrap();
        assert_eq!(check("payments").unwrap()["status"], status, "{health}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_shown_with_its_details() {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    grpcurl.isolation("RegisterService", &json!({"service": {"name": "payments"}})).unwrap();
    let update = json!({"service": "payments", "policy": {"retry": {"maxAttempts": 99}}});
    let error = grpcurl.isolation("UpdateIsolationPolicy", &update).unwrap_err();
    assert_eq!(error.code, "InvalidArgument", "{}", error.text);
    for shown in ["INVALID_FIELD", "cofferdam", "policy.retry.max_attempts"] {
        assert!(error.text.contains(shown), "no {shown} in:\n{}", error.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mask_changes_one_field_and_leaves_the_others() {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    let policy = json!({"retry": {"maxAttempts": 5, "initialBackoff": "0.250s"}});
    let register = json!({"service": {"name": "payments"}, "level": "ISOLATION_LEVEL_ENHANCED", "policy": policy});
    grpcurl.isolation("RegisterService", &register).unwrap();
    let update = json!({
        "service": "payments",
        "policy": {"retry": {"maxAttempts": 2}},
        "updateMask": {"paths": ["retry.max_attempts"]},
    });
    let updated = grpcurl.isolation("UpdateIsolationPolicy", &update).unwrap();
    let retry = &updated["service"]["policy"]["retry"];
    assert_eq!((&retry["maxAttempts"], &retry["initialBackoff"]), (&json!(2), &json!("0.250s")), "{updated}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_come_in_pages_in_order() {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    for name in ["b", "d", "a", "e", "c"] {
        grpcurl.isolation("RegisterService", &json!({"service": {"name": name}})).unwrap();
    }
    let mut names = Vec::new();
    let mut token = Value::from("");
    loop {
        let request = json!({"pageSize": 2, "pageToken": token});
        let page = grpcurl.isolation("ListIsolatedServices", &request).unwrap();
        let services = page["services"].as_array().unwrap();
        assert!(services.len() <= 2);
        names.extend(services.iter().map(|service| service["service"]["name"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
}

/// Whether a text is one JSON document after the other.
fn is_json(text: &str) -> bool {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().all(|document| document.is_ok())
}

/// Runs the `sh` blocks of each document that use grpcurl or curl, in order, against a fresh manager that knows `payments`
/// and `orders-db`: each must succeed as it is printed, with `localhost:7420` standing for the manager, and print JSON
/// where it calls a method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_docs_work_as_printed() {
    let documents = ["breaker", "dependencies", "grpc", "history", "metrics", "statistics", "sync"];
    let documents = documents.map(|name| format!("docs/{name}.md"));
    for document in std::iter::once("README.md".to_owned()).chain(documents) {
        let text = std::fs::read_to_string(workspace_root().join(&document)).unwrap();
        let snippets: Vec<_> =
            shell_snippets(&text).into_iter().filter(|snippet| snippet.commands.contains("curl ")).collect();
        assert!(!snippets.is_empty(), "{document} shows no command that asks a manager");
        let manager = Manager::embedded().await;
        let grpcurl = manager.grpcurl();
        for name in ["payments", "orders-db"] {
            let registered = json!({"service": {"name": name}, "level": "ISOLATION_LEVEL_ENHANCED"});
            grpcurl.isolation("RegisterService", &registered).unwrap();
        }
        for snippet in snippets {
            assert!(snippet.commands.contains("localhost:7420"), "{document}:{}: where to?", snippet.line);
            let output = grpcurl.paste(&snippet.commands);
            assert!(!output.stdout.is_empty(), "{document}:{}: prints nothing", snippet.line);
            let calls = snippet.commands.contains("Service/") || snippet.commands.contains("Health/");
            assert!(!calls || is_json(&output.stdout), "{document}:{}: no JSON:\n{}", snippet.line, output.stdout);
        }
    }
}
