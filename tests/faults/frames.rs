//! Peers that speak HTTP/2 and mean harm: frames that no client would send, in numbers that none would.

use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{GetIsolationStatsRequest, IsolationLevel};
use cofferdam_tests::wire::registration;
use cofferdam_tests::{Follower, Manager, Store, within};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// More than a manager may grow by, whatever it is sent.
const MUCH: u64 = 50 << 20;
/// So many frames are more than anybody would let pass, and more than buffers on the way hold.
const FLOOD: u32 = 2_000_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The headers of a call of Sync, in HPACK: indexed where the static table has them, else literal.
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &[u8]| {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value);
    };
    literal(&[0x04], b"/cofferdam.v1.PolicySyncService/Sync");
    literal(&[0x01], b"localhost");
    literal(&[0x0f, 0x10], b"application/grpc");
    literal(&[&[0x00, 2][..], b"te"].concat(), b"trailers");
    block
}

/// What a peer was told by frames of one kind: the last four bytes of what such a frame begins with, or its error.
fn heard(bytes: &[u8], kind: u8) -> Vec<Vec<u8>> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let [a, b, c, seen, _, _, _, _, _, payload @ ..] = rest {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(body) = payload.get(..length) else { break };
        if *seen == kind {
            found.push(body.to_vec());
        }
        rest = &payload[length..];
    }
    found
}

/// A manager under attack, and somebody who must not notice.
struct Scene {
    manager: Manager,
    bystander: Follower,
    before: u64,
    changes: usize,
}

impl Scene {
    async fn set(variables: &[(&str, &str)]) -> Self {
        let mut manager = Manager::start_with(Store::Memory, variables).await;
        manager.client().register(registration("payments", IsolationLevel::Enhanced)).await.unwrap();
        let bystander = Follower::start(&manager, "bystander", &["payments"]).await.0;
        let before = manager.process().resident_bytes();
        Self { manager, bystander, before, changes: 0 }
    }

    async fn connect(&self) -> TcpStream {
        let mut socket = TcpStream::connect(self.manager.address()).await.unwrap();
        socket.write_all(PREFACE).await.unwrap();
        socket.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        socket
    }

    /// Sends frames until the manager takes no more, or there are no more. How many were taken, and what it said.
    async fn flood(&self, frames: impl Iterator<Item = Vec<u8>>) -> (u32, Vec<u8>) {
        let (mut from, mut to) = self.connect().await.into_split();
        let send = async move {
            let mut taken = 0;
            for frame in frames {
                if to.write_all(&frame).await.is_err() {
                    return taken;
                }
                taken += 1;
            }
            let _: io::Result<()> = to.shutdown().await;
            taken
        };
        let listen = async move {
            let (mut said, mut buffer) = (Vec::new(), [0; 16 * 1024]);
            while let Ok(read @ 1..) = from.read(&mut buffer).await {
                said.extend(&buffer[..read]);
            }
            said
        };
        within("the flood", futures_util::future::join(send, listen)).await
    }

    /// Others are served as ever, and there is not much left of it.
    async fn is_unharmed(&mut self) {
        let levels = [IsolationLevel::Full, IsolationLevel::Basic];
        self.changes += 1;
        self.manager.client().set_level("payments", levels[self.changes % 2]).await.unwrap();
        let told = self.bystander.next().await;
        assert!(matches!(told, Ok(Response::Update(_))), "{told:?}");
        let growth = self.manager.process().resident_bytes().saturating_sub(self.before);
        assert!(growth < MUCH, "it grew by {growth} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_a_flood_of_resets_ends_its_connection_and_nothing_else() {
    let mut scene = Scene::set(&[]).await;
    let block = headers();
    let resets = (0..FLOOD).map(|index| {
        let stream = 2 * index + 1;
        let mut both = frame(HEADERS, END_HEADERS, stream, &block);
        both.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        both
    });
    let (taken, said) = scene.flood(resets).await;
    assert!(taken < FLOOD, "all of it was taken");
    assert!(taken > 10, "a few are nothing: {taken}");
    // The word may be lost where the connection is reset for what was still under way.
    if let Some(goaway) = heard(&said, GOAWAY).last() {
        assert_eq!(goaway[4..8], [0, 0, 0, 0xb], "calm is asked for");
    }
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_headers_continued_for_ever_end_their_connection_and_nothing_else() {
    let mut scene = Scene::set(&[]).await;
    let field = [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat();
    let much = field.repeat(150);
    let begun = std::iter::once(frame(HEADERS, 0, 1, &headers()));
    let (taken, _) = scene.flood(begun.chain((0..FLOOD).map(|_| frame(CONTINUATION, 0, 1, &much)))).await;
    assert!(taken < FLOOD, "all of it was taken");
    scene.is_unharmed().await;
    // As many of next to nothing.
    let begun = std::iter::once(frame(HEADERS, 0, 1, &headers()));
    let (taken, _) = scene.flood(begun.chain((0..FLOOD).map(|_| frame(CONTINUATION, 0, 1, &[])))).await;
    assert!(taken < FLOOD, "all of it was taken");
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_empty_frames_cost_nobody_anything() {
    let mut scene = Scene::set(&[]).await;
    let begun = std::iter::once(frame(HEADERS, END_HEADERS, 1, &headers()));
    let (taken, _) = scene.flood(begun.chain((0..50_000).map(|_| frame(DATA, 0, 1, &[])))).await;
    assert!(taken > 0);
    scene.is_unharmed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s4_streams_beyond_the_limit_are_refused() {
    const STREAMS: u32 = 500;
    let mut scene = Scene::set(&[("COFFERDAM_LIMITS_MAX_STREAMS_PER_CONNECTION", "16")]).await;
    let block = headers();
    let mut socket = scene.connect().await;
    for index in 0..STREAMS {
        socket.write_all(&frame(HEADERS, END_HEADERS, 2 * index + 1, &block)).await.unwrap();
    }
    let mut said = Vec::new();
    let refused = |said: &[u8]| heard(said, RST_STREAM).iter().filter(|code| code[..] == [0, 0, 0, 7]).count();
    while refused(&said) < STREAMS as usize - 16 {
        let read = within("the refusals", socket.read_buf(&mut said)).await.unwrap();
        assert!(read > 0, "it was closed after {} refusals", refused(&said));
    }
    scene.is_unharmed().await;
    drop(socket);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s7_compressed_requests_are_not_unpacked() {
    let mut scene = Scene::set(&[]).await;
    let mut request = tonic::Request::new(GetIsolationStatsRequest::default());
    request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let refused = IsolationServiceClient::new(scene.manager.channel()).get_isolation_stats(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    scene.is_unharmed().await;
}
