//! What is told of changes ([`Events`]): by the records that stand beside them, whoever has made them, in the order of
//! the store.
//!
//! Records come by the watch, and where that was lost, are read for what has changed since; this manager's own as well, so that a write
//! whose outcome was never known is told where it has happened. Of a record, its service is compared with what was known
//! of it before: what was held, and by which level.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use cofferdam_core::{
    level::Level,
    name::ServiceKey,
    wire::{level_from_wire, level_to_wire, orders_to_wire},
};
use cofferdam_proto::{storage::v1 as storage, v1, v1::expiry_event::Expired};
use prost::Message;

use super::{Registered, Revision, changes::Kept, key::Key, record::decode_health};
use crate::{
    events::{Events, News},
    store::{Entry, StoreRevision},
};

/// Services whose records are read after the watch was lost. Of more than these, each would wait for all before it; who
/// wants to know has the history.
const MAX_READ: usize = 1_000;

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
    /// What was last reported of the health of services: only another status is news.
    health: HashMap<ServiceKey, i32>,
    /// What is ordered, of services of which something is.
    orders: BTreeMap<ServiceKey, (Revision, v1::Orders)>,
}

impl Teller {
    pub(super) fn new(events: Arc<Events>) -> Self {
        Self { events, told: Mutex::default() }
    }

    /// Begins with what there is: nothing of it is told. Says whether it is of another epoch than what was there before.
    pub(super) fn begin<'a>(
        &self,
        epoch: u64,
        up_to: StoreRevision,
        services: impl Iterator<Item = &'a Arc<Registered>>,
        now: SystemTime,
    ) {
        let mut told = self.lock();
        if told.epoch == epoch {
            return;
        }
        let is_another = told.epoch != 0;
        *told = Told { epoch, up_to, ..Told::default() };
        for registered in services {
            let level = level_to_wire(registered.policy().level);
            told.levels.insert(registered.key().clone(), level);
            let mut orders = orders_to_wire(registered.orders());
            expire(&mut orders, now);
            if has_any(&orders) {
                told.orders.insert(registered.key().clone(), (registered.revision(), orders));
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
        let mut changed: Vec<_> = changed.collect();
        if changed.len() > MAX_READ {
            tracing::warn!(
                services = changed.len(),
                read = MAX_READ,
                "not all changes of the time without a watch are told"
            );
            changed.truncate(MAX_READ);
        }
        changed
    }

    /// Tells the changes in a transaction, or in a listing: what is told already is not told again.
    pub(super) fn tell<'a>(&self, epoch: u64, entries: impl Iterator<Item = &'a Entry>, up_to: StoreRevision) {
        let mut told = self.lock();
        if told.epoch != epoch || told.up_to >= up_to {
            return;
        }
        let mut changes: Vec<_> =
            entries.filter(|entry| entry.mod_revision > told.up_to && entry.mod_revision <= up_to).collect();
        changes.sort_by_key(|entry| entry.mod_revision);
        for entry in changes {
            match Key::parse(&entry.key) {
                Key::Change(key) => self.tell_change(&mut told, key, entry, epoch),
                Key::Health(key) => {
                    if let Ok(health) = decode_health(&entry.value)
                        && told.health.insert(key.clone(), health.status) != Some(health.status)
                    {
                        let at = health.observe_time.and_then(|at| SystemTime::try_from(at).ok());
                        let news = News::health(&key, health);
                        self.events.leave_to(None, news, at.unwrap_or_else(|| self.events.now()));
                    }
                }
                _ => {}
            }
        }
        told.up_to = up_to;
    }

    fn tell_change(&self, told: &mut Told, key: ServiceKey, entry: &Entry, epoch: u64) {
        let Ok(Kept { revision, record, .. }) = Kept::decode(entry, epoch) else { return };
        if record.kind() == v1::ChangeKind::Found || record.revision.is_some_and(|own| own.revision != 0) {
            // Not a change of now: it has a revision that is not its transaction's.
            return;
        }
        let change = told.change(&key, revision, &record);
        let at = record.time.and_then(|at| SystemTime::try_from(at).ok()).unwrap_or_else(|| self.events.now());
        self.events.leave_to(Some(&record.manager_id), News::change(&key, revision, change), at);
    }

    /// Tells what has run out by now.
    pub(super) fn tell_expired(&self, now: SystemTime) {
        let mut told = self.lock();
        for (key, (revision, orders)) in &mut told.orders {
            for (at, expired) in expire(orders, now) {
                self.events.leave_to(None, News::expiry(key, *revision, expired), at);
            }
        }
        told.orders.retain(|_, (_, orders)| has_any(orders));
    }

    /// Nothing between two steps of a change can panic: a poisoned state is whole.
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// What a record says, beside what was known before.
    fn change(&mut self, key: &ServiceKey, revision: Revision, record: &storage::ChangeRecord) -> v1::ChangeEvent {
        let after = storage::ServiceRecord::decode(record.after.clone()).ok().filter(|_| !record.after.is_empty());
        let level = after.as_ref().map(|after| written_level(after.policy.as_ref()));
        let level_before = match level {
            Some(level) => self.levels.insert(key.clone(), level),
            None => self.levels.remove(key),
        };
        let orders = after.and_then(|after| after.orders).unwrap_or_default();
        let (_, before) = self.orders.remove(key).unwrap_or_default();
        let is_level = record.kind() == v1::ChangeKind::Level;
        let change = v1::ChangeEvent {
            kind: record.kind,
            actor: record.actor.clone(),
            reason: record.reason.clone(),
            level_before: level_before.unwrap_or_default().into(),
            level: level.unwrap_or_default().into(),
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
            temporary_level: orders.temporary_level.clone().filter(|_| is_level),
        };
        if has_any(&orders) {
            self.orders.insert(key.clone(), (revision, orders));
        }
        change
    }
}

fn written_level(policy: Option<&v1::IsolationPolicy>) -> v1::IsolationLevel {
    let level = policy.and_then(|policy| level_from_wire(policy.level).ok().flatten());
    level_to_wire(level.unwrap_or(Level::Basic))
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
