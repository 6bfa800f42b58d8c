//! Waiting for the manager's first word.

use super::*;
use crate::Cofferdam;
use crate::transport::{Keepalive, Manager};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);

/// An instance, and how long it waits for the manager's word; `true` where the word came.
fn waiting(scene: &Scene, within: Duration) -> JoinHandle<(bool, Duration)> {
    let cofferdam = Cofferdam::new(Arc::clone(&scene.shared), Vec::new());
    let begin = Instant::now();
    tokio::spawn(async move { (cofferdam.ready(within).await, begin.elapsed()) })
}

fn with_manager(services: &[&str], way: Way) -> Scene {
    let manager = Manager::new("http://127.0.0.1:1", Keepalive::default()).unwrap();
    Scene::start(services, vec![("test", way)], |shared| Shared { managers: vec![manager], ..shared })
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_each_service_was_told_of() {
    let mut scene = with_manager(&["a", "b", "c"], Way::IsOpen);
    let (stream, _) = scene.accept().await;
    let waiting = waiting(&scene, 60 * SECOND);
    stream.update("a", at(1, 2), Ok(policy(Level::Full)));
    stream.say(FromManager::Removal { service: "b".to_owned(), revision: Some(at(1, 1)) });
    tokio::time::sleep(SECOND).await;
    assert!(!waiting.is_finished(), "nothing was said of c");
    let refusal = Refusal { reason: "unknown field".to_owned(), field_path: "x".to_owned() };
    stream.update("c", at(1, 3), Err(refusal));
    let (is_ready, after) = waiting.await.unwrap();
    assert_eq!((is_ready, after.as_secs()), (true, 1), "a refused policy is a word too");
}

/// A manager that has nothing new for an instance that comes again says only that nothing is missing.
#[tokio::test(start_paused = true)]
async fn that_nothing_is_missing_is_a_word_on_each() {
    let mut scene = with_manager(&["a", "b"], Way::IsOpen);
    let (stream, _) = scene.accept().await;
    let waiting = waiting(&scene, 60 * SECOND);
    stream.say(FromManager::Complete(None));
    assert_eq!(waiting.await.unwrap(), (true, Duration::ZERO));
    scene.service("later");
    let cofferdam = Cofferdam::new(Arc::clone(&scene.shared), Vec::new());
    assert!(!cofferdam.ready(SECOND / 10).await, "of this one nothing was said");
}

#[tokio::test(start_paused = true)]
async fn it_waits_no_longer_than_it_is_told_to() {
    let scene = with_manager(&["a"], Way::Hangs);
    assert_eq!(waiting(&scene, 2 * SECOND).await.unwrap(), (false, 2 * SECOND));
    let alone = Scene::new(&["a"]);
    assert_eq!(waiting(&alone, 2 * SECOND).await.unwrap(), (true, Duration::ZERO), "there is no manager");
}
