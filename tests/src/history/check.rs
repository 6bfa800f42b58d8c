//! Each answer beside the witness, and beside the answers that were over before it began.

use super::judge::{Applied, attribute};
use super::{Action, Moment, Operation, Outcome, Position, Violation, Witness};
use std::collections::BTreeMap;

/// What a history was made of: a test that is about faults asserts that they are in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes of which the caller never heard, and that were done.
    pub unknown_applied: usize,
    /// Writes of which the caller never heard, and that were not.
    pub unknown_not_applied: usize,
    /// Writes refused for the revision that they expected.
    pub mismatches: usize,
    /// Writes refused for another reason.
    pub refused: usize,
    /// Reads that were answered.
    pub reads: usize,
}

/// Whether a correct system could have answered all this, and then have held what the witness says.
///
/// # Errors
///
/// All that it could not have.
pub fn check(operations: &[Operation], witness: &Witness) -> Result<Tally, Vec<Violation>> {
    let mut violations = Vec::new();
    let applied = attribute(operations, witness, &mut violations);
    for (operation, applied) in operations.iter().zip(&applied) {
        violations.extend(check_answer(operation, *applied, witness));
        violations.extend(check_record(operation, *applied, witness));
    }
    violations.extend(check_order(operations, &applied));
    violations.extend(check_floors(operations));
    if violations.is_empty() { Ok(tally(operations, &applied)) } else { Err(violations) }
}

/// What was answered, beside what the store held there.
fn check_answer(operation: &Operation, applied: Option<Position>, witness: &Witness) -> Option<Violation> {
    let is_there = |at| witness.at(&operation.service, at);
    let broken = match &operation.outcome {
        Outcome::Done { at, value } => match is_there(*at) {
            None if operation.is_write() => Violation::LostWrite { operation: operation.clone() },
            Some(change) if change.value.as_ref() == Some(value) && (!operation.is_write() || applied == Some(*at)) => {
                return None;
            }
            found => {
                let found = found.and_then(|change| change.value.clone());
                Violation::WrongAnswer { operation: operation.clone(), found }
            }
        },
        Outcome::Mismatch { current } => {
            let Action::Write { expected, .. } = &operation.action else { return None };
            if is_there(*current).is_some() && *expected != Some(*current) {
                return None;
            }
            Violation::UnfoundedRefusal { operation: operation.clone() }
        }
        Outcome::Refused | Outcome::Unknown => return None,
    };
    Some(broken)
}

/// The record of a request is made in the transaction of the change, and never again.
fn check_record(operation: &Operation, applied: Option<Position>, witness: &Witness) -> Option<Violation> {
    let Action::Write { request_id, .. } = &operation.action else { return None };
    if request_id.is_empty() {
        return None;
    }
    let records = witness.requests.get(request_id).cloned().unwrap_or_default();
    let is_right = records.iter().copied().eq(applied);
    (!is_right).then(|| Violation::MisplacedRecord { request_id: request_id.clone(), records, applied })
}

/// What was over before something began has no later revision than that.
fn check_order(operations: &[Operation], applied: &Applied) -> Vec<Violation> {
    // By position; at the same one the write comes before those who saw it.
    let mut placed: Vec<(Position, bool, &Operation)> = Vec::new();
    for (operation, applied) in operations.iter().zip(applied) {
        let at = match operation.outcome {
            Outcome::Mismatch { current } => Some(current),
            _ => applied.or(operation.position()),
        };
        placed.extend(at.map(|at| (at, applied.is_none(), operation)));
    }
    placed.sort_by_key(|(at, is_seen, _)| (*at, *is_seen));
    let mut violations = Vec::new();
    let mut last_begun: Option<&Operation> = None;
    for (_, is_seen, operation) in placed {
        // What was given up may be done later still.
        let is_over = operation.outcome != Outcome::Unknown;
        if let Some(later) = last_begun.filter(|begun| is_over && operation.returned < begun.invoked) {
            let (earlier, later) = (Box::new(operation.clone()), Box::new(later.clone()));
            violations.push(Violation::OutOfOrder { earlier, later });
        }
        if !is_seen && last_begun.is_none_or(|begun| begun.invoked < operation.invoked) {
            last_begun = Some(operation);
        }
    }
    violations
}

/// What was known when something began, at the least.
fn check_floors(operations: &[Operation]) -> Vec<Violation> {
    let mut timeline: Vec<(Moment, bool, &Operation)> = Vec::new();
    for operation in operations {
        timeline.extend([(operation.invoked, true, operation), (operation.returned, false, operation)]);
    }
    timeline.sort_by_key(|(moment, is_begin, _)| (*moment, *is_begin));
    let mut acknowledged: BTreeMap<&str, Position> = BTreeMap::new();
    let mut by_manager: BTreeMap<(&str, usize), Position> = BTreeMap::new();
    let mut by_client: BTreeMap<(&str, usize, usize), Position> = BTreeMap::new();
    let mut violations = Vec::new();
    for (_, is_begin, operation) in timeline {
        let Operation { client, manager, ref service, .. } = *operation;
        let (service, known_to) = (&service[..], (&service[..], client, manager));
        if is_begin {
            let floor = |known: Option<&Position>| known.copied().unwrap_or_default();
            violations.extend(match (&operation.outcome, operation.is_write()) {
                (Outcome::Done { at, .. }, false) => {
                    let (shown, known) = (floor(by_manager.get(&(service, manager))), floor(by_client.get(&known_to)));
                    if *at < known {
                        Some(Violation::WentBack { operation: operation.clone(), known })
                    } else {
                        (*at < shown).then(|| Violation::StaleRead { operation: operation.clone(), floor: shown })
                    }
                }
                (Outcome::Mismatch { current }, true) if *current < floor(acknowledged.get(service)) => {
                    Some(Violation::UnfoundedRefusal { operation: operation.clone() })
                }
                _ => None,
            });
        } else if let Some(at) = operation.position() {
            raise(by_client.entry(known_to).or_default(), at);
            if operation.is_write() {
                raise(acknowledged.entry(service).or_default(), at);
                raise(by_manager.entry((service, manager)).or_default(), at);
            }
        }
    }
    violations
}

fn raise(floor: &mut Position, at: Position) {
    *floor = (*floor).max(at);
}

fn tally(operations: &[Operation], applied: &Applied) -> Tally {
    let mut tally = Tally::default();
    for (operation, applied) in operations.iter().zip(applied) {
        let count = match (&operation.outcome, operation.is_write()) {
            (Outcome::Done { .. }, true) => &mut tally.acknowledged,
            (Outcome::Done { .. }, false) => &mut tally.reads,
            (Outcome::Mismatch { .. }, _) => &mut tally.mismatches,
            (Outcome::Unknown, true) if applied.is_some() => &mut tally.unknown_applied,
            (Outcome::Unknown, true) => &mut tally.unknown_not_applied,
            (Outcome::Refused, true) => &mut tally.refused,
            (Outcome::Refused | Outcome::Unknown, false) => continue,
        };
        *count += 1;
    }
    tally
}
