//! Changing part of a written policy.
//!
//! Paths are resolved through the contract's descriptor, not through a table of names: a table would be a second model
//! of the contract that could fall behind the first.

use super::faults::Faults;
use crate::policy::{InvalidPolicy, Violation};
use cofferdam_proto::{FILE_DESCRIPTOR_SET, v1};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use prost_types::FieldMask;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Names the field that all faults here are about.
const UPDATE_MASK: &str = "update_mask";
/// The path that stands for all of them.
const ALL: &str = "*";
/// Unknown paths that are answered with a proposal; a mask with more is not worth more.
const MAX_PROPOSALS: usize = 8;
/// More of an unknown path is not repeated to its writer.
const MAX_ECHO_CHARS: usize = 128;

/// Changes a written policy by a patch.
///
/// Without a mask, or with an empty one, every section that the patch sets is replaced as a whole: the level unless it is
/// unspecified, the preset and lists unless they are empty, messages where they are present. With a mask, the fields at
/// its paths are, and those that the patch leaves unset become unset. Paths are of field names as the contract writes
/// them, through messages but not into lists or durations, for example `retry`, `retry.max_attempts` or
/// `circuit_breaker.time_window.length`. Setting one member of a oneof clears the others. `*` alone replaces the whole.
///
/// The result is not checked: that is for [`effective_policy`](super::effective_policy).
///
/// # Errors
///
/// [`InvalidPolicy`] at `update_mask` for each path that does not exist, with the nearest one that does; the policy is as it was.
pub fn apply_update(
    written: &mut v1::IsolationPolicy,
    patch: &v1::IsolationPolicy,
    mask: Option<&FieldMask>,
) -> Result<(), InvalidPolicy> {
    // A path named twice says nothing more.
    let paths: BTreeSet<&str> = mask.iter().flat_map(|mask| &mask.paths).map(String::as_str).collect();
    if paths.is_empty() {
        replace_sections(written, patch);
    } else if !paths.contains(ALL) {
        *written = merge(written, patch, &paths)?;
    } else if paths.len() == 1 {
        written.clone_from(patch);
    } else {
        return Err(fault("must name * alone, or not at all"));
    }
    Ok(())
}

fn fault(description: &str) -> InvalidPolicy {
    InvalidPolicy::from(Violation::invalid(UPDATE_MASK, description))
}

fn replace_sections(written: &mut v1::IsolationPolicy, patch: &v1::IsolationPolicy) {
    let v1::IsolationPolicy {
        level,
        preset,
        timeout,
        circuit_breaker,
        classification,
        retry,
        hedge,
        bulkhead,
        adaptive_limit,
        rate_limit,
        fallback,
        health,
        method_overrides,
        fleet_hint,
    } = patch;
    fn replace<T: Clone>(target: &mut Option<T>, section: &Option<T>) {
        if section.is_some() {
            target.clone_from(section);
        }
    }
    if *level != i32::from(v1::IsolationLevel::Unspecified) {
        written.level = *level;
    }
    if !preset.is_empty() {
        written.preset.clone_from(preset);
    }
    replace(&mut written.timeout, timeout);
    replace(&mut written.circuit_breaker, circuit_breaker);
    replace(&mut written.classification, classification);
    replace(&mut written.retry, retry);
    replace(&mut written.hedge, hedge);
    replace(&mut written.bulkhead, bulkhead);
    replace(&mut written.adaptive_limit, adaptive_limit);
    replace(&mut written.rate_limit, rate_limit);
    replace(&mut written.fallback, fallback);
    replace(&mut written.health, health);
    replace(&mut written.fleet_hint, fleet_hint);
    if !method_overrides.is_empty() {
        written.method_overrides.clone_from(method_overrides);
    }
}

fn merge(
    written: &v1::IsolationPolicy,
    patch: &v1::IsolationPolicy,
    paths: &BTreeSet<&str>,
) -> Result<v1::IsolationPolicy, InvalidPolicy> {
    // The descriptor is part of the program and its tests read it, so neither is ever missing.
    let descriptor = DESCRIPTOR.as_ref().ok_or_else(|| fault("cannot be resolved: the contract has no descriptor"))?;
    let mut faults = Faults::default();
    let mut fields = Vec::new();
    for path in paths {
        match resolve(descriptor, path) {
            Some(steps) => fields.push(steps),
            None if faults.len() < MAX_PROPOSALS => {
                let path: String = path.chars().take(MAX_ECHO_CHARS).collect();
                let nearest = nearest(descriptor, &path);
                faults.invalid(UPDATE_MASK, format_args!("names no field by {path:?}: did you mean {nearest}?"));
            }
            None => break,
        }
    }
    faults.finish()?;

    let nested = |_| fault("cannot be applied to a policy that nests this deep");
    let mut target = DynamicMessage::new(descriptor.clone());
    target.transcode_from(written).map_err(nested)?;
    let mut source = DynamicMessage::new(descriptor.clone());
    source.transcode_from(patch).map_err(nested)?;
    for steps in &fields {
        match get(&source, steps) {
            Some(value) => put(&mut target, steps, value),
            None => clear(&mut target, steps),
        }
    }
    target.transcode_to().map_err(nested)
}

static DESCRIPTOR: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok()?.get_message_by_name("cofferdam.v1.IsolationPolicy")
});

#[cfg(test)]
pub(super) fn descriptor() -> Option<MessageDescriptor> {
    DESCRIPTOR.clone()
}

/// The values of a policy that are set at some paths.
#[cfg(test)]
pub(super) fn values_at(policy: &v1::IsolationPolicy, paths: &[String]) -> std::collections::HashMap<String, Value> {
    let descriptor = descriptor().unwrap();
    let mut message = DynamicMessage::new(descriptor.clone());
    message.transcode_from(policy).unwrap();
    let value = |path: &String| Some((path.clone(), get(&message, &resolve(&descriptor, path)?)?));
    paths.iter().filter_map(value).collect()
}

/// The fields that a path leads through; at least one.
fn resolve(descriptor: &MessageDescriptor, path: &str) -> Option<Vec<FieldDescriptor>> {
    let mut message = Some(descriptor.clone());
    let mut steps = Vec::new();
    for name in path.split('.') {
        let field = message?.get_field_by_name(name)?;
        message = section(&field);
        steps.push(field);
    }
    Some(steps)
}

/// The message that paths lead into: not into an element of a list, nor into a duration, which is one value.
fn section(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && message.package_name() != "google.protobuf" => Some(message),
        _ => None,
    }
}

/// The value at a path, if all of the way is set.
fn get(message: &DynamicMessage, steps: &[FieldDescriptor]) -> Option<Value> {
    let (field, rest) = steps.split_first()?;
    if !message.has_field(field) {
        return None;
    }
    let value = message.get_field(field);
    if rest.is_empty() { Some(value.into_owned()) } else { get(value.as_message()?, rest) }
}

/// Sets the value at a path, and makes the way there.
fn put(message: &mut DynamicMessage, steps: &[FieldDescriptor], value: Value) {
    match steps {
        [] => {}
        [field] => message.set_field(field, value),
        [field, rest @ ..] => {
            if let Some(section) = message.get_field_mut(field).as_message_mut() {
                put(section, rest, value);
            }
        }
    }
}

/// Unsets the value at a path; where the way there is unset, so is the value.
fn clear(message: &mut DynamicMessage, steps: &[FieldDescriptor]) {
    match steps {
        [] => {}
        [field] => message.clear_field(field),
        [field, rest @ ..] if message.has_field(field) => {
            if let Some(section) = message.get_field_mut(field).as_message_mut() {
                clear(section, rest);
            }
        }
        _ => {}
    }
}

/// The path that was most likely meant by a text that is not one.
fn nearest(descriptor: &MessageDescriptor, text: &str) -> String {
    // Who goes on behind a path that ends there means that one.
    let prefixes = text.match_indices('.').map(|(end, _)| &text[..end]);
    let leads_no_further = |steps: Vec<FieldDescriptor>| steps.last().is_some_and(|field| section(field).is_none());
    if let Some(path) = prefixes.into_iter().find(|path| resolve(descriptor, path).is_some_and(leads_no_further)) {
        return path.to_owned();
    }
    // The last name counts for itself, too, so that who leaves out a section is understood.
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |path: &str| {
        strsim::normalized_levenshtein(path, text) + strsim::normalized_levenshtein(&last(path), &last(text))
    };
    let mut paths = Vec::new();
    list(descriptor, "", &mut paths);
    paths.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}

/// All paths. The contract nests messages in themselves in lists only, where no path leads.
pub(super) fn list(descriptor: &MessageDescriptor, prefix: &str, paths: &mut Vec<String>) {
    for field in descriptor.fields() {
        let path = format!("{prefix}{}", field.name());
        if let Some(section) = section(&field) {
            list(&section, &format!("{path}."), paths);
        }
        paths.push(path);
    }
}

#[cfg(test)]
mod tests;
