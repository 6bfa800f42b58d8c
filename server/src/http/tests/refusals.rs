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
        "service.name: must be a text",
        "level: is no IsolationLevel; did you mean ISOLATION_LEVEL_FULL? It must be one of ISOLATION_LEVEL_NONE, \
         ISOLATION_LEVEL_BASIC, ISOLATION_LEVEL_ENHANCED, ISOLATION_LEVEL_FULL",
        "policy.retry.max_attempts: must be a whole number, 0 to 4294967295",
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

/// Before, they came back in the words of Rust, and more digits than are kept were cut off.
#[tokio::test]
async fn a_value_that_cannot_be_read_is_answered_with_what_it_must_be() {
    let manager = Manager::start().await;
    let whole = "must be a whole number, 0 to 4294967295";
    let duration = "must be a duration in seconds, as in \"1.5s\"";
    let digits = "must have at most nine digits behind the point";
    for (section, field, value, what) in [
        ("circuitBreaker", "consecutive_failures", json!(-1), whole),
        ("circuitBreaker", "consecutive_failures", json!(4_294_967_296_u64), whole),
        ("circuitBreaker", "consecutive_failures", json!(1e23), whole),
        ("circuitBreaker", "failure_rate", json!("half"), "must be a number"),
        ("circuitBreaker", "open_duration", json!("1ms"), duration),
        ("circuitBreaker", "open_duration", json!(1), duration),
        ("circuitBreaker", "open_duration", json!("1.0000000001s"), digits),
        ("circuitBreaker", "mode_until", json!("tomorrow"), "must be a time of RFC 3339"),
        ("circuitBreaker", "mode_until", json!("2026-01-01T00:00:00.0000000001Z"), digits),
        ("retry", "only_idempotent", json!("yes"), "must be true or false"),
    ] {
        let said = ask(&manager, "PATCH /v1/services/a", &[], json!({section: {field: value}})).await;
        let fault = said.json()["violations"][0]["description"].as_str().unwrap_or_default().to_owned();
        assert!(said.status == 400 && fault.starts_with(what), "{field}: {}", said.text);
    }
    for (query, what) in [
        ("/v1/stats?window=1ms", duration),
        ("/v1/stats?window=1.0000000001s", digits),
        ("/v1/stats?page_size=1e2", "must be a whole number"),
    ] {
        let fault = get(&manager, query).await.json()["violations"][0]["description"].as_str().unwrap().to_owned();
        assert!(fault.starts_with(what), "{query}: {fault}");
    }
    // Before, it was told of as _r_e_t_r_y.
    ask(&manager, "POST /v1/services", &[], json!({"service": {"name": "a"}})).await;
    for path in ["RETRY", "retry.maxATTEMPTS", "retry.max_Attempts"] {
        let said = ask(&manager, &format!("PATCH /v1/services/a?update_mask={path}"), &[], json!({})).await;
        assert!(said.status == 400 && said.text.contains(path), "{path}: {}", said.text);
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
        ("pageSize=ten", "pageSize: must be a whole number, -2147483648 to 2147483647"),
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
        (
            "/v1/services/a/convergence?revision.revision=x",
            "revision.revision: must be a whole number, 0 to 18446744073709551615",
        ),
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
    let many = (1..=17).map(|revision| format!("\"1-{revision}\"")).collect::<Vec<_>>().join(",");
    for (tag, what) in
        [("1-2", "must be *, or entity tags"), ("", "must be *"), ("*, \"1-2\"", "must be *"), (&many, "16")]
    {
        let said = ask(&manager, "PUT /v1/services/a/level", &[("if-match", tag)], &level).await;
        assert!(said.status == 400 && said.text.contains(what), "{tag}: {}", said.text);
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

/// Before, a list and every tag that is not of this manager's making were 400 (RFC 9110, section 13.1.1).
#[tokio::test]
async fn if_match_is_true_where_one_of_its_tags_is_the_present_one() {
    let manager = Manager::start().await;
    let made = ask(&manager, "POST /v1/services", &[], json!({"service": {"name": "a"}})).await;
    let first = made.header("etag").to_owned();
    let mut present = first.clone();
    let foreign = "\"33a64df5\"";
    for (tags, level) in [
        (format!("{foreign}, {present}"), "ISOLATION_LEVEL_FULL"),
        (format!("{first} ,, \"1-1\",W/\"x,y\""), ""),
        (format!("W/{first}"), ""),
        (foreign.to_owned(), ""),
        ("\"0-2\", \"7-07\"".to_owned(), ""),
    ] {
        let body = json!({"level": if level.is_empty() { "ISOLATION_LEVEL_BASIC" } else { level }});
        let said = ask(&manager, "PUT /v1/services/a/level", &[("if-match", &tags)], body).await;
        if level.is_empty() {
            assert_eq!((said.status, said.json()["reason"].clone()), (412, json!("REVISION_MISMATCH")), "{tags}");
            let (detail, metadata) = (said.json()["detail"].clone(), said.json()["metadata"].clone());
            assert!(detail.as_str().unwrap().contains(&present), "{detail}");
            assert_eq!(metadata.as_object().unwrap().len(), 2, "{metadata}");
        } else {
            assert_eq!(said.status, 200, "{tags}: {}", said.text);
            present = said.header("etag").to_owned();
        }
    }
    // An older one in front of the present one, or behind it, and a repetition of either.
    let key = [("if-match", format!("{first}, {present}")), ("idempotency-key", "one".to_owned())];
    let key: Vec<_> = key.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = json!({"level": "ISOLATION_LEVEL_ENHANCED"});
    let once = ask(&manager, "PUT /v1/services/a/level", &key, &body).await;
    let again = ask(&manager, "PUT /v1/services/a/level", &key, &body).await;
    assert_eq!((once.status, again.status), (200, 200), "{} {}", once.text, again.text);
    assert_eq!(once.header("etag"), again.header("etag"));
    let absent = json!({"service": {"name": "b"}});
    let said = ask(&manager, "POST /v1/services", &[("if-match", foreign)], absent).await;
    assert!(said.status == 412 && said.text.contains("not registered"), "{}", said.text);
}

/// Before, the guard against rebinding let pass what names no host (RFC 9112, section 3.2).
#[tokio::test]
async fn http_1_1_without_a_host_is_refused_at_every_path() {
    let manager = Manager::start().await;
    for path in ["/v1/services", "/livez", "/nothing"] {
        let request = |version| Request::get(path).version(version).body(Full::<Bytes>::default()).unwrap();
        let said = send(&manager, request(http::Version::HTTP_11)).await;
        assert_eq!((said.status, said.header("content-type")), (400, "application/problem+json"), "{path}");
        assert_ne!(send(&manager, request(http::Version::HTTP_10)).await.status, 400, "{path}");
        let said = ask(&manager, &format!("GET {path}"), &[("host", "user@localhost")], "").await;
        assert_eq!(said.status, 400, "{path}");
    }
}

#[tokio::test]
async fn a_type_that_is_not_taken_is_answered_with_those_that_are() {
    let manager = Manager::start().await;
    let merge = [("content-type", "application/merge-patch+json")];
    let said = ask(&manager, "PATCH /v1/services/a", &merge, "{}").await;
    assert_eq!((said.status, said.header("accept-patch"), said.header("accept")), (415, JSON, JSON));
    let said = ask(&manager, "POST /v1/services", &merge, "{}").await;
    assert_eq!((said.status, said.header("accept-patch"), said.header("accept")), (415, "", JSON));
    let said = ask(&manager, "POST /v1/services", &[("content-encoding", "br")], "{}").await;
    assert_eq!((said.status, said.header("accept-encoding")), (415, "identity"));
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
        ("GET /v1/services", &[("accept", "application/json;q=0.000, */*;q=0.1")], "", 406, "application/json"),
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
