//! Bugs of a store, of a manager or of a client, each put into a history that is correct but for it.

use super::*;

/// Puts a bug into correct histories, and asserts that it is found, by this name.
fn found(name: &str, bug: impl Fn(&mut Told)) {
    for seed in 0..SEEDS {
        let mut told = World::tell(seed);
        bug(&mut told);
        let names = told.names();
        assert!(names.contains(&name), "seed {seed}: {name} was not found, but {names:?}");
    }
}

/// The same, and nothing else is found.
fn found_alone(name: &str, bug: impl Fn(&mut Told)) {
    for seed in 0..SEEDS {
        let mut told = World::tell(seed);
        bug(&mut told);
        assert_eq!(told.names(), [name], "seed {seed}");
    }
}

fn is_acknowledged(operation: &Operation) -> bool {
    operation.is_write() && matches!(operation.outcome, Outcome::Done { .. })
}

fn request_id(operation: &Operation) -> &str {
    match &operation.action {
        Action::Write { request_id, .. } => request_id,
        Action::Read => "",
    }
}

/// The version of a service before one of it.
fn before(told: &Told, service: &str, at: Position) -> Option<Outcome> {
    let index = told.index(service, at).checked_sub(1)?;
    let Change { at, value } = told.witness.changes(service)[index].clone();
    Some(Outcome::Done { at, value: value.unwrap() })
}

#[test]
fn a_stale_read() {
    found_alone("stale read", |told| {
        // A read of what the same manager had acknowledged before it began, by somebody who did not know it yet.
        let (read, old) = (0..told.operations.len())
            .rev()
            .find_map(|index| {
                let read = &told.operations[index];
                let Outcome::Done { at, .. } = read.outcome else { return None };
                let old = before(told, &read.service, at)?;
                let Outcome::Done { at: older, .. } = old else { return None };
                let mut others = told.operations.iter().filter(|other| {
                    other.service == read.service && other.manager == read.manager && other.returned < read.invoked
                });
                let is_acknowledged_there =
                    others.clone().any(|other| is_acknowledged(other) && other.position() == Some(at));
                let is_unknown_to_the_reader =
                    others.all(|other| other.client != read.client || other.position().is_none_or(|at| at <= older));
                let is_wanted = !read.is_write() && is_acknowledged_there && is_unknown_to_the_reader;
                is_wanted.then_some((index, old))
            })
            .unwrap();
        told.operations[read].outcome = old;
    });
}

#[test]
fn a_read_that_goes_back() {
    found_alone("went back", |told| {
        let (read, old) = (0..told.operations.len())
            .rev()
            .find_map(|index| {
                let read = &told.operations[index];
                let Outcome::Done { at, .. } = read.outcome else { return None };
                let knew = told.operations.iter().any(|other| {
                    other.client == read.client
                        && other.service == read.service
                        && other.manager == read.manager
                        && other.returned < read.invoked
                        && other.position() == Some(at)
                });
                (!read.is_write() && knew).then(|| Some((index, before(told, &read.service, at)?)))?
            })
            .unwrap();
        told.operations[read].outcome = old;
    });
}

#[test]
fn an_acknowledged_write_that_is_lost() {
    found("lost write", |told| {
        let lost = told.find(is_acknowledged);
        let Operation { service, outcome: Outcome::Done { at, .. }, .. } = told.operations[lost].clone() else {
            panic!("an acknowledged write")
        };
        told.changes(&service).retain(|change| change.at != at);
    });
}

#[test]
fn a_write_of_another_that_is_lost() {
    found("lost update", |told| {
        // The last change of a service forgets a field of somebody else.
        let last = told.changes("service-0").last_mut().unwrap();
        let value = last.value.as_mut().unwrap();
        let oldest = value.iter().min_by_key(|(_, stamp)| **stamp).map(|(slot, _)| *slot).unwrap();
        value.remove(&oldest);
    });
}

#[test]
fn a_retry_that_is_applied_again() {
    found("applied twice", |told| {
        // Once more, after something else has been written over it.
        let changes = told.changes("service-0");
        let first = changes[changes.len() / 2].clone();
        let mut again = changes.last().unwrap().clone();
        again.at.1 += 1;
        let was = changes[changes.len() / 2 - 1].value.clone().unwrap();
        let stamps = first.value.unwrap();
        again.value.as_mut().unwrap().extend(stamps.iter().filter(|(slot, stamp)| was.get(slot) != Some(stamp)));
        changes.push(again);
    });
}

#[test]
fn a_retry_that_is_applied_again_at_once() {
    found_alone("applied twice", |told| {
        let changes = told.changes("service-0");
        let mut again = changes.last().unwrap().clone();
        again.at.1 += 1;
        changes.push(again);
    });
}

#[test]
fn revisions_that_do_not_respect_real_time() {
    // The first two writes, to two services, of which the one was over before the other began, change places.
    found("out of order", |told| swap(told, 0, 1));
}

/// Lets two acknowledged writes, and the changes that they made, change places.
fn swap(told: &mut Told, first: usize, second: usize) {
    let place = |told: &Told, index: usize| match &told.operations[index] {
        Operation { service, outcome: Outcome::Done { at, .. }, .. } => (service.clone(), *at),
        other => panic!("{other:?} is not acknowledged"),
    };
    let ((one, at_one), (two, at_two)) = (place(told, first), place(told, second));
    let (index_one, index_two) = (told.index(&one, at_one), told.index(&two, at_two));
    told.changes(&one)[index_one].at = at_two;
    told.changes(&two)[index_two].at = at_one;
    for (index, to) in [(first, at_two), (second, at_one)] {
        if let Outcome::Done { at, .. } = &mut told.operations[index].outcome {
            *at = to;
        }
    }
}

#[test]
fn a_change_that_nobody_asked_for() {
    found("unexplained change", |told| {
        let changes = told.changes("service-0");
        let mut change = changes.last().unwrap().clone();
        change.at.1 += 1;
        change.value.as_mut().unwrap().insert(7, u64::MAX);
        changes.push(change);
    });
}

#[test]
fn a_refusal_of_what_was_done() {
    found_alone("refused but applied", |told| {
        let write = told.find(is_acknowledged);
        told.operations[write].outcome = Outcome::Refused;
    });
}

#[test]
fn a_condition_that_was_not_kept() {
    found_alone("broken condition", |told| {
        let write = told.find(|operation| {
            is_acknowledged(operation) && matches!(operation.action, Action::Write { expected: Some(_), .. })
        });
        if let Action::Write { expected: Some(expected), .. } = &mut told.operations[write].action {
            expected.1 -= 1;
        }
    });
}

#[test]
fn an_answer_that_is_not_what_is_there() {
    found_alone("wrong answer", |told| {
        let read = told.find(|operation| matches!(operation.outcome, Outcome::Done { .. }));
        if let Outcome::Done { value, .. } = &mut told.operations[read].outcome {
            value.insert(6, u64::MAX);
        }
    });
    found("wrong answer", |told| {
        // A revision that there never was.
        let read = told.find(|operation| !operation.is_write() && operation.outcome != Outcome::Unknown);
        if let Outcome::Done { at, .. } = &mut told.operations[read].outcome {
            at.1 = u64::MAX;
        }
    });
}

#[test]
fn a_refusal_for_a_revision_that_was_past() {
    found_alone("unfounded refusal", |told| {
        let refused = told.find(|operation| matches!(operation.outcome, Outcome::Mismatch { .. }));
        let service = told.operations[refused].service.clone();
        let first = told.witness.changes(&service)[0].at;
        told.operations[refused].outcome = Outcome::Mismatch { current: first };
    });
}

#[test]
fn a_record_that_is_not_with_its_change() {
    let with_record = |operation: &Operation| is_acknowledged(operation) && !request_id(operation).is_empty();
    found_alone("misplaced record", |told| {
        let write = told.find(with_record);
        let id = request_id(&told.operations[write]).to_owned();
        told.witness.requests.remove(&id);
    });
    found_alone("misplaced record", |told| {
        let write = told.find(with_record);
        let id = request_id(&told.operations[write]).to_owned();
        let records = told.witness.requests.get_mut(&id).unwrap();
        records.push((records[0].0, records[0].1 + 1));
    });
}
