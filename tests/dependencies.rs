//! GetDependencyGraph, as an operator asks it: with grpcurl.

use cofferdam_tests::{Grpcurl, Manager, Store};
use serde_json::{Value, json};

/// The module system of the users' documents (seed 001), with a cache that it can do without.
async fn modules() -> (Manager, Grpcurl) {
    let manager = Manager::start(Store::Memory).await;
    let grpcurl = manager.grpcurl();
    for (name, dependencies) in [
        ("connection-api", json!([])),
        (
            "user-management",
            json!([{"service": "connection-api"}, {"service": "cache", "kind": "DEPENDENCY_KIND_OPTIONAL"}]),
        ),
        ("wallet-module", json!([{"service": "user-management"}, {"service": "connection-api"}])),
        ("transactions-module", json!([{"service": "wallet-module"}, {"service": "user-management"}])),
    ] {
        let request = json!({"service": {"name": name, "dependencies": dependencies}});
        grpcurl.isolation("RegisterService", &request).unwrap();
    }
    (manager, grpcurl)
}

fn graph(grpcurl: &Grpcurl, request: &Value) -> Value {
    grpcurl.isolation("GetDependencyGraph", request).unwrap()
}

fn node<'a>(graph: &'a Value, name: &str) -> &'a Value {
    graph["nodes"].as_array().unwrap().iter().find(|node| node["service"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b2_b4_the_order_of_the_modules_and_what_one_takes_with_it() {
    let (_manager, grpcurl) = modules().await;
    let graph = graph(&grpcurl, &json!({"service": "connection-api"}));
    let mut order: Vec<_> = graph["nodes"].as_array().unwrap().iter().collect();
    order.sort_by_key(|node| node["layer"].as_u64());
    let order: Vec<_> = order.iter().map(|node| node["service"].as_str().unwrap()).collect();
    assert_eq!(order, ["connection-api", "user-management", "wallet-module", "transactions-module"]);
    assert!(graph.get("cycles").is_none(), "{graph}");
    let lost = ["transactions-module", "user-management", "wallet-module"];
    assert_eq!(graph["impact"], json!({"unhealthy": lost}));
    let cache = self::graph(&grpcurl, &json!({"service": "cache"}));
    assert_eq!(cache["impact"], json!({"degraded": lost}));
    assert!(node(&cache, "cache").get("registered").is_none(), "somebody needs it, nobody has registered it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b10_health_rolls_up_and_names_where_the_trouble_is() {
    let (_manager, grpcurl) = modules().await;
    let health = json!({"service": "connection-api", "health": {"status": "HEALTH_STATUS_UNHEALTHY", "message": "no connection"}});
    grpcurl.isolation("UpdateServiceHealth", &health).unwrap();
    let sick = graph(&grpcurl, &json!({}));
    let wallet = node(&sick, "wallet-module");
    assert_eq!(wallet["status"], "HEALTH_STATUS_UNHEALTHY");
    assert_eq!(wallet["cause"], json!(["connection-api"]), "the shortest way");
    assert!(wallet.get("ownStatus").is_none(), "nobody has said anything of it: {wallet}");
    assert_eq!(node(&sick, "transactions-module")["cause"], json!(["user-management", "connection-api"]));

    let healed = json!({"service": "connection-api", "health": {"status": "HEALTH_STATUS_HEALTHY"}});
    grpcurl.isolation("UpdateServiceHealth", &healed).unwrap();
    assert!(node(&graph(&grpcurl, &json!({})), "wallet-module").get("status").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b4_a_cycle_is_told_with_its_way() {
    let (_manager, grpcurl) = modules().await;
    let request = json!({"service": {"name": "connection-api", "dependencies": [{"service": "wallet-module"}]}});
    grpcurl.isolation("RegisterService", &request).unwrap();
    let graph = graph(&grpcurl, &json!({}));
    assert_eq!(graph["cycles"], json!([{"services": ["connection-api", "wallet-module"]}]));
    assert!(node(&graph, "transactions-module").get("layer").is_none(), "it is behind the cycle");
    assert_eq!(node(&graph, "cache")["layer"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_what_cannot_be_asked() {
    let (_manager, grpcurl) = modules().await;
    let mut names = Vec::new();
    let mut token = String::new();
    for expected in [2, 2, 1] {
        let page = graph(&grpcurl, &json!({"page_size": 2, "page_token": token}));
        let nodes = page["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), expected);
        names.extend(nodes.iter().map(|node| node["service"].as_str().unwrap().to_owned()));
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(token, "");
    assert_eq!(names, ["cache", "connection-api", "transactions-module", "user-management", "wallet-module"]);

    let refused = |request: Value| grpcurl.isolation("GetDependencyGraph", &request).unwrap_err();
    let unknown = refused(json!({"service": "wallet-modul"}));
    assert_eq!(unknown.code, "NotFound");
    assert!(unknown.text.contains("wallet-module"), "it names the nearest: {}", unknown.text);
    for (request, field) in [
        (json!({"namespace": "No Such"}), "namespace"),
        (json!({"service": "No Such"}), "service"),
        (json!({"page_size": -1}), "page_size"),
        (json!({"page_token": "No Such"}), "page_token"),
    ] {
        let error = refused(request);
        assert_eq!(error.code, "InvalidArgument");
        assert!(error.text.contains(field), "{field}: {}", error.text);
    }
}
