//! The sandbox itself: a fault that it claims to make is made, or the tests that rest on it prove nothing.

use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use cofferdam_tests::{Behaviour, Etcd, Gate, Process, Reply, Upstream, eventually};
use futures_util::future::{join, join_all};
use std::process::Command;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

fn channel(upstream: &Upstream) -> Channel {
    Endpoint::from_shared(format!("http://{}", upstream.address())).unwrap().connect_lazy()
}

async fn call(channel: &Channel, method: &'static str, payload: &'static str) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(method);
    let response = client.unary(Request::new(Bytes::from(payload)), path, BytesCodec).await?;
    Ok(response.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scripted_service_does_as_it_is_told_and_counts() {
    let mut upstream = Upstream::start(Behaviour::echo()).await;
    let channel = channel(&upstream);
    assert_eq!(call(&channel, "/any.Service/AtAll", "hello").await.unwrap(), "hello");

    upstream.behave_for("/a.B/C", Behaviour::fail(Code::DataLoss));
    assert_eq!(call(&channel, "/a.B/C", "").await.unwrap_err().code(), Code::DataLoss);
    assert_eq!(call(&channel, "/a.B/D", "x").await.unwrap(), "x");

    let gate = Gate::shut();
    upstream.behave(Behaviour::bytes("same").behind(&gate));
    let several = join_all((0..8).map(|_| call(&channel, "/a.B/D", "x")));
    let opens = async {
        let under_way = || upstream.under_way();
        eventually("all of them", async || if under_way() == 8 { Ok(()) } else { Err(under_way()) }).await;
        gate.open();
    };
    for answer in join(several, opens).await.0 {
        assert_eq!(answer.unwrap(), "same");
    }
    assert_eq!(upstream.peak(), 8);
    assert_eq!((upstream.calls(), upstream.calls_of("/a.B/C"), upstream.calls_of("/a.B/D")), (11, 1, 9));

    upstream.behave(Behaviour::at_once(Reply::Drop));
    call(&channel, "/a.B/D", "x").await.expect_err("the connection broke");
    upstream.behave(Behaviour::echo());
    upstream.down().await;
    assert_eq!(call(&channel, "/a.B/D", "x").await.unwrap_err().code(), Code::Unavailable);
    upstream.up().await;
    eventually("the service to be back", async || call(&channel, "/a.B/D", "x").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_of_three_lives_with_two_and_a_killed_member_comes_back_with_its_data() {
    let mut etcd = Etcd::start(3).await;
    let mut client = etcd.client().await;
    client.put("key", "before", None).await.unwrap();
    etcd.kill(0);
    eventually("a write without the killed member", async || client.put("key", "after", None).await).await;
    etcd.restart(0).await;
    etcd.kill(1);
    eventually("the killed member to have caught up", async || {
        let response = client.get("key", None).await.map_err(|error| error.to_string())?;
        let value = response.kvs().first().map(|pair| pair.value().to_owned()).unwrap_or_default();
        if value == b"after" { Ok(()) } else { Err(format!("{value:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_can_be_paused_resumed_asked_to_end_and_killed() {
    let mut process =
        Process::start("shell", Command::new("sh").args(["-c", "echo out; echo err >&2; exec sleep 600"]));
    process.printed("a line", |line| (line == "err").then_some(())).await;
    process.pause().await;
    process.resume();
    process.terminate();
    let exit = process.exit().await;
    assert_eq!(exit.code, None, "ended by a signal");
    assert!(exit.log.contains("out\n"), "{exit:?}");

    let mut process = Process::start("shell", Command::new("sh").args(["-c", "exit 3"]));
    assert_eq!(process.exit().await.code, Some(3));
    process.kill();
}
