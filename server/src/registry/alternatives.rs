//! Who stands in for whom: the one rule that spans services.
//!
//! An alternative must be registered, in the same namespace, and following alternatives must never lead back. Both are
//! statements about several keys, which may change under a check. So each namespace has a guard, a key that every
//! change of its alternatives puts, and on whose revision every check of them depends: two changes that would be fine
//! alone and wrong together cannot both be committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map::Entry};

use bytes::Bytes;
use cofferdam_core::{
    name::{Name, ServiceKey},
    policy::{Policy, Violation},
};

use super::{
    Registered, key, nearest,
    record::{Place, alternatives},
    transact::{View, put},
};
use crate::{error::Error, store::Op};

/// How many services may stand in for one. Each is a condition of the transaction that names it, which takes 64.
const MAX_ALTERNATIVES: usize = 48;

/// Checks the alternatives that `service` would have under `policy`, and returns what else to write for them.
///
/// # Errors
/// [`Error::Invalid`] with each alternative that is missing or leads back; `place` says where in the request a path of the
/// policy is.
pub(super) fn check(
    view: &mut View<'_>,
    service: &ServiceKey,
    before: Option<&Registered>,
    policy: &Policy,
    place: impl Fn(&str) -> String,
) -> Result<Option<Op>, Error> {
    let wanted: BTreeSet<&Name> = alternatives(policy).map(|(_, name)| name).collect();
    let known: BTreeSet<&Name> = before.map(|before| before.alternatives().collect()).unwrap_or_default();
    if wanted == known {
        return Ok(None);
    }
    if wanted.len() > MAX_ALTERNATIVES {
        let violation = |(named, _): (Place, _)| {
            let text = format!("names one of {} services: at most {MAX_ALTERNATIVES} may stand in", wanted.len());
            Violation::invalid(place(&named.path()), text)
        };
        return Err(Error::Invalid { violations: alternatives(policy).last().map(violation).into_iter().collect() });
    }
    let others: Vec<_> = view.alternatives(&service.namespace).collect();
    let mut violations = Vec::new();
    for (named, name) in alternatives(policy) {
        let path = place(&named.path());
        let target = ServiceKey { namespace: service.namespace.clone(), name: name.clone() };
        if target != *service && view.service(&target).is_none() {
            violations.push(Violation::invalid(path, missing(&target, &others)));
        } else if let Some(cycle) = way_back(service, name, &others) {
            let way: Vec<_> = cycle.iter().map(Name::as_str).collect();
            violations.push(Violation::invalid(path, format!("must not lead back: {}", way.join(" -> "))));
        }
    }
    if violations.is_empty() { Ok(Some(touch(&service.namespace))) } else { Err(Error::Invalid { violations }) }
}

/// Checks that nobody names a service that is to go, and returns what else to write for it.
///
/// # Errors
/// [`Error::ServiceInUse`] with those who name it.
pub(super) fn release(
    view: &mut View<'_>,
    service: &ServiceKey,
    before: Option<&Registered>,
) -> Result<Option<Op>, Error> {
    let users: Vec<_> = view
        .alternatives(&service.namespace)
        .filter(|other| other.key() != service && other.alternatives().any(|name| *name == service.name))
        .map(|other| other.key().name.to_string())
        .collect();
    if !users.is_empty() {
        return Err(Error::ServiceInUse { key: service.clone(), services: users });
    }
    let had_some = before.is_some_and(|before| before.alternatives().next().is_some());
    Ok(had_some.then(|| touch(&service.namespace)))
}

/// What to write where an alternative changes in a namespace.
pub(super) fn touch(namespace: &Name) -> Op {
    put(key::alternatives(namespace), Bytes::new())
}

fn missing(target: &ServiceKey, others: &[&std::sync::Arc<Registered>]) -> String {
    let names = others.iter().map(|other| other.key().name.as_str());
    let nearest = nearest::nearest(target.name.as_str(), names);
    let hint = if nearest.is_empty() { String::new() } else { format!("; did you mean {}?", nearest.join(" or ")) };
    format!("must be registered in namespace {}, and {} is not{hint}", target.namespace, target.name)
}

/// The way from `service` by its alternative `first` back to itself, if there is one; the shortest.
fn way_back(service: &ServiceKey, first: &Name, others: &[&std::sync::Arc<Registered>]) -> Option<Vec<Name>> {
    // Who was come from, for each name that was come to.
    let mut came_from = BTreeMap::from([(first, &service.name)]);
    let mut ways = VecDeque::from([first]);
    while let Some(last) = ways.pop_front() {
        if *last == service.name {
            break;
        }
        // Sorted by name: the registry's order.
        let Ok(found) = others.binary_search_by(|other| other.key().name.cmp(last)) else {
            continue;
        };
        for next in others[found].alternatives() {
            if let Entry::Vacant(vacant) = came_from.entry(next) {
                vacant.insert(last);
                ways.push_back(next);
            }
        }
    }
    let mut way = vec![service.name.clone()];
    let mut at = *came_from.get(&service.name)?;
    while *at != service.name {
        way.push(at.clone());
        at = came_from.get(at)?;
    }
    way.push(service.name.clone());
    way.reverse();
    Some(way)
}
