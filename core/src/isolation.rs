//! The isolation of one service: its policy in force, and all that was learned under any policy so far.
//!
//! The two are apart on purpose. A policy is swapped whole, behind one pointer; breaker, budget, rate, places and cache stay
//! where they are and read their numbers from whatever policy a call began with. So a call sees one policy from
//! beginning to end, and no change of policy or level loses what was learned.

use crate::breaker::{Breaker, State, Transition};
use crate::bulkhead::Bulkhead;
use crate::cache::AnswerCache;
use crate::glob;
use crate::health::{HealthStatus, HealthWindow};
use crate::level::Section;
use crate::policy::{Policy, PoolPolicy};
use crate::rate_limit::RateLimit;
use crate::retry::RetryBudget;
use crate::revision::Revision;
use crate::stats::{Counter, CounterSnapshot, Counters};
use crate::time::Timestamp;
use arc_swap::ArcSwap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The isolation of one service, shared by all who call it.
pub struct Isolation {
    current: ArcSwap<InForce>,
    /// Held by whoever changes the policy; never by a call.
    changing: Mutex<()>,
    pub(crate) breaker: Breaker,
    pub(crate) budget: RetryBudget,
    pub(crate) rate_limit: RateLimit,
    pub(crate) cache: AnswerCache,
    pub(crate) health: HealthWindow,
    pub(crate) counters: Counters,
    observer: Arc<dyn Observer>,
}

/// Told of what happens to a service's isolation. It is called by the protected call itself, outside of any lock: it
/// must be quick, and may call back into the isolation.
pub trait Observer: Send + Sync {
    /// The breaker changed its state, or would have: see [`Transition::is_enforced`].
    fn transition(&self, transition: &Transition);
}

/// An [`Observer`] that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// What calls that begin now go by.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The policy.
    pub policy: Policy,
    /// Its revision. `None`: the host's built-in default.
    pub revision: Option<Revision>,
    /// Whether the service may be called.
    pub is_enabled: bool,
    places: Places,
}

/// The bulkheads of one service. They outlive the policies that size them.
#[derive(Clone, Debug)]
struct Places {
    common: Arc<Bulkhead>,
    pools: Vec<(String, Arc<Bulkhead>)>,
    /// Pools that the policy has dropped: one that comes back while calls are still in it must know of them.
    dropped: Vec<(String, Weak<Bulkhead>)>,
    fallback: Arc<Bulkhead>,
}

impl Isolation {
    /// Isolation by a policy, with nothing learned.
    pub fn new(policy: Policy, revision: Option<Revision>, observer: Arc<dyn Observer>) -> Self {
        let breaker = Breaker::new(&policy.breaker);
        let places = Places {
            common: Bulkhead::new(policy.bulkhead.max_concurrent, policy.bulkhead.max_queue),
            pools: policy.bulkhead.pools.iter().map(new_pool).collect(),
            dropped: Vec::new(),
            fallback: Bulkhead::new(policy.fallback.max_concurrent, 0),
        };
        let in_force = InForce { policy, revision, is_enabled: true, places };
        Self {
            current: ArcSwap::from_pointee(in_force),
            changing: Mutex::new(()),
            breaker,
            budget: RetryBudget::new(),
            rate_limit: RateLimit::new(),
            cache: AnswerCache::new(),
            health: HealthWindow::new(),
            counters: Counters::default(),
            observer,
        }
    }

    /// Puts another policy in force for calls that begin from now on. Calls under way end under the one they began
    /// with. Breaker, window, timers, budget, rate, cache and the places in use stay as they are.
    pub fn apply(&self, policy: Policy, revision: Option<Revision>, is_enabled: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let places = self.current.load().places.resized(&policy);
        self.breaker.reconfigure(&policy.breaker);
        self.current.store(Arc::new(InForce { policy, revision, is_enabled, places }));
    }

    /// What calls that begin now go by.
    pub fn in_force(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// The breaker's state as the next caller will find it. `None`: no breaker is in force at this level.
    pub fn breaker_state(&self, now: Timestamp) -> Option<State> {
        let current = self.current.load();
        let in_force = current.policy.level.enforces(Section::CircuitBreaker);
        in_force.then(|| self.breaker.state(&current.policy.breaker, now))
    }

    /// The health derived from outcomes.
    pub fn health(&self, now: Timestamp) -> HealthStatus {
        let is_open = self.breaker_state(now) == Some(State::Open);
        self.health.status(is_open, now, &self.current.load().policy.health)
    }

    /// What happened since the isolation was made.
    pub fn counters(&self) -> CounterSnapshot {
        self.counters.snapshot()
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.counters.add(counter);
    }

    pub(crate) fn publish(&self, transition: Option<Transition>) {
        let Some(transition) = transition else { return };
        if transition.to == State::Open && transition.is_enforced {
            self.count(Counter::BreakerOpened);
        }
        self.observer.transition(&transition);
    }
}

impl InForce {
    /// The bulkhead of a call and how long it may wait there: of the pool it names, else of the first pool whose globs
    /// take the method, else the common one. A pool that the policy does not know is the common one: a call must not
    /// fail because code and policy are of different ages.
    pub(crate) fn places(&self, pool: Option<&str>, method: &str) -> (&Arc<Bulkhead>, Duration) {
        let policy = &self.policy.bulkhead;
        let takes = |candidate: &&PoolPolicy| match pool {
            Some(name) => candidate.name == name,
            None => candidate.method_globs.iter().any(|pattern| glob::matches(pattern, method)),
        };
        let pool = policy.pools.iter().find(takes);
        pool.and_then(|pool| Some((self.places.pool(&pool.name)?, pool.max_wait)))
            .unwrap_or((&self.places.common, policy.max_wait))
    }

    /// The places of fallbacks that take time.
    pub(crate) fn fallback_places(&self) -> &Arc<Bulkhead> {
        &self.places.fallback
    }
}

impl Places {
    /// The same places under another policy: a pool that stays, or comes back, keeps those who are in it.
    fn resized(&self, policy: &Policy) -> Self {
        let bulkhead = &policy.bulkhead;
        self.common.set_limits(bulkhead.max_concurrent, bulkhead.max_queue);
        self.fallback.set_limits(policy.fallback.max_concurrent, 0);
        let known = |pool: &PoolPolicy| self.pool(&pool.name).cloned().or_else(|| self.dropped(&pool.name));
        let pools = bulkhead.pools.iter().map(|pool| match known(pool) {
            Some(places) => {
                places.set_limits(pool.max_concurrent, pool.max_queue);
                (pool.name.clone(), places)
            }
            None => new_pool(pool),
        });
        let pools: Vec<_> = pools.collect();
        let leaving = self.pools.iter().map(|(name, places)| (name, Arc::downgrade(places)));
        let left = self.dropped.iter().map(|(name, places)| (name, Weak::clone(places)));
        let dropped = leaving
            .chain(left)
            .filter(|(name, places)| places.strong_count() > 0 && pools.iter().all(|(kept, _)| kept != *name))
            .map(|(name, places)| (name.clone(), places));
        Self {
            common: Arc::clone(&self.common),
            dropped: dropped.collect(),
            pools,
            fallback: Arc::clone(&self.fallback),
        }
    }

    fn dropped(&self, name: &str) -> Option<Arc<Bulkhead>> {
        let (_, places) = self.dropped.iter().find(|(candidate, _)| candidate == name)?;
        places.upgrade()
    }

    fn pool(&self, name: &str) -> Option<&Arc<Bulkhead>> {
        self.pools.iter().find(|(candidate, _)| candidate == name).map(|(_, places)| places)
    }
}

fn new_pool(policy: &PoolPolicy) -> (String, Arc<Bulkhead>) {
    (policy.name.clone(), Bulkhead::new(policy.max_concurrent, policy.max_queue))
}

impl Observer for Unobserved {
    fn transition(&self, _: &Transition) {}
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation")
            .field("in_force", &self.current)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}
