//! HTTP and JSON on the port that serves gRPC, by the real curl and by hand.

use cofferdam::Cofferdam;
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, RegisterServiceRequest};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Curl, Manager, Store, eventually, shell_snippets, within, workspace_root};
use serde_json::{Value, json};
use std::io;
use std::process::Command;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Reads one answer of a connection that stays open: its head, and as much of a body as its length says.
async fn answer(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        within("an answer", socket.read_exact(&mut byte)).await.unwrap();
        text.push(byte[0]);
        if text.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(text).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    within("its body", socket.read_exact(&mut body)).await.unwrap();
    head + &String::from_utf8(body).unwrap()
}

async fn rest(socket: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // An error is an end as well.
    let _ = within("the end of the connection", socket.read_to_end(&mut rest)).await;
    String::from_utf8_lossy(&rest).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_speaks_grpc_and_both_versions_of_http() {
    let manager = Manager::start(Store::Memory).await;
    let (curl, client) = (Curl::at(manager.url()), manager.client());
    let created = curl.send("POST", "/v1/services", &json!({"service": {"name": "payments"}}));
    assert_eq!((created.status, created.json()["created"].as_bool()), (201, Some(true)), "{}", created.body);
    assert_eq!(client.list().await.unwrap(), ["payments"]);
    client.set_level("payments", IsolationLevel::Full).await.unwrap();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let read = curl.ask(&[version], "/v1/services/payments");
        assert_eq!(read.status, 200);
        assert_eq!(read.json()["service"]["policy"]["level"], "ISOLATION_LEVEL_FULL");
    }
    let read = curl.ask(&[], "/v1/services/payments");
    let tag = read.header("etag").to_owned();
    assert!(!tag.is_empty() && tag != created.header("etag"), "{}", read.head);
    let if_match = format!("If-Match: {tag}");
    let options = ["-X", "PUT", "-H", "Content-Type: application/json", "-H", &if_match];
    let options = [&options[..], &["-d", r#"{"level": "ISOLATION_LEVEL_BASIC"}"#]].concat();
    assert_eq!(curl.ask(&options, "/v1/services/payments/level").status, 200);
    let refused = curl.ask(&options, "/v1/services/payments/level");
    assert_eq!((refused.status, refused.header("content-type")), (412, "application/problem+json"));
    assert_eq!(refused.json()["reason"], "REVISION_MISMATCH");
    // What nobody else may do: gRPC over HTTP/1, which a page could make a browser send.
    let grpc = ["--http1.1", "-H", "Content-Type: application/grpc", "--data-binary", "xxxxx"];
    assert_eq!(curl.ask(&grpc, "/cofferdam.v1.IsolationService/ListIsolatedServices").status, 505);
    let page = ["-H", "Origin: https://evil.example", "-X", "DELETE"];
    assert_eq!(curl.ask(&page, "/v1/services/payments").status, 403);
    assert_eq!(curl.ask(&["-X", "DELETE"], "/v1/services/payments").status, 200);
    assert!(client.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_http_1_is_kept_and_bounded() {
    let limits = [("COFFERDAM_LIMITS_MAX_CONNECTIONS_PER_IP", "2"), ("COFFERDAM_LISTEN_HANDSHAKE_TIMEOUT", "300ms")];
    let manager = Manager::start_with(Store::Memory, &limits).await;
    let mut kept = TcpStream::connect(manager.address()).await.unwrap();
    for path in ["/livez", "/v1/services", "/nothing", "/version"] {
        kept.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
        let said = answer(&mut kept).await;
        assert_eq!(said.contains(" 404 "), path == "/nothing", "{said}");
    }
    // Half a request is cut off in time, and headers without end are refused.
    let mut half = TcpStream::connect(manager.address()).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nhost: loc").await.unwrap();
    rest(&mut half).await;
    drop((half, kept));
    let said = eventually("a free place", async || {
        let mut long = TcpStream::connect(manager.address()).await.unwrap();
        let _ = long.write_all(format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024)).as_bytes()).await;
        let said = rest(&mut long).await;
        if said.is_empty() { Err("it was cut off") } else { Ok(said) }
    })
    .await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    let _places = eventually("two places", async || {
        let mut two = Vec::new();
        for _ in 0..2 {
            let mut one = TcpStream::connect(manager.address()).await.unwrap();
            one.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.map_err(|error| error.to_string())?;
            let mut start = [0; 12];
            let read = within("an answer or an end", one.read_exact(&mut start)).await;
            read.map_err(|error| error.to_string())?;
            two.push(one);
        }
        let mut third = TcpStream::connect(manager.address()).await.unwrap();
        let _ = third.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let said = rest(&mut third).await;
        if said.is_empty() { Ok::<_, String>(two) } else { Err(said) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_answers_who_waits_by_http() {
    let mut manager = Manager::start(Store::Memory).await;
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let mut waiting = TcpStream::connect(manager.address()).await.unwrap();
    let ask = b"GET /v1/services/payments/convergence:wait?timeout=600s HTTP/1.1\r\nhost: localhost\r\n\r\n";
    waiting.write_all(ask).await.unwrap();
    let mut idle = TcpStream::connect(manager.address()).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(answer(&mut idle).await.starts_with("http/1.1 200"));
    manager.process().terminate();
    let said = answer(&mut waiting).await;
    assert!(said.starts_with("http/1.1 503") && said.contains("SHUTTING_DOWN"), "{said}");
    assert_eq!(rest(&mut idle).await, "", "an idle connection ends");
    assert_eq!(manager.process().exit().await.code, Some(0));
}

/// Runs the `sh` blocks of the guide, in order, against one fresh manager: each must succeed as it is printed, with
/// `localhost:7420` standing for the manager; an answer of 400 or above is a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_guide_work_as_printed() {
    let read = |name: &str| std::fs::read_to_string(workspace_root().join(name)).unwrap();
    let manager = Manager::start(Store::Memory).await;
    let settings = tempfile::tempdir().unwrap();
    std::fs::write(settings.path().join(".curlrc"), "fail-with-body\n").unwrap();
    let (guide, events) = (shell_snippets(&read("docs/http.md")), shell_snippets(&read("docs/events.md")));
    assert!(!guide.is_empty() && !events.is_empty(), "the guide shows no command");
    // What is the CLI's is run by its own test.
    let curl = events.into_iter().filter(|snippet| snippet.commands.starts_with("curl"));
    for snippet in guide.into_iter().chain(curl) {
        let output = Command::new("sh")
            .args(["-euc", &snippet.commands.replace("localhost:7420", &manager.address())])
            .env("CURL_HOME", settings.path())
            .current_dir(workspace_root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && !said.is_empty(), "line {} of the guide: {said}", snippet.line);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_openapi_document_is_one() {
    let manager = Manager::start(Store::Memory).await;
    let document = Curl::at(manager.url()).ask(&[], "/openapi.json").json();
    let schema = std::fs::read_to_string(workspace_root().join("tests/openapi-3.1.schema.json")).unwrap();
    let validator = jsonschema::draft202012::new(&serde_json::from_str(&schema).unwrap()).unwrap();
    let faults: Vec<_> = validator.iter_errors(&document).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    // The check can fail.
    let mut wrong = document.clone();
    wrong["paths"]["/v1/services"]["get"]["parameters"][0]["in"] = json!("nowhere");
    assert!(!validator.is_valid(&wrong));
    // What is documented for people is what is served.
    let guide = std::fs::read_to_string(workspace_root().join("docs/http.md")).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let is_page = !path.starts_with("/v1/");
            let line = if is_page { format!("`{path}`") } else { format!("`{} {path}`", method.to_uppercase()) };
            assert!(guide.contains(&line), "docs/http.md lacks {line}");
        }
    }
}

/// What `/openapi.json` says of bodies, beside what becomes of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_openapi_says_of_a_body_is_what_is_taken() {
    let manager = Manager::start(Store::Memory).await;
    manager.client().register(registration("payments", IsolationLevel::Enhanced)).await.unwrap();
    let curl = Curl::at(manager.url());
    let document = curl.ask(&[], "/openapi.json").json();
    let valid = |name: &str, body: &Value| {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document["components"]});
        jsonschema::draft202012::new(&schema).unwrap().is_valid(body)
    };
    for (method, path, schema, body, is_taken) in [
        ("PUT", "fallback", "FallbackConfig", json!({"maxRetries": 3, "retryDelay": "1s"}), true),
        ("PUT", "fallback", "FallbackConfig", json!({"max_retries": 3, "retry_delay": "1s"}), true),
        ("PUT", "fallback", "FallbackConfig", json!({"max_retry": 3}), false),
        ("PUT", "fallback", "FallbackConfig", json!({"max_retries": [3]}), false),
        ("PUT", "fallback", "FallbackConfig", json!({"strategy": "cached", "retry_delay": 2_000_000_000}), true),
        ("PUT", "fallback", "FallbackConfig", json!({"strategy": "static", "fallback_data": {"a": 1}}), true),
        ("PUT", "fallback", "FallbackConfig", json!({"strategy": "hope"}), false),
        ("PUT", "level", "SetIsolationLevelRequest", json!({"level": "ISOLATION_LEVEL_FULL"}), true),
        ("PUT", "level", "SetIsolationLevelRequest", json!({"levl": "ISOLATION_LEVEL_FULL"}), false),
        ("PATCH", "", "IsolationPolicy", json!({"circuit_breaker": {"open_duration": "3s"}}), true),
        ("PATCH", "", "IsolationPolicy", json!({"circuitBreaker": {"openDuration": "3s"}}), true),
        ("PATCH", "", "IsolationPolicy", json!({"circuit_breaker": {"open": "3s"}}), false),
    ] {
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let text = body.to_string();
        let options = ["-X", method, "-H", "Content-Type: application/json", "-d", &text];
        let said = curl.ask(&options, &format!("/v1/services/payments{path}"));
        assert_eq!((said.status == 200, valid(schema, &body)), (is_taken, is_taken), "{body}: {}", said.body);
    }
    // The headers of a write, each of which has its effect.
    let operation = &document["paths"]["/v1/services/{service}/level"]["put"];
    let is_header = |one: &&Value| one["in"] == "header";
    let headers: Vec<_> =
        operation["parameters"].as_array().unwrap().iter().filter(is_header).map(|one| one["name"].clone()).collect();
    assert_eq!(headers, ["If-Match", "Idempotency-Key", "Cofferdam-Actor"]);
    assert!(operation["responses"]["200"]["headers"]["ETag"].is_object() && operation["responses"]["412"].is_object());
    let body = json!({"level": "ISOLATION_LEVEL_BASIC"}).to_string();
    let options = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", &body];
    let tag = curl.ask(&[], "/v1/services/payments").header("etag").to_owned();
    let conditional = format!("If-Match: {tag}");
    let with = |headers: &[&str]| {
        let headers = headers.iter().flat_map(|header| ["-H", *header]);
        curl.ask(&options.into_iter().chain(headers).collect::<Vec<_>>(), "/v1/services/payments/level").status
    };
    assert_eq!((with(&[&conditional, "Cofferdam-Actor: ann"]), with(&[&conditional])), (200, 412));
    let changes = curl.ask(&[], "/v1/services/payments/revisions").json();
    assert_eq!(changes["revisions"][0]["actor"], "ann", "{changes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d11_the_monitor_needs_curl_alone_and_shows_what_is_open() {
    let manager = Manager::start(Store::Memory).await;
    for name in ["payments", "search"] {
        let policy = Some(IsolationPolicy { preset: "flask-module".into(), ..IsolationPolicy::default() });
        let request = RegisterServiceRequest { policy, ..registration(name, IsolationLevel::Enhanced) };
        manager.client().register(request).await.unwrap();
    }
    let look = || {
        let mut monitor = Command::new(workspace_root().join("tools/monitor-circuit-breakers.sh"));
        let output = monitor.env("COFFERDAM_URL", manager.url()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = look();
    assert_eq!((code, said.lines().count(), said.matches("CLOSED").count()), (Some(0), 3, 2), "{said}");
    let sdk = Cofferdam::builder("checkout").manager(manager.url()).start();
    let payments = sdk.service("payments");
    eventually("an open breaker", async || {
        let down = || async { Err::<(), _>(io::Error::from(io::ErrorKind::TimedOut)) };
        let _ = payments.execute("pay", down).await;
        let (code, said) = look();
        let is_open = said.lines().any(|line| line.starts_with("payments ") && line.contains(" OPEN "));
        if is_open && code == Some(4) { Ok(()) } else { Err(said) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_streamed_to_curl_and_taken_up_again_after_the_last_one_seen() {
    let manager = Manager::start(Store::Memory).await;
    for name in ["payments", "search"] {
        manager.client().register(registration(name, IsolationLevel::Basic)).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut last = String::new();
    // It never ends, so curl is told to; each time it goes on where it was.
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let url = format!("{}/v1/events?kinds=EVENT_KIND_CHANGE&since=60s", manager.url());
        let said = eventually("events", async || {
            let header = format!("Last-Event-ID: {last}");
            let mut curl = Command::new("curl");
            curl.args(["-sSN", "--max-time", "1", version]);
            if !last.is_empty() {
                curl.args(["-H", &header]);
            }
            let output = curl.arg(&url).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            // 28: the time is over.
            assert_eq!(output.status.code(), Some(28), "{said}{}", String::from_utf8_lossy(&output.stderr));
            let wanted = if last.is_empty() { 2 } else { 1 };
            if said.matches("data: ").count() >= wanted { Ok(said) } else { Err(said) }
        })
        .await;
        assert!(said.starts_with("retry: 2000\n"), "{said}");
        for block in said.split("\n\n").filter(|block| block.contains("data: ")) {
            let line = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
            last = line("id: ");
            let event: serde_json::Value = serde_json::from_str(&line("data: ")).unwrap();
            seen.push(event["service"].as_str().unwrap().to_owned());
        }
        if seen.len() == 2 {
            manager.client().register(registration("wallet", IsolationLevel::Basic)).await.unwrap();
        }
    }
    assert_eq!(seen, ["payments", "search", "wallet"], "each once, in order");
    let curl = Curl::at(manager.url());
    let page = ["-H", "Host: evil.example"];
    assert_eq!(curl.ask(&page, "/v1/events").status, 403, "a page that was made to resolve to this machine");
    let page = ["-H", "Origin: https://evil.example", "-X", "POST"];
    assert_eq!(curl.ask(&page, "/api/admin/reset-circuit-breakers").status, 403);
}
