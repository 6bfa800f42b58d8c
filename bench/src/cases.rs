//! What is measured.
//!
//! The protected call itself is a no-op that is really called, and that the compiler cannot see through; its bare cost
//! is a case of its own. Every library is set up as its documentation says, with thresholds that keep it in the state
//! that the case is about, and each case checks that it is in that state.

pub mod calls;
pub mod engine;
#[cfg(feature = "peers")]
mod failsafe;
#[cfg(feature = "peers")]
mod floors;
#[cfg(feature = "peers")]
mod groups;
pub mod isolation;
pub mod parts;
#[cfg(feature = "peers")]
mod recloser;
#[cfg(feature = "peers")]
mod sentinel;
#[cfg(feature = "peers")]
mod tower_resilience;

#[cfg(feature = "peers")]
pub use groups::{Group, groups, subjects};

use std::hint::black_box;
use std::time::Duration;

/// As good as for ever.
#[cfg_attr(not(feature = "peers"), expect(dead_code, reason = "only peers wait for so long"))]
const HOUR: Duration = Duration::from_secs(3600);

/// Something to measure.
pub struct Case {
    /// What it is, in the table.
    pub name: &'static str,
    /// Does it so many times. Several threads may do so at once, on the same breaker.
    pub run: Box<dyn Fn(u64) + Send + Sync>,
    /// The row that it is compared with, if not the first of its group.
    pub versus: Option<&'static str>,
}

impl Case {
    /// A case that makes one call after the other.
    pub fn new(name: &'static str, call: impl Fn() + Send + Sync + 'static) -> Self {
        Self::looped(name, move |count| (0..count).for_each(|_| call()))
    }

    /// A case that brings its own loop.
    pub fn looped(name: &'static str, run: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { name, run: Box::new(run), versus: None }
    }

    /// The same, compared with another row of its group.
    #[must_use]
    pub fn versus(mut self, name: &'static str) -> Self {
        self.versus = Some(name);
        self
    }
}

/// How to make a case.
pub type Make = fn() -> Case;

/// The operations of our own whose instructions are bounded, by their names in `instructions.toml`.
pub fn operations() -> Vec<(&'static str, Make)> {
    vec![
        ("breaker-consecutive", engine::closed_consecutive),
        ("breaker-window", engine::closed_window),
        ("breaker-count-window", engine::closed_count),
        ("breaker-failure", engine::failing),
        ("breaker-open", engine::open),
        ("breaker-outage", engine::outage),
        ("counter", parts::counter),
        ("budget-deposit", parts::budget_deposit),
        ("health-record", parts::health_record),
        ("call-enhanced", isolation::enhanced),
        ("execute-none", calls::none),
        ("execute-basic", calls::basic),
        ("execute-enhanced", calls::enhanced),
        ("execute-full", calls::full),
        ("execute-rejected", calls::rejected),
    ]
}

/// The protected call.
#[inline(never)]
pub fn succeed() -> Result<u64, Failed> {
    black_box(Ok(1))
}

/// The same, failing.
#[inline(never)]
pub fn fail() -> Result<u64, Failed> {
    black_box(Err(Failed(1)))
}

/// The error of a failing call.
#[derive(Clone, Copy, Debug)]
pub struct Failed(pub u64);

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "failed: {}", self.0)
    }
}

impl std::error::Error for Failed {}

/// The runtime that drives the asynchronous cases: one thread, which does nothing else.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}
