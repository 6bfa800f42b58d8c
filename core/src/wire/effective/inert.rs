//! Sections of the contract that this release does not enforce: only their "off" is taken.

use super::super::faults::Faults;
use cofferdam_proto::v1;

pub(super) fn adaptive_limit(faults: &mut Faults, written: &v1::AdaptiveLimitPolicy) {
    // The contract bounds none of the limits, and they say nothing without a kind.
    let v1::AdaptiveLimitPolicy { kind, min: _, initial: _, max: _ } = written;
    match faults.enumeration("adaptive_limit.kind", *kind) {
        None | Some(v1::AdaptiveLimitKind::Unspecified | v1::AdaptiveLimitKind::Off) => {}
        Some(v1::AdaptiveLimitKind::Gradient2 | v1::AdaptiveLimitKind::Aimd) => {
            faults.not_in_force(true, "adaptive_limit.kind");
        }
    }
}
