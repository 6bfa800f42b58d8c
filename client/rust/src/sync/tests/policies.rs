use super::*;
use crate::runtime::{Tokio, clocks};
use cofferdam_core::breaker::State;
use cofferdam_core::name::Name;
use cofferdam_core::policy::{AlternativeFallback, BreakerMode, BreakerPolicy, FallbackPolicy, FallbackStep};
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::WallTime;

#[tokio::test(start_paused = true)]
async fn a_policy_is_acknowledged_once_it_is_in_force() {
    let mut scene = Scene::new(&["orders-db"]);
    let (mut stream, hello) = scene.accept().await;
    assert_eq!((hello.services, hello.applied), (vec!["orders-db".into()], vec![]));
    assert_eq!((hello.instance_id.as_str(), hello.application.as_str()), ("checkout-1", "checkout"));

    let full = policy(Level::Full);
    stream.update("orders-db", at(1, 7), Ok(full.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("orders-db", at(1, 7), &full)));
    let in_force = scene.service("orders-db").isolation.in_force();
    assert_eq!((in_force.revision, &in_force.policy), (Some(at(1, 7)), &full));
    let event = Event::PolicyApplied { service: "orders-db".into(), revision: at(1, 7) };
    assert_eq!(scene.event().await, event);
}

#[tokio::test(start_paused = true)]
async fn an_older_policy_is_ignored_and_a_repeated_one_acknowledged_again() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    let (new, old) = (policy(Level::Full), policy(Level::None));
    stream.update("a", at(1, 7), Ok(new.clone()));
    stream.answer().await;
    stream.update("a", at(1, 6), Ok(old.clone()));
    stream.update("a", at(0, 99), Ok(old.clone()));
    stream.update("a", at(1, 7), Ok(new.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 7), &new)));
    let outdated = |revision| Event::PolicyOutdated { service: "a".into(), revision, newest: at(1, 7) };
    scene.event().await;
    assert_eq!([scene.event().await, scene.event().await], [outdated(at(1, 6)), outdated(at(0, 99))]);
}

/// Nobody has to end it, and no clock that is set: the manager is gone from here on.
///
/// Seen in <https://github.com/kubeflow/mcp-server/issues/222>.
#[tokio::test(start_paused = true)]
async fn t16_a_mode_ends_by_itself_on_the_clock_that_does_not_jump() {
    let mut scene = Scene::new(&["a", "late"]);
    let (mut stream, _) = scene.accept().await;
    let hour = Duration::from_secs(3600);
    let now = clocks().wall;
    let forced_for = |seconds: i64| {
        let until = WallTime::new(now.seconds() + seconds, now.nanos()).unwrap();
        let (mode, mode_until) = (BreakerMode::ForcedOpen, Some(until));
        let breaker = BreakerPolicy { mode, mode_until, ..BreakerPolicy::default() };
        Policy::new(PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() }).unwrap()
    };
    stream.update("a", at(1, 1), Ok(forced_for(3600)));
    stream.update("late", at(1, 1), Ok(forced_for(-3600)));
    stream.answer().await;
    stream.answer().await;
    drop(stream);
    let state = |name: &str| scene.service(name).isolation.breaker_state(Tokio.now());
    assert_eq!((state("a"), state("late")), (Some(State::Open), Some(State::Closed)));
    tokio::time::advance(hour - Duration::from_secs(60)).await;
    assert_eq!(state("a"), Some(State::Open));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(state("a"), Some(State::Closed));
}

/// A manager of another release fills in other defaults, and the revision is as it was.
#[tokio::test(start_paused = true)]
async fn another_policy_under_the_same_revision_is_applied_and_acknowledged_by_its_own_hash() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    let (one, other) = (policy(Level::Full), policy(Level::Enhanced));
    for policy in [&one, &other, &one] {
        stream.update("a", at(1, 7), Ok(policy.clone()));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 7), policy)));
        assert_eq!(scene.service("a").isolation.in_force().policy, *policy);
        assert_eq!(scene.event().await, Event::PolicyApplied { service: "a".into(), revision: at(1, 7) });
    }
    // One that cannot be used is refused, and what is in force under that revision stays.
    let refusal = Refusal { reason: "unknown field".to_owned(), field_path: String::new() };
    stream.update("a", at(1, 7), Err(refusal));
    let answer = stream.answer().await;
    assert!(matches!(answer, ToManager::Refused { in_force, .. } if in_force == Some(applied("a", at(1, 7), &one))));
    assert_eq!(scene.service("a").isolation.in_force().policy, one);
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_supersedes_every_revision_of_the_old_one() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(1, 700), Ok(policy(Level::Full)));
    stream.answer().await;
    let restored = policy(Level::Basic);
    stream.update("a", at(2, 3), Ok(restored.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(2, 3), &restored)));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_policy_is_refused_and_the_last_good_one_stays() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    let good = policy(Level::Full);
    stream.update("a", at(1, 1), Ok(good.clone()));
    stream.answer().await;
    let refusal = Refusal { reason: "too much".to_owned(), field_path: "retry.max_attempts".to_owned() };
    stream.update("a", at(1, 2), Err(refusal.clone()));
    let answer = stream.answer().await;
    let in_force = Some(applied("a", at(1, 1), &good));
    assert_eq!(
        answer,
        ToManager::Refused { service: "a".into(), revision: Some(at(1, 2)), refusal, in_force, is_contained: false }
    );
    assert_eq!(scene.service("a").isolation.in_force().policy, good);
    scene.event().await;
    let refused = Event::PolicyRefused { service: "a".into(), revision: Some(at(1, 2)), reason: "too much".into() };
    assert_eq!(scene.event().await, refused);

    // A later good one is applied as ever.
    stream.update("a", at(1, 3), Ok(good.clone()));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 3), &good)));
}

#[tokio::test(start_paused = true)]
async fn an_update_without_a_revision_is_refused() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    let policy = Ok(policy(Level::Full));
    stream.say(FromManager::Update(Update {
        service: "a".to_owned(),
        revision: None,
        policy,
        is_enabled: true,
        is_insisted: false,
        as_of: None,
        orders: Orders::default(),
    }));
    assert!(matches!(stream.answer().await, ToManager::Refused { revision: None, .. }));
    assert_eq!(scene.service("a").isolation.in_force().revision, None);
}

#[tokio::test(start_paused = true)]
async fn only_a_removal_removes_a_policy() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(1, 5), Ok(policy(Level::Full)));
    stream.answer().await;
    let removal = |revision| FromManager::Removal { service: "a".to_owned(), revision };
    stream.say(FromManager::Complete(None));
    stream.say(removal(None));
    stream.say(removal(Some(at(1, 4))));
    drop(stream);
    let (stream, hello) = scene.accept().await;
    assert_eq!(hello.applied, [applied("a", at(1, 5), &policy(Level::Full))]);

    stream.say(removal(Some(at(1, 6))));
    scene.event().await;
    let outdated = Event::PolicyOutdated { service: "a".into(), revision: at(1, 4), newest: at(1, 5) };
    assert_eq!(scene.event().await, outdated);
    assert_eq!(scene.event().await, Event::PolicyRemoved { service: "a".into(), revision: at(1, 6) });
    let in_force = scene.service("a").isolation.in_force();
    assert_eq!((in_force.revision, &in_force.policy), (None, scene.shared.registry.default_policy()));

    // What is older than the removal does not bring the service back.
    stream.update("a", at(1, 5), Ok(policy(Level::Full)));
    assert!(matches!(scene.event().await, Event::PolicyOutdated { .. }));
    drop(stream);
    assert_eq!(scene.accept().await.1.applied, []);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_never_registered_is_no_news() {
    let mut scene = Scene::new(&["a", "b"]);
    let (stream, _) = scene.accept().await;
    stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(1, 9)) });
    stream.update("b", at(1, 9), Ok(policy(Level::Full)));
    assert!(matches!(scene.event().await, Event::PolicyApplied { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_service_can_be_switched_off_and_on() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    for (revision, is_enabled) in [(1, false), (2, true)] {
        let policy = Ok(policy(Level::Full));
        let revision = Some(at(1, revision));
        stream.say(FromManager::Update(Update {
            service: "a".to_owned(),
            revision,
            policy,
            is_enabled,
            is_insisted: false,
            as_of: None,
            orders: Orders::default(),
        }));
        stream.answer().await;
        assert_eq!(scene.service("a").isolation.in_force().is_enabled, is_enabled);
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stands_in_is_followed() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    let alternative = AlternativeFallback {
        service: Name::new("replica").unwrap(),
        method: String::new(),
        timeout: Duration::from_secs(1),
    };
    let chain = vec![FallbackStep::Alternative(alternative)];
    let fallback = FallbackPolicy { chain, ..FallbackPolicy::default() };
    let spec = PolicySpec { level: Level::Enhanced, fallback, ..PolicySpec::default() };
    stream.update("a", at(1, 1), Ok(Policy::new(spec).unwrap()));
    let answers = [stream.answer().await, stream.answer().await];
    assert!(answers.contains(&ToManager::Subscribe { services: vec!["replica".into()], gone: vec![] }), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_is_ignored() {
    let mut scene = Scene::new(&["a"]);
    let (mut stream, _) = scene.accept().await;
    stream.update("stranger", at(1, 1), Ok(policy(Level::Full)));
    stream.say(FromManager::Unknown);
    stream.update("a", at(1, 1), Ok(policy(Level::Full)));
    assert_eq!(stream.answer().await, ToManager::Applied(applied("a", at(1, 1), &policy(Level::Full))));
    assert!(scene.shared.registry.find("stranger").is_none());
}
