//! No request is too odd for an answer.

use super::*;
use proptest::prelude::*;

const WRITES: &[&str] =
    &["POST /v1/services", "PATCH /v1/services/a", "PUT /v1/services/a/fallback", "PUT /v1/services/a/level"];

const METHODS: &[&str] = &["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "NONE"];

/// Names that mean something somewhere, and others.
fn name() -> impl Strategy<Value = String> {
    let known = ["service", "name", "policy", "level", "fallback", "chain", "static", "payload", "labels", "retry"];
    let known =
        known.into_iter().chain(["maxAttempts", "timeout", "callTimeout", "expectedRevision", "endpoints", "on"]);
    prop_oneof![3 => prop::sample::select(known.collect::<Vec<_>>()).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.]{0,6}s?".prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!("ISOLATION_LEVEL_FULL")),
    ];
    leaf.prop_recursive(5, 24, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            4 => prop::collection::hash_map(name(), inner, 0..5).prop_map(|object| object.into_iter().collect()),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        Just("v1".to_owned()),
        Just("services".to_owned()),
        Just("convergence:wait".to_owned()),
        Just("a".to_owned()),
        "[a-zA-Z0-9%:*.~_-]{0,6}",
    ];
    let query = prop::option::of("[a-zA-Z0-9_.=&%+]{0,24}");
    (prop::collection::vec(segment, 0..5), query).prop_map(|(segments, query)| {
        format!("/{}{}", segments.join("/"), query.map(|query| format!("?{query}")).unwrap_or_default())
    })
}

/// That it is an answer: JSON that says what is wrong, or none of it.
fn is_answer(said: &Said) {
    assert!(said.status < 500 || said.status == 501 || said.status == 503, "{} {}", said.status, said.text);
    if said.status >= 400 {
        assert_eq!(said.json()["status"], said.status);
        assert!(!said.json()["detail"].as_str().unwrap().is_empty());
    }
}

#[test]
fn any_json_at_any_path_has_an_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let manager = runtime.block_on(Manager::start());
    proptest!(ProptestConfig::with_cases(256), |(line in prop::sample::select(WRITES), body in any_json())| {
        runtime.block_on(async { is_answer(&ask(&manager, line, &[], body).await) });
    });
    proptest!(ProptestConfig::with_cases(256), |(method in prop::sample::select(METHODS), path in path(), body in "[{}\\[\\]\",:a0 ]{0,12}")| {
        if let Ok(uri) = path.parse::<http::Uri>() {
            let request = Request::builder().method(method).uri(uri).header("content-type", JSON).header(HOST.0, HOST.1);
            let request = request.body(Full::new(Bytes::from(body))).unwrap();
            runtime.block_on(async {
                let said = send(&manager, request).await;
                if method != "HEAD" {
                    is_answer(&said);
                }
            });
        }
    });
}
