//! What this crate's tests share: a store that fails on demand, and requests with the right parts.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1;
use futures_util::{StreamExt, stream};
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use tokio::sync::{oneshot, watch};

use crate::{
    clock::testing::FixedClock,
    events::Events,
    registry::{Registry, RegistryOptions, key, service_key},
    store::{
        CommitError, Committed, Conflict, FailedPrecondition, LeaseId, Listing, MemoryStore, Store, StoreError,
        StoreIdentity, StoreRevision, Txn, Watch, WatchError,
    },
};

pub(crate) use crate::grpc::testing::{Manager, Watching, reason};

/// The epoch of every store in tests: the time at which their clock stands still.
pub(crate) const EPOCH: u64 = 1_700_000_000_000;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An in-memory store that fails on demand, and can be swapped for another one.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Mutex<Arc<MemoryStore>>,
    /// Every call answers that the store is away.
    away: watch::Sender<bool>,
    /// Watches hold back what they have.
    deaf: watch::Sender<bool>,
    /// So many commits are applied and then not answered.
    pub(crate) unanswered: AtomicU32,
    /// So many commits are refused for a conflict that is not there.
    pub(crate) conflicts: AtomicU32,
    /// So many commits find that the lease is gone.
    pub(crate) lost_leases: AtomicU32,
    /// No lease is granted.
    pub(crate) has_no_leases: AtomicBool,
    /// Who the managers are is not told.
    pub(crate) has_no_peers: AtomicBool,
    /// So long every call takes.
    delay: Mutex<Duration>,
    /// Beside that each call takes some time of its own.
    jitter: Mutex<Option<SmallRng>>,
    /// By how much its revision is ahead of what happens in it: somebody else writes to the same etcd.
    pub(crate) foreign: AtomicU64,
    /// How many commits were asked for.
    pub(crate) commits: AtomicU32,
    /// How many leases were asked for.
    pub(crate) leases: AtomicU32,
    /// So many commits are not answered and come after the next one.
    pub(crate) belated: AtomicU32,
    /// A commit that is still to come.
    late: Mutex<Option<Txn>>,
    /// Holds back the next listing of everything, which is of when it was asked for.
    gate: Mutex<Option<oneshot::Receiver<()>>>,
    /// So often a watch panics when it has something.
    pub(crate) panics: Arc<AtomicU32>,
}

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::over(Arc::new(MemoryStore::new()))
    }

    /// Another way to the same store, with faults of its own.
    pub(crate) fn beside(&self) -> Arc<Self> {
        Self::over(self.inner())
    }

    fn over(store: Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(store),
            away: watch::Sender::new(false),
            deaf: watch::Sender::new(false),
            unanswered: AtomicU32::default(),
            conflicts: AtomicU32::default(),
            lost_leases: AtomicU32::default(),
            has_no_leases: AtomicBool::default(),
            has_no_peers: AtomicBool::default(),
            delay: Mutex::default(),
            jitter: Mutex::default(),
            foreign: AtomicU64::default(),
            commits: AtomicU32::default(),
            leases: AtomicU32::default(),
            belated: AtomicU32::default(),
            late: Mutex::default(),
            gate: Mutex::default(),
            panics: Arc::default(),
        })
    }

    /// Holds back the next listing of everything until what this returns is dropped.
    pub(crate) fn hold_listing(&self) -> oneshot::Sender<()> {
        let (opened, gate) = oneshot::channel();
        *self.gate.lock().unwrap() = Some(gate);
        opened
    }

    /// Whether a listing of everything is held back.
    pub(crate) fn holds_listing(&self) -> bool {
        self.gate.lock().unwrap().is_none()
    }

    /// Takes the store away, watches included, or brings it back.
    pub(crate) fn set_away(&self, away: bool) {
        self.away.send_replace(away);
    }

    /// Has watches tell nothing more, or what they held back.
    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.send_replace(deaf);
    }

    /// Makes every call take so long from now on.
    pub(crate) fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// Makes each call take up to 10 ms from now on, at random from this seed.
    pub(crate) fn set_jitter(&self, seed: u64) {
        *self.jitter.lock().unwrap() = Some(SmallRng::seed_from_u64(seed));
    }

    /// The store behind the faults, to write to it as another manager would.
    pub(crate) fn inner(&self) -> Arc<MemoryStore> {
        Arc::clone(&self.inner.lock().unwrap())
    }

    /// Swaps the store for another one; ends the watches.
    pub(crate) fn swap(&self, other: MemoryStore) {
        *self.inner.lock().unwrap() = Arc::new(other);
        self.set_away(true);
        self.set_away(false);
    }

    async fn reach(&self) -> Result<Arc<MemoryStore>, StoreError> {
        let jitter = self.jitter.lock().unwrap().as_mut().map(|random| random.random_range(0..10));
        let delay = *self.delay.lock().unwrap() + Duration::from_millis(jitter.unwrap_or_default());
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if *self.away.borrow() {
            return Err(StoreError::Unavailable { reason: "it was taken away".to_owned() });
        }
        Ok(self.inner())
    }
}

/// What is logged while it is the subscriber, and where to read it.
pub(crate) fn log() -> (impl tracing::Subscriber + Send + Sync, Records) {
    let records = Records::default();
    let writer = records.clone();
    (tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish(), records)
}

/// What was logged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<u8>>>);

impl Records {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

fn refuse(fault: &AtomicBool) -> Result<(), StoreError> {
    let reason = "not this one".to_owned();
    if fault.load(Ordering::SeqCst) { Err(StoreError::Unavailable { reason }) } else { Ok(()) }
}

#[async_trait]
impl Store for FaultyStore {
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let inner = self.reach().await?;
        if prefix == key::PEERS {
            refuse(&self.has_no_peers)?;
        }
        let listing = inner.list(prefix).await?;
        let foreign = self.foreign.load(Ordering::SeqCst);
        Ok(Listing { revision: StoreRevision::new(listing.revision.get() + foreign), ..listing })
    }

    async fn list_without(&self, prefixes: &[&str]) -> Result<Listing, StoreError> {
        let listing = self.reach().await?.list_without(prefixes).await;
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            let _ = gate.await;
        }
        listing
    }

    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError> {
        self.commits.fetch_add(1, Ordering::SeqCst);
        let inner = self.reach().await?;
        if take_one(&self.conflicts) {
            let precondition = txn.preconditions[0].clone();
            let current = inner.list(precondition.key()).await?.entries.into_iter().next();
            let failed = vec![FailedPrecondition { precondition, current }];
            return Err(Conflict { revision: StoreRevision::ZERO, failed }.into());
        }
        if txn.ops.iter().any(|op| matches!(op, crate::store::Op::Put { lease: Some(_), .. }))
            && take_one(&self.lost_leases)
        {
            let lease = LeaseId::new(4711).unwrap();
            return Err(StoreError::LeaseNotFound { lease }.into());
        }
        if take_one(&self.belated) {
            *self.late.lock().unwrap() = Some(txn);
            return Err(StoreError::Unknown { reason: "it has yet to come".to_owned() }.into());
        }
        let committed = inner.commit(txn).await?;
        let late = self.late.lock().unwrap().take();
        if let Some(late) = late {
            let _ = inner.commit(late).await;
        }
        if take_one(&self.unanswered) {
            return Err(StoreError::Unknown { reason: "the answer was lost".to_owned() }.into());
        }
        Ok(committed)
    }

    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError> {
        let (deaf, panics) = (self.deaf.subscribe(), Arc::clone(&self.panics));
        let inner = self.reach().await?.watch(prefix, after).await?.then(move |batch| {
            let (mut deaf, panics) = (deaf.clone(), Arc::clone(&panics));
            async move {
                let _ = deaf.wait_for(|deaf| !deaf).await;
                assert!(!take_one(&panics), "a watch panics, as it was told to");
                batch
            }
        });
        let mut away = self.away.subscribe();
        away.mark_unchanged();
        let cut = Box::pin(async move {
            let _ = away.changed().await;
            Err(WatchError::Disconnected { reason: "it was cut".to_owned() })
        });
        Ok(Watch::new(stream::select(inner, stream::once(cut)).boxed()))
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.leases.fetch_add(1, Ordering::SeqCst);
        refuse(&self.has_no_leases)?;
        self.reach().await?.grant_lease(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.reach().await?.keep_alive(lease).await
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.reach().await?.revoke_lease(lease).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.reach().await?.identity().await
    }
}

/// A manager's registry over `store`.
pub(crate) async fn registry(store: &Arc<FaultyStore>) -> Registry {
    let options = RegistryOptions { max_backoff: Duration::from_millis(20), ..RegistryOptions::default() };
    registry_with(store, options).await
}

/// The same, with somewhere to tell its changes.
pub(crate) async fn registry_telling(store: &Arc<FaultyStore>, events: Arc<Events>) -> Registry {
    let max_backoff = Duration::from_millis(20);
    registry_with(store, RegistryOptions { max_backoff, events, ..RegistryOptions::default() }).await
}

pub(crate) async fn registry_with(store: &Arc<FaultyStore>, options: RegistryOptions) -> Registry {
    let store: Arc<dyn Store> = Arc::<FaultyStore>::clone(store);
    Registry::open(store, Arc::new(FixedClock(EPOCH)), options).await.unwrap()
}

pub(crate) fn key(text: &str) -> ServiceKey {
    service_key(text).unwrap()
}

/// A registration of a service of the default namespace, with nothing but its name.
pub(crate) fn registration(name: &str) -> v1::RegisterServiceRequest {
    let service = v1::Service { name: name.to_owned(), ..v1::Service::default() };
    v1::RegisterServiceRequest { service: Some(service), ..v1::RegisterServiceRequest::default() }
}

/// A chain of one static answer.
pub(crate) fn static_step(payload: &'static [u8]) -> v1::FallbackStep {
    let step = v1::StaticFallback { payload: payload.into(), content_type: String::new() };
    v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Static(step)) }
}

/// A chain of one alternative service.
pub(crate) fn alternative_step(service: &str) -> v1::FallbackStep {
    let step = v1::AlternativeFallback { service: service.to_owned(), ..v1::AlternativeFallback::default() };
    v1::FallbackStep { strategy: Some(v1::fallback_step::Strategy::Alternative(step)) }
}

/// A fallback of these steps and nothing else.
pub(crate) fn fallback(chain: Vec<v1::FallbackStep>) -> v1::FallbackConfig {
    v1::FallbackConfig { chain, ..v1::FallbackConfig::default() }
}

/// Waits until something holds, looking again whenever the registry changes.
pub(crate) async fn eventually(registry: &Registry, mut holds: impl FnMut() -> bool) {
    let mut version = registry.version();
    let waiting = async {
        while !holds() {
            version.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it never came to hold");
}
