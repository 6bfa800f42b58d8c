//! Fields of a later release, kept when this one changes a value.
//!
//! Releases may differ by fields without the schema's version being another: an older manager serves beside a newer one
//! while they are upgraded, or after the upgrade is taken back. Generated types drop what they do not know, so a value
//! that is read, changed and written would lose it. Here it is put back where it was. A message that is still there keeps
//! its unknown fields, whatever else of it was changed; an element of a list keeps them where it is as it was, for
//! elements have no names and another one may have taken its place.

use std::{collections::HashMap, sync::LazyLock};

use bytes::Bytes;
use cofferdam_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ReflectMessage as _, Value};

/// A message that is kept in the store and changed there.
pub(super) trait Stored: Message {
    /// Its full name in the contract.
    const NAME: &'static str;
}

impl Stored for cofferdam_proto::storage::v1::StoreMeta {
    const NAME: &'static str = "cofferdam.storage.v1.StoreMeta";
}

impl Stored for cofferdam_proto::storage::v1::ServiceRecord {
    const NAME: &'static str = "cofferdam.storage.v1.ServiceRecord";
}

/// Whether `value`, which was decoded as `known`, holds more than that.
pub(super) fn is_in(value: &[u8], known: &impl Stored) -> bool {
    // Encodings are as short as they can be; what is longer says more.
    value.len() > known.encoded_len()
}

/// The encoding of `after`, with what `before`, a message of the same kind, has beyond this release's knowledge.
pub(super) fn carry_over<M: Stored>(before: Option<&[u8]>, after: &M) -> Bytes {
    let plain = after.encode_to_vec();
    before.and_then(|before| merged(M::NAME, before, &plain)).unwrap_or_else(|| plain.into())
}

/// `None` where there is nothing to carry over.
fn merged(name: &str, before: &[u8], after: &[u8]) -> Option<Bytes> {
    let descriptor = DESCRIPTORS.as_ref()?.get_message_by_name(name)?;
    let before = DynamicMessage::decode(descriptor.clone(), before).ok()?;
    let mut after = DynamicMessage::decode(descriptor, after).ok()?;
    carry(&before, &mut after).then(|| after.encode_to_vec().into())
}

pub(super) static DESCRIPTORS: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok());

/// Whether there was anything to carry.
fn carry(before: &DynamicMessage, after: &mut DynamicMessage) -> bool {
    let mut carried = false;
    for (field, after) in after.fields_mut() {
        match (before.get_field(&field).as_ref(), after) {
            (Value::Message(before), Value::Message(after)) => carried |= carry(before, after),
            (Value::List(before), Value::List(after)) => carried |= carry_list(before, after),
            (Value::Map(before), Value::Map(after)) => carried |= carry_map(before, after),
            _ => {}
        }
    }
    if before.unknown_fields().next().is_some() {
        let mut unknown = before.clone();
        unknown.take_fields().for_each(drop);
        carried |= after.merge(unknown.encode_to_vec().as_slice()).is_ok();
    }
    carried
}

fn carry_list(before: &[Value], after: &mut [Value]) -> bool {
    let mut carried = false;
    for element in after {
        let Value::Message(after) = element else { return false };
        let is_same = |before: &&DynamicMessage| known(before).is_some_and(|known| known == *after);
        if let Some(before) = before.iter().filter_map(Value::as_message).find(is_same) {
            carried |= carry(before, after);
        }
    }
    carried
}

fn carry_map(before: &HashMap<MapKey, Value>, after: &mut HashMap<MapKey, Value>) -> bool {
    let mut carried = false;
    for (key, value) in after {
        if let (Some(Value::Message(before)), Value::Message(after)) = (before.get(key), value) {
            carried |= carry(before, after);
        }
    }
    carried
}

/// A message less what this release does not know.
fn known(message: &DynamicMessage) -> Option<DynamicMessage> {
    let mut known = message.clone();
    strip(&mut known);
    // What was taken leaves a place behind, by which the message would differ from one that never had any.
    DynamicMessage::decode(message.descriptor(), known.encode_to_vec().as_slice()).ok()
}

fn strip(message: &mut DynamicMessage) {
    message.take_unknown_fields().for_each(drop);
    for (_, value) in message.fields_mut() {
        match value {
            Value::Message(inner) => strip(inner),
            Value::List(list) => list.iter_mut().filter_map(Value::as_message_mut).for_each(strip),
            Value::Map(map) => map.values_mut().filter_map(Value::as_message_mut).for_each(strip),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
