//! `path=value`, as typed after `policy set`.

use super::names::{no_field, no_value};
use super::{Fault, descriptor, read};
use cofferdam_proto::v1;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use prost_types::FieldMask;
use serde_json::{Map, Value};
use std::str::FromStr;

/// A field of a policy, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Its path: `retry.max_attempts`.
    path: String,
    /// Its value, as typed. Empty: it goes back to its default.
    value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((path, value)) if !path.is_empty() => Ok(Self { path: path.to_owned(), value: value.to_owned() }),
            _ => Err("must be PATH=VALUE, such as retry.max_attempts=3, or PATH= for the default".to_owned()),
        }
    }
}

/// What some assignments say, as a change to a policy.
///
/// # Errors
///
/// [`Fault`] at the first path that is none, with the nearest that is, or the first value that cannot be the field's.
pub(crate) fn assigned(assignments: &[Assignment]) -> Result<(v1::IsolationPolicy, FieldMask), Fault> {
    let policy = descriptor::<v1::IsolationPolicy>()?;
    let mut values = Map::new();
    let mut mask = FieldMask::default();
    for Assignment { path, value } in assignments {
        let fields = resolve(&policy, path)?;
        let name = fields.iter().map(FieldDescriptor::name).collect::<Vec<_>>().join(".");
        if mask.paths.contains(&name) {
            return Err(Fault::at(path.as_str(), "is set twice: one value is wanted"));
        }
        mask.paths.push(name);
        let Some((last, sections)) = fields.split_last().filter(|_| !value.is_empty()) else { continue };
        let mut place = &mut values;
        for section in sections {
            let entry = place.entry(section.name()).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = entry else {
                return Err(Fault::at(path.as_str(), format!("{} is set as a whole already", section.name())));
            };
            place = inner;
        }
        place.insert(last.name().to_owned(), typed(last, value).map_err(|what| Fault::at(path.as_str(), what))?);
    }
    Ok((read(Value::Object(values))?, mask))
}

/// The fields along a path.
fn resolve(message: &MessageDescriptor, path: &str) -> Result<Vec<FieldDescriptor>, Fault> {
    let mut fields: Vec<FieldDescriptor> = Vec::new();
    let mut message = Some(message.clone());
    for name in path.split('.') {
        let inside = message.take().ok_or_else(|| {
            let parent = fields.last().map_or("", FieldDescriptor::name);
            Fault::at(path, format!("{parent} has no fields of its own that can be set by path: set it as a whole"))
        })?;
        let field = inside.get_field_by_name(name).or_else(|| inside.get_field_by_json_name(name));
        let field = field.ok_or_else(|| {
            let above: String = fields.iter().map(|field| format!("{}.", field.name())).collect();
            Fault::at(path, no_field(&inside, &above, name))
        })?;
        message = match field.kind() {
            Kind::Message(inner)
                if !field.is_list() && !field.is_map() && inner.full_name().starts_with("cofferdam.") =>
            {
                Some(inner)
            }
            _ => None,
        };
        fields.push(field);
    }
    Ok(fields)
}

/// A value as typed, as the JSON that its field takes.
fn typed(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    if field.is_list() || field.is_map() {
        return json(text, "a JSON list or object");
    }
    match field.kind() {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => text.parse().map(Value::Bool).map_err(|_| format!("must be true or false, and is {text:?}")),
        Kind::Enum(values) => no_value(&values, text).map_or_else(|| Ok(Value::String(text.to_owned())), Err),
        Kind::Message(message) if message.full_name() == "google.protobuf.Duration" => humantime::parse_duration(text)
            .map(|_| Value::String(text.to_owned()))
            .map_err(|_| format!("must be a time with its unit, such as 250ms or 30s, and is {text:?}")),
        Kind::Message(message) if message.full_name().starts_with("google.protobuf.") => {
            Ok(Value::String(text.to_owned()))
        }
        Kind::Message(_) => json(text, "a JSON object"),
        Kind::Bytes => Ok(Value::String(text.to_owned())),
        _ => serde_json::from_str(text)
            .ok()
            .filter(Value::is_number)
            .ok_or_else(|| format!("must be a number, and is {text:?}")),
    }
}

fn json(text: &str, what: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("must be {what}: {error}"))
}
