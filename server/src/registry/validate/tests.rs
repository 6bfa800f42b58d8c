use super::*;

fn good() -> v1::Service {
    v1::Service {
        name: "test-service".to_owned(),
        version: "1.0.0".to_owned(),
        endpoints: vec![v1::Endpoint { address: "127.0.0.1:50051".to_owned() }],
        dependencies: vec![v1::Dependency { service: "orders-db".to_owned(), kind: 0 }],
        labels: [("team".to_owned(), "checkout".to_owned())].into(),
        ..v1::Service::default()
    }
}

fn paths(change: impl FnOnce(&mut v1::Service)) -> Vec<String> {
    let mut changed = good();
    change(&mut changed);
    service(&changed, "service").1.into_iter().map(|violation| violation.path).collect()
}

#[test]
fn a_good_service_has_a_key_and_no_faults() {
    let (key, violations) = service(&good(), "service");
    assert_eq!(key.unwrap().to_string(), "default/test-service");
    assert_eq!(violations, []);
}

#[test]
fn each_fault_is_named_by_its_path() {
    assert_eq!(paths(|s| s.name.clear()), ["service.name"]);
    assert_eq!(paths(|s| s.namespace = "No".to_owned()), ["service.namespace"]);
    assert_eq!(paths(|s| s.version = "v".repeat(65)), ["service.version"]);
    assert_eq!(paths(|s| s.description = "a\nb".to_owned()), ["service.description"]);
    assert_eq!(paths(|s| s.labels = [(String::new(), String::new())].into()), ["service.labels"]);
    assert_eq!(paths(|s| s.labels = [("a".to_owned(), "v".repeat(65))].into()), ["service.labels[\"a\"]"]);
    assert_eq!(paths(|s| s.labels = (0..17).map(|i| (i.to_string(), String::new())).collect()), ["service.labels"]);
    assert_eq!(paths(|s| s.dependencies[0].kind = 7), ["service.dependencies[0].kind"]);
    assert_eq!(paths(|s| s.dependencies[0].service = "test-service".to_owned()), ["service.dependencies[0].service"]);
    let twice = |s: &mut v1::Service| s.dependencies.push(s.dependencies[0].clone());
    assert_eq!(paths(twice), ["service.dependencies[1].service"]);
    assert_eq!(paths(|s| s.endpoints = vec![v1::Endpoint::default(); 17]).first().unwrap(), "service.endpoints");
}

#[test]
fn all_faults_are_named_at_once() {
    let all = paths(|s| {
        s.name = "a b".to_owned();
        s.version = "v".repeat(65);
        s.endpoints[0].address = "localhost".to_owned();
    });
    assert_eq!(all, ["service.name", "service.version", "service.endpoints[0].address"]);
}

#[test]
fn addresses_are_host_and_port() {
    for address in ["127.0.0.1:1", "localhost:50051", "[::1]:65535", "pay_ments.svc-1:80"] {
        assert!(is_address(address), "{address}");
    }
    for address in
        ["", "localhost", ":80", "a:0", "a:65536", "a:+1", "a:01", "::1:80", "[x]:1", "http://a:80", "a:80/x", "a b:1"]
    {
        assert!(!is_address(address), "{address}");
    }
}

#[test]
fn health_must_be_one_that_can_be_reported() {
    let report = |status: i32| v1::ServiceHealth { status, ..v1::ServiceHealth::default() };
    for status in [1, 2, 3] {
        assert_eq!(health(&report(status), "health"), []);
    }
    for status in [0, 4, 5, -1] {
        assert_eq!(health(&report(status), "health")[0].path, "health.status");
    }
    let wrong_time = prost_types::Timestamp { seconds: 0, nanos: -1 };
    let broken = v1::ServiceHealth { observe_time: Some(wrong_time), ..report(1) };
    assert_eq!(health(&broken, "health")[0].path, "health.observe_time");
}
