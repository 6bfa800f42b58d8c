//! Who tells what all managers know.

use super::*;
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

fn shared() -> Events {
    Events::new(Arc::new(FixedClock(EPOCH)), EventsOptions { keep: 20_000, is_shared: true })
}

/// What it has told of instances.
fn told(events: &Events) -> Vec<String> {
    events.take_turns();
    let filter = Filter::new("*", "", &[v1::EventKind::Instance.into()]).unwrap();
    events.after(0, 100, &filter).events.iter().map(|event| event.instance_id.clone()).collect()
}

fn leave(events: &Events, teller: Option<&str>, id: &str) {
    leave_of(events, teller, id, Duration::ZERO);
}

/// The same of what happened so long ago.
fn leave_of(events: &Events, teller: Option<&str>, id: &str, age: Duration) {
    events.leave_to(teller, came(id), events.now() - age);
}

#[tokio::test(start_paused = true)]
async fn what_this_manager_wrote_it_tells_at_once() {
    let events = shared();
    events.manager_is_there("0", "a:1");
    leave(&events, Some(&events.id.clone()), "own");
    leave(&events, Some("0"), "theirs");
    advance(SECOND * 100).await;
    assert_eq!(told(&events), ["own"]);
    let alone = super::events(100);
    leave(&alone, Some("anybody"), "a");
    leave(&alone, None, "b");
    assert_eq!(told(&alone), ["a", "b"], "who shares nothing tells everything");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wrote_is_told_by_the_first() {
    let (first, second) = (shared(), shared());
    first.manager_is_there("zz", "b:1");
    second.manager_is_there("0", "a:1");
    for events in [&first, &second] {
        leave(events, None, "expiry");
        assert!(told(events).is_empty(), "others may yet be found");
    }
    advance(SECOND * 6).await;
    assert_eq!((told(&first), told(&second)), (vec!["expiry".to_owned()], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_a_manager_that_is_gone_may_not_have_told_is_told_by_the_first_of_the_others() {
    let events = shared();
    events.manager_is_there("0", "a:1");
    leave(&events, Some("0"), "long before");
    advance(SECOND * 20).await;
    leave(&events, Some("0"), "just before");
    // That it says nothing is noticed after some time.
    advance(SECOND * 7).await;
    events.manager_is_away("0", "a:1", "the connection broke");
    leave(&events, None, "after");
    advance(SECOND * 20).await;
    assert!(told(&events).is_empty(), "it may be there still");
    events.manager_is_gone("0", "a:1");
    assert_eq!(told(&events), ["just before", "after"]);
    advance(SECOND * 100).await;
    assert_eq!(told(&events).len(), 2, "once");
}

#[tokio::test(start_paused = true)]
async fn whom_nobody_knows_is_waited_for() {
    let events = shared();
    leave(&events, Some("0"), "one");
    advance(SECOND * 4).await;
    events.manager_is_there("0", "a:1");
    advance(SECOND * 6).await;
    assert!(told(&events).is_empty(), "it was found in time");
    leave(&events, Some("1"), "two");
    leave(&events, Some(""), "three");
    events.manager_is_gone("0", "a:1");
    advance(SECOND * 6).await;
    assert_eq!(told(&events), ["two", "three"], "the first one was told while its teller was there");
}

#[tokio::test(start_paused = true)]
async fn managers_that_come_and_go_are_told() {
    let events = shared();
    events.manager_is_there("zz", "a:1");
    events.manager_is_away("zz", "a:1", "no answer");
    events.manager_is_away("zz", "a:1", "no answer");
    events.manager_is_there("zz", "a:1");
    events.manager_is_gone("zz", "a:1");
    advance(SECOND * 6).await;
    events.take_turns();
    let changes: Vec<_> = (events.after(0, 100, &Filter::default()).events.iter())
        .map(|event| match event.detail.as_ref().unwrap() {
            v1::event::Detail::Manager(manager) => manager.change(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(changes, [v1::ManagerChange::Unreachable, v1::ManagerChange::Reachable, v1::ManagerChange::Gone]);
}

#[tokio::test(start_paused = true)]
async fn one_that_came_after_it_had_happened_is_not_the_one_to_tell_it() {
    let events = shared();
    events.manager_is_there("writer", "a:1");
    leave(&events, Some("writer"), "change");
    leave(&events, None, "expiry");
    advance(SECOND).await;
    events.manager_is_there("0", "b:1");
    events.manager_is_gone("writer", "a:1");
    advance(SECOND * 3).await;
    // It is read late: the one that is there by now was not when it happened.
    leave_of(&events, Some("nobody"), "read late", SECOND * 10);
    leave(&events, Some("nobody"), "theirs");
    advance(SECOND * 6).await;
    assert_eq!(told(&events), ["change", "expiry", "read late"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_one_to_tell_that_cannot_be_reached_is_kept_until_it_is_gone() {
    let events = shared();
    events.manager_is_there("0", "a:1");
    events.manager_is_away("0", "a:1", "no answer");
    leave(&events, Some("0"), "change");
    leave(&events, None, "expiry");
    for _ in 0..30 {
        advance(SECOND * 10).await;
        assert!(told(&events).is_empty(), "it may be there still");
    }
    events.manager_is_gone("0", "a:1");
    assert_eq!(told(&events), ["change", "expiry"]);
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_is_told_by_the_first_and_not_lost() {
    let (first, second) = (shared(), shared());
    second.manager_is_there("0", "a:1");
    let many = super::super::turn::MAX_KEPT + 7;
    for events in [&first, &second] {
        for _ in 0..many {
            leave(events, None, "expiry");
        }
        assert_eq!(events.room(), 0);
        advance(SECOND * 6).await;
        events.take_turns();
    }
    assert_eq!((*first.last().borrow(), *second.last().borrow()), (many as u64, 0));
    assert_eq!((first.room(), super::events(1).room()), (many - 7, usize::MAX));
}
