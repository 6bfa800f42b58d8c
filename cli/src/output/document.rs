//! Answers as documents.
//!
//! A message is put into words by way of its descriptor, which takes many times the room of the message itself. So a list of
//! services goes service by service: the room that ten thousand take is that of one.

use super::PrintError;
use crate::message::{Fault, Named, dynamic};
use cofferdam_proto::json::Ordered;
use cofferdam_proto::v1;
use prost_reflect::DynamicMessage;
use serde::ser::{Error as _, SerializeMap as _};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A message as it is printed for programs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// As a whole.
    Whole(DynamicMessage),
    /// Service by service.
    Services(v1::ListIsolatedServicesResponse),
    /// What a command puts together of several answers, and the contract has no message for.
    Own(Value),
}

impl Document {
    /// Of a message that is small enough.
    ///
    /// # Errors
    ///
    /// As [`dynamic`].
    pub(crate) fn of<M: Named>(message: &M) -> Result<Self, Fault> {
        dynamic(message).map(Self::Whole)
    }

    /// As a part of another one.
    ///
    /// # Errors
    ///
    /// [`PrintError::Document`].
    pub(crate) fn to_value(&self) -> Result<Value, PrintError> {
        serde_json::to_value(self).map_err(|error| PrintError::Document(error.to_string()))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list = match self {
            Self::Whole(message) => return Ordered(message).serialize(serializer),
            Self::Own(value) => return value.serialize(serializer),
            Self::Services(list) => list,
        };
        let mut map = serializer.serialize_map(None)?;
        if !list.services.is_empty() {
            map.serialize_entry("services", &Services(&list.services))?;
        }
        let v1::ListIsolatedServicesResponse { services: _, next_page_token, stale_for, containments } = list;
        let (next_page_token, containments) = (next_page_token.clone(), containments.clone());
        let stale_for = *stale_for;
        let rest = v1::ListIsolatedServicesResponse { services: Vec::new(), next_page_token, stale_for, containments };
        let rest = dynamic(&rest).map_err(S::Error::custom)?;
        if let Value::Object(fields) = serde_json::to_value(rest).map_err(S::Error::custom)? {
            fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        }
        map.end()
    }
}

/// Services, each put into words when its turn comes.
struct Services<'a>(&'a [v1::IsolatedService]);

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Service))
    }
}

struct Service<'a>(&'a v1::IsolatedService);

impl Serialize for Service<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Ordered(&dynamic(self.0).map_err(S::Error::custom)?).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, print_document};

    #[test]
    fn a_list_reads_the_same_service_by_service() {
        let service = |name: &str| v1::IsolatedService {
            service: Some(v1::Service { name: name.to_owned(), ..Default::default() }),
            policy: Some(v1::IsolationPolicy { level: v1::IsolationLevel::Full.into(), ..Default::default() }),
            revision: Some(v1::Revision { epoch: 7, revision: 8 }),
            ..Default::default()
        };
        let stale_for = Some(prost_types::Duration { seconds: 3, nanos: 0 });
        let list =
            v1::ListIsolatedServicesResponse { services: vec![service("a"), service("b")], ..Default::default() };
        let stale = v1::ListIsolatedServicesResponse { stale_for, ..list.clone() };
        for list in [list, stale, v1::ListIsolatedServicesResponse::default()] {
            for format in [Format::Json, Format::Yaml] {
                let text = |document: &Document| {
                    let mut out = Vec::new();
                    print_document(&mut out, format, document).unwrap();
                    String::from_utf8(out).unwrap()
                };
                assert_eq!(text(&Document::Services(list.clone())), text(&Document::of(&list).unwrap()));
            }
        }
    }
}
