//! Peers that mean no good, or mean nothing at all.

use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Follower, Manager, Store, within};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(manager: &Manager) -> TcpStream {
    TcpStream::connect(manager.address()).await.unwrap()
}

/// Reads until the manager closes the connection.
async fn closed(socket: &mut TcpStream) {
    let mut buffer = [0; 4096];
    // An error is an end as well: the manager may reset what it does not want to read.
    while within("the end of a connection", socket.read(&mut buffer)).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_closed() {
    let manager = Manager::start(Store::Memory).await;
    let mut silent = join_all((0..100).map(|_| connect(&manager))).await;
    for socket in &mut silent[..50] {
        socket.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    }
    manager.client().register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    join_all(silent.iter_mut().map(closed)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_ends_the_connection_that_it_came_by_and_nothing_else() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    client.register(registration("payments", IsolationLevel::Basic)).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let noise: Vec<u8> = (0..64 * 1024_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for start in [&preface[..], b"\x16\x03\x01\x02\x00\x01\x00", b""] {
        let mut socket = connect(&manager).await;
        // It may be cut off before all of it is written.
        let _ = socket.write_all(start).await;
        let _ = socket.write_all(&noise).await;
        closed(&mut socket).await;
        assert_eq!(client.list().await.unwrap(), ["payments"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_refused() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let mut request = tonic::Request::new(cofferdam_proto::v1::GetIsolationStatsRequest::default());
    request.metadata_mut().insert("x-long", "h".repeat(64 * 1024).parse().unwrap());
    let mut raw = cofferdam_proto::v1::isolation_service_client::IsolationServiceClient::new(manager.channel());
    raw.get_isolation_stats(request).await.unwrap_err();
    client.stats().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_never_introduce_themselves_are_closed() {
    let manager = Manager::start(Store::Memory).await;
    let mut mute = Follower::open(&manager).await;
    mute.next().await.expect_err("a stream without a hello ends");
}
