use super::holds::Holds;
use super::measured::Ledger;
use super::orders::Obeyed;
use super::part::Part;
use super::scope::OwnBreaker;
use crate::adaptive_limit::AdaptiveLimit;
use crate::bulkhead::Bulkhead;
use crate::cache::AnswerCache;
use crate::fleet_hint::FleetHint;
use crate::latency::RecentLatency;
use crate::rate_limit::RateLimit;
use crate::time::Clocks;
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// The state of each part of a service, found again by whoever puts another policy in force.
///
/// It is known for as long as somebody uses it: the policy in force, or a call that began under an earlier one. So a
/// part that a policy drops, and a later one brings back, begins afresh, unless calls are still in it.
#[derive(Debug)]
pub(super) struct Known {
    /// What the host's clocks read when it last put a policy in force.
    pub(super) clocks: Clocks,
    pub(super) holds: Holds,
    pub(super) obeyed: Obeyed,
    pub(super) hint: Option<FleetHint>,
    pub(super) ledger: Ledger,
    pub(super) breakers: States<OwnBreaker>,
    pub(super) places: States<Bulkhead>,
    pub(super) fallback_places: States<Bulkhead>,
    pub(super) adaptive_limits: States<AdaptiveLimit>,
    pub(super) rate_limits: States<RateLimit>,
    pub(super) latencies: States<RecentLatency>,
    pub(super) caches: States<AnswerCache>,
}

/// One kind of state, by the part that it is for.
#[derive(Debug)]
pub(super) struct States<T>(HashMap<Part, Weak<T>>);

impl Known {
    pub(super) fn new(clocks: Clocks) -> Self {
        Self {
            clocks,
            holds: Holds::default(),
            obeyed: Obeyed::default(),
            hint: None,
            ledger: Ledger::default(),
            breakers: States::default(),
            places: States::default(),
            fallback_places: States::default(),
            adaptive_limits: States::default(),
            rate_limits: States::default(),
            latencies: States::default(),
            caches: States::default(),
        }
    }

    /// Forgets what nobody uses any more.
    pub(super) fn prune(&mut self) {
        let Self {
            clocks: _,
            holds: _,
            obeyed: _,
            hint: _,
            ledger,
            breakers,
            places,
            fallback_places,
            adaptive_limits,
            rate_limits,
            latencies,
            caches,
        } = self;
        ledger.prune();
        breakers.prune();
        places.prune();
        fallback_places.prune();
        adaptive_limits.prune();
        rate_limits.prune();
        latencies.prune();
        caches.prune();
    }
}

impl<T> States<T> {
    /// The state of a part, brought in line with its policy by `adapt`; else one that `new` makes.
    pub(super) fn get(&mut self, part: &Part, adapt: impl FnOnce(&T), new: impl FnOnce() -> Arc<T>) -> Arc<T> {
        if let Some(known) = self.0.get(part).and_then(Weak::upgrade) {
            adapt(&known);
            return known;
        }
        let state = new();
        self.0.insert(part.clone(), Arc::downgrade(&state));
        state
    }

    /// All that somebody uses.
    pub(super) fn in_use(&self) -> impl Iterator<Item = Arc<T>> {
        self.0.values().filter_map(Weak::upgrade)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn prune(&mut self) {
        self.0.retain(|_, state| state.strong_count() > 0);
    }
}

impl<T> Default for States<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
