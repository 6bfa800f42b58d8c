//! Managers whose key goes, and comes back.

use std::{sync::Arc, time::Duration};

use super::super::{LINGER, Shared};
use crate::{instances::Instances, testing::PATIENCE};

fn shared() -> Arc<Shared> {
    let instances = Arc::new(Instances::new(10, Duration::ZERO));
    Arc::new(Shared { id: "self".to_owned(), timeout: PATIENCE, instances, peers: Default::default() })
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

#[tokio::test(start_paused = true)]
async fn a_manager_whose_key_is_gone_is_forgotten_at_once_or_after_a_while() {
    let shared = shared();
    for (id, is_absent) in [("b", true), ("c", false)] {
        shared.found(id, String::new());
        shared.left(id);
        assert_eq!(shared.forget_if_left(id, is_absent), is_absent, "{id}");
        assert_eq!(shared.lock().contains_key(id), !is_absent);
    }
    // Whoever follows it notices.
    tokio::time::sleep(LINGER + Duration::from_secs(1)).await;
    assert!(shared.lock().is_empty());
}
