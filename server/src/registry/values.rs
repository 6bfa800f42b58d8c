//! Messages as what they are to people: proto3 JSON, so that a duration is one value and an enum has its name.

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::unknown::DESCRIPTORS;
use crate::words::shortened;

/// How much of a value is told, in bytes.
const MAX_VALUE_BYTES: usize = 256;

/// A message by its name in the contract, with the contract's field names. `None`: there is no such message.
pub(super) fn json(name: &str, message: &impl Message) -> Option<Value> {
    let descriptor = DESCRIPTORS.as_ref()?.get_message_by_name(name)?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).ok()
}

/// The fields of a message, each by its path with its text, in the order of the contract where they are not in one another.
/// A list of plain values is one of them.
pub(crate) fn fields(name: &str, message: &impl Message) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let descriptor = DESCRIPTORS.as_ref().and_then(|pool| pool.get_message_by_name(name));
    let (Some(descriptor), Some(value)) = (descriptor, json(name, message)) else { return found };
    for field in descriptor.fields() {
        if let Some(value) = value.get(field.name()) {
            walk(field.name().to_owned(), value, &mut found);
        }
    }
    found
}

fn walk(path: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| walk(format!("{path}.{name}"), value, found));
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(index, item)| walk(format!("{path}[{index}]"), item, found));
        }
        value => found.push((path, text(value))),
    }
}

/// A value without the quotes of a string, cut where it is long.
pub(super) fn text(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    shortened(text, MAX_VALUE_BYTES)
}
