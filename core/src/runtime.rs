//! What the engine asks of its host.

use crate::time::Timestamp;
use std::time::Duration;

/// The host's clock, timer and source of random numbers. An SDK takes them from its runtime, a test makes them up.
pub trait Runtime: Send + Sync {
    /// The future that a [`sleep`](Self::sleep) returns.
    type Sleep: Future<Output = ()> + Send;

    /// The time now, on one monotonic clock.
    fn now(&self) -> Timestamp;

    /// Ends no earlier than `duration` from now on the same clock.
    fn sleep(&self, duration: Duration) -> Self::Sleep;

    /// Lets others run that share the thread, where the caller's task has had its share of it. The engine asks for it in each
    /// call that brings no live answer: such a call may end without anything to wait for, and a loop of them must not keep
    /// the thread from all else.
    fn give_way(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// A number drawn evenly from all 64-bit ones; it spreads retries and probes and guards nothing.
    fn random(&self) -> u64;
}
