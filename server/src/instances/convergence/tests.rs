use std::sync::Arc;

use cofferdam_core::{policy::Policy, wire::policy_hash};

use super::super::{Refusal, Session};
use super::*;
use crate::testing::key;

thread_local! {
    /// Members that looks of this thread had to go through.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn instances() -> Arc<Instances> {
    Arc::new(Instances::new(10, Duration::ZERO))
}

fn connect(instances: &Arc<Instances>, id: &str) -> Session {
    let session = instances.connect(id, "shop", key("default/a").namespace).unwrap();
    session.follow([(&key("default/a"), true)]).unwrap();
    session
}

fn at(revision: u64) -> Revision {
    Revision { epoch: 1, revision }
}

fn hash() -> PolicyHash {
    policy_hash(&Policy::default())
}

fn target(asked: u64, current: u64) -> Target {
    Target {
        key: key("default/a"),
        revision: at(asked),
        current: at(current),
        hash: hash(),
        since: Instant::now(),
        is_contained: false,
        in_place: None,
    }
}

fn refusal(revision: u64) -> Refusal {
    let (reason, field_path) = ("no such field".to_owned(), "retry".to_owned());
    Refusal { revision: at(revision), reason, field_path, since: Instant::now(), is_contained: false }
}

/// Applied, pending, refused, silent; and that the quick look agrees.
fn counts(instances: &Instances, target: &Target) -> [u32; 4] {
    let (standing, laggards) = instances.standing(target, usize::MAX);
    assert_eq!(instances.applied(target), (standing.applied, standing.instances()));
    assert_eq!(laggards.len(), (standing.instances() - standing.applied) as usize);
    assert_eq!(instances.standing(target, 0), (standing, Vec::new()), "without room for names");
    [standing.applied, standing.pending, standing.refused, standing.silent]
}

#[test]
fn what_was_asked_for_or_later_counts_with_the_right_fingerprint() {
    let instances = instances();
    let (a, target) = (key("default/a"), target(5, 6));
    let session = connect(&instances, "one");
    let seen = |revision, hash| {
        session.applied(&a, at(revision), hash);
        counts(&instances, &target)
    };
    let other = policy_hash(&Policy::new(cofferdam_core::policy::Preset::Database.spec()).unwrap());
    assert_eq!(seen(4, hash()), [0, 1, 0, 0]);
    assert_eq!(seen(5, other), [1, 0, 0, 0], "of an earlier policy we have no fingerprint any more");
    assert_eq!(seen(6, other), [0, 1, 0, 0]);
    assert_eq!(instances.standing(&target, 9).1[0].state, LagState::Diverged);
    assert_eq!(seen(6, hash()), [1, 0, 0, 0]);
    assert_eq!(seen(7, hash()), [0, 1, 0, 0], "there may never have been such a policy");
    assert_eq!(instances.standing(&target, 9).1[0].state, LagState::Diverged);
    session.applied(&a, Revision { epoch: 2, revision: 1 }, hash());
    assert_eq!(counts(&instances, &target), [0, 1, 0, 0]);
    session.refused(&a, refusal(7), None);
    assert_eq!(counts(&instances, &target), [0, 1, 0, 0], "nor of what may never have been");
}

#[test]
fn what_is_in_the_place_of_a_contained_policy_is_as_good_with_its_very_orders() {
    let instances = instances();
    let a = key("default/a");
    let session = connect(&instances, "one");
    let ordered = policy_hash(&Policy::new(cofferdam_core::policy::Preset::Database.spec()).unwrap());
    let contained = Target { is_contained: true, ..target(6, 6) };
    let in_place = Target { in_place: Some((at(4), ordered)), ..contained.clone() };
    let seen = |revision, hash| {
        session.applied(&a, at(revision), hash);
        (counts(&instances, &contained), counts(&instances, &in_place))
    };
    let (applied, pending) = ([1, 0, 0, 0], [0, 1, 0, 0]);
    assert_eq!(seen(4, hash()), (pending, pending), "the order has not arrived");
    assert_eq!(seen(4, ordered), (pending, applied));
    assert_eq!(seen(5, ordered), (pending, pending), "neither this policy nor that");
    assert_eq!((contained.is_out_of_reach(), in_place.is_out_of_reach()), (true, false));
}

#[test]
fn a_refusal_is_no_answer_to_a_later_policy() {
    let instances = instances();
    let a = key("default/a");
    let session = connect(&instances, "one");
    session.applied(&a, at(4), hash());
    session.refused(&a, refusal(5), None);
    assert_eq!(counts(&instances, &target(5, 5)), [0, 0, 1, 0]);
    assert_eq!(counts(&instances, &target(4, 5)), [1, 0, 0, 0]);
    assert_eq!(counts(&instances, &target(6, 6)), [0, 1, 0, 0]);
    let laggard = instances.standing(&target(5, 5), 9).1.remove(0);
    let refused = LagState::Refused { reason: "no such field".to_owned(), field_path: "retry".to_owned() };
    assert_eq!((laggard.id.as_str(), laggard.application.as_str()), ("one", "shop"));
    assert_eq!((laggard.state, laggard.applied), (refused, Some(at(4))));
    session.applied(&a, at(6), hash());
    assert_eq!(counts(&instances, &target(6, 6)), [1, 0, 0, 0]);
}

#[test]
fn what_was_acknowledged_and_then_refused_is_not_done() {
    let instances = instances();
    let a = key("default/a");
    let session = connect(&instances, "one");
    session.applied(&a, at(5), hash());
    session.refused(&a, refusal(5), None);
    assert_eq!(counts(&instances, &target(5, 5)), [0, 0, 1, 0]);
}

#[test]
fn a_broken_off_stream_is_never_done_and_never_gone() {
    let instances = instances();
    let a = key("default/a");
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    one.applied(&a, at(5), hash());
    two.applied(&a, at(5), hash());
    assert_eq!(counts(&instances, &target(5, 5)), [2, 0, 0, 0]);
    drop(two);
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 1]);
    let laggard = instances.standing(&target(5, 5), 9).1.remove(0);
    assert_eq!((laggard.id.as_str(), laggard.state, laggard.applied), ("two", LagState::Silent, Some(at(5))));
    assert!(instances.abandoned().is_empty());

    // It comes back, and is missing at no moment in between.
    let two = instances.connect("two", "shop", key("default/a").namespace).unwrap();
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 1]);
    two.follow([(&a, true)]).unwrap();
    assert_eq!(counts(&instances, &target(5, 5)), [1, 1, 0, 0]);
    two.applied(&a, at(5), hash());
    // A second stream of the same instance, before the first was noticed to be dead.
    let again = instances.connect("two", "shop", key("default/a").namespace).unwrap();
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 1]);
    drop(two);
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 1]);
    again.follow([(&a, true)]).unwrap();
    again.applied(&a, at(5), hash());
    assert_eq!(counts(&instances, &target(5, 5)), [2, 0, 0, 0]);
    // It uses something else from now on.
    drop(again);
    let again = instances.connect("two", "shop", key("default/a").namespace).unwrap();
    again.follow([(&key("default/b"), true)]).unwrap();
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 0]);
}

/// Who waited for all that use a service waited on although the last one missing had come back and uses it no more.
#[test]
fn who_comes_back_for_something_else_is_news() {
    let instances = instances();
    let a = key("default/a");
    let one = connect(&instances, "one");
    one.applied(&a, at(5), hash());
    drop(connect(&instances, "two"));
    let two = instances.connect("two", "shop", a.namespace).unwrap();
    let progress = instances.progress();
    two.follow([(&key("default/b"), true)]).unwrap();
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 0]);
    assert!(progress.has_changed().unwrap());
}

#[test]
fn who_says_goodbye_is_gone() {
    let instances = instances();
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    one.applied(&key("default/a"), at(5), hash());
    two.says_goodbye();
    drop(two);
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 0]);
    // Even where its last stream had broken off.
    drop(connect(&instances, "two"));
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 1]);
    let two = instances.connect("two", "shop", key("default/a").namespace).unwrap();
    two.says_goodbye();
    drop(two);
    assert_eq!(counts(&instances, &target(5, 5)), [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn the_silent_are_forgotten_in_time_and_bounded_in_number() {
    let instances = instances();
    drop(connect(&instances, "one"));
    tokio::time::advance(Duration::from_secs(599)).await;
    instances.forget_silent();
    assert_eq!(counts(&instances, &target(5, 5)), [0, 0, 0, 1]);
    assert_eq!(instances.standing(&target(5, 5), 9).1[0].age, Duration::from_secs(599));
    tokio::time::advance(Duration::from_secs(1)).await;
    instances.forget_silent();
    assert_eq!(counts(&instances, &target(5, 5)), [0; 4]);
    assert!(instances.abandoned().is_empty(), "it had reported nothing");
    for index in 0..30 {
        drop(connect(&instances, &format!("crashing-{index:02}")));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(counts(&instances, &target(5, 5)), [0, 0, 0, 10]);
    assert_eq!(instances.standing(&target(5, 5), 9).1[0].id, "crashing-20", "the last ones");
}

#[test]
fn those_to_look_at_first_come_first() {
    let instances = instances();
    let sessions: Vec<_> = ["a", "b", "c", "d"].into_iter().map(|id| connect(&instances, id)).collect();
    sessions[2].refused(&key("default/a"), refusal(5), None);
    let mut sessions = sessions;
    drop(sessions.remove(1));
    let (standing, laggards) = instances.standing(&target(5, 5), 3);
    assert_eq!(standing, Standing { applied: 0, pending: 2, refused: 1, silent: 1, put_back: 0 });
    let ids: Vec<_> = laggards.iter().map(|laggard| laggard.id.as_str()).collect();
    assert_eq!(ids[..2], ["c", "b"]);
    assert_eq!(laggards.len(), 3);
    let seen = instances.observe(&key("default/a"), at(5), hash());
    assert_eq!((seen.instances, seen.silent_instances), (3, 1), "the figures agree");
}

#[test]
fn a_look_goes_through_the_instances_of_a_service_that_is_behind_and_through_no_others() {
    let instances = Arc::new(Instances::new(1_000, Duration::ZERO));
    let namespace = key("default/a").namespace;
    let services: Vec<_> = (0..50).map(|index| key(&format!("default/s{index}"))).collect();
    let sessions: Vec<_> = (0..100)
        .map(|index| {
            let session = instances.connect(&format!("i{index}"), "shop", namespace.clone()).unwrap();
            // Two to a service.
            let used = &services[index / 2];
            session.follow([(used, true)]).unwrap();
            session.applied(used, at(5), hash());
            session
        })
        .collect();
    let look = |max| {
        LOOKED_AT.set(0);
        let of = |key: &ServiceKey| instances.standing(&Target { key: key.clone(), ..target(5, 5) }, max).1.len();
        let found: usize = services.iter().map(of).sum();
        (found, LOOKED_AT.get())
    };
    assert_eq!(look(100), (0, 0), "all are done");
    sessions[7].refused(&services[3], refusal(5), None);
    let (found, looked_at) = look(100);
    assert!(found == 1 && looked_at <= 4, "{found} found among {looked_at}");
    let (found, looked_at) = look(0);
    assert!(found == 0 && looked_at <= 2, "{found} found among {looked_at}");
}
