//! What people may write in place of the contract's JSON form.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// The suffix of every enum's zero, whose beginning is the prefix of all its values.
const ZERO: &str = "UNSPECIFIED";

const DURATION: &str = "google.protobuf.Duration";

/// Spells out in `value`, which is to be this message, what is short: nothing that is not understood is touched.
pub(super) fn expand(value: &mut Value, message: &MessageDescriptor) {
    if message.full_name() == DURATION {
        if let Value::String(text) = value
            && let Ok(duration) = humantime::parse_duration(text)
        {
            *text = format!("{}.{:09}s", duration.as_secs(), duration.subsec_nanos());
        }
        return;
    }
    let Value::Object(entries) = value else { return };
    for (name, value) in entries {
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        if let Some(field) = field {
            expand_field(value, &field);
        }
    }
}

fn expand_field(value: &mut Value, field: &FieldDescriptor) {
    match (value, field.kind()) {
        (Value::Object(entries), Kind::Message(entry)) if field.is_map() => {
            let values = entry.map_entry_value_field();
            entries.values_mut().for_each(|value| expand_kind(value, &values.kind()));
        }
        (Value::Array(items), kind) => items.iter_mut().for_each(|item| expand_kind(item, &kind)),
        (value, kind) => expand_kind(value, &kind),
    }
}

fn expand_kind(value: &mut Value, kind: &Kind) {
    match (kind, value) {
        (Kind::Message(message), value) => expand(value, message),
        (Kind::Enum(values), Value::String(name)) => {
            if let Some(full) = long_name(values, name) {
                *name = full;
            }
        }
        _ => {}
    }
}

fn long_name(values: &EnumDescriptor, name: &str) -> Option<String> {
    let full = format!("{}{}", prefix(values)?, name.replace('-', "_").to_ascii_uppercase());
    values.get_value_by_name(&full).map(|value| value.name().to_owned())
}

fn prefix(values: &EnumDescriptor) -> Option<String> {
    Some(values.get_value(0)?.name().strip_suffix(ZERO)?.to_owned())
}

/// The short names of an enum's values that say something.
pub(super) fn short_names(values: &EnumDescriptor) -> Vec<String> {
    values.values().filter(|value| value.number() != 0).map(|value| short(values, value.name())).collect()
}

/// The name of a value without its prefix, in lower case and with hyphens: `circuit-open`.
pub(super) fn short(values: &EnumDescriptor, name: &str) -> String {
    let rest = prefix(values).and_then(|prefix| name.strip_prefix(&prefix).map(str::to_owned));
    rest.as_deref().unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// The name of a value of a generated enum without its prefix: `half-open` of `BREAKER_STATE_HALF_OPEN`.
pub(crate) fn short_name(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// A duration in the units that people use: `250ms`, `1m30s`.
pub(crate) fn duration(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}
