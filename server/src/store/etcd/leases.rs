//! Leases, which etcd counts in whole seconds.

use std::time::Duration;

use super::{
    failure::Failure,
    keys::lease_number,
    session::{Kind, Session, report},
};
use crate::store::{LeaseId, StoreError};

pub(super) async fn grant(session: &Session, ttl: Duration) -> Result<LeaseId, StoreError> {
    let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let granted =
        session.call(Kind::Write, |client| async move { Ok(client.lease_client().grant(seconds, None).await?.id()) });
    let id = granted.await.map_err(report)?;
    u64::try_from(id)
        .ok()
        .and_then(LeaseId::new)
        .ok_or_else(|| StoreError::Unavailable { reason: format!("etcd granted a lease with the impossible id {id}") })
}

pub(super) async fn keep_alive(session: &Session, lease: LeaseId) -> Result<Duration, StoreError> {
    let id = lease_number(lease)?;
    // A read in that doing it twice does no harm.
    let kept = session.call(Kind::Read, |client| async move {
        // The first answer is consumed by the client and tells only that the lease is there; the second one has its
        // time.
        let (mut keeper, mut answers) = client.lease_client().keep_alive(id).await?;
        keeper.keep_alive().await?;
        match answers.message().await? {
            Some(answer) => Ok(answer.ttl()),
            None => Err(Failure::Ambiguous("the keep-alive stream ended".to_owned())),
        }
    });
    match kept.await {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.unsigned_abs())),
        Ok(_) | Err(Failure::NoLease) => Err(StoreError::LeaseNotFound { lease }),
        Err(failure) => Err(report(failure)),
    }
}

pub(super) async fn revoke(session: &Session, lease: LeaseId) -> Result<(), StoreError> {
    let id = lease_number(lease)?;
    let revoked = session.call(Kind::Write, |client| async move {
        client.lease_client().revoke(id).await?;
        Ok(())
    });
    revoked.await.map_err(|failure| match failure {
        Failure::NoLease => StoreError::LeaseNotFound { lease },
        failure => report(failure),
    })
}

/// Whether etcd knows the lease.
pub(super) async fn exists(session: &Session, lease: LeaseId) -> Result<bool, StoreError> {
    let id = lease_number(lease)?;
    let asked =
        session.call(Kind::Read, |client| async move { Ok(client.lease_client().time_to_live(id, None).await?.ttl()) });
    match asked.await {
        Ok(seconds) => Ok(seconds > 0),
        Err(Failure::NoLease) => Ok(false),
        Err(failure) => Err(report(failure)),
    }
}
