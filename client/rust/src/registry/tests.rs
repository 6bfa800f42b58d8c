use super::*;
use crate::client::{Cofferdam, Identity, Shared};
use crate::events::Events;
use crate::runtime::clocks;
use cofferdam_core::breaker::State;
use cofferdam_core::level::Level;
use cofferdam_core::policy::{CachedFallback, FallbackPolicy, MethodOverride, PolicySpec};
use cofferdam_core::revision::Revision;
use futures_util::FutureExt;
use std::io;

const MAX_FOLLOWED: usize = 100;
const MAX_NAMELESS: usize = 10;

/// An SDK without a manager, with little room.
fn cofferdam_by(policy: Policy) -> Cofferdam {
    let identity = Identity {
        instance_id: "test-1".to_owned(),
        application: "test".to_owned(),
        namespace: "default".to_owned(),
        labels: Vec::new(),
    };
    let mut shared = Shared::new(identity, policy.clone(), Vec::new());
    let capacity = Capacity { followed: MAX_FOLLOWED, nameless: MAX_NAMELESS };
    shared.registry = Registry::with_capacity(policy, shared.hub.clone(), capacity);
    Cofferdam::new(Arc::new(shared), Vec::new())
}

fn cofferdam() -> Cofferdam {
    cofferdam_by(Policy::new(PolicySpec { level: Level::Enhanced, ..PolicySpec::default() }).unwrap())
}

fn registry(cofferdam: &Cofferdam) -> &Registry {
    &cofferdam.shared().registry
}

/// Takes every place, without keeping a handle.
fn fill(cofferdam: &Cofferdam) {
    (0..MAX_FOLLOWED).for_each(|n| drop(cofferdam.service(&format!("service-{n}"))));
}

fn fail(service: &crate::Service) {
    let fails = service.execute("get", || async { Err::<(), _>(io::Error::other("down")) });
    fails.into_future().now_or_never().expect("nothing to wait for").unwrap_err();
}

/// The next event, if there is one already.
fn told(events: &mut Events) -> Option<Event> {
    events.next().now_or_never().flatten()
}

#[test]
fn one_name_is_one_service() {
    let registry = Registry::new(Policy::default(), Hub::new());
    let first = registry.service("orders-db");
    assert!(Arc::ptr_eq(&first, &registry.service("orders-db")));
    assert!(registry.find("payments").is_none());
    assert_eq!(registry.begin_stream().len(), 1);
}

#[test]
fn a_name_that_is_none_is_protected_and_not_followed() {
    let hub = Hub::new();
    let mut events = hub.listen();
    let registry = Registry::new(Policy::default(), hub);
    let watch = registry.watch();
    let service = registry.service("Orders DB");
    assert!(Arc::ptr_eq(&service, &registry.service("Orders DB")));
    assert!(registry.begin_stream().is_empty());
    assert!(!watch.has_changed().unwrap() && !registry.has_new());
    let Some(Event::NotFollowed { service, reason }) = told(&mut events) else { panic!("not told") };
    assert_eq!(&*service, "Orders DB");
    assert!(reason.contains("a-z"), "{reason}");
}

#[test]
fn what_was_asked_for_is_not_asked_for_again() {
    let registry = Registry::new(Policy::default(), Hub::new());
    let names = |services: Vec<Arc<ServiceState>>| services.iter().map(|s| s.name.to_string()).collect::<Vec<_>>();
    for name in ["b", "a", "not a name"] {
        registry.service(name);
    }
    assert!(registry.asked().is_empty(), "nobody is asked");
    assert_eq!(names(registry.begin_stream()), ["b", "a"]);
    assert!(!registry.has_new());
    registry.service("c");
    assert!(registry.has_new());
    assert_eq!(names(registry.asked()), ["b", "a"]);
    assert_eq!(names(registry.news().services), ["c"]);
    assert!(registry.news().services.is_empty() && !registry.has_new());
    registry.end_stream();
    assert_eq!(names(registry.begin_stream()), ["b", "a", "c"]);
}

/// <https://github.com/alibaba/Sentinel/issues/2108>: past a number of resources, no rule was checked.
/// <https://github.com/nodeshift/opossum/issues/363>: breakers made for each call learned nothing.
#[test]
fn t25_names_that_find_no_room_share_one_protected_isolation() {
    let cofferdam = cofferdam();
    let mut events = cofferdam.events();
    let kept: Vec<_> = (0..MAX_FOLLOWED).map(|n| cofferdam.service(&format!("service-{n}"))).collect();
    let users: Vec<_> = (0..5).map(|n| cofferdam.service(&format!("user-{n}"))).collect();
    assert_eq!(users[3].name(), "user-3");
    users.iter().for_each(fail);
    assert_eq!(cofferdam.service("user-7").breaker_state(), Some(State::Open), "each name learned for itself");
    assert_eq!(kept[0].breaker_state(), Some(State::Closed));
    assert!(Arc::ptr_eq(registry(&cofferdam).other.get().unwrap(), &registry(&cofferdam).service("user-8")));
    assert_eq!(registry(&cofferdam).begin_stream().len(), MAX_FOLLOWED);

    let Some(Event::NotFollowed { service, reason }) = told(&mut events) else { panic!("not told") };
    assert_eq!(&*service, "user-0");
    assert!(reason.contains(OTHER), "{reason}");
    let Some(Event::Transition { service, .. }) = told(&mut events) else { panic!("not told") };
    assert_eq!(&*service, OTHER);
    assert_eq!(told(&mut events), None, "one word is enough");
}

/// <https://github.com/diegosouzapw/OmniRoute/issues/4114>: only closed breakers without a failure may go.
#[test]
fn t25_what_was_learned_of_a_failing_service_is_never_given_up() {
    let cofferdam = cofferdam();
    let failing = cofferdam.service("failing");
    fail(&failing);
    drop(failing);
    let open = cofferdam.service("open");
    (0..5).for_each(|_| fail(&open));
    drop(open);
    let in_use = cofferdam.service("in-use");
    fill(&cofferdam);
    for n in 0..2 * MAX_FOLLOWED {
        cofferdam.service(&format!("user-{n}"));
    }
    assert!(registry(&cofferdam).other.get().is_none(), "there was room");
    assert_eq!(cofferdam.service("open").breaker_state(), Some(State::Open));
    assert_eq!(cofferdam.service("failing").counters().failed, 1);
    let same = cofferdam.service("in-use");
    assert!(std::ptr::eq(in_use.isolation(), same.isolation()));
    assert!(registry(&cofferdam).find("service-5").is_none(), "it rested");
    assert_eq!(registry(&cofferdam).read().by_name.len(), MAX_FOLLOWED);
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[test]
fn t25_a_service_that_is_named_again_outlasts_those_named_once() {
    let cofferdam = cofferdam();
    fill(&cofferdam);
    cofferdam.service("service-0");
    let first = registry(&cofferdam).find("service-0").unwrap().number;
    for n in 0..3 * MAX_FOLLOWED {
        cofferdam.service(&format!("user-{n}"));
        cofferdam.service("service-0");
    }
    assert_eq!(registry(&cofferdam).find("service-0").unwrap().number, first);
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[test]
fn t25_a_service_with_a_policy_goes_last() {
    let cofferdam = cofferdam();
    let known = registry(&cofferdam).service("known");
    known.isolation.apply(Policy::default(), Some(Revision { epoch: 1, revision: 1 }), true, clocks());
    drop(known);
    fill(&cofferdam);
    for n in 0..2 * MAX_FOLLOWED {
        cofferdam.service(&format!("user-{n}"));
    }
    assert!(registry(&cofferdam).find("known").is_some());
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[test]
fn t25_the_manager_hears_only_of_those_that_it_was_asked_for() {
    let cofferdam = cofferdam();
    fill(&cofferdam);
    let registry = registry(&cofferdam);
    assert_eq!(registry.begin_stream().len(), MAX_FOLLOWED);
    let asked: Vec<_> = registry.asked();
    asked.iter().for_each(|service| service.tell(Told { counters: service.isolation.counters(), ..Told::default() }));
    drop(asked);
    for n in 0..3 * MAX_FOLLOWED {
        registry.service(&format!("user-{n}"));
    }
    assert!(registry.has_gone());
    let News { services, gone } = registry.news();
    assert_eq!((services.len(), gone.len()), (MAX_FOLLOWED, MAX_FOLLOWED));
    assert!(gone.iter().all(|name| name.starts_with("service-")));
    assert!(!registry.has_gone());
    drop(services);
    registry.service("another");
    assert!(registry.has_gone());
    registry.end_stream();
    assert!(!registry.has_gone(), "the next stream asks for what there is");
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[test]
fn t25_a_shared_isolation_keeps_no_answers() {
    let fallback =
        FallbackPolicy { chain: vec![FallbackStep::Cached(CachedFallback::default())], ..FallbackPolicy::default() };
    let glob = "Get*".to_owned();
    let gets = MethodOverride { glob, fallback: Some(fallback.clone()), ..MethodOverride::default() };
    let spec = PolicySpec { fallback, method_overrides: vec![gets], ..PolicySpec::default() };
    let policy = Policy::new(spec).unwrap();
    let cofferdam = cofferdam_by(policy.clone());
    let kept: Vec<_> = (0..MAX_FOLLOWED).map(|n| cofferdam.service(&format!("service-{n}"))).collect();
    assert_eq!(kept[0].policy(), policy);
    let shared = cofferdam.service("user-1").policy();
    let gets = shared.method_overrides[0].fallback.as_ref().unwrap();
    assert!(shared.fallback.chain.is_empty() && gets.chain.is_empty(), "one user would be answered for another");
}

/// Seen in <https://github.com/alibaba/Sentinel/issues/1329>.
#[test]
fn t25_names_that_are_none_are_bounded_too() {
    let cofferdam = cofferdam();
    let mut events = cofferdam.events();
    for n in 0..5 * MAX_NAMELESS {
        cofferdam.service(&format!("User {n}"));
    }
    let told = std::iter::from_fn(|| told(&mut events)).count();
    assert_eq!(told, MAX_NAMELESS, "warnings are bounded as well");
    assert_eq!(registry(&cofferdam).read().by_name.len(), MAX_NAMELESS);
    cofferdam.service("orders-db");
    assert!(registry(&cofferdam).find("orders-db").is_some(), "they take no other's place");
}

#[test]
fn revisions_only_grow() {
    let registry = Registry::new(Policy::default(), Hub::new());
    let service = registry.service("a");
    let revision = |epoch, revision| Revision { epoch, revision };
    assert_eq!(service.advance(revision(1, 5)), Ok(()));
    assert_eq!(service.advance(revision(1, 5)), Ok(()));
    assert_eq!(service.advance(revision(1, 4)), Err(revision(1, 5)));
    assert_eq!(service.advance(revision(2, 1)), Ok(()));
    assert_eq!(service.advance(revision(1, 9)), Err(revision(2, 1)));
}

/// Whatever sync is doing, and however long it takes over it.
#[test]
fn a_call_takes_none_of_the_locks_that_sync_takes() {
    let cofferdam = cofferdam();
    let service = cofferdam.service("a");
    let state = registry(&cofferdam).find("a").unwrap();
    let services = registry(&cofferdam).write();
    let probation = state.probation();
    let (done, is_done) = std::sync::mpsc::channel();
    let calling = std::thread::spawn(move || {
        let answered = service.execute("m", || async { Ok::<_, io::Error>(7) }).into_future().now_or_never();
        done.send(matches!(answered, Some(Ok(7)))).unwrap();
        service
    });
    let answered = is_done.recv_timeout(std::time::Duration::from_secs(30));
    assert_eq!(answered, Ok(true), "the call waits for a lock");
    // Its handle goes once the locks are free.
    drop((services, probation));
    drop(calling.join().unwrap());
}

/// Named again it would begin anew, callable, until the manager says otherwise.
#[test]
fn a_service_that_is_switched_off_keeps_its_place() {
    let cofferdam = cofferdam();
    let off = cofferdam.service("off");
    off.isolation().apply(Policy::default(), None, false, clocks());
    drop(off);
    fill(&cofferdam);
    fill(&cofferdam);
    (0..3 * MAX_FOLLOWED).for_each(|n| drop(cofferdam.service(&format!("later-{n}"))));
    assert!(!cofferdam.service("off").is_enabled());
}
