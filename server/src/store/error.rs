//! What can go wrong, named by what it means to the caller rather than by which backend said it.

use std::fmt;

use super::{
    Entry, LeaseId, MAX_KEY_BYTES, MAX_LEASE_TTL, MAX_OPS, MAX_TXN_BYTES, MAX_VALUE_BYTES, MIN_LEASE_TTL, Precondition,
    StoreRevision,
};

/// Why a call on a [`Store`](super::Store) did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The request breaks a rule that holds for every backend; nothing was sent anywhere.
    #[error("invalid request: {0}")]
    Invalid(#[from] InvalidRequest),
    /// The store could not be reached or is not able to serve: the call had no effect and may be repeated.
    #[error("store unavailable: {reason}")]
    Unavailable {
        /// What was tried and what came back.
        reason: String,
    },
    /// The call was sent but not answered: a write may have been applied, now or a little later. Read before
    /// repeating it, or rely on a precondition to make the repetition harmless.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What was tried and what came back.
        reason: String,
    },
    /// No room is left (disk full, quota reached): nothing was applied, reads go on, room must be made.
    #[error("store full: {reason}")]
    Full {
        /// Which bound was met, and where.
        reason: String,
    },
    /// The backend refused the request for its size although it is within our limits: nothing was applied.
    #[error("request too large for the store: {reason}")]
    TooLarge {
        /// The backend's own words.
        reason: String,
    },
    /// What is stored cannot be what was written.
    #[error("store corrupt: {reason}")]
    Corrupt {
        /// The file and what is wrong with it.
        reason: String,
    },
    /// The store's data was written by a newer version.
    #[error("store incompatible: {reason}")]
    Incompatible {
        /// The file, what it has and what this version knows.
        reason: String,
    },
    /// Another process has the embedded store open.
    #[error("{path} is in use by another manager")]
    InUse {
        /// The file.
        path: String,
    },
    /// The store refuses our credentials, or they do not allow this call: nothing was applied.
    #[error("store denied access: {reason}")]
    Denied {
        /// The backend's own words; never a password.
        reason: String,
    },
    /// The lease has run out, was revoked or never was: nothing was applied.
    #[error("lease {lease} not found")]
    LeaseNotFound {
        /// The lease asked for.
        lease: LeaseId,
    },
}

/// Whether a failed call changed the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not and will not.
    NotApplied,
    /// It may have, or may yet.
    Unknown,
}

impl StoreError {
    /// Whether the failed call may have changed the store.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown { .. } => Outcome::Unknown,
            Self::Invalid(_)
            | Self::Unavailable { .. }
            | Self::Full { .. }
            | Self::TooLarge { .. }
            | Self::Corrupt { .. }
            | Self::Incompatible { .. }
            | Self::InUse { .. }
            | Self::Denied { .. }
            | Self::LeaseNotFound { .. } => Outcome::NotApplied,
        }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    ///
    /// True for [`Unknown`](Self::Unknown) too, where the caller has to find out first.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}

/// Why a [`commit`](super::Store::commit) did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A precondition did not hold; nothing was applied.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The store refused or could not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidRequest> for CommitError {
    fn from(invalid: InvalidRequest) -> Self {
        Self::Store(invalid.into())
    }
}

/// The preconditions of a transaction that did not hold, read together with the decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The store's revision when it was decided.
    pub revision: StoreRevision,
    /// Each precondition that failed, in the order of the transaction; never empty.
    pub failed: Vec<FailedPrecondition>,
}

/// One precondition that did not hold, and what is there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedPrecondition {
    /// What was required.
    pub precondition: Precondition,
    /// The key's entry at [`Conflict::revision`]; `None` when there is none.
    pub current: Option<Entry>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "precondition failed at revision {}: ", self.revision)?;
        for (i, failed) in self.failed.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            let key = failed.precondition.key();
            match (&failed.precondition, &failed.current) {
                (_, None) => write!(f, "{separator}{key} is absent")?,
                (Precondition::Absent { .. }, Some(_)) => write!(f, "{separator}{key} exists")?,
                (Precondition::Revision { mod_revision, .. }, Some(entry)) => {
                    write!(f, "{separator}{key} is at revision {}, not {mod_revision}", entry.mod_revision)?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Conflict {}

/// A rule that a request breaks, whatever is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRequest {
    /// A key without characters.
    #[error("a key is empty")]
    KeyEmpty,
    /// A key beyond [`MAX_KEY_BYTES`].
    #[error("a key has {bytes} bytes, the limit is {MAX_KEY_BYTES}")]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A key or prefix with a space, a control character or anything outside ASCII.
    #[error("key \"{key}\" has a character that is not visible ASCII")]
    KeyCharacter {
        /// The key, escaped.
        key: String,
    },
    /// A value beyond [`MAX_VALUE_BYTES`].
    #[error("the value of {key} has {bytes} bytes, the limit is {MAX_VALUE_BYTES}")]
    ValueTooLarge {
        /// Its key.
        key: String,
        /// Its length.
        bytes: usize,
    },
    /// More than [`MAX_OPS`] operations.
    #[error("{count} operations in one transaction, the limit is {MAX_OPS}")]
    TooManyOps {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_OPS`] preconditions.
    #[error("{count} preconditions in one transaction, the limit is {MAX_OPS}")]
    TooManyPreconditions {
        /// How many.
        count: usize,
    },
    /// More than [`MAX_TXN_BYTES`] in all keys and values.
    #[error("a transaction of {bytes} bytes, the limit is {MAX_TXN_BYTES}")]
    TxnTooLarge {
        /// How many.
        bytes: usize,
    },
    /// Two operations, or two preconditions, on one key.
    #[error("key {key} appears twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A lease time outside [`MIN_LEASE_TTL`]..=[`MAX_LEASE_TTL`].
    #[error(
        "a lease of {} s is outside {} s to {} s",
        ttl.as_secs_f64(), MIN_LEASE_TTL.as_secs(), MAX_LEASE_TTL.as_secs()
    )]
    LeaseTtl {
        /// The time asked for.
        ttl: std::time::Duration,
    },
    /// An option of a backend that cannot be used.
    #[error("option {option}: {reason}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}
