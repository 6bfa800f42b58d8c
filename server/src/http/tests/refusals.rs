//! What is not done, and what is said of it.

use super::*;

fn fields(said: &Said) -> Vec<String> {
    let violations = said.json()["violations"].as_array().cloned().unwrap_or_default();
    violations.iter().map(|one| format!("{}: {}", one["field"], one["description"]).replace('"', "")).collect()
}

#[tokio::test]
async fn a_refusal_of_the_service_keeps_all_that_its_status_says() {
    let manager = Manager::start().await;
    manager.client().await.register_service(registration("payments")).await.unwrap();
    let said = get(&manager, "/v1/services/paymens").await;
    let expected = json!({
        "type": "about:blank", "title": "Not Found", "status": 404, "code": "NOT_FOUND", "reason": "SERVICE_NOT_FOUND",
        "detail": "service default/paymens is not registered; did you mean payments?",
        "metadata": {"namespace": "default", "service": "paymens", "nearest": "payments"},
    });
    assert_eq!((said.status, said.header("content-type")), (404, "application/problem+json"));
    assert_eq!(said.json(), expected);
    let said = ask(&manager, "PUT /v1/services/payments/level", &[], json!({})).await;
    assert_eq!((said.status, said.json()["code"].clone()), (400, json!("INVALID_ARGUMENT")));
    assert_eq!(said.json()["violations"][0]["field"], "level");
    // Without If-Match, a revision that is another one is a conflict.
    let stale = json!({"level": "ISOLATION_LEVEL_FULL", "expectedRevision": {"revision": "99"}});
    assert_eq!(ask(&manager, "PUT /v1/services/payments/level", &[], stale).await.status, 409);
    // A service is made only where there is none.
    let made_once = [("if-none-match", "*")];
    for (name, status) in [("payments", 412), ("new", 201), ("new", 412)] {
        let said = ask(&manager, "POST /v1/services", &made_once, json!({"service": {"name": name}})).await;
        assert_eq!(said.status, status, "{name}: {}", said.json());
    }
    let other = [("if-none-match", "\"1-2\"")];
    let said = ask(&manager, "POST /v1/services", &other, json!({"service": {"name": "other"}})).await;
    assert_eq!((said.status, said.json()["violations"][0]["field"].clone()), (400, json!("If-None-Match")));
    manager.store.set_away(true);
    let full = json!({"level": "ISOLATION_LEVEL_FULL"});
    let said = ask(&manager, "PUT /v1/services/payments/level", &[], full).await;
    assert_eq!((said.status, said.json()["reason"].clone()), (503, json!("STORE_UNAVAILABLE")));
}

#[tokio::test]
async fn each_fault_of_a_body_is_named_by_its_path() {
    let manager = Manager::start().await;
    let body = r#"{"service": {"name": "a", "lables": {}, "endpoints": [{"adress": "x"}], "name": "b"}, "polcy": 1}"#;
    let said = ask(&manager, "POST /v1/services", &[], body).await;
    assert_eq!(said.status, 400);
    let expected = [
        "service.lables: is no field of Service; did you mean labels?",
        "service.endpoints[0].adress: is no field of Endpoint; did you mean address?",
        "service.name: is there twice",
        "polcy: is no field of RegisterServiceRequest; did you mean policy?",
    ];
    assert_eq!(fields(&said), expected);
    let body = json!({
        "service": {"name": 7, "labels": {"a": null}, "endpoints": [null], "dependencies": {}},
        "level": "FULL", "policy": {"retry": {"maxAttempts": -1}}, "fallback": {"timeout": "soon"},
    });
    let faults = fields(&ask(&manager, "POST /v1/services", &[], body).await).join("\n");
    for path in [
        "service.labels[\\a\\]: must not be null",
        "service.endpoints[0]: must not be null",
        "service.dependencies: must be a list",
    ] {
        assert!(faults.contains(path), "{path}: {faults}");
    }
    let body = json!({"service": {"name": 7}, "level": "FULL", "policy": {"retry": {"maxAttempts": -1}}});
    let faults = fields(&ask(&manager, "POST /v1/services", &[], body).await).join("\n");
    for path in [
        "service.name: cannot be read",
        "level: is no IsolationLevel; did you mean ISOLATION_LEVEL_FULL? It must be one of ISOLATION_LEVEL_NONE, \
         ISOLATION_LEVEL_BASIC, ISOLATION_LEVEL_ENHANCED, ISOLATION_LEVEL_FULL",
        "policy.retry.max_attempts: cannot be read",
    ] {
        assert!(faults.contains(path), "{path}: {faults}");
    }
    for (body, what) in [("{", "the body is no JSON"), ("[]", "must be an object"), ("{} {}", "the body is no JSON")] {
        let said = ask(&manager, "POST /v1/services", &[], body).await;
        assert!(said.status == 400 && said.text.contains(what), "{}", said.text);
    }
    for (step, fault) in [
        (json!({"static": {}, "cached": {}}), "static: is one of two that exclude each other: cached is there as well"),
        (json!({"static": {}, "cached": null}), ""),
    ] {
        let body = json!({"service": {"name": "a"}, "fallback": {"chain": [{"cached": {}}, step]}});
        let said = ask(&manager, "POST /v1/services", &[], body).await;
        let (status, expected) = match fault {
            "" => (201, Vec::new()),
            fault => (400, vec![format!("fallback.chain[1].{fault}")]),
        };
        assert_eq!((said.status, fields(&said)), (status, expected), "{}", said.text);
    }
}

/// Before, they came back in the words of the library that reads JSON.
#[tokio::test]
async fn a_value_of_an_enum_that_there_is_none_of_is_answered_with_those_that_there_are() {
    let manager = Manager::start().await;
    for (level, nearest) in [
        (json!("full"), "; did you mean ISOLATION_LEVEL_FULL? It must"),
        (json!("ISOLATION_LEVEL_FUL"), "; did you mean ISOLATION_LEVEL_FULL? It must"),
        (json!("Enhancd"), "; did you mean ISOLATION_LEVEL_ENHANCED? It must"),
        (json!("zzz"), "; it must"),
        (json!(true), "; it must"),
        (json!([]), "; it must"),
    ] {
        let said = ask(&manager, "PUT /v1/services/a/level", &[], json!({"level": level})).await;
        let fault =
            format!("level: is no IsolationLevel{nearest} be one of ISOLATION_LEVEL_NONE, ISOLATION_LEVEL_BASIC");
        assert!(said.status == 400 && fields(&said)[0].starts_with(&fault), "{level}: {}", said.text);
    }
    let kinds = get(&manager, "/v1/events:list?kinds=brekaer").await;
    let fault = "kinds: is no EventKind; did you mean EVENT_KIND_BREAKER? It must be one of EVENT_KIND_";
    assert!(kinds.status == 400 && fields(&kinds)[0].starts_with(fault), "{}", kinds.text);
}

#[tokio::test]
async fn each_fault_of_a_query_is_named() {
    let manager = Manager::start().await;
    for (query, what) in [
        ("page_sise=1", "page_sise: is no field of ListIsolatedServicesRequest; did you mean pageSize?"),
        ("pageSize=ten", "pageSize: cannot be read"),
        ("pageSize=1&page_size=2", "page_size: is there twice"),
        ("pageSize.x=1", "pageSize.x: is wrong from pageSize on"),
        ("=1", "is no field of"),
        ("namespace=%ff", "is wrong"),
    ] {
        let said = get(&manager, &format!("/v1/services?{query}")).await;
        let faults = fields(&said).join("\n");
        // Bytes that are no text are told by who checks names.
        let is_told = faults.contains(what) || query.contains("%ff");
        assert!(said.status == 400 && is_told, "{query}: {}", said.text);
    }
    for (path, what) in [
        ("/v1/services/a/convergence?revision=1", "has fields: say which, as in revision.epoch"),
        ("/v1/services/a/convergence?revision.revision=x", "revision.revision: cannot be read"),
        ("/v1/services/a/stats?service=b", "service: is there twice, and not the same"),
        ("/v1/convergence:wait?count=1&percent=2", "percent: is one of two that exclude each other"),
        ("/v1/stats?include_services=yes", "include_services: must be true or false"),
        ("/readyz?verbos", "verbos: is no parameter here; did you mean verbose?"),
        ("/version?x=1", "x: is no parameter here"),
    ] {
        let said = get(&manager, path).await;
        assert!(said.status == 400 && fields(&said).join("\n").contains(what), "{path}: {}", said.text);
    }
    let said = ask(&manager, "PATCH /v1/services/a?policy.level=1", &[], json!({})).await;
    assert_eq!(fields(&said), ["policy.level: is what the body is"]);
}

#[tokio::test]
async fn what_is_no_text_is_no_name_for_another() {
    let manager = Manager::start().await;
    for query in ["reason=caf%E9", "request_id=%ff", "a%ff=1"] {
        let said = ask(&manager, &format!("DELETE /v1/services/payments?{query}"), &[], Value::Null).await;
        assert_eq!((said.status, said.json()["detail"].as_str().unwrap().contains("UTF-8")), (400, true), "{query}");
    }
    assert_eq!(get(&manager, "/health/modules?namespace=%ff").await.status, 400);
    assert_eq!(get(&manager, "/health/modules?namespace=a&namespace=b").await.status, 400);
}

#[tokio::test]
async fn conditions_that_cannot_hold_are_refused() {
    let manager = Manager::start().await;
    manager.client().await.register_service(registration("a")).await.unwrap();
    let level = json!({"level": "ISOLATION_LEVEL_FULL"});
    for tag in ["W/\"1-2\"", "\"1-2\", \"3-4\"", "1-2", "\"1\"", "\"1-99999999999999999999\"", ""] {
        let said = ask(&manager, "PUT /v1/services/a/level", &[("if-match", tag)], &level).await;
        assert!(said.status == 400 && said.text.contains("one entity tag"), "{tag}: {}", said.text);
    }
    let said = ask(&manager, "GET /v1/services/a", &[("if-match", "\"1-2\"")], "").await;
    assert!(said.status == 400 && said.text.contains("for writes"), "{}", said.text);
    let said = ask(&manager, "GET /v1/services/a", &[("idempotency-key", "x")], "").await;
    assert!(said.status == 400 && said.text.contains("for writes"), "{}", said.text);
    let twice = json!({"level": "ISOLATION_LEVEL_FULL", "expectedRevision": {"revision": "1"}, "requestId": "x"});
    let headers = [("if-match", "\"1-2\""), ("idempotency-key", "x")];
    let said = ask(&manager, "PUT /v1/services/a/level", &headers, twice).await;
    assert_eq!(fields(&said).len(), 2, "{}", said.text);
}

#[tokio::test]
async fn who_makes_a_write_is_told_to_the_service() {
    let manager = Manager::start().await;
    let actor = "x".repeat(129);
    let name = json!({"service": {"name": "a"}});
    let said = ask(&manager, "POST /v1/services", &[("cofferdam-actor", &actor)], &name).await;
    assert!(said.status == 400 && said.text.contains("cofferdam-actor"), "it is read, and too long: {}", said.text);
    let said = ask(&manager, "POST /v1/services", &[("cofferdam-actor", "alice")], &name).await;
    assert_eq!(said.status, 201, "{}", said.text);
}

#[tokio::test]
async fn what_only_http_can_get_wrong() {
    let manager = Manager::start().await;
    let name = json!({"service": {"name": "a"}}).to_string();
    for (line, headers, body, status, what) in [
        ("GET /v1/service", &[][..], "", 404, "did you mean /v1/services?"),
        ("GET /v1/services/", &[], "", 404, "nothing at this path"),
        ("GET /v1/services/a:b", &[], "", 404, "nothing at this path"),
        ("GET /v1/services/%ff", &[], "", 400, "UTF-8"),
        ("POST /v1/stats", &[], "", 405, "GET, HEAD, OPTIONS"),
        ("TRACE /v1/stats", &[], "", 405, "GET, HEAD, OPTIONS"),
        ("POST /v1/services", &[("content-type", "text/plain")], &name, 415, "application/json"),
        ("POST /v1/services", &[("content-type", "application/json; charset=latin1")], &name, 415, "application/json"),
        ("POST /v1/services", &[("content-encoding", "gzip")], &name, 415, "Content-Encoding"),
        ("POST /v1/services", &[("content-type", "application/x-www-form-urlencoded")], "", 415, "application/json"),
        ("POST /v1/services", &[("content-type", "application/json")], "", 400, "the body is empty"),
        ("DELETE /v1/services/a", &[], "{}", 400, "takes no body"),
        ("GET /v1/services", &[("accept", "text/html")], "", 406, "application/json"),
        ("GET /v1/services", &[("accept", "application/json;q=0")], "", 406, "application/json"),
        ("POST /cofferdam.v1.IsolationService/Any", &[("content-type", "application/grpc+proto")], "", 505, "HTTP/2"),
    ] {
        let said = ask(&manager, line, headers, body).await;
        assert!(said.status == status && said.text.contains(what), "{line}: {} {}", said.status, said.text);
        assert_eq!(said.header("content-type"), "application/problem+json");
        assert_eq!(said.json()["status"], status);
    }
    assert_eq!(ask(&manager, "POST /v1/stats", &[], "").await.header("allow"), "GET, HEAD, OPTIONS");
    let accepts = [("accept", "text/html, application/*;q=0.5")];
    assert_eq!(ask(&manager, "GET /v1/services", &accepts, "").await.status, 200);
    let long = format!("{{\"requestId\": \"{}\"}}", "x".repeat(MAX_BODY_BYTES));
    assert_eq!(ask(&manager, "POST /v1/services", &[], long).await.status, 413);
    // Above what the service takes, and below what a body may have.
    let step = json!({"static": {"payload": "A".repeat(MAX_BODY_BYTES - 1024)}});
    let said = ask(&manager, "PUT /v1/services/a/fallback", &[], json!({"chain": [step]})).await;
    assert_eq!((said.status, said.json()["reason"].clone()), (413, json!("PAYLOAD_TOO_LARGE")));
}

#[tokio::test]
async fn web_pages_of_elsewhere_are_kept_out() {
    let manager = Manager::start().await;
    let name = json!({"service": {"name": "a"}});
    for headers in [&[("origin", "https://evil.example")][..], &[("origin", "null")], &[("host", "evil.example:7420")]]
    {
        let said = ask(&manager, "POST /v1/services", headers, &name).await;
        assert_eq!(said.status, 403, "{}", said.text);
    }
    assert_eq!(ask(&manager, "GET /v1/services", &[("host", "evil.example")], "").await.status, 403);
    assert_eq!(ask(&manager, "GET /livez", &[("host", "10.0.0.7:7420")], "").await.status, 200, "a probe");
    let own = [("host", "localhost:7420"), ("origin", "http://localhost:7420")];
    assert_eq!(ask(&manager, "POST /v1/services", &own, &name).await.status, 201);
}
