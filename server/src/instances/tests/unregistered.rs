//! Services that instances name and nobody has registered.

use super::*;

/// What a map of so many entries keeps for one, at the most: its place, a byte beside it, and as much again left empty.
const PLACES: usize = 2;

/// So many names, each of them new.
fn names(application: &str, count: usize) -> Vec<ServiceKey> {
    (0..count).map(|n| key(&format!("default/{application}-{n}"))).collect()
}

fn records(instances: &Instances) -> (usize, usize) {
    let inner = instances.lock();
    (inner.services.len(), inner.unregistered)
}

fn follow(session: &Session, keys: &[ServiceKey]) -> Result<(), Error> {
    session.follow(keys.iter().map(|key| (key, false)))
}

/// S8: it was 2.6 KiB, and as many as all instances may name together.
#[test]
fn a_service_that_is_only_named_takes_less_than_a_kibibyte_and_once_silent_less_than_half() {
    let leaf = 11 * (size_of::<u64>() + size_of::<Box<Member>>()) + 16;
    let silent = PLACES * (size_of::<ServiceKey>() + size_of::<Service>());
    let followed = silent + leaf + size_of::<Member>();
    assert!(silent < 512 && followed < 1024, "{silent} B, {followed} B");

    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let session = instances.connect("one", "app", namespace()).unwrap();
    follow(&session, &names("app", 3)).unwrap();
    // An instance reports of each service that it has named.
    names("app", 3).iter().for_each(|key| session.report(key, report(0, FINE)));
    drop(session);
    let inner = instances.lock();
    let is_small = |service: &Service| service.reported.is_none() && service.silent == 1;
    assert!(inner.services.len() == 3 && inner.services.values().all(is_small), "{:?}", inner.services);
}

#[test]
fn names_that_nobody_registered_have_a_bound_over_all_instances() {
    let instances = Instances { max_unregistered: 100, ..Instances::new(10, Duration::ZERO) };
    let instances = Arc::new(instances);
    let connect = |id: &str| instances.connect(id, "app", namespace()).unwrap();
    let (one, two) = (connect("one"), connect("two"));
    follow(&one, &names("one", 60)).unwrap();
    let refused = follow(&two, &names("two", 41)).unwrap_err();
    assert!(matches!(refused, Error::QuotaExceeded { .. }), "{refused}");
    assert_eq!(records(&instances), (60, 60), "what is refused leaves nothing");

    follow(&two, &names("one", 60)).unwrap();
    follow(&two, &names("two", 40)).unwrap();
    assert_eq!(records(&instances), (100, 100), "a name counts once, whoever says it");
    let payments = key("default/payments");
    follow(&two, std::slice::from_ref(&payments)).unwrap_err();
    two.follow([(&payments, true)]).unwrap();
    two.follow([(&names("one", 1)[0], true)]).unwrap();
    assert_eq!(records(&instances), (101, 99), "a registered one has its place");

    // Those of an instance that broke off count until it is forgotten, those of one that said goodbye no more.
    drop(one);
    assert_eq!(records(&instances), (101, 99));
    two.says_goodbye();
    drop(two);
    assert_eq!(records(&instances), (60, 59));
    let again = connect("one");
    follow(&again, &names("one", 1)).unwrap();
    assert_eq!(records(&instances), (1, 1), "it uses the others no more");
}

#[test]
fn what_was_counted_outlives_who_reported_it() {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let session = instances.connect("one", "app", namespace()).unwrap();
    let key = names("app", 1).remove(0);
    follow(&session, std::slice::from_ref(&key)).unwrap();
    session.report(&key, report(3, FINE));
    session.says_goodbye();
    drop(session);
    assert_eq!(instances.observe(&key, at(1), hash()).activity.counters.calls, 3);
    instances.forget(&key);
    assert_eq!(records(&instances), (0, 0));
}
