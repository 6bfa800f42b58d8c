//! What one call goes by: the policy of its method, and the state that it shares with other calls.
//!
//! State belongs to whoever has numbers of its own. The service has a breaker, places for calls and for fallbacks, an
//! adaptive limit, a rate and a cache of good answers. A pool has places, and a breaker where its policy isolates it. An
//! override for methods has what its replaced sections are about. The narrower one wins: a breaker of the override, else
//! of the pool, else of the service; and a bulkhead of the override takes its methods out of all pools, their breakers
//! included.

use super::known::Known;
use super::measured::Measured;
use super::part::Part;
use super::plan::Plan;
use super::rejections::NextLook;
use crate::adaptive_limit::AdaptiveLimit;
use crate::breaker::Breaker;
use crate::bulkhead::Bulkhead;
use crate::cache::AnswerCache;
use crate::glob;
use crate::latency::RecentLatency;
use crate::level::Section;
use crate::policy::{BulkheadPolicy, HedgePolicy, MethodOverride, Policy, PoolPolicy, RateLimitPolicy};
use crate::rate_limit::RateLimit;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What the calls of some methods go by.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// The policy, its sections replaced where an override does.
    pub(crate) policy: Policy,
    /// What of it is in force.
    pub(crate) plan: Plan,
    /// Whether these calls may safely run twice. `None`: as the caller says.
    pub(crate) is_idempotent: Option<bool>,
    pub(crate) adaptive_limit: Arc<AdaptiveLimit>,
    pub(crate) rate_limit: Arc<RateLimit>,
    /// How long attempts took of late. `None`: no part of the policy goes by that.
    pub(crate) latency: Option<Arc<RecentLatency>>,
    /// The places of fallbacks that take time.
    pub(crate) fallback_places: Arc<Bulkhead>,
    pub(crate) cache: Arc<AnswerCache>,
    /// What these calls count in.
    pub(crate) measured: Arc<Measured>,
    common: Lane,
    pools: Vec<(PoolPolicy, Lane)>,
}

/// Where a call runs.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) breaker: Arc<OwnBreaker>,
    pub(crate) places: Arc<Bulkhead>,
    /// How long it may wait for a place.
    pub(crate) max_wait: Duration,
}

/// A breaker, and what it is for.
#[derive(Debug)]
pub(crate) struct OwnBreaker {
    pub(crate) part: Part,
    pub(crate) breaker: Breaker,
    /// When calls that it guards may be looked at again, where they are turned away.
    pub(crate) next_look: NextLook,
}

impl Scope {
    /// What all methods without an override go by.
    pub(super) fn of_service(policy: &Policy, known: &mut Known) -> Self {
        let part = &Part::Service;
        let bulkhead = &policy.bulkhead;
        let common = Lane {
            breaker: breaker(part, policy, known),
            places: places(part, bulkhead.max_concurrent, bulkhead.max_queue, known),
            max_wait: bulkhead.max_wait,
        };
        let mut pool = |pool: &PoolPolicy| {
            let part = &Part::Pool(pool.name.as_str().into());
            let lane = Lane {
                breaker: if pool.isolate_breaker { breaker(part, policy, known) } else { Arc::clone(&common.breaker) },
                places: places(part, pool.max_concurrent, pool.max_queue, known),
                max_wait: pool.max_wait,
            };
            (pool.clone(), lane)
        };
        let pools = bulkhead.pools.iter().map(&mut pool).collect();
        Self {
            policy: policy.clone(),
            plan: Plan::of(policy),
            is_idempotent: None,
            adaptive_limit: adaptive_limit(part, policy, known),
            rate_limit: rate_limit(part, policy, known),
            latency: latency(part, policy.hedge, known),
            fallback_places: fallback_places(part, policy, known),
            cache: cache(part, known),
            measured: Arc::clone(known.ledger.others()),
            common,
            pools,
        }
    }

    /// What the methods of an override go by, where its policy is already put together.
    pub(super) fn of_methods(&self, entry: &MethodOverride, policy: Policy, known: &mut Known) -> Self {
        let part = &Part::Methods(entry.glob.as_str().into());
        let plan = Plan::of(&policy);
        let mut scope = Self {
            policy,
            plan,
            is_idempotent: entry.is_idempotent,
            measured: known.ledger.of(&entry.glob),
            ..self.clone()
        };
        if let Some(BulkheadPolicy { max_concurrent, max_queue, max_wait, pools: _ }) = entry.bulkhead {
            scope.common.places = places(part, max_concurrent, max_queue, known);
            scope.common.max_wait = max_wait;
            scope.pools.clear();
        }
        if entry.breaker.is_some() {
            let own = breaker(part, &scope.policy, known);
            for (_, lane) in &mut scope.pools {
                lane.breaker = Arc::clone(&own);
            }
            scope.common.breaker = own;
        }
        if let Some(hedge) = entry.hedge {
            scope.latency = latency(part, hedge, known);
        }
        if entry.adaptive_limit.is_some() {
            scope.adaptive_limit = adaptive_limit(part, &scope.policy, known);
        }
        if entry.rate_limit.is_some() {
            scope.rate_limit = rate_limit(part, &scope.policy, known);
        }
        if entry.fallback.is_some() {
            scope.fallback_places = fallback_places(part, &scope.policy, known);
            scope.cache = cache(part, known);
        }
        scope
    }

    /// The rate limit's policy. `None`: none is in force.
    pub(crate) fn rate_limit_policy(&self) -> Option<&RateLimitPolicy> {
        self.policy.rate_limit.as_ref().filter(|_| self.plan.has_rate_limit)
    }

    /// Where a call runs: in the pool that it names, else in the first whose globs take the method, else in none. A pool
    /// that the policy does not know is none: a call must not fail because code and policy are of different ages.
    #[inline]
    pub(crate) fn lane(&self, pool: Option<&str>, method: &str) -> &Lane {
        let has_pools = !self.pools.is_empty() && self.plan.has_bulkhead;
        if has_pools { self.lane_by_pool(pool, method) } else { &self.common }
    }

    fn lane_by_pool(&self, pool: Option<&str>, method: &str) -> &Lane {
        self.pool(pool, method).map_or(&self.common, |(_, lane)| lane)
    }

    /// The pool that a call runs in, where pools are in force. `None`: in none.
    pub(crate) fn pool(&self, pool: Option<&str>, method: &str) -> Option<&(PoolPolicy, Lane)> {
        let takes = |(candidate, _): &&(PoolPolicy, Lane)| match pool {
            Some(name) => candidate.name == name,
            None => candidate.method_globs.iter().any(|pattern| glob::matches_method(pattern, method)),
        };
        self.pools.iter().find(takes).filter(|_| self.plan.has_bulkhead)
    }

    /// The breaker of those of its calls that run in no pool.
    pub(super) fn breaker(&self) -> &Breaker {
        &self.common.breaker.breaker
    }

    /// All breakers that its calls can meet; some more than once.
    pub(super) fn breakers(&self) -> impl Iterator<Item = &Arc<OwnBreaker>> {
        let has_pools = self.policy.level.enforces(Section::Bulkhead);
        self.all_breakers().take(if has_pools { usize::MAX } else { 1 })
    }

    /// The same where pools count at any level.
    pub(super) fn all_breakers(&self) -> impl Iterator<Item = &Arc<OwnBreaker>> {
        std::iter::once(&self.common.breaker).chain(self.pools.iter().map(|(_, lane)| &lane.breaker))
    }

    /// Whether no breaker remembers a failure and no call has to wait for its turn.
    pub(super) fn is_at_rest(&self, now: Timestamp) -> bool {
        let lanes = std::iter::once(&self.common).chain(self.pools.iter().map(|(_, lane)| lane));
        !self.rate_limit.is_ahead(now) && lanes.into_iter().all(|lane| lane.breaker.breaker.is_at_rest(now))
    }
}

fn breaker(part: &Part, policy: &Policy, known: &mut Known) -> Arc<OwnBreaker> {
    let new = || {
        let own =
            OwnBreaker { part: part.clone(), breaker: Breaker::new(&policy.breaker), next_look: NextLook::default() };
        own.breaker.set_holds(known.holds.of(part));
        Arc::new(own)
    };
    let own = known.breakers.get(part, |known| known.breaker.reconfigure(&policy.breaker), new);
    let until = policy.breaker.mode_until.map(|until| known.clocks.monotonic(until));
    own.breaker.set_mode(policy.breaker.mode, until);
    own
}

fn places(part: &Part, max_concurrent: u32, max_queue: u32, known: &mut Known) -> Arc<Bulkhead> {
    let new = || Bulkhead::new(max_concurrent, max_queue);
    known.places.get(part, |known| known.set_limits(max_concurrent, max_queue), new)
}

fn fallback_places(part: &Part, policy: &Policy, known: &mut Known) -> Arc<Bulkhead> {
    let max_concurrent = policy.fallback.max_concurrent;
    let new = || Bulkhead::new(max_concurrent, 0);
    known.fallback_places.get(part, |known| known.set_limits(max_concurrent, 0), new)
}

fn adaptive_limit(part: &Part, policy: &Policy, known: &mut Known) -> Arc<AdaptiveLimit> {
    let policy = &policy.adaptive_limit;
    known.adaptive_limits.get(part, |known| known.set_policy(policy), || Arc::new(AdaptiveLimit::new(policy)))
}

fn rate_limit(part: &Part, policy: &Policy, known: &mut Known) -> Arc<RateLimit> {
    let limit = known.rate_limits.get(part, |_| {}, || Arc::new(RateLimit::new()));
    if let Some(policy) = &policy.rate_limit {
        limit.set_policy(policy, known.clocks.monotonic);
    }
    limit
}

fn latency(part: &Part, hedge: HedgePolicy, known: &mut Known) -> Option<Arc<RecentLatency>> {
    (hedge.percentile > 0.0).then(|| known.latencies.get(part, |_| {}, || Arc::new(RecentLatency::new())))
}

fn cache(part: &Part, known: &mut Known) -> Arc<AnswerCache> {
    known.caches.get(part, |_| {}, || Arc::new(AnswerCache::new()))
}
