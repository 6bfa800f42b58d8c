//! The messages that operations name, and all that they are made of.

use std::collections::BTreeMap;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{super::seed_fallback::STRATEGIES, comments::Comments};

/// The package whose names need no more than themselves.
const PACKAGE: &str = "cofferdam.v1.";

/// What may be said in other words.
const FALLBACK: &str = "cofferdam.v1.FallbackConfig";

/// What was named, and what of it is still to be described.
#[derive(Debug)]
pub(super) struct Schemas<'a> {
    comments: &'a Comments,
    described: BTreeMap<String, Value>,
    waiting: Vec<MessageDescriptor>,
}

impl<'a> Schemas<'a> {
    pub(super) fn new(comments: &'a Comments) -> Self {
        Self { comments, described: BTreeMap::new(), waiting: Vec::new() }
    }

    /// A reference to a message, which will be described.
    pub(super) fn refer(&mut self, message: &MessageDescriptor) -> Value {
        if let Some(schema) = well_known(message) {
            return schema;
        }
        let name = name(message.full_name());
        if !self.described.contains_key(&name) {
            self.described.insert(name.clone(), Value::Null);
            self.waiting.push(message.clone());
        }
        reference(&name)
    }

    /// The schema of a field.
    pub(super) fn of_field(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let values = self.of_kind(&entry.map_entry_value_field().kind());
                json!({"type": "object", "additionalProperties": values})
            }
            kind if field.is_list() => json!({"type": "array", "items": self.of_kind(&kind)}),
            kind => self.of_kind(&kind),
        }
    }

    /// All of them, by their names.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        while let Some(message) = self.waiting.pop() {
            let own = name(message.full_name());
            let (mut properties, mut others) = (Map::new(), Map::new());
            for field in message.fields() {
                let mut schema = self.of_field(&field);
                schema["description"] = self.comments.of_field(&field).into();
                if field.name() != field.json_name() {
                    let same = format!("#/components/schemas/{own}/properties/{}", field.json_name());
                    others.insert(format!("^{}$", field.name()), json!({"$ref": same}));
                }
                properties.insert(field.json_name().to_owned(), schema);
            }
            if message.full_name() == FALLBACK {
                of_seeds(&mut properties);
            }
            let mut schema = json!({
                "type": "object",
                "description": self.comments.of_message(&message),
                "properties": properties,
                "additionalProperties": false,
            });
            // Taken in bodies as well; answers do not have them.
            if !others.is_empty() {
                schema["patternProperties"] = others.into();
            }
            self.described.insert(own, schema);
        }
        self.described.into_iter().collect()
    }

    fn of_kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.refer(message),
            Kind::Enum(kind) => self.refer_to_enum(kind),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "format": "uint32", "minimum": 0}),
            // Text in answers, as JSON's numbers have 53 bits; a number is understood as well.
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"type": ["string", "integer"], "format": "int64"}),
            Kind::Uint64 | Kind::Fixed64 => json!({"type": ["string", "integer"], "format": "uint64"}),
        }
    }

    fn refer_to_enum(&mut self, kind: &EnumDescriptor) -> Value {
        let name = name(kind.full_name());
        let describe = || {
            let values: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
            json!({"type": "string", "description": self.comments.of_enum(kind), "enum": values})
        };
        self.described.entry(name.clone()).or_insert_with(describe);
        reference(&name)
    }
}

/// What a fallback configuration may say in the words of isolation managers in Go.
fn of_seeds(properties: &mut Map<String, Value>) {
    for name in ["retryDelay", "timeout"] {
        if let Some(schema) = properties.get_mut(name).and_then(Value::as_object_mut) {
            let description = schema.remove("description");
            let text = Value::Object(std::mem::take(schema));
            let nanoseconds = json!({"type": "integer", "minimum": 0, "description": "Nanoseconds."});
            schema.insert("oneOf".to_owned(), json!([text, nanoseconds]));
            schema.extend(description.map(|text| ("description".to_owned(), text)));
        }
    }
    let strategy = "In the place of chain: its one step, with what is in fallback_data.";
    properties.insert("strategy".to_owned(), json!({"enum": STRATEGIES, "description": strategy}));
    let data = "Of static, the answer; of alternative, alternative_service and alternative_method; of degraded, \
                degraded_features.";
    properties.insert("fallback_data".to_owned(), json!({"type": "object", "description": data}));
}

/// Messages that are one value in JSON.
fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name() {
        "google.protobuf.Duration" => json!({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}),
        "google.protobuf.Timestamp" => json!({"type": "string", "format": "date-time"}),
        "google.protobuf.FieldMask" => json!({"type": "string"}),
        "google.protobuf.Struct" => json!({"type": "object"}),
        name if name.starts_with("google.protobuf.") => json!({}),
        _ => return None,
    })
}

fn name(full_name: &str) -> String {
    full_name.strip_prefix(PACKAGE).unwrap_or(full_name).to_owned()
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}
