//! How a write becomes one transaction of the store.
//!
//! A write is *planned* against the services in memory and *committed* on the condition that the store still holds
//! what the plan has read. Memory may lag behind the store, the condition may not: where it fails, nothing was
//! applied, memory catches up with what the store said, and the plan is made anew. A refusal is confirmed the same
//! way before it is answered, so that "not found" or "revision mismatch" is true of the store and not of a manager
//! that had not heard yet.
//!
//! The condition is the read set itself: a [`View`] notes the revision of each key that the plan looks at. Every
//! transaction also requires the store's description unchanged, so that no write ends up in another epoch than the one
//! it answers with.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::v1;
use prost::Message;
use tokio::{task::JoinError, time::Instant};
use tracing::Instrument;

use super::{
    Registered, Shared,
    bulk::Bulk,
    catalog::Catalog,
    changes::{Cause, Unregistered},
    key::{self, Key},
    request_record::Request,
};
use crate::{
    error::Error,
    store::{CommitError, Conflict, FailedPrecondition, Op, Precondition, StoreError, StoreRevision, Txn},
};
use std::sync::Arc;

/// How often a write is planned anew before it gives way to the others.
const ATTEMPTS: u32 = 32;

/// How long a conflict's cause may take to arrive by the watch before the store is read instead.
const CATCH_UP: Duration = Duration::from_secs(1);

/// How long memory may be behind the store before it is found out with a [mark](key::MARK) whether it is.
const MARKED_AFTER: Duration = Duration::from_millis(20);

/// The answer to a write.
pub(super) trait Answer: Message + Default {
    /// Where the revision stands. A plan that leaves it unset gets that of its transaction.
    fn revision(&mut self) -> &mut Option<v1::Revision>;
}

/// What a plan wants of the store.
#[derive(Debug)]
pub(super) struct Plan<A> {
    /// What to change; empty where everything is as it was asked to be.
    pub(super) ops: Vec<Op>,
    /// What to answer.
    pub(super) answer: A,
}

/// A plan, or what it refuses with, and on which conditions.
#[derive(Debug)]
struct Planned<A> {
    verdict: Result<Plan<A>, Error>,
    /// What the verdict depends on.
    txn: Txn,
    read_back: ReadBack,
    epoch: u64,
}

/// A plan on its way into the store.
#[derive(Debug)]
struct Change {
    txn: Txn,
    read_back: ReadBack,
    epoch: u64,
    /// `None`: nothing is told of it.
    cause: Option<Cause>,
    request_id: String,
}

/// The services in memory, as one plan sees them.
#[derive(Debug)]
pub(super) struct View<'a> {
    catalog: &'a Catalog,
    read: BTreeMap<String, Option<StoreRevision>>,
    read_back: ReadBack,
}

/// Services as they will be, by their key in the store: what was read back of it before it is written need not be read
/// again when it is.
pub(super) type ReadBack = HashMap<String, Registered>;

impl<'a> View<'a> {
    fn new(catalog: &'a Catalog) -> Self {
        let read = BTreeMap::from([(key::META.to_owned(), Some(catalog.meta))]);
        Self { catalog, read, read_back: ReadBack::new() }
    }

    /// A service. The plan holds only while it stays as it is.
    pub(super) fn service(&mut self, service: &ServiceKey) -> Option<&'a Arc<Registered>> {
        self.note(Key::Service(service.clone()), key::service(service));
        self.catalog.service(service)
    }

    /// The services of a namespace and who is whose alternative. The plan holds only while no alternative changes.
    pub(super) fn alternatives(&mut self, namespace: &Name) -> impl Iterator<Item = &'a Arc<Registered>> {
        self.note(Key::Alternatives(namespace.clone()), key::alternatives(namespace));
        let namespace = namespace.clone();
        self.catalog.services_after(None).filter(move |registered| registered.key().namespace == namespace)
    }

    /// What stands for a service that is not registered any more. The plan holds only while it stays as it is.
    pub(super) fn unregistered(&mut self, service: &ServiceKey) -> Option<&'a Unregistered> {
        self.note(Key::Unregistered(service.clone()), key::unregistered(service));
        self.catalog.unregistered(service)
    }

    /// The change of many services that is under way, or was last. The plan holds only while it stays as it is.
    pub(super) fn bulk(&mut self) -> Option<&'a Bulk> {
        self.note(Key::Bulk, key::BULK.to_owned());
        self.catalog.bulk()
    }

    /// A service will be this, where the plan is carried out.
    pub(super) fn will_be(&mut self, registered: Registered) {
        self.read_back.insert(key::service(registered.key()), registered);
    }

    /// All that is known; the plan does not depend on it.
    pub(super) fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// What the plan depends on by now, to go back to with [`forget_since`](Self::forget_since).
    pub(super) fn read(&self) -> BTreeMap<String, Option<StoreRevision>> {
        self.read.clone()
    }

    /// Depends on no more than before: on what [`read`](Self::read) said then.
    pub(super) fn forget_since(&mut self, read: BTreeMap<String, Option<StoreRevision>>) {
        self.read = read;
    }

    fn note(&mut self, key: Key, store_key: String) {
        self.read.insert(store_key, self.catalog.known(&key));
    }

    fn into_txn(self) -> (Txn, ReadBack) {
        let require = |(key, revision)| match revision {
            Some(mod_revision) => Precondition::Revision { key, mod_revision },
            None => Precondition::Absent { key },
        };
        (Txn { preconditions: self.read.into_iter().map(require).collect(), ops: Vec::new() }, self.read_back)
    }
}

impl Shared {
    /// Plans and commits a write to `target` (`None`: to several services) until it is done, refused or given up. What has a
    /// cause is told to the log, once for each service, when it is durable.
    ///
    /// # Errors
    /// What the plan refuses with, [`Error::Contended`], [`Error::RequestIdReused`], or what the store fails with.
    pub(super) async fn transact<'a, A: Answer>(
        self: &Arc<Self>,
        target: impl Into<Option<&'a ServiceKey>>,
        request: &Request,
        cause: Option<&Cause>,
        plan: impl Fn(&mut View<'_>) -> Result<Plan<A>, Error> + Send,
    ) -> Result<A, Error> {
        let give_up = Instant::now() + self.options.store_timeout;
        let mut attempts = 0;
        while attempts < ATTEMPTS {
            let Planned { verdict, mut txn, read_back, epoch } = self.plan(&plan);
            let verdict = verdict.map(|planned| {
                txn.ops = planned.ops;
                planned.answer
            });
            let lease = request.attach(self, &mut txn, verdict.as_ref().ok(), give_up).await?;
            let cause = cause.cloned();
            let change = Change { txn, read_back, epoch, cause, request_id: request.id().to_owned() };
            let conflict = match self.make(change, give_up).await {
                Ok(revision) => {
                    let mut answer = verdict?;
                    answer.revision().get_or_insert(super::revision_at(epoch, revision));
                    return Ok(answer);
                }
                Err(CommitError::Store(StoreError::LeaseNotFound { .. })) => {
                    self.leases.drop_lease(lease);
                    continue;
                }
                Err(CommitError::Store(error)) => return Err(self.store_error(error)),
                Err(CommitError::Conflict(conflict)) => conflict,
            };
            // Before a repetition is answered, too: another manager may have taken the first one, and whoever is answered
            // here is to read here what was written. Boxed, so that a write that meets nobody does not carry its room.
            let caught_up = Box::pin(self.catch_up(&conflict, give_up)).await;
            if let Some(first) = request.first_result(&conflict, epoch)? {
                return Ok(first);
            }
            caught_up?;
            pause(attempts).await;
            attempts += 1;
            if Instant::now() >= give_up {
                break;
            }
        }
        Err(Error::Contended { key: target.into().cloned(), attempts })
    }

    /// Commits a change, and tells memory and the log of it. It is carried to its end by a task of its own: who hangs up
    /// meanwhile takes back neither the change nor its record.
    async fn make(self: &Arc<Self>, change: Change, give_up: Instant) -> Result<StoreRevision, CommitError> {
        let shared = Arc::clone(self);
        let made = async move {
            let Change { txn, read_back, epoch, cause, request_id } = change;
            let ops = txn.ops.clone();
            let committed = shared.commit(txn, give_up).await;
            match &committed {
                Ok(revision) => {
                    shared.apply_early(&ops, read_back, epoch, *revision);
                    if let Some(cause) = cause {
                        let at = super::revision_at(epoch, *revision);
                        services(&ops).for_each(|key| cause.tell(&key, &request_id, at));
                    }
                }
                Err(CommitError::Store(StoreError::Unknown { reason })) => {
                    if let Some(cause) = cause {
                        services(&ops).for_each(|key| cause.tell_doubt(&key, &request_id, reason));
                    }
                }
                Err(_) => {}
            }
            committed
        };
        let unknown = |ended: JoinError| StoreError::Unknown { reason: ended.to_string() };
        tokio::spawn(made.in_current_span()).await.unwrap_or_else(|ended| Err(unknown(ended).into()))
    }

    /// What a write would answer, without writing anything.
    ///
    /// # Errors
    /// What the plan refuses with, as far as memory knows.
    pub(super) fn preview<A>(&self, plan: impl Fn(&mut View<'_>) -> Result<Plan<A>, Error> + Send) -> Result<A, Error> {
        self.plan(&plan).verdict.map(|planned| planned.answer)
    }

    fn plan<A>(&self, plan: &(impl Fn(&mut View<'_>) -> Result<Plan<A>, Error> + Send)) -> Planned<A> {
        let catalog = self.read();
        let mut view = View::new(&catalog);
        let mut verdict = plan(&mut view);
        if let Ok(plan) = &mut verdict {
            catalog.end_containments(&mut plan.ops);
        }
        let (txn, read_back) = view.into_txn();
        Planned { verdict, txn, read_back, epoch: catalog.epoch }
    }

    /// Brings memory to where the store is now, for what is found out from memory alone.
    ///
    /// # Errors
    /// Those of a read that the store does not answer.
    pub(super) async fn catch_up_with_store(&self) -> Result<(), Error> {
        let give_up = Instant::now() + self.options.store_timeout;
        let described = match tokio::time::timeout_at(give_up, self.store.list(key::META)).await {
            Ok(described) => described.map_err(|error| self.lease_error(error))?,
            Err(_) => return Err(Error::StoreUnavailable { reason: self.no_answer() }),
        };
        let meta = described.entries.iter().find(|entry| entry.key == key::META).map(|entry| entry.mod_revision);
        let is_at = |at| move |catalog: &Catalog| Some(catalog.meta) == meta && catalog.head >= at;
        let soon = give_up.min(Instant::now() + MARKED_AFTER);
        if tokio::time::timeout_at(soon, self.wait_until(is_at(described.revision))).await.is_ok() {
            return Ok(());
        }
        let mut at = described.revision;
        // Others may write to the same etcd: its revision moves, and our watch has nothing to tell of it. It tells of a key
        // of ours, behind all that was before it. A store that is another one by now, or is being filled, is left alone.
        if let Some(meta) = meta.filter(|meta| *meta == self.read().meta) {
            let mark = Txn::new().require_revision(key::META, meta).put(key::MARK, Bytes::new());
            at = self.commit(mark, give_up).await.unwrap_or(at);
        }
        self.catch_up_until(is_at(at), give_up).await
    }

    /// Commits within what is left of the store's time.
    pub(super) async fn commit(&self, txn: Txn, give_up: Instant) -> Result<StoreRevision, CommitError> {
        match tokio::time::timeout_at(give_up, self.store.commit(txn)).await {
            Ok(committed) => committed.map(|committed| committed.revision),
            Err(_) => Err(StoreError::Unknown { reason: self.no_answer() }.into()),
        }
    }

    /// What there is to say of a store that took too long.
    pub(super) fn no_answer(&self) -> String {
        format!("no answer within {:?}", self.options.store_timeout)
    }

    /// Waits until memory knows what the store said, or reads the store where that takes too long.
    async fn catch_up(&self, conflict: &Conflict, give_up: Instant) -> Result<(), Error> {
        let is_there = |catalog: &Catalog| conflict.failed.iter().all(|failed| is_known(catalog, failed));
        self.catch_up_until(is_there, give_up).await
    }

    async fn catch_up_until(&self, is_there: impl Fn(&Catalog) -> bool, give_up: Instant) -> Result<(), Error> {
        let patience = give_up.min(Instant::now() + CATCH_UP);
        if tokio::time::timeout_at(patience, self.wait_until(&is_there)).await.is_ok() {
            return Ok(());
        }
        let reload = async {
            // Of all that wait for the same, one reads.
            let _turn = self.reloading.lock().await;
            if is_there(&self.read()) { Ok(()) } else { self.reload().await }
        };
        match tokio::time::timeout_at(give_up, reload).await {
            Ok(reloaded) => reloaded.map_err(|error| self.resync_error(error)),
            Err(_) => Err(Error::StoreUnavailable { reason: self.no_answer() }),
        }
    }
}

impl Shared {
    /// Waits until memory knows something.
    async fn wait_until(&self, is_there: impl Fn(&Catalog) -> bool) {
        let mut version = self.version.subscribe();
        while !is_there(&self.read()) {
            if version.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The services that are written.
fn services(ops: &[Op]) -> impl Iterator<Item = ServiceKey> {
    ops.iter().filter_map(|op| match Key::parse(op.key()) {
        Key::Service(key) => Some(key),
        _ => None,
    })
}

/// Whether memory is as far as what a conflict showed.
fn is_known(catalog: &Catalog, failed: &FailedPrecondition) -> bool {
    let known = catalog.known(&Key::parse(failed.precondition.key()));
    match &failed.current {
        Some(entry) => catalog.head >= entry.mod_revision || known.is_some_and(|known| known >= entry.mod_revision),
        None => known.is_none(),
    }
}

/// Lets the others go first, a little longer each time; at random, so that rivals part.
async fn pause(attempt: u32) {
    let longest = Duration::from_millis(u64::from(attempt.min(10)));
    if !longest.is_zero() {
        tokio::time::sleep(longest.mul_f64(rand::random())).await;
    }
}

/// Puts a service's key.
pub(super) fn put(key: String, value: Bytes) -> Op {
    Op::Put { key, value, lease: None }
}

/// Deletes a key.
pub(super) fn delete(key: String) -> Op {
    Op::Delete { key }
}
