use super::super::faults::{Faults, set};
use crate::policy::{FleetHintMode, FleetHintPolicy};
use cofferdam_proto::v1;

pub(super) fn read(faults: &mut Faults, written: v1::FleetHintPolicy, policy: &mut FleetHintPolicy) {
    let v1::FleetHintPolicy { mode, min_open_instances, min_open_ratio, ttl } = written;
    match faults.enumeration("fleet_hint.mode", mode) {
        None | Some(v1::FleetHintMode::Unspecified) => {}
        Some(v1::FleetHintMode::Off) => policy.mode = FleetHintMode::Off,
        Some(v1::FleetHintMode::Advisory) => policy.mode = FleetHintMode::Advisory,
        Some(v1::FleetHintMode::Enforce) => policy.mode = FleetHintMode::Enforce,
    }
    set(&mut policy.min_open_instances, min_open_instances);
    set(&mut policy.min_open_ratio, min_open_ratio);
    faults.duration("fleet_hint.ttl", ttl, &mut policy.ttl);
}
