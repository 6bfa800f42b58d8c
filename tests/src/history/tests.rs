//! The check itself: it finds nothing in histories that a correct store could have told, and finds each bug that is put
//! into one, by its name.

use super::{
    Action, Change, LogEntry, Operation, Outcome, Position, Recorder, Sighting, Tally, Value, Violation, WatchBreach,
    Witness, check, check_follower, check_watch,
};
use crate::numbers::Numbers;
use bytes::Bytes;
use std::collections::BTreeMap;

mod bugs;

const CLIENTS: usize = 6;
const MANAGERS: usize = 2;
const SERVICES: u64 = 3;
const STEPS: usize = 2_000;
const SEEDS: u64 = 8;

/// What everybody did and was told, and what the store says of it.
#[derive(Clone)]
struct Told {
    operations: Vec<Operation>,
    witness: Witness,
}

impl Told {
    fn names(&self) -> Vec<&'static str> {
        let violations = check(&self.operations, &self.witness).err().unwrap_or_default();
        violations.iter().map(Violation::name).collect()
    }

    /// The newest write, or read, that is as wanted.
    fn find(&self, wanted: impl Fn(&Operation) -> bool) -> usize {
        self.operations.iter().rposition(wanted).expect("a long history has one of each kind")
    }

    fn changes(&mut self, service: &str) -> &mut Vec<Change> {
        self.witness.services.get_mut(service).expect("a service that was written")
    }

    /// Where a change of a service stands among those of it.
    fn index(&self, service: &str, at: Position) -> usize {
        self.witness.changes(service).iter().position(|change| change.at == at).expect("a revision of the service")
    }
}

/// A correct store with clients whose calls overlap.
struct World {
    numbers: Numbers,
    recorder: Recorder,
    witness: Witness,
    revision: u64,
    now: BTreeMap<String, (Position, Value)>,
}

impl World {
    fn tell(seed: u64) -> Told {
        let (numbers, recorder) = (Numbers::of(seed), Recorder::default());
        let mut world = Self { numbers, recorder, witness: Witness::default(), revision: 0, now: BTreeMap::new() };
        for service in 0..SERVICES {
            let (at, value) = (world.next(), Value::new());
            world.now.insert(format!("service-{service}"), (at, value.clone()));
            let operation = Operation {
                client: 0,
                manager: 0,
                service: format!("service-{service}"),
                invoked: world.recorder.now(),
                returned: world.recorder.now(),
                action: Action::Write { patch: Value::new(), expected: None, request_id: String::new() },
                outcome: Outcome::Unknown,
            };
            world.write(operation, (0, world.recorder.stamp()));
        }
        let mut clients: Vec<Option<(Operation, bool)>> = vec![None; CLIENTS];
        for _ in 0..STEPS {
            let client = usize::try_from(world.numbers.below(CLIENTS as u64)).unwrap();
            clients[client] = match clients[client].take() {
                None => Some((world.begin(client), false)),
                Some((operation, false)) => Some((world.take_effect(operation), true)),
                Some((operation, true)) => {
                    world.recorder.record(Operation { returned: world.recorder.now(), ..operation });
                    None
                }
            };
        }
        for (operation, _) in clients.into_iter().flatten() {
            world.recorder.record(Operation { returned: world.recorder.now(), outcome: Outcome::Unknown, ..operation });
        }
        Told { operations: world.recorder.operations(), witness: world.witness }
    }

    fn next(&mut self) -> Position {
        self.revision += 1 + self.numbers.below(3);
        (7, self.revision)
    }

    fn begin(&mut self, client: usize) -> Operation {
        let service = format!("service-{}", self.numbers.below(SERVICES));
        let action = if self.numbers.below(2) == 0 {
            Action::Read
        } else {
            let stamp = self.recorder.stamp();
            let expected = (self.numbers.below(3) == 0).then(|| self.now[&service].0);
            let patch = Value::from([(u8::try_from(client).unwrap(), stamp)]);
            let request_id = if self.numbers.below(4) == 0 { String::new() } else { format!("request-{stamp}") };
            Action::Write { patch, expected, request_id }
        };
        let manager = usize::try_from(self.numbers.below(MANAGERS as u64)).unwrap();
        let (invoked, outcome) = (self.recorder.now(), Outcome::Unknown);
        Operation { client, manager, service, invoked, returned: invoked, action, outcome }
    }

    fn take_effect(&mut self, operation: Operation) -> Operation {
        let (at, value) = self.now[&operation.service].clone();
        let outcome = match &operation.action {
            Action::Read => Outcome::Done { at, value },
            Action::Write { expected: Some(expected), .. } if *expected != at => Outcome::Mismatch { current: at },
            Action::Write { patch, request_id, .. } => match self.numbers.below(16) {
                0 => Outcome::Unknown,
                1 => Outcome::Refused,
                luck => {
                    let (at, mut value) = (self.next(), value);
                    value.extend(patch);
                    self.now.insert(operation.service.clone(), (at, value.clone()));
                    self.witness.add_change(&operation.service, Change { at, value: Some(value.clone()) });
                    if !request_id.is_empty() {
                        self.witness.requests.entry(request_id.clone()).or_default().push(at);
                    }
                    if luck == 2 { Outcome::Unknown } else { Outcome::Done { at, value } }
                }
            },
        };
        Operation { outcome, ..operation }
    }

    /// A write that is over at once.
    fn write(&mut self, operation: Operation, (slot, stamp): (u8, u64)) {
        let patch = Value::from([(slot, stamp)]);
        let at = self.next();
        self.now.insert(operation.service.clone(), (at, patch.clone()));
        self.witness.add_change(&operation.service, Change { at, value: Some(patch.clone()) });
        let action = Action::Write { patch: patch.clone(), expected: None, request_id: String::new() };
        self.recorder.record(Operation { action, outcome: Outcome::Done { at, value: patch }, ..operation });
    }
}

#[test]
fn a_correct_history_passes_and_has_something_of_everything() {
    for seed in 0..SEEDS {
        let told = World::tell(seed);
        let tally = check(&told.operations, &told.witness).unwrap_or_else(|found| panic!("seed {seed}: {found:?}"));
        let Tally { acknowledged, unknown_applied, unknown_not_applied, mismatches, refused, reads } = tally;
        let counts = [acknowledged, unknown_applied, unknown_not_applied, mismatches, refused, reads];
        assert!(counts.iter().all(|count| *count > 0), "seed {seed}: {tally:?}");
    }
}

#[test]
fn a_follower_may_skip_but_never_go_back_or_stay_behind() {
    let told = World::tell(1);
    let service = "service-1";
    let all: Vec<Position> = told.witness.changes(service).iter().map(|change| change.at).collect();
    let newest = *all.last().unwrap();
    let names = |applied: &[Position]| -> Vec<_> {
        let found = check_follower(service, applied, &told.witness).err().unwrap_or_default();
        found.iter().map(Violation::name).collect()
    };
    assert_eq!(names(&all), [""; 0]);
    assert_eq!(names(&[all[3], all[9], newest]), [""; 0]);
    assert_eq!(names(&[all[3], all[9], all[4], newest]), ["applied older"]);
    assert_eq!(names(&[all[3], all[3], newest]), ["applied older"]);
    assert_eq!(names(&[(all[3].0, u64::MAX - 1)]), ["applied phantom", "left behind"]);
    assert_eq!(names(&[all[3]]), ["left behind"]);
    assert_eq!(names(&[]), ["left behind"]);
}

/// A log of transactions, some of two keys.
fn log() -> Vec<LogEntry> {
    let entry = |revision: u64, key: &str| LogEntry {
        revision,
        key: key.to_owned(),
        value: (!revision.is_multiple_of(7)).then(|| Bytes::from(revision.to_string())),
    };
    (1..40)
        .flat_map(|revision| [Some(entry(revision, "a")), (revision % 3 == 0).then(|| entry(revision, "b"))])
        .flatten()
        .collect()
}

fn told(log: &[LogEntry], revisions: impl IntoIterator<Item = u64>) -> impl Iterator<Item = Sighting> {
    let of = |revision| log.iter().filter(|entry| entry.revision == revision).cloned().collect();
    revisions.into_iter().map(of).map(Sighting::Told).collect::<Vec<_>>().into_iter()
}

#[test]
fn each_promise_of_a_watch_is_held_by_its_name() {
    let log = log();
    let begun = |after| std::iter::once(Sighting::Begun { after });
    let breaches = |sightings: Vec<Sighting>| -> Vec<WatchBreach> {
        check_watch(&sightings, &log).err().unwrap_or_default().into_iter().map(|(kind, _)| kind).collect()
    };
    let whole: Vec<_> = begun(4).chain(told(&log, 5..20)).chain(begun(19)).chain(told(&log, 20..30)).collect();
    assert_eq!(breaches(whole.clone()), []);
    assert_eq!(check_watch(&whole, &log), Ok(33));

    assert_eq!(breaches(begun(4).chain(told(&log, [5, 6, 7, 6, 8])).collect()), [WatchBreach::Ordered]);
    assert_eq!(breaches(begun(4).chain(told(&log, [5, 6, 6, 7])).collect()), [WatchBreach::Unique]);
    assert_eq!(breaches(begun(4).chain(told(&log, [5, 7])).collect()), [WatchBreach::Reliable]);
    assert_eq!(
        breaches(begun(4).chain(told(&log, [5])).chain(begun(5)).chain(told(&log, [7])).collect()),
        [WatchBreach::Resumable]
    );
    let mut torn = whole.clone();
    let Some(Sighting::Told(six)) = torn.get_mut(2) else { panic!("the second transaction told") };
    six.pop();
    assert_eq!(breaches(torn), [WatchBreach::Atomic]);
    let mut other = whole;
    let Some(Sighting::Told(six)) = other.get_mut(2) else { panic!("the second transaction told") };
    six[0].value = None;
    assert_eq!(breaches(other), [WatchBreach::Reliable]);
}
