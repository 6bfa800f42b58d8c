use super::duration::duration_to_wire;
use super::stats::{breaker_state_to_wire, part_to_wire, revision_to_wire};
use crate::breaker::OpenedBy;
use crate::isolation::{BreakerReceipt, RejectedCall, RejectionReason};
use cofferdam_proto::v1;
use std::time::Duration;

/// A call that was turned away so long ago, as messages say it; whose call it was is for others to say.
pub fn rejected_call_to_wire(call: &RejectedCall, age: Duration) -> v1::RejectedCall {
    // When it was is its age.
    let RejectedCall { at: _, method, pool, reason, revision, breaker } = call;
    v1::RejectedCall {
        age: Some(duration_to_wire(age)),
        instance_id: String::new(),
        method: method.to_string(),
        pool: pool.as_deref().unwrap_or_default().to_owned(),
        reason: reason_to_wire(*reason).into(),
        revision: revision.map(revision_to_wire),
        breaker: breaker.as_ref().map(receipt_to_wire),
    }
}

const fn reason_to_wire(reason: RejectionReason) -> v1::RejectionReason {
    match reason {
        RejectionReason::CircuitOpen => v1::RejectionReason::CircuitOpen,
        RejectionReason::Bulkhead => v1::RejectionReason::Bulkhead,
        RejectionReason::AdaptiveLimit => v1::RejectionReason::AdaptiveLimit,
        RejectionReason::RateLimit => v1::RejectionReason::RateLimit,
        RejectionReason::Deadline => v1::RejectionReason::Deadline,
        RejectionReason::Disabled => v1::RejectionReason::Disabled,
    }
}

fn receipt_to_wire(receipt: &BreakerReceipt) -> v1::BreakerReceipt {
    // The revision is the call's.
    let BreakerReceipt { part, state, by, revision: _, open_for, retry_after, calls, failures } = receipt;
    let (pool, method_glob) = part_to_wire(part);
    let (by, hold) = match by {
        OpenedBy::Rules => (v1::RejectedBy::Rules, None),
        OpenedBy::Policy => (v1::RejectedBy::Policy, None),
        OpenedBy::Hold(hold) => (v1::RejectedBy::Hold, Some(hold)),
    };
    v1::BreakerReceipt {
        pool,
        method_glob,
        state: breaker_state_to_wire(*state).into(),
        by: by.into(),
        hold_owner: hold.map(|hold| hold.owner().to_owned()).unwrap_or_default(),
        hold_reason: hold.map(|hold| hold.reason().to_owned()).unwrap_or_default(),
        open_for: open_for.map(duration_to_wire),
        retry_after: retry_after.map(duration_to_wire),
        calls: *calls,
        failures: *failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::State;
    use crate::hold::{Forced, Hold, HoldSpec, Target};
    use crate::isolation::Part;
    use crate::revision::Revision;
    use crate::time::Timestamp;

    #[test]
    fn a_rejection_is_said_with_all_that_its_receipt_has() {
        let hold = HoldSpec {
            target: Target::All,
            forced: Forced::Open,
            since: Timestamp::ZERO,
            until: None,
            owner: "ann".to_owned(),
            reason: "the disk is changed".to_owned(),
        };
        let receipt = BreakerReceipt {
            part: Part::Pool("reads".into()),
            state: State::Open,
            by: OpenedBy::Hold(Hold::new(hold).unwrap().into()),
            revision: Some(Revision { epoch: 7, revision: 12 }),
            open_for: Some(Duration::from_secs(4)),
            retry_after: None,
            calls: 8,
            failures: 5,
        };
        let call = RejectedCall {
            at: Timestamp::from_millis(1),
            method: "Get".into(),
            pool: Some("reads".into()),
            reason: RejectionReason::CircuitOpen,
            revision: receipt.revision,
            breaker: Some(receipt),
        };
        let wire = rejected_call_to_wire(&call, Duration::from_secs(3));
        assert_eq!((wire.age.map(|age| age.seconds), &*wire.method, &*wire.pool), (Some(3), "Get", "reads"));
        assert_eq!(wire.reason(), v1::RejectionReason::CircuitOpen);
        assert_eq!(wire.revision, Some(v1::Revision { epoch: 7, revision: 12 }));
        let breaker = wire.breaker.unwrap();
        assert_eq!((breaker.state(), breaker.by()), (v1::BreakerState::Open, v1::RejectedBy::Hold));
        assert_eq!((&*breaker.hold_owner, &*breaker.hold_reason), ("ann", "the disk is changed"));
        assert_eq!((&*breaker.pool, &*breaker.method_glob), ("reads", ""));
        assert_eq!((breaker.open_for.map(|time| time.seconds), breaker.retry_after), (Some(4), None));
        assert_eq!((breaker.calls, breaker.failures), (8, 5));
    }
}
