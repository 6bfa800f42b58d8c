//! A message as a document that is the same whenever the message is.
//!
//! Fields are in the contract's order. A map has none: prost-reflect keeps it in a hash table, in another order each time,
//! and an export that is kept with the sources of a service would differ from itself. So maps are printed by their keys.

use indexmap::IndexMap;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Proto3 JSON, in order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Document {
    Object(IndexMap<String, Self>),
    List(Vec<Self>),
    Scalar(Value),
}

impl Document {
    /// The document of a message, or why it has none.
    pub(super) fn of(message: &DynamicMessage) -> Result<Self, String> {
        let text = serde_json::to_string(message).map_err(|error| error.to_string())?;
        let mut document = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        sort(&mut document, &message.descriptor());
        Ok(document)
    }
}

/// Puts the maps of a message, and of those in it, in the order of their keys.
fn sort(document: &mut Document, kind: &MessageDescriptor) {
    let Document::Object(fields) = document else { return };
    for (name, value) in fields {
        // One that is not there has a form of its own, as a duration does.
        let Some(field) = kind.get_field_by_json_name(name) else { continue };
        match (value, field.kind()) {
            (Document::Object(entries), Kind::Message(entry)) if field.is_map() => {
                entries.sort_unstable_keys();
                if let Kind::Message(kind) = entry.map_entry_value_field().kind() {
                    entries.values_mut().for_each(|entry| sort(entry, &kind));
                }
            }
            (Document::List(list), Kind::Message(kind)) => list.iter_mut().for_each(|element| sort(element, &kind)),
            (value, Kind::Message(kind)) => sort(value, &kind),
            _ => {}
        }
    }
}
