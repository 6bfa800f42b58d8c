//! Names that somebody has written and the contract does not have, with the nearest that it has.

use super::Fault;
use super::shorthand::short_names;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// How alike two names have to be, of 1 for the same, for one to be proposed in place of the other.
const ALIKE: f64 = 0.6;

/// Refuses the first name in `value`, which is to be this message, that is none of a field or of an enum's value. What else
/// may be wrong with it is not looked at.
pub(super) fn check(value: &Value, message: &MessageDescriptor) -> Result<(), Fault> {
    in_message(value, message, "")
}

fn in_message(value: &Value, message: &MessageDescriptor, above: &str) -> Result<(), Fault> {
    // What has a form of its own in JSON, as a duration has, has no names.
    let Value::Object(entries) = value else { return Ok(()) };
    if message.full_name().starts_with("google.protobuf.") {
        return Ok(());
    }
    for (name, value) in entries {
        let path = format!("{above}{name}");
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        let field = field.ok_or_else(|| Fault::at(&path, no_field(message, above, name)))?;
        in_field(value, &field, &path)?;
    }
    Ok(())
}

fn in_field(value: &Value, field: &FieldDescriptor, path: &str) -> Result<(), Fault> {
    match (value, field.kind()) {
        (Value::Object(entries), Kind::Message(entry)) if field.is_map() => {
            let kind = entry.map_entry_value_field().kind();
            entries.iter().try_for_each(|(name, value)| in_item(value, &kind, &format!("{path}.{name}")))
        }
        (Value::Array(items), kind) => {
            items.iter().enumerate().try_for_each(|(at, item)| in_item(item, &kind, &format!("{path}[{at}]")))
        }
        (value, kind) => in_item(value, &kind, path),
    }
}

fn in_item(value: &Value, kind: &Kind, path: &str) -> Result<(), Fault> {
    match (kind, value) {
        (Kind::Message(message), value) => in_message(value, message, &format!("{path}.")),
        (Kind::Enum(values), Value::String(text)) => {
            no_value(values, text).map_or(Ok(()), |what| Err(Fault::at(path, what)))
        }
        _ => Ok(()),
    }
}

/// What is said of a name that a message does not have: `above` is where the message stands.
pub(super) fn no_field(inside: &MessageDescriptor, above: &str, name: &str) -> String {
    let names: Vec<_> = inside.fields().map(|field| field.name().to_owned()).collect();
    match nearest(name, &names) {
        Some(nearest) => format!("there is no such field; did you mean {above}{nearest}?"),
        None => format!("there is no such field; there are {}", names.join(", ")),
    }
}

/// What is said of a text that is no value of an enum, in either form. `None`: it is one.
pub(super) fn no_value(values: &EnumDescriptor, text: &str) -> Option<String> {
    let names = short_names(values);
    let wanted = text.replace('_', "-").to_ascii_lowercase();
    let is_one = values.get_value_by_name(text).is_some() || names.contains(&wanted);
    (!is_one).then(|| format!("must be one of {}, and is {text:?}", names.join(", ")))
}

/// The name that is most like another one. `None`: none is like it.
fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a String> {
    let score = |candidate: &String| strsim::jaro_winkler(name, candidate);
    let nearest = names.iter().max_by(|left, right| score(left).total_cmp(&score(right)));
    nearest.filter(|nearest| score(nearest) >= ALIKE)
}
