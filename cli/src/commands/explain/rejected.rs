//! Calls that were turned away of late, each with its receipt.

use super::super::moment::written;
use crate::message::short_name;
use crate::output::{Cell, Table, Tone, age, length, std_duration};
use cofferdam_proto::v1;

/// How many are shown.
const SHOWN: usize = 5;

/// The newest of them, and what is said of the others. `None`: there are none.
pub(in super::super) fn table(calls: &[v1::RejectedCall]) -> Option<(Table, Option<String>)> {
    let written = written(calls.iter().filter_map(|call| call.revision.as_ref()));
    let mut table = Table::new(["REJECTED", "AT", "METHOD", "BY", "REVISION", "FAILED"]);
    for call in calls.iter().take(SHOWN) {
        let ago = format!("{} ago", age(std_duration(call.age)));
        let revision = call.revision.map_or_else(|| "built-in".to_owned(), |revision| written(Some(&revision)));
        let failed = call.breaker.as_ref().map(|breaker| format!("{}/{}", breaker.failures, breaker.calls));
        let texts =
            [ago, call.instance_id.clone(), call.method.clone(), by(call), revision, failed.unwrap_or_default()];
        table.push(texts.map(|text| Cell::toned(text, Tone::Plain)).to_vec());
    }
    let left_out = calls.len().saturating_sub(SHOWN);
    let more = (left_out > 0).then(|| format!("{left_out} more of other instances, methods and reasons with -o json"));
    (!calls.is_empty()).then_some((table, more))
}

/// `breaker, open for 4.2s`, `breaker of pool reads, held open by ann: the disk is changed`, `rate limit`.
fn by(call: &v1::RejectedCall) -> String {
    let of_pool =
        |what: &str| if call.pool.is_empty() { what.to_owned() } else { format!("{what} of pool {}", call.pool) };
    match call.reason() {
        v1::RejectionReason::CircuitOpen => call.breaker.as_ref().map_or_else(|| "breaker".to_owned(), breaker),
        v1::RejectionReason::Bulkhead => of_pool("bulkhead"),
        v1::RejectionReason::AdaptiveLimit => "adaptive limit".to_owned(),
        v1::RejectionReason::RateLimit => "rate limit".to_owned(),
        v1::RejectionReason::Deadline => "too little time left".to_owned(),
        v1::RejectionReason::Disabled => "service disabled".to_owned(),
        v1::RejectionReason::Unspecified => "unknown".to_owned(),
    }
}

fn breaker(receipt: &v1::BreakerReceipt) -> String {
    let whose = match (&receipt.pool[..], &receipt.method_glob[..]) {
        ("", "") => "breaker".to_owned(),
        ("", glob) => format!("breaker of methods {glob}"),
        (pool, _) => format!("breaker of pool {pool}"),
    };
    let state = short_name(receipt.state().as_str_name(), "BREAKER_STATE_");
    match (receipt.by(), receipt.state()) {
        (v1::RejectedBy::Hold, _) => {
            format!("{whose}, held open by {}: {}", receipt.hold_owner, receipt.hold_reason)
        }
        (v1::RejectedBy::Policy, _) => format!("{whose}, forced open by the policy"),
        (_, v1::BreakerState::Closed) => format!("{whose}, ramping up"),
        _ => match length(std_duration(receipt.open_for)) {
            time if time.is_empty() => format!("{whose}, {state}"),
            time => format!("{whose}, {state} for {time}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;

    fn call(reason: v1::RejectionReason, breaker: Option<v1::BreakerReceipt>) -> v1::RejectedCall {
        v1::RejectedCall {
            age: Some(prost_types::Duration { seconds: 42, nanos: 0 }),
            instance_id: "pay-1".to_owned(),
            method: "Get".to_owned(),
            reason: reason.into(),
            revision: Some(v1::Revision { epoch: 7, revision: 12 }),
            breaker,
            ..Default::default()
        }
    }

    fn open(by: v1::RejectedBy) -> v1::BreakerReceipt {
        v1::BreakerReceipt {
            state: v1::BreakerState::Open.into(),
            by: by.into(),
            open_for: Some(prost_types::Duration { seconds: 4, nanos: 200_000_000 }),
            calls: 8,
            failures: 5,
            ..Default::default()
        }
    }

    #[test]
    fn each_is_told_with_what_turned_it_away() {
        let held = v1::BreakerReceipt {
            pool: "reads".to_owned(),
            hold_owner: "ann".to_owned(),
            hold_reason: "the disk is changed".to_owned(),
            ..open(v1::RejectedBy::Hold)
        };
        let circuit = v1::RejectionReason::CircuitOpen;
        for (call, expected) in [
            (call(circuit, Some(open(v1::RejectedBy::Rules))), "breaker, open for 4.2s"),
            (call(circuit, Some(held)), "breaker of pool reads, held open by ann: the disk is changed"),
            (call(circuit, Some(open(v1::RejectedBy::Policy))), "breaker, forced open by the policy"),
            (call(circuit, None), "breaker"),
            (call(v1::RejectionReason::Disabled, None), "service disabled"),
            (
                v1::RejectedCall { pool: "reads".to_owned(), ..call(v1::RejectionReason::Bulkhead, None) },
                "bulkhead of pool reads",
            ),
        ] {
            assert_eq!(by(&call), expected);
        }
    }

    #[test]
    fn the_newest_are_shown_and_the_others_counted() {
        assert!(table(&[]).is_none());
        let calls = vec![call(v1::RejectionReason::CircuitOpen, Some(open(v1::RejectedBy::Rules))); 7];
        let (shown, more) = table(&calls).unwrap();
        let mut out = Vec::new();
        shown.print(&mut out, Style::new(false, false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1 + SHOWN);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row.join(" "), "42s ago pay-1 Get breaker, open for 4.2s 12 5/8");
        assert!(more.unwrap().starts_with("2 more"));
    }
}
