//! The contract's messages as domain types, and back: the only place of the engine that knows the wire.
//!
//! A *written* policy is the `v1::IsolationPolicy` as somebody wrote it, where unset means "the preset's value, else the
//! default". It is what a store keeps, so that a later release may have better defaults. The *effective* policy is the
//! checked [`Policy`](crate::policy::Policy) that follows from it: it is what is pushed, hashed and enforced.
//! [`effective_policy`] leads from one to the other and [`to_wire`] back to a message that has every field set.
//!
//! Nothing that the contract can say is dropped in silence. Messages are taken apart without `..`, so that a field added to
//! the contract fails the build here until it has a meaning.

mod auto_level;
mod duration;
mod effective;
mod encode;
mod fallback_config;
mod faults;
mod hash;
mod inactive;
mod latency;
mod level;
mod orders;
mod origin;
mod rejection;
mod stats;
mod update;

#[cfg(test)]
mod testing;

pub use duration::{InvalidDuration, MAX_WIRE_SECONDS, duration_from_wire, duration_to_wire};
pub use effective::effective_policy;
pub use encode::{fleet_hint_mode_to_wire, to_wire, to_wire_whole};
pub use fallback_config::apply_fallback_config;
pub use hash::{InvalidPolicyHash, PolicyHash, fingerprint, policy_hash};
pub use inactive::{inactive_fields, needed_levels};
pub use latency::{latency_from_wire, latency_to_wire};
pub use level::{UnknownLevelNumber, level_from_wire, level_to_wire};
pub use orders::{
    aim_from_wire, aim_to_wire, forced_from_wire, hold_to_wire, orders_from_wire, orders_to_wire,
    temporary_level_to_wire, wall_time_from_wire,
};
pub use origin::{Origin, TracedPolicy};
pub use rejection::rejected_call_to_wire;
pub use stats::{
    UnknownNumber, breaker_state_from_wire, breaker_state_to_wire, counters_from_wire, counters_to_wire,
    health_from_wire, health_to_wire, part_is, part_to_wire, revision_from_wire, revision_to_wire, transition_to_wire,
};
pub use update::apply_update;
