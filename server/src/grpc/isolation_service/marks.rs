//! The changes of a service among the slots of its history, so that a figure that turns can be put down to a change.

use std::time::Duration;

use cofferdam_core::{revision::Revision, time::WallTime, wire::revision_to_wire};
use cofferdam_proto::v1;
use prost_types::Timestamp;

use super::collect::{LONG_SLOT, SHORT_SLOT, SHORT_WINDOW};

/// Puts each change of the last so long into the slot in which it was made, and where there is none, because nothing happened
/// then, makes one.
pub(super) fn put(history: &mut Vec<v1::HistoryPoint>, changes: &[(i64, Revision)], window: Duration, now: WallTime) {
    let slot = if window > SHORT_WINDOW { LONG_SLOT } else { SHORT_SLOT };
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let length = seconds(slot);
    let begin = |point: &v1::HistoryPoint| point.begin_time.as_ref().map_or(0, |time| time.seconds);
    let first = now.seconds().saturating_sub(seconds(window));
    for (time, revision) in changes.iter().filter(|(time, _)| *time >= first) {
        let after = history.partition_point(|point| begin(point) <= *time);
        let is_in = |point: &&mut v1::HistoryPoint| *time < begin(point).saturating_add(length);
        let at = after.checked_sub(1).and_then(|before| history.get_mut(before)).filter(is_in);
        let revision = revision_to_wire(*revision);
        match at {
            Some(point) => point.revisions.push(revision),
            None => {
                let seconds = time.saturating_sub(time.rem_euclid(length));
                let seconds = after.checked_sub(1).and_then(|before| history.get(before)).map_or(seconds, |before| {
                    // It began with the manager and not with the minute.
                    begin(before).saturating_add(length).max(seconds)
                });
                let begin_time = Some(Timestamp { seconds, nanos: 0 });
                history.insert(after, v1::HistoryPoint { begin_time, calls: None, revisions: vec![revision] });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(begins: &[i64]) -> Vec<v1::HistoryPoint> {
        let point = |&seconds: &i64| v1::HistoryPoint {
            begin_time: Some(Timestamp { seconds, nanos: 0 }),
            calls: Some(v1::CallStats::default()),
            revisions: Vec::new(),
        };
        begins.iter().map(point).collect()
    }

    #[test]
    fn each_change_stands_in_its_slot_and_in_one_of_its_own_where_nothing_happened() {
        let mut history = points(&[1_003, 1_013, 1_053]);
        let change = |time, revision| (time, Revision { epoch: 1, revision });
        let changes = [change(900, 1), change(1_003, 2), change(1_012, 3), change(1_031, 4), change(1_062, 5)];
        put(&mut history, &changes, Duration::from_secs(100), WallTime::new(1_063, 0).unwrap());
        let seen: Vec<_> = history
            .iter()
            .map(|point| {
                let revisions: Vec<_> = point.revisions.iter().map(|revision| revision.revision).collect();
                (point.begin_time.unwrap().seconds, point.calls.is_some(), revisions)
            })
            .collect();
        let expected =
            [(1_003, true, vec![2, 3]), (1_013, true, vec![]), (1_030, false, vec![4]), (1_053, true, vec![5])];
        assert_eq!(seen, expected);
    }
}
