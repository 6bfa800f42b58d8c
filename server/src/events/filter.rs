//! What somebody wants to hear of.

use std::time::SystemTime;

use cofferdam_core::name::Name;
use cofferdam_proto::v1;

use crate::{
    error::Error,
    registry::validate::{self, Faults},
};

/// All namespaces.
const EVERY: &str = "*";

/// What somebody wants to hear of. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The namespace, and what is of none. `None`: all.
    namespace: Option<Name>,
    /// The service of that namespace, and nothing else.
    service: Option<Name>,
    /// The numbers of the kinds. Empty: all.
    kinds: Vec<i32>,
    /// Only what happened since.
    since: Option<SystemTime>,
}

impl Filter {
    /// Reads what a request says.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field.
    pub(crate) fn new(namespace: &str, service: &str, kinds: &[i32]) -> Result<Self, Error> {
        let mut faults = Faults::default();
        for (index, kind) in kinds.iter().enumerate() {
            let is_known = v1::EventKind::try_from(*kind).is_ok_and(|kind| kind != v1::EventKind::Unspecified);
            faults.require(is_known, format!("kinds[{index}]"), "must be a kind of event that this release knows");
        }
        faults.into_result()?;
        let (namespace, service) = match (namespace, service) {
            (EVERY, "") => (None, None),
            (EVERY, _) => {
                return Err(Error::invalid("namespace", "must be that of the service, or * with no service"));
            }
            (namespace, "") => {
                let name = validate::namespace(namespace);
                (Some(name.map_err(|invalid| Error::invalid("namespace", invalid.to_string()))?), None)
            }
            (namespace, service) => {
                let key = validate::target(namespace, service)?;
                (Some(key.namespace), Some(key.name))
            }
        };
        Ok(Self { namespace, service, kinds: kinds.to_vec(), since: None })
    }

    /// The same, of what happened since.
    pub(crate) fn since(self, since: Option<SystemTime>) -> Self {
        Self { since, ..self }
    }

    /// Whether it is of what happened after some time.
    pub(super) fn begins_after(&self, time: Option<SystemTime>) -> bool {
        time.zip(self.since).is_some_and(|(time, since)| time < since)
    }

    /// Whether an event is wanted.
    pub(crate) fn matches(&self, event: &v1::Event) -> bool {
        let is_kind = self.kinds.is_empty() || self.kinds.contains(&event.kind);
        let is_there = match (&self.namespace, &self.service) {
            (None, _) => true,
            (Some(namespace), None) => event.namespace.is_empty() || event.namespace == namespace.as_str(),
            (Some(namespace), Some(service)) => {
                event.namespace == namespace.as_str() && event.service == service.as_str()
            }
        };
        let is_wanted = (is_kind && is_there) || event.kind() == v1::EventKind::Gap;
        is_wanted && self.since.is_none_or(|since| time_of(event).is_none_or(|time| time >= since))
    }

    /// It as a request to another manager.
    pub(crate) fn to_wire(&self) -> v1::CollectEventsRequest {
        let text = |name: &Option<Name>| name.as_ref().map(|name| name.as_str().to_owned());
        v1::CollectEventsRequest {
            namespace: text(&self.namespace).unwrap_or_else(|| EVERY.to_owned()),
            service: text(&self.service).unwrap_or_default(),
            kinds: self.kinds.clone(),
            since: self.since.map(prost_types::Timestamp::from),
            ..v1::CollectEventsRequest::default()
        }
    }
}

/// When an event happened.
pub(crate) fn time_of(event: &v1::Event) -> Option<SystemTime> {
    SystemTime::try_from(event.time?).ok()
}
