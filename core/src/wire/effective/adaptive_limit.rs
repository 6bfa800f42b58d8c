use super::merge::Merge;
use crate::policy::limits::MAX_CONCURRENT;
use crate::policy::{AdaptiveLimitKind, AdaptiveLimitPolicy};
use cofferdam_proto::v1;

/// What is left unset moves out of the way of what is set, unless that is at fault itself.
pub(super) fn read(merge: &mut Merge, written: v1::AdaptiveLimitPolicy, policy: &mut AdaptiveLimitPolicy) {
    let v1::AdaptiveLimitPolicy { kind, min, initial, max } = written;
    let kind = match merge.enumeration("adaptive_limit.kind", kind) {
        None | Some(v1::AdaptiveLimitKind::Unspecified) => None,
        Some(v1::AdaptiveLimitKind::Off) => Some(AdaptiveLimitKind::Off),
        Some(v1::AdaptiveLimitKind::Gradient2) => Some(AdaptiveLimitKind::Gradient2),
        Some(v1::AdaptiveLimitKind::Aimd) => Some(AdaptiveLimitKind::Aimd),
    };
    merge.set("adaptive_limit.kind", &mut policy.kind, kind);
    let sound = |written: Option<u32>| written.filter(|number| (1..=MAX_CONCURRENT).contains(number));
    let lowest = sound(min).unwrap_or(policy.min);
    let roomy = policy.max.max(lowest).max(sound(initial).unwrap_or_default());
    let highest = sound(max).unwrap_or(roomy);
    let between = policy.initial.max(lowest).min(highest);
    let limit_of_initial = if between < policy.initial { "adaptive_limit.max" } else { "adaptive_limit.min" };
    merge.follow("adaptive_limit.initial", &mut policy.initial, between, limit_of_initial);
    let limit_of_max = if highest > lowest { "adaptive_limit.initial" } else { "adaptive_limit.min" };
    merge.follow("adaptive_limit.max", &mut policy.max, highest, limit_of_max);
    merge.set("adaptive_limit.min", &mut policy.min, min);
    merge.set("adaptive_limit.initial", &mut policy.initial, initial);
    merge.set("adaptive_limit.max", &mut policy.max, max);
}
