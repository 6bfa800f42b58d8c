//! Calls that an instance turned away, in its own words.

use cofferdam_core::{
    hold::{MAX_OWNER_BYTES, MAX_REASON_BYTES},
    wire::duration_from_wire,
};
use cofferdam_proto::v1;
use tokio::time::Instant;

use crate::words::{printed, shortened};

/// Rejections of one report that are looked at.
const MAX_REJECTIONS: usize = 8;
/// The longest name of a method or a pool, and the longest glob, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// What an instance tells of them, with when each was: as many as it may, each a line at most, no longer than it may be.
pub(super) fn rejections(instance: &str, reported: &[v1::RejectedCall]) -> Vec<(Instant, v1::RejectedCall)> {
    let now = Instant::now();
    let read = |call: &v1::RejectedCall| {
        let age = call.age.and_then(|age| duration_from_wire(age).ok()).unwrap_or_default();
        (now.checked_sub(age).unwrap_or(now), bounded(instance, call))
    };
    reported.iter().take(MAX_REJECTIONS).map(read).collect()
}

fn bounded(instance: &str, call: &v1::RejectedCall) -> v1::RejectedCall {
    // Whose call it is and when it was is not for the call to say.
    let v1::RejectedCall { age: _, instance_id: _, method, pool, reason: _, revision, breaker } = call;
    v1::RejectedCall {
        age: None,
        instance_id: instance.to_owned(),
        method: text(method, MAX_NAME_BYTES),
        pool: text(pool, MAX_NAME_BYTES),
        reason: call.reason().into(),
        revision: *revision,
        breaker: breaker.as_ref().map(receipt),
    }
}

fn receipt(said: &v1::BreakerReceipt) -> v1::BreakerReceipt {
    let v1::BreakerReceipt {
        pool,
        method_glob,
        state: _,
        by: _,
        hold_owner,
        hold_reason,
        open_for,
        retry_after,
        calls,
        failures,
    } = said;
    let time = |time: &Option<prost_types::Duration>| time.filter(|time| duration_from_wire(*time).is_ok());
    v1::BreakerReceipt {
        pool: text(pool, MAX_NAME_BYTES),
        method_glob: text(method_glob, MAX_NAME_BYTES),
        // What a later release may know is, here, nothing known.
        state: said.state().into(),
        by: said.by().into(),
        hold_owner: text(hold_owner, MAX_OWNER_BYTES),
        hold_reason: text(hold_reason, MAX_REASON_BYTES),
        open_for: time(open_for),
        retry_after: time(retry_after),
        calls: *calls,
        failures: *failures,
    }
}

/// A text in one line that a terminal can show. It is cut first, for a text can be as long as a message.
fn text(said: &str, max: usize) -> String {
    if said.len() > max { printed(&shortened(said, max)) } else { printed(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_instance_says_stays_within_bounds() {
        let hostile = "\u{1b}[2J\nroot \u{202e}".repeat(100_000);
        let breaker = v1::BreakerReceipt {
            pool: hostile.clone(),
            method_glob: hostile.clone(),
            state: 77,
            by: -1,
            hold_owner: hostile.clone(),
            hold_reason: hostile.clone(),
            open_for: Some(prost_types::Duration { seconds: i64::MIN, nanos: 0 }),
            retry_after: Some(prost_types::Duration { seconds: 3, nanos: -5 }),
            calls: u64::MAX,
            failures: u64::MAX,
        };
        let call = v1::RejectedCall {
            age: Some(prost_types::Duration { seconds: i64::MAX, nanos: i32::MAX }),
            instance_id: "somebody else".to_owned(),
            method: hostile.clone(),
            pool: hostile,
            reason: 99,
            revision: None,
            breaker: Some(breaker),
        };
        let read = rejections("pay-1", &vec![call; 1000]);
        assert_eq!(read.len(), MAX_REJECTIONS);
        let (at, call) = &read[0];
        assert!(at.elapsed().as_secs() < 3600);
        assert_eq!((&*call.instance_id, call.age, call.reason), ("pay-1", None, 0));
        let breaker = call.breaker.as_ref().unwrap();
        assert_eq!((breaker.state, breaker.by, breaker.open_for, breaker.retry_after), (0, 0, None, None));
        for text in
            [&call.method, &call.pool, &breaker.pool, &breaker.method_glob, &breaker.hold_owner, &breaker.hold_reason]
        {
            assert!(text.len() <= MAX_NAME_BYTES && text.starts_with(" [2J root "), "{text}");
            assert!(!text.contains(['\u{1b}', '\n', '\u{202e}']), "{text:?}");
        }
    }
}
