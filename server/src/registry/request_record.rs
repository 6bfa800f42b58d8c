//! Writes that are safe to repeat: the result of a request that has a name is kept with it for a while.
//!
//! The record is written in the transaction of the change itself, so there is no moment at which one is durable and
//! the other is not. A repetition fails on the record's presence, whichever manager it reaches, and is answered from
//! it. Records share leases, as leases are dear: each lives for the promised time and the share's own.
//!
//! What is kept is bounded. Many thousand writes a second would otherwise fill a store within the promised time, and a
//! store that is full takes no writes at all. So each manager counts what it has put there, and ends its oldest lease where
//! that is too much.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_proto::storage::v1::RequestRecord;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{Shared, key, record::SCHEMA_VERSION, transact::Answer, validate};
use crate::{
    error::Error,
    store::{Conflict, Entry, LeaseId, Op, Precondition, StoreError, Txn},
};

/// How long a result is remembered, at least.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// How long one lease takes records in.
const SHARED_FOR: Duration = Duration::from_secs(60);

/// How many records one lease takes in. They are deleted in one transaction, which is to hold up no write for long; and
/// of so many writes one has to wait for the next lease.
const SHARED_BY: u32 = 2_000;

/// The same in bytes: so much is forgotten at once where there is too much.
const SHARED_BYTES: usize = 4 * 1024 * 1024;

/// How many bytes of records one manager keeps: some 20,000 of a usual size.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What a record counts besides its key and value: a store keeps its key in several places.
const OVERHEAD_BYTES: usize = 512;

/// A write's own name and content.
#[derive(Debug)]
pub(super) struct Request {
    id: String,
    method: &'static str,
    hash: Bytes,
}

impl Request {
    /// The `request_id`; empty where there is none.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// A write by its full method, its `request_id` (empty: none) and the message itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an id that is too long.
    pub(super) fn new(method: &'static str, id: &str, message: &impl Message) -> Result<Self, Error> {
        validate::request_id(id)?;
        let hash =
            if id.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(&Sha256::digest(message.encode_to_vec())) };
        Ok(Self { id: id.to_owned(), method, hash })
    }

    /// Makes the transaction depend on the request being new, and remember its answer where there is one.
    pub(super) async fn attach(
        &self,
        shared: &Shared,
        txn: &mut Txn,
        answer: Option<&impl Message>,
        give_up: Instant,
    ) -> Result<Option<LeaseId>, Error> {
        if self.id.is_empty() {
            return Ok(None);
        }
        let key = key::request(&self.id);
        txn.preconditions.push(Precondition::Absent { key: key.clone() });
        let Some(answer) = answer else {
            return Ok(None);
        };
        let record = RequestRecord {
            schema_version: SCHEMA_VERSION,
            method: self.method.to_owned(),
            request_hash: self.hash.clone(),
            response: answer.encode_to_vec().into(),
        };
        let value = record.encode_to_vec();
        let bytes = key.len() + value.len() + OVERHEAD_BYTES;
        let lease = shared.leases.lease(shared, bytes, give_up).await?;
        txn.ops.push(Op::Put { key, value: value.into(), lease: Some(lease) });
        Ok(Some(lease))
    }

    /// The answer to the first request of this name, where the conflict shows that there was one.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] where that was another request.
    pub(super) fn first_result<A: Answer>(&self, conflict: &Conflict, epoch: u64) -> Result<Option<A>, Error> {
        if self.id.is_empty() {
            return Ok(None);
        }
        let key = key::request(&self.id);
        let Some(entry) = conflict.failed.iter().find(|failed| failed.precondition.key() == key) else {
            return Ok(None);
        };
        match &entry.current {
            Some(entry) => self.answer(entry, epoch).map(Some),
            None => Ok(None),
        }
    }

    fn answer<A: Answer>(&self, entry: &Entry, epoch: u64) -> Result<A, Error> {
        let unreadable = |detail: String| Error::Internal { detail: format!("{}: {detail}", entry.key) };
        let record = RequestRecord::decode(entry.value.clone()).map_err(|error| unreadable(error.to_string()))?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(unreadable(format!("schema version {}", record.schema_version)));
        }
        if record.method != self.method || record.request_hash != self.hash {
            return Err(Error::RequestIdReused { request_id: self.id.clone() });
        }
        let mut answer = A::decode(record.response).map_err(|error| unreadable(error.to_string()))?;
        answer.revision().get_or_insert(super::revision_at(epoch, entry.mod_revision));
        Ok(answer)
    }
}

/// The leases of the records that this manager has put into the store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    shares: Mutex<Shares>,
    /// Held while a lease is asked for: of all the writers that find none, one asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Shares {
    /// By age; the last takes in the records of the present minute.
    kept: VecDeque<Share>,
    /// Whether it was said that records go early.
    is_told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    lease: LeaseId,
    until: Instant,
    records: u32,
    bytes: usize,
}

impl Leases {
    async fn lease(&self, shared: &Shared, bytes: usize, give_up: Instant) -> Result<LeaseId, Error> {
        match self.take(bytes) {
            Some(lease) => Ok(lease),
            // Apart, so that the many who find one do not carry its room.
            None => match tokio::time::timeout_at(give_up, Box::pin(self.ask(shared, bytes))).await {
                Ok(lease) => lease,
                Err(_) => Err(Error::StoreUnavailable { reason: shared.no_answer() }),
            },
        }
    }

    async fn ask(&self, shared: &Shared, bytes: usize) -> Result<LeaseId, Error> {
        let _asking = self.asking.lock().await;
        if let Some(lease) = self.take(bytes) {
            return Ok(lease);
        }
        // Before there is more, and by whoever brings more: nobody can be faster than the store forgets.
        while let Some(oldest) = self.surplus() {
            match shared.store.revoke_lease(oldest).await {
                Ok(()) | Err(StoreError::LeaseNotFound { .. }) => self.drop_lease(Some(oldest)),
                Err(error) => return Err(shared.lease_error(error)),
            }
        }
        // The lease may begin to run as soon as it is asked for.
        let until = Instant::now() + SHARED_FOR;
        let granted = shared.store.grant_lease(REMEMBERED + SHARED_FOR).await;
        let lease = granted.map_err(|error| shared.lease_error(error))?;
        self.lock().kept.push_back(Share { lease, until, records: 1, bytes });
        Ok(lease)
    }

    /// A place in the present lease, where there is one.
    fn take(&self, bytes: usize) -> Option<LeaseId> {
        let mut shares = self.lock();
        let share = shares.kept.back_mut()?;
        let total = share.bytes.saturating_add(bytes);
        if share.records >= SHARED_BY || total > SHARED_BYTES || Instant::now() >= share.until {
            return None;
        }
        share.records += 1;
        share.bytes = total;
        Some(share.lease)
    }

    /// The oldest lease, where there is no room for another one.
    fn surplus(&self) -> Option<LeaseId> {
        let mut shares = self.lock();
        // Twice the time: a store may let a lease live longer than it was asked for.
        let now = Instant::now();
        while shares.kept.front().is_some_and(|oldest| now >= oldest.until + 2 * REMEMBERED) {
            shares.kept.pop_front();
        }
        let bytes: usize = shares.kept.iter().map(|share| share.bytes).sum();
        let oldest = shares.kept.front().filter(|_| bytes.saturating_add(SHARED_BYTES) > MAX_BYTES)?.lease;
        if !std::mem::replace(&mut shares.is_told, true) {
            tracing::warn!(
                limit = MAX_BYTES,
                "so many writes with a request_id: the oldest results are forgotten before their time"
            );
        }
        Some(oldest)
    }

    /// Takes no more records into a lease that is gone.
    pub(super) fn drop_lease(&self, lease: Option<LeaseId>) {
        self.lock().kept.retain(|share| Some(share.lease) != lease);
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
