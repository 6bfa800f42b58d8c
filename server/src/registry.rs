//! The registered services: in memory for every read, in the store for every write.
//!
//! A [`Registry`] loads the store once and then follows it. Reads never leave memory, so they answer while the store
//! is away too and say how old they are ([`Registry::stale_for`]). Writes go through `transact`: planned against
//! memory, committed on the condition that the store still holds what the plan has read, and applied to memory before
//! they are answered. Subscribers hear of a change in the same breath in which memory learns it.
//!
//! What the registry holds is checked, whoever wrote it. It knows no transport: requests and answers are the contract's
//! messages, refusals are [`Error`]s.

use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::AtomicU64},
    time::{Duration, UNIX_EPOCH},
};

use cofferdam_core::{
    health::HealthStatus,
    name::{Name, ServiceKey},
    revision::Revision,
    time::WallTime,
    wire::health_from_wire,
};
use cofferdam_proto::v1;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

mod alternatives;
mod asked;
mod bulk;
mod catalog;
mod change;
mod changes;
mod concerns;
mod containment;
pub(crate) mod epoch;
mod follow;
mod hearsay;
mod inspect;
pub(crate) mod key;
mod listed;
mod nearest;
mod orders;
mod record;
mod register;
mod report;
mod request_record;
mod revisions;
mod rollback;
mod tell;
mod transact;
mod unknown;
mod unregister;
pub(crate) mod validate;
pub(crate) mod values;
mod vitals;

pub(crate) use self::{
    asked::ACTOR_METADATA, bulk::with_order, catalog::Change, changes::with_revision, key::service_key,
    nearest::nearest, record::HELD_TOO_LONG,
};
pub use crate::fanout::Deliveries;

pub use self::{
    asked::{Actor, Asked, check_reason},
    epoch::EpochError,
    follow::OpenError,
    inspect::{Inspection, Problem, inspect},
    listed::Listed,
    record::{Containment, Registered},
    register::registered_policy,
    vitals::Vitals,
};

use self::{
    catalog::Catalog, containment::Unrecorded, hearsay::Hearsay, request_record::Leases, tell::Teller,
    transact::ReadBack,
};
use crate::{
    clock::{Clock, SystemClock},
    error::Error,
    events::{Events, EventsOptions},
    fanout::{Fanout, Subscription},
    hints::Hint,
    store::{Concern, InvalidRequest, Op, Store, StoreError, StoreRevision},
    supervise::supervised,
};

/// What bounds a registry.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// How long the store may take: to be there at start, and for each write. Default 10 s.
    pub store_timeout: Duration,
    /// The most services, over all namespaces. Default 10,000. Managers that write at the same moment may together
    /// exceed it by as many services as they are.
    pub max_services: usize,
    /// The longest pause between two attempts to reach a store that is away; pauses are random and grow up to it.
    /// Default 5 s.
    pub max_backoff: Duration,
    /// Where changes are told.
    pub events: Arc<Events>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            store_timeout: Duration::from_secs(10),
            max_services: 10_000,
            max_backoff: Duration::from_secs(5),
            events: Arc::new(Events::new(Arc::new(SystemClock), EventsOptions::default())),
        }
    }
}

/// The registered services. Cheap to share by reference; dropping it stops following the store.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    _follower: AbortOnDropHandle<()>,
    _listener: AbortOnDropHandle<()>,
    _recorder: AbortOnDropHandle<()>,
    _carrier: AbortOnDropHandle<()>,
}

/// What the registry and its follower share.
#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    options: RegistryOptions,
    catalog: RwLock<Catalog>,
    fanout: Arc<Fanout>,
    leases: Leases,
    hearsay: Hearsay,
    unrecorded: Unrecorded,
    /// Tells that a change of many services was ordered here.
    bulk_begun: tokio::sync::Notify,
    /// Held while all is read again for a write that waits for it.
    reloading: tokio::sync::Mutex<()>,
    /// What was last found of the store although it answers.
    concerns: RwLock<Vec<Concern>>,
    /// How often the store's epoch became another one.
    epochs: AtomicU64,
    teller: Teller,
    /// Counts changes of the catalog, for those who wait for one.
    version: watch::Sender<u64>,
}

/// What a new follower has to be told first.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Each service asked for: as it is, or as removed.
    pub(crate) changes: Vec<Change>,
    /// Those asked for of which only what cannot be read is known: nothing is said of them, so that whoever has a policy
    /// keeps it.
    unreadable: Vec<ServiceKey>,
    /// The point in the store's history up to which that is complete.
    pub(crate) head: Revision,
}

impl Opening {
    /// Each service asked for, and whether it is registered.
    pub(crate) fn followed(&self) -> impl Iterator<Item = (&ServiceKey, bool)> + Clone {
        self.changes.iter().map(Change::followed).chain(self.unreadable.iter().map(|key| (key, true)))
    }
}

impl Registry {
    /// Loads `store` and begins to follow it.
    ///
    /// A store that cannot be reached is asked again until [`RegistryOptions::store_timeout`] has passed.
    ///
    /// # Errors
    /// [`OpenError`] where the store stays away, or holds what this release must not touch.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        options: RegistryOptions,
    ) -> Result<Self, OpenError> {
        let (shared, watch) = follow::open(store, clock, options).await?;
        let (mut watch, following) = (Some(watch), Arc::clone(&shared));
        let (listening, recording, carrying) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
        Ok(Self {
            shared,
            _follower: supervised("store", move || follow::follow(Arc::clone(&following), watch.take())),
            _listener: supervised("hearsay", move || hearsay::look_into(Arc::clone(&listening))),
            _recorder: supervised("containment", move || containment::record(Arc::clone(&recording))),
            _carrier: supervised("rollback", move || rollback::keep(Arc::clone(&carrying))),
        })
    }

    /// A service, as last known good.
    pub fn get(&self, key: &ServiceKey) -> Option<Arc<Registered>> {
        self.shared.read().service(key).cloned()
    }

    /// What the wall clock reads.
    pub(crate) fn wall_time(&self) -> WallTime {
        WallTime::after_1970(self.shared.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// A service as the contract shows it, except for its derived health and breaker state.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`] with the nearest names.
    pub fn describe(&self, key: &ServiceKey) -> Result<(Arc<Registered>, v1::IsolatedService), Error> {
        let catalog = self.shared.read();
        let registered = catalog.service(key).ok_or_else(|| nearest::not_found(&catalog, key))?;
        Ok((Arc::clone(registered), describe(&catalog, registered)))
    }

    /// Services by namespace and name, of one namespace or of all, from after `after` on, for as long as `take` says.
    pub fn scan(&self, namespace: Option<&Name>, after: Option<&ServiceKey>, mut take: impl FnMut(Listed<'_>) -> bool) {
        let catalog = self.shared.read();
        for registered in catalog.services_in(namespace, after) {
            if !take(Listed { catalog: &catalog, registered }) {
                break;
            }
        }
    }

    /// All services, of one namespace or of all, by namespace and name.
    pub fn services(&self, namespace: Option<&Name>) -> Vec<Arc<Registered>> {
        self.services_after(namespace, None, usize::MAX)
    }

    /// At most `max` services, of one namespace or of all, by namespace and name, from after `after` on.
    pub fn services_after(
        &self,
        namespace: Option<&Name>,
        after: Option<&ServiceKey>,
        max: usize,
    ) -> Vec<Arc<Registered>> {
        self.shared.read().services_in(namespace, after).take(max).cloned().collect()
    }

    /// What was last reported of a service's health; absent where nothing was.
    pub fn reported_status(&self, key: &ServiceKey) -> Option<HealthStatus> {
        // The number was checked when it was read.
        health_from_wire(self.shared.read().health(key)?.status).ok().flatten()
    }

    /// How long the store has been away; absent while it is there.
    pub fn stale_for(&self) -> Option<Duration> {
        self.shared.read().stale_since.map(|since| since.elapsed())
    }

    /// The point in the store's history up to which nothing is missing.
    pub fn head(&self) -> Revision {
        let catalog = self.shared.read();
        catalog.at(catalog.head)
    }

    /// The keys of the store whose values cannot be read, and are therefore not served.
    pub fn poisoned(&self) -> Vec<String> {
        self.shared.read().poisoned().collect()
    }

    /// Whether what is stored for a service cannot be read.
    pub fn is_poisoned(&self, key: &ServiceKey) -> bool {
        self.shared.read().is_poisoned(key)
    }

    /// Brings memory to where the store is now.
    ///
    /// # Errors
    /// Those of a read that the store does not answer.
    pub(crate) async fn catch_up(&self) -> Result<(), Error> {
        self.shared.catch_up_with_store().await
    }

    /// Where changes are told.
    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.shared.teller.events
    }

    /// Tells what of the orders has run out.
    pub(crate) fn tell_expired(&self) {
        self.shared.teller.tell_expired(self.shared.clock.now());
    }

    /// Counts changes: wakes those who wait for one, without saying which.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    /// The same as [`head`](Self::head) for a subscriber that has been told everything; absent while a change waits
    /// for it.
    pub(crate) fn head_told(&self, subscription: &Subscription) -> Option<Revision> {
        // Changes are published under the write lock, so none comes between the two looks.
        let catalog = self.shared.read();
        subscription.is_empty().then(|| catalog.at(catalog.head))
    }

    /// A subscription to nothing yet. `hang_up` ends the subscriber's connection.
    pub(crate) fn subscribe(&self, hang_up: CancellationToken) -> Subscription {
        self.shared.fanout.subscribe(hang_up)
    }

    /// Hangs up on subscribers that have taken nothing for so long; says how many.
    pub(crate) fn hang_up_on_stalled(&self, patience: Duration) -> usize {
        self.shared.fanout.hang_up_on_stalled(patience)
    }

    /// What is handed out in the place of a service whose policy is contained. `None`: nothing; or it is not contained.
    pub(crate) fn in_place_of(&self, contained: &Registered) -> Option<Arc<Registered>> {
        contained.containment()?;
        self.shared.read().in_place_of(contained).map(|before| contained.replaced_by(before))
    }

    /// What is told of a change: of a policy that is contained, what is handed out in its place. `None`: nothing.
    pub(crate) fn hand_out(&self, change: Change) -> Option<Change> {
        match change {
            Change::Updated(registered) if registered.containment().is_some() => {
                self.in_place_of(&registered).map(Change::Updated)
            }
            change => Some(change),
        }
    }

    /// Tells a hint to all who follow its service, now and while it is in force.
    pub(crate) fn give_hint(&self, hint: Hint) {
        self.shared.fanout.give_hint(hint);
    }

    /// Forgets a hint.
    pub(crate) fn end_hint(&self, key: &ServiceKey) {
        self.shared.fanout.end_hint(key);
    }

    /// The hint of a service. `None`: it has none.
    pub fn hint(&self, key: &ServiceKey) -> Option<Arc<Hint>> {
        self.shared.fanout.hint(key)
    }

    /// All hints.
    pub(crate) fn hints(&self) -> Vec<Arc<Hint>> {
        self.shared.fanout.hints()
    }

    /// Begins to follow services, one by one or a whole namespace, and says how they are now. No change falls between
    /// the two.
    pub(crate) fn follow(
        &self,
        subscription: &mut Subscription,
        keys: &[ServiceKey],
        namespace: Option<&Name>,
    ) -> Opening {
        // Changes are published under the write lock, so none happens while this one is held.
        let catalog = self.shared.read();
        let head = catalog.at(catalog.head);
        let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
        if let Some(namespace) = namespace {
            subscription.follow_namespace(namespace.clone());
            let all = catalog.services_in(Some(namespace), None);
            changes.extend(all.map(|registered| Change::Updated(Arc::clone(registered))));
        }
        for key in keys {
            let covered = namespace == Some(&key.namespace);
            if !covered {
                subscription.follow(key.clone());
            }
            match catalog.service(key) {
                Some(_) if covered => {}
                Some(registered) => changes.push(Change::Updated(Arc::clone(registered))),
                None if catalog.is_poisoned(key) => unreadable.push(key.clone()),
                None => changes.push(catalog.removed(key)),
            }
        }
        Opening { changes, unreadable, head }
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, Catalog> {
        // No step of a change to the catalog can panic half-way: a poisoned one is whole.
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the catalog, tells the subscribers, and wakes who waits.
    fn change<C: IntoIterator<Item = Change>>(&self, change: impl FnOnce(&mut Catalog) -> C) {
        let mut catalog = self.write();
        for change in change(&mut catalog) {
            self.fanout.publish(&change);
        }
        drop(catalog);
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Applies what this manager has just made durable in `epoch`, ahead of the watch.
    fn apply_early(&self, ops: &[Op], mut read_back: ReadBack, epoch: u64, at: StoreRevision) {
        if ops.is_empty() {
            return;
        }
        self.change(|catalog| {
            // Where the store was swapped in between, a revision of the old one would pass for a later one of the new.
            let is_current = catalog.epoch == epoch;
            if is_current {
                catalog.seen = catalog.seen.max(at);
            }
            let apply = |op: &Op| match op {
                Op::Put { key, value, .. } => match read_back.remove(key) {
                    Some(registered) => catalog.put_written(key, registered, at),
                    None => catalog.put(key, value, at),
                },
                Op::Delete { key } => catalog.delete_early(key, at),
            };
            ops.iter().filter(|_| is_current).filter_map(apply).collect::<Vec<_>>()
        });
    }

    /// What a failed commit means to the caller.
    fn store_error(&self, error: StoreError) -> Error {
        match error {
            StoreError::Unavailable { reason } | StoreError::Denied { reason } => Error::StoreUnavailable { reason },
            StoreError::Unknown { reason } => Error::StoreOutcomeUnknown { reason },
            StoreError::Full { reason } => Error::StoreFull { reason },
            StoreError::TooLarge { reason } => {
                Error::QuotaExceeded { quota: "record", limit: reason, remedy: "make the request smaller" }
            }
            StoreError::Invalid(
                invalid @ (InvalidRequest::ValueTooLarge { .. } | InvalidRequest::TxnTooLarge { .. }),
            ) => {
                let limit = invalid.to_string();
                Error::QuotaExceeded { quota: "record", limit, remedy: "make the request smaller" }
            }
            other => Error::Internal { detail: other.to_string() },
        }
    }

    /// What a failed lease means to the caller: nothing of the write itself was sent yet.
    fn lease_error(&self, error: StoreError) -> Error {
        match error {
            StoreError::Unknown { reason } => Error::StoreUnavailable { reason },
            other => self.store_error(other),
        }
    }
}

/// A revision as the contract shows it.
fn revision_at(epoch: u64, revision: StoreRevision) -> v1::Revision {
    v1::Revision { epoch, revision: revision.get() }
}

/// A service as the contract shows it, with the health that was reported.
fn describe(catalog: &Catalog, registered: &Registered) -> v1::IsolatedService {
    let reported = catalog.health(registered.key()).cloned();
    v1::IsolatedService { reported_health: reported, ..registered.describe() }
}

#[cfg(test)]
mod tests;
