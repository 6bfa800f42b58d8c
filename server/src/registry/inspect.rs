//! A store's contents, looked at with the eyes of a manager that would load them.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::storage::v1::RequestRecord;
use prost::Message;

use super::{
    Registered, Revision,
    bulk::BulkPlan,
    changes,
    containment::Recorded,
    epoch,
    key::{self, Key},
    record::{SCHEMA_VERSION, decode_health},
};
use crate::store::Entry;

/// What there is in a store, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The epoch of its revisions. `None`: no manager has used it yet, or its description cannot be read.
    pub epoch: Option<u64>,
    /// The identity of the store that the epoch was made for. Where it is another one's, the next manager begins a new
    /// epoch.
    pub epoch_of: Option<String>,
    /// Services that can be read.
    pub services: usize,
    /// Health reports that can be read.
    pub health_reports: usize,
    /// Changes of services, as their history tells them.
    pub changes: usize,
    /// Services that are not registered any more and whose changes are kept.
    pub unregistered: usize,
    /// The change of many services that is under way, in words. `None`: none is.
    pub bulk: Option<String>,
    /// Results of requests, kept for minutes.
    pub requests: usize,
    /// Managers that are there, or were a moment ago.
    pub managers: usize,
    /// Keys of a later release, which this one leaves alone.
    pub unknown: usize,
    /// Services in which a later release wrote fields that this one keeps and does not enforce.
    pub of_later_release: usize,
    /// What is wrong, by key; empty where nothing is.
    pub problems: Vec<Problem>,
}

/// Something a manager would stumble over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key of the store, without etcd's prefix.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is wrong with a key that is to go by itself and will not.
const STAYS: &str = "it is on no lease and would stay";

/// Looks at all entries of a store: whether each is a key that managers write, decodes, passes the check that guards
/// writes, and agrees with the others.
pub fn inspect(entries: &[Entry]) -> Inspection {
    let mut found = Inspection::default();
    let mut services = BTreeMap::new();
    let mut reported = Vec::new();
    let mut is_unfinished = false;
    for entry in entries {
        let problem = |reason: String| Problem { key: entry.key.clone(), reason };
        let is_kept = entry.lease.is_none();
        match Key::parse(&entry.key) {
            Key::Meta => match epoch::decode(&entry.value) {
                Ok(meta) => {
                    found.epoch = Some(meta.epoch);
                    found.epoch_of = Some(meta.store_identity);
                    is_unfinished = meta.transfer.is_some();
                    found.problems.extend(meta.transfer.map(|_| problem(epoch::EpochError::Unfinished.to_string())));
                }
                Err(error) => found.problems.push(problem(error.to_string())),
            },
            Key::Service(key) => {
                let at = Revision { epoch: 0, revision: entry.mod_revision.get() };
                match Registered::decode(&key, &entry.value, at) {
                    Ok(registered) => {
                        found.of_later_release += usize::from(registered.is_of_later_release());
                        services.insert(key, registered);
                    }
                    Err(unreadable) => found.problems.push(problem(unreadable.to_string())),
                }
            }
            Key::Health(key) => match decode_health(&entry.value) {
                Ok(_) => {
                    found.health_reports += 1;
                    reported.push(key);
                }
                Err(unreadable) => found.problems.push(problem(unreadable.to_string())),
            },
            Key::Containment(key) => {
                if let Err(unreadable) = Recorded::decode(&key, &entry.value) {
                    found.problems.push(problem(unreadable.to_string()));
                }
            }
            Key::Alternatives(_) => {}
            Key::Request => {
                found.requests += 1;
                match RequestRecord::decode(entry.value.clone()) {
                    Ok(record) if record.schema_version == SCHEMA_VERSION && !is_kept => {}
                    Ok(_) if is_kept => found.problems.push(problem(STAYS.to_owned())),
                    Ok(record) => {
                        found.problems.push(problem(format!("it has schema version {}", record.schema_version)))
                    }
                    Err(error) => found.problems.push(problem(error.to_string())),
                }
            }
            Key::Change(_) => match changes::Kept::decode(entry, 0) {
                Ok(_) => found.changes += 1,
                Err(unreadable) => found.problems.push(problem(unreadable.to_string())),
            },
            Key::Unregistered(_) => match changes::Unregistered::decode(&entry.value) {
                Ok(_) => found.unregistered += 1,
                Err(unreadable) => found.problems.push(problem(unreadable.to_string())),
            },
            Key::Bulk => match BulkPlan::decode(&entry.value, Revision::default()) {
                Ok(plan) => found.bulk = (!plan.change.finished).then(|| plan.in_words()),
                Err(unreadable) => found.problems.push(problem(unreadable.to_string())),
            },
            Key::Mark => {}
            Key::Malformed => found.problems.push(problem("no manager writes such a key".to_owned())),
            Key::Unknown if entry.key.starts_with(key::PEERS) => {
                found.managers += 1;
                found.problems.extend(is_kept.then(|| problem(STAYS.to_owned())));
            }
            Key::Unknown => found.unknown += 1,
        }
    }
    found.services = services.len();
    if found.epoch.is_none() && !entries.is_empty() && !found.problems.iter().any(|problem| problem.key == key::META) {
        let reason = "it is missing, and there are other keys".to_owned();
        found.problems.push(Problem { key: key::META.to_owned(), reason });
    }
    let is_there: BTreeSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    // Of a store that is being filled, what belongs together may not all be there yet.
    for key in reported.iter().filter(|_| !is_unfinished).filter(|key| !is_there.contains(key::service(key).as_str())) {
        found.problems.push(Problem { key: key::health(key), reason: format!("{key} is not registered") });
    }
    if !is_unfinished {
        found.problems.extend(alternatives(&services));
    }
    found.problems.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// Alternatives that are not there, or lead back.
fn alternatives(services: &BTreeMap<ServiceKey, Registered>) -> Vec<Problem> {
    let of = |namespace: &Name, name: &Name| ServiceKey { namespace: namespace.clone(), name: name.clone() };
    let mut problems = Vec::new();
    for (key, registered) in services {
        let mut problem = |reason| problems.push(Problem { key: key::service(key), reason });
        let mut ways: Vec<ServiceKey> = registered.alternatives().map(|name| of(&key.namespace, name)).collect();
        for alternative in ways.iter().filter(|alternative| !services.contains_key(alternative)) {
            problem(format!("its alternative {alternative} is not there, or cannot be read"));
        }
        let mut been = BTreeSet::new();
        while let Some(next) = ways.pop() {
            if next == *key {
                problem("its alternatives lead back to it".to_owned());
                break;
            }
            if let Some(registered) = services.get(&next)
                && been.insert(next.clone())
            {
                ways.extend(registered.alternatives().map(|name| of(&key.namespace, name)));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests;
