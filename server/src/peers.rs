//! The other managers that share this one's store.
//!
//! Each of them keeps one key, `peer/ID`, under a lease, and watches those of the others: nobody configures who there is.
//! What is in the store is the same for all of them; what is not (who is connected, what instances report) each knows of
//! its own instances. So whoever is asked asks the others, all at once and not for long, and adds up (`ask`). A manager
//! that does not answer is named and never guessed at.
//!
//! Two things have to be known before anybody asks, and are told on a stream from each to each (`follow`): which instances
//! have come where, so that one that has moved counts once ([`Instances::moved_away`]), and how services stand, so that
//! health and fleet hints are the same everywhere ([`Instances::stand_elsewhere`]).
//!
//! A manager is gone when its lease is, and its instances have had the time to come to others that it gave them
//! (`reconnect_window`). Where it may only be cut off, it is missed for longer: its instances would not notice at once
//! (`LINGER`). What it said of services it said of its instances, so that goes earlier, as soon as its stream is over for
//! longer than it may be silent: otherwise a breaker that has closed long since would stay open for the others.
//!
//! Until a manager has read who the others are, and its own key is there for them to find, it cannot speak for all, and
//! says so (`ask`).
//!
//! A manager whose store is its own alone has none of this: [`Peers::alone`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::{Channel, Endpoint};

use crate::{clock::Clock, instances::Instances, store::Store, supervise::supervised};

mod ask;
mod follow;
mod part;
mod record;
mod roster;
mod wire;

pub(crate) use self::ask::MAX_MESSAGE_BYTES;
pub(crate) use self::part::{Local, ServicePart, Slot, TotalScope, TotalsPart};
pub(crate) use self::wire::{arrival_to_wire, losses_to_wire, stand_to_wire, target_from_wire, target_to_wire};

/// For how much longer a manager is missed that may still have instances, at least: as long as an SDK takes to give up a
/// stream that says nothing.
const LINGER: Duration = Duration::from_secs(30);

/// How a manager is found by others, and how it asks them.
#[derive(Clone, Debug)]
pub struct PeersOptions {
    /// Where the others reach this one, host and port; absent where it does not say.
    pub address: Option<String>,
    /// How long the others may take to answer. Default 2 s.
    pub timeout: Duration,
    /// This one's id.
    pub id: String,
    /// How long the others take this one for there after it was last heard of. Default 10 s.
    pub lease: Duration,
}

impl Default for PeersOptions {
    fn default() -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        Self { id, address: None, timeout: Duration::from_secs(2), lease: Duration::from_secs(10) }
    }
}

/// The other managers. Cheap to clone; when the last clone goes, they are followed no more.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    joined: Option<Arc<Joined>>,
}

#[derive(Debug)]
struct Joined {
    shared: Arc<Shared>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

#[derive(Debug)]
struct Shared {
    id: String,
    /// Where the others reach this one; empty where it does not say.
    address: String,
    timeout: Duration,
    instances: Arc<Instances>,
    joining: watch::Sender<Joining>,
    peers: Mutex<BTreeMap<String, Peer>>,
}

/// How far this manager has come with making itself one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Joining {
    /// It has read which others there are.
    has_listed: bool,
    /// Its own key is there, as far as it knows.
    is_enlisted: bool,
}

/// One of them.
#[derive(Debug)]
struct Peer {
    address: String,
    /// Absent where its address is none.
    channel: Option<Channel>,
    /// What was last heard of the instances that have come to it.
    heard: Option<u64>,
    /// Over how much time its instances come to others when they lose it. Zero where it was never heard of: those that heard
    /// of it miss it for that long, and say so.
    reconnect_window: Duration,
    /// Since when its key is gone. `None`: it is there.
    left: Option<Instant>,
    /// When it was last heard. `None`: never.
    heard_at: Option<Instant>,
    _follower: AbortOnDropHandle<()>,
}

impl Peers {
    /// No others, now or ever.
    pub fn alone() -> Self {
        Self::default()
    }

    /// Makes this manager known to those that share `store`, and begins to follow them.
    pub fn join(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        instances: Arc<Instances>,
        options: PeersOptions,
    ) -> Self {
        let PeersOptions { id, address, timeout, lease } = options;
        if address.is_none() {
            tracing::warn!("other managers cannot ask this one: say where they reach it, with --advertise-address");
        }
        let record = record::encode(address.as_deref(), &*clock);
        let address = address.unwrap_or_default();
        let (joining, peers) = (watch::Sender::default(), Mutex::default());
        let shared = Arc::new(Shared { id, address, timeout, instances, joining, peers });
        let (kept, weak) = (Arc::clone(&store), Arc::downgrade(&shared));
        let recording = move || record::keep(Arc::clone(&kept), Weak::clone(&weak), record.clone(), lease);
        let weak = Arc::downgrade(&shared);
        let watching = move || roster::follow(Arc::clone(&store), Weak::clone(&weak));
        let _tasks = [supervised("own key", recording), supervised("managers", watching)];
        Self { joined: Some(Arc::new(Joined { shared, _tasks })) }
    }

    /// This manager's id; empty where it is alone.
    pub(crate) fn id(&self) -> &str {
        self.joined.as_ref().map(|joined| joined.shared.id.as_str()).unwrap_or_default()
    }

    /// Waits until this manager is one of them: it knows the others, and they can find it. At most for as long as others may
    /// take to answer, for what it does without them.
    pub(crate) async fn joined(&self) {
        let Some(joined) = &self.joined else { return };
        let mut joining = joined.shared.joining.subscribe();
        let whole = joining.wait_for(|joining| joining.is_whole());
        let in_time = tokio::time::timeout(joined.shared.timeout, whole).await.is_ok();
        if !in_time {
            tracing::warn!("serving before the other managers are known: until then this one cannot speak for all");
        }
    }

    /// Whether there is certainly none.
    pub(crate) fn are_none(&self) -> bool {
        self.joined.as_ref().is_none_or(|joined| joined.shared.is_joined() && joined.shared.lock().is_empty())
    }

    /// How many of them are there, and how many are missed.
    pub(crate) fn presence(&self) -> (usize, usize) {
        let Some(joined) = &self.joined else { return (0, 0) };
        let peers = joined.shared.lock();
        let missed = peers.values().filter(|peer| peer.left.is_some()).count();
        (peers.len() - missed, missed)
    }

    /// Each of them: its id, its address, and the way to it, absent where its address is none.
    pub(crate) fn all(&self) -> Vec<(String, String, Option<Channel>)> {
        let Some(joined) = &self.joined else { return Vec::new() };
        let peers = joined.shared.lock();
        peers.iter().map(|(id, peer)| (id.clone(), peer.address.clone(), peer.channel.clone())).collect()
    }

    /// What was heard of arrivals at each of them, by its id.
    pub(crate) fn heard(&self) -> BTreeMap<String, u64> {
        let Some(joined) = &self.joined else { return BTreeMap::new() };
        let peers = joined.shared.lock();
        peers.iter().map(|(id, peer)| (id.clone(), peer.heard.unwrap_or_default())).collect()
    }
}

impl Joining {
    fn is_whole(self) -> bool {
        self.has_listed && self.is_enlisted
    }
}

impl Shared {
    fn is_joined(&self) -> bool {
        self.joining.borrow().is_whole()
    }

    /// A manager is there.
    fn found(self: &Arc<Self>, id: &str, address: String) {
        let mut peers = self.lock();
        if let Some(peer) = peers.get_mut(id) {
            peer.left = None;
            return;
        }
        self.instances.events().manager_is_there(id, &address);
        tracing::info!(manager = id, address, "another manager shares the store");
        let endpoint = endpoint(&address);
        let channel = endpoint.as_ref().map(Endpoint::connect_lazy);
        let (weak, followed) = (Arc::downgrade(self), id.to_owned());
        let following = move || follow::follow(Weak::clone(&weak), followed.clone(), endpoint.clone());
        let _follower = supervised("another manager", following);
        let (heard, reconnect_window, left, heard_at) = (None, Duration::ZERO, None, None);
        let peer = Peer { address, channel, heard, reconnect_window, left, heard_at, _follower };
        peers.insert(id.to_owned(), peer);
    }

    /// Where a manager is; empty where that is not known.
    fn address_of(&self, id: &str) -> String {
        self.lock().get(id).map(|peer| peer.address.clone()).unwrap_or_default()
    }

    /// A manager's key is gone.
    fn left(&self, id: &str) {
        if let Some(peer) = self.lock().get_mut(id) {
            peer.left.get_or_insert_with(Instant::now);
        }
    }

    /// Forgets a manager for good whose key is gone, once it was missed for long enough: for as long as its instances take to
    /// come to others, and where it may still run, or has run on without its key, for `LINGER` at least: then no lease has run
    /// out since it was there. Whether it is forgotten. It is all one step: its key may come back at any moment.
    fn forget_if_left(&self, id: &str, is_absent: bool) -> bool {
        let mut peers = self.lock();
        let Some((peer, left)) = peers.get(id).and_then(|peer| Some((peer, peer.left?))) else { return false };
        let (window, heard_since) = (peer.reconnect_window, peer.heard_at.filter(|heard_at| *heard_at > left));
        let missed_for = if is_absent && heard_since.is_none() { window } else { LINGER.max(window) };
        if heard_since.unwrap_or(left).elapsed() < missed_for {
            return false;
        }
        let forgotten = peers.remove(id);
        self.instances.forget_elsewhere(id);
        drop(peers);
        if let Some(peer) = forgotten {
            tracing::info!(manager = id, address = peer.address, "another manager is gone");
            self.instances.events().manager_is_gone(id, &peer.address);
        }
        true
    }

    /// Nothing between two changes can panic: a poisoned map is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to an address. `None`: it is none.
fn endpoint(address: &str) -> Option<Endpoint> {
    if address.is_empty() {
        return None;
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).ok()?;
    let (interval, timeout) = (Duration::from_secs(5), Duration::from_secs(3));
    let endpoint = endpoint.connect_timeout(timeout).tcp_nodelay(true);
    Some(endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(timeout))
}

#[cfg(test)]
mod tests;
