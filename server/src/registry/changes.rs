//! What is kept of the changes of services: each with who made it, why, and the service as it was after it.
//!
//! A change and its record are one transaction: the record's key is numbered by the service's own value, on which the
//! transaction depends, so there is neither a change without its record nor a record of what did not happen. The
//! revision of a change is that of the record's key, as both were put by one transaction; only a record that was copied
//! from another store has to say it.
//!
//! A service that a release without history has changed is recorded as it was found before it is changed again, so that
//! the first change can be undone, too. What is kept is bounded: of a service the newest 32 changes, in as much as they
//! have 64 KiB together, and the newest two in any case. The changes of a service that is unregistered stay, for it to be
//! registered again, of about the thousand that went last; a key of its own stands for each of them.

use bytes::Bytes;
use cofferdam_core::{
    name::ServiceKey,
    wire::{revision_from_wire, revision_to_wire},
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;
use prost_types::Timestamp;

use super::{
    Registered, Revision,
    asked::{Actor, check_reason},
    bulk::Bulk,
    key,
    record::{SCHEMA_VERSION, Unreadable},
    transact::{View, delete, put},
};
use crate::{
    error::Error,
    store::{Entry, Op},
};

/// The target of records in the log about changes.
const CHANGES: &str = "cofferdam_server::changes";

/// How many changes of a service are kept.
const MAX_KEPT: usize = 32;

/// How many bytes of changes of a service are kept.
const MAX_KEPT_BYTES: u64 = 64 * 1024;

/// How many changes of a service are kept whatever their size: the last one and what was there before it.
const MIN_KEPT: usize = 2;

/// How many services that are not registered any more keep their changes.
pub(super) const MAX_UNREGISTERED: usize = 1_000;

/// Of how many that went first the next one to be forgotten is chosen, so that those who unregister at the same time do
/// not all wait for one.
const OLDEST: usize = 16;

/// How many operations of a transaction forgetting may take it up to.
const OPS_TO_FORGET: usize = 60;

/// What was done, by whom, when and why.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    kind: v1::ChangeKind,
    actor: Actor,
    reason: String,
    time: Timestamp,
    restored: Option<v1::Revision>,
    bulk: Option<v1::Revision>,
    manager_id: String,
}

impl Cause {
    /// What is done, by whom, why and when, by this manager.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reason that is too long or would not print.
    pub(super) fn new(
        kind: v1::ChangeKind,
        actor: Actor,
        reason: String,
        time: Timestamp,
        manager_id: String,
    ) -> Result<Self, Error> {
        check_reason(&reason)?;
        Ok(Self { kind, actor, reason, time, restored: None, bulk: None, manager_id })
    }

    /// The same, to put back what was at a revision. `None`: before all of them.
    pub(super) fn restoring(self, restored: Option<v1::Revision>) -> Self {
        Self { restored, ..self }
    }

    /// The same, as a part of the change of many services that was ordered at a revision.
    pub(super) fn of_bulk(self, ordered: Revision) -> Self {
        Self { bulk: Some(revision_to_wire(ordered)), ..self }
    }

    /// When.
    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    /// Who.
    pub(super) fn actor(&self) -> &str {
        self.actor.name()
    }

    /// Tells the log that it has happened.
    pub(super) fn tell(&self, target: &ServiceKey, request_id: &str, at: v1::Revision) {
        let ServiceKey { namespace, name } = target;
        let (change, actor, reason) = (self.name(), self.actor.name(), &self.reason);
        let v1::Revision { epoch, revision } = at;
        tracing::info!(target: CHANGES, %namespace, service = %name, change, epoch, revision, actor, reason, request_id, "service changed");
    }

    /// Tells the log that it may have happened.
    pub(super) fn tell_doubt(&self, target: &ServiceKey, request_id: &str, error: &str) {
        let ServiceKey { namespace, name } = target;
        let (change, actor, reason) = (self.name(), self.actor.name(), &self.reason);
        tracing::warn!(target: CHANGES, %namespace, service = %name, change, actor, reason, request_id, error, "service may have changed");
    }

    /// What was done, in the contract's word.
    fn name(&self) -> String {
        let name = self.kind.as_str_name();
        name.strip_prefix("CHANGE_KIND_").unwrap_or(name).to_ascii_lowercase()
    }
}

/// A service that is not registered any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Unregistered {
    /// What is kept of its changes.
    pub(super) changes: storage::ChangeLog,
}

impl Unregistered {
    /// Reads what stands for it.
    pub(super) fn decode(value: &[u8]) -> Result<Self, Unreadable> {
        let record = storage::UnregisteredRecord::decode(value)?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        Ok(Self { changes: bounded(record.changes.unwrap_or_default()) })
    }
}

/// A log as it is stored, within what this release keeps, whatever wrote it.
pub(super) fn bounded(mut log: storage::ChangeLog) -> storage::ChangeLog {
    let kept = MAX_KEPT.min(usize::try_from(log.last).unwrap_or(MAX_KEPT));
    let beyond = log.sizes.len().saturating_sub(kept);
    log.sizes.drain(..beyond);
    log
}

/// Records a change that leaves a service registered: the value to store for it, of which `after` is all but the log, and
/// what else to write.
pub(super) fn change(
    view: &mut View<'_>,
    target: &ServiceKey,
    before: Option<&Registered>,
    cause: &Cause,
    after: Bytes,
) -> (Bytes, Vec<Op>) {
    // A release that keeps no changes registers a service again without a word of those before.
    let unregistered = before.and_then(Registered::changes).is_none().then(|| view.unregistered(target)).flatten();
    let mut ops = Vec::new();
    if unregistered.is_some() {
        ops.push(delete(key::unregistered(target)));
    }
    let log = log(view, target, before, unregistered, cause, after.clone(), &mut ops);
    // Messages one behind the other are one message.
    let mut value = Vec::from(after);
    value.extend(storage::ServiceRecord { changes: Some(log), ..storage::ServiceRecord::default() }.encode_to_vec());
    (value.into(), ops)
}

/// Records that a service goes: what to write besides its removal.
pub(super) fn removal(view: &mut View<'_>, target: &ServiceKey, before: &Registered, cause: &Cause) -> Vec<Op> {
    let mut ops = Vec::new();
    let unregistered = before.changes().is_none().then(|| view.unregistered(target)).flatten();
    let log = log(view, target, Some(before), unregistered, cause, Bytes::new(), &mut ops);
    let record = storage::UnregisteredRecord { schema_version: SCHEMA_VERSION, changes: Some(log) };
    ops.push(put(key::unregistered(target), record.encode_to_vec().into()));
    ops
}

/// A change's record as it is stored, with its revision in it where it has none.
pub(crate) fn with_revision(value: &Bytes, revision: Revision) -> Bytes {
    match storage::ChangeRecord::decode(value.clone()) {
        Ok(record) if record.revision.is_none_or(|own| own.revision == 0) => {
            let epoch = record.revision.map_or(revision.epoch, |own| own.epoch);
            let revision = Some(revision_to_wire(Revision { epoch, ..revision }));
            // Messages one behind the other are one message.
            let told = storage::ChangeRecord { revision, ..storage::ChangeRecord::default() };
            [value, told.encode_to_vec().as_slice()].concat().into()
        }
        _ => value.clone(),
    }
}

/// Adds the record of a change to `ops`, the deletion of those that there is no room for, and says what is kept then.
fn log(
    view: &View<'_>,
    target: &ServiceKey,
    before: Option<&Registered>,
    unregistered: Option<&Unregistered>,
    cause: &Cause,
    after: Bytes,
    ops: &mut Vec<Op>,
) -> storage::ChangeLog {
    let known = before.and_then(Registered::changes).or_else(|| unregistered.map(|gone| &gone.changes));
    let mut log = known.cloned().unwrap_or_default();
    if let Some(found) = before.and_then(found) {
        append(target, &mut log, &found.record, ops);
    }
    let record = storage::ChangeRecord {
        schema_version: SCHEMA_VERSION,
        kind: cause.kind.into(),
        actor: cause.actor.name().to_owned(),
        reason: cause.reason.clone(),
        time: Some(cause.time),
        after,
        // The rest is that of its transaction.
        revision: Some(v1::Revision { epoch: view.catalog().epoch, revision: 0 }),
        restored: cause.restored,
        manager_id: cause.manager_id.clone(),
        bulk: cause.bulk,
    };
    append(target, &mut log, &record, ops);
    log.time = Some(cause.time);
    while !fits(&log) {
        ops.push(delete(key::change(target, first(&log))));
        log.sizes.remove(0);
    }
    log
}

/// How a service was found whose last change is not recorded. `None`: it is.
pub(super) fn found(present: &Registered) -> Option<Kept> {
    let record = storage::ChangeRecord {
        schema_version: SCHEMA_VERSION,
        kind: v1::ChangeKind::Found.into(),
        time: present.update_time(),
        after: present.stored(),
        revision: Some(revision_to_wire(present.revision())),
        ..storage::ChangeRecord::default()
    };
    let number = present.changes().map_or(0, |log| log.last).saturating_add(1);
    (!is_recorded(present)).then(|| Kept { number, revision: present.revision(), record })
}

/// Whether the last change of a service is the last one that is recorded of it.
fn is_recorded(registered: &Registered) -> bool {
    registered.changes().is_some_and(|log| log.time == registered.update_time())
}

fn append(target: &ServiceKey, log: &mut storage::ChangeLog, record: &storage::ChangeRecord, ops: &mut Vec<Op>) {
    let value = record.encode_to_vec();
    log.last = log.last.saturating_add(1);
    log.sizes.push(u32::try_from(value.len()).unwrap_or(u32::MAX));
    ops.push(put(key::change(target, log.last), value.into()));
}

fn fits(log: &storage::ChangeLog) -> bool {
    let bytes: u64 = log.sizes.iter().copied().map(u64::from).sum();
    log.sizes.len() <= MIN_KEPT || (log.sizes.len() <= MAX_KEPT && bytes <= MAX_KEPT_BYTES)
}

/// The number of the oldest change that is kept.
fn first(log: &storage::ChangeLog) -> u64 {
    log.last.saturating_sub(log.sizes.len() as u64).saturating_add(1)
}

/// Forgets one of those that were unregistered first, where there are too many with `target`: adds to what is written that
/// removes it alone. Not while many services are being changed, which may have to come back.
pub(super) fn forget(view: &mut View<'_>, target: &ServiceKey, ops: &mut Vec<Op>) {
    let mut unregistered = view.catalog().unregistered_by_age();
    unregistered.retain(|key| *key != target);
    let beyond = (unregistered.len() + 1).saturating_sub(MAX_UNREGISTERED);
    if beyond == 0 || view.bulk().is_some_and(Bulk::is_under_way) {
        return;
    }
    let chance: usize = target.name.as_str().bytes().map(usize::from).sum();
    let start = chance % OLDEST;
    for forgotten in unregistered.iter().cycle().skip(start).take(beyond.min(unregistered.len())) {
        let Some(log) = view.unregistered(forgotten).map(|unregistered| unregistered.changes.clone()) else { continue };
        if ops.len() + log.sizes.len() >= OPS_TO_FORGET {
            break;
        }
        ops.push(delete(key::unregistered(forgotten)));
        ops.extend((first(&log)..=log.last).map(|number| delete(key::change(forgotten, number))));
    }
}

/// One change, as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its number.
    pub(super) number: u64,
    /// Its revision.
    pub(super) revision: Revision,
    /// All else.
    pub(super) record: storage::ChangeRecord,
}

impl Kept {
    /// Reads a change, of a store in this epoch.
    pub(super) fn decode(entry: &Entry, epoch: u64) -> Result<Self, Unreadable> {
        let record = storage::ChangeRecord::decode(entry.value.clone())?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        let revision = match record.revision {
            Some(own) if own.revision != 0 => revision_from_wire(own),
            // Earlier releases left the epoch out.
            own => Revision { epoch: own.map_or(epoch, |own| own.epoch), revision: entry.mod_revision.get() },
        };
        let number = entry.key.rsplit('/').next().and_then(|number| number.parse().ok());
        Ok(Self { number: number.unwrap_or_default(), revision, record })
    }
}
