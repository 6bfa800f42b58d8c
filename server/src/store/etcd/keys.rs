//! Between our keys and etcd's, and between its numbers and ours.

use bytes::Bytes;
use etcd_client::proto::PbKeyValue;

use super::failure::Failure;
use crate::store::{Entry, LeaseId, StoreError, StoreRevision, txn::check_key};

/// What etcd's keys begin with.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: String) -> Self {
        Self { prefix }
    }

    /// etcd's key, or prefix, for one of ours.
    pub(super) fn outer(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Our key for one of etcd's; `None` for what somebody else put there.
    pub(super) fn inner(&self, outer: &[u8]) -> Option<String> {
        let key = outer.strip_prefix(self.prefix.as_bytes())?;
        let key = std::str::from_utf8(key).ok().filter(|key| check_key(key).is_ok());
        if key.is_none() {
            tracing::warn!(key = %outer.escape_ascii(), "skipped a key in etcd that no manager can have put there");
        }
        key.map(str::to_owned)
    }

    /// Our entry for one of etcd's.
    pub(super) fn entry(&self, outer: PbKeyValue) -> Option<Entry> {
        Some(Entry {
            key: self.inner(&outer.key)?,
            value: Bytes::from(outer.value),
            create_revision: revision(outer.create_revision),
            mod_revision: revision(outer.mod_revision),
            lease: u64::try_from(outer.lease).ok().and_then(LeaseId::new),
        })
    }
}

/// Where in which cluster's history an answer was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) cluster: u64,
    pub(super) revision: StoreRevision,
}

impl Head {
    pub(super) fn of(header: Option<&etcd_client::ResponseHeader>) -> Result<Self, Failure> {
        // Every answer has one; an applied transaction whose answer has none is as good as unanswered.
        let header = header.ok_or_else(|| Failure::Ambiguous("an answer without a header".to_owned()))?;
        Ok(Self { cluster: header.cluster_id(), revision: revision(header.revision()) })
    }
}

/// Our revision for one of etcd's, which are never negative.
pub(super) fn revision(number: i64) -> StoreRevision {
    StoreRevision::new(u64::try_from(number).unwrap_or_default())
}

/// etcd's revision for one of ours. One beyond its range stands for one it never reaches.
pub(super) fn number(revision: StoreRevision) -> i64 {
    i64::try_from(revision.get()).unwrap_or(i64::MAX)
}

/// etcd's lease for one of ours.
pub(super) fn lease_number(lease: LeaseId) -> Result<i64, StoreError> {
    i64::try_from(lease.get()).map_err(|_| StoreError::LeaseNotFound { lease })
}
