use super::super::Report;
use super::*;
use crate::testing::key;
use cofferdam_core::{isolation::Part, policy::Policy, revision::Revision, wire::policy_hash};
use std::sync::Arc;

const MINUTE: Duration = Duration::from_secs(60);

fn at(revision: u64) -> Revision {
    Revision { epoch: 1, revision }
}

fn target(revision: u64) -> Target {
    Target {
        key: key("default/a"),
        revision: at(revision),
        current: at(revision),
        hash: policy_hash(&Policy::default()),
        since: Instant::now(),
        is_contained: false,
        in_place: None,
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_longest_is_told_by_how_long_and_who_has_refused_does_not_wait() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (a, hash) = (key("default/a"), policy_hash(&Policy::default()));
    let connect = |id: &str| {
        let session = instances.connect(id, "shop", a.namespace.clone()).unwrap();
        session.follow([(&a, true)]).unwrap();
        session
    };
    let first = connect("first");
    let target = target(5);
    tokio::time::advance(MINUTE).await;
    let second = connect("second");
    tokio::time::advance(MINUTE).await;
    assert_eq!(instances.exposure(&target).lag, 2 * MINUTE);
    first.acknowledged(&a, (at(5), hash), Some(target.since));
    assert_eq!(instances.exposure(&target).lag, MINUTE, "it could not have had it before it came");
    let (reason, field_path) = ("no".to_owned(), String::new());
    let refusal =
        super::super::Refusal { revision: at(5), reason, field_path, since: Instant::now(), is_contained: false };
    second.refused(&a, refusal, None);
    let seen = instances.exposure(&target);
    assert_eq!((seen.lag, seen.standing.applied, seen.standing.refused), (Duration::ZERO, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn how_long_a_policy_took_is_counted_once_for_each_instance() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (a, hash) = (key("default/a"), policy_hash(&Policy::default()));
    let session = instances.connect("one", "shop", a.namespace.clone()).unwrap();
    session.follow([(&a, true)]).unwrap();
    let since = Instant::now();
    tokio::time::advance(Duration::from_millis(40)).await;
    for _ in 0..3 {
        session.acknowledged(&a, (at(5), hash), Some(since));
    }
    session.applied(&a, at(6), hash);
    let seen = instances.apply_latency();
    let took = seen.quantile(1.0).unwrap().as_secs_f64();
    assert!(seen.count() == 1 && (0.037..0.043).contains(&took), "{seen:?}");
}

#[test]
fn transitions_and_recoveries_are_of_the_same_telling() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let a = key("default/a");
    let session = instances.connect("one", "shop", a.namespace.clone()).unwrap();
    session.follow([(&a, true)]).unwrap();
    let step = |from, to| super::super::Transition { part: Part::Service, from, to, at: Instant::now() };
    let transitions = vec![
        step(State::Closed, State::Open),
        step(State::Open, State::HalfOpen),
        step(State::HalfOpen, State::Closed),
    ];
    session.report(&a, Report { transitions, ..Report::default() });
    let seen = instances.exposure(&target(1));
    assert_eq!(seen.transitions.iter().map(|(.., count)| count).sum::<u64>(), 3);
    assert_eq!(seen.recoveries.count, 1);
    let beyond = instances.exposure_beyond(|key| *key == a);
    assert_eq!(beyond, Exposure::default(), "it is known");
    assert_eq!(instances.exposure_beyond(|_| false).transitions, seen.transitions);
}
