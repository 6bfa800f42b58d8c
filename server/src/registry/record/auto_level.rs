//! How a policy is stored that leaves its level to what it states.
//!
//! A release that does not know [`Auto`](v1::IsolationLevel::Auto) takes its number for a fault and serves no policy that has
//! it: beside a newer manager, or after an upgrade that was taken back, it would have lost the service. So the policy of a
//! record has the level that follows, and the record says that it does. Such a release keeps that as it keeps every field
//! that it does not know; a level that it writes is another one, and counts.

use cofferdam_core::wire::{effective_policy, level_to_wire};
use cofferdam_proto::{storage::v1 as storage, v1};

/// A record as every release reads it.
pub(in crate::registry) fn as_stored(mut record: storage::ServiceRecord) -> storage::ServiceRecord {
    record.auto_level = v1::IsolationLevel::Unspecified.into();
    if let Some(policy) = record.policy.as_mut().filter(|policy| policy.level() == v1::IsolationLevel::Auto)
        && let Ok(effective) = effective_policy(policy)
    {
        policy.set_level(level_to_wire(effective.level));
        record.auto_level = policy.level;
    }
    record
}

/// A record with its policy as somebody wrote it.
pub(in crate::registry) fn as_written(mut record: storage::ServiceRecord) -> storage::ServiceRecord {
    let followed = std::mem::take(&mut record.auto_level);
    if let Some(policy) = record.policy.as_mut().filter(|policy| followed != 0 && policy.level == followed) {
        policy.set_level(v1::IsolationLevel::Auto);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: v1::IsolationLevel) -> storage::ServiceRecord {
        let hedge = Some(v1::HedgePolicy::default());
        let policy = v1::IsolationPolicy { level: level.into(), hedge, ..Default::default() };
        storage::ServiceRecord { policy: Some(policy), ..Default::default() }
    }

    #[test]
    fn what_is_stored_has_a_level_that_every_release_knows_and_reads_as_it_was_written() {
        let stored = as_stored(record(v1::IsolationLevel::Auto));
        assert_eq!(stored.policy.as_ref().unwrap().level(), v1::IsolationLevel::Full);
        assert_eq!(stored.auto_level(), v1::IsolationLevel::Full);
        assert_eq!(as_written(stored.clone()), record(v1::IsolationLevel::Auto));
        assert_eq!(as_stored(as_written(stored.clone())), stored);
        for level in [v1::IsolationLevel::Unspecified, v1::IsolationLevel::None, v1::IsolationLevel::Full] {
            assert_eq!(as_stored(record(level)), record(level));
            assert_eq!(as_written(record(level)), record(level));
        }
    }

    #[test]
    fn a_level_that_another_release_wrote_counts() {
        let stored = as_stored(record(v1::IsolationLevel::Auto));
        for level in [v1::IsolationLevel::Unspecified, v1::IsolationLevel::Basic] {
            let mut changed = stored.clone();
            changed.policy.as_mut().unwrap().set_level(level);
            assert_eq!(as_written(changed), record(level));
        }
        // One that changed something else leaves the level to the policy.
        let mut changed = stored;
        changed.policy.as_mut().unwrap().hedge = None;
        assert_eq!(as_written(changed).policy.unwrap().level(), v1::IsolationLevel::Auto);
    }

    #[test]
    fn what_no_release_reads_stays_as_it_is() {
        for level in [-1, 6, 77] {
            let mut broken = record(v1::IsolationLevel::Auto);
            broken.policy.as_mut().unwrap().level = level;
            assert_eq!(as_stored(broken.clone()), broken);
        }
        let without = storage::ServiceRecord { auto_level: 3, ..Default::default() };
        assert_eq!(as_written(without).policy, None);
    }
}
