//! A bad network between two parties: a TCP proxy that does to a connection what cables, switches and firewalls do.
//!
//! A fault is set for the whole proxy, is felt at once by the connections that are open and by those to come, and says
//! what it did: [`FaultProxy::seen`] counts the bytes it held back, delayed, slowed down or damaged and the connections it ended.
//! A test asserts on that, for a fault that never happened proves nothing.
//!
//! What is held back is not lost: it flows again once the fault is lifted, as TCP sends again what was not acknowledged.

mod connection;
mod pump;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// A proxy in front of one address. Dropped, it is gone, with all its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    plan: watch::Sender<Plan>,
    seen: Arc<Counts>,
    _accepting: AbortOnDropHandle<()>,
}

/// What happens to bytes under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: they pass.
    #[default]
    None,
    /// Each piece arrives so much later, in order.
    Delay(Duration),
    /// Nothing that is sent this way arrives, and nobody is told.
    Blackhole(Direction),
    /// So many bytes a second, each way.
    Throttle(u32),
    /// The next byte this way arrives damaged, once, on whatever connection; then they pass.
    FlipByte(Direction),
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From whoever connected to the proxy.
    ToServer,
    /// From what the proxy stands in front of.
    ToClient,
    /// Both ways.
    Both,
}

/// One of the two parties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Whoever connected to the proxy.
    Client,
    /// What the proxy stands in front of.
    Server,
}

/// What the proxy did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Connections taken in.
    pub accepted: u64,
    /// Connections turned away.
    pub refused: u64,
    /// Bytes that passed, both ways.
    pub passed: u64,
    /// Times that there was something to pass on, and it was held back.
    pub held_back: u64,
    /// Pieces that were passed on late.
    pub delayed: u64,
    /// Pieces that had to wait for the rate.
    pub throttled: u64,
    /// Bytes damaged.
    pub damaged: u64,
    /// Connections ended in good order.
    pub cut: u64,
    /// Connections ended by a reset.
    pub reset: u64,
    /// Connections of which one party was left alone with.
    pub half_open: u64,
}

/// What is in force. Connections that are older than an ending's number obey it.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    fault: Fault,
    is_refusing: bool,
    /// How often the connections were ended, and how the last time.
    endings: u64,
    ending: Ending,
    /// How many bytes were to be damaged so far.
    flips: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum Ending {
    #[default]
    Cut,
    Reset,
    HalfOpen(Party),
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    passed: AtomicU64,
    held_back: AtomicU64,
    delayed: AtomicU64,
    throttled: AtomicU64,
    damaged: AtomicU64,
    cut: AtomicU64,
    reset: AtomicU64,
    half_open: AtomicU64,
}

impl FaultProxy {
    /// A proxy without a fault, on a port of its own, in front of `server`, which need not be there yet.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (plan, watched) = watch::channel(Plan::default());
        let seen = Arc::<Counts>::default();
        let accepting = tokio::spawn(connection::accept(listener, server, watched, Arc::clone(&seen)));
        Self { address, plan, seen, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a gRPC client connects to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a fault in force in place of the one before.
    pub fn set(&self, fault: Fault) {
        self.plan.send_modify(|plan| {
            plan.fault = fault;
            plan.flips += u64::from(matches!(fault, Fault::FlipByte(_)));
        });
    }

    /// Whether new connections are turned away.
    pub fn refuse(&self, is_refusing: bool) {
        self.plan.send_modify(|plan| plan.is_refusing = is_refusing);
    }

    /// Ends all connections in good order.
    pub fn cut(&self) {
        self.end(Ending::Cut);
    }

    /// Ends all connections by a reset.
    pub fn reset(&self) {
        self.end(Ending::Reset);
    }

    /// Ends all connections for one party, and leaves the other one believing that it still has one.
    pub fn vanish(&self, party: Party) {
        self.end(Ending::HalfOpen(party));
    }

    /// What was done so far.
    pub fn seen(&self) -> Seen {
        let Counts { accepted, refused, passed, held_back, delayed, throttled, damaged, cut, reset, half_open } =
            &*self.seen;
        Seen {
            accepted: accepted.load(Relaxed),
            refused: refused.load(Relaxed),
            passed: passed.load(Relaxed),
            held_back: held_back.load(Relaxed),
            delayed: delayed.load(Relaxed),
            throttled: throttled.load(Relaxed),
            damaged: damaged.load(Relaxed),
            cut: cut.load(Relaxed),
            reset: reset.load(Relaxed),
            half_open: half_open.load(Relaxed),
        }
    }

    fn end(&self, ending: Ending) {
        self.plan.send_modify(|plan| {
            plan.endings += 1;
            plan.ending = ending;
        });
    }
}

impl Direction {
    fn covers(self, way: Self) -> bool {
        self == Self::Both || self == way
    }
}

/// Counts one more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests;
