//! The services in memory, as of one point in the store's history, and how a change moves them on.
//!
//! Changes come from two sides: the watch, which delivers every transaction in order, and this manager's own writes,
//! which are applied as soon as they are durable so that a caller reads what it wrote. A change is applied once, by
//! its revision: what is not newer than what is known of its key changes nothing. A deletion of our own that the watch
//! has not confirmed yet is remembered until then, or an older change on its way could bring the service back.
//!
//! A value that cannot be read is *poison*: it is skipped and named in the log once, what was known of its service
//! before stays in force, and no other service notices.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{
    Containment, Revision,
    bulk::{Bulk, BulkPlan},
    changes::Unregistered,
    containment::Recorded,
    key::Key,
    record::{Registered, Unreadable, decode_health},
};
use crate::store::{Op, StoreRevision, WatchEvent};

mod whole;

/// A change that subscribers hear of.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A service is new or has changed; this is what it is now.
    Updated(Arc<Registered>),
    /// A service is gone.
    Removed {
        /// The service.
        key: ServiceKey,
        /// Where it went.
        revision: Revision,
    },
}

impl Change {
    /// The service that changed.
    pub(crate) fn key(&self) -> &ServiceKey {
        match self {
            Self::Updated(registered) => registered.key(),
            Self::Removed { key, .. } => key,
        }
    }

    /// The service that changed, and whether it is registered.
    pub(crate) fn followed(&self) -> (&ServiceKey, bool) {
        (self.key(), matches!(self, Self::Updated(_)))
    }
}

/// What is known of the store.
#[derive(Debug)]
pub(super) struct Catalog {
    /// The store's incarnation.
    pub(super) epoch: u64,
    /// The last change of the store's own description.
    pub(super) meta: StoreRevision,
    /// The point up to which nothing is missing.
    pub(super) head: StoreRevision,
    /// The latest that the store is known to have had: the head, or a write made here that the watch has not told yet.
    pub(super) seen: StoreRevision,
    /// Since when the store is away; absent while the watch lives.
    pub(super) stale_since: Option<Instant>,
    services: BTreeMap<ServiceKey, Slot>,
    health: BTreeMap<ServiceKey, Report>,
    containments: BTreeMap<ServiceKey, Contained>,
    /// The last change of each namespace's graph of alternatives.
    guards: BTreeMap<Name, StoreRevision>,
    /// Services that are not registered any more, since when, and what is kept of their changes.
    unregistered: BTreeMap<ServiceKey, (StoreRevision, Unregistered)>,
    /// The change of many services that is under way, or was last.
    bulk: Option<Bulk>,
    /// Keys under our prefixes that no manager writes, to name each once in the log.
    malformed: BTreeMap<String, StoreRevision>,
    /// Our own deletions that the watch has yet to confirm.
    deleted: HashMap<String, StoreRevision>,
}

/// One key `service/…`.
#[derive(Debug)]
struct Slot {
    /// The key's revision: of the value below, or of the poison.
    revision: StoreRevision,
    /// The last value that could be read.
    good: Option<Arc<Registered>>,
    /// The last one before it with another policy that is not contained.
    before: Option<Arc<Registered>>,
    poisoned: bool,
}

/// One key `health/…`.
#[derive(Debug)]
struct Report {
    revision: StoreRevision,
    /// Absent where it cannot be read.
    health: Option<v1::ServiceHealth>,
}

/// One key `containment/…`.
#[derive(Debug)]
struct Contained {
    revision: StoreRevision,
    /// Absent where it cannot be read.
    recorded: Option<Recorded>,
}

impl Catalog {
    /// Nothing, of a store of this incarnation.
    pub(super) fn new(epoch: u64, meta: StoreRevision) -> Self {
        Self {
            epoch,
            meta,
            head: StoreRevision::ZERO,
            seen: StoreRevision::ZERO,
            stale_since: None,
            services: BTreeMap::new(),
            health: BTreeMap::new(),
            containments: BTreeMap::new(),
            guards: BTreeMap::new(),
            unregistered: BTreeMap::new(),
            bulk: None,
            malformed: BTreeMap::new(),
            deleted: HashMap::new(),
        }
    }

    /// A revision of the present incarnation.
    pub(super) fn at(&self, revision: StoreRevision) -> Revision {
        Revision { epoch: self.epoch, revision: revision.get() }
    }

    /// A service, as last known good.
    pub(super) fn service(&self, key: &ServiceKey) -> Option<&Arc<Registered>> {
        self.services.get(key)?.good.as_ref()
    }

    /// That a service is not there: since the last that is known of it, so that whoever had it to the end believes it.
    pub(super) fn removed(&self, key: &ServiceKey) -> Change {
        let deleted = self.deleted.get(&super::key::service(key)).copied();
        Change::Removed { key: key.clone(), revision: self.at(self.head.max(deleted.unwrap_or(StoreRevision::ZERO))) }
    }

    /// What is handed out in the place of a service whose policy is contained.
    pub(super) fn in_place_of(&self, contained: &Registered) -> Option<&Arc<Registered>> {
        let slot = self.services.get(contained.key())?;
        let is_present = slot.good.as_ref().is_some_and(|good| good.revision() == contained.revision());
        slot.before.as_ref().filter(|before| is_present && before.containment().is_none())
    }

    /// A service whose policy is contained, which is not written down, and why.
    pub(super) fn unrecorded_containment(&self, key: &ServiceKey) -> Option<(&Arc<Registered>, &Containment)> {
        let registered = self.service(key)?;
        let containment = registered.containment()?;
        let recorded = self.containments.get(key).and_then(|contained| contained.recorded.as_ref());
        let is_recorded = recorded.is_some_and(|recorded| recorded.is_about(registered));
        (!is_recorded).then_some((registered, containment))
    }

    /// Adds to what a write does that it ends the containments of the services whose policy it changes: first of all, so that
    /// none is taken to be about what is written.
    pub(super) fn end_containments(&self, ops: &mut Vec<Op>) {
        if self.containments.is_empty() {
            return;
        }
        let ended = |op: &Op| {
            let Key::Service(key) = Key::parse(op.key()) else { return None };
            let recorded = self.containments.get(&key)?.recorded.as_ref();
            let written = match op {
                Op::Put { value, .. } => Registered::decode(&key, value, Revision::default()).ok(),
                Op::Delete { .. } => None,
            };
            let goes_on = recorded.zip(written).is_some_and(|(recorded, written)| recorded.goes_on_with(&written));
            (!goes_on).then(|| Op::Delete { key: super::key::containment(&key) })
        };
        let ended: Vec<_> = ops.iter().filter_map(ended).collect();
        ops.splice(0..0, ended);
    }

    /// All services by namespace and name, from after `after` on.
    pub(super) fn services_after(&self, after: Option<&ServiceKey>) -> impl Iterator<Item = &Arc<Registered>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.services.range((from, Bound::Unbounded)).filter_map(|(_, slot)| slot.good.as_ref())
    }

    /// How many services there are.
    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    /// What was last reported of a service's health.
    pub(super) fn health(&self, key: &ServiceKey) -> Option<&v1::ServiceHealth> {
        self.health.get(key)?.health.as_ref()
    }

    /// A service that is not registered any more and whose changes are kept.
    pub(super) fn unregistered(&self, key: &ServiceKey) -> Option<&Unregistered> {
        self.unregistered.get(key).map(|(_, unregistered)| unregistered)
    }

    /// The services that are not registered any more and whose changes are kept, by namespace and name.
    pub(super) fn unregistered_services(&self) -> impl Iterator<Item = (&ServiceKey, &Unregistered)> {
        self.unregistered.iter().map(|(key, (_, unregistered))| (key, unregistered))
    }

    /// All services that are not registered any more and whose changes are kept, from the first that went to the last.
    pub(super) fn unregistered_by_age(&self) -> Vec<&ServiceKey> {
        let mut all: Vec<_> = self.unregistered.iter().map(|(key, (since, _))| (since, key)).collect();
        all.sort();
        all.into_iter().map(|(_, key)| key).collect()
    }

    /// The change of many services that is under way, or was last.
    pub(super) fn bulk(&self) -> Option<&Bulk> {
        self.bulk.as_ref()
    }

    /// The keys whose values cannot be read.
    pub(super) fn poisoned(&self) -> impl Iterator<Item = String> {
        let services = self.services.iter().filter(|(_, slot)| slot.poisoned);
        let health = self.health.iter().filter(|(_, report)| report.health.is_none());
        let containments = self.containments.iter().filter(|(_, contained)| contained.recorded.is_none());
        services
            .map(|(key, _)| super::key::service(key))
            .chain(health.map(|(key, _)| super::key::health(key)))
            .chain(containments.map(|(key, _)| super::key::containment(key)))
            .chain(self.bulk.iter().filter(|bulk| bulk.plan.is_none()).map(|_| super::key::BULK.to_owned()))
            .chain(self.malformed.keys().cloned())
    }

    /// Whether what is stored for a service cannot be read.
    pub(super) fn is_poisoned(&self, key: &ServiceKey) -> bool {
        self.services.get(key).is_some_and(|slot| slot.poisoned)
    }

    /// The last change known of one of the keys that writes depend on; absent where there is no such key.
    pub(super) fn known(&self, key: &Key) -> Option<StoreRevision> {
        match key {
            Key::Meta => Some(self.meta),
            Key::Service(key) => self.services.get(key).map(|slot| slot.revision),
            Key::Health(key) => self.health.get(key).map(|report| report.revision),
            Key::Containment(key) => self.containments.get(key).map(|contained| contained.revision),
            Key::Alternatives(namespace) => self.guards.get(namespace).copied(),
            Key::Unregistered(key) => self.unregistered.get(key).map(|(revision, _)| *revision),
            Key::Bulk => self.bulk.as_ref().map(|bulk| bulk.at),
            Key::Request | Key::Change(_) | Key::Mark | Key::Malformed | Key::Unknown => None,
        }
    }

    /// Applies one change of the watch.
    pub(super) fn apply(&mut self, event: &WatchEvent) -> Option<Change> {
        match event {
            WatchEvent::Put(entry) => self.put(&entry.key, &entry.value, entry.mod_revision),
            WatchEvent::Delete { key, mod_revision } => self.delete(key, *mod_revision),
        }
    }

    /// Nothing up to here is missing any more.
    pub(super) fn advance(&mut self, head: StoreRevision) {
        self.head = self.head.max(head);
        self.seen = self.seen.max(head);
        self.deleted.retain(|_, revision| *revision > head);
    }

    /// A key holds a value since `at`.
    pub(super) fn put(&mut self, store_key: &str, value: &Bytes, at: StoreRevision) -> Option<Change> {
        let key = Key::parse(store_key);
        self.is_news(store_key, &key, at).then_some(())?;
        match key {
            Key::Service(key) => {
                let decoded = Registered::decode(&key, value, self.at(at));
                self.put_service(key, store_key, decoded, at)
            }
            Key::Health(key) => {
                let health = decode_health(value).inspect_err(|reason| warn_of_poison(store_key, at, reason)).ok();
                self.health.insert(key, Report { revision: at, health });
                None
            }
            Key::Containment(key) => {
                let recorded = Recorded::decode(&key, value);
                let recorded = recorded.inspect_err(|reason| warn_of_poison(store_key, at, reason)).ok();
                self.containments.insert(key.clone(), Contained { revision: at, recorded });
                self.contain(&key);
                None
            }
            Key::Alternatives(namespace) => {
                self.guards.insert(namespace, at);
                None
            }
            Key::Malformed => {
                if self.malformed.insert(store_key.to_owned(), at) != Some(at) {
                    tracing::error!(key = store_key, revision = at.get(), "no manager writes such a key: skipped");
                }
                None
            }
            Key::Unregistered(key) => {
                // One that cannot be read is known to be there: it gives way when its service comes again.
                let unregistered =
                    Unregistered::decode(value).inspect_err(|reason| warn_of_poison(store_key, at, reason));
                self.unregistered.insert(key, (at, unregistered.unwrap_or_default()));
                None
            }
            Key::Bulk => {
                let plan = BulkPlan::decode(value, self.at(at));
                let plan = plan.inspect_err(|reason| warn_of_poison(store_key, at, reason)).ok();
                self.bulk = Some(Bulk { at, plan });
                None
            }
            // The store's description is read by whoever asks for its epoch, changes by who asks for them, the rest is
            // not ours to keep.
            Key::Meta | Key::Request | Key::Change(_) | Key::Mark | Key::Unknown => None,
        }
    }

    /// The same of a service that was read back when it was written.
    pub(super) fn put_written(&mut self, store_key: &str, service: Registered, at: StoreRevision) -> Option<Change> {
        let key = service.key().clone();
        self.is_news(store_key, &Key::Service(key.clone()), at).then_some(())?;
        let service = service.written_at(self.at(at));
        self.put_service(key, store_key, Ok(service), at)
    }

    /// Whether what a key holds since `at` is not known yet.
    fn is_news(&self, store_key: &str, key: &Key, at: StoreRevision) -> bool {
        let is_newer = self.known(key).is_none_or(|known| known < at);
        let is_deleted_since = self.deleted.get(store_key).is_some_and(|deleted| *deleted >= at);
        is_newer && !is_deleted_since
    }

    fn put_service(
        &mut self,
        key: ServiceKey,
        store_key: &str,
        decoded: Result<Registered, Unreadable>,
        at: StoreRevision,
    ) -> Option<Change> {
        let slot = self.services.entry(key.clone()).or_insert(Slot {
            revision: at,
            good: None,
            before: None,
            poisoned: false,
        });
        slot.revision = at;
        slot.poisoned = decoded.is_err();
        match decoded {
            Ok(registered) => {
                if registered.is_of_later_release() {
                    tracing::warn!(
                        key = store_key,
                        "a later release wrote fields that this one keeps and does not enforce"
                    );
                }
                let registered = Arc::new(registered);
                if let Some(replaced) = slot.good.replace(Arc::clone(&registered)) {
                    let is_another = replaced.policy() != registered.policy();
                    match replaced.containment() {
                        None if is_another => slot.before = Some(replaced),
                        // Where nothing can be handed out in its place, what was ordered would reach nobody.
                        Some(containment) if !is_another && !registered.is_insisted() && slot.before.is_some() => {
                            registered.contain(containment.clone());
                        }
                        None | Some(_) => {}
                    }
                }
                self.contain(&key);
                Some(Change::Updated(registered))
            }
            Err(reason) => {
                warn_of_poison(store_key, at, &reason);
                None
            }
        }
    }

    /// Contains what is known of a service, where that is written down of its present policy.
    fn contain(&mut self, key: &ServiceKey) {
        let recorded = self.containments.get(key).and_then(|contained| contained.recorded.as_ref());
        if let Some((slot, recorded)) = self.services.get_mut(key).zip(recorded)
            && let Some(good) = &slot.good
            && recorded.is_about(good)
            && !good.is_insisted()
        {
            good.contain(recorded.containment.clone());
            if slot.before.is_none() {
                slot.before.clone_from(&recorded.in_place);
            }
        }
    }

    /// A key is gone since `at`.
    pub(super) fn delete(&mut self, store_key: &str, at: StoreRevision) -> Option<Change> {
        let key = Key::parse(store_key);
        if self.known(&key).is_some_and(|known| known > at) {
            return None;
        }
        match key {
            Key::Service(key) => {
                // Of one that could never be read, followers may have what was there before.
                self.services.remove(&key)?;
                Some(Change::Removed { key, revision: self.at(at) })
            }
            Key::Health(key) => {
                self.health.remove(&key);
                None
            }
            Key::Containment(key) => {
                self.containments.remove(&key);
                None
            }
            Key::Alternatives(namespace) => {
                self.guards.remove(&namespace);
                None
            }
            Key::Malformed => {
                self.malformed.remove(store_key);
                None
            }
            Key::Unregistered(key) => {
                self.unregistered.remove(&key);
                None
            }
            Key::Bulk => {
                self.bulk = None;
                None
            }
            Key::Meta | Key::Request | Key::Change(_) | Key::Mark | Key::Unknown => None,
        }
    }

    /// As [`delete`](Self::delete), for a deletion of our own that the watch has yet to confirm.
    pub(super) fn delete_early(&mut self, store_key: &str, at: StoreRevision) -> Option<Change> {
        if at > self.head {
            self.deleted.insert(store_key.to_owned(), at);
        }
        self.delete(store_key, at)
    }
}

/// Names what cannot be read. A revision is applied once, so this is said once.
fn warn_of_poison(key: &str, at: StoreRevision, reason: &Unreadable) {
    tracing::error!(key, revision = at.get(), %reason, "stored value cannot be read: skipped, what was known before stays");
}

#[cfg(test)]
mod tests;
