//! A process that begins under what an earlier one kept.

use super::*;
use crate::policy_file::Kept;
use crate::service::Origin;

/// With a policy of this revision kept for service `a`.
fn scene(kept: Revision) -> Scene {
    Scene::start(&[], vec![("test", Way::IsOpen)], |shared| {
        let (service, policy) = ("a".into(), policy(Level::Full));
        shared.registry.restore(
            vec![Kept { service, policy, revision: kept, is_enabled: true, orders: Orders::default() }],
            "checkout-1",
        );
        shared.registry.service("a");
        shared
    })
}

fn in_force(scene: &Scene) -> (Option<Revision>, Level, Origin) {
    let service = scene.service("a");
    let in_force = service.isolation.in_force();
    (in_force.revision, in_force.policy.level, service.origin())
}

#[tokio::test(start_paused = true)]
async fn the_hello_says_what_was_kept_so_that_only_what_differs_is_sent() {
    let mut scene = scene(at(5, 7));
    let (stream, hello) = scene.accept().await;
    assert_eq!(hello.applied, [applied("a", at(5, 7), &policy(Level::Full))]);
    stream.say(FromManager::Complete(None));
    assert!(matches!(scene.events.next().await, Some(Event::Connected { .. })));
    assert_eq!(in_force(&scene), (Some(at(5, 7)), Level::Full, Origin::File));
}

#[tokio::test(start_paused = true)]
async fn what_the_manager_says_goes_before_what_was_kept() {
    // Newer; the same, as a later release reads it; of a new epoch; of a store that is older than the one before.
    for revision in [at(5, 8), at(5, 7), at(6, 1), at(4, 99)] {
        let mut scene = scene(at(5, 7));
        let (mut stream, _) = scene.accept().await;
        stream.update("a", revision, Ok(policy(Level::Basic)));
        assert_eq!(stream.answer().await, ToManager::Applied(applied("a", revision, &policy(Level::Basic))));
        assert_eq!(in_force(&scene), (Some(revision), Level::Basic, Origin::Manager));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_what_was_kept_is_not_applied() {
    let mut scene = scene(at(5, 7));
    let (stream, _) = scene.accept().await;
    stream.update("a", at(5, 6), Ok(policy(Level::Basic)));
    let outdated = Event::PolicyOutdated { service: "a".into(), revision: at(5, 6), newest: at(5, 7) };
    assert_eq!(scene.event().await, outdated);
    assert_eq!(in_force(&scene), (Some(at(5, 7)), Level::Full, Origin::File));
}

#[tokio::test(start_paused = true)]
async fn once_the_manager_has_spoken_an_older_epoch_is_outdated_as_ever() {
    let mut scene = scene(at(5, 7));
    let (mut stream, _) = scene.accept().await;
    stream.update("a", at(6, 1), Ok(policy(Level::Basic)));
    stream.answer().await;
    stream.update("a", at(5, 8), Ok(policy(Level::None)));
    scene.event().await;
    assert!(matches!(scene.event().await, Event::PolicyOutdated { .. }));
    assert_eq!(in_force(&scene), (Some(at(6, 1)), Level::Basic, Origin::Manager));
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_goes_when_the_manager_says_so_and_stays_when_it_sends_what_cannot_be() {
    let mut scene = scene(at(5, 7));
    let (mut stream, _) = scene.accept().await;
    let refusal = Refusal { reason: "too much".to_owned(), field_path: String::new() };
    stream.update("a", at(5, 8), Err(refusal));
    assert!(
        matches!(stream.answer().await, ToManager::Refused { in_force, .. } if in_force == Some(applied("a", at(5, 7), &policy(Level::Full))))
    );
    assert_eq!(in_force(&scene), (Some(at(5, 7)), Level::Full, Origin::File));

    stream.say(FromManager::Removal { service: "a".to_owned(), revision: Some(at(5, 9)) });
    scene.event().await;
    assert!(matches!(scene.event().await, Event::PolicyRemoved { .. }));
    assert_eq!(in_force(&scene), (None, Level::Basic, Origin::BuiltIn));
}
