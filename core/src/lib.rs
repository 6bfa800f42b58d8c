//! The Cofferdam isolation engine.
//!
//! It is pure: no I/O, no runtime, no clock, no randomness of its own. Whoever hosts it, an SDK or the manager, passes
//! the time in and does the waiting.

pub mod level;
pub mod name;
pub mod outcome;
pub mod policy;
pub mod time;
#[cfg(feature = "proto")]
pub mod wire;
