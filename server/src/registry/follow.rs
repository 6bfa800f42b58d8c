//! How memory keeps up with the store.
//!
//! The follower loads everything at one revision and then applies the watch, transaction by transaction. When the
//! watch ends, for whatever reason, it loads again and watches from there: a list is exact, so there is no case in
//! which a resumed watch and memory could disagree about what was missed (a compaction, a restored backup, an event
//! that a store lost). What has not changed since is recognised by its revision and costs no decoding. Until that has
//! worked, memory is stale and says since when. Pauses between attempts are random, so that many managers that lost
//! one store do not come back as one.

use std::{
    collections::HashSet,
    sync::{Arc, RwLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use cofferdam_core::name::ServiceKey;
use futures_util::{StreamExt as _, stream};
use tokio::{sync::watch, time::Instant};

use super::{
    RegistryOptions, Shared,
    catalog::Catalog,
    epoch::{self, EpochError, Incarnation, Seen},
    key::{self, Key},
    tell::Teller,
};
use crate::{
    clock::Clock,
    error::Error,
    events::News,
    fanout::Fanout,
    store::{Entry, Listing, Store, StoreError, Watch, WatchBatch, WatchError, WatchEvent},
};

/// The shortest upper bound of a pause between two attempts.
const MIN_BACKOFF: Duration = Duration::from_millis(50);

/// Services whose records are read after the watch was lost. Of more than these, each would wait for all before it; who
/// wants to know has the history.
const MAX_READ: usize = 1_000;

/// How many histories are read at a time.
const TOGETHER: usize = 16;

/// How often a load is begun anew because the store's description changed under it.
const LOADS: u32 = 5;

/// Why a registry cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store stayed away for as long as it may.
    #[error("the store did not answer within {timeout:?} ({reason}): start it, or correct its address")]
    Unavailable {
        /// How long it was tried.
        timeout: Duration,
        /// What came back last.
        reason: String,
    },
    /// The store's incarnation is not known.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}

/// What is kept of the changes of services.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) entries: Vec<Entry>,
    /// The services of which it could not be read.
    pub(super) unread: HashSet<ServiceKey>,
}

/// Why memory could not catch up with the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResyncError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Epoch(#[from] EpochError),
    #[error("the store's description kept changing")]
    Unsettled,
}

impl ResyncError {
    /// Whether it is worth another attempt before anybody does anything.
    fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) | Self::Epoch(EpochError::Store(error)) => error.is_transient(),
            Self::Epoch(EpochError::Contended) | Self::Unsettled => true,
            Self::Epoch(EpochError::SchemaVersion(_) | EpochError::Unreadable(_) | EpochError::Unfinished) => false,
        }
    }
}

/// Loads the store for the first time.
pub(super) async fn open(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: RegistryOptions,
) -> Result<(Arc<Shared>, Watch), OpenError> {
    let deadline = Instant::now() + options.store_timeout;
    let mut backoff = Backoff::new(options.max_backoff);
    let mut last = "no answer".to_owned();
    loop {
        let attempt = load_first(&store, &clock, &options);
        match tokio::time::timeout_at(deadline, attempt).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) if error.is_transient() => {
                tracing::warn!(%error, "the store is not ready, trying again");
                last = error.to_string();
            }
            Ok(Err(ResyncError::Epoch(error))) => return Err(error.into()),
            Ok(Err(ResyncError::Store(error))) => return Err(EpochError::from(error).into()),
            Ok(Err(ResyncError::Unsettled)) | Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(OpenError::Unavailable { timeout: options.store_timeout, reason: last });
        }
        tokio::time::sleep_until((Instant::now() + backoff.next()).min(deadline)).await;
    }
}

async fn load_first(
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    options: &RegistryOptions,
) -> Result<(Arc<Shared>, Watch), ResyncError> {
    let incarnation = epoch::establish(&**store, &**clock, Seen::default()).await?;
    let shared = Arc::new(Shared {
        store: Arc::clone(store),
        clock: Arc::clone(clock),
        teller: Teller::new(Arc::clone(&options.events)),
        options: options.clone(),
        catalog: RwLock::new(Catalog::new(incarnation.epoch, incarnation.meta)),
        fanout: Arc::new(Fanout::default()),
        leases: Default::default(),
        hearsay: Default::default(),
        unrecorded: Default::default(),
        bulk_begun: Default::default(),
        reloading: Default::default(),
        concerns: Default::default(),
        epochs: Default::default(),
        version: watch::Sender::new(0),
    });
    let watch = shared.resync().await?;
    Ok((shared, watch))
}

/// Follows the store for ever. Without a watch it was lost, with whoever followed it before.
pub(super) async fn follow(shared: Arc<Shared>, mut watch: Option<Watch>) {
    loop {
        let lost = match &mut watch {
            Some(watch) => shared.drain(watch).await,
            None => Some(WatchError::Disconnected { reason: "whoever followed it is gone".to_owned() }),
        };
        let since = Instant::now();
        if let Some(error) = &lost {
            tracing::warn!(%error, "the store's watch was lost: answering from memory until it is back");
            shared.teller.events.tell(News::store_lost(&error.to_string()));
            shared.change_nothing_but(|catalog| catalog.stale_since = Some(since));
        }
        let mut backoff = Backoff::new(shared.options.max_backoff);
        let mut is_told = false;
        watch = loop {
            match shared.resync_in_time().await {
                Ok(watch) => break Some(watch),
                Err(error) if error.is_transient() => tracing::debug!(%error, "the store is still away"),
                // Somebody is seeing to it.
                Err(ResyncError::Epoch(EpochError::Unfinished)) => {
                    if !is_told {
                        tracing::warn!("a restore of the store is under way: answering from memory until it is done");
                    }
                    is_told = true;
                }
                Err(error) => tracing::error!(%error, "the store cannot be followed: somebody has to see to it"),
            }
            shared.change_nothing_but(|catalog| {
                catalog.stale_since.get_or_insert(since);
            });
            tokio::time::sleep(backoff.next()).await;
        };
        if lost.is_some() {
            tracing::info!(away = ?since.elapsed(), "the store is back");
            shared.teller.events.tell(News::store_back(since.elapsed()));
        }
    }
}

impl Shared {
    /// Applies the watch until it ends, or until the store's description changes.
    async fn drain(&self, watch: &mut Watch) -> Option<WatchError> {
        loop {
            let batch = match watch.next().await {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => return Some(error),
                None => {
                    return Some(WatchError::Disconnected { reason: "the watch ended".to_owned() });
                }
            };
            self.change(|catalog| {
                // All of it is known where everything was read meanwhile, and what has gone since would come back.
                let is_news = batch.revision > catalog.head;
                let events = batch.events.iter().filter(|_| is_news);
                let changes: Vec<_> = events.filter_map(|event| catalog.apply(event)).collect();
                catalog.advance(batch.revision);
                changes
            });
            self.tell(&batch);
            let described = |event: &WatchEvent| Key::parse(event.key()) == Key::Meta;
            if batch.events.iter().any(described) {
                return None;
            }
        }
    }

    /// Tells the changes in a transaction.
    fn tell(&self, batch: &WatchBatch) {
        let epoch = self.read().epoch;
        self.teller.tell(epoch, batch);
    }

    async fn resync_in_time(&self) -> Result<Watch, ResyncError> {
        match tokio::time::timeout(self.options.store_timeout, self.resync()).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Unavailable { reason: self.no_answer() }.into()),
        }
    }

    /// Loads everything and watches from there.
    async fn resync(&self) -> Result<Watch, ResyncError> {
        self.reload().await?;
        let head = self.read().head;
        let watch = self.store.watch("", head).await?;
        self.change_nothing_but(|catalog| catalog.stale_since = None);
        Ok(watch)
    }

    /// Brings memory to what the store holds now, or further.
    pub(super) async fn reload(&self) -> Result<(), ResyncError> {
        // The epoch in which the store was found to have gone back.
        let mut went_back = None;
        for _ in 0..LOADS {
            let (epoch, latest) = {
                let catalog = self.read();
                (catalog.epoch, catalog.seen)
            };
            let seen = Seen { epoch: Some(epoch), went_back: went_back == Some(epoch) };
            let incarnation = epoch::establish(&*self.store, &*self.clock, seen).await?;
            // Changes are read when they are asked for, and there may be many times more of them than of all else.
            let listing = self.store.list_without(&[key::CHANGES, key::REQUESTS]).await?;
            if !describes(&listing, incarnation) {
                continue;
            }
            // A list contains everything that was known before it was asked for.
            if incarnation.epoch == epoch && listing.revision < latest {
                went_back = Some(epoch);
                continue;
            }
            let mut is_of_use = true;
            self.change(|catalog| {
                let is_new = incarnation.epoch != catalog.epoch;
                let is_contradicted = !is_new && catalog.contradicts(&listing);
                if is_contradicted {
                    went_back = Some(incarnation.epoch);
                }
                // Another reload, which began later, may have met a later epoch meanwhile.
                is_of_use = incarnation.epoch >= catalog.epoch && !is_contradicted;
                if !is_of_use {
                    return Vec::new();
                }
                if is_new {
                    self.epochs.fetch_add(1, Relaxed);
                    catalog.begin_epoch(incarnation.epoch);
                }
                catalog.meta = if is_new { incarnation.meta } else { catalog.meta.max(incarnation.meta) };
                // The watch, or another reload, may have come further meanwhile.
                let mut changes = if listing.revision < catalog.head { Vec::new() } else { catalog.load(&listing) };
                if is_new {
                    // Whoever was told, of an earlier epoch, that a service is not there may still have it. Of one that
                    // cannot be read it is not known.
                    let is_gone = |key: &ServiceKey| catalog.service(key).is_none() && !catalog.is_poisoned(key);
                    let followed = self.fanout.followed();
                    changes.extend(followed.iter().filter(|key| is_gone(key)).map(|key| catalog.removed(key)));
                }
                changes
            });
            if !is_of_use {
                continue;
            }
            let (epoch, now) = (incarnation.epoch, self.clock.now());
            self.teller.begin(epoch, &listing, self.read().services_after(None), now);
            let records = self.records(self.teller.changed(epoch, &listing.entries)).await;
            self.teller.catch_up(epoch, &listing, &records);
            return Ok(());
        }
        Err(ResyncError::Unsettled)
    }

    /// What is kept of the changes of services, as far as it can be read in a small part of the time that a store has: to
    /// tell what happened must not keep anybody from going on.
    async fn records(&self, services: Vec<ServiceKey>) -> Records {
        let deadline = Instant::now() + self.options.store_timeout / 4;
        let mut records = Records { entries: Vec::new(), unread: services.iter().cloned().collect() };
        let reading = stream::iter(services.into_iter().take(MAX_READ)).map(|service| async move {
            let listing = self.store.list(&key::changes(&service)).await;
            (service, listing)
        });
        let mut reading = std::pin::pin!(reading.buffer_unordered(TOGETHER));
        while let Ok(Some((service, Ok(listing)))) = tokio::time::timeout_at(deadline, reading.next()).await {
            records.unread.remove(&service);
            records.entries.extend(listing.entries);
        }
        records
    }

    /// What a failed reload means to the caller of a write that has changed nothing.
    pub(super) fn resync_error(&self, error: ResyncError) -> Error {
        match error {
            ResyncError::Store(error) => self.lease_error(error),
            other => Error::StoreUnavailable { reason: other.to_string() },
        }
    }

    /// Changes what no subscriber hears of.
    fn change_nothing_but(&self, change: impl FnOnce(&mut Catalog)) {
        self.change(|catalog| {
            change(catalog);
            None
        });
    }
}

/// Whether a listing is of this very incarnation.
fn describes(listing: &Listing, incarnation: Incarnation) -> bool {
    let meta = listing.entries.iter().find(|entry| entry.key == key::META);
    meta.is_some_and(|entry| entry.mod_revision == incarnation.meta)
}

/// Random pauses whose upper bound doubles.
#[derive(Debug)]
struct Backoff {
    bound: Duration,
    max: Duration,
}

impl Backoff {
    fn new(max: Duration) -> Self {
        Self { bound: MIN_BACKOFF.min(max), max }
    }

    fn next(&mut self) -> Duration {
        let pause = self.bound.mul_f64(rand::random());
        self.bound = (self.bound * 2).min(self.max);
        pause
    }
}
