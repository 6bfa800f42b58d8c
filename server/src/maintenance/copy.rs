//! A store's contents as one message, and as a file.

use std::io;

use bytes::Bytes;
use cofferdam_core::revision::Revision;
use cofferdam_proto::{
    sealed::{Damage, Seal},
    storage::v1::{Backup, BackupEntry, StoreMeta},
};
use prost::Message;
use prost_types::Timestamp;

use super::Contents;
use crate::{
    clock::Clock,
    registry::{EpochError, epoch, key, with_order, with_revision},
    store::{Entry, InvalidRequest, StoreIdentity, StoreRevision, Txn},
};

/// All that a store holds at one revision, less what is there on a lease, and less what is contained: that is about
/// revisions, and the copy begins others.
///
/// Whole and of a schema that this release knows; the values of services are as they are stored, good or not.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreCopy {
    backup: Backup,
    meta: StoreMeta,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// No manager has ever used the store.
    #[error("it has no description (meta/store): no manager has used it, or it is another one than meant")]
    Unused,
    /// The store's description is not one that can be copied.
    #[error(transparent)]
    Description(#[from] EpochError),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    /// The file is not a whole backup.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The file's checksum is right, and it holds something else.
    #[error("it holds no backup: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// An entry of the file is none.
    #[error("it holds an entry that no store takes: {0}")]
    Entry(#[from] InvalidRequest),
    /// The entries of the file are not in order.
    #[error("its entries are not in order")]
    Order,
}

impl StoreCopy {
    /// A copy of what a store holds.
    ///
    /// # Errors
    /// [`CopyError::Unused`] and [`CopyError::Description`]: in particular for a store that a transfer has not finished
    /// filling.
    pub fn of(contents: &Contents, clock: &dyn Clock) -> Result<Self, CopyError> {
        let is_kept = |entry: &&Entry| entry.lease.is_none() && !key::is_containment(&entry.key);
        let kept = contents.listing.entries.iter().filter(is_kept);
        let entries = kept.map(|entry| BackupEntry {
            key: entry.key.clone(),
            value: entry.value.clone(),
            mod_revision: entry.mod_revision.get(),
        });
        Self::checked(Backup {
            schema_version: 0,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            create_time: Some(Timestamp::from(clock.now())),
            store_identity: contents.identity.cluster.clone(),
            epoch: 0,
            revision: contents.listing.revision.get(),
            entries: entries.collect(),
        })
    }

    /// The copy in a file that [`to_file`](Self::to_file) made.
    ///
    /// # Errors
    /// [`CopyError`] says why the file is not used; nothing of it is, then.
    pub fn from_file(file: impl io::Read) -> Result<Self, CopyError> {
        let bytes = Seal::BACKUP.read(file)?;
        Self::checked(Backup::decode(Seal::BACKUP.open(&bytes)?)?)
    }

    /// The copy as a file, with a checksum over all of it.
    pub fn to_file(&self) -> Vec<u8> {
        Seal::BACKUP.seal(&self.backup.encode_to_vec())
    }

    fn checked(mut backup: Backup) -> Result<Self, CopyError> {
        let described = backup.entries.iter().find(|entry| entry.key == key::META).ok_or(CopyError::Unused)?;
        let meta = epoch::decode(&described.value)?;
        if meta.transfer.is_some() {
            return Err(EpochError::Unfinished.into());
        }
        for entry in &backup.entries {
            Txn::new().put(entry.key.as_str(), entry.value.clone()).check()?;
        }
        if !backup.entries.is_sorted_by(|a, b| a.key < b.key) {
            return Err(CopyError::Order);
        }
        (backup.schema_version, backup.epoch) = (meta.schema_version, meta.epoch);
        // It says how far somebody has followed that store.
        backup.entries.retain(|entry| entry.key != key::MARK);
        for entry in &mut backup.entries {
            // Its key gets another revision wherever it is copied to.
            let at = Revision { epoch: meta.epoch, revision: entry.mod_revision };
            if entry.key.starts_with(key::CHANGES) {
                entry.value = with_revision(&entry.value, at);
            } else if entry.key == key::BULK {
                entry.value = with_order(&entry.value, at);
            }
        }
        Ok(Self { backup, meta })
    }

    /// Which store it is a copy of.
    pub fn identity(&self) -> StoreIdentity {
        StoreIdentity { cluster: self.backup.store_identity.clone() }
    }

    /// That store's revision at which it is exact.
    pub fn revision(&self) -> StoreRevision {
        StoreRevision::new(self.backup.revision)
    }

    /// The epoch of that store.
    pub fn epoch(&self) -> u64 {
        self.meta.epoch
    }

    /// The release that took it.
    pub fn release(&self) -> &str {
        &self.backup.release
    }

    /// How many keys it has, the store's description not counted.
    pub fn keys(&self) -> usize {
        self.entries().count()
    }

    /// Whether two copies hold the same, whenever and wherever they were taken.
    pub fn holds_the_same_as(&self, other: &Self) -> bool {
        self.entries().eq(other.entries())
    }

    /// Keys with their values, sorted by key, less the store's description.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        let all = self.backup.entries.iter().map(|entry| (entry.key.as_str(), &entry.value));
        all.filter(|(key, _)| *key != key::META)
    }

    /// The store's description, as it is stored.
    pub(super) fn description(&self) -> Option<&Bytes> {
        self.backup.entries.iter().find(|entry| entry.key == key::META).map(|entry| &entry.value)
    }
}

#[cfg(test)]
mod tests;
