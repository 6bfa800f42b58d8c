//! What a writer asks for, and the one checker that every backend asks before it touches anything.
//!
//! The limits are those of the strictest backend (etcd refuses requests above 1.5 MiB and, by default, more than 128
//! operations) with room to spare, so that what passes on a laptop with the embedded store passes in production.

use std::{
    collections::HashSet,
    fmt::{self, Debug},
};

use bytes::Bytes;

use super::{InvalidRequest, LeaseId, StoreRevision};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// The largest value, in bytes (256 KiB).
pub const MAX_VALUE_BYTES: usize = 256 * 1024;

/// The most operations in one transaction, and also the most preconditions.
pub const MAX_OPS: usize = 64;

/// The most bytes of keys and values in one transaction (1 MiB).
pub const MAX_TXN_BYTES: usize = 1024 * 1024;

/// Changes that are applied together if, and only if, every precondition holds.
///
/// ```
/// use cofferdam_server::store::{StoreRevision, Txn};
///
/// let txn = Txn::new()
///     .require_revision("policy/default/payments", StoreRevision::new(7))
///     .put("policy/default/payments", "new policy")
///     .delete("hold/default/payments");
/// assert_eq!(txn.ops.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a transaction does nothing until it is committed"]
pub struct Txn {
    /// What must be true for the operations to be applied; at most [`MAX_OPS`], one per key.
    pub preconditions: Vec<Precondition>,
    /// What to change; at most [`MAX_OPS`], one per key.
    pub ops: Vec<Op>,
}

/// Something a transaction requires of the store as it is just before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such key.
    Absent {
        /// The key that must not be there.
        key: String,
    },
    /// The key is there and was last put by this very transaction.
    Revision {
        /// The key that must be unchanged.
        key: String,
        /// Its [`mod_revision`](super::Entry::mod_revision) when it was read.
        mod_revision: StoreRevision,
    },
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Makes the key or replaces its value and lease.
    Put {
        /// 1 to [`MAX_KEY_BYTES`] visible ASCII characters.
        key: String,
        /// At most [`MAX_VALUE_BYTES`]; may be empty.
        value: Bytes,
        /// The lease whose end deletes the key; absent for a key that stays.
        lease: Option<LeaseId>,
    },
    /// Removes the key; nothing happens when it is not there.
    Delete {
        /// The key to remove.
        key: String,
    },
}

impl Txn {
    /// A transaction that requires and changes nothing yet.
    pub const fn new() -> Self {
        Self { preconditions: Vec::new(), ops: Vec::new() }
    }

    /// Requires that `key` does not exist.
    pub fn require_absent(mut self, key: impl Into<String>) -> Self {
        self.preconditions.push(Precondition::Absent { key: key.into() });
        self
    }

    /// Requires that `key` was last put by the transaction `mod_revision`.
    pub fn require_revision(mut self, key: impl Into<String>, mod_revision: StoreRevision) -> Self {
        self.preconditions.push(Precondition::Revision { key: key.into(), mod_revision });
        self
    }

    /// Puts `key` for good.
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    /// Puts `key` until `lease` ends.
    pub fn put_leased(mut self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    /// Deletes `key` if it exists.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Checks everything that does not depend on what is stored. Backends call it first.
    ///
    /// # Errors
    /// The first rule that the transaction breaks.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        if self.ops.len() > MAX_OPS {
            return Err(InvalidRequest::TooManyOps { count: self.ops.len() });
        }
        if self.preconditions.len() > MAX_OPS {
            return Err(InvalidRequest::TooManyPreconditions { count: self.preconditions.len() });
        }
        let mut bytes = 0;
        let mut seen = HashSet::new();
        for precondition in &self.preconditions {
            check_key(precondition.key())?;
            if !seen.insert(precondition.key()) {
                return Err(InvalidRequest::DuplicateKey { key: precondition.key().to_owned() });
            }
            bytes += precondition.key().len();
        }
        seen.clear();
        for op in &self.ops {
            check_key(op.key())?;
            if !seen.insert(op.key()) {
                return Err(InvalidRequest::DuplicateKey { key: op.key().to_owned() });
            }
            bytes += op.key().len();
            if let Op::Put { key, value, .. } = op {
                if value.len() > MAX_VALUE_BYTES {
                    return Err(InvalidRequest::ValueTooLarge { key: key.clone(), bytes: value.len() });
                }
                bytes += value.len();
            }
        }
        if bytes > MAX_TXN_BYTES {
            return Err(InvalidRequest::TxnTooLarge { bytes });
        }
        Ok(())
    }
}

impl Precondition {
    /// The key it speaks of.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent { key } | Self::Revision { key, .. } => key,
        }
    }
}

impl Op {
    /// The key it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

impl Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, lease } => f
                .debug_struct("Put")
                .field("key", key)
                .field("value_bytes", &value.len())
                .field("lease", lease)
                .finish(),
            Self::Delete { key } => f.debug_struct("Delete").field("key", key).finish(),
        }
    }
}

/// Checks a prefix to list or watch: empty (everything), or the beginning of a possible key.
pub(super) fn check_prefix(prefix: &str) -> Result<(), InvalidRequest> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

/// Checks one key.
pub(super) fn check_key(key: &str) -> Result<(), InvalidRequest> {
    if key.is_empty() {
        return Err(InvalidRequest::KeyEmpty);
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(InvalidRequest::KeyTooLong { bytes: key.len() });
    }
    // Visible ASCII only: no key can be mistaken for another by case folding, look-alikes or invisible characters,
    // and every key is the same bytes in a log, a URL and all backends.
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(InvalidRequest::KeyCharacter { key: key.escape_default().collect() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
