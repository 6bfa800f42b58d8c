//! Several managers over one store: which of them a process goes to, and when.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

const SECOND: Duration = Duration::from_secs(1);
const NAMES: [&str; 3] = ["one", "two", "three"];

fn all_open() -> Vec<(&'static str, Way)> {
    NAMES.map(|name| (name, Way::IsOpen)).into()
}

#[tokio::test(start_paused = true)]
async fn where_one_refuses_the_others_are_asked_at_once_and_then_there_is_a_pause() {
    let mut scene = Scene::among(NAMES.map(|name| (name, Way::Refuses)).into());
    let mut pauses = 0;
    let mut last_round_at = None;
    for round in 0..100_u32 {
        let attempts = [scene.attempt().await, scene.attempt().await, scene.attempt().await];
        let asked: BTreeSet<_> = attempts.iter().map(|attempt| Arc::clone(&attempt.manager)).collect();
        assert_eq!(asked.len(), 3, "round {round}: each once");
        assert!(attempts.iter().all(|attempt| attempt.at == attempts[0].at), "round {round}: no pause within it");
        let longest = (SECOND / 10 * 2_u32.pow(round.min(10))).min(5 * SECOND) + SECOND / 500;
        if let Some(last) = last_round_at.replace(attempts[0].at) {
            assert!(attempts[0].at - last <= longest, "round {round}");
            pauses += u32::from(attempts[0].at > last);
        }
    }
    assert!(pauses > 90, "{pauses}");
    let reason = scene.shared.link.look().reason.unwrap();
    assert!(NAMES.iter().any(|name| *reason == format!("{name}: connection refused")), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_left_for_another_within_seconds() {
    for _ in 0..20 {
        let mut scene = Scene::among(vec![("stuck", Way::Hangs), ("well", Way::IsOpen)]);
        let begin = Instant::now();
        let first = scene.attempt().await;
        if *first.manager == *"stuck" {
            let next = scene.attempt().await;
            assert_eq!((&*next.manager, next.at - begin), ("well", 5 * SECOND));
            return;
        }
    }
    panic!("twenty instances have all gone to the same manager");
}

#[tokio::test(start_paused = true)]
async fn who_loses_a_manager_goes_to_another_within_a_moment_and_is_told_which() {
    let mut scene = Scene::among(all_open());
    let mut lost: Option<(Arc<str>, Instant)> = None;
    let mut visits = BTreeMap::new();
    for _ in 0..90 {
        let Opened { manager, at, stream } = scene.attempt().await;
        if let Some((last, ended)) = &lost {
            assert_ne!(*last, manager);
            assert!(at - *ended <= SECOND / 10 + SECOND / 500);
        }
        stream.as_ref().unwrap().say(FromManager::Complete(None));
        while !scene.shared.link.look().is_connected() {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.shared.link.look().manager.as_ref(), Some(&manager));
        *visits.entry(Arc::clone(&manager)).or_insert(0) += 1;
        tokio::time::sleep(10 * SECOND).await;
        drop(stream);
        lost = Some((manager, Instant::now()));
        while scene.shared.link.look().is_connected() {
            tokio::task::yield_now().await;
        }
        assert_eq!(scene.shared.link.look().manager, None);
    }
    assert!(visits.len() == 3 && visits.values().all(|count| *count > 10), "{visits:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_to_come_again_goes_to_any_so_that_one_that_was_restarted_gets_its_share() {
    let mut scene = Scene::among(all_open());
    let mut visits = BTreeMap::new();
    let mut stayed = 0;
    let mut last = None;
    for _ in 0..150 {
        let Opened { manager, stream, .. } = scene.attempt().await;
        let stream = stream.unwrap();
        stream.say(FromManager::Reconnect { within: SECOND });
        drop(stream);
        stayed += u32::from(last.as_ref() == Some(&manager));
        *visits.entry(Arc::clone(&manager)).or_insert(0) += 1;
        last = Some(manager);
    }
    assert!(visits.len() == 3 && visits.values().all(|count| *count > 20), "{visits:?}");
    assert!(stayed > 10, "the same one is as good as any: {stayed}");
}
