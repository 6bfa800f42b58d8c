//! What operators and instances see of a manager while something happens to its etcd: a process that dies or stands
//! still, a cluster that loses its leader or its majority, a network that is cut, slow or swallows an answer, history
//! that is forgotten, a database that is full, a login that runs out.
//!
//! Each test asserts that its fault happened. By the rows that faults are known by:
//!
//! | row | what | where |
//! |---|---|---|
//! | F2, F3 | etcd killed, paused | `restarts.rs`; store: `etcd/tests/faults.rs`; what is never lost: `store_durability.rs` |
//! | F4, F5 | the leader lost or cut off, the majority lost | `members.rs` |
//! | F6, F17, F24 | history compacted under a cut watch, an answer cut off, a slow line | `network.rs` |
//! | F7 | history compacted between two pages of a list | store: `etcd/tests/pages.rs` |
//! | F15 | no room | `space.rs` |
//! | F18 | values that cannot be read | registry: `tests/poison.rs`; store: `etcd/tests/faults.rs` |
//! | F20 | many writers | `writers.rs` |
//! | F22 | a login that runs out | `login.rs`; store: `etcd/tests/auth.rs` |

mod login;
mod members;
mod network;
mod restarts;
mod space;
mod tls;
mod writers;

use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{IsolationLevel, PolicyUpdate, SetIsolationLevelRequest};
use cofferdam_tests::{Client, Etcd, FaultProxy, Follower, Manager, Refusal, Release, Setup, Store, eventually};
use std::time::Duration;
use tonic::Code;

/// Levels of which each differs from the next: setting the same one again is no write.
const LEVELS: [IsolationLevel; 2] = [IsolationLevel::Full, IsolationLevel::Basic];

/// What the log says of it.
const LOSS: &str = "the store's watch was lost";

/// Members that do not soon take each other for dead: one that stands still for a second is not a fault of the test's.
/// Where recoveries are measured, etcd is as it comes.
fn unhurried(nodes: usize) -> &'static [&'static str] {
    let is_measured = std::env::var_os("COFFERDAM_ROUNDS").is_some();
    if nodes > 1 && !is_measured { &["--heartbeat-interval=300", "--election-timeout=3000"] } else { &[] }
}

async fn current(nodes: usize) -> Etcd {
    let arguments = unhurried(nodes);
    Etcd::start_as(Setup { release: Release::Current, nodes, arguments, ..Setup::default() }).await
}

/// A manager that reaches its etcd by a network that can be made bad.
async fn behind_a_proxy(etcd: &Etcd) -> (FaultProxy, Manager) {
    let proxy = FaultProxy::start(etcd.address(0).parse().unwrap()).await;
    let manager = Manager::start(Store::Etcd(proxy.address().to_string())).await;
    (proxy, manager)
}

/// For how long the store has been away, by what is said of a service.
async fn stale_for(client: &Client) -> Option<Duration> {
    let stale = client.info("payments").await.unwrap().stale_for;
    stale.map(|stale| stale.try_into().unwrap())
}

async fn stale(client: &Client) -> Duration {
    eventually("the store to be missed", async || stale_for(client).await.ok_or("current")).await
}

async fn in_touch(client: &Client) {
    eventually("the store to be back", async || match stale_for(client).await {
        None => Ok(()),
        away => Err(away),
    })
    .await;
}

/// A write of a level under a request_id.
fn level(level: IsolationLevel, request_id: &str) -> SetIsolationLevelRequest {
    SetIsolationLevelRequest {
        service: "payments".into(),
        level: level.into(),
        request_id: request_id.into(),
        ..SetIsolationLevelRequest::default()
    }
}

fn is_unknown(refusal: &Refusal) -> bool {
    refusal.code == Code::DeadlineExceeded && refusal.reason == "STORE_OUTCOME_UNKNOWN"
}

fn is_unavailable(refusal: &Refusal) -> bool {
    refusal.code == Code::Unavailable && refusal.reason == "STORE_UNAVAILABLE"
}

/// The next policy that an open stream brings.
async fn update(follower: &mut Follower) -> PolicyUpdate {
    match follower.next().await.expect("the stream stays open") {
        Response::Update(update) => update,
        other => panic!("no update: {other:?}"),
    }
}

/// How often a manager lost its watch so far, by its own word.
fn losses(manager: &mut Manager) -> usize {
    manager.process().log().matches(LOSS).count()
}
