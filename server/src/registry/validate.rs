//! The checks of what is said about a service besides its policy.
//!
//! They guard a write, and again what is read from the store. The policy's own check lives in the engine's crate,
//! where the SDKs run it too.

use std::collections::BTreeSet;

use cofferdam_core::{
    name::{DEFAULT_NAMESPACE, InvalidName, Name, ServiceKey},
    policy::Violation,
};
use cofferdam_proto::v1;

use crate::{
    error::Error,
    words::{is_printed, shortened},
};

/// Stands for all namespaces.
const ALL: &str = "*";

const MAX_VERSION_BYTES: usize = 64;
const MAX_TEXT_BYTES: usize = 1024;
const MAX_ENDPOINTS: usize = 16;
const MAX_ADDRESS_BYTES: usize = 256;
const MAX_DEPENDENCIES: usize = 64;
const MAX_REQUEST_ID_BYTES: usize = 128;
pub(crate) const MAX_LABELS: usize = 16;
pub(crate) const MAX_LABEL_BYTES: usize = 64;

/// The namespace that a request means: the default one where it names none.
///
/// # Errors
/// [`InvalidName`] for a text that is no name.
pub(crate) fn namespace(text: &str) -> Result<Name, InvalidName> {
    Name::new(if text.is_empty() { DEFAULT_NAMESPACE } else { text })
}

/// The same of a request that is about one namespace, beside those that are about all for `*`.
///
/// # Errors
/// [`Error::Invalid`] for a text that is no name.
pub(crate) fn one_namespace(text: &str) -> Result<Name, Error> {
    let described = |invalid: InvalidName| match text {
        ALL => format!("must be one namespace: {ALL} stands for all where many services are listed"),
        _ => invalid.to_string(),
    };
    namespace(text).map_err(|invalid| Error::invalid("namespace", described(invalid)))
}

/// The namespace that a request about many services means: the default one where it names none, `None` for all, which `*`
/// stands for.
///
/// # Errors
/// [`Error::Invalid`] for a text that is no name.
pub(crate) fn namespaces(text: &str) -> Result<Option<Name>, Error> {
    match text {
        ALL => Ok(None),
        text => namespace(text)
            .map(Some)
            .map_err(|invalid| Error::invalid("namespace", format!("{invalid}; or {ALL} for all"))),
    }
}

/// The service that a request means by its fields `namespace` and `service`.
///
/// # Errors
/// [`Error::Invalid`] with each of the two that is no name.
pub(crate) fn target(namespace: &str, service: &str) -> Result<ServiceKey, Error> {
    let mut faults = Faults::default();
    let key = faults.key(("namespace", namespace), ("service", service));
    faults.into_result()?;
    key.ok_or_else(|| Error::invalid("service", "must be set"))
}

/// Checks a request's name for itself.
pub(super) fn request_id(id: &str) -> Result<(), Error> {
    if id.len() <= MAX_REQUEST_ID_BYTES {
        return Ok(());
    }
    let description = format!("must be at most {MAX_REQUEST_ID_BYTES} bytes long, not {}", id.len());
    Err(Error::invalid("request_id", description))
}

/// Checks a service as a whole: its key where its names are good, and every field at fault, with `path` before it.
pub(super) fn service(service: &v1::Service, path: &str) -> (Option<ServiceKey>, Vec<Violation>) {
    // Taken apart without `..`, so that a field added to the contract fails the build here until it is checked.
    let v1::Service { namespace, name, version, description, endpoints, dependencies, labels, enabled: _ } = service;
    let mut faults = Faults::default();
    let key = faults.key((&format!("{path}.namespace"), namespace), (&format!("{path}.name"), name));
    faults.text(format!("{path}.version"), version, MAX_VERSION_BYTES);
    faults.text(format!("{path}.description"), description, MAX_TEXT_BYTES);
    faults.count(format!("{path}.endpoints"), endpoints.len(), MAX_ENDPOINTS);
    let mut addresses = BTreeSet::new();
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("{path}.endpoints[{index}].address");
        let address = endpoint.address.as_str();
        faults.require(is_address(address), &path, "must be host:port, for example 127.0.0.1:50051 or [::1]:50051");
        faults.require(addresses.insert(address), &path, "must differ from the other endpoints' addresses");
    }
    faults.count(format!("{path}.dependencies"), dependencies.len(), MAX_DEPENDENCIES);
    let mut needed = BTreeSet::new();
    for (index, dependency) in dependencies.iter().enumerate() {
        let path = format!("{path}.dependencies[{index}]");
        if let Err(invalid) = Name::new(&dependency.service) {
            faults.add(format!("{path}.service"), invalid.to_string());
        }
        let other = dependency.service != *name;
        faults.require(other, format!("{path}.service"), "must not be the service itself");
        let first = needed.insert(&dependency.service);
        faults.require(first, format!("{path}.service"), "must differ from the other dependencies");
        let known = v1::DependencyKind::try_from(dependency.kind).is_ok();
        faults.require(known, format!("{path}.kind"), "must be DEPENDENCY_KIND_CRITICAL or _OPTIONAL");
    }
    faults.labels(format!("{path}.labels"), labels);
    (key, faults.0)
}

/// Checks a health report: every field at fault, with `path` before it.
pub(super) fn health(health: &v1::ServiceHealth, path: &str) -> Vec<Violation> {
    let v1::ServiceHealth { status, message, observe_time } = health;
    let mut faults = Faults::default();
    let reportable = matches!(
        v1::HealthStatus::try_from(*status),
        Ok(v1::HealthStatus::Healthy | v1::HealthStatus::Degraded | v1::HealthStatus::Unhealthy)
    );
    let choices = "must be HEALTH_STATUS_HEALTHY, HEALTH_STATUS_DEGRADED or HEALTH_STATUS_UNHEALTHY";
    faults.require(reportable, format!("{path}.status"), choices);
    faults.text(format!("{path}.message"), message, MAX_TEXT_BYTES);
    if let Some(time) = observe_time {
        faults.require(is_timestamp(time), format!("{path}.observe_time"), "must be a valid timestamp");
    }
    faults.0
}

/// What is wrong with a text that people will read, among other things in a terminal. `None`: nothing.
pub(super) fn unprinted(text: &str) -> Option<&'static str> {
    let obeyed = text.chars().find(|c| !is_printed(*c))?;
    Some(if obeyed.is_control() {
        "must not hold control characters"
    } else {
        "must not hold line separators, nor characters that turn the direction of the text"
    })
}

/// Every field at fault, so that a caller can mend them all at once.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Violation>);

impl Faults {
    pub(crate) fn add(&mut self, path: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::invalid(path, description));
    }

    pub(crate) fn require(&mut self, holds: bool, path: impl Into<String>, description: &str) {
        if !holds {
            self.add(path, description);
        }
    }

    pub(crate) fn text(&mut self, path: impl Into<String>, text: &str, max: usize) {
        if text.len() > max {
            self.add(path, format!("must be at most {max} bytes long, not {}", text.len()));
        } else if text.contains(char::is_control) {
            self.add(path, "must not hold control characters");
        }
    }

    /// What somebody says of a change, which people will read, in a terminal too. It goes for writes alone: what is stored
    /// stays readable whatever the rules become.
    pub(crate) fn words(&mut self, path: impl Into<String>, text: &str, max: usize) {
        let path = path.into();
        match unprinted(text) {
            Some(rule) if text.len() <= max => self.add(path, rule),
            _ => self.text(path, text, max),
        }
    }

    pub(crate) fn count(&mut self, path: impl Into<String>, count: usize, max: usize) {
        if count > max {
            self.add(path, format!("must be at most {max}, not {count}"));
        }
    }

    /// Free labels: few, short, and with a key each.
    pub(crate) fn labels<'a>(
        &mut self,
        path: impl Into<String>,
        labels: impl IntoIterator<Item = (&'a String, &'a String), IntoIter: ExactSizeIterator>,
    ) {
        let path = path.into();
        let labels = labels.into_iter();
        self.count(path.as_str(), labels.len(), MAX_LABELS);
        for (key, value) in labels {
            self.require(!key.is_empty(), path.as_str(), "must not have an empty key");
            self.text(path.as_str(), key, MAX_LABEL_BYTES);
            self.text(format!("{path}[{:?}]", shortened(key, MAX_LABEL_BYTES)), value, MAX_LABEL_BYTES);
        }
    }

    /// The service that two fields name, each given with its path.
    fn key(&mut self, namespace_field: (&str, &str), name_field: (&str, &str)) -> Option<ServiceKey> {
        let namespace = self.name(namespace_field.0, namespace(namespace_field.1));
        let name = self.name(name_field.0, Name::new(name_field.1));
        Some(ServiceKey { namespace: namespace?, name: name? })
    }

    pub(crate) fn name(&mut self, path: &str, name: Result<Name, InvalidName>) -> Option<Name> {
        name.map_err(|invalid| self.add(path, invalid.to_string())).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses at once, where going on would look at too much.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        std::mem::take(self).into_result()
    }

    pub(crate) fn into_error(self) -> Error {
        Error::Invalid { violations: self.0 }
    }

    pub(crate) fn into_result(self) -> Result<(), Error> {
        if self.is_empty() { Ok(()) } else { Err(self.into_error()) }
    }
}

/// Whether a time is one: in the years 0001 to 9999, as the format says.
pub(super) fn is_timestamp(time: &prost_types::Timestamp) -> bool {
    (-62_135_596_800..=253_402_300_799).contains(&time.seconds) && (0..1_000_000_000).contains(&time.nanos)
}

/// Whether a text is a host and a port. Whether the manager may dial it is another question.
fn is_address(text: &str) -> bool {
    if text.len() > MAX_ADDRESS_BYTES {
        return false;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let port_is_good = port.parse::<u16>().is_ok_and(|number| number != 0 && !port.starts_with(['+', '0']));
    let host_is_good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    };
    port_is_good && host_is_good
}

#[cfg(test)]
mod tests;
