//! Requests of HTTP at a manager without a socket in between.

use super::*;
use crate::testing::{Manager, registration};
use serde_json::{Value, json};

mod anything;
mod bodies;
mod refusals;
mod streams;

/// What every request of HTTP/1.1 says, unless it says another one.
pub(super) const HOST: (&str, &str) = ("host", "localhost");

/// What came back.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Said {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Asks, with the headers that are given, and a `Content-Type` where there is a body.
pub(super) async fn ask(manager: &Manager, line: &str, headers: &[(&str, &str)], body: impl ToString) -> Said {
    let (method, path) = line.split_once(' ').unwrap();
    let body = body.to_string();
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, JSON);
    }
    for (name, value) in [HOST].iter().chain(headers) {
        request.headers_mut().unwrap().insert(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    send(manager, request.body(Full::new(Bytes::from(body))).unwrap()).await
}

pub(super) async fn send(manager: &Manager, request: Request<Full<Bytes>>) -> Said {
    let (head, body) = manager.http.answer(request).await.into_parts();
    let text = body.collect().await.unwrap().to_bytes();
    Said { status: head.status.as_u16(), headers: head.headers, text: String::from_utf8(text.to_vec()).unwrap() }
}

pub(super) async fn get(manager: &Manager, path: &str) -> Said {
    ask(manager, &format!("GET {path}"), &[], "").await
}

#[tokio::test]
async fn a_service_is_registered_read_changed_and_forgotten() {
    let manager = Manager::start().await;
    let said = ask(&manager, "POST /v1/services", &[], json!({"service": {"name": "payments"}})).await;
    assert_eq!((said.status, said.header("content-type"), said.header("cache-control")), (201, JSON, "no-store"));
    assert_eq!(said.json()["service"]["service"]["name"], "payments");
    let first = said.header("etag").to_owned();

    let read = get(&manager, "/v1/services/payments").await;
    assert_eq!((read.status, read.header("etag")), (200, first.as_str()));
    assert_eq!(read.json()["service"]["policy"]["level"], "ISOLATION_LEVEL_BASIC");

    let line = "PUT /v1/services/payments/level?namespace=default";
    let full = json!({"level": "ISOLATION_LEVEL_FULL"});
    let changed = ask(&manager, line, &[("if-match", &first)], &full).await;
    assert_eq!((changed.status, &changed.json()["service"]["policy"]["level"]), (200, &full["level"]));
    assert_ne!(changed.header("etag"), first);
    let refused = ask(&manager, line, &[("if-match", &first)], json!({"level": "ISOLATION_LEVEL_NONE"})).await;
    assert_eq!((refused.status, &refused.json()["reason"]), (412, &json!("REVISION_MISMATCH")));
    let present = refused.json()["metadata"].clone();
    let part = |name: &str| present[name].as_str().unwrap().to_owned();
    let current = format!("\"{}-{}\"", part("current_epoch"), part("current_revision"));
    assert_eq!(current, changed.header("etag"));

    let gone = ask(&manager, "DELETE /v1/services/payments", &[("if-match", &current)], "").await;
    assert_eq!((gone.status, gone.header("etag")), (200, ""), "what is gone has no tag");
    assert!(gone.json()["revision"]["revision"].is_string());
    assert_eq!(get(&manager, "/v1/services/payments").await.status, 404);
}

#[tokio::test]
async fn a_body_is_the_part_that_the_contract_says() {
    let manager = Manager::start().await;
    manager.client().await.register_service(registration("payments")).await.unwrap();
    let policy = json!({"retry": {"maxAttempts": 4}, "timeout": {"call_timeout": "2.5s"}});
    let line = "PATCH /v1/services/payments?update_mask=retry.max_attempts,timeout.callTimeout";
    let said = ask(&manager, line, &[], policy).await.json();
    assert_eq!(said["service"]["writtenPolicy"]["retry"], json!({"maxAttempts": 4}));
    assert_eq!(said["service"]["policy"]["timeout"]["callTimeout"], "2.500s");

    // The seeds' own words, as a body.
    let seed =
        json!({"enabled": true, "max_retries": 3, "retry_delay": "1s", "timeout": "30s", "circuit_breaker": true});
    let said = ask(&manager, "PUT /v1/services/payments/fallback", &[], seed).await;
    assert_eq!((said.status, &said.json()["service"]["policy"]["retry"]["maxAttempts"]), (200, &json!(4)));

    let health = json!({"status": "HEALTH_STATUS_DEGRADED", "message": "High latency detected"});
    let said = ask(&manager, "PUT /v1/services/payments/health", &[], health).await.json();
    assert_eq!(said["health"]["message"], "High latency detected");
}

#[tokio::test]
async fn lists_and_figures_are_asked_for_in_the_query() {
    let manager = Manager::start().await;
    for name in ["a", "b", "c"] {
        manager.client().await.register_service(registration(name)).await.unwrap();
    }
    let first = get(&manager, "/v1/services?pageSize=2").await.json();
    let names = |page: &Value| page["services"].as_array().map_or(0, Vec::len);
    assert_eq!(names(&first), 2);
    let token = first["nextPageToken"].as_str().unwrap();
    assert_eq!(names(&get(&manager, &format!("/v1/services?page_size=2&page_token={token}")).await.json()), 1);
    let stats = get(&manager, "/v1/stats?include_services=true&window=60s").await.json();
    assert_eq!((&stats["totals"]["total_services"], names(&stats)), (&json!(3), 3));
    assert_eq!(names(&get(&manager, "/v1/services/b/stats").await.json()), 1);
    let convergence = get(&manager, "/v1/services/a/convergence").await.json();
    assert_eq!(convergence["convergence"]["services"][0]["service"], "a");
    let waited = get(&manager, "/v1/services/a/convergence:wait?timeout=0.001s&percent=50").await;
    assert_eq!((waited.status, waited.json()["reached"].is_null()), (200, true), "false is left out");
}

#[tokio::test]
async fn a_repeated_request_with_its_key_changes_nothing() {
    let manager = Manager::start().await;
    let key = [("idempotency-key", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"")];
    let ask = async || ask(&manager, "POST /v1/services", &key, json!({"service": {"name": "payments"}})).await;
    let (first, again) = (ask().await, ask().await);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((first.header("etag"), first.json()), (again.header("etag"), again.json()));
}

#[tokio::test]
async fn who_asks_for_the_head_gets_no_body_and_its_length() {
    let manager = Manager::start().await;
    let (whole, head) = (get(&manager, "/version").await, ask(&manager, "HEAD /version", &[], "").await);
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), whole.text.len().to_string());
    let options = ask(&manager, "OPTIONS /v1/services/a", &[], "").await;
    assert_eq!((options.status, options.header("allow")), (204, "DELETE, PATCH, GET, HEAD, OPTIONS"));
    assert_eq!(options.header("accept-patch"), JSON);
    let options = ask(&manager, "OPTIONS /v1/services", &[], "").await;
    assert_eq!((options.header("allow"), options.header("accept-patch")), ("POST, GET, HEAD, OPTIONS", ""));
}

/// Before, they came in another order each time.
#[tokio::test]
async fn maps_are_in_the_order_of_their_keys() {
    let manager = Manager::start().await;
    let labels = r#"{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6","g":"7","h":"8"}"#;
    let body = format!(r#"{{"service":{{"name":"payments","labels":{labels}}}}}"#);
    let said = ask(&manager, "POST /v1/services", &[], body).await;
    let read = get(&manager, "/v1/services/payments").await;
    let listed = get(&manager, "/v1/services").await;
    for text in [said.text, read.text, listed.text] {
        assert!(text.contains(&format!(r#""labels":{labels}"#)), "{text}");
    }
}

/// Masks are said in the contract's names or in those of JSON.
#[tokio::test]
async fn a_list_has_the_fields_that_its_query_names() {
    let manager = Manager::start().await;
    ask(&manager, "POST /v1/services", &[], json!({"service": {"name": "payments"}})).await;
    let expected = json!([{"service": {"name": "payments"}, "policy": {"level": "ISOLATION_LEVEL_BASIC"}}]);
    for mask in ["read_mask=service.name,policy.level", "readMask=service.name,policy.level"] {
        assert_eq!(get(&manager, &format!("/v1/services?{mask}")).await.json()["services"], expected);
    }
    let list = get(&manager, "/v1/services?readMask=writtenPolicy").await.json();
    assert_eq!(list["services"][0].as_object().unwrap().keys().collect::<Vec<_>>(), ["writtenPolicy"]);
    let refused = get(&manager, "/v1/services?readMask=policy.lvel").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("did you mean policy.level?"), "{}", refused.text);
}
