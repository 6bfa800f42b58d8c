//! No field of the contract is ignored: set alone, each one changes the effective policy or is refused by its name.

use crate::policy::{InvalidPolicy, Policy};
use crate::wire::effective_policy;
use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// Fields that mean nothing until another one switches them on, and that the contract gives no range either; in a policy
/// and in the policy of an override.
const MEANINGLESS_ALONE: [&str; 1] = ["rate_limit.burst"];

/// A message that is one value: a duration or a time.
fn is_leaf(message: &MessageDescriptor) -> bool {
    matches!(message.full_name(), "google.protobuf.Duration" | "google.protobuf.Timestamp")
}

/// Values of which one at least is no default, and one at least is refused where the field has a range.
fn candidates(kind: &Kind) -> Vec<Value> {
    match kind {
        Kind::Double => vec![Value::F64(0.75), Value::F64(-1.0)],
        Kind::Uint32 => vec![Value::U32(4), Value::U32(u32::MAX)],
        Kind::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Kind::String => vec![Value::String("unusual".to_owned()), Value::String("\u{7}".to_owned())],
        Kind::Bytes => vec![Value::Bytes(bytes::Bytes::from_static(b"unusual"))],
        Kind::Enum(_) => vec![Value::EnumNumber(3), Value::EnumNumber(99)],
        Kind::Message(message) if is_leaf(message) => [4, -1]
            .map(|seconds| {
                let mut value = DynamicMessage::new(message.clone());
                value.set_field_by_name("seconds", Value::I64(seconds));
                Value::Message(value)
            })
            .to_vec(),
        other => panic!("the contract has no {other:?}: say here what an unusual one is"),
    }
}

/// A field, a message with all around it set but not the field itself, and the message with several values of it.
struct Setting {
    path: String,
    without: DynamicMessage,
    with: Vec<DynamicMessage>,
}

/// Each field below a message. What is nested in itself is looked into twice: an override has a policy again.
fn settings(message: &MessageDescriptor, above: &[&str]) -> Vec<Setting> {
    message.fields().flat_map(|field| settings_of(message, &field, above)).collect()
}

/// A message without the field in question.
fn around(message: &MessageDescriptor) -> DynamicMessage {
    let mut around = DynamicMessage::new(message.clone());
    // Without its name, it would be refused whatever else it holds.
    match message.name() {
        "BulkheadPool" => around.set_field_by_name("name", Value::String("pool".to_owned())),
        "MethodOverride" => around.set_field_by_name("glob", Value::String("*".to_owned())),
        _ => {}
    }
    around
}

fn settings_of(message: &MessageDescriptor, field: &FieldDescriptor, above: &[&str]) -> Vec<Setting> {
    let list = |value| {
        if field.is_list() { Value::List(vec![value]) } else { value }
    };
    let holding = |value| {
        let mut holder = around(message);
        holder.set_field(field, list(value));
        holder
    };
    match field.kind() {
        Kind::Message(inner) if !is_leaf(&inner) => {
            if above.iter().filter(|name| **name == inner.full_name()).count() > 1 {
                return Vec::new();
            }
            let index = if field.is_list() { "[0]" } else { "" };
            let above = [above, &[message.full_name()]].concat();
            let hold = |inner: DynamicMessage| holding(Value::Message(inner));
            let nested = settings(&inner, &above).into_iter().map(|setting| Setting {
                path: format!("{}{index}.{}", field.name(), setting.path),
                without: hold(setting.without),
                with: setting.with.into_iter().map(hold).collect(),
            });
            nested.collect()
        }
        kind => vec![Setting {
            path: field.name().to_owned(),
            without: around(message),
            with: candidates(&kind).into_iter().map(holding).collect(),
        }],
    }
}

fn effective(message: &DynamicMessage) -> Result<Policy, InvalidPolicy> {
    effective_policy(&message.transcode_to::<v1::IsolationPolicy>().unwrap())
}

impl Setting {
    fn matters(&self) -> bool {
        let without = effective(&self.without);
        let refused_as_a_whole = without
            .as_ref()
            .is_err_and(|invalid| invalid.violations().iter().any(|violation| self.path.starts_with(&violation.path)));
        refused_as_a_whole || self.with.iter().any(|with| effective(with) != without)
    }
}

#[test]
fn every_field_is_enforced_or_refused() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let message = pool.get_message_by_name("cofferdam.v1.IsolationPolicy").unwrap();
    let settings = settings(&message, &[]);
    assert!(settings.len() > 160, "{}", settings.len());
    let ignored: Vec<&str> =
        settings.iter().filter(|setting| !setting.matters()).map(|setting| setting.path.as_str()).collect();
    let in_override = MEANINGLESS_ALONE.map(|path| format!("method_overrides[0].policy.{path}"));
    let expected: Vec<&str> = MEANINGLESS_ALONE.into_iter().chain(in_override.iter().map(String::as_str)).collect();
    assert_eq!(ignored, expected);
}
