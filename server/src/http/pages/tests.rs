use super::super::tests::{Said, ask, get};
use crate::testing::{Manager, eventually, registration};

#[tokio::test]
async fn a_store_that_is_away_makes_nobody_unready() {
    let manager = Manager::start().await;
    manager.client().await.register_service(registration("payments")).await.unwrap();
    let ready = get(&manager, "/readyz?verbose").await;
    assert_eq!((ready.status, ready.text.as_str()), (200, "[+] loaded: 1 services\n[+] store: in reach\nok\n"));
    manager.store.set_away(true);
    eventually(&manager.registry, || manager.registry.stale_for().is_some()).await;
    let ready = get(&manager, "/readyz?verbose=1").await;
    assert!(ready.status == 200 && ready.text.contains("[!] store: away for"), "{}", ready.text);
    assert_eq!(get(&manager, "/readyz").await.text, "ok\n");
    // A probe with a parameter must not have a manager restarted that works.
    for path in ["/livez", "/startupz", "/livez?verbose", "/startupz?x=1"] {
        assert_eq!(get(&manager, path).await.text, "ok\n");
    }
}

#[tokio::test]
async fn a_manager_that_stops_is_alive_and_not_ready() {
    let manager = Manager::start().await;
    manager.drain();
    let ready = get(&manager, "/readyz?verbose").await;
    assert!(ready.status == 503 && ready.text.starts_with("[-] stopping"), "{}", ready.text);
    assert!(ready.text.ends_with("not ready\n"));
    assert_eq!(get(&manager, "/livez").await.status, 200);
}

#[tokio::test]
async fn the_version_is_that_of_the_program() {
    let manager = Manager::start().await;
    let version = get(&manager, "/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["contract"], "cofferdam.v1");
    assert!(cofferdam_proto::FILE_DESCRIPTOR_SET.windows(12).any(|window| window == b"cofferdam.v1"));
}

/// Before, the document knew of 200 alone, and of one type.
#[tokio::test]
async fn each_answer_of_a_page_is_in_the_openapi_document() {
    let manager = Manager::start().await;
    let document = get(&manager, "/openapi.json").await.json();
    let is_said = |line: &str, status: u16, kind: &str| {
        let answers = &document["paths"][line.split('?').next().unwrap()]["get"]["responses"];
        let answer = answers.get(status.to_string()).unwrap_or_else(|| &answers["default"]);
        let answer = match answer["$ref"].as_str() {
            Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => answer,
        };
        let kinds = answer["content"].as_object().unwrap_or_else(|| panic!("{line}: {status} has no type"));
        let bare = |kind: &str| kind.split(';').next().unwrap_or_default().to_owned();
        assert!(kinds.keys().any(|said| bare(said) == bare(kind)), "{line}: {status} {kind}");
    };
    let open = ("accept", "application/openmetrics-text");
    let other = ("host", "evil.example");
    let mut said = Vec::new();
    for (path, headers) in [
        ("/livez?x", &[][..]),
        ("/startupz", &[]),
        ("/readyz", &[]),
        ("/readyz?verbos", &[]),
        ("/version?a", &[]),
        ("/version", &[]),
        ("/openapi.json", &[]),
        ("/metrics?a", &[]),
        ("/metrics", &[]),
        ("/metrics", &[open]),
        ("/metrics", &[other]),
    ] {
        let answer = ask(&manager, &format!("GET {path}"), headers, "").await;
        said.push((answer.status, bare_kind(&answer)));
        is_said(path, answer.status, answer.header("content-type"));
    }
    let problem = "application/problem+json";
    assert!(said.contains(&(400, problem.to_owned())) && said.contains(&(403, problem.to_owned())), "{said:?}");
    manager.drain();
    let ready = get(&manager, "/readyz").await;
    is_said("/readyz", ready.status, ready.header("content-type"));
    for (path, _) in super::PAGES {
        if let Some(answer) = super::while_loading(path) {
            is_said(path, answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap());
        }
    }
}

fn bare_kind(answer: &Said) -> String {
    answer.header("content-type").split(';').next().unwrap_or_default().to_owned()
}

/// Before, whoever named OpenMetrics got it, even to say that it is not wanted.
#[tokio::test]
async fn metrics_are_written_as_they_are_wanted_most() {
    let manager = Manager::start().await;
    for (accept, is_open) in [
        ("application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.3, */*;q=0.1", true),
        ("application/openmetrics-text", true),
        ("application/openmetrics-text;q=0, text/plain", false),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.5", false),
        ("*/*", false),
    ] {
        let said = ask(&manager, "GET /metrics", &[("accept", accept)], "").await;
        assert_eq!(bare_kind(&said) == "application/openmetrics-text", is_open, "{accept}");
    }
}
