use super::*;
use crate::{eventually, within};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server that sends back what it gets, and a proxy in front of it.
async fn echo() -> (FaultProxy, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (FaultProxy::start(address).await, AbortOnDropHandle::new(serving))
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// Sends a word and reads as many bytes.
async fn say(stream: &mut TcpStream, word: &[u8]) -> Vec<u8> {
    stream.write_all(word).await.unwrap();
    let mut heard = vec![0; word.len()];
    within("the echo", stream.read_exact(&mut heard)).await.unwrap();
    heard
}

#[tokio::test]
async fn passes_all_of_it_and_the_end() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(&proxy).await;
    let long = vec![7; 100_000];
    let (mut from, mut to) = stream.split();
    let send = async {
        to.write_all(&long).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (_, read) = within("the echo", futures_util::future::join(send, from.read_to_end(&mut heard))).await;
    assert_eq!((read.unwrap(), heard), (long.len(), long));
    eventually("all to be counted", async || {
        let seen = proxy.seen();
        if seen == (Seen { accepted: 1, passed: 200_000, ..Seen::default() }) { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test]
async fn a_blackhole_holds_back_one_way_until_it_is_lifted() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, b"before").await;
    proxy.set(Fault::Blackhole(Direction::ToClient));
    stream.write_all(b"lost?").await.unwrap();
    eventually("something to be held back", async || if proxy.seen().held_back > 0 { Ok(()) } else { Err(()) }).await;
    let mut nothing = [0];
    assert_eq!(stream.try_read(&mut nothing).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(proxy.seen().passed, 17, "the other way is open");
    proxy.set(Fault::None);
    let mut heard = [0; 5];
    within("what was held back", stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"lost?");
}

#[tokio::test]
async fn late_slow_and_damaged_bytes_arrive() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Fault::Delay(Duration::from_millis(1)));
    assert_eq!(say(&mut stream, b"late").await, b"late");
    proxy.set(Fault::Throttle(40));
    assert_eq!(say(&mut stream, b"slow").await, b"slow");
    proxy.set(Fault::FlipByte(Direction::ToClient));
    assert_eq!(say(&mut stream, b"Odd").await, b"odd");
    assert_eq!(say(&mut stream, b"Even").await, b"Even", "one byte is damaged, once");
    let seen = proxy.seen();
    assert_eq!((seen.delayed >= 2, seen.throttled >= 4, seen.damaged), (true, true, 1), "{seen:?}");
}

#[tokio::test]
async fn connections_end_in_good_order_or_by_a_reset() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, b"a").await;
    proxy.cut();
    assert_eq!(within("the end", stream.read(&mut [0])).await.unwrap(), 0);
    let mut stream = connect(&proxy).await;
    say(&mut stream, b"a").await;
    proxy.reset();
    let error = within("the reset", stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!((proxy.seen().cut, proxy.seen().reset), (1, 1));
}

#[tokio::test]
async fn a_party_that_vanishes_leaves_the_other_alone() {
    let (proxy, _server) = echo().await;
    let mut stream = connect(&proxy).await;
    say(&mut stream, b"a").await;
    proxy.vanish(Party::Server);
    eventually("the connection to be half open", async || if proxy.seen().half_open == 1 { Ok(()) } else { Err(()) })
        .await;
    stream.write_all(b"anybody there?").await.unwrap();
    assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(proxy);
    within("the end", stream.read(&mut [0])).await.unwrap_err();
}

#[tokio::test]
async fn connections_are_turned_away() {
    let (proxy, _server) = echo().await;
    proxy.refuse(true);
    let mut stream = connect(&proxy).await;
    within("the reset", stream.read(&mut [0])).await.unwrap_err();
    proxy.refuse(false);
    let mut stream = connect(&proxy).await;
    assert_eq!(say(&mut stream, b"a").await, b"a");
    assert_eq!((proxy.seen().refused, proxy.seen().accepted), (1, 1));
}

#[tokio::test]
async fn no_server_looks_as_it_would_without_a_proxy() {
    let nobody = crate::unused_address().parse().unwrap();
    let proxy = FaultProxy::start(nobody).await;
    let mut stream = connect(&proxy).await;
    within("the reset", stream.read(&mut [0])).await.unwrap_err();
}
