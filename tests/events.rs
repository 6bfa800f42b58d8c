//! Events over real connections: a browser's `EventSource`, and webhooks by TLS.

use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Authority, Certified, EventSource, Manager, Store, within};
use serde_json::Value;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

async fn register(manager: &Manager, names: &[&str]) {
    for name in names {
        manager.client().register(registration(name, IsolationLevel::Basic)).await.unwrap();
    }
}

/// The services of the next messages.
async fn services(source: &mut EventSource, count: usize) -> Vec<String> {
    let mut services = Vec::new();
    for _ in 0..count {
        let message = within("an event", source.next()).await;
        assert_eq!(message.name, "", "{message:?}");
        let event: Value = serde_json::from_str(&message.data).unwrap();
        services.push(event["service"].as_str().unwrap().to_owned());
    }
    services
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_source_that_comes_back_gets_exactly_the_rest() {
    let mut manager = Manager::embedded().await;
    register(&manager, &["before"]).await;
    let url = format!("{}/v1/events?kinds=EVENT_KIND_CHANGE&since=60s", manager.url());
    let mut source = EventSource::new(&url);
    assert_eq!(services(&mut source, 1).await, ["before"]);
    register(&manager, &["a", "b", "c"]).await;
    assert_eq!(services(&mut source, 2).await, ["a", "b"], "c may have come, and was not seen");
    source.break_off();
    register(&manager, &["d"]).await;
    assert_eq!(services(&mut source, 2).await, ["c", "d"]);
    source.break_off();
    register(&manager, &["e"]).await;
    assert_eq!(services(&mut source, 1).await, ["e"]);
    assert_eq!(source.connections, 3);

    // What a manager kept goes with it: that is said, and nothing is said twice.
    source.break_off();
    manager.kill();
    manager.restart().await;
    register(&manager, &["f"]).await;
    // Of the life before and of this one, in either order.
    let mut came = [within("an event", source.next()).await, within("an event", source.next()).await];
    came.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(came[0].name.is_empty() && came[0].data.contains(r#""service":"f""#), "{came:?}");
    assert!(came[1].name == "gap" && came[1].data.contains("the manager is gone"), "{came:?}");
    source.break_off();
    register(&manager, &["g"]).await;
    assert_eq!(services(&mut source, 1).await, ["g"], "the gap is told once");
    assert_eq!(source.connections, 5);
}

/// What came to a receiver.
enum Came {
    /// Somebody who does not trust it.
    Distrust(String),
    /// A post, with its head in lower case.
    Post(String, Value),
}

/// A receiver of webhooks that speaks TLS: its port, and what comes to it.
async fn receiver(certified: &Certified) -> (u16, mpsc::UnboundedReceiver<Came>) {
    let certificate = CertificateDer::from_pem_file(&certified.certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&certified.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, came) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(receive(socket, acceptor.clone(), tell.clone()));
        }
    });
    (port, came)
}

async fn receive(socket: TcpStream, acceptor: TlsAcceptor, tell: mpsc::UnboundedSender<Came>) {
    let mut stream = match acceptor.accept(socket).await {
        Ok(stream) => stream,
        Err(error) => return drop(tell.send(Came::Distrust(error.to_string()))),
    };
    let mut text = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        text.push(byte);
        if !text.ends_with(b"\r\n\r\n") {
            continue;
        }
        let head = String::from_utf8(std::mem::take(&mut text)).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let _ = tell.send(Came::Post(head, serde_json::from_slice(&body).unwrap()));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_go_by_tls_to_whom_the_configured_authority_vouches_for() {
    let folder = TempDir::new().unwrap();
    let (ours, others) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "others"));
    let (port, mut came) = receiver(&ours.issue("receiver", &["127.0.0.1"])).await;
    let url = format!("https://127.0.0.1:{port}/hooks");
    let posting = async |authority: &Authority| {
        let ca_file = authority.file.to_str().unwrap();
        let variables = [("COFFERDAM_WEBHOOK_URLS", url.as_str()), ("COFFERDAM_WEBHOOK_CA_FILE", ca_file)];
        Manager::start_with(Store::Memory, &variables).await
    };
    let mut next = async || within("somebody to come", came.recv()).await.unwrap();
    let distrustful = posting(&others).await;
    match next().await {
        Came::Distrust(error) => assert!(error.contains("UnknownCA"), "{error}"),
        Came::Post(_, event) => panic!("it was posted to somebody it does not know: {event}"),
    }
    drop(distrustful);
    let _trusting = posting(&ours).await;
    // The other one may have tried once more before it ended.
    let (head, event) = loop {
        if let Came::Post(head, event) = next().await {
            break (head, event);
        }
    };
    assert!(head.starts_with("post /hooks http/1.1"), "{head}");
    assert!(head.contains(&format!("webhook-id: {}", event["id"].as_str().unwrap())), "{head}");
    assert_eq!(event["manager"]["change"], "MANAGER_CHANGE_STARTED");
}
