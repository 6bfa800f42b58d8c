//! A transaction: the preconditions as comparisons, and on failure what is there instead, read in the same breath.

use etcd_client::{
    Compare, CompareOp, GetOptions, PutOptions, Txn as Request, TxnOp, TxnResponse, proto::PbTxnOpResponse,
};

use super::{
    failure::Failure,
    keys::{Head, lease_number, number},
    list::{self, MAX_ANSWER_BYTES},
    session::{Kind, Session, report},
};
use crate::store::{
    CommitError, Committed, Conflict, Entry, FailedPrecondition, LeaseId, Op, Precondition, StoreError, StoreRevision,
    Txn, draft::holds,
};

pub(super) async fn commit(session: &Session, txn: &Txn) -> Result<Committed, CommitError> {
    let request = request(session, txn)?;
    let answered = session.call(Kind::Write, |client| {
        let request = request.clone();
        async move {
            let mut kv = client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES);
            let answer = kv.txn(request).await?;
            let revision = Head::of(answer.header())?.revision;
            Ok((revision, answer))
        }
    });
    match answered.await {
        Ok((revision, answer)) if answer.succeeded() => Ok(Committed { revision }),
        Ok((revision, answer)) => Err(conflict(session, txn, revision, answer)),
        Err(Failure::NoLease) => Err(lease_not_found(session, txn).await.into()),
        Err(Failure::Refused(StoreError::Full { reason })) => Err(no_room(session, txn, reason).await.into()),
        Err(failure) => Err(report(failure).into()),
    }
}

fn request(session: &Session, txn: &Txn) -> Result<Request, StoreError> {
    let mut compares = Vec::with_capacity(txn.preconditions.len());
    let mut reads = Vec::with_capacity(txn.preconditions.len());
    for precondition in &txn.preconditions {
        let key = session.keys.outer(precondition.key());
        match precondition {
            Precondition::Absent { .. } => {
                compares.push(Compare::create_revision(key.clone(), CompareOp::Equal, 0));
            }
            Precondition::Revision { mod_revision, .. } => {
                // An absent key has revision 0 to etcd, and to us has none that could be required.
                if *mod_revision == StoreRevision::ZERO {
                    compares.push(Compare::create_revision(key.clone(), CompareOp::Greater, 0));
                }
                compares.push(Compare::mod_revision(key.clone(), CompareOp::Equal, number(*mod_revision)));
            }
        }
        reads.push(TxnOp::get(key, None));
    }
    let mut writes = Vec::with_capacity(txn.ops.len());
    for op in &txn.ops {
        let key = session.keys.outer(op.key());
        writes.push(match op {
            Op::Put { value, lease, .. } => {
                let options = match lease {
                    Some(lease) => Some(PutOptions::new().with_lease(lease_number(*lease)?)),
                    None => None,
                };
                TxnOp::put(key, value.to_vec(), options)
            }
            Op::Delete { .. } => TxnOp::delete(key, None),
        });
    }
    Ok(Request::new().when(compares).and_then(writes).or_else(reads))
}

/// What a transaction that was not applied found: one read per precondition, in order.
fn conflict(session: &Session, txn: &Txn, revision: StoreRevision, answer: TxnResponse) -> CommitError {
    let found = answer.0.responses.into_iter().map(|read| match read.response {
        Some(PbTxnOpResponse::ResponseRange(range)) => range.kvs.into_iter().find_map(|kv| session.keys.entry(kv)),
        _ => None,
    });
    let failed = |(precondition, current): (&Precondition, Option<Entry>)| {
        let failed = FailedPrecondition { precondition: precondition.clone(), current };
        (!holds(precondition, failed.current.as_ref())).then_some(failed)
    };
    let failed: Vec<_> = txn.preconditions.iter().zip(found).filter_map(failed).collect();
    if failed.is_empty() {
        let reason = "etcd refused a transaction of which all preconditions hold".to_owned();
        return StoreError::Unavailable { reason }.into();
    }
    Conflict { revision, failed }.into()
}

/// What it means that etcd had no room for a transaction.
///
/// It looks twice and says the same both times: before the transaction is agreed on, when it refuses it, and while it
/// carries it out, which it finishes all the same. A key that the transaction was to put tells, as long as what it found
/// there before, or what was to be there after, is of any help.
pub(super) async fn no_room(session: &Session, txn: &Txn, reason: String) -> StoreError {
    for op in &txn.ops {
        let Op::Put { key, value, .. } = op else { continue };
        let outer = session.keys.outer(key).into_bytes();
        let Ok(mut answer) = list::get(session, outer, GetOptions::new()).await else { break };
        let current = answer.take_kvs().into_iter().find_map(|kv| session.keys.entry(kv.0));
        let is_as_before = match txn.preconditions.iter().find(|precondition| precondition.key() == key) {
            Some(precondition) => holds(precondition, current.as_ref()),
            None => current.is_none_or(|entry| entry.value != *value),
        };
        return if is_as_before { StoreError::Full { reason } } else { StoreError::Unknown { reason } };
    }
    StoreError::Unknown { reason }
}

/// Which of the leases in the transaction it is that etcd does not know; it does not say.
async fn lease_not_found(session: &Session, txn: &Txn) -> StoreError {
    let named = |op: &Op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Delete { .. } => None,
    };
    let leases: Vec<LeaseId> = txn.ops.iter().filter_map(named).collect();
    for lease in &leases {
        match super::leases::exists(session, *lease).await {
            Ok(true) => {}
            Ok(false) => return StoreError::LeaseNotFound { lease: *lease },
            Err(error) => {
                return StoreError::Unavailable { reason: error.to_string() };
            }
        }
    }
    StoreError::Unavailable { reason: "etcd did not know a lease that exists".to_owned() }
}
