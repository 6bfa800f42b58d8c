//! Many that come at the same moment (F12).

use super::{Instance, SERVICE, is_reached, stands};
use cofferdam_proto::v1::IsolationLevel;
use cofferdam_tests::wire::{registration, seconds};
use cofferdam_tests::{Curl, Etcd, FaultProxy, Manager, Process, Store, eventually, within};
use futures_util::future::join_all;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than wait in line by default, on Linux as in tokio, fewer than the system's own bound (`somaxconn`).
const CROWD: usize = 3000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_whoever_comes_while_the_manager_is_busy_waits_in_line_and_is_served() {
    Process::allow_open_files(2 * CROWD);
    let crowd = CROWD.to_string();
    let mut manager = Manager::start_with(Store::Memory, &[("COFFERDAM_LIMITS_MAX_CONNECTIONS_PER_IP", &crowd)]).await;
    let address: SocketAddr = manager.address().parse().unwrap();
    // It cannot take a single one in: all of them are the system's, for as long as it has room in the line.
    manager.process().pause().await;
    let coming = join_all((0..CROWD).map(|_| async move { TcpStream::connect(address).await.unwrap() }));
    let line = within("a place in the line for everybody", coming).await;
    assert!(manager.process().is_paused(), "it was there to take them in");
    manager.process().resume();
    let served = line.into_iter().map(|mut socket| async move {
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: manager\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        within("an answer", socket.read_exact(&mut answer)).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{answer:?}");
    });
    join_all(served).await;
}

/// How often etcd was asked for something so far, other than to keep a lease.
fn asked(metrics: &Curl) -> u64 {
    let text = metrics.ask(&[], "/metrics").body;
    let calls = |method: &str| {
        let method = format!("grpc_method=\"{method}\"");
        let of = text.lines().filter(|line| line.starts_with("grpc_server_started_total{") && line.contains(&method));
        of.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>()
    };
    calls("Range") + calls("Txn") + calls("Watch")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_crowd_that_comes_back_asks_the_store_for_nothing() {
    const CROWD: u64 = 100;
    let etcd = Etcd::start(1).await;
    let metrics = Curl::at(format!("http://{}", etcd.address(0)));
    let manager = Manager::on(&etcd).await;
    let client = manager.client();
    client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let network = FaultProxy::start(manager.address().parse().unwrap()).await;
    let crowd: Vec<_> = (0..CROWD).map(|index| Instance::start(&network.url(), &format!("task-{index}"))).collect();
    assert!(is_reached(&client, CROWD as u32, seconds(30)).await);

    let before = asked(&metrics);
    assert!(before > 0, "etcd counts what it is asked");
    for round in 1..=2 {
        network.reset();
        eventually("all to be cut off and back", async || match network.seen() {
            seen if seen.reset == round * CROWD && seen.accepted == (round + 1) * CROWD => Ok(()),
            seen => Err(seen),
        })
        .await;
        stands(&client, [CROWD as u32, 0, 0, 0]).await;
    }
    let after = asked(&metrics);
    assert!(after - before < CROWD / 2, "{} questions for {} streams", after - before, 2 * CROWD);
    assert!(crowd.iter().all(|instance| instance.cofferdam.connection().is_connected()));
}
