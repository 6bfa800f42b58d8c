//! This manager's own key.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_proto::storage::v1::PeerRecord;
use prost::Message;
use tokio::time::Instant;

use super::Shared;
use crate::{
    clock::Clock,
    store::{CommitError, LeaseId, Op, Store, StoreError, Txn},
};

/// What the keys of managers begin with.
pub(super) const PREFIX: &str = crate::registry::key::PEERS;

const SCHEMA_VERSION: u32 = 1;

/// The longest pause before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn encode(address: Option<&str>, clock: &dyn Clock) -> Bytes {
    let record = PeerRecord {
        schema_version: SCHEMA_VERSION,
        address: address.unwrap_or_default().to_owned(),
        start_time: Some(clock.now().into()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    record.encode_to_vec().into()
}

/// The address in a record. One that cannot be read says nothing of where, and yet there is a manager.
pub(super) fn address(value: &Bytes) -> String {
    let record = PeerRecord::decode(value.clone()).unwrap_or_default();
    if record.schema_version == SCHEMA_VERSION { record.address } else { String::new() }
}

/// Keeps the key there for as long as it runs, whatever becomes of the store.
///
/// It is not taken back when the manager stops: its instances are on their way for a moment, in which nobody must take
/// them for gone.
pub(super) async fn keep(store: Arc<dyn Store>, shared: Weak<Shared>, record: Bytes, ttl: Duration) {
    let enlisted = |is_enlisted| {
        let shared = shared.upgrade()?;
        shared.joining.send_modify(|joining| joining.is_enlisted = is_enlisted);
        Some(shared)
    };
    let mut is_told = false;
    let mut granted = None;
    while let Some(id) = enlisted(false).map(|shared| shared.id.clone()) {
        match enlist(&*store, &id, &record, ttl, &mut granted).await {
            Ok(lease) => {
                is_told = false;
                enlisted(true);
                renew(&*store, lease, ttl).await;
                granted = None;
            }
            Err(error) if !is_told => {
                is_told = true;
                tracing::warn!(%error, "other managers cannot be told of this one yet: it cannot speak for all");
            }
            Err(error) => tracing::debug!(%error, "other managers cannot be told of this one yet"),
        }
        tokio::time::sleep(PAUSE.mul_f64(rand::random())).await;
    }
}

/// Writes the key, on the lease that an earlier attempt was granted for as long as there is one: an attempt without an answer
/// may still come, and on another lease it would take the key along when that one ends.
async fn enlist(
    store: &dyn Store,
    id: &str,
    record: &Bytes,
    ttl: Duration,
    granted: &mut Option<LeaseId>,
) -> Result<LeaseId, StoreError> {
    let lease = match *granted {
        Some(lease) => match store.keep_alive(lease).await {
            Err(StoreError::LeaseNotFound { .. }) => *granted.insert(store.grant_lease(ttl).await?),
            renewed => renewed.map(|_| lease)?,
        },
        None => *granted.insert(store.grant_lease(ttl).await?),
    };
    let put = Op::Put { key: format!("{PREFIX}{id}"), value: record.clone(), lease: Some(lease) };
    match store.commit(Txn { preconditions: Vec::new(), ops: vec![put] }).await {
        Ok(_) => Ok(lease),
        Err(CommitError::Store(error)) => Err(error),
        Err(CommitError::Conflict(_)) => Err(StoreError::Unavailable { reason: "it refused our own key".to_owned() }),
    }
}

/// Renews the lease until it is lost: until the store says so, or for so long that it would.
async fn renew(store: &dyn Store, lease: LeaseId, ttl: Duration) {
    let mut renewed = Instant::now();
    while renewed.elapsed() < ttl {
        tokio::time::sleep(ttl / 4).await;
        let asked = Instant::now();
        match store.keep_alive(lease).await {
            Ok(_) => renewed = asked,
            Err(StoreError::LeaseNotFound { .. }) => return,
            Err(error) => tracing::debug!(%error, "the lease of this manager's key was not renewed"),
        }
    }
}
