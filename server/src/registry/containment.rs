//! Policies that are handed out no more, at any manager.
//!
//! The manager that contains a policy does so at once, and then writes it down for all, on condition that the service is
//! still at that revision: `containment/NAMESPACE/NAME`. Managers watch it as they watch services, and find it when they
//! start.
//!
//! It is about a policy, of that revision and of those after it that have the same one: what an operator orders makes a
//! revision, and must not bring the policy back. So the record names the policy by its fingerprint. The alternative, that the
//! write of an order carries the containment on to its own revision, needs every manager that writes to know of it at that
//! moment; one that has not heard yet would end it. Where nothing is known to be handed out in its place, a containment is
//! about its one revision only, for orders go out with what is handed out.
//!
//! The next write of another policy takes the key away in the same transaction, before all else that it does. One that is
//! left, because it was written after that write was planned, is about a policy that the service has no more, and goes with
//! the write after it.
//!
//! While the store is away, it holds at the manager that found it, which writes it down later.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_core::{
    name::ServiceKey,
    time::WallTime,
    wire::{PolicyHash, policy_hash, revision_from_wire, revision_to_wire},
};
use cofferdam_proto::storage::v1::ContainmentRecord;
use prost::Message;
use prost_types::Timestamp;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::{
    Containment, Registered, Registry, Revision, Shared, key,
    key::Key,
    record::{SCHEMA_VERSION, Unreadable},
    transact::ReadBack,
};
use crate::store::{CommitError, MAX_VALUE_BYTES, Precondition, StoreRevision, Txn};

/// How long to wait before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is written down of a policy that is contained.
#[derive(Debug)]
pub(super) struct Recorded {
    /// The revision of the service at which it was found.
    pub(super) revision: Revision,
    /// The policy. `None`: a release that did not say wrote it.
    policy: Option<PolicyHash>,
    pub(super) containment: Containment,
    /// What is handed out in its place.
    pub(super) in_place: Option<Arc<Registered>>,
}

/// The services whose policies were contained here, and for which that is still to be written down.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    services: Mutex<BTreeSet<ServiceKey>>,
    added: Notify,
}

impl Registry {
    /// Hands the present policy of a service out no more, where it is at this revision and no operator insists on it.
    /// Whether that is new.
    pub(crate) fn contain(&self, key: &ServiceKey, revision: Revision, reason: String) -> bool {
        let is_it = |registered: &Arc<Registered>| registered.revision() == revision && !registered.is_insisted();
        let present = self.get(key).filter(is_it);
        let containment = Containment { reason, since: self.wall_time() };
        let is_new = present.is_some_and(|registered| registered.contain(containment));
        if is_new {
            self.shared.unrecorded.lock().insert(key.clone());
            self.shared.unrecorded.added.notify_one();
            self.shared.version.send_modify(|version| *version = version.wrapping_add(1));
        }
        is_new
    }
}

impl Unrecorded {
    /// Nothing between two changes can panic: a poisoned set is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<ServiceKey>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorded {
    pub(super) fn decode(key: &ServiceKey, value: &Bytes) -> Result<Self, Unreadable> {
        let record = ContainmentRecord::decode(value.clone())?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        let revision = revision_from_wire(record.revision.ok_or(Unreadable::Missing("revision"))?);
        let time = record.create_time.ok_or(Unreadable::Missing("create_time"))?;
        let nanos = u32::try_from(time.nanos).unwrap_or(u32::MAX);
        let since = WallTime::new(time.seconds, nanos).map_err(|_| Unreadable::Invalid("create_time"))?;
        let policy = match &record.policy_hash {
            hash if hash.is_empty() => None,
            hash => Some(PolicyHash::try_from(&hash[..]).map_err(|_| Unreadable::Invalid("policy_hash"))?),
        };
        let in_place = match record.in_place_revision {
            Some(revision) => Some(Arc::new(Registered::decode(key, &record.in_place, revision_from_wire(revision))?)),
            None => None,
        };
        Ok(Self { revision, policy, containment: Containment { reason: record.reason, since }, in_place })
    }

    /// Whether it is about a service as it is.
    pub(super) fn is_about(&self, registered: &Registered) -> bool {
        registered.revision() == self.revision
            || (registered.revision() > self.revision && self.goes_on_with(registered))
    }

    /// Whether it is about a service that is to be written.
    pub(super) fn goes_on_with(&self, registered: &Registered) -> bool {
        let is_same = || self.policy == Some(policy_hash(registered.policy()));
        self.in_place.is_some() && !registered.is_insisted() && is_same()
    }
}

fn encode(revision: Revision, policy: PolicyHash, containment: &Containment, in_place: Option<&Registered>) -> Bytes {
    let Containment { reason, since } = containment.clone();
    let nanos = i32::try_from(since.nanos()).unwrap_or_default();
    let bare = ContainmentRecord {
        schema_version: SCHEMA_VERSION,
        revision: Some(revision_to_wire(revision)),
        reason,
        create_time: Some(Timestamp { seconds: since.seconds(), nanos }),
        policy_hash: Bytes::copy_from_slice(policy.as_bytes()),
        ..ContainmentRecord::default()
    };
    let whole = in_place.map(|in_place| ContainmentRecord {
        in_place: in_place.stored(),
        in_place_revision: Some(revision_to_wire(in_place.revision())),
        ..bare.clone()
    });
    // What a later release added may leave no room. Then it is contained all the same.
    whole.filter(|whole| whole.encoded_len() <= MAX_VALUE_BYTES).unwrap_or(bare).encode_to_vec().into()
}

/// Writes down what is contained here, for as long as it runs.
pub(super) async fn record(shared: Arc<Shared>) {
    let mut is_told = false;
    loop {
        let services = std::mem::take(&mut *shared.unrecorded.lock());
        if services.is_empty() {
            shared.unrecorded.added.notified().await;
            continue;
        }
        let mut has_failed = false;
        for key in services {
            if let Err(error) = shared.record_containment(&key).await {
                if !is_told {
                    is_told = true;
                    tracing::warn!(service = %key, %error, "other managers cannot be told of a containment yet");
                }
                has_failed = true;
                shared.unrecorded.lock().insert(key);
            }
        }
        if has_failed {
            sleep(PAUSE).await;
        } else {
            is_told = false;
        }
    }
}

impl Shared {
    /// Writes down that the present policy of a service is contained, where it is and nobody has done so.
    async fn record_containment(&self, service: &ServiceKey) -> Result<(), CommitError> {
        let planned = {
            let catalog = self.read();
            catalog.unrecorded_containment(service).map(|(registered, containment)| {
                let key = key::containment(service);
                let in_place = catalog.in_place_of(registered).map(|in_place| &**in_place);
                let value = encode(registered.revision(), policy_hash(registered.policy()), containment, in_place);
                let mut txn = Txn::new()
                    .require_revision(key::META, catalog.meta)
                    .require_revision(key::service(service), StoreRevision::new(registered.revision().revision));
                txn.preconditions.push(match catalog.known(&Key::Containment(service.clone())) {
                    Some(mod_revision) => Precondition::Revision { key: key.clone(), mod_revision },
                    None => Precondition::Absent { key: key.clone() },
                });
                (txn.put(key, value), catalog.epoch)
            })
        };
        let Some((txn, epoch)) = planned else { return Ok(()) };
        let ops = txn.ops.clone();
        let give_up = Instant::now() + self.options.store_timeout;
        match self.commit(txn, give_up).await {
            Ok(revision) => {
                self.apply_early(&ops, ReadBack::new(), epoch, revision);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
