//! What happened to calls: counts and how long they took, which add up over instances and over time.

use cofferdam_core::{isolation::Isolation, latency::CallLatencySnapshot, stats::CounterSnapshot};

/// What happened to some calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// How many ended how.
    pub counters: CounterSnapshot,
    /// How long calls and attempts took.
    pub latencies: CallLatencySnapshot,
}

impl Activity {
    /// What happened at an isolation so far.
    pub fn of(isolation: &Isolation) -> Self {
        // In this order: of the calls that are counted, none is missing among those that are timed.
        let counters = isolation.counters();
        Self { counters, latencies: isolation.latencies() }
    }

    /// What happened since an earlier time.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self { counters: self.counters.since(&earlier.counters), latencies: self.latencies.since(&earlier.latencies) }
    }

    /// Adds what happened elsewhere, or later. Sums that would be too large stay at the largest.
    pub fn merge(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        self.latencies.merge(&other.latencies);
    }
}
