//! What the cases must cover as a whole.

use super::policy;
use super::suite::{Suite, case};
use cofferdam_core::stats::Counter;
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;
use std::collections::BTreeSet;

/// There were more when this was written; fewer is a mistake.
const LEAST_CASES: usize = 1_000;

/// The known bugs, `T1` to `T44`, that no case can cover: they are about threads, locks and listeners (14, 15, 17), and about
/// many services or instances (25, 26, 42).
const NOT_COVERED: &[u32] = &[14, 15, 17, 25, 26, 42];

/// Checks names, count, the fields of a policy, the counters and the known bugs.
pub(crate) fn check(suites: &[Suite]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut written = BTreeSet::new();
    let mut covered = BTreeSet::new();
    let mut counted = BTreeSet::new();
    for suite in suites {
        let file = suite.file()?;
        if file.subject != suite.name {
            return Err(format!("{}: its subject is {:?}", suite.name, file.subject));
        }
        if file.description.is_empty() {
            return Err(format!("{}: is not described", suite.name));
        }
        for json in &file.cases {
            let case = case(json).map_err(|error| format!("{} {}: {error}", suite.name, json["name"]))?;
            if !names.insert(format!("{} {}", suite.name, case.name)) {
                return Err(format!("{}: two cases are called {}", suite.name, case.name));
            }
            covered.extend(case.covered);
            let counters = case.steps.iter().filter_map(|step| step.expect.get("counters")?.as_object());
            counted.extend(counters.flat_map(|counters| counters.keys().cloned()));
        }
        collect(&suite.json, &mut written);
    }
    if names.len() < LEAST_CASES {
        return Err(format!("{} cases, fewer than {LEAST_CASES}", names.len()));
    }
    let mut fields = BTreeSet::new();
    list(&policy::descriptor(), "", &mut fields);
    all("fields of a policy", fields, &written)?;
    all("counters", Counter::ALL.into_iter().map(|counter| counter.name().to_owned()), &counted)?;
    let bugs = (1..=44).filter(|number| !NOT_COVERED.contains(number)).map(|number| format!("T{number}"));
    all("known bugs", bugs, &covered)
}

/// Checks that all of `whole` are there.
fn all(what: &str, whole: impl IntoIterator<Item = String>, there: &BTreeSet<String>) -> Result<(), String> {
    let missing: Vec<String> = whole.into_iter().filter(|one| !there.contains(one)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("{what} in no case: {missing:?}")) }
}

/// The paths of a policy's fields, without the numbers of list items.
fn list(message: &MessageDescriptor, prefix: &str, paths: &mut BTreeSet<String>) {
    for field in message.fields() {
        let path = format!("{prefix}{}", field.json_name());
        match field.kind() {
            Kind::Message(inner) if inner.package_name() != "google.protobuf" && inner != *message => {
                list_once(&inner, &path, paths);
            }
            _ => {
                paths.insert(path);
            }
        }
    }
}

/// A method override holds a policy in turn: its sections are those of the whole.
fn list_once(message: &MessageDescriptor, path: &str, paths: &mut BTreeSet<String>) {
    if path.ends_with("methodOverrides.policy") {
        paths.insert(path.to_owned());
    } else {
        list(message, &format!("{path}."), paths);
    }
}

/// The paths that the policies of a file write.
fn collect(json: &Value, written: &mut BTreeSet<String>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "policy" => paths(value, "", written),
                    "services" => value.as_object().iter().for_each(|services| {
                        services.values().for_each(|policy| paths(policy, "", written));
                    }),
                    _ => collect(value, written),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, written)),
        _ => {}
    }
}

fn paths(value: &Value, prefix: &str, written: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                written.insert(path.clone());
                paths(value, &path, written);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, prefix, written)),
        _ => {}
    }
}
