//! What a transaction does to what is there: the one definition that the memory and embedded stores share.

use super::{Conflict, Entry, FailedPrecondition, Op, Precondition, StoreRevision, Txn, WatchEvent};

/// The verdict on a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Its preconditions hold; these are its changes, ready to be stored and watched. Empty: it changes nothing.
    Apply(Vec<WatchEvent>),
    /// Some precondition does not hold.
    Conflict(Conflict),
}

/// Judges `txn` against the state that `get` reads, which is the one after revision `head`.
///
/// # Errors
/// Whatever `get` fails with.
pub(super) fn plan<E>(
    txn: &Txn,
    head: StoreRevision,
    mut get: impl FnMut(&str) -> Result<Option<Entry>, E>,
) -> Result<Plan, E> {
    let mut failed = Vec::new();
    for precondition in &txn.preconditions {
        let current = get(precondition.key())?;
        if !holds(precondition, current.as_ref()) {
            failed.push(FailedPrecondition {
                precondition: precondition.clone(),
                current,
            });
        }
    }
    if !failed.is_empty() {
        return Ok(Plan::Conflict(Conflict { revision: head, failed }));
    }
    let mod_revision = head.next();
    let mut events = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        let before = get(op.key())?;
        match op {
            Op::Put { key, value, lease } => events.push(WatchEvent::Put(Entry {
                key: key.clone(),
                value: value.clone(),
                create_revision: before.map_or(mod_revision, |entry| entry.create_revision),
                mod_revision,
                lease: *lease,
            })),
            Op::Delete { key } if before.is_some() => {
                events.push(WatchEvent::Delete {
                    key: key.clone(),
                    mod_revision,
                });
            }
            Op::Delete { .. } => {}
        }
    }
    Ok(Plan::Apply(events))
}

/// Whether the precondition is true of the key's entry, or of its absence.
pub(super) fn holds(precondition: &Precondition, current: Option<&Entry>) -> bool {
    match precondition {
        Precondition::Absent { .. } => current.is_none(),
        Precondition::Revision { mod_revision, .. } => current.is_some_and(|entry| entry.mod_revision == *mod_revision),
    }
}
