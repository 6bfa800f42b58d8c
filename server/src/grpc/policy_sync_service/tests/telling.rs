//! What is told of instances, to those who watch events.

use super::*;
use crate::testing::{Watching, key};
use v1::{event::Detail, sync_request::Message};

fn transition(from: v1::BreakerState, to: v1::BreakerState, cause: &str) -> v1::BreakerTransition {
    v1::BreakerTransition {
        from: from.into(),
        to: to.into(),
        cause: cause.to_owned(),
        ..v1::BreakerTransition::default()
    }
}

fn report(sequence: u64, service: &str, transitions: Vec<v1::BreakerTransition>, dropped: u32) -> Message {
    let report = v1::ServiceReport {
        service: service.to_owned(),
        transitions,
        transitions_dropped: dropped,
        ..v1::ServiceReport::default()
    };
    Message::Report(v1::SyncReport { sequence, interval: None, services: vec![report] })
}

#[tokio::test]
async fn breakers_refusals_convergence_and_goodbyes_are_told_in_their_order() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut watching = Watching::all(&manager).await;
    let mut one = Instance::connect(&manager, hello("one", &["payments", "nobody"])).await;
    one.removal().await;
    let update = one.update().await;
    one.ack(&update).await;
    let came = watching.event().await;
    assert!(matches!(came.detail, Some(Detail::Instance(event)) if event.change() == v1::InstanceChange::Came));
    assert_eq!((came.instance_id.as_str(), came.summary.as_str()), ("one", "instance one of checkout has come"));
    let reached = watching.event().await;
    assert!(matches!(reached.detail, Some(Detail::Convergence(event)) if event.reached && event.applied == 1));
    assert_eq!(reached.revision, update.revision);

    let (closed, open) = (v1::BreakerState::Closed, v1::BreakerState::Open);
    let moves = vec![transition(closed, open, "consecutive_failures"), transition(open, closed, "probes")];
    // Names that nobody registered have no end, so nothing is told of them.
    one.say(report(1, "nobody", vec![transition(closed, open, "x")], 0)).await;
    one.say(report(2, "payments", moves, 3)).await;
    let events = [watching.event().await, watching.event().await, watching.event().await];
    let told: Vec<_> = (events.iter())
        .map(|event| match event.detail.clone().unwrap() {
            Detail::Breaker(breaker) => (breaker.from(), breaker.to(), breaker.not_reported),
            other => panic!("{other:?}"),
        })
        .collect();
    let nothing = v1::BreakerState::Unspecified;
    assert_eq!(told, [(closed, open, 0), (open, closed, 0), (nothing, nothing, 3)]);
    assert_eq!((events[0].service.as_str(), events[0].revision), ("payments", update.revision));
    assert_eq!(events[0].summary, "default/payments at one: closed -> open, consecutive_failures");

    one.complete().await;
    set_level(&manager, "payments", v1::IsolationLevel::Full).await;
    let newer = one.update().await;
    let nack = v1::PolicyNack {
        service: "payments".to_owned(),
        revision: newer.revision,
        reason: "too new".to_owned(),
        field_path: "bulkhead".to_owned(),
        applied_revision: update.revision,
        contained: true,
        ..v1::PolicyNack::default()
    };
    one.say(Message::Nack(nack)).await;
    let changed = watching.event().await;
    assert_eq!((changed.kind(), changed.revision), (v1::EventKind::Change, newer.revision));
    let refused = watching.event().await;
    assert!(matches!(refused.detail, Some(Detail::Refusal(event)) if event.contained && event.reason == "too new"));
    let contained = watching.event().await;
    assert_eq!((contained.kind(), contained.revision), (v1::EventKind::Containment, newer.revision));
    let two = manager.instances.connect("two", "checkout", key("default/payments").namespace).unwrap();
    two.says_goodbye();
    drop(two);
    assert!(watching.event_of(v1::EventKind::Instance).await.summary.ends_with("has come"));
    let left = watching.event_of(v1::EventKind::Instance).await;
    assert!(matches!(left.detail, Some(Detail::Instance(event)) if event.change() == v1::InstanceChange::Left));
}

#[tokio::test]
async fn an_instance_that_comes_back_at_once_is_no_news() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut watching = Watching::all(&manager).await;
    let mut one = Instance::connect(&manager, hello("one", &["payments"])).await;
    one.update().await;
    one.complete().await;
    assert_eq!(watching.event().await.instance_id, "one");
    let mut again = Instance::connect(&manager, hello("one", &["payments"])).await;
    again.update().await;
    let mut two = Instance::connect(&manager, hello("two", &["payments"])).await;
    two.update().await;
    assert_eq!(watching.event_of(v1::EventKind::Instance).await.instance_id, "two", "nothing was told of one");
}
