//! The store's incarnation: which epoch revisions belong to.
//!
//! The epoch is kept in the store, so a restored backup brings an old one back. It is therefore made anew, by
//! compare-and-set and always upwards, whenever the store is seen to be another one (its identity differs from the one
//! the epoch was made for) or to have gone back (its revision is lower than one seen before). Of several managers that
//! see it, one wins and the others take its epoch over.

use bytes::Bytes;
use cofferdam_proto::storage::v1::{StoreMeta, StoreTransfer};
use prost::Message;

use super::{key, record::SCHEMA_VERSION, unknown};
use crate::{
    clock::Clock,
    store::{CommitError, Entry, Store, StoreError, StoreIdentity, StoreRevision, Txn},
};

/// How often a manager tries to agree with the others before it gives up for now.
const ATTEMPTS: u32 = 8;

/// One incarnation of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    /// Its number.
    pub(crate) epoch: u64,
    /// The revision of the store's description that says so.
    pub(crate) meta: StoreRevision,
}

/// What is known of the store from before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// The epoch that revisions were given out with; absent at start.
    pub(crate) epoch: Option<u64>,
    /// Whether the store's revision was seen to be lower than before.
    pub(crate) went_back: bool,
}

/// Why the incarnation is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpochError {
    /// The store could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's description is of a release that this one does not know.
    #[error(
        "the store has schema version {0}, this release knows {SCHEMA_VERSION}: run the release that wrote it, or a later one"
    )]
    SchemaVersion(u32),
    /// The store's description is no such thing.
    #[error(
        "the value of meta/store cannot be read ({0}): this is no store of Cofferdam, or a damaged one, into which `cofferdam store restore --replace` puts a backup"
    )]
    Unreadable(#[from] prost::DecodeError),
    /// It holds a part of what it is to hold.
    #[error(
        "a restore or a migration into this store has not finished: run it again (cofferdam store restore, or migrate), it goes on where it stopped"
    )]
    Unfinished,
    /// Other managers kept changing it.
    #[error("other managers kept changing meta/store")]
    Contended,
}

/// The store's incarnation, made anew where it has to be.
pub(crate) async fn establish(store: &dyn Store, clock: &dyn Clock, seen: Seen) -> Result<Incarnation, EpochError> {
    for _ in 0..ATTEMPTS {
        let identity = store.identity().await?;
        let current = read(store, key::META).await?;
        let meta = current.as_ref().map(|entry| decode(&entry.value)).transpose()?;
        if meta.as_ref().is_some_and(|meta| meta.transfer.is_some()) {
            return Err(EpochError::Unfinished);
        }
        if let (Some(entry), Some(meta)) = (&current, &meta)
            && is_valid(meta, &identity, seen)
        {
            return Ok(Incarnation { epoch: meta.epoch, meta: entry.mod_revision });
        }
        let before = meta.map(|meta| meta.epoch).max(seen.epoch);
        let epoch = next(before, clock.unix_millis());
        let fresh = describe(current.as_ref().map(|entry| &entry.value), epoch, identity, None);
        let txn = match &current {
            None => Txn::new().require_absent(key::META),
            Some(entry) => Txn::new().require_revision(key::META, entry.mod_revision),
        };
        match store.commit(txn.put(key::META, fresh)).await {
            Ok(committed) => {
                if let Some(before) = before {
                    tracing::warn!(before, epoch, "the store was restored or swapped: revisions start a new epoch");
                }
                return Ok(Incarnation { epoch, meta: committed.revision });
            }
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
    }
    Err(EpochError::Contended)
}

/// The epoch that the store says it is in. `None`: it says none that can be read.
pub(super) async fn current(store: &dyn Store) -> Result<Option<u64>, StoreError> {
    let entry = read(store, key::META).await?;
    Ok(entry.and_then(|entry| decode(&entry.value).ok()).map(|meta| meta.epoch))
}

/// Begins an epoch beyond `seen`, which somebody has seen of this store and the store has no more. Whether it was this
/// manager that began it: another one may have been quicker, or the store says something else by now.
pub(super) async fn raise(store: &dyn Store, clock: &dyn Clock, seen: u64) -> Result<bool, EpochError> {
    let Some(entry) = read(store, key::META).await? else { return Ok(false) };
    let meta = decode(&entry.value)?;
    if meta.epoch > seen {
        return Ok(false);
    }
    let epoch = seen.saturating_add(1).max(clock.unix_millis());
    let fresh = unknown::carry_over(Some(&entry.value), &StoreMeta { epoch, ..meta });
    let txn = Txn::new().require_revision(key::META, entry.mod_revision);
    match store.commit(txn.put(key::META, fresh)).await {
        Ok(_) => Ok(true),
        Err(CommitError::Conflict(_)) => Ok(false),
        Err(CommitError::Store(error)) => Err(error.into()),
    }
}

/// One key, as of now.
async fn read(store: &dyn Store, key: &str) -> Result<Option<Entry>, StoreError> {
    let listing = store.list(key).await?;
    Ok(listing.entries.into_iter().find(|entry| entry.key == key))
}

/// Reads a store's description.
pub(crate) fn decode(value: &[u8]) -> Result<StoreMeta, EpochError> {
    let meta = StoreMeta::decode(value)?;
    if meta.schema_version == SCHEMA_VERSION { Ok(meta) } else { Err(EpochError::SchemaVersion(meta.schema_version)) }
}

/// The epoch after `before`. A time, so that a store that was wiped does not begin with one that has been.
pub(crate) fn next(before: Option<u64>, unix_millis: u64) -> u64 {
    before.map_or(0, |before| before.saturating_add(1)).max(unix_millis)
}

/// A store's description, with all that `before` has and this release does not know.
pub(crate) fn describe(
    before: Option<&Bytes>,
    epoch: u64,
    identity: StoreIdentity,
    transfer: Option<StoreTransfer>,
) -> Bytes {
    let meta = StoreMeta { schema_version: SCHEMA_VERSION, epoch, store_identity: identity.cluster, transfer };
    unknown::carry_over(before.map(Bytes::as_ref), &meta)
}

fn is_valid(meta: &StoreMeta, identity: &StoreIdentity, seen: Seen) -> bool {
    let same_store = meta.store_identity == identity.cluster;
    let raised = seen.epoch.is_none_or(|seen| meta.epoch > seen);
    let not_lowered = seen.epoch.is_none_or(|seen| meta.epoch >= seen);
    same_store && not_lowered && (raised || !seen.went_back)
}

#[cfg(test)]
mod tests;
