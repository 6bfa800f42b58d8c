use cofferdam_core::fleet_hint;
use cofferdam_core::policy::{FleetHintMode, Policy};
use cofferdam_core::time::Timestamp;
use std::time::Duration;

/// What the manager says of a service's breakers at other instances: many of them have opened.
///
/// Where the policy's `fleet_hint.mode` is enforce, the service's own breaker opens here for half of the failures that it
/// takes otherwise, while the hint lasts. It opens for failures of this process alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetHint {
    /// Instances where the breaker is open or half-open; at least 2.
    pub open_instances: u32,
    /// Instances that have one.
    pub instances: u32,
    /// How long it has been in force.
    pub age: Duration,
    /// When it is over, unless the manager renews it.
    pub ends_in: Duration,
    /// Whether it shortens the trip. Not where the policy's mode is advisory.
    pub is_enforced: bool,
}

impl FleetHint {
    pub(crate) fn new(hint: fleet_hint::FleetHint, policy: &Policy, now: Timestamp) -> Self {
        Self {
            open_instances: hint.open_instances(),
            instances: hint.instances(),
            age: now.saturating_since(hint.since()),
            ends_in: hint.until().saturating_since(now),
            is_enforced: policy.fleet_hint.mode == FleetHintMode::Enforce,
        }
    }
}
