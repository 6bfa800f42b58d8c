//! A message as a list of its fields, each by its path.

use super::shorthand::{duration, short};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use std::time::Duration;

/// More of a text is not shown.
const MAX_CHARS: usize = 80;

/// A field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its path, as the contract names fields: `retry.max_attempts`, `fallback.chain[0].cached.ttl`.
    pub(crate) path: String,
    /// Its value, in the form in which it can be written.
    pub(crate) value: String,
}

/// The fields of a message that are set, down to the last one, in the contract's order. A message with no field set is
/// one itself.
pub(crate) fn fields(message: &DynamicMessage) -> Vec<Field> {
    let mut found = Vec::new();
    walk(message, "", &mut found);
    found
}

fn walk(message: &DynamicMessage, path: &str, found: &mut Vec<Field>) {
    let dot = if path.is_empty() { "" } else { "." };
    for (field, value) in message.fields() {
        visit(&field, value, format!("{path}{dot}{}", field.name()), found);
    }
}

fn visit(field: &FieldDescriptor, value: &Value, path: String, found: &mut Vec<Field>) {
    match value {
        Value::List(items) if !matches!(field.kind(), Kind::Message(_)) => {
            let items: Vec<_> = items.iter().map(|item| text(field, item)).collect();
            found.push(Field { path, value: format!("[{}]", items.join(", ")) });
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(field, item, format!("{path}[{index}]"), found);
            }
        }
        Value::Map(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (key_text(key), value)).collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            for (key, value) in entries {
                found.push(Field { path: format!("{path}[{key}]"), value: text(field, value) });
            }
        }
        Value::Message(message) if !is_leaf(message) => {
            let before = found.len();
            walk(message, &path, found);
            if found.len() == before {
                found.push(Field { path, value: "{}".to_owned() });
            }
        }
        value => found.push(Field { path, value: text(field, value) }),
    }
}

fn is_leaf(message: &DynamicMessage) -> bool {
    message.descriptor().parent_file().package_name() == "google.protobuf"
}

fn text(field: &FieldDescriptor, value: &Value) -> String {
    match (value, field.kind()) {
        (Value::EnumNumber(number), Kind::Enum(values)) => {
            values.get_value(*number).map_or_else(|| number.to_string(), |value| short(&values, value.name()))
        }
        (Value::Bytes(bytes), _) => match std::str::from_utf8(bytes) {
            Ok(text) => quoted(text),
            Err(_) => format!("{} bytes", bytes.len()),
        },
        (Value::String(text), _) => quoted(text),
        (Value::Message(message), _) => well_known(message),
        (Value::Bool(value), _) => value.to_string(),
        (Value::I32(value), _) => value.to_string(),
        (Value::I64(value), _) => value.to_string(),
        (Value::U32(value), _) => value.to_string(),
        (Value::U64(value), _) => value.to_string(),
        (Value::F32(value), _) => value.to_string(),
        (Value::F64(value), _) => value.to_string(),
        (other, _) => format!("{other:?}"),
    }
}

/// A text is quoted where it would be taken for something else.
fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"');
    let shown: String = text.chars().take(MAX_CHARS).collect();
    let more = if shown.len() < text.len() { "..." } else { "" };
    if is_plain { format!("{shown}{more}") } else { format!("{shown:?}{more}") }
}

fn well_known(message: &DynamicMessage) -> String {
    if message.descriptor().name() == "Duration"
        && let Ok(wire) = message.transcode_to::<prost_types::Duration>()
        && let Ok(length) = Duration::try_from(wire)
    {
        return duration(length);
    }
    match serde_json::to_value(message) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::String(text) => text.clone(),
        MapKey::Bool(value) => value.to_string(),
        MapKey::I32(value) => value.to_string(),
        MapKey::I64(value) => value.to_string(),
        MapKey::U32(value) => value.to_string(),
        MapKey::U64(value) => value.to_string(),
    }
}
