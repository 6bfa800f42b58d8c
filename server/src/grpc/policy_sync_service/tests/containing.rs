//! Policies that instances put back are handed out no more.

use cofferdam_proto::v1::{
    GetConvergenceRequest, GetServiceIsolationInfoRequest, InstanceSyncState as State, IsolationLevel as Level,
    WaitForConvergenceRequest, sync_request::Message, wait_for_convergence_request::Quorum,
};

use super::*;
use crate::{
    grpc::SyncOptions,
    listener::ListenerOptions,
    peers::PeersOptions,
    testing::{FaultyStore, eventually, key},
};
use std::sync::Arc;

fn put_back(update: &v1::PolicyUpdate) -> Message {
    Message::Nack(v1::PolicyNack {
        service: update.service.clone(),
        revision: update.revision,
        reason: "contained: 96 %".to_owned(),
        field_path: String::new(),
        contained: true,
        ..v1::PolicyNack::default()
    })
}

/// What is handed out in the place of a contained policy.
fn in_place(good: &v1::PolicyUpdate, contained: &v1::PolicyUpdate) -> v1::PolicyUpdate {
    v1::PolicyUpdate { as_of: contained.revision, ..good.clone() }
}

async fn standing(manager: &Manager) -> v1::ServiceConvergence {
    let request = GetConvergenceRequest { service: "payments".to_owned(), ..Default::default() };
    let answer = manager.client().await.get_convergence(request).await.unwrap().into_inner();
    answer.convergence.unwrap().services.remove(0)
}

async fn containment(manager: &Manager) -> Option<v1::Containment> {
    let request = GetServiceIsolationInfoRequest { service: "payments".to_owned(), ..Default::default() };
    manager.client().await.get_service_isolation_info(request).await.unwrap().into_inner().containment
}

/// Once so many have refused the present policy.
async fn refused(manager: &Manager, refused: u32) -> v1::ServiceConvergence {
    let asking = async {
        loop {
            let seen = standing(manager).await;
            if seen.refused == refused {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it never stood so")
}

/// Instances that have the policy before in force and the poison, too.
async fn poisoned(manager: &Manager, ids: &[&str]) -> (Vec<Instance>, v1::PolicyUpdate, v1::PolicyUpdate) {
    register(manager, "payments").await;
    let mut instances = Vec::new();
    let mut good = v1::PolicyUpdate::default();
    for id in ids {
        let mut instance = Instance::connect(manager, hello(id, &["payments"])).await;
        good = instance.update().await;
        instance.complete().await;
        instance.ack(&good).await;
        instances.push(instance);
    }
    set_level(manager, "payments", Level::Full).await;
    let mut poison = v1::PolicyUpdate::default();
    for instance in &mut instances {
        poison = instance.update().await;
        instance.ack(&poison).await;
    }
    (instances, good, poison)
}

#[tokio::test]
async fn a_contained_policy_is_handed_out_no_more_until_a_newer_one_comes() {
    let manager = Manager::start().await;
    let (instances, good, poison) = poisoned(&manager, &["one", "two", "three"]).await;
    let [one, two, three]: [_; 3] = instances.try_into().ok().unwrap();

    // One among others may be out of order itself.
    one.say(put_back(&poison)).await;
    let seen = refused(&manager, 1).await;
    assert_eq!((seen.containment, containment(&manager).await), (None, None));
    let mut late = Instance::connect(&manager, hello("late", &["payments"])).await;
    assert_eq!(late.update().await.revision, poison.revision);

    // The same one again is one still.
    one.say(put_back(&poison)).await;
    two.say(put_back(&poison)).await;
    let seen = refused(&manager, 2).await;
    let contained = seen.containment.unwrap();
    assert_eq!((contained.revision, contained.in_place), (poison.revision, good.revision));
    assert_eq!(contained.reason, "contained: 96 %");
    assert_eq!(containment(&manager).await.map(|contained| contained.revision), Some(poison.revision));

    let mut new = Instance::connect(&manager, hello("new", &["payments"])).await;
    assert_eq!(new.update().await, in_place(&good, &poison));
    new.ack(&good).await;
    new.complete().await;
    let seen = standing(&manager).await;
    let withheld = seen.laggards.iter().find(|lag| lag.instance_id == "new").unwrap();
    assert_eq!(withheld.state(), State::Pending);
    assert!(withheld.reason.contains("contained"), "{}", withheld.reason);

    // One that comes back with what is handed out, or with the poison still in force, is told nothing.
    for (id, applied) in [("two", &good), ("three", &poison)] {
        let applied = v1::AppliedPolicy {
            service: "payments".to_owned(),
            revision: applied.revision,
            policy_hash: applied.policy_hash.clone(),
        };
        let hello = v1::SyncHello { applied: vec![applied], ..hello(id, &["payments"]) };
        Instance::connect(&manager, hello).await.complete().await;
    }
    drop((two, three));

    set_level(&manager, "payments", Level::Enhanced).await;
    let healed = new.update().await;
    assert!(healed.revision.unwrap().revision > poison.revision.unwrap().revision);
    assert_eq!((standing(&manager).await.containment, containment(&manager).await), (None, None));
    assert_eq!(Instance::connect(&manager, hello("newest", &["payments"])).await.update().await, healed);
}

#[tokio::test]
async fn what_takes_the_place_of_two_poisons_in_a_row_is_what_was_good_before_both() {
    let manager = Manager::start().await;
    let (mut instances, good, poison) = poisoned(&manager, &["only"]).await;
    // The only one there is suffices.
    instances[0].say(put_back(&poison)).await;
    refused(&manager, 1).await;
    set_level(&manager, "payments", Level::Enhanced).await;
    let another = instances[0].update().await;
    instances[0].ack(&another).await;
    instances[0].say(put_back(&another)).await;
    let seen = refused(&manager, 1).await;
    let contained = seen.containment.unwrap();
    assert_eq!((contained.revision, contained.in_place), (another.revision, good.revision));
}

#[tokio::test]
async fn a_first_policy_that_is_contained_leaves_others_with_what_they_have() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut only = Instance::connect(&manager, hello("only", &["payments"])).await;
    let first = only.update().await;
    only.ack(&first).await;
    only.say(put_back(&first)).await;
    let contained = refused(&manager, 1).await.containment.unwrap();
    assert_eq!(contained.in_place, None);
    // Neither the poison nor a removal.
    Instance::connect(&manager, hello("new", &["payments"])).await.complete().await;
}

/// A hold once handed the contained policy out again.
#[tokio::test]
async fn what_is_ordered_beside_a_contained_policy_reaches_all_with_what_is_in_its_place() {
    let manager = Manager::start().await;
    let (mut instances, good, poison) = poisoned(&manager, &["one", "two"]).await;
    for instance in &instances {
        instance.say(put_back(&poison)).await;
    }
    refused(&manager, 2).await;
    let request = v1::HoldBreakerRequest {
        service: "payments".to_owned(),
        forced: v1::ForcedState::Open.into(),
        reason: "a drill".to_owned(),
        ..Default::default()
    };
    let held = manager.registry.hold_breaker(request).await.unwrap().service.unwrap().revision;
    instances.push(Instance::connect(&manager, hello("new", &["payments"])).await);
    for instance in &mut instances {
        let update = instance.update().await;
        assert_eq!((update.revision, update.as_of, &update.policy), (good.revision, held, &good.policy));
        assert_eq!(update.orders.unwrap().holds.len(), 1);
    }
    let contained = containment(&manager).await.unwrap();
    assert_eq!((contained.revision, contained.in_place), (held, good.revision));

    // It is switched off: an order as well.
    let mut off = registration("payments");
    off.service.as_mut().unwrap().enabled = Some(false);
    manager.registry.register(off).await.unwrap();
    let update = instances[0].update().await;
    assert_eq!((update.enabled, update.revision), (false, good.revision));
}

/// An instance says what stays in force, and was shown with nothing.
#[tokio::test]
async fn what_stays_in_force_where_a_policy_was_put_back_is_shown() {
    let manager = Manager::start().await;
    let (instances, good, poison) = poisoned(&manager, &["one", "two"]).await;
    let Message::Nack(nack) = put_back(&poison) else { panic!("it is one") };
    let hash = policy_hash(&policy(&good)).as_bytes().to_vec().into();
    let told = v1::PolicyNack { applied_revision: good.revision, applied_policy_hash: hash, ..nack.clone() };
    instances[0].say(Message::Nack(told)).await;
    // One of a release that says less.
    instances[1].say(Message::Nack(v1::PolicyNack { applied_revision: good.revision, ..nack })).await;
    let seen = refused(&manager, 2).await;
    let applied: Vec<_> = seen.laggards.iter().map(|lag| (lag.instance_id.as_str(), lag.applied_revision)).collect();
    assert_eq!(applied.iter().find(|(id, _)| *id == "one").unwrap().1, good.revision);
    assert_eq!(applied.iter().find(|(id, _)| *id == "two").unwrap().1, None);
}

#[tokio::test]
async fn waiting_for_a_contained_policy_ends_at_once_and_says_why() {
    let manager = Manager::start().await;
    let (instances, _, poison) = poisoned(&manager, &["one", "two", "three"]).await;
    let request = |quorum| WaitForConvergenceRequest {
        service: "payments".to_owned(),
        quorum: Some(quorum),
        timeout: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        ..Default::default()
    };
    let mut client = manager.client().await;
    let waiting = tokio::spawn(async move { client.wait_for_convergence(request(Quorum::Count(4))).await });
    instances[0].say(put_back(&poison)).await;
    instances[1].say(put_back(&poison)).await;
    let answer = tokio::time::timeout(PATIENCE, waiting).await.expect("it waits on").unwrap().unwrap().into_inner();
    assert!(!answer.reached);
    let seen = answer.convergence.unwrap().services.remove(0);
    assert_eq!((seen.refused, seen.containment.unwrap().revision), (2, poison.revision));
    // What is reached is reached.
    let mut client = manager.client().await;
    let answer = client.wait_for_convergence(request(Quorum::Count(1))).await.unwrap().into_inner();
    assert!(answer.reached);
}

/// Managers that know each other, over one store with a service that all of them know.
async fn fleet(size: usize) -> Vec<Manager> {
    let store = FaultyStore::new();
    let mut managers = Vec::new();
    for _ in 0..size {
        let (sync, listener) = (SyncOptions::default(), ListenerOptions::default());
        managers.push(Manager::start_among(Arc::clone(&store), sync, listener, Some(PeersOptions::default())).await);
    }
    register(&managers[0], "payments").await;
    for manager in &managers {
        let payments = key("default/payments");
        eventually(&manager.registry, || manager.registry.get(&payments).is_some()).await;
        until(async || manager.peers.heard().len() + 1 == size).await;
    }
    managers
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it never came to hold");
}

/// An instance with the good policy, at a manager.
async fn at(manager: &Manager, id: &str) -> (Instance, v1::PolicyUpdate) {
    let mut instance = Instance::connect(manager, hello(id, &["payments"])).await;
    let good = instance.update().await;
    instance.complete().await;
    instance.ack(&good).await;
    (instance, good)
}

#[tokio::test]
async fn two_that_put_it_back_are_two_at_whichever_managers_and_one_is_one_among_those_of_all() {
    let managers = fleet(3).await;
    let (mut one, good) = at(&managers[0], "one").await;
    let (mut two, _) = at(&managers[1], "two").await;
    set_level(&managers[2], "payments", Level::Full).await;
    let poison = one.update().await;
    assert_eq!(two.update().await, poison);
    one.ack(&poison).await;
    two.ack(&poison).await;

    // The only one at its manager, and not the only one.
    one.say(put_back(&poison)).await;
    let seen = refused(&managers[2], 1).await;
    assert_eq!(seen.put_back, 1);
    for manager in &managers {
        assert_eq!(containment(manager).await, None);
    }

    two.say(put_back(&poison)).await;
    for manager in &managers {
        until(async || containment(manager).await.is_some()).await;
        let contained = containment(manager).await.unwrap();
        assert_eq!((contained.revision, contained.in_place), (poison.revision, good.revision));
        let mut new = Instance::connect(manager, hello("new", &["payments"])).await;
        assert_eq!(new.update().await, in_place(&good, &poison));
    }
}

#[tokio::test]
async fn the_only_one_of_all_managers_suffices() {
    let managers = fleet(2).await;
    let (mut only, good) = at(&managers[0], "only").await;
    set_level(&managers[1], "payments", Level::Full).await;
    let poison = only.update().await;
    only.ack(&poison).await;
    only.say(put_back(&poison)).await;
    until(async || containment(&managers[1]).await.is_some()).await;
    let mut new = Instance::connect(&managers[1], hello("new", &["payments"])).await;
    assert_eq!(new.update().await, in_place(&good, &poison));
}
