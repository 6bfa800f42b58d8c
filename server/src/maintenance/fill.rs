//! Putting a copy into a store, all of it or visibly not.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use cofferdam_proto::storage::v1::{StoreMeta, StoreTransfer};

use super::{StoreCopy, read_from};
use crate::{
    clock::Clock,
    registry::{EpochError, epoch, key},
    store::{CommitError, Entry, MAX_OPS, MAX_TXN_BYTES, Op, Store, StoreError, StoreIdentity, StoreRevision, Txn},
};

/// How often a transaction is tried while the store is away for a moment.
const ATTEMPTS: u32 = 5;

/// How long to wait in between.
const PAUSE: Duration = Duration::from_secs(1);

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// An earlier transfer of the same store was cut off; this one goes on where it stopped.
    Resumed,
    /// So many keys of all that differed are written or deleted.
    Written {
        /// How many.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// All is written and is being read back.
    Verifying,
}

/// A store that was filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// The epoch that it begins.
    pub epoch: u64,
    /// Its revision.
    pub revision: StoreRevision,
    /// How many keys it has of the copy; each was compared.
    pub keys: usize,
}

/// Why a store was not filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FillError {
    /// There is something in it, which nobody said may go.
    #[error("it is not empty: it has {keys} keys, {first} the first of them; say --replace to lose them")]
    NotEmpty {
        /// How many keys, the store's description not counted.
        keys: usize,
        /// The first of them.
        first: String,
    },
    /// A transfer of another store into it was cut off.
    #[error(
        "a transfer of another store ({source_identity}) into it was cut off: run that one again, or say --replace to begin anew with this one"
    )]
    OtherTransfer {
        /// The store of which the other one is.
        source_identity: String,
    },
    /// Its description cannot be replaced by this release.
    #[error(transparent)]
    Description(#[from] EpochError),
    /// Somebody else writes to it.
    #[error("a manager or another transfer writes to it at the same time: stop it, and run this again")]
    Contended,
    /// The store that the copy is of has changed meanwhile, or cannot be read any more.
    #[error("the source changed while it was copied ({reason}): stop its managers, and run this again")]
    Source {
        /// What is known of it.
        reason: String,
    },
    /// What is read back is not what was written.
    #[error("{keys} keys differ from what was copied, {first} the first of them: run this again")]
    Differs {
        /// How many.
        keys: usize,
        /// The first of them.
        first: String,
    },
    /// The store failed; what is in it is marked as unfinished.
    #[error("{0}; run this again, it goes on where it stopped")]
    Store(#[from] StoreError),
}

impl From<CommitError> for FillError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict(_) => Self::Contended,
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

/// Makes `target` hold what `copy` does and nothing else, under a new epoch. With `replace`, whatever it held before
/// goes. `confirm` is asked before the end whether the copy is still a good one.
///
/// # Errors
/// [`FillError`]. After all but the first two, the store may be marked as unfinished: managers refuse it until the same
/// transfer has been run again.
pub async fn fill(
    target: &dyn Store,
    copy: &StoreCopy,
    replace: bool,
    clock: &dyn Clock,
    confirm: impl Future<Output = Result<(), FillError>>,
    mut progress: impl FnMut(Progress),
) -> Result<Filled, FillError> {
    let before = read_from(target).await?;
    let described = before.listing.entries.iter().find(|entry| entry.key == key::META);
    let meta = match described.map(|entry| epoch::decode(&entry.value)).transpose() {
        // It goes with everything else.
        Err(EpochError::Unreadable(_)) if replace => None,
        meta => meta?,
    };
    let resumed = resumed(meta.as_ref(), copy, replace)?;
    if resumed.is_some() {
        progress(Progress::Resumed);
    }
    let may_lose = replace || resumed.is_some_and(|transfer| !transfer.unchecked);
    let unmarked = match (resumed, &meta) {
        (Some(_), Some(meta)) => {
            let description = described.map(|entry| &entry.value);
            Some(epoch::describe(description, meta.epoch, before.identity.clone(), None))
        }
        _ if may_lose => None,
        _ => {
            check_empty(&before.listing.entries)?;
            described.map(|entry| entry.value.clone())
        }
    };
    let epoch_before = meta.as_ref().map(|meta| meta.epoch).max(Some(copy.epoch()));
    let marking = |described, unchecked| {
        mark(target, copy, described, epoch_before.unwrap_or_default(), before.identity.clone(), unchecked)
    };
    let mut mark = marking(described, !may_lose).await?;

    // Managers may have written until the mark was there.
    let entries = target.list("").await?.entries;
    if !may_lose {
        if let Err(not_empty) = check_empty(&entries) {
            unmark(target, mark, unmarked.as_ref()).await?;
            return Err(not_empty);
        }
        // From here on, what is found after a transfer that was cut off is its own.
        let marked = entries.iter().find(|entry| entry.key == key::META && entry.mod_revision == mark);
        mark = marking(Some(marked.ok_or(FillError::Contended)?), false).await?;
    }
    let batches = batches(copy, &entries);
    let of = batches.iter().map(Vec::len).sum();
    let mut done = 0;
    progress(Progress::Written { done, of });
    for ops in batches {
        done += ops.len();
        commit(target, Txn { ops, ..Txn::new() }.require_revision(key::META, mark)).await?;
        progress(Progress::Written { done, of });
    }

    progress(Progress::Verifying);
    compare(copy, &target.list("").await?.entries)?;
    confirm.await?;
    let epoch = epoch::next(epoch_before, clock.unix_millis());
    let described = epoch::describe(copy.description(), epoch, before.identity, None);
    let revision = unmark(target, mark, Some(&described)).await?;
    Ok(Filled { epoch, revision, keys: copy.keys() })
}

/// Whether an entry is to go where the copy does not have it. What else is on a lease is of managers that live, and goes
/// with them.
fn is_replaceable(entry: &Entry) -> bool {
    !key::is_of_the_store(&entry.key) && (entry.lease.is_none() || key::is_request(&entry.key))
}

/// The earlier transfer that was filling the store.
fn resumed<'a>(
    meta: Option<&'a StoreMeta>,
    copy: &StoreCopy,
    replace: bool,
) -> Result<Option<&'a StoreTransfer>, FillError> {
    match meta.and_then(|meta| meta.transfer.as_ref()) {
        Some(transfer) if transfer.source_identity == copy.identity().cluster => Ok(Some(transfer)),
        Some(_) if replace => Ok(None),
        Some(other) => Err(FillError::OtherTransfer { source_identity: other.source_identity.clone() }),
        None => Ok(None),
    }
}

/// That nothing is lost with these entries.
fn check_empty(entries: &[Entry]) -> Result<(), FillError> {
    let mut kept = entries.iter().filter(|entry| !key::is_of_the_store(&entry.key) && entry.lease.is_none());
    match kept.next() {
        Some(first) => Err(FillError::NotEmpty { keys: 1 + kept.count(), first: first.key.clone() }),
        None => Ok(()),
    }
}

/// Marks the store as being filled: the revision of its description that says so.
async fn mark(
    target: &dyn Store,
    copy: &StoreCopy,
    described: Option<&Entry>,
    epoch: u64,
    identity: StoreIdentity,
    unchecked: bool,
) -> Result<StoreRevision, FillError> {
    let (source_identity, source_revision) = (copy.identity().cluster, copy.revision().get());
    let transfer = StoreTransfer { source_identity, source_revision, unchecked };
    let value = epoch::describe(described.map(|entry| &entry.value), epoch, identity, Some(transfer));
    let txn = match described {
        None => Txn::new().require_absent(key::META),
        Some(entry) => Txn::new().require_revision(key::META, entry.mod_revision),
    };
    Ok(target.commit(txn.put(key::META, value)).await?.revision)
}

/// What is to be changed in a store with these entries, in parts that one transaction takes.
fn batches(copy: &StoreCopy, entries: &[Entry]) -> Vec<Vec<Op>> {
    let there: BTreeMap<&str, &Entry> = entries.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let wanted: BTreeMap<&str, &Bytes> = copy.entries().collect();
    let is_there =
        |key: &str, value: &Bytes| there.get(key).is_some_and(|entry| entry.value == *value && entry.lease.is_none());
    let puts = copy.entries().filter(|(key, value)| !is_there(key, value));
    let puts = puts.map(|(key, value)| Op::Put { key: key.to_owned(), value: value.clone(), lease: None });
    let gone = entries.iter().filter(|entry| is_replaceable(entry) && !wanted.contains_key(entry.key.as_str()));
    let deletes = gone.map(|entry| Op::Delete { key: entry.key.clone() });

    let mut batches: Vec<Vec<Op>> = Vec::new();
    let mut room = 0;
    for op in puts.chain(deletes) {
        let size = match &op {
            Op::Put { key, value, .. } => key.len() + value.len(),
            Op::Delete { key } => key.len(),
        };
        match batches.last_mut() {
            Some(batch) if size <= room && batch.len() < MAX_OPS => {
                room -= size;
                batch.push(op);
            }
            _ => {
                // The precondition counts, too.
                room = MAX_TXN_BYTES.saturating_sub(key::META.len() + size);
                batches.push(vec![op]);
            }
        }
    }
    batches
}

/// Commits what may be committed twice: it depends on the mark and on nothing else.
async fn commit(target: &dyn Store, txn: Txn) -> Result<(), FillError> {
    for _ in 1..ATTEMPTS {
        match target.commit(txn.clone()).await {
            Err(CommitError::Store(error)) if error.is_transient() => {
                tracing::debug!(%error, "the store is away for a moment");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return Ok(outcome.map(drop)?),
        }
    }
    Ok(target.commit(txn).await.map(drop)?)
}

/// Puts `described` in the place of the mark, or nothing: the revision at which it is there.
///
/// It can be committed once only, so that after a lost answer the store is asked whether it was.
async fn unmark(
    target: &dyn Store,
    mark: StoreRevision,
    described: Option<&Bytes>,
) -> Result<StoreRevision, FillError> {
    let txn = Txn::new().require_revision(key::META, mark);
    let txn = match described {
        Some(value) => txn.put(key::META, value.clone()),
        None => txn.delete(key::META),
    };
    let mut attempt = 1;
    loop {
        let error = match target.commit(txn.clone()).await {
            Ok(committed) => return Ok(committed.revision),
            Err(error) => error,
        };
        let may_pass = match target.list(key::META).await {
            Ok(listing) => {
                let found = listing.entries.iter().find(|entry| entry.key == key::META);
                if found.map(|entry| &entry.value) == described {
                    return Ok(found.map_or(listing.revision, |entry| entry.mod_revision));
                }
                matches!(&error, CommitError::Store(error) if error.is_transient())
            }
            Err(unread) => unread.is_transient(),
        };
        if !may_pass || attempt == ATTEMPTS {
            return Err(error.into());
        }
        attempt += 1;
        tracing::debug!(%error, "the store is away for a moment");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Compares every key of the copy with what is there.
fn compare(copy: &StoreCopy, entries: &[Entry]) -> Result<(), FillError> {
    let there = entries.iter().filter(|entry| is_replaceable(entry));
    let there: BTreeMap<&str, &Bytes> = there.map(|entry| (entry.key.as_str(), &entry.value)).collect();
    let wanted: BTreeMap<&str, &Bytes> = copy.entries().collect();
    let missing = wanted.iter().filter(|(key, value)| there.get(*key) != Some(value)).map(|(key, _)| *key);
    let mut differing = missing.chain(there.keys().filter(|key| !wanted.contains_key(**key)).copied());
    match differing.next() {
        None => Ok(()),
        Some(first) => Err(FillError::Differs { first: first.to_owned(), keys: 1 + differing.count() }),
    }
}

#[cfg(test)]
mod tests;
