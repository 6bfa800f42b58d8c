//! Proto3 JSON, with each fault at its place.
//!
//! The conversion is prost-reflect's. It stops at the first fault, says no path, and lets pass what is silently without
//! effect: a name that is there twice, `null` in a list. So names are looked at first, those that exclude each other among
//! them, and where the conversion fails, each value is tried for itself to find those at fault.

use std::collections::HashSet;

use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::{
    super::problem::Violation,
    expected::{expected, too_fine},
    seed,
    tree::{Tree, joined},
};
use crate::registry::nearest;

/// The most faults that are told.
pub(super) const MAX_FAULTS: usize = 16;

/// How the first value of each enum ends, behind what they all begin with.
const NONE: &str = "UNSPECIFIED";

/// The most values that are tried for themselves. What is wrong behind them is told without its place.
const MAX_TRIES: usize = 1_000;

/// Reads a message. `path` is where it stands in its request, for the words of faults.
pub(super) fn read(kind: &MessageDescriptor, text: &[u8], path: &str) -> Result<DynamicMessage, Vec<Violation>> {
    let no_json = |error: serde_json::Error| {
        let what = if text.is_empty() {
            "the body is empty: it must be JSON".to_owned()
        } else {
            format!("the body is no JSON: {error}")
        };
        vec![Violation::new("", what)]
    };
    let tree: Tree = serde_json::from_slice(text).map_err(no_json)?;
    let tree = seed::translated(kind, tree, text, path)?;
    let mut faults = Faults { found: Vec::new(), tries: 0 };
    faults.in_message(kind, &tree, path);
    if !faults.found.is_empty() {
        return Err(faults.found);
    }
    let error = match DynamicMessage::deserialize(kind.clone(), tree.to_value()) {
        Ok(message) => return Ok(message),
        Err(error) => error,
    };
    faults.tries = MAX_TRIES;
    faults.in_message(kind, &tree, path);
    if faults.found.is_empty() {
        faults.found.push(Violation::new(path, cleaned(&error)));
    }
    Err(faults.found)
}

/// Reads one value of a field from JSON, as one in a list where the field is one; what is wrong with it, else.
pub(super) fn value_of(field: &FieldDescriptor, value: Value) -> Result<prost_reflect::Value, String> {
    let kind = field.kind();
    if let Some(what) = value.as_str().and_then(|text| too_fine(&kind, text)) {
        return Err(what.to_owned());
    }
    let said = value.as_str().map(str::to_owned).filter(|_| kind.as_enum().is_some()).unwrap_or_default();
    let value = if field.is_list() { Value::Array(vec![value]) } else { value };
    let object = Value::Object([(field.json_name().to_owned(), value)].into_iter().collect());
    let message = DynamicMessage::deserialize(field.parent_message().clone(), object);
    message.map(|message| message.get_field(field).into_owned()).map_err(|error| match kind.as_enum() {
        Some(values) => no_value_of(values, &said),
        None => expected(&kind).unwrap_or_else(|| format!("cannot be read: {}", cleaned(&error))),
    })
}

/// What is said of a value that an enum does not have. Its first value stands for none, and is no help.
fn no_value_of(values: &EnumDescriptor, said: &str) -> String {
    let names: Vec<_> = values.values().skip(1).map(|value| value.name().to_owned()).collect();
    let prefix = values.values().next().map(|zero| zero.name().trim_end_matches(NONE).to_owned()).unwrap_or_default();
    // Who forgets what they all begin with is understood.
    let said = said.to_ascii_uppercase().replace('-', "_");
    let said = said.strip_prefix(&prefix).unwrap_or(&said);
    let alike = nearest(said, names.iter().map(|name| name.strip_prefix(&prefix).unwrap_or(name)));
    let names = names.join(", ");
    match alike.first() {
        Some(alike) => {
            format!("is no {}; did you mean {prefix}{alike}? It must be one of {names}", values.name())
        }
        None => format!("is no {}; it must be one of {names}", values.name()),
    }
}

/// What is said of a field that cannot be beside another one, of the same oneof.
pub(super) fn excluded(by: &FieldDescriptor) -> String {
    format!("is one of two that exclude each other: {} is there as well", by.json_name())
}

/// The field of a message by either of its names.
pub(super) fn field(kind: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    kind.get_field_by_json_name(name).or_else(|| kind.get_field_by_name(name))
}

/// What is said of a name that a message does not have.
pub(super) fn unknown(kind: &MessageDescriptor, name: &str) -> String {
    let names: Vec<_> = kind.fields().map(|field| field.json_name().to_owned()).collect();
    let alike = nearest(name, names.iter().map(String::as_str));
    let hint = alike.first().map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
    format!("is no field of {}{hint}", kind.name())
}

/// Whether a message has a form of its own in JSON, as a duration has.
pub(in crate::http) fn is_one_value(kind: &MessageDescriptor) -> bool {
    kind.full_name().starts_with("google.protobuf.")
}

/// serde_json says where in the text, which for a value by itself is nowhere.
fn cleaned(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

/// Whether the values of a field have names in them.
fn has_names(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(kind) if !is_one_value(&kind))
}

/// Looks for faults: in names, or, while it may try any, in values.
struct Faults {
    found: Vec<Violation>,
    /// How many values are still tried.
    tries: usize,
}

impl Faults {
    fn add(&mut self, path: &str, what: impl Into<String>) {
        if !self.is_full() {
            self.found.push(Violation::new(path, what));
        }
    }

    /// Whether enough was found: a body full of faults must not cost more than one of a few.
    fn is_full(&self) -> bool {
        self.found.len() >= MAX_FAULTS
    }

    fn in_message(&mut self, kind: &MessageDescriptor, tree: &Tree, path: &str) {
        let Tree::Object(fields) = tree else {
            return self.add(path, "must be an object");
        };
        let (mut seen, mut chosen) = (Vec::new(), Vec::<FieldDescriptor>::new());
        for (name, value) in fields {
            if self.is_full() {
                return;
            }
            let Some(field) = field(kind, name) else {
                self.add(&joined(path, name), unknown(kind, name));
                continue;
            };
            let path = joined(path, field.name());
            if seen.contains(&field.number()) {
                self.add(&path, "is there twice");
            }
            seen.push(field.number());
            if value.is_null() {
                continue;
            }
            self.in_field(&field, value, &path);
            if field.containing_oneof().is_some() {
                let is_other =
                    |other: &&FieldDescriptor| **other != field && other.containing_oneof() == field.containing_oneof();
                if let Some(other) = chosen.iter().find(is_other) {
                    self.add(&path, excluded(other));
                }
                chosen.push(field);
            }
        }
    }

    fn in_field(&mut self, field: &FieldDescriptor, value: &Tree, path: &str) {
        match (value, field.kind()) {
            (Tree::Object(entries), Kind::Message(entry)) if field.is_map() => {
                let mut seen = HashSet::new();
                for (name, value) in entries {
                    if self.is_full() {
                        return;
                    }
                    let path = format!("{path}[{name:?}]");
                    if !seen.insert(name) {
                        self.add(&path, "is there twice");
                    }
                    self.in_item(&entry.map_entry_value_field(), value, &path);
                }
            }
            (_, _) if field.is_map() => self.add(path, "must be an object"),
            (Tree::List(items), _) if field.is_list() => {
                for (at, item) in items.iter().enumerate() {
                    if self.is_full() {
                        return;
                    }
                    if self.tries == 0 && !item.is_null() && !has_names(field) {
                        continue;
                    }
                    self.in_item(field, item, &format!("{path}[{at}]"));
                }
            }
            (_, _) if field.is_list() => self.add(path, "must be a list"),
            _ => self.in_item(field, value, path),
        }
    }

    /// One value, be it a field's or one of many.
    fn in_item(&mut self, field: &FieldDescriptor, value: &Tree, path: &str) {
        if value.is_null() {
            return self.add(path, "must not be null");
        }
        if let Kind::Message(kind) = field.kind()
            && has_names(field)
        {
            return self.in_message(&kind, value, path);
        }
        let Some(left) = self.tries.checked_sub(1) else {
            // The conversion would take it, and drop a part of it.
            if let Tree::Leaf(Value::String(text)) = value
                && let Some(what) = too_fine(&field.kind(), text)
            {
                self.add(path, what);
            }
            return;
        };
        self.tries = left;
        if let Err(what) = value_of(field, value.to_value()) {
            self.add(path, what);
        }
    }
}
