//! One manager under every kind of fault, mixed, for as long as one likes (F23): each time that all is well again all of its
//! instances have the newest policy, none ever had an older one than before, and the manager holds no more than it did.
//!
//! Each kind comes in each cycle, in an order drawn from a seed, which is printed; `COFFERDAM_TEST_SEED=n` repeats it.
//! `make soak` is the long form; `COFFERDAM_ROUNDS=n` is one of so many cycles.

use cofferdam::{Cofferdam, Revision, Service};
use cofferdam_proto::v1::{GetConvergenceRequest, IsolatedService, IsolationLevel};
use cofferdam_tests::wire::{registration, revision};
use cofferdam_tests::{
    Client, Direction, Etcd, Fault, FaultProxy, Manager, Numbers, Party, Process, Refusal, Store, eventually, rounds,
};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const SERVICE: &str = "orders-db";
const INSTANCES: usize = 8;
/// Cycles in which the manager's memory and tables take their size, in the short form and in the long one.
const WARM_UP: (usize, usize) = (1, 20);
const CYCLES: (usize, usize) = (1, 2000);
/// More than fragments, caches and histories of one service come to; far less than anything that each cycle leaves behind
/// over the long form.
const MAX_GROWTH: u64 = 16 * 1024 * 1024;
/// Connections to the store and of operators that are there at one time and not at another; fewer than instances that lose
/// theirs in each cycle.
const MORE_FILES: usize = 4;
/// A client that waits no longer leaves a paused manager or store alone soon. Only what goes wrong is asked by it.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// The instances lose their connections, by a reset.
    ResetInstances,
    /// They are gone, and the manager is not told.
    LoseInstances,
    /// A byte on the way to the manager, or to an instance, is another one.
    DamageByte,
    /// An instance ends, another one takes its place.
    ReplaceInstance,
    /// Many connect and say nothing, or nonsense.
    Strangers,
    /// The manager stands still until a call to it is given up.
    PauseManager,
    /// The manager loses its connections to the store.
    CutStore,
    /// The store stands still until a write is given up.
    PauseStore,
    /// The store is killed, and comes back on the same data.
    KillStore,
}

const KINDS: [Kind; 9] = [
    Kind::ResetInstances,
    Kind::LoseInstances,
    Kind::DamageByte,
    Kind::ReplaceInstance,
    Kind::Strangers,
    Kind::PauseManager,
    Kind::CutStore,
    Kind::PauseStore,
    Kind::KillStore,
];

struct Instance {
    cofferdam: Cofferdam,
    service: Service,
    last: Option<Revision>,
}

struct Site {
    etcd: Etcd,
    to_etcd: FaultProxy,
    manager: Manager,
    front: FaultProxy,
    client: Client,
    hasty: Client,
    instances: Vec<Instance>,
    started: usize,
    writes: usize,
}

impl Site {
    async fn start() -> Self {
        let etcd = Etcd::start(1).await;
        let to_etcd = FaultProxy::start(etcd.address(0).parse().unwrap()).await;
        let variables = [
            ("COFFERDAM_LISTEN_KEEPALIVE_INTERVAL", "1s"),
            ("COFFERDAM_LISTEN_KEEPALIVE_TIMEOUT", "1s"),
            ("COFFERDAM_LISTEN_HANDSHAKE_TIMEOUT", "500ms"),
        ];
        let manager = Manager::start_with(Store::Etcd(to_etcd.address().to_string()), &variables).await;
        let front = FaultProxy::start(manager.address().parse().unwrap()).await;
        let (client, hasty) = (manager.client(), Client::patient(&manager.url(), PATIENCE));
        client.register(registration(SERVICE, IsolationLevel::Enhanced)).await.unwrap();
        let mut site =
            Self { etcd, to_etcd, manager, front, client, hasty, instances: Vec::new(), started: 0, writes: 0 };
        for _ in 0..INSTANCES {
            site.join();
        }
        site
    }

    fn join(&mut self) {
        self.started += 1;
        let id = format!("task-{}", self.started);
        let cofferdam = Cofferdam::builder("checkout").manager(self.front.url()).instance_id(id).start();
        let service = cofferdam.service(SERVICE);
        self.instances.push(Instance { cofferdam, service, last: None });
    }

    /// Lets something go wrong, sees that it did, and mends it.
    async fn suffer(&mut self, kind: Kind, numbers: &mut Numbers) {
        let (front, to_etcd) = (self.front.seen(), self.to_etcd.seen());
        match kind {
            Kind::ResetInstances => {
                self.front.reset();
                happens("a reset", || self.front.seen().reset > front.reset).await;
            }
            Kind::LoseInstances => {
                self.front.vanish(Party::Client);
                happens("a half-open connection", || self.front.seen().half_open > front.half_open).await;
            }
            Kind::DamageByte => {
                let way = [Direction::ToServer, Direction::ToClient][usize::try_from(numbers.below(2)).unwrap()];
                self.front.set(Fault::FlipByte(way));
                eventually("a byte to be damaged", async || {
                    // So that something is said.
                    let _ = self.write_hastily().await;
                    if self.front.seen().damaged > front.damaged { Ok(()) } else { Err(self.front.seen()) }
                })
                .await;
                self.front.set(Fault::None);
            }
            Kind::ReplaceInstance => {
                let index = usize::try_from(numbers.below(INSTANCES as u64)).unwrap();
                self.instances.swap_remove(index).cofferdam.shutdown().await;
                self.join();
            }
            Kind::Strangers => {
                let address = self.manager.address();
                let strangers = join_all((0..50).map(|_| TcpStream::connect(&address))).await;
                for (index, stranger) in strangers.into_iter().enumerate() {
                    let mut stranger = stranger.unwrap();
                    if index % 2 == 0 {
                        // It may be cut off before all of it is written.
                        let _ = stranger.write_all(&[0x5a; 4096]).await;
                    }
                }
            }
            Kind::PauseManager => {
                self.manager.process().pause().await;
                assert!(self.hasty.info(SERVICE).await.is_err(), "it does not answer");
                assert!(self.manager.process().is_paused());
                self.manager.process().resume();
            }
            Kind::CutStore => {
                self.to_etcd.reset();
                happens("a reset", || self.to_etcd.seen().reset > to_etcd.reset).await;
            }
            Kind::PauseStore => {
                self.etcd.pause(0).await;
                assert!(self.write_hastily().await.is_err(), "nobody can confirm it");
                self.etcd.resume(0);
            }
            Kind::KillStore => {
                self.etcd.kill(0);
                assert!(self.write_hastily().await.is_err(), "nobody can take it");
                self.etcd.restart(0).await;
            }
        }
    }

    /// Changes the level to one that it did not have.
    async fn write(&mut self) -> Result<IsolatedService, Refusal> {
        let level = self.next_level();
        self.client.set_level(SERVICE, level).await
    }

    /// The same, and gives up soon.
    async fn write_hastily(&mut self) -> Result<IsolatedService, Refusal> {
        let level = self.next_level();
        self.hasty.set_level(SERVICE, level).await
    }

    fn next_level(&mut self) -> IsolationLevel {
        self.writes += 1;
        [IsolationLevel::Full, IsolationLevel::Basic, IsolationLevel::Enhanced][self.writes % 3]
    }

    /// Waits until all is well: a write is taken, every instance has it, and the manager says exactly so.
    async fn recover(&mut self) {
        let newest = eventually("a write", async || self.write().await).await;
        let at = revision(Some(&newest));
        let at = Revision { epoch: at.epoch, revision: at.revision };
        for instance in &mut self.instances {
            eventually("an instance to follow", async || {
                let now = instance.service.revision();
                assert!(now >= instance.last, "it was at {:?}, and then at {now:?}", instance.last);
                instance.last = now;
                // One whose answer was lost may be applied later.
                if now >= Some(at) { Ok(()) } else { Err((now, at)) }
            })
            .await;
            instance.service.execute("get", || async { Ok::<_, std::io::Error>(7) }).await.unwrap();
        }
        eventually("the manager to say so", async || {
            let request = GetConvergenceRequest { service: SERVICE.to_owned(), ..Default::default() };
            let answer = self.client.get_convergence(request).await.map_err(|refusal| format!("{refusal:?}"))?;
            let seen = answer.convergence.unwrap().services.remove(0);
            let stand = [seen.applied, seen.pending, seen.refused, seen.silent];
            if stand == [INSTANCES as u32, 0, 0, 0] { Ok(()) } else { Err(format!("{seen:?}")) }
        })
        .await;
    }

    /// One fault of each kind, in some order.
    async fn cycle(&mut self, numbers: &mut Numbers) {
        let mut kinds = KINDS;
        for last in (1..kinds.len()).rev() {
            kinds.swap(last, usize::try_from(numbers.below(last as u64 + 1)).unwrap());
        }
        for kind in kinds {
            self.suffer(kind, numbers).await;
            self.recover().await;
        }
    }

    fn process(&mut self) -> &mut Process {
        self.manager.process()
    }
}

/// That a fault has happened.
async fn happens(what: &str, mut has_happened: impl FnMut() -> bool) {
    eventually(what, async || if has_happened() { Ok(()) } else { Err("not yet") }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f23_a_manager_that_has_met_every_fault_is_well_and_holds_no_more_than_before() {
    let mut numbers = Numbers::seeded();
    let mut site = Site::start().await;
    site.recover().await;
    for _ in 0..rounds(WARM_UP.0, WARM_UP.1) {
        site.cycle(&mut numbers).await;
    }
    let (files, memory) = (site.process().open_files(), site.process().resident_bytes());
    for _ in 0..rounds(CYCLES.0, CYCLES.1) {
        site.cycle(&mut numbers).await;
    }
    // What vanished is noticed by keepalive.
    eventually("about as many files to be open as before", async || match site.process().open_files() {
        now if now <= files + MORE_FILES => Ok(()),
        now => Err((now, files)),
    })
    .await;
    let grown = site.process().resident_bytes().saturating_sub(memory);
    eprintln!("{} writes, {} instances; {files} files, {memory} bytes and {grown} more", site.writes, site.started);
    assert!(grown < MAX_GROWTH, "{grown} bytes more than {memory}");
    assert!(!site.process().log().contains("panicked"));
}
