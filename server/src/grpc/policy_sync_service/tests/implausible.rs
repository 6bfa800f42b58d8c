//! What no instance can have in force, refuse or have counted.

use cofferdam_proto::v1::sync_request::Message;
use tonic::Code;

use super::*;
use crate::testing::reason;

/// What an instance hears that has `payments` in force, and then says this.
async fn answer(manager: &Manager, says: impl FnOnce(&v1::PolicyUpdate) -> Message) -> Status {
    let mut instance = Instance::connect(manager, hello("one", &["payments"])).await;
    let update = instance.update().await;
    instance.complete().await;
    instance.ack(&update).await;
    instance.say(says(&update)).await;
    instance.failure().await
}

fn refused(status: &Status, path: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{status:?}");
    let details = tonic_types::StatusExt::get_details_bad_request(status).unwrap();
    assert_eq!(details.field_violations[0].field, path);
}

/// Such an acknowledgement was taken for one of a later policy: everybody was told that all instances had it, and for that
/// of the moment a new epoch of the store began.
#[tokio::test]
async fn what_was_never_sent_is_neither_in_force_nor_refused() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let epoch = manager.registry.head().epoch;
    for (epochs, revisions) in [(0, 1), (1, 0), (u64::MAX, u64::MAX)] {
        let later = |update: &v1::PolicyUpdate| {
            let v1::Revision { epoch, revision } = update.revision.unwrap();
            let later = |part: u64, more: u64| part.saturating_add(more);
            Some(v1::Revision { epoch: later(epoch, epochs), revision: later(revision, revisions) })
        };
        let ack = answer(&manager, |update| {
            let (revision, policy_hash) = (later(update), update.policy_hash.clone());
            Message::Ack(v1::PolicyAck { service: "payments".to_owned(), revision, policy_hash })
        });
        refused(&ack.await, "ack.revision");
        let nack = answer(&manager, |update| {
            let (service, revision) = ("payments".to_owned(), later(update));
            Message::Nack(v1::PolicyNack { service, revision, ..v1::PolicyNack::default() })
        });
        refused(&nack.await, "nack.revision");
    }
    assert_eq!(manager.registry.head().epoch, epoch, "the store is what it was");
}

/// A difference that was taken the wrong way round hid the calls of all others for as long as the manager ran.
#[tokio::test]
async fn numbers_that_nobody_can_have_counted_are_refused_and_nothing_of_their_report_counts() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let report = |sequence, counts: &[u64]| {
        let services = counts.iter().map(|&calls| v1::ServiceReport {
            service: "payments".to_owned(),
            counters: Some(v1::CallCounters { calls, ..v1::CallCounters::default() }),
            ..v1::ServiceReport::default()
        });
        Message::Report(v1::SyncReport { sequence, services: services.collect(), ..v1::SyncReport::default() })
    };
    refused(&answer(&manager, |_| report(1, &[3, u64::MAX])).await, "report.services[1].counters.calls");
    for sequence in [0, u64::MAX] {
        refused(&answer(&manager, |_| report(sequence, &[3])).await, "report.sequence");
    }
    let all = manager.client().await.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    let all = all.into_inner().stats.unwrap();
    assert_eq!((all.counters.unwrap().calls, all.losses.unwrap_or_default().reports_missed), (0, 0));
}

/// Ages of centuries made the mean time to recover one of decades, for as long as the manager ran.
#[tokio::test]
async fn transitions_that_cannot_have_been_when_they_say_are_dropped_and_counted() {
    let manager = Manager::start().await;
    register(&manager, "payments").await;
    let mut instance = Instance::connect(&manager, hello("one", &["payments"])).await;
    instance.update().await;
    instance.complete().await;
    let (open, closed) = (v1::BreakerState::Open, v1::BreakerState::Closed);
    let ages = [(closed, open, 200 * 365 * 24 * 3600), (closed, open, 9), (open, closed, -5), (open, closed, 2)];
    let transitions = ages.map(|(from, to, seconds)| v1::BreakerTransition {
        from: from.into(),
        to: to.into(),
        age: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..v1::BreakerTransition::default()
    });
    let service = v1::ServiceReport {
        service: "payments".to_owned(),
        transitions: transitions.to_vec(),
        transitions_dropped: 1,
        ..v1::ServiceReport::default()
    };
    let report = v1::SyncReport { sequence: 1, services: vec![service], ..v1::SyncReport::default() };
    instance.say(Message::Report(report)).await;
    let has_lost = |stats: &v1::ServiceStats| stats.losses.is_some_and(|losses| losses.transitions_dropped > 0);
    let stats = stats_become(&manager, "payments", has_lost).await;
    let recoveries = stats.recoveries.unwrap();
    assert_eq!((stats.losses.unwrap().transitions_dropped, recoveries.count), (3, 1));
    assert_eq!(recoveries.longest.unwrap().seconds, 7);
}
