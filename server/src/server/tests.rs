use super::*;
use crate::config::ConfigError;
use crate::store::MemoryStore;
use cofferdam_proto::v1::{self, isolation_service_client::IsolationServiceClient};
use std::path::Path;
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(kind: StoreKind, dir: &Path) -> Config {
    let mut config = Config::default();
    config.listen.address = "127.0.0.1:0".parse().unwrap();
    config.store.kind = kind;
    config.store.data_dir = (kind == StoreKind::Embedded).then(|| dir.to_owned());
    config
}

async fn start(config: &Config) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let server = Server::bind(config).await.unwrap();
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    (address, stop, serving)
}

/// Asks by a connection of its own: the status, and all that came.
async fn status(address: SocketAddr, path: &str) -> (u16, String) {
    let connecting = async {
        loop {
            match tokio::net::TcpStream::connect(address).await {
                Ok(socket) => break socket,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let mut socket = tokio::time::timeout(PATIENCE, connecting).await.expect("nobody listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    let mut said = String::new();
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut socket, &mut said);
    tokio::time::timeout(PATIENCE, reading).await.expect("no answer").unwrap();
    (said.split(' ').nth(1).unwrap().parse().unwrap(), said)
}

async fn client(address: SocketAddr) -> IsolationServiceClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    IsolationServiceClient::new(endpoint.connect().await.unwrap())
}

#[tokio::test]
async fn an_acknowledged_write_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(StoreKind::Embedded, dir.path());
    let (address, stop, serving) = start(&config).await;
    let answer = client(address).await.register_service(crate::testing::registration("payments")).await.unwrap();
    let written = answer.into_inner().service.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, serving).await.expect("it never stopped").unwrap();

    let (address, _stop, _serving) = start(&config).await;
    let request = v1::GetServiceIsolationInfoRequest { service: "payments".to_owned(), ..Default::default() };
    let read = client(address).await.get_service_isolation_info(request).await.unwrap().into_inner().service.unwrap();
    assert_eq!(read, written);
}

#[tokio::test]
async fn a_second_manager_on_one_file_is_told_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(StoreKind::Embedded, dir.path());
    let _first = Server::bind(&config).await.unwrap();
    let refused = Server::bind(&config).await.unwrap_err().to_string();
    assert!(refused.contains(&dir.path().display().to_string()) && refused.contains("in use"), "{refused}");
    assert!(refused.contains("--data-dir"), "the fix: {refused}");
}

#[tokio::test]
async fn a_folder_that_cannot_hold_the_store_is_refused_with_the_fix() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Server::bind(&config(StoreKind::Embedded, file.path())).await.unwrap_err().to_string();
    assert!(refused.contains("--data-dir that can be written to"), "{refused}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cofferdam.redb"), "not ours").unwrap();
    let refused = Server::bind(&config(StoreKind::Embedded, dir.path())).await.unwrap_err().to_string();
    assert!(refused.contains("move it away, and `cofferdam store restore`"), "{refused}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(StoreKind::Memory, dir.path());
    config.listen.address = taken.local_addr().unwrap();
    let refused = Server::bind(&config).await.unwrap_err().to_string();
    assert!(refused.contains(&config.listen.address.to_string()) && refused.contains("--listen"), "{refused}");
}

#[tokio::test]
async fn an_etcd_that_is_not_there_fails_the_start_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(StoreKind::Etcd, dir.path());
    config.store.etcd_endpoints = vec!["127.0.0.1:1".to_owned()];
    config.store.timeout = Duration::from_millis(300);
    let refused = tokio::time::timeout(PATIENCE, Server::bind(&config)).await.expect("it still tries").unwrap_err();
    let message = refused.to_string();
    assert!(message.contains("start it, or correct its address") && !message.contains('\n'), "{message}");
}

#[tokio::test]
async fn an_open_door_is_not_opened_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(StoreKind::Memory, dir.path());
    config.listen.address = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(Server::bind(&config).await, Err(StartError::Config(ConfigError::Exposed { .. }))));
    config.listen.insecure = true;
    Server::bind(&config).await.unwrap();
}

#[tokio::test]
async fn probes_are_answered_while_the_store_is_being_loaded() {
    let config = config(StoreKind::Memory, Path::new(""));
    let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listening.local_addr().unwrap();
    drop(listening);
    let mut config = config;
    config.listen.address = address;
    let (open, opened) = oneshot::channel::<()>();
    let store = async {
        let _ = opened.await;
        Ok(Arc::new(MemoryStore::new()) as Arc<dyn Store>)
    };
    let begun = tokio::spawn({
        let config = config.clone();
        async move { Server::start(&config, store, Arc::new(SystemClock)).await.unwrap() }
    });
    let status = async |path: &str| status(address, path).await;
    assert_eq!(status("/livez").await.0, 200);
    for probe in ["/readyz", "/readyz?verbose", "/startupz"] {
        let (code, said) = status(probe).await;
        assert!(code == 503 && said.contains("the store is being loaded"), "{said}");
    }
    assert_eq!(status("/version").await.0, 200);
    let (code, said) = status("/v1/services").await;
    assert!(code == 503 && said.contains("retry-after: 1") && said.contains("application/problem+json"), "{said}");
    // Whoever speaks gRPC waits.
    let mut client = client(address).await;
    let waiting =
        tokio::spawn(async move { client.list_isolated_services(v1::ListIsolatedServicesRequest::default()).await });
    assert_eq!(status("/livez").await.0, 200);
    assert!(!waiting.is_finished());
    open.send(()).unwrap();
    let server = begun.await.unwrap();
    waiting.await.unwrap().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    for probe in ["/livez", "/readyz", "/startupz", "/v1/services"] {
        assert_eq!(status(probe).await.0, 200, "{probe}");
    }
    stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, serving).await.expect("it never stopped").unwrap();
}

/// Before, the port was closed at once, and whoever probes by a connection of its own never heard that it is not ready.
#[tokio::test]
async fn who_probes_hears_of_a_stop_while_others_are_still_served() {
    let mut config = config(StoreKind::Memory, Path::new(""));
    config.listen.shutdown_delay = Duration::from_secs(3600);
    let (address, stop, serving) = start(&config).await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    stop.send(()).unwrap();
    let told = tokio::time::timeout(PATIENCE, watch.message()).await.expect("nobody told").unwrap();
    assert_eq!(told.unwrap().status(), ServingStatus::NotServing);
    let (code, said) = status(address, "/readyz?verbose").await;
    assert!(code == 503 && said.contains("[-] stopping"), "{said}");
    for path in ["/livez", "/v1/services"] {
        assert_eq!(status(address, path).await.0, 200, "{path}");
    }
    client(address).await.register_service(crate::testing::registration("payments")).await.unwrap();
    assert!(!serving.is_finished());
    tokio::time::pause();
    tokio::time::timeout(config.listen.shutdown_delay * 2, serving).await.expect("it never stopped").unwrap();
    assert_eq!(watch.message().await.unwrap(), None);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_receiver_that_is_away_and_a_connection_that_stays_have_one_grace() {
    let mut config = config(StoreKind::Memory, Path::new(""));
    // Nobody listens there.
    config.webhook.urls = vec!["http://127.0.0.1:1/".to_owned()];
    let (address, stop, serving) = start(&config).await;
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "POST /v1/services HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                   content-length: 9\r\nexpect: 100-continue\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.unwrap();
    let mut said = [0; 12];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut socket, &mut said);
    tokio::time::timeout(PATIENCE, reading).await.expect("no answer").unwrap();
    assert_eq!(&said, b"HTTP/1.1 100", "it waits for a body that does not come");
    tokio::time::pause();
    let begun = Instant::now();
    stop.send(()).unwrap();
    tokio::time::timeout(config.listen.grace * 9, serving).await.expect("it never stopped").unwrap();
    assert!(begun.elapsed() >= config.listen.grace, "the connection stayed: {:?}", begun.elapsed());
    assert!(begun.elapsed() < config.listen.grace * 3 / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_file_that_holds_no_certificate_vouches_for_nobody() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "not ours").unwrap();
    let mut config = config(StoreKind::Memory, Path::new(""));
    config.webhook.urls = vec!["https://hooks.example/".to_owned()];
    config.webhook.ca_file = Some(file.path().to_owned());
    let refused = Server::bind(&config).await.unwrap_err().to_string();
    assert!(refused.starts_with("cannot read webhook.ca_file") && refused.contains("no certificate"), "{refused}");
}
