use super::merge::Merge;
use crate::policy::{FleetHintMode, FleetHintPolicy};
use cofferdam_proto::v1;

pub(super) fn read(merge: &mut Merge, written: v1::FleetHintPolicy, policy: &mut FleetHintPolicy) {
    let v1::FleetHintPolicy { mode, min_open_instances, min_open_ratio, ttl } = written;
    let mode = match merge.enumeration("fleet_hint.mode", mode) {
        None | Some(v1::FleetHintMode::Unspecified) => None,
        Some(v1::FleetHintMode::Off) => Some(FleetHintMode::Off),
        Some(v1::FleetHintMode::Advisory) => Some(FleetHintMode::Advisory),
        Some(v1::FleetHintMode::Enforce) => Some(FleetHintMode::Enforce),
    };
    merge.set("fleet_hint.mode", &mut policy.mode, mode);
    merge.set("fleet_hint.min_open_instances", &mut policy.min_open_instances, min_open_instances);
    merge.set("fleet_hint.min_open_ratio", &mut policy.min_open_ratio, min_open_ratio);
    merge.duration("fleet_hint.ttl", ttl, &mut policy.ttl);
}
