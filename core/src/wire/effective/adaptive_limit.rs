use super::super::faults::Faults;
use crate::policy::limits::MAX_CONCURRENT;
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};
use cofferdam_proto::v1;

/// What is left unset moves out of the way of what is set, unless that is at fault itself.
pub(super) fn read(faults: &mut Faults, written: v1::AdaptiveLimitPolicy, policy: &mut AdaptiveLimitPolicy) {
    let v1::AdaptiveLimitPolicy { kind, min, initial, max } = written;
    match faults.enumeration("adaptive_limit.kind", kind) {
        None | Some(v1::AdaptiveLimitKind::Unspecified) => {}
        Some(v1::AdaptiveLimitKind::Off) => policy.kind = AdaptiveLimitKind::Off,
        Some(v1::AdaptiveLimitKind::Gradient2) => policy.kind = AdaptiveLimitKind::Gradient2,
        Some(v1::AdaptiveLimitKind::Aimd) => policy.kind = AdaptiveLimitKind::Aimd,
    }
    let sound = |written: Option<u32>| written.filter(|number| (1..=MAX_CONCURRENT).contains(number));
    let lowest = sound(min).unwrap_or(policy.min);
    let roomy = policy.max.max(lowest).max(sound(initial).unwrap_or_default());
    let highest = sound(max).unwrap_or(roomy);
    let between = policy.initial.max(lowest).min(highest);
    policy.min = min.unwrap_or(lowest);
    policy.initial = initial.unwrap_or(between);
    policy.max = max.unwrap_or(highest);
}
