mod statistics;
mod unregistered;

use super::*;
use crate::testing::key;
use cofferdam_core::{policy::Policy, stats::CounterSnapshot, wire::policy_hash};

fn namespace() -> Name {
    key("default/a").namespace
}

fn connect(instances: &Arc<Instances>, id: &str) -> Session {
    let session = instances.connect(id, "app", namespace()).unwrap();
    session.follow([(&key("default/payments"), true)]).unwrap();
    session
}

fn at(revision: u64) -> Revision {
    Revision { epoch: 1, revision }
}

fn hash() -> PolicyHash {
    policy_hash(&Policy::default())
}

fn report(calls: u64, condition: Condition) -> Report {
    let counters = CounterSnapshot { calls, served_live: calls, ..CounterSnapshot::default() };
    Report { activity: Activity { counters, ..Activity::default() }, condition, ..Report::default() }
}

fn refusal(revision: u64) -> Refusal {
    let (reason, field_path) = ("no".to_owned(), "retry".to_owned());
    Refusal { revision: at(revision), reason, field_path, since: Instant::now(), is_contained: false }
}

const FINE: Condition = Condition { breaker: Some(State::Closed), health: Some(HealthStatus::Healthy) };
const OPEN: Condition = Condition { breaker: Some(State::Open), health: Some(HealthStatus::CircuitOpen) };

#[test]
fn counters_stay_and_states_go_with_their_instance() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let payments = key("default/payments");
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    one.report(&payments, report(3, FINE));
    two.report(&payments, report(4, OPEN));
    two.report(&payments, report(1, OPEN));
    assert_eq!(instances.condition(&payments), OPEN, "the least good one");
    let seen = instances.observe(&payments, at(1), hash());
    assert_eq!((seen.activity.counters.calls, seen.instances, seen.open_instances), (8, 2, 1));

    for session in [&one, &two] {
        session.says_goodbye();
    }
    drop(two);
    assert_eq!(instances.condition(&payments), FINE);
    let seen = instances.observe(&payments, at(1), hash());
    assert_eq!((seen.activity.counters.calls, seen.instances, seen.open_instances), (8, 1, 0));
    drop(one);
    assert_eq!(instances.condition(&payments), Condition::default());
    assert_eq!(instances.abandoned(), std::slice::from_ref(&payments));
    instances.forget(&payments);
    assert_eq!(instances.observe(&payments, at(1), hash()), Observation::default());
}

#[test]
fn applied_is_the_revision_with_the_fingerprint() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let payments = key("default/payments");
    let session = connect(&instances, "one");
    let applied = |revision| {
        let seen = instances.observe(&payments, at(revision), hash());
        (seen.applied_instances, seen.refused_instances)
    };
    assert_eq!(applied(5), (0, 0));
    session.applied(&payments, at(5), PolicyHash::try_from([0_u8; 16].as_slice()).unwrap());
    assert_eq!(applied(5), (0, 0), "another policy under the same revision is not this one");
    session.applied(&payments, at(5), hash());
    assert_eq!(applied(5), (1, 0));
    let refusal = refusal(6);
    session.refused(&payments, refusal.clone(), None);
    assert_eq!(instances.refusals(&payments), [("one".to_owned(), refusal)].into());
    assert_eq!((applied(5), applied(6)), ((1, 0), (0, 1)));
    session.applied(&payments, at(7), hash());
    assert_eq!((applied(6), applied(7)), ((0, 0), (1, 0)));
    assert!(instances.refusals(&payments).is_empty());
    session.unfollow(&payments);
    assert_eq!(instances.observe(&payments, at(7), hash()).instances, 0);
}

#[test]
fn a_second_session_takes_the_place_of_the_first() {
    let instances = Arc::new(Instances::new(1, Duration::ZERO));
    let payments = key("default/payments");
    let first = connect(&instances, "one");
    let ended = first.ended();
    let second = connect(&instances, "one");
    assert!(ended.is_cancelled());
    first.report(&payments, report(5, OPEN));
    assert_eq!(instances.condition(&payments), Condition::default(), "the first has no say any more");
    drop(first);
    assert_eq!(instances.count(None), 1);
    second.report(&payments, report(2, FINE));
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, 2);
    let refused = instances.connect("two", "app", namespace()).unwrap_err();
    assert!(matches!(refused, Error::QuotaExceeded { quota: "instances", .. }), "{refused}");
}

#[test]
fn counters_saturate() {
    let instances = Arc::new(Instances::new(1, Duration::ZERO));
    let payments = key("default/payments");
    let session = connect(&instances, "one");
    session.report(&payments, report(u64::MAX, FINE));
    session.report(&payments, report(1, FINE));
    assert_eq!(instances.observe(&payments, at(1), hash()).activity.counters.calls, u64::MAX);
}

#[test]
fn what_is_lost_is_counted_for_the_service_and_in_all() {
    let instances = Arc::new(Instances::new(2, Duration::ZERO));
    let payments = key("default/payments");
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    let losses = |transitions_dropped, histograms_refused| Losses {
        transitions_dropped,
        histograms_refused,
        ..Losses::default()
    };
    one.report(&payments, Report { losses: losses(3, 0), ..report(1, FINE) });
    two.report(&payments, Report { losses: losses(u64::MAX, 2), ..report(1, FINE) });
    two.missed_reports(4);
    drop((one, two));
    assert_eq!(instances.observe(&payments, at(1), hash()).losses, losses(u64::MAX, 2));
    assert_eq!(instances.losses(), Losses { reports_missed: 4, ..losses(u64::MAX, 2) });
}
