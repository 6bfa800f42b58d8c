//! How the registry and its store do, in numbers.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use cofferdam_core::revision::Revision;

use super::Registry;
use crate::fanout::Deliveries;

/// How the registry and its store do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// The point in the store's history up to which nothing is missing.
    pub head: Revision,
    /// How long the store has been away; absent while it is there.
    pub stale_for: Option<Duration>,
    /// Whether the store is there and takes writes, as far as is known.
    pub takes_writes: bool,
    /// Stored values that cannot be read.
    pub poisoned: usize,
    /// How often the store's epoch became another one since this manager started.
    pub epochs: u64,
    /// How often an instance had a revision that this manager could not explain.
    pub doubts: u64,
    /// Of a change of many services that is under way, those that are still to be changed. 0: none is.
    pub bulk_waiting: u32,
    /// Changes on their way to streams.
    pub deliveries: Deliveries,
}

impl Registry {
    /// How it does. Asks memory alone.
    pub fn vitals(&self) -> Vitals {
        Vitals {
            head: self.head(),
            stale_for: self.stale_for(),
            takes_writes: self.takes_writes(),
            poisoned: self.shared.read().poisoned().count(),
            epochs: self.shared.epochs.load(Relaxed),
            doubts: self.shared.hearsay.doubts.load(Relaxed),
            bulk_waiting: self.shared.bulk_under_way().map_or(0, |(_, plan)| plan.waiting()),
            deliveries: self.shared.fanout.deliveries(),
        }
    }
}
