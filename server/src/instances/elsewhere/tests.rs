use super::*;
use crate::{
    instances::{LagState, OwnCalls, Report, Session, Target},
    testing::key,
};
use cofferdam_core::{health::HealthStatus, policy::Policy, revision::Revision, wire::policy_hash};
use std::sync::Arc;

const SECOND: Duration = Duration::from_secs(1);

fn payments() -> ServiceKey {
    key("default/payments")
}

fn connect(instances: &Arc<Instances>, id: &str) -> Session {
    let session = instances.connect(id, "app", payments().namespace).unwrap();
    session.follow([(&payments(), true)]).unwrap();
    session
}

fn target() -> Target {
    let revision = Revision { epoch: 1, revision: 1 };
    let (hash, since) = (policy_hash(&Policy::default()), Instant::now());
    Target { key: payments(), revision, current: revision, hash, since, is_contained: false, in_place: None }
}

fn arrival(id: &str, age: Duration) -> Arrival {
    Arrival { id: id.to_owned(), age }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_came_elsewhere_later_is_let_go_of_silent_or_not() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (stays, moves) = (connect(&instances, "stays"), connect(&instances, "moves"));
    drop(connect(&instances, "broke"));
    tokio::time::advance(10 * SECOND).await;
    let later = connect(&instances, "later");
    assert_eq!(instances.standing(&target(), 10).0.instances(), 4);

    instances.moved_away(&[arrival("moves", SECOND), arrival("broke", SECOND), arrival("later", 5 * SECOND)]);
    let (standing, laggards) = instances.standing(&target(), 10);
    assert_eq!(standing.instances(), 2, "{laggards:?}");
    assert!(laggards.iter().all(|laggard| laggard.state == LagState::Pending), "{laggards:?}");
    assert!(moves.ended().is_cancelled(), "its stream here is a dead one");
    assert!(!stays.ended().is_cancelled() && !later.ended().is_cancelled(), "this one came here later than there");
    drop(moves);
    assert_eq!(instances.standing(&target(), 10).0.silent, 0, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn silence_here_is_as_old_as_its_stream_and_not_as_its_end() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let session = connect(&instances, "one");
    tokio::time::advance(30 * SECOND).await;
    // It left 20 s ago, and only now is that noticed.
    drop(session);
    assert_eq!(instances.standing(&target(), 10).0.silent, 1);
    instances.moved_away(&[arrival("one", 20 * SECOND)]);
    assert_eq!(instances.standing(&target(), 10).0.silent, 0);
}

#[tokio::test(start_paused = true)]
async fn arrivals_are_told_once_and_to_who_asks_anew_all() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let _one = connect(&instances, "one");
    tokio::time::advance(SECOND).await;
    let (_two, gone) = (connect(&instances, "two"), connect(&instances, "gone"));
    gone.says_goodbye();
    drop(gone);
    let ids = |after| {
        let (mut arrivals, arrived) = instances.arrivals_after(after);
        arrivals.sort_by(|one, other| one.id.cmp(&other.id));
        (arrivals, arrived)
    };
    assert_eq!(ids(0), (vec![arrival("one", SECOND), arrival("two", Duration::ZERO)], 3));
    assert_eq!(ids(1), (vec![arrival("two", Duration::ZERO)], 3));
    assert_eq!(ids(3), (Vec::new(), 3));
    assert_eq!(*instances.arrived().borrow(), 3);
}

/// It broke off within the moment in which arrivals are gathered, and both managers counted it until they forgot it.
#[tokio::test(start_paused = true)]
async fn who_came_and_broke_off_before_that_was_told_is_silent_at_one_manager() {
    let (before, after) = (Arc::new(Instances::new(10, Duration::ZERO)), Arc::new(Instances::new(10, Duration::ZERO)));
    drop(connect(&before, "one"));
    tokio::time::advance(SECOND).await;
    drop(connect(&after, "one"));
    tokio::time::advance(SECOND).await;
    let (arrivals, arrived) = after.arrivals_after(0);
    assert_eq!((&arrivals[..], arrived), (&[arrival("one", SECOND)][..], 1));
    before.moved_away(&arrivals);
    let silent = |instances: &Instances| instances.standing(&target(), 10).0.silent;
    assert_eq!((silent(&before), silent(&after)), (0, 1));
    // Where it is silent, nothing is known of what it was before: its first manager has the older word.
    after.moved_away(&before.arrivals_after(0).0);
    assert_eq!(silent(&after), 1);
    // Back and not heard yet, it has come once.
    let _back = after.connect("one", "app", payments().namespace).unwrap();
    assert_eq!(after.arrivals_after(0), (vec![arrival("one", Duration::ZERO)], 2));
}

#[test]
fn the_least_good_of_all_managers_counts_until_they_are_gone() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let stand = |breaker, health, open, instances| Stand {
        condition: Condition { breaker: Some(breaker), health: Some(health) },
        breakers: BTreeMap::new(),
        census: Census { open, instances },
    };
    let fine = stand(State::Closed, HealthStatus::Healthy, 0, 3);
    let open = stand(State::Open, HealthStatus::CircuitOpen, 2, 4);
    instances.stand_elsewhere("b", HashMap::from([(payments(), fine.clone())]));
    assert_eq!((instances.condition(&payments()), instances.census(&payments())), (fine.condition, fine.census));
    let mut version = instances.version();
    version.mark_unchanged();
    instances.stand_elsewhere("c", HashMap::from([(payments(), open.clone())]));
    assert!(version.has_changed().unwrap(), "who waits for health is woken");
    version.mark_unchanged();
    instances.stand_elsewhere("c", HashMap::from([(payments(), open.clone())]));
    assert!(!version.has_changed().unwrap(), "the same again wakes nobody");
    assert_eq!(*instances.own_version().borrow(), 0, "nothing of this was here");
    assert_eq!(instances.condition(&payments()), open.condition);
    assert_eq!(instances.census(&payments()), Census { open: 2, instances: 7 });
    assert_eq!(instances.with_open_breakers(), [payments()]);
    assert!(instances.stands().is_empty(), "what others say is not ours to tell");
    instances.forget_elsewhere("c");
    assert_eq!(instances.condition(&payments()), fine.condition);
    assert!(instances.with_open_breakers().is_empty());
}

/// Where some instance or manager has a breaker open and others have it half-open, it is open: each breaker by itself.
#[test]
fn each_breaker_is_in_its_least_good_state_at_any_instance_or_manager() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (one, two) = (connect(&instances, "one"), connect(&instances, "two"));
    let [reads, pay] = [Part::Pool("reads".into()), Part::Methods("Pay*".into())];
    let (open, half_open) = (State::Open, State::HalfOpen);
    let report = |parts: &[(&Part, State)]| Report {
        parts: parts.iter().map(|(part, state)| ((*part).clone(), *state)).collect(),
        ..Report::default()
    };
    let breakers = || instances.stand(&payments()).breakers;
    let own_version = instances.own_version();
    let told = || *own_version.borrow();
    one.report(&payments(), report(&[(&reads, half_open)]));
    two.report(&payments(), report(&[(&reads, open), (&Part::Service, half_open)]));
    assert_eq!(breakers(), [(Part::Service, half_open), (reads.clone(), open)].into());
    assert_eq!(instances.stands()[&payments()].breakers, breakers(), "which is what others hear");
    let before = told();
    two.report(&payments(), report(&[]));
    assert!(told() > before, "others hear of it");
    assert_eq!(breakers(), [(reads.clone(), half_open)].into());

    let own = OwnCalls { parts: vec![(pay.clone(), half_open)], ..OwnCalls::default() };
    instances.stand_here(HashMap::from([(payments(), own)]));
    let there = Stand { breakers: [(pay.clone(), open)].into(), ..Stand::default() };
    instances.stand_elsewhere("b", HashMap::from([(payments(), there)]));
    assert_eq!(breakers(), [(reads.clone(), half_open), (pay.clone(), open)].into());
    instances.forget_elsewhere("b");
    assert_eq!(breakers(), [(reads, half_open), (pay, half_open)].into());
    drop(one);
    instances.stand_here(HashMap::new());
    assert_eq!(breakers(), BTreeMap::new());
}
