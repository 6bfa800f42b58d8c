//! What is told of changes ([`Events`]): by the records that stand beside them, whoever has made them, in the order of
//! the store.
//!
//! Records come by the watch, and where that was lost, are read for what has changed since; this manager's own as well, so
//! that a write whose outcome was never known is told where it has happened. Of a record, its service is compared with what
//! was known of it before: what was held, and by which level. Where there are too many of them to read, it is told that some
//! are missing, and the services are known from then on as they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use cofferdam_core::{
    name::ServiceKey,
    policy::Policy,
    wire::{effective_policy, level_to_wire, orders_to_wire},
};
use cofferdam_proto::{storage::v1 as storage, v1, v1::expiry_event::Expired};
use prost::Message;

use super::{
    Registered, Revision,
    changes::Kept,
    follow::Records,
    key::Key,
    record::{as_written, decode_health},
};
use crate::{
    events::{Events, News},
    store::{Entry, Listing, StoreRevision, WatchBatch, WatchEvent},
};

/// How much of what has run out is told in one go: whoever watches shall keep up with it.
const EXPIRED_AT_ONCE: usize = 1_000;

/// Tells what changes.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) events: Arc<Events>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    epoch: u64,
    /// Up to which point of the store everything is told.
    up_to: StoreRevision,
    levels: HashMap<ServiceKey, v1::IsolationLevel>,
    /// What is reported of the health of services: only another status is news.
    health: HashMap<ServiceKey, i32>,
    /// What is ordered, of services of which something is.
    orders: BTreeMap<ServiceKey, (Revision, v1::Orders)>,
}

/// What is told of a service's policy, and what is ordered beside it.
#[derive(Clone, Debug, Default)]
struct Stand {
    /// The level of its policy, as it is in force.
    level: v1::IsolationLevel,
    /// Whether that follows from what the policy states.
    is_auto: bool,
    orders: v1::Orders,
}

impl Teller {
    pub(super) fn new(events: Arc<Events>) -> Self {
        Self { events, told: Mutex::default() }
    }

    /// Begins with what there is: nothing of it is told. Says whether it is of another epoch than what was there before.
    pub(super) fn begin<'a>(
        &self,
        epoch: u64,
        listing: &Listing,
        services: impl Iterator<Item = &'a Arc<Registered>>,
        now: SystemTime,
    ) {
        let mut told = self.lock();
        if told.epoch == epoch {
            return;
        }
        let is_another = told.epoch != 0;
        *told = Told { epoch, up_to: listing.revision, ..Told::default() };
        for registered in services {
            let stand = Stand {
                level: level_to_wire(registered.policy().level),
                is_auto: registered.written_policy().level() == v1::IsolationLevel::Auto,
                orders: orders_to_wire(registered.orders()),
            };
            told.know(registered.key(), registered.revision(), Some(stand), now);
        }
        for entry in &listing.entries {
            if let (Key::Health(key), Ok(health)) = (Key::parse(&entry.key), decode_health(&entry.value)) {
                told.health.insert(key, health.status);
            }
        }
        drop(told);
        if is_another {
            self.events.leave_to(None, News::store_epoch(epoch), now);
        }
    }

    /// The services of a listing that have changed since everything was told.
    pub(super) fn changed(&self, epoch: u64, entries: &[Entry]) -> Vec<ServiceKey> {
        let told = self.lock();
        let is_new = |entry: &&Entry| told.epoch == epoch && entry.mod_revision > told.up_to;
        let changed = entries.iter().filter(is_new).filter_map(|entry| match Key::parse(&entry.key) {
            Key::Service(key) | Key::Unregistered(key) => Some(key),
            _ => None,
        });
        changed.collect()
    }

    /// Tells the changes in a transaction: what is told already is not told again.
    pub(super) fn tell(&self, epoch: u64, batch: &WatchBatch) {
        let mut told = self.lock();
        if told.epoch != epoch || told.up_to >= batch.revision {
            return;
        }
        let put = batch.events.iter().filter_map(|event| match event {
            WatchEvent::Put(entry) => Some(entry),
            WatchEvent::Delete { .. } => None,
        });
        self.tell_entries(&mut told, put, batch.revision);
        for event in &batch.events {
            if let WatchEvent::Delete { key, .. } = event
                && let Key::Health(key) = Key::parse(key)
            {
                told.health.remove(&key);
            }
        }
    }

    /// Tells what has changed up to a listing, by the records that were read for it. Of the services whose records were not,
    /// it is told that something is missing.
    pub(super) fn catch_up(&self, epoch: u64, listing: &Listing, records: &Records) {
        let mut told = self.lock();
        if told.epoch != epoch || told.up_to >= listing.revision {
            return;
        }
        if !records.unread.is_empty() {
            self.pass_over(&mut told, listing, &records.unread);
        }
        let reported: HashSet<_> = (listing.entries.iter())
            .filter_map(|entry| if let Key::Health(key) = Key::parse(&entry.key) { Some(key) } else { None })
            .collect();
        told.health.retain(|key, _| reported.contains(key));
        self.tell_entries(&mut told, listing.entries.iter().chain(&records.entries), listing.revision);
    }

    /// Takes services as they are, and says that what became of them is not told.
    fn pass_over(&self, told: &mut Told, listing: &Listing, services: &HashSet<ServiceKey>) {
        let (now, epoch) = (self.events.now(), told.epoch);
        let at = |revision: StoreRevision| Revision { epoch, revision: revision.get() };
        for key in services {
            told.know(key, at(listing.revision), None, now);
        }
        for entry in &listing.entries {
            let Key::Service(key) = Key::parse(&entry.key) else { continue };
            if services.contains(&key) {
                told.know(&key, at(entry.mod_revision), stand(&entry.value), now);
            }
        }
        let count = services.len();
        tracing::warn!(services = count, "not all changes of the time without a watch of the store are told");
        let reason = format!(
            "the store could not be followed, and what has changed meanwhile of {count} services was too much to read: their \
             history has it"
        );
        self.events.tell(News::gap(self.events.manager_id(), reason));
    }

    fn tell_entries<'a>(&self, told: &mut Told, entries: impl Iterator<Item = &'a Entry>, up_to: StoreRevision) {
        let mut changes: Vec<_> =
            entries.filter(|entry| entry.mod_revision > told.up_to && entry.mod_revision <= up_to).collect();
        changes.sort_by_key(|entry| entry.mod_revision);
        for entry in changes {
            match Key::parse(&entry.key) {
                Key::Change(key) => self.tell_change(told, key, entry),
                Key::Health(key) => {
                    if let Ok(health) = decode_health(&entry.value)
                        && told.health.insert(key.clone(), health.status) != Some(health.status)
                    {
                        // Now, whenever it was observed: its reporter may have said anything.
                        self.events.leave_to(None, News::health(&key, health), self.events.now());
                    }
                }
                _ => {}
            }
        }
        told.up_to = up_to;
    }

    fn tell_change(&self, told: &mut Told, key: ServiceKey, entry: &Entry) {
        let Ok(Kept { revision, record, .. }) = Kept::decode(entry, told.epoch) else { return };
        if record.kind() == v1::ChangeKind::Found || record.revision.is_some_and(|own| own.revision != 0) {
            // Not a change of now: it has a revision that is not its transaction's.
            return;
        }
        let at = record.time.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or_else(|| self.events.now());
        // A change leaves out what has run out before it.
        if let Some((revision, orders)) = told.orders.get_mut(&key) {
            self.tell_expired_of(&key, *revision, orders, at);
        }
        let change = told.change(&key, revision, &record, at);
        self.events.leave_to(Some(&record.manager_id), News::change(&key, revision, change), at);
    }

    /// Tells what has run out by now, as far as there is room; the rest the next time.
    pub(super) fn tell_expired(&self, now: SystemTime) {
        let mut told = self.lock();
        let mut room = self.events.room().min(EXPIRED_AT_ONCE);
        for (key, (revision, orders)) in &mut told.orders {
            if room == 0 {
                break;
            }
            room = room.saturating_sub(self.tell_expired_of(key, *revision, orders, now));
        }
        told.orders.retain(|_, (_, orders)| has_any(orders));
    }

    /// The same of one service, and how much it was.
    fn tell_expired_of(&self, key: &ServiceKey, revision: Revision, orders: &mut v1::Orders, now: SystemTime) -> usize {
        let expired = expire(orders, now);
        let count = expired.len();
        for (at, expired) in expired {
            self.events.leave_to(None, News::expiry(key, revision, expired), at);
        }
        count
    }

    /// Nothing between two steps of a change can panic: a poisoned state is whole.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What a record says, beside what was known before.
    fn change(
        &mut self,
        key: &ServiceKey,
        revision: Revision,
        record: &storage::ChangeRecord,
        at: SystemTime,
    ) -> v1::ChangeEvent {
        let after = stand(&record.after).filter(|_| !record.after.is_empty());
        let Stand { level, is_auto, orders } = after.clone().unwrap_or_default();
        let before = self.orders.get(key).map(|(_, before)| before.clone()).unwrap_or_default();
        let level_before = self.know(key, revision, after, at);
        let is_level = record.kind() == v1::ChangeKind::Level;
        v1::ChangeEvent {
            kind: record.kind,
            actor: record.actor.clone(),
            reason: record.reason.clone(),
            level_before: level_before.unwrap_or_default().into(),
            level: level.into(),
            restored: record.restored,
            hold: match record.kind() {
                v1::ChangeKind::Held => first_new(&orders.holds, &before.holds),
                v1::ChangeKind::Released => first_new(&before.holds, &orders.holds),
                _ => None,
            },
            command: match record.kind() {
                v1::ChangeKind::Tripped | v1::ChangeKind::Reset => orders.commands.last().cloned(),
                _ => None,
            },
            temporary_level: orders.temporary_level.filter(|_| is_level),
            auto_level: is_auto,
        }
    }

    /// Knows how a service stands, less what has run out: its level and what is ordered of it. `None`: it is not registered.
    /// Returns the level that was known.
    fn know(
        &mut self,
        key: &ServiceKey,
        revision: Revision,
        stand: Option<Stand>,
        now: SystemTime,
    ) -> Option<v1::IsolationLevel> {
        self.orders.remove(key);
        let Some(Stand { level, mut orders, .. }) = stand else { return self.levels.remove(key) };
        expire(&mut orders, now);
        if has_any(&orders) {
            self.orders.insert(key.clone(), (revision, orders));
        }
        self.levels.insert(key.clone(), level)
    }
}

/// How a service is stored. `None`: it cannot be read.
fn stand(value: &[u8]) -> Option<Stand> {
    let storage::ServiceRecord { policy, orders, .. } = as_written(storage::ServiceRecord::decode(value).ok()?);
    let written = policy.unwrap_or_default();
    // What nobody can enforce is as if it said nothing.
    let level = effective_policy(&written).map_or_else(|_| Policy::default().level, |policy| policy.level);
    let is_auto = written.level() == v1::IsolationLevel::Auto;
    Some(Stand { level: level_to_wire(level), is_auto, orders: orders.unwrap_or_default() })
}

/// The first of these that is not among those.
fn first_new(these: &[v1::Hold], those: &[v1::Hold]) -> Option<v1::Hold> {
    these.iter().find(|hold| !those.contains(hold)).cloned()
}

/// Whether there is something that can run out, or be released.
fn has_any(orders: &v1::Orders) -> bool {
    !orders.holds.is_empty() || orders.temporary_level.is_some()
}

/// Takes out what has run out, each with its time.
fn expire(orders: &mut v1::Orders, now: SystemTime) -> Vec<(SystemTime, Expired)> {
    let due = |at: Option<prost_types::Timestamp>| SystemTime::try_from(at?).ok().filter(|at| *at <= now);
    let mut expired = Vec::new();
    orders.holds.retain(|hold| match due(hold.expire_time) {
        Some(at) => {
            expired.push((at, Expired::Hold(hold.clone())));
            false
        }
        None => true,
    });
    let level = orders.temporary_level.take_if(|level| due(level.expire_time).is_some());
    if let Some(level) = level
        && let Some(at) = due(level.expire_time)
    {
        expired.push((at, Expired::TemporaryLevel(level)));
    }
    expired
}
