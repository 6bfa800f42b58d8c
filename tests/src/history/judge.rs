//! One walk over what the store held: which write made each change, and whether it did what it was to do, once.

use super::{Action, Change, Operation, Outcome, Position, Stamp, Value, Violation, Witness};
use std::collections::{BTreeMap, BTreeSet};

/// Where each write was applied, by its place among the operations. `None`: it was not, or is a read.
pub(super) type Applied = Vec<Option<Position>>;

/// Finds the write of each change.
pub(super) fn attribute(operations: &[Operation], witness: &Witness, violations: &mut Vec<Violation>) -> Applied {
    let mut owners: BTreeMap<(&str, Stamp), usize> = BTreeMap::new();
    for (index, operation) in operations.iter().enumerate() {
        if let Action::Write { patch, .. } = &operation.action {
            owners.extend(patch.values().map(|stamp| ((&operation.service[..], *stamp), index)));
        }
    }
    let mut applied: Applied = vec![None; operations.len()];
    for (service, changes) in &witness.services {
        let mut before: Option<&Change> = None;
        for change in changes {
            let was = before.and_then(|before| before.value.clone()).unwrap_or_default();
            let is = change.value.clone().unwrap_or_default();
            let made_by: BTreeSet<Option<usize>> =
                new(&was, &is).map(|stamp| owners.get(&(&service[..], stamp)).copied()).collect();
            match (made_by.first(), made_by.len()) {
                // Nothing of it is new: the same write once more.
                (None, _) => violations.push(repeated(service, before, change)),
                (Some(Some(index)), 1) => match applied[*index] {
                    Some(first) => {
                        violations.push(Violation::AppliedTwice { service: service.clone(), first, again: change.at })
                    }
                    None => {
                        applied[*index] = Some(change.at);
                        judge(&operations[*index], before, &was, change, &is, violations);
                    }
                },
                _ => violations.push(Violation::Unexplained { service: service.clone(), at: change.at }),
            }
            before = Some(change);
        }
    }
    applied
}

/// The stamps that are in a field now and were not before.
fn new<'a>(was: &'a Value, is: &'a Value) -> impl Iterator<Item = Stamp> + 'a {
    is.iter().filter(|(slot, stamp)| was.get(slot) != Some(stamp)).map(|(_, stamp)| *stamp)
}

fn repeated(service: &str, before: Option<&Change>, change: &Change) -> Violation {
    match before {
        Some(before) if before.value == change.value => {
            Violation::AppliedTwice { service: service.to_owned(), first: before.at, again: change.at }
        }
        _ => Violation::Unexplained { service: service.to_owned(), at: change.at },
    }
}

/// Whether a write did what it was asked to.
fn judge(
    operation: &Operation,
    before: Option<&Change>,
    was: &Value,
    change: &Change,
    is: &Value,
    violations: &mut Vec<Violation>,
) {
    let Action::Write { patch, expected, .. } = &operation.action else { return };
    let mut should_be = was.clone();
    should_be.extend(patch);
    if should_be != *is {
        let (operation, at, found) = (operation.clone(), change.at, is.clone());
        violations.push(Violation::LostUpdate { operation, at, expected: should_be, found });
    }
    let before = before.map(|before| before.at).unwrap_or_default();
    if expected.is_some_and(|expected| expected != before) {
        violations.push(Violation::BrokenCondition { operation: operation.clone(), before });
    }
    if matches!(operation.outcome, Outcome::Refused | Outcome::Mismatch { .. }) {
        violations.push(Violation::RefusedButApplied { operation: operation.clone(), at: change.at });
    }
}
