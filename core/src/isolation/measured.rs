use crate::latency::{CallLatencies, CallLatencySnapshot};
use crate::stats::{Counter, CounterSnapshot, Counters};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happened to the calls of some methods.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    counters: Counters,
    pub(crate) latencies: CallLatencies,
}

/// What happened to the calls of a service: of those methods that an override is for, by its glob, and of all others.
///
/// A call counts in one of them, so telling methods apart costs it nothing. The sum over all is the service's.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    others: Arc<Measured>,
    by_glob: BTreeMap<Arc<str>, Arc<Measured>>,
    /// What was counted of overrides that are gone.
    gone: (CounterSnapshot, CallLatencySnapshot),
}

impl Measured {
    #[inline]
    pub(crate) fn count(&self, counter: Counter) {
        self.counters.add(counter);
    }

    #[inline]
    pub(crate) fn count_each<const N: usize>(&self, counters: [Counter; N]) {
        self.counters.add_each(counters);
    }
}

impl Ledger {
    /// What methods without an override count in.
    pub(super) fn others(&self) -> &Arc<Measured> {
        &self.others
    }

    /// What the methods of an override count in.
    pub(super) fn of(&mut self, glob: &str) -> Arc<Measured> {
        match self.by_glob.get(glob) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(self.by_glob.entry(glob.into()).or_default()),
        }
    }

    /// Adds up what nobody counts in any more.
    pub(super) fn prune(&mut self) {
        let Self { others: _, by_glob, gone } = self;
        by_glob.retain(|_, measured| {
            let is_used = Arc::strong_count(measured) > 1;
            if !is_used {
                gone.0.merge(&measured.counters.snapshot());
                gone.1.merge(&measured.latencies.snapshot());
            }
            is_used
        });
    }

    pub(super) fn counters(&self) -> CounterSnapshot {
        let mut sum = self.gone.0;
        self.all().for_each(|measured| sum.merge(&measured.counters.snapshot()));
        sum
    }

    pub(super) fn latencies(&self) -> CallLatencySnapshot {
        let mut sum = self.gone.1.clone();
        self.all().for_each(|measured| sum.merge(&measured.latencies.snapshot()));
        sum
    }

    pub(super) fn methods(&self) -> Vec<(Arc<str>, CounterSnapshot, CallLatencySnapshot)> {
        let snapshot = |(glob, measured): (&Arc<str>, &Arc<Measured>)| {
            let counters = measured.counters.snapshot();
            (Arc::clone(glob), counters, measured.latencies.snapshot())
        };
        self.by_glob.iter().map(snapshot).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Measured>> {
        std::iter::once(&self.others).chain(self.by_glob.values())
    }
}
