//! A message as JSON that is the same whenever the message is.
//!
//! Fields are in the contract's order. A map has none: prost-reflect keeps it in a hash table, in another order each time,
//! and an export that is kept with the sources of a service would differ from itself, as would an answer that is kept by
//! its entity tag. So maps are written by their keys.

use indexmap::IndexMap;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _, Value};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// A message in its proto3 JSON form, with maps by their keys.
#[derive(Debug)]
pub struct Ordered<'a>(pub &'a DynamicMessage);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !has_maps(self.0) {
            return self.0.serialize(serializer);
        }
        let text = serde_json::to_string(self.0).map_err(S::Error::custom)?;
        let mut tree = serde_json::from_str(&text).map_err(S::Error::custom)?;
        sort(&mut tree, &self.0.descriptor());
        tree.serialize(serializer)
    }
}

/// Whether there is a map in it that has an order.
fn has_maps(message: &DynamicMessage) -> bool {
    let within = |value: &Value| value.as_message().is_some_and(has_maps);
    message.fields().any(|(_, value)| match value {
        Value::Map(entries) => entries.len() > 1 || entries.values().any(within),
        Value::List(list) => list.iter().any(within),
        value => within(value),
    })
}

/// Proto3 JSON, in order.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Tree {
    Object(IndexMap<String, Self>),
    List(Vec<Self>),
    Scalar(serde_json::Value),
}

/// Puts the maps of a message, and of those in it, in the order of their keys.
fn sort(tree: &mut Tree, kind: &MessageDescriptor) {
    let Tree::Object(fields) = tree else { return };
    for (name, value) in fields {
        // One that is not there has a form of its own, as a duration does.
        let Some(field) = kind.get_field_by_json_name(name) else { continue };
        match (value, field.kind()) {
            (Tree::Object(entries), Kind::Message(entry)) if field.is_map() => {
                entries.sort_unstable_keys();
                if let Kind::Message(kind) = entry.map_entry_value_field().kind() {
                    entries.values_mut().for_each(|entry| sort(entry, &kind));
                }
            }
            (Tree::List(list), Kind::Message(kind)) => list.iter_mut().for_each(|element| sort(element, &kind)),
            (value, Kind::Message(kind)) => sort(value, &kind),
            _ => {}
        }
    }
}
