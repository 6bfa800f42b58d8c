//! Managers whose key goes, and comes back.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cofferdam_core::{breaker::State, health::HealthStatus};
use tokio::time::Instant;

use super::super::{LINGER, Shared, follow::SILENCE, record};
use crate::{
    clock::testing::FixedClock,
    instances::{Census, Condition, Instances, Stand},
    store::Store,
    testing::{FaultyStore, PATIENCE, key},
};

fn shared() -> Arc<Shared> {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    let (id, address, joining) = ("self".to_owned(), String::new(), Default::default());
    Arc::new(Shared { id, address, timeout: PATIENCE, instances, joining, peers: Default::default() })
}

#[tokio::test(start_paused = true)]
async fn a_manager_whose_key_is_back_is_not_forgotten() {
    let shared = shared();
    let is_known = || shared.lock().contains_key("b");
    shared.found("b", String::new());
    assert!(!shared.forget_if_left("b", true) && is_known(), "its key is there");
    shared.left("b");
    // It has just written its key again, when its stream is found to be over.
    shared.found("b", String::new());
    assert!(!shared.forget_if_left("b", true) && is_known(), "its key is there again");
}

/// One that was heard of.
fn found(shared: &Arc<Shared>, id: &str, window: Duration) {
    shared.found(id, String::new());
    shared.lock().get_mut(id).unwrap().reconnect_window = window;
}

#[tokio::test(start_paused = true)]
async fn a_manager_whose_key_is_gone_is_forgotten_once_its_instances_have_had_the_time_to_come() {
    let shared = shared();
    let long = LINGER * 3;
    for (id, window, is_absent, missed_for) in [
        ("none", Duration::ZERO, true, Duration::ZERO),
        ("many", long, true, long),
        ("may run", Duration::ZERO, false, LINGER),
        ("may run, with many", long, false, long),
    ] {
        found(&shared, id, window);
        shared.left(id);
        if !missed_for.is_zero() {
            tokio::time::advance(missed_for - Duration::from_secs(1)).await;
            assert!(!shared.forget_if_left(id, is_absent), "{id}");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(shared.forget_if_left(id, is_absent), "{id}");
        assert!(!shared.lock().contains_key(id));
    }
    found(&shared, "later", Duration::ZERO);
    shared.left("later");
    // Whoever follows it notices.
    tokio::time::sleep(LINGER + Duration::from_secs(1)).await;
    assert!(shared.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_manager_said_goes_once_it_is_not_heard_and_it_is_still_missed() {
    let shared = shared();
    let condition = Condition { breaker: Some(State::Open), health: Some(HealthStatus::CircuitOpen) };
    let stand = Stand { condition, census: Census { open: 1, instances: 1 }, ..Stand::default() };
    shared.found("b", String::new());
    shared.instances.stand_elsewhere("b", HashMap::from([(key("default/payments"), stand)]));
    let seen = || shared.instances.condition(&key("default/payments"));
    tokio::time::sleep(SILENCE - Duration::from_secs(1)).await;
    assert_eq!(seen(), condition, "it may be heard again in a moment");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(seen(), Condition::default());
    assert!(shared.lock().contains_key("b"), "its key is there");
}

/// It was forgotten the moment it died, with its instances on their way.
#[tokio::test(start_paused = true)]
async fn one_that_has_run_on_without_its_key_is_missed_from_when_it_was_last_heard() {
    for window in [Duration::ZERO, LINGER * 3] {
        let shared = shared();
        found(&shared, "b", window);
        shared.left("b");
        for _ in 0..20 {
            tokio::time::sleep(LINGER / 2).await;
            shared.lock().get_mut("b").expect("it is heard").heard_at = Some(Instant::now());
        }
        tokio::time::sleep(LINGER.max(window) - Duration::from_secs(1)).await;
        assert!(!shared.forget_if_left("b", true), "its instances are on their way");
        // Whoever follows it notices.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(shared.lock().is_empty());
    }
}

/// It took the key along when its own lease ended, and nobody noticed.
#[tokio::test(start_paused = true)]
async fn a_late_attempt_to_write_the_key_does_not_take_it_away() {
    let (store, shared, lease) = (FaultyStore::new(), shared(), Duration::from_secs(10));
    store.belated.store(1, std::sync::atomic::Ordering::SeqCst);
    let dynamic: Arc<dyn Store> = Arc::<FaultyStore>::clone(&store);
    let own = record::encode(None, &FixedClock(0));
    let _keeping = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(record::keep(
        dynamic,
        Arc::downgrade(&shared),
        own,
        lease,
    )));
    for _ in 0..10 {
        tokio::time::sleep(lease / 2).await;
        let listed = store.list(record::PREFIX).await.unwrap().entries;
        assert_eq!(listed.iter().map(|entry| &*entry.key).collect::<Vec<_>>(), ["peer/self"]);
    }
}
