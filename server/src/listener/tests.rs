use super::*;
use crate::testing::{Manager, PATIENCE};
use cofferdam_proto::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn a_stop_waits_for_nobody_who_says_nothing() {
    let manager = Manager::start().await;
    let _mute = TcpStream::connect(manager.address).await.unwrap();
    let mut half = TcpStream::connect(manager.address).await.unwrap();
    half.write_all(&PREFACE[..10]).await.unwrap();
    // A stream that the client keeps open whatever it is told.
    let mut client = v1::policy_sync_service_client::PolicySyncServiceClient::new(manager.channel().await);
    let (say, said) = tokio::sync::mpsc::channel(4);
    let hello =
        v1::SyncHello { instance_id: "one".to_owned(), application: "a".to_owned(), ..v1::SyncHello::default() };
    say.send(v1::SyncRequest { message: Some(v1::sync_request::Message::Hello(hello)) }).await.unwrap();
    let mut hear = client.sync(tokio_stream::wrappers::ReceiverStream::new(said)).await.unwrap().into_inner();
    hear.message().await.unwrap().unwrap();
    manager.stop().await;
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_closed_after_the_grace() {
    let options = ListenerOptions { grace: Duration::from_millis(50), ..ListenerOptions::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let address = listener.local_addr().unwrap();
    // A service that never answers.
    let never =
        tower::service_fn(|_: Request<Incoming>| std::future::pending::<Result<Response<String>, Infallible>>());
    let drain = CancellationToken::new();
    let serving = tokio::spawn(listener.serve(never, drain.clone()));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // It has arrived when the listener has a connection; a stop in between would be a stop all the same.
    drain.cancel();
    timeout(PATIENCE, serving).await.expect("it waits for an answer that never comes").unwrap();
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the connection is still open");
    assert!(closed.is_err() || rest.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_kept() {
    let (near, far) = connected().await;
    let begun = Instant::now();
    serve_one(far).await;
    assert_eq!(begun.elapsed(), defaults().handshake_timeout);
    drop(near);
}

#[tokio::test(start_paused = true)]
async fn half_a_preface_is_not_enough() {
    let (mut near, far) = connected().await;
    near.write_all(&PREFACE[..greeting::LENGTH - 1]).await.unwrap();
    let begun = Instant::now();
    serve_one(far).await;
    assert_eq!(begun.elapsed(), defaults().handshake_timeout);
}

#[tokio::test(start_paused = true)]
async fn who_is_dead_is_noticed() {
    let (mut near, far) = connected().await;
    // A preface and settings, and then not even an answer to a ping.
    near.write_all(PREFACE).await.unwrap();
    near.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let begun = Instant::now();
    serve_one(far).await;
    assert!(begun.elapsed() > defaults().handshake_timeout, "it had said who it is");
    assert!(begun.elapsed() <= defaults().keepalive_interval + defaults().keepalive_timeout + Duration::from_secs(1));
}

#[tokio::test]
async fn more_connections_than_the_limit_are_closed() {
    let options =
        ListenerOptions { max_connections: 1, grace: Duration::from_millis(50), ..ListenerOptions::default() };
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
    let address = listener.local_addr().unwrap();
    let echo =
        tower::service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new("hello".to_owned())) });
    let drain = CancellationToken::new();
    let serving = tokio::spawn(listener.serve(echo, drain.clone()));
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut start = [0; 15];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, second.read_to_end(&mut rest)).await.expect("it is kept");
    assert!(closed.is_err() || rest.is_empty());
    drain.cancel();
    timeout(PATIENCE, serving).await.unwrap().unwrap();
}

#[test]
fn who_goes_before_it_is_accepted_holds_up_nobody() {
    let of = |kind: io::ErrorKind| is_of_one_connection(&kind.into());
    assert!(of(io::ErrorKind::ConnectionAborted) && of(io::ErrorKind::ConnectionReset));
    assert!(!is_of_one_connection(&io::Error::from_raw_os_error(24)), "no file descriptor is left");
}

/// What is written last would wait for the peer's delayed acknowledgement (F12).
#[tokio::test]
async fn what_is_accepted_sends_at_once() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), defaults()).unwrap();
    let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept(&CancellationToken::new()).await.unwrap();
    assert!(accepted.nodelay().unwrap());
}

fn defaults() -> ListenerOptions {
    ListenerOptions::default()
}

/// Two ends of a connection.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

async fn serve_one(stream: TcpStream) {
    let echo =
        tower::service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(Response::new("hello".to_owned())) });
    let (drain, hang_up) = Default::default();
    let peer = Peer { address: stream.peer_addr().unwrap(), is_beyond: None, drain, hang_up };
    let connection =
        Connection { stream, peer, handshake_timeout: defaults().handshake_timeout, patience: PATIENCE, place: None };
    connection.serve(Arc::new(builder(&defaults())), echo).await;
}
