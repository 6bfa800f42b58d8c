//! Fields that are said in the path or the query, one value each.

use std::collections::HashMap;

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value as Field};
use serde_json::Value;

use super::{super::problem::Violation, json};

const FIELD_MASK: &str = "google.protobuf.FieldMask";

/// Which fields were said, by the numbers on the way to them, and what was said of each: a value that is a field's default
/// leaves no trace in a message.
pub(super) type Said = HashMap<Vec<u32>, String>;

/// Sets a field of a message by its path, as in `revision.epoch`; a list gets one value more.
pub(super) fn set(message: &mut DynamicMessage, path: &str, text: &str, said: &mut Said) -> Result<(), Violation> {
    let at_fault = |what: String| Violation::new(path, what);
    let mut message = message;
    let mut names = path.split('.').peekable();
    let mut place = Vec::new();
    while let Some(name) = names.next() {
        let kind = message.descriptor();
        let field = json::field(&kind, name).ok_or_else(|| at_fault(json::unknown(&kind, name)))?;
        place.push(field.number());
        if names.peek().is_none() {
            let is_new = said.get(&place).is_none_or(|before| before == text);
            if !is_new && !field.is_list() {
                return Err(at_fault("is there twice, and not the same".to_owned()));
            }
            said.insert(place, text.to_owned());
            return set_field(message, &field, text).map_err(at_fault);
        }
        if !is_of_fields(&field) {
            return Err(at_fault(format!("is wrong from {name} on, which has no fields")));
        }
        is_alone(message, &field).map_err(at_fault)?;
        let Some(inner) = message.get_field_mut(&field).as_message_mut() else {
            return Err(at_fault(format!("is wrong from {name} on")));
        };
        message = inner;
    }
    Err(at_fault("names no field".to_owned()))
}

/// Whether a path begins with a field.
pub(super) fn begins_with(path: &str, field: &FieldDescriptor) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    first == field.name() || first == field.json_name()
}

/// Whether a field is one message that has fields of its own in JSON.
fn is_of_fields(field: &FieldDescriptor) -> bool {
    !field.is_list() && !field.is_map() && matches!(field.kind(), Kind::Message(kind) if !json::is_one_value(&kind))
}

fn set_field(message: &mut DynamicMessage, field: &FieldDescriptor, text: &str) -> Result<(), String> {
    let value = match field.kind() {
        Kind::Message(kind) if kind.full_name() == FIELD_MASK => mask(kind, text),
        _ => json::value_of(field, in_json(field, text)?)?,
    };
    if field.is_list() {
        let more = value.as_list().unwrap_or_default().to_vec();
        if let Some(list) = message.get_field_mut(field).as_list_mut() {
            list.extend(more);
        }
        return Ok(());
    }
    // What path, query and body say of one field has to be the same.
    if message.has_field(field) && *message.get_field(field) != value {
        return Err("is there twice, and not the same".to_owned());
    }
    is_alone(message, field)?;
    message.set_field(field, value);
    Ok(())
}

/// Refuses a field that would take the place of another one, of the same oneof, in silence.
fn is_alone(message: &DynamicMessage, field: &FieldDescriptor) -> Result<(), String> {
    let others = field.containing_oneof().into_iter().flat_map(|oneof| oneof.fields().collect::<Vec<_>>());
    match others.into_iter().find(|other| other != field && message.has_field(other)) {
        Some(other) => Err(json::excluded(&other)),
        None => Ok(()),
    }
}

/// The JSON of a text, by the kind of its field.
fn in_json(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    Ok(match field.kind() {
        _ if field.is_map() => return Err("cannot be said here: it is a map".to_owned()),
        Kind::Message(kind) if !json::is_one_value(&kind) => {
            let first = kind.fields().next().map(|first| first.json_name().to_owned()).unwrap_or_default();
            return Err(format!("has fields: say which, as in {}.{first}", field.json_name()));
        }
        Kind::Bool => match text {
            "true" => true.into(),
            "false" => false.into(),
            _ => return Err("must be true or false".to_owned()),
        },
        Kind::Enum(_) => text.parse::<i32>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    })
}

/// A mask, with commas between its paths, each in the contract's names or in those of JSON. What is neither stays as it is, so
/// that whoever refuses it names what was said.
fn mask(kind: MessageDescriptor, text: &str) -> Field {
    let paths = text.split(',').filter(|_| !text.is_empty());
    let paths = paths.map(|path| Field::String(path.split('.').map(snake_case).collect::<Vec<_>>().join(".")));
    let mut mask = DynamicMessage::new(kind);
    mask.set_field_by_name("paths", Field::List(paths.collect()));
    Field::Message(mask)
}

/// `maxAttempts` as `max_attempts`; what is no such name as it is.
fn snake_case(name: &str) -> String {
    let is_capital = |letter: &u8| letter.is_ascii_uppercase();
    let letters = name.as_bytes();
    let is_camel = letters.first().is_some_and(u8::is_ascii_lowercase)
        && !letters.windows(2).any(|two| two.iter().all(is_capital) || two.contains(&b'_'));
    if !is_camel {
        return name.to_owned();
    }
    let mut snake = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
