//! A service as the manager knows it, and how it is written to the store.
//!
//! A record is checked as a whole when it is read, with the same check that guards writes: what another release, a
//! restore or a hand wrote is no more trusted than a request.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_core::{
    level::Level,
    name::{Name, ServiceKey},
    orders::{InvalidOrders, Orders, WrittenHold},
    policy::{FallbackStep, InvalidPolicy, Policy},
    time::WallTime,
    wire::{
        PolicyHash, effective_policy, fingerprint, hold_to_wire, inactive_fields, orders_from_wire, orders_to_wire,
        revision_to_wire, temporary_level_to_wire, to_wire,
    },
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;
use prost_types::Timestamp;
use tokio::time::Instant;

use self::auto_level::as_stored;
pub(super) use self::auto_level::as_written;
use super::{Revision, changes, unknown, validate};
use crate::error::Error;

mod auto_level;

/// The version of the stored messages that this release writes and reads.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// After how long a hold is shown as held too long: an hour is time enough to end it or to change the policy.
pub(crate) const HELD_TOO_LONG: Duration = Duration::from_secs(3600);

/// A registered service with its checked policy, at one revision.
#[derive(Debug)]
pub struct Registered {
    key: ServiceKey,
    service: v1::Service,
    written: v1::IsolationPolicy,
    insisted: bool,
    create_time: Option<Timestamp>,
    update_time: Option<Timestamp>,
    policy: Policy,
    hash: PolicyHash,
    revision: Revision,
    changes: Option<storage::ChangeLog>,
    orders: Orders,
    /// The value as it is stored, where this release does not know all of it.
    beyond: Option<Bytes>,
    update_frame: OnceLock<Bytes>,
    since: Instant,
    /// Where it is handed out in the place of a contained one: the revision of that.
    as_of: Option<Revision>,
    containment: OnceLock<Containment>,
    /// What is handed out in its place, under its orders.
    in_its_place: OnceLock<Arc<Registered>>,
}

/// Why a policy is not handed out any more: instances put it back that had it in force.
#[derive(Clone, Debug)]
pub struct Containment {
    /// Why, in the words of the last of them that it took.
    pub reason: String,
    /// Since when.
    pub since: WallTime,
}

/// Why a stored value is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it is no message of its kind: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("it has schema version {0}, this release knows {SCHEMA_VERSION}")]
    SchemaVersion(u32),
    #[error("its {0} is missing")]
    Missing(&'static str),
    #[error("its {0} is none")]
    Invalid(&'static str),
    #[error("it is filed under another service's key")]
    Misfiled,
    #[error("{0}")]
    Service(String),
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
    #[error("invalid orders: {0}")]
    Orders(#[from] InvalidOrders),
}

impl Registered {
    /// Reads what is stored for a service.
    pub(super) fn decode(key: &ServiceKey, value: &[u8], revision: Revision) -> Result<Self, Unreadable> {
        let record = storage::ServiceRecord::decode(value)?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        let beyond = unknown::is_in(value, &record).then(|| Bytes::copy_from_slice(value));
        let record = as_written(record);
        let service = record.service.ok_or(Unreadable::Missing("service"))?;
        let (filed, violations) = validate::service(&service, "service");
        if let Some(violation) = violations.first() {
            return Err(Unreadable::Service(violation.to_string()));
        }
        if filed.as_ref() != Some(key) {
            return Err(Unreadable::Misfiled);
        }
        let written = record.policy.ok_or(Unreadable::Missing("policy"))?;
        let policy = effective_policy(&written)?;
        let orders = orders_from_wire(record.orders.as_ref())?;
        Ok(Self {
            key: key.clone(),
            service,
            written,
            insisted: record.insisted,
            create_time: record.create_time,
            update_time: record.update_time,
            hash: fingerprint(&policy, &orders),
            orders,
            policy,
            revision,
            changes: record.changes.map(changes::bounded),
            beyond,
            update_frame: OnceLock::new(),
            since: Instant::now(),
            as_of: None,
            containment: OnceLock::new(),
            in_its_place: OnceLock::new(),
        })
    }

    /// It as it was written at a revision, just now.
    pub(super) fn written_at(self, revision: Revision) -> Self {
        Self { revision, since: Instant::now(), ..self }
    }

    /// Its namespace and name.
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// It as it was registered. Its namespace is filled in.
    pub fn service(&self) -> &v1::Service {
        &self.service
    }

    /// Its policy as somebody wrote it: what is unset there takes the preset's value or the default.
    pub fn written_policy(&self) -> &v1::IsolationPolicy {
        &self.written
    }

    /// Its policy with preset and defaults filled in: what instances enforce.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Refuses the name of a pool that the policy does not have.
    ///
    /// # Errors
    /// [`Error::PoolNotFound`] with those that it has.
    pub(crate) fn require_pool(&self, name: &str) -> Result<(), Error> {
        let pools = &self.policy.bulkhead.pools;
        if pools.iter().any(|pool| pool.name == name) {
            return Ok(());
        }
        let pools = pools.iter().map(|pool| pool.name.clone()).collect();
        Err(Error::PoolNotFound { key: self.key.clone(), pool: name.to_owned(), pools })
    }

    /// The fingerprint of that policy and of the orders, which instances acknowledge.
    pub fn policy_hash(&self) -> PolicyHash {
        self.hash
    }

    /// What operators have ordered apart from the policy; some of it may have run out.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// How many holds have been in force for longer than they should be: an hour.
    pub fn held_too_long(&self, now: WallTime) -> usize {
        let since = |hold: &&WrittenHold| now.saturating_since(hold.since) > HELD_TOO_LONG;
        self.orders.holds_in_force(now).filter(since).count()
    }

    /// The level that counts at a time: the policy's own, or a temporary one in its place.
    pub fn level_at(&self, now: WallTime) -> Level {
        self.orders.level_in_force(now).map_or(self.policy.level, |temporary| temporary.level)
    }

    /// The policy at the level that counts at a time.
    pub fn policy_at(&self, now: WallTime) -> Policy {
        self.policy.at_level(self.level_at(now))
    }

    /// Where service and policy last changed.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Since when this manager has it to send.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether it may be called.
    pub fn is_enabled(&self) -> bool {
        self.service.enabled.unwrap_or(true)
    }

    /// Whether an operator insists on its policy: nobody puts it back.
    pub fn is_insisted(&self) -> bool {
        self.insisted
    }

    /// Why its policy is not handed out any more. `None`: it is.
    pub fn containment(&self) -> Option<&Containment> {
        self.containment.get()
    }

    /// Hands its policy out no more. Whether that is new.
    pub(super) fn contain(&self, containment: Containment) -> bool {
        self.containment.set(containment).is_ok()
    }

    /// What is handed out in its place, where that is the policy of `before`: as of its revision, under the orders of now and
    /// switched off where it is, for what operators order is not contained with the policy.
    pub(super) fn replaced_by(&self, before: &Self) -> Arc<Self> {
        let in_place = || {
            Arc::new(Self {
                key: self.key.clone(),
                service: self.service.clone(),
                written: before.written.clone(),
                insisted: before.insisted,
                create_time: before.create_time,
                update_time: before.update_time,
                hash: fingerprint(&before.policy, &self.orders),
                policy: before.policy.clone(),
                revision: before.revision,
                changes: None,
                orders: self.orders.clone(),
                beyond: None,
                update_frame: OnceLock::new(),
                since: self.since,
                as_of: Some(self.revision),
                containment: OnceLock::new(),
                in_its_place: OnceLock::new(),
            })
        };
        Arc::clone(self.in_its_place.get_or_init(in_place))
    }

    /// The names of the services, in the same namespace, that stand in for it.
    pub fn alternatives(&self) -> impl Iterator<Item = &Name> {
        alternatives(&self.policy).map(|(_, name)| name)
    }

    /// The fields of its written policy that the level of a time leaves without effect, by their path.
    pub fn inactive_fields(&self, now: WallTime) -> Vec<String> {
        inactive_fields(&self.written, self.level_at(now))
    }

    /// It as the contract shows it, without health and breaker state, which are not the store's to know, and with orders
    /// that may have run out.
    pub(super) fn describe(&self) -> v1::IsolatedService {
        v1::IsolatedService {
            service: Some(self.service.clone()),
            policy: Some(to_wire(&self.policy)),
            written_policy: Some(self.written.clone()),
            ..self.describe_bare()
        }
    }

    /// The same without its service and its policies, which are most of it.
    pub(super) fn describe_bare(&self) -> v1::IsolatedService {
        v1::IsolatedService {
            service: None,
            policy: None,
            written_policy: None,
            revision: Some(revision_to_wire(self.revision)),
            policy_hash: Bytes::copy_from_slice(self.hash.as_bytes()),
            health: None,
            reported_health: None,
            breaker_state: v1::BreakerState::Unspecified.into(),
            create_time: self.create_time,
            update_time: self.update_time,
            insisted: self.insisted,
            holds: self.orders.holds.iter().map(hold_to_wire).collect(),
            temporary_level: self.orders.level.as_ref().map(temporary_level_to_wire),
        }
    }

    /// It as a `SyncResponse`, framed for the wire: encoded at first use, the same bytes for every stream.
    pub(crate) fn update_frame(&self) -> Bytes {
        let encode = || {
            let update = v1::PolicyUpdate {
                service: self.key.name.to_string(),
                revision: Some(revision_to_wire(self.revision)),
                policy_hash: Bytes::copy_from_slice(self.hash.as_bytes()),
                policy: Some(to_wire(&self.policy)),
                enabled: self.is_enabled(),
                insisted: self.insisted,
                orders: some_orders(&self.orders),
                as_of: self.as_of.map(revision_to_wire),
            };
            let message = v1::sync_response::Message::Update(update);
            cofferdam_proto::framed(&v1::SyncResponse { message: Some(message) })
        };
        self.update_frame.get_or_init(encode).clone()
    }

    /// Whether a later release wrote fields of it that this one does not know. They are kept, and not in force.
    pub(super) fn is_of_later_release(&self) -> bool {
        self.beyond.is_some()
    }

    /// What is kept of its changes. `None`: nothing.
    pub(super) fn changes(&self) -> Option<&storage::ChangeLog> {
        self.changes.as_ref()
    }

    /// It as a record, less what is kept of its changes, with its policy as it was written.
    pub(super) fn record(&self) -> storage::ServiceRecord {
        storage::ServiceRecord {
            schema_version: SCHEMA_VERSION,
            service: Some(self.service.clone()),
            policy: Some(self.written.clone()),
            create_time: self.create_time,
            update_time: self.update_time,
            insisted: self.insisted,
            changes: None,
            orders: some_orders(&self.orders),
            ..storage::ServiceRecord::default()
        }
    }

    /// It as it is stored, less what is kept of its changes.
    pub(super) fn stored(&self) -> Bytes {
        unknown::carry_over(self.beyond.as_deref(), &as_stored(self.record()))
    }

    /// When service or policy last changed.
    pub(super) fn update_time(&self) -> Option<Timestamp> {
        self.update_time
    }

    /// When it was first registered.
    pub(super) fn create_time(&self) -> Option<Timestamp> {
        self.create_time
    }
}

/// Where a policy names an alternative.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The override in whose chain it is. `None`: in that of the policy itself.
    method_override: Option<usize>,
    step: usize,
}

impl Place {
    /// The path of the name in the policy.
    pub(super) fn path(self) -> String {
        let step = format!("fallback.chain[{}].alternative.service", self.step);
        match self.method_override {
            Some(index) => format!("method_overrides[{index}].policy.{step}"),
            None => step,
        }
    }
}

/// The services that a policy's chains name as alternatives, those of its overrides included.
pub(super) fn alternatives(policy: &Policy) -> impl Iterator<Item = (Place, &Name)> {
    let replaced = policy.method_overrides.iter().enumerate();
    let replaced = replaced.filter_map(|(index, entry)| Some((Some(index), entry.fallback.as_ref()?)));
    std::iter::once((None, &policy.fallback)).chain(replaced).flat_map(|(method_override, fallback)| {
        fallback.chain.iter().enumerate().filter_map(move |(step, kind)| match kind {
            FallbackStep::Alternative(alternative) => Some((Place { method_override, step }, &alternative.service)),
            _ => None,
        })
    })
}

/// How a service and its policy are stored in the place of what was `before`, less what is kept of its changes.
pub(super) fn encode(
    before: Option<&Registered>,
    service: v1::Service,
    written: v1::IsolationPolicy,
    insisted: bool,
    orders: &Orders,
    create_time: Option<Timestamp>,
    update_time: Timestamp,
) -> Bytes {
    let record = storage::ServiceRecord {
        schema_version: SCHEMA_VERSION,
        service: Some(service),
        policy: Some(written),
        create_time,
        update_time: Some(update_time),
        insisted,
        changes: None,
        orders: some_orders(orders),
        ..storage::ServiceRecord::default()
    };
    unknown::carry_over(before.and_then(|before| before.beyond.as_deref()), &as_stored(record))
}

/// Orders as messages hold them; unset where there are none.
fn some_orders(orders: &Orders) -> Option<v1::Orders> {
    (!orders.is_empty()).then(|| orders_to_wire(orders))
}

/// How a service is stored that becomes what it was: `state`, which was read of `written`. What operators order now stays.
/// Less what is kept of its changes.
pub(super) fn put_back(
    written: &[u8],
    state: &storage::ServiceRecord,
    orders: &Orders,
    update_time: Timestamp,
) -> Bytes {
    let orders = some_orders(orders);
    let record = storage::ServiceRecord { update_time: Some(update_time), changes: None, orders, ..state.clone() };
    unknown::carry_over(Some(written), &as_stored(record))
}

/// Reads what is stored for a service's health.
pub(super) fn decode_health(value: &[u8]) -> Result<v1::ServiceHealth, Unreadable> {
    let record = storage::HealthRecord::decode(value)?;
    if record.schema_version != SCHEMA_VERSION {
        return Err(Unreadable::SchemaVersion(record.schema_version));
    }
    let health = record.health.ok_or(Unreadable::Missing("health"))?;
    match validate::health(&health, "health").first() {
        Some(violation) => Err(Unreadable::Service(violation.to_string())),
        None => Ok(health),
    }
}

/// How a service's health is stored.
pub(super) fn encode_health(health: v1::ServiceHealth) -> Bytes {
    storage::HealthRecord { schema_version: SCHEMA_VERSION, health: Some(health) }.encode_to_vec().into()
}
