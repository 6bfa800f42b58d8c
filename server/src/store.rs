//! Where the manager keeps what must survive it: services, policies, holds, its epoch.
//!
//! One trait, three backends (in memory for tests, embedded for one manager with no set-up, etcd for any number of
//! managers), one conformance suite that all three pass. The trait is the
//! smallest thing the manager can be correct on:
//!
//! - **One revision for the whole store.** Each transaction that changes something gets the next
//!   [`StoreRevision`], alone or with others that were under way and have no key in common with it; a list is exact at one, a watch continues from one, a precondition names one. Nothing is
//!   ever decided by a clock or by who came last.
//! - **Compare and write in one transaction.** There is no blind "put if I think so" and no lock: a writer says
//!   which revisions its decision rests on and is told, from within the same transaction, what is there instead.
//! - **An ambiguous write stays ambiguous.** A call that got no answer is [`StoreError::Unknown`], never "failed":
//!   it may have been applied. [`StoreError::outcome`] tells the two apart.
//! - **A watch never lies by silence.** It yields whole transactions in order, without gaps, and ends after its
//!   first error. A dead or frozen server is such an error, within seconds, on an idle watch too.
//!
//! Backend names, wire types and error codes do not leave their own module.

use std::{
    fmt::{self, Debug, Display},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

mod concern;
#[cfg(test)]
mod conformance;
mod draft;
mod embedded;
mod error;
mod etcd;
mod feed;
mod group;
mod lease;
mod memory;
mod state;
#[cfg(test)]
mod testing;
mod txn;
mod watch;

pub use self::{
    concern::Concern,
    embedded::EmbeddedStore,
    error::{CommitError, Conflict, FailedPrecondition, InvalidRequest, Outcome, StoreError},
    etcd::{DEFAULT_CALL_TIMEOUT, DEFAULT_PREFIX, EtcdIdentity, EtcdOptions, EtcdStore, EtcdTls, EtcdUser},
    lease::{LeaseId, MAX_LEASE_TTL, MIN_LEASE_TTL},
    memory::MemoryStore,
    txn::{MAX_KEY_BYTES, MAX_OPS, MAX_TXN_BYTES, MAX_VALUE_BYTES, Op, Precondition, Txn},
    watch::{Watch, WatchBatch, WatchError, WatchEvent},
};

/// How many transactions the memory and embedded stores remember for watches that start in the past.
///
/// An etcd cluster keeps what its own compaction settings say.
pub const HISTORY_TXNS: usize = 10_000;

/// How many bytes of keys and values the memory and embedded stores remember, whichever bound is met first.
pub const HISTORY_BYTES: usize = 16 * 1024 * 1024;

/// Durable, ordered, watchable key-value state. See the [module documentation](self) for the guarantees.
///
/// Every method may be called from any number of tasks at once. Dropping a returned future abandons the wait, not
/// the work: a dropped [`commit`](Store::commit) may still be applied.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Every entry whose key starts with `prefix` (all entries when it is empty), as of one revision.
    ///
    /// Linearizable: it contains every write acknowledged before the call.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a prefix that no key could have; [`StoreError::Unavailable`],
    /// [`StoreError::Denied`] or [`StoreError::Corrupt`] as the backend finds.
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Every entry whose key starts with none of `prefixes`, as of one revision. What they have is not read at all.
    ///
    /// Linearizable, as [`list`](Self::list) is.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    async fn list_without(&self, prefixes: &[&str]) -> Result<Listing, StoreError>;

    /// Applies all of `txn` or none of it, and returns only when it is durable.
    ///
    /// A transaction that changes nothing (no operations, or only deletions of absent keys) makes no revision; it
    /// reports the current one.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when a precondition does not hold: nothing was applied. Otherwise a
    /// [`StoreError`], whose [`outcome`](StoreError::outcome) says whether the transaction may have been applied.
    async fn commit(&self, txn: Txn) -> Result<Committed, CommitError>;

    /// The changes to keys that start with `prefix`, strictly after the revision `after`, for as long as the
    /// [`Watch`] is held and polled.
    ///
    /// A revision whose successors are no longer remembered is not refused here: the watch yields
    /// [`WatchError::Compacted`].
    ///
    /// # Errors
    /// [`StoreError::Invalid`], [`StoreError::Unavailable`] or [`StoreError::Denied`].
    async fn watch(&self, prefix: &str, after: StoreRevision) -> Result<Watch, StoreError>;

    /// A new lease that lives for `ttl` from now, and again from each [`keep_alive`](Store::keep_alive).
    ///
    /// Keys put with it are deleted, all in one transaction, when it runs out. Backends may round `ttl` up (etcd
    /// counts whole seconds and has a floor of its own) and may let a lease live longer than asked, never shorter:
    /// after a restart or a change of leader each lease starts over with its full time.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when `ttl` is outside [`MIN_LEASE_TTL`]..=[`MAX_LEASE_TTL`]. With
    /// [`StoreError::Unknown`] a lease without keys may have been made; it vanishes by itself.
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// Gives `lease` its full time again and returns how long that is.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] when it has run out or was revoked: its keys are gone.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError>;

    /// Ends `lease` now and deletes its keys in one transaction.
    ///
    /// # Errors
    /// [`StoreError::LeaseNotFound`] when there is no such lease.
    async fn revoke_lease(&self, lease: LeaseId) -> Result<(), StoreError>;

    /// Which store this is, asked of the store itself on each call.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Denied`].
    async fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// What an operator should know of the store although it answers; empty where there is nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Denied`].
    async fn concerns(&self) -> Result<Vec<Concern>, StoreError> {
        Ok(Vec::new())
    }
}

/// The position of a transaction in the one history of a store.
///
/// Grows with each transaction that changes something, not necessarily by one. Comparable only between answers of
/// one [`StoreIdentity`]; a store restored from a backup can go back, which
/// [`WatchError::Ahead`] and a lower [`Listing::revision`] show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreRevision(u64);

impl StoreRevision {
    /// Before the first transaction: a watch after it sees everything that ever happened.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    pub const fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// The number, as stored and sent.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Display for StoreRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// One key with its value, as of some revision.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1 to [`MAX_KEY_BYTES`] visible ASCII characters.
    pub key: String,
    /// What the manager put there; opaque to the store.
    pub value: Bytes,
    /// The transaction that made the key; a key deleted and put again is made anew.
    pub create_revision: StoreRevision,
    /// The last transaction that put the key: what [`Precondition::Revision`] compares.
    pub mod_revision: StoreRevision,
    /// The lease whose end deletes the key; absent for a key that stays.
    pub lease: Option<LeaseId>,
}

impl Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may hold what must not reach a log (a static fallback's data): only its size is shown.
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value_bytes", &self.value.len())
            .field("create_revision", &self.create_revision.get())
            .field("mod_revision", &self.mod_revision.get())
            .field("lease", &self.lease)
            .finish()
    }
}

/// What [`Store::list`] found: the state of a prefix at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The store's revision at which `entries` are exact; a watch after it continues without gap or repetition.
    pub revision: StoreRevision,
    /// Sorted by key, bytewise.
    pub entries: Vec<Entry>,
}

/// The proof of an applied transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The revision the transaction made, which is now the `mod_revision` of every key it put; the store's current
    /// one when it changed nothing.
    pub revision: StoreRevision,
}

/// What tells one store from another.
///
/// Two answers that differ mean that the data was swapped: revisions of the one say nothing about the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreIdentity {
    /// etcd's cluster id, or the random id an embedded or in-memory store got when it was made; lower-case hex.
    pub cluster: String,
}

impl StoreIdentity {
    /// A new identity that no other store has.
    pub(crate) fn random() -> Self {
        Self::numbered(rand::random())
    }

    /// The identity with this number.
    pub(crate) fn numbered(number: u128) -> Self {
        Self { cluster: format!("{number:032x}") }
    }
}
