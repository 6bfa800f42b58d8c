//! Faults of networks, peers and processes, by the rows that they are known by: F, what breaks; S, who breaks it; P, what
//! is promised all the same. A test here is named after its row and asserts that its fault happened. Where a row is
//! covered elsewhere, this says where; of etcd's rows see `etcd_faults.rs` and `store_durability.rs`.
//!
//! | row | what | where |
//! |---|---|---|
//! | F8, P7 | older, repeated and reordered policies, new epochs | SDK: `sync/tests/{disorder,policies,restored}.rs`; here: damaged bytes |
//! | F10, P9 | who reads slowly or not at all | `limits.rs`, `sync_protocol.rs`; manager: `policy_sync_service/tests/staying.rs`; here: a throttled line |
//! | F11 | half-open connections | here: the instance vanishes; the manager: `faults/away.rs`; SDK: `sync/tests/streams.rs` (virtual time) |
//! | F12, P14 | all come back at once | here, 60 instances; `faults/storm.rs`; `limits.rs`; thousands: `make bench-fleet` |
//! | F13, P4 | torn files | store: `embedded/tests/`; SDK: `policy_file/`; `sync_policy_file.rs` |
//! | F14 | a disk that is full, broken or read-only | `faults/disk.rs`; `store_damage.rs`; store: `embedded/tests/faults.rs`; SDK: `policy_file/` |
//! | F16 | dead instances, a paused manager | `sync_convergence.rs`, `sync_outage.rs`, `faults/away.rs` |
//! | F18, P5 | poison policies | manager: `registry/tests/poison.rs`; `api_bad_input.rs`; SDK: `sync/tests/{policies,panics}.rs` |
//! | F19 | a wall clock that jumps | `faults/clocks.rs` |
//! | F23 | all of it, mixed, for long | `soak.rs` |
//! | S1, S2, S4 | floods of resets, continuations, empty frames, streams | `faults/frames.rs` |
//! | S3 | who never finishes a handshake | `hostile.rs`, `limits.rs` |
//! | S5 | long headers | `hostile.rs` |
//! | S6 | messages that are none | `api_bad_input.rs`; manager: `isolation_service/tests/errors.rs` |
//! | S7 | compressed requests | `faults/frames.rs`; manager: `policy_sync_service/tests/staying.rs` |
//! | S8 | names without end | `limits.rs`, `api_bad_input.rs`; manager: `registry/tests/writes.rs`, `instances/tests/unregistered.rs` |
//! | P1, P3 | no manager, no matter | `sync_outage.rs`; here: connections refused |
//! | P6 | every change arrives | `sync_fleet.rs`, `chaos.rs` |
//! | P8 | a policy is in force as a whole | engine: `isolation/tests/` and its models |
//! | P16, P17 | limits, the end of a manager | `limits.rs`, `lifecycle.rs`, `faults/drain.rs` |

use cofferdam::{Cofferdam, Revision, Service};
use cofferdam_core::wire::policy_hash;
use cofferdam_proto::v1::wait_for_convergence_request::Quorum;
use cofferdam_proto::v1::{
    GetConvergenceRequest, IsolatedService, IsolationLevel, ServiceConvergence, WaitForConvergenceRequest,
};
use cofferdam_tests::wire::{millis, registration, revision, seconds};
use cofferdam_tests::{Client, Direction, Fault, FaultProxy, Manager, Party, Store, eventually};
use std::time::Duration;

mod away;
mod clocks;
mod disk;
mod drain;
mod frames;
mod storm;

const SERVICE: &str = "orders-db";
const LEVELS: [IsolationLevel; 2] = [IsolationLevel::Full, IsolationLevel::Basic];

/// An application with an SDK.
struct Instance {
    cofferdam: Cofferdam,
    service: Service,
}

impl Instance {
    fn start(url: &str, id: &str) -> Self {
        let cofferdam = Cofferdam::builder("checkout").manager(url).instance_id(id).start();
        let service = cofferdam.service(SERVICE);
        Self { cofferdam, service }
    }

    fn is_at(&self, newest: &IsolatedService) -> bool {
        let at = revision(Some(newest));
        self.service.revision() == Some(Revision { epoch: at.epoch, revision: at.revision })
    }

    async fn follows(&self, newest: &IsolatedService) {
        eventually(
            "the instance to follow",
            async || {
                if self.is_at(newest) { Ok(()) } else { Err(self.service.revision()) }
            },
        )
        .await;
    }
}

/// A manager, an operator, an instance, and another one behind a network.
async fn near_and_far(variables: &[(&str, &str)]) -> (Manager, Client, FaultProxy, Instance, Instance) {
    near_and_far_on(Store::Memory, variables).await
}

/// The same, with the manager's state in this store.
async fn near_and_far_on(
    store: Store,
    variables: &[(&str, &str)],
) -> (Manager, Client, FaultProxy, Instance, Instance) {
    let manager = Manager::start_with(store, variables).await;
    let client = manager.client();
    let first = client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
    let network = FaultProxy::start(manager.address().parse().unwrap()).await;
    let near = Instance::start(&manager.url(), "near");
    let far = Instance::start(&network.url(), "far");
    near.follows(&first).await;
    far.follows(&first).await;
    stands(&client, [2, 0, 0, 0]).await;
    (manager, client, network, near, far)
}

/// Applied, pending, refused, silent; once they are as they should be.
async fn stands(client: &Client, expected: [u32; 4]) -> ServiceConvergence {
    eventually("the instances to stand so", async || {
        let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
        let seen = client.get_convergence(request).await.unwrap().convergence.unwrap().services.remove(0);
        let stand = [seen.applied, seen.pending, seen.refused, seen.silent];
        if stand == expected { Ok(seen) } else { Err(seen) }
    })
    .await
}

/// Whether so many instances are reached within that time.
async fn is_reached(client: &Client, count: u32, timeout: prost_types::Duration) -> bool {
    let (service, quorum) = (SERVICE.to_owned(), Some(Quorum::Count(count)));
    let request = WaitForConvergenceRequest { service, quorum, timeout: Some(timeout), ..Default::default() };
    client.wait_for_convergence(request).await.unwrap().reached
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_p9_a_throttled_line_delays_nobody_else_and_brings_the_newest() {
    let (_manager, client, network, near, far) = near_and_far(&[]).await;
    network.set(Fault::Throttle(200));
    let mut newest = None;
    for round in 0..20 {
        let changed = client.set_level(SERVICE, LEVELS[round % 2]).await.unwrap();
        near.follows(&changed).await;
        newest = Some(changed);
    }
    let newest = newest.unwrap();
    assert!(!is_reached(&client, 2, millis(50)).await || far.is_at(&newest));
    eventually("a piece to wait for the rate", async || if network.seen().throttled > 0 { Ok(()) } else { Err(()) })
        .await;
    network.set(Fault::None);
    assert!(is_reached(&client, 2, seconds(30)).await);
    assert!(far.is_at(&newest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_p6_an_answer_that_comes_late_is_waited_for() {
    let (_manager, client, network, near, far) = near_and_far(&[]).await;
    for round in 0..6 {
        let before = network.seen().delayed;
        network.set(Fault::Delay(Duration::from_millis(50)));
        let newest = client.set_level(SERVICE, LEVELS[round % 2]).await.unwrap();
        assert!(is_reached(&client, 2, seconds(30)).await);
        assert!(near.is_at(&newest) && far.is_at(&newest), "it was said to be done too early");
        assert!(network.seen().delayed >= before + 2, "there and back");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_an_instance_that_vanishes_is_noticed_and_never_done() {
    let keepalive = [("COFFERDAM_LISTEN_KEEPALIVE_INTERVAL", "1s"), ("COFFERDAM_LISTEN_KEEPALIVE_TIMEOUT", "1s")];
    let (_manager, client, network, near, far) = near_and_far(&keepalive).await;
    network.refuse(true);
    network.vanish(Party::Client);
    eventually("the connection to be half open", async || if network.seen().half_open == 1 { Ok(()) } else { Err(()) })
        .await;
    // The manager's side of it stands, and takes what it is sent.
    let newest = client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    near.follows(&newest).await;
    assert!(!is_reached(&client, 2, millis(50)).await);
    stands(&client, [1, 0, 0, 1]).await;
    eventually("the instance to be turned away", async || if network.seen().refused > 0 { Ok(()) } else { Err(()) })
        .await;
    assert!(!far.cofferdam.connection().is_connected() && !far.is_at(&newest));
    network.refuse(false);
    assert!(is_reached(&client, 2, seconds(30)).await);
    assert!(far.is_at(&newest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_two_streams_of_one_instance_are_one_instance() {
    // The manager is not to notice by itself: that the second stream comes is what ends the first.
    let (_manager, client, network, _near, far) = near_and_far(&[]).await;
    network.vanish(Party::Client);
    eventually("the connection to be half open", async || if network.seen().half_open == 1 { Ok(()) } else { Err(()) })
        .await;
    let newest = client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    far.follows(&newest).await;
    assert_eq!(network.seen().accepted, 2);
    stands(&client, [2, 0, 0, 0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f8_p7_a_damaged_byte_is_never_a_policy() {
    let (_manager, client, network, _near, far) = near_and_far(&[]).await;
    for (round, way) in [Direction::ToClient, Direction::ToServer].into_iter().cycle().take(6).enumerate() {
        network.set(Fault::FlipByte(way));
        let newest = client.set_level(SERVICE, LEVELS[round % 2]).await.unwrap();
        eventually("a byte to be damaged", async || match network.seen().damaged {
            damaged if damaged == round as u64 + 1 => Ok(()),
            damaged => Err(damaged),
        })
        .await;
        assert!(is_reached(&client, 2, seconds(30)).await);
        assert!(far.is_at(&newest));
        assert_eq!(policy_hash(&far.service.policy()).as_bytes()[..], newest.policy_hash[..], "round {round}, {way:?}");
    }
    assert_eq!(far.cofferdam.connection().refused, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_p3_p14_a_crowd_that_lost_its_connections_comes_back_once_each() {
    const CROWD: u64 = 60;
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    let first = client.register(registration(SERVICE, IsolationLevel::Basic)).await.unwrap();
    let network = FaultProxy::start(manager.address().parse().unwrap()).await;
    let crowd: Vec<_> = (0..CROWD).map(|index| Instance::start(&network.url(), &format!("task-{index}"))).collect();
    assert!(is_reached(&client, CROWD as u32, seconds(30)).await);

    network.refuse(true);
    network.reset();
    eventually("all to be cut off and turned away", async || match network.seen() {
        seen if seen.reset == CROWD && seen.refused >= CROWD => Ok(()),
        seen => Err(seen),
    })
    .await;
    let newest = client.set_level(SERVICE, IsolationLevel::Full).await.unwrap();
    stands(&client, [0, 0, 0, CROWD as u32]).await;
    for instance in &crowd {
        assert!(!instance.cofferdam.connection().is_connected());
        assert!(instance.is_at(&first), "the last policy stays");
        instance.service.execute("get", || async { Ok::<_, std::io::Error>(7) }).await.unwrap();
    }
    network.refuse(false);
    assert!(is_reached(&client, CROWD as u32, seconds(30)).await);
    assert!(crowd.iter().all(|instance| instance.is_at(&newest)));
    assert_eq!(network.seen().accepted, 2 * CROWD, "nobody came twice");
}
