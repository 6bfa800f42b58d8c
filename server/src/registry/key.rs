//! Which key of the store holds what.
//!
//! Names cannot hold a slash and request ids are written in hex, so no two things share a key.

use std::fmt::Write as _;

use cofferdam_core::name::{Name, ServiceKey};

/// Describes the store itself.
pub(crate) const META: &str = "meta/store";

/// What the keys of managers that are there begin with. They come and go with their leases, and are no part of what a
/// registry loads.
pub(crate) const PEERS: &str = "peer/";

/// The change of many services that is under way, or was last.
pub(crate) const BULK: &str = "bulk/plan";

/// Put, and nothing else, to find out how far a watch has come.
pub(crate) const MARK: &str = "mark/store";

/// What the keys of all changes begin with.
pub(crate) const CHANGES: &str = "history/";

/// What the keys of the results of requests begin with.
pub(super) const REQUESTS: &str = "request/";

/// The digits of a change's number: those of the largest.
const CHANGE_DIGITS: usize = 20;

/// What a key of the store stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// The store's own description.
    Meta,
    /// A service and its policy.
    Service(ServiceKey),
    /// The last health report of a service.
    Health(ServiceKey),
    /// That a service's policy is contained.
    Containment(ServiceKey),
    /// The guard of a namespace's graph of alternatives.
    Alternatives(Name),
    /// The result of a write that carried a request id.
    Request,
    /// One change of a service.
    Change(ServiceKey),
    /// A service that is not registered any more and whose changes are kept.
    Unregistered(ServiceKey),
    /// The change of many services that is under way, or was last.
    Bulk,
    /// Says nothing.
    Mark,
    /// Under a prefix of ours, but not a key that a manager writes.
    Malformed,
    /// Of a later release.
    Unknown,
}

impl Key {
    /// Reads a key of the store.
    pub(super) fn parse(key: &str) -> Self {
        let Some((kind, rest)) = key.split_once('/') else {
            return Self::Unknown;
        };
        match kind {
            "meta" if rest == "store" => Self::Meta,
            "bulk" if rest == "plan" => Self::Bulk,
            "mark" if rest == "store" => Self::Mark,
            "service" => service_key(rest).map_or(Self::Malformed, Self::Service),
            "health" => service_key(rest).map_or(Self::Malformed, Self::Health),
            "containment" => service_key(rest).map_or(Self::Malformed, Self::Containment),
            "alternatives" => Name::new(rest).map_or(Self::Malformed, Self::Alternatives),
            "request" => Self::Request,
            "history" => change_key(rest).map_or(Self::Malformed, Self::Change),
            "unregistered" => service_key(rest).map_or(Self::Malformed, Self::Unregistered),
            _ => Self::Unknown,
        }
    }
}

/// Whether a key is about the store itself, and nothing that it holds.
pub(crate) fn is_of_the_store(key: &str) -> bool {
    matches!(Key::parse(key), Key::Meta | Key::Mark)
}

/// Whether a key holds the result of a request.
pub(crate) fn is_request(key: &str) -> bool {
    Key::parse(key) == Key::Request
}

/// Whether a key holds that a policy is contained.
pub(crate) fn is_containment(key: &str) -> bool {
    matches!(Key::parse(key), Key::Containment(_))
}

/// Reads `NAMESPACE/NAME`.
pub(crate) fn service_key(text: &str) -> Option<ServiceKey> {
    let (namespace, name) = text.split_once('/')?;
    Some(ServiceKey { namespace: Name::new(namespace).ok()?, name: Name::new(name).ok()? })
}

/// Reads `NAMESPACE/NAME/NUMBER`.
fn change_key(text: &str) -> Option<ServiceKey> {
    let (service, number) = text.rsplit_once('/')?;
    let is_number = number.len() == CHANGE_DIGITS && number.bytes().all(|digit| digit.is_ascii_digit());
    service_key(service).filter(|_| is_number)
}

/// Where a service and its policy are kept.
pub(super) fn service(key: &ServiceKey) -> String {
    format!("service/{key}")
}

/// Where the last health report of a service is kept.
pub(super) fn health(key: &ServiceKey) -> String {
    format!("health/{key}")
}

/// Where it is kept that the policy of a service is contained.
pub(super) fn containment(key: &ServiceKey) -> String {
    format!("containment/{key}")
}

/// The key that changes with every change to the alternatives of a namespace.
pub(super) fn alternatives(namespace: &Name) -> String {
    format!("alternatives/{namespace}")
}

/// Where a change of a service is kept, by its number.
pub(super) fn change(key: &ServiceKey, number: u64) -> String {
    format!("{}{number:0CHANGE_DIGITS$}", changes(key))
}

/// What the keys of a service's changes begin with.
pub(super) fn changes(key: &ServiceKey) -> String {
    format!("{CHANGES}{key}/")
}

/// What stands for a service that is not registered any more.
pub(super) fn unregistered(key: &ServiceKey) -> String {
    format!("unregistered/{key}")
}

/// Where the result of a request is kept.
pub(super) fn request(id: &str) -> String {
    let mut key = String::with_capacity(REQUESTS.len() + 2 * id.len());
    key.push_str(REQUESTS);
    for byte in id.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip() {
        let key = service_key("payments/cards.eu").unwrap();
        assert_eq!(Key::parse(&service(&key)), Key::Service(key.clone()));
        assert_eq!(Key::parse(&health(&key)), Key::Health(key.clone()));
        assert_eq!(Key::parse(&containment(&key)), Key::Containment(key.clone()));
        assert_eq!(Key::parse(&alternatives(&key.namespace)), Key::Alternatives(key.namespace));
        assert_eq!(Key::parse(&request("7/../é")), Key::Request);
        assert_eq!(Key::parse(META), Key::Meta);
        assert_eq!(Key::parse(BULK), Key::Bulk);
        for number in [0, 7, u64::MAX] {
            assert_eq!(
                Key::parse(&change(&service_key("a/b").unwrap(), number)),
                Key::Change(service_key("a/b").unwrap())
            );
        }
        assert_eq!(Key::parse("unregistered/a/b"), Key::Unregistered(service_key("a/b").unwrap()));
    }

    #[test]
    fn what_no_manager_wrote_is_told_apart() {
        for key in [
            "service/default",
            "service/default/a/b",
            "service/Default/a",
            "health//a",
            "containment/a",
            "alternatives/-",
            "history/a/b/7",
        ] {
            assert_eq!(Key::parse(key), Key::Malformed, "{key}");
        }
        for key in ["meta/other", "hold/default/a", "x"] {
            assert_eq!(Key::parse(key), Key::Unknown, "{key}");
        }
    }
}
