//! What an instance says first, checked as a whole.

use std::collections::{BTreeSet, HashMap};

use cofferdam_core::{
    name::{Name, ServiceKey},
    orders::is_instance_id,
    revision::Revision,
    wire::{PolicyHash, revision_from_wire},
};
use cofferdam_proto::v1;

use crate::{
    error::Error,
    registry::validate::{self, Faults},
};

/// The most services that one instance follows by name.
pub(super) const MAX_SERVICES: usize = 10_000;

const MAX_SDK_BYTES: usize = 64;

/// An instance's introduction.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) instance_id: String,
    pub(super) application: String,
    pub(super) sdk: String,
    pub(super) namespace: Name,
    /// The services it follows by name, each once.
    pub(super) services: Vec<ServiceKey>,
    /// Whether it follows every service of the namespace.
    pub(super) all_services: bool,
    /// What it has in force.
    pub(super) applied: HashMap<ServiceKey, (Revision, PolicyHash)>,
}

impl Hello {
    /// # Errors
    /// [`Error::Invalid`] with each field at fault, by its path in `SyncRequest`.
    pub(super) fn read(hello: v1::SyncHello) -> Result<Self, Error> {
        let v1::SyncHello { instance_id, application, namespace, sdk, labels, services, all_services, applied } = hello;
        let mut faults = Faults::default();
        for (path, text) in [("hello.instance_id", &instance_id), ("hello.application", &application)] {
            faults.require(is_instance_id(text), path, "must be 1 to 128 printable ASCII characters");
        }
        faults.text("hello.sdk", &sdk, MAX_SDK_BYTES);
        faults.labels("hello.labels", &labels);
        faults.count("hello.services", services.len(), MAX_SERVICES);
        faults.count("hello.applied", applied.len(), MAX_SERVICES);
        let namespace = faults.name("hello.namespace", validate::namespace(&namespace));
        faults.check()?;
        let namespace = namespace.ok_or_else(|| Error::invalid("hello.namespace", "must be a name"))?;
        let services = names(&mut faults, "hello.services", &namespace, &services);
        let applied = read_applied(&mut faults, &namespace, applied);
        faults.into_result()?;
        Ok(Self { instance_id, application, sdk, namespace, services, all_services, applied })
    }
}

/// Checks the names of services; each stands in the answer once.
pub(super) fn names(faults: &mut Faults, path: &str, namespace: &Name, names: &[String]) -> Vec<ServiceKey> {
    let mut keys = BTreeSet::new();
    for (index, text) in names.iter().enumerate() {
        if let Some(name) = faults.name(&format!("{path}[{index}]"), Name::new(text)) {
            keys.insert(ServiceKey { namespace: namespace.clone(), name });
        }
    }
    keys.into_iter().collect()
}

fn read_applied(
    faults: &mut Faults,
    namespace: &Name,
    applied: Vec<v1::AppliedPolicy>,
) -> HashMap<ServiceKey, (Revision, PolicyHash)> {
    let mut known = HashMap::new();
    for (index, applied) in applied.into_iter().enumerate() {
        let path = format!("hello.applied[{index}]");
        let name = faults.name(&format!("{path}.service"), Name::new(&applied.service));
        if let (Some(name), Some(position)) = (name, position(faults, &path, applied.revision, &applied.policy_hash)) {
            known.insert(ServiceKey { namespace: namespace.clone(), name }, position);
        }
    }
    known
}

/// Checks a revision with its fingerprint.
pub(super) fn position(
    faults: &mut Faults,
    path: &str,
    revision: Option<v1::Revision>,
    hash: &[u8],
) -> Option<(Revision, PolicyHash)> {
    faults.require(revision.is_some(), format!("{path}.revision"), "must be set");
    let hash = PolicyHash::try_from(hash);
    let hash = hash.map_err(|invalid| faults.add(format!("{path}.policy_hash"), invalid.to_string()));
    Some((revision_from_wire(revision?), hash.ok()?))
}
