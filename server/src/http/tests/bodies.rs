use super::*;
use crate::http::transcode::LARGE_BYTES;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::future::poll_fn;
use std::sync::mpsc;
use std::task::Poll;

/// The one thread for such work is taken, so that whoever needs it can be seen to wait.
#[test]
fn a_large_body_is_read_where_it_holds_up_nobody() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let manager = Manager::start().await;
        let (release, taken) = mpsc::channel::<()>();
        let taker = tokio::task::spawn_blocking(move || taken.recv());
        let body = |name: &str| json!({"service": {"name": name}}).to_string();
        let large = format!("{}{}", body("large"), " ".repeat(LARGE_BYTES));
        let mut asked = Box::pin(ask(&manager, "POST /v1/services", &[], large));
        for _ in 0..100 {
            let is_pending = poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_pending())).await;
            assert!(is_pending, "it was read on a thread that serves others");
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&manager, "POST /v1/services", &[], body("small")).await.status, 201);
        drop(release);
        assert!(taker.await.unwrap().is_err());
        assert_eq!(asked.await.status, 201);
    });
}

#[tokio::test]
async fn c13_the_fallback_of_the_go_manager_is_a_body_as_it_is() {
    let manager = Manager::start().await;
    let own = json!({
        "enabled": true, "strategy": "static", "max_retries": 3, "retry_delay": 1_000_000_000, "timeout": 30_000_000_000_u64,
        "circuit_breaker": true, "fallback_data": {"default_response": "fallback data"},
    });
    // An alternative must be there.
    let backup = json!({"service": {"name": "backup-service"}});
    assert_eq!(ask(&manager, "POST /v1/services", &[], backup).await.status, 201);
    let registered = json!({"service": {"name": "test-service"}, "fallback": own});
    let said = ask(&manager, "POST /v1/services", &[], &registered).await;
    assert_eq!(said.status, 201, "{}", said.text);
    let line = "PUT /v1/services/test-service/fallback";
    let policy = |said: &Said| said.json()["service"]["policy"].clone();
    let said = ask(&manager, line, &[], &own).await;
    assert_eq!(said.status, 200, "{}", said.text);
    let step = json!({"static": {"payload": "eyJkZWZhdWx0X3Jlc3BvbnNlIjoiZmFsbGJhY2sgZGF0YSJ9", "contentType": "application/json"}});
    let now = policy(&said);
    assert_eq!((&now["fallback"]["chain"], &now["retry"]["maxAttempts"]), (&json!([step]), &json!(4)));
    assert_eq!((&now["retry"]["initialBackoff"], &now["timeout"]["callTimeout"]), (&json!("1s"), &json!("30s")));

    for (strategy, data, step) in [
        ("cached", Value::Null, json!("cached")),
        (
            "alternative",
            json!({"alternative_service": "backup-service", "alternative_method": "getData"}),
            json!({"service": "backup-service", "method": "getData"}),
        ),
        (
            "degraded",
            json!({"degraded_features": ["basic_functionality"]}),
            json!({"features": ["basic_functionality"]}),
        ),
    ] {
        let said = ask(&manager, line, &[], json!({"strategy": strategy, "fallback_data": data})).await;
        assert_eq!(said.status, 200, "{}", said.text);
        let chain = &policy(&said)["fallback"]["chain"];
        assert_eq!(chain.as_array().map(Vec::len), Some(1), "{chain}");
        let found = &chain[0][strategy];
        let as_said = step.as_object().is_none_or(|fields| fields.iter().all(|(name, value)| found[name] == *value));
        assert!(found.is_object() && as_said, "{chain}");
    }

    for (body, field, what) in [
        (json!({"strategy": "hope"}), "fallback.strategy", "must be one of static, cached, alternative, degraded"),
        (json!({"strategy": 1}), "fallback.strategy", "must be a text"),
        (json!({"strategy": "alternative"}), "fallback.strategy", "fallback_data.alternative_service"),
        (json!({"fallback_data": {"a": 1}}), "fallback.fallback_data", "there is none"),
        (json!({"strategy": "static", "fallback_data": "a"}), "fallback.fallback_data", "must be an object"),
        (json!({"strategy": "cached", "fallback_data": {"a": 1}}), "fallback.fallback_data.a", "means nothing"),
        (json!({"strategy": "cached", "chain": []}), "fallback.strategy", "together with chain"),
        (json!({"strategy": "cached", "retry_delay": -1}), "fallback.retry_delay", "or whole nanoseconds"),
        (json!({"strategy": "cached", "timeout": 0.5}), "fallback.timeout", "or whole nanoseconds"),
    ] {
        let said = ask(&manager, line, &[], &body).await;
        let fault = said.json()["violations"][0].clone();
        assert_eq!((said.status, fault["field"].as_str()), (400, Some(field)), "{body}: {}", said.text);
        assert!(fault["description"].as_str().unwrap().contains(what), "{body}: {fault}");
    }
    let twice = r#"{"strategy": "cached", "strategy": "static"}"#;
    assert!(ask(&manager, line, &[], twice).await.text.contains("is there twice"));
}

/// Before, numbers of more than 64 bits or with zeros at the end became others, fields were sorted, and of two with one name
/// one was gone.
#[tokio::test]
async fn a_static_answer_of_the_go_manager_is_what_was_written() {
    let manager = Manager::start().await;
    let data = r#"{ "id": 18446744073709551616, "z": 1.10, "b": [ {"a": 1e2} ], "a": "x \" { \\" , "\u0061 ": null }"#;
    let kept = r#"{"id":18446744073709551616,"z":1.10,"b":[{"a":1e2}],"a":"x \" { \\","\u0061 ":null}"#;
    let fallback = format!(r#"{{"strategy": "static", "timeout": 3e10, "fallback_data": {data}}}"#);
    let registered = format!(r#"{{"service": {{"name": "a"}}, "fallback": {fallback}}}"#);
    for (line, body) in [("POST /v1/services", registered), ("PUT /v1/services/a/fallback", fallback)] {
        let said = ask(&manager, line, &[], body).await;
        let policy = &said.json()["service"]["policy"];
        let payload = policy["fallback"]["chain"][0]["static"]["payload"].as_str().unwrap();
        assert_eq!(String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap(), kept);
        assert_eq!(policy["timeout"]["callTimeout"], "30s");
    }
    for (data, field) in [
        (r#"{"a": 1, "a": 2}"#, "a"),
        (r#"{"a": {"b": [0, [{"c": 1, "\u0063": 2}]]}}"#, "a.b[1][0].c"),
        (r#"{"a": {"b": 1, "b": 1}, "c": 1}"#, "a.b"),
    ] {
        let body = format!(r#"{{"strategy": "static", "fallback_data": {data}}}"#);
        let said = ask(&manager, "PUT /v1/services/a/fallback", &[], body).await;
        let fault = json!([{"field": format!("fallback.fallback_data.{field}"), "description": "is there twice"}]);
        assert_eq!((said.status, &said.json()["violations"]), (400, &fault));
    }
}
