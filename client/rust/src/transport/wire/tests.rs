use super::*;
use cofferdam_core::policy::PolicySpec;
use cofferdam_core::wire::to_wire;

fn update(policy: Option<v1::IsolationPolicy>) -> v1::PolicyUpdate {
    v1::PolicyUpdate { service: "a".to_owned(), policy, enabled: true, ..v1::PolicyUpdate::default() }
}

#[test]
fn a_policy_comes_as_it_was_sent() {
    let policy = Policy::new(PolicySpec::default()).unwrap();
    let received = from_update(update(Some(to_wire(&policy))));
    assert_eq!(received.policy, Ok(policy));
    assert_eq!(received.revision, None);
}

#[test]
fn no_policy_is_not_the_empty_policy() {
    assert_eq!(from_update(update(None)).policy.unwrap_err().reason, "the update holds no policy");
}

#[test]
fn a_refusal_names_the_first_field_at_fault() {
    let mut wire = to_wire(&Policy::default());
    wire.retry.as_mut().unwrap().max_attempts = Some(1000);
    let refusal = from_update(update(Some(wire))).policy.unwrap_err();
    assert_eq!(refusal.field_path, "retry.max_attempts");
    assert!(refusal.reason.contains("retry.max_attempts"), "{}", refusal.reason);
}

#[test]
fn reconnects_have_a_default_and_broken_times_are_it() {
    let within = |within| {
        let message = sync_response::Message::Reconnect(v1::SyncReconnect { within });
        match from_manager(v1::SyncResponse { message: Some(message) }) {
            FromManager::Reconnect { within } => within,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(within(None), DEFAULT_WITHIN);
    assert_eq!(within(Some(prost_types::Duration { seconds: -1, nanos: 0 })), DEFAULT_WITHIN);
    assert_eq!(within(Some(prost_types::Duration { seconds: 3, nanos: 0 })), Duration::from_secs(3));
}

#[test]
fn a_time_to_come_back_in_is_heard_wherever_it_is_said() {
    let within = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    let complete = v1::SyncComplete { reconnect_within: within, ..v1::SyncComplete::default() };
    let bookmark = v1::SyncBookmark { reconnect_within: within, ..v1::SyncBookmark::default() };
    for message in [sync_response::Message::Complete(complete), sync_response::Message::Bookmark(bookmark)] {
        let heard = from_manager(v1::SyncResponse { message: Some(message) });
        let (FromManager::Complete(window) | FromManager::Bookmark(window)) = heard else { panic!("{heard:?}") };
        assert_eq!(window, Some(Duration::from_secs(3)));
    }
}

#[test]
fn a_hint_comes_as_it_was_sent_and_a_broken_time_is_none() {
    let sent = |ttl| v1::FleetHint { service: "a".to_owned(), ttl, open_instances: 2, instances: 4 };
    let received =
        |ttl| match from_manager(v1::SyncResponse { message: Some(sync_response::Message::FleetHint(sent(ttl))) }) {
            FromManager::FleetHint { service, open_instances: 2, instances: 4, ttl } if service == "a" => ttl,
            other => panic!("{other:?}"),
        };
    assert_eq!(received(Some(prost_types::Duration { seconds: 3, nanos: 0 })), Duration::from_secs(3));
    assert_eq!(received(Some(prost_types::Duration { seconds: -3, nanos: 0 })), Duration::ZERO);
    assert_eq!(received(None), Duration::ZERO);
}

#[test]
fn messages_of_later_releases_are_passed_over() {
    assert!(matches!(from_manager(v1::SyncResponse { message: None }), FromManager::Unknown));
}

#[test]
fn reasons_are_cut_between_characters() {
    let text = "\u{20ac}".repeat(1000);
    let cut = truncated(text);
    assert_eq!(cut.len(), 1023);
    assert!(cut.chars().all(|character| character == '\u{20ac}'));
    assert_eq!(truncated("short".to_owned()), "short");
}
