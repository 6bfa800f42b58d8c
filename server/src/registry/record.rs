//! A service as the manager knows it, and how it is written to the store.
//!
//! A record is checked as a whole when it is read, with the same check that guards writes: what another release, a
//! restore or a hand wrote is no more trusted than a request.

use std::sync::OnceLock;

use bytes::Bytes;
use cofferdam_core::{
    name::{Name, ServiceKey},
    policy::{FallbackStep, InvalidPolicy, Policy},
    wire::{PolicyHash, effective_policy, inactive_fields, policy_hash, revision_to_wire, to_wire},
};
use cofferdam_proto::{storage::v1 as storage, v1};
use prost::Message;
use prost_types::Timestamp;
use tokio::time::Instant;

use super::{Revision, changes, unknown, validate};

/// The version of the stored messages that this release writes and reads.
pub(super) const SCHEMA_VERSION: u32 = 1;

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
    /// The value as it is stored, where this release does not know all of it.
    beyond: Option<Bytes>,
    update_frame: OnceLock<Bytes>,
    since: Instant,
    containment: OnceLock<Containment>,
}

/// Why a policy is not handed out any more: instances put it back that had it in force.
#[derive(Clone, Debug)]
pub struct Containment {
    /// Why, in the words of the last of them that it took.
    pub reason: String,
    /// Since when.
    pub since: Instant,
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
    #[error("it is filed under another service's key")]
    Misfiled,
    #[error("{0}")]
    Service(String),
    #[error(transparent)]
    Policy(#[from] InvalidPolicy),
}

impl Registered {
    /// Reads what is stored for a service.
    pub(super) fn decode(key: &ServiceKey, value: &[u8], revision: Revision) -> Result<Self, Unreadable> {
        let record = storage::ServiceRecord::decode(value)?;
        if record.schema_version != SCHEMA_VERSION {
            return Err(Unreadable::SchemaVersion(record.schema_version));
        }
        let beyond = unknown::is_in(value, &record).then(|| Bytes::copy_from_slice(value));
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
        Ok(Self {
            key: key.clone(),
            service,
            written,
            insisted: record.insisted,
            create_time: record.create_time,
            update_time: record.update_time,
            hash: policy_hash(&policy),
            policy,
            revision,
            changes: record.changes.map(changes::bounded),
            beyond,
            update_frame: OnceLock::new(),
            since: Instant::now(),
            containment: OnceLock::new(),
        })
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

    /// The fingerprint of that policy, which instances acknowledge.
    pub fn policy_hash(&self) -> PolicyHash {
        self.hash
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
    pub(super) fn contain(&self, reason: String) -> bool {
        self.containment.set(Containment { reason, since: Instant::now() }).is_ok()
    }

    /// The names of the services, in the same namespace, that stand in for it.
    pub fn alternatives(&self) -> impl Iterator<Item = &Name> {
        alternatives(&self.policy).map(|(_, name)| name)
    }

    /// The fields of its written policy that its level leaves without effect, by their path.
    pub fn inactive_fields(&self) -> Vec<String> {
        inactive_fields(&self.written, self.policy.level)
    }

    /// It as the contract shows it, without health and breaker state, which are not the store's to know.
    pub(super) fn describe(&self) -> v1::IsolatedService {
        v1::IsolatedService {
            service: Some(self.service.clone()),
            policy: Some(to_wire(&self.policy)),
            written_policy: Some(self.written.clone()),
            revision: Some(revision_to_wire(self.revision)),
            policy_hash: Bytes::copy_from_slice(self.hash.as_bytes()),
            health: None,
            reported_health: None,
            breaker_state: v1::BreakerState::Unspecified.into(),
            create_time: self.create_time,
            update_time: self.update_time,
            insisted: self.insisted,
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

    /// It as it is stored, less what is kept of its changes.
    pub(super) fn stored(&self) -> Bytes {
        let record = storage::ServiceRecord {
            schema_version: SCHEMA_VERSION,
            service: Some(self.service.clone()),
            policy: Some(self.written.clone()),
            create_time: self.create_time,
            update_time: self.update_time,
            insisted: self.insisted,
            changes: None,
        };
        unknown::carry_over(self.beyond.as_deref(), &record)
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
    };
    unknown::carry_over(before.and_then(|before| before.beyond.as_deref()), &record)
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
