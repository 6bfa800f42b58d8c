//! The Cofferdam isolation engine.
//!
//! It is pure: no I/O, no runtime, no clock, no randomness of its own. Whoever hosts it, an SDK or the manager, passes
//! the time in and does the waiting.
//!
//! In reading order: a [`level`] says which sections of a [`policy`] are in force; an [`isolation`] holds the policy of
//! one service and all that was learned about it; a [`call`] goes through it from outside in, by way of the
//! [`rate_limit`], the [`bulkhead`], the [`adaptive_limit`], the [`breaker`], the [`retry`] budget and the [`cache`] of
//! last good answers. How it went is in the [`stats`], the [`health`] and the [`latency`].

pub mod adaptive_limit;
pub mod breaker;
pub mod bulkhead;
pub mod cache;
pub mod call;
pub mod fleet_hint;
pub mod glob;
pub mod health;
pub mod hold;
pub mod isolation;
pub mod latency;
pub mod level;
pub mod name;
pub mod orders;
pub mod outcome;
pub mod policy;
pub mod rate_limit;
pub mod retry;
pub mod revision;
mod ring;
pub mod runtime;
pub mod stats;
mod stripe;
mod sync;
pub mod time;
#[cfg(feature = "proto")]
pub mod wire;

#[cfg(test)]
mod tests;
