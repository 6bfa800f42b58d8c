//! The isolation of one service: its policy in force, and all that was learned under any policy so far.
//!
//! The two are apart on purpose. A policy is swapped whole, behind one pointer; breaker, budget, limits, places and cache
//! stay where they are and read their numbers from whatever policy a call began with. So a call sees one policy from
//! beginning to end, and no change of policy or level loses what was learned.

mod hints;
mod holds;
mod known;
mod measured;
mod orders;
mod part;
mod plan;
mod receipt;
mod rejections;
mod scope;

pub(crate) use self::measured::Measured;
pub use self::part::Part;
pub(crate) use self::plan::Plan;
pub use self::receipt::BreakerReceipt;
pub(crate) use self::rejections::SeenRejection;
pub use self::rejections::{RejectedCall, RejectionReason};
pub(crate) use self::scope::{Lane, OwnBreaker, Scope};

use self::known::Known;
use self::rejections::Rejections;
use crate::adaptive_limit::Load;
use crate::breaker::{State, Transition};
use crate::cache::AnswerCache;
use crate::glob;
use crate::health::{HealthStatus, HealthWindow};
use crate::latency::CallLatencySnapshot;
use crate::level::{Level, Section};
use crate::orders::Orders;
use crate::policy::{AdaptiveLimitKind, BreakerPolicy, Policy};
use crate::retry::RetryBudget;
use crate::revision::Revision;
use crate::stats::{Counter, CounterSnapshot};
use crate::sync::{Mutex, MutexGuard};
use crate::time::{Clocks, Timestamp};
use arc_swap::{ArcSwap, Guard};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

/// The isolation of one service, shared by all who call it.
pub struct Isolation {
    current: ArcSwap<InForce>,
    /// Held by whoever changes the policy; never by a call.
    known: Mutex<Known>,
    pub(crate) budget: RetryBudget,
    pub(crate) health: HealthWindow,
    measured: Arc<Measured>,
    rejections: Rejections,
    observer: Arc<dyn Observer>,
}

/// Told of what happens to a service's isolation. It is called by the protected call itself, outside of any lock: it
/// must be quick, and may call back into the isolation. A panic of its own ends there.
pub trait Observer: Send + Sync {
    /// The breaker of a part of the service changed its state, or would have: see [`Transition::is_enforced`].
    fn transition(&self, part: &Part, transition: &Transition);
}

/// An [`Observer`] that does not look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

/// What calls that begin now go by.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The policy, at the level that counts now.
    pub policy: Policy,
    /// Its revision. `None`: the host's built-in default.
    pub revision: Option<Revision>,
    /// Whether the service may be called.
    pub is_enabled: bool,
    /// The policy's own level: the one that counts, but while a temporary one stands in its place.
    pub lasting_level: Level,
    /// When the temporary level is over. `None`: there is none.
    pub level_until: Option<Timestamp>,
    /// What operators have ordered apart from the policy, as they wrote it down: with what has run out since, and what is
    /// for other instances.
    pub orders: Arc<Orders>,
    /// What methods without an override go by.
    base: Scope,
    /// What the others go by, by their globs; the first that matches wins.
    overrides: Vec<(String, Scope)>,
}

impl Isolation {
    /// Isolation by a policy, with nothing learned. `clocks`: what they read now, for times of day in the policy.
    pub fn new(policy: Policy, revision: Option<Revision>, clocks: Clocks, observer: Arc<dyn Observer>) -> Self {
        let mut known = Known::new(clocks);
        let measured = Arc::clone(known.ledger.others());
        let (budget, health) = (RetryBudget::new(&policy.retry.budget), HealthWindow::new(&policy.health));
        Self {
            current: ArcSwap::from_pointee(InForce::new(policy, revision, true, &mut known)),
            known: Mutex::new(known),
            budget,
            health,
            measured,
            rejections: Rejections::default(),
            observer,
        }
    }

    /// Puts another policy in force for calls that begin from now on. Calls under way end under the one they began
    /// with. Breaker, window, timers, budget, limits, cache and the places in use stay as they are; so do those of a pool
    /// of the same name and of an override of the same glob. What belongs to a pool or an override that the policy drops
    /// is gone with the last call that began under a policy which had it.
    ///
    /// A breaker's mode is in force for calls under way as well. `clocks`: what they read now; a time of day in the policy
    /// becomes one of the monotonic clock here, once, so a wall clock that jumps later changes nothing.
    pub fn apply(&self, policy: Policy, revision: Option<Revision>, is_enabled: bool, clocks: Clocks) {
        let mut known = self.known();
        known.clocks = clocks;
        known.obeyed.level.take_if(|(_, until)| *until <= clocks.monotonic);
        let in_force = InForce::new(policy, revision, is_enabled, &mut known);
        self.put_in_force(&mut known, in_force);
    }

    fn put_in_force(&self, known: &mut Known, in_force: InForce) {
        hints::apply(known, &in_force.policy, in_force.base.breaker());
        self.budget.set_policy(&in_force.policy.retry.budget);
        self.health.set_policy(&in_force.policy.health);
        self.current.store(Arc::new(in_force));
        known.prune();
    }

    /// What calls that begin now go by.
    pub fn in_force(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// The same, to be looked at. A few at once cost nothing that is shared; see [`ArcSwap::load`].
    pub(crate) fn look(&self) -> Guard<Arc<InForce>> {
        self.current.load()
    }

    /// The state of the service's own breaker, as the next caller will find it. `None`: no breaker is in force at this
    /// level.
    pub fn breaker_state(&self, now: Timestamp) -> Option<State> {
        let current = self.current.load();
        let in_force = current.policy.level.enforces(Section::CircuitBreaker);
        in_force.then(|| current.base.breaker().state(now))
    }

    /// The state of the breaker that a call of a method meets, in the pool that it names, as the next caller will find
    /// it. `None`: no breaker is in force at this level.
    pub fn breaker_state_for(&self, method: &str, pool: Option<&str>, now: Timestamp) -> Option<State> {
        let current = self.current.load();
        let scope = current.scope(method);
        let in_force = scope.policy.level.enforces(Section::CircuitBreaker);
        in_force.then(|| scope.lane(pool, method).breaker.breaker.state(now))
    }

    /// The states of all breakers in force: first the service's, then those of pools and of methods that have their
    /// own. Empty: no breaker is in force at this level.
    pub fn breaker_states(&self, now: Timestamp) -> Vec<(Part, State)> {
        let current = self.current.load();
        current.breakers().into_iter().map(|(own, _)| (own.part.clone(), own.breaker.state(now))).collect()
    }

    /// The service's adaptive limit, and how much of it is used; those of methods with a limit of their own are not in it.
    /// `None`: none is in force.
    pub fn adaptive_limit(&self) -> Option<Load> {
        let current = self.current.load();
        let in_force = current.policy.level.enforces(Section::AdaptiveLimit)
            && current.policy.adaptive_limit.kind != AdaptiveLimitKind::Off;
        in_force.then(|| current.base.adaptive_limit.load())
    }

    /// Successes and failures in the window of the service's own breaker, whatever the level.
    pub fn window_counts(&self, now: Timestamp) -> (u64, u64) {
        self.current.load().base.breaker().window_counts(now)
    }

    /// The health derived from outcomes. An open breaker of the service itself is "circuit open" whatever the rates; one
    /// of a pool or of an override keeps some calls from it, so it is degraded at best.
    pub fn health(&self, now: Timestamp) -> HealthStatus {
        let current = self.current.load();
        let open = |(own, _): &(&Arc<OwnBreaker>, &BreakerPolicy)| own.breaker.state(now) == State::Open;
        let open: Vec<&Part> = current.breakers().into_iter().filter(open).map(|(own, _)| &own.part).collect();
        let derived = self.health.status(open.contains(&&Part::Service), now, &current.policy.health);
        if open.is_empty() { derived } else { derived.worse(HealthStatus::Degraded) }
    }

    /// Whether nothing is lost to the service's callers with what was learned and ordered: the service is not switched off
    /// and at its lasting level, the breakers are closed, no failure is in their windows nor in that of the health, and the
    /// rate limits owe no wait. Answers that the cache keeps do not count.
    pub fn is_at_rest(&self, now: Timestamp) -> bool {
        let current = self.current.load();
        let is_as_usual = current.is_enabled && current.level_until.is_none();
        is_as_usual && current.scopes().all(|scope| scope.is_at_rest(now)) && !self.health.has_failures(now)
    }

    /// Where good answers are kept: for the service, and for each override with a fallback of its own.
    pub fn caches(&self) -> Vec<Arc<AnswerCache>> {
        self.known().caches.in_use().collect()
    }

    /// What happened since the isolation was made.
    pub fn counters(&self) -> CounterSnapshot {
        self.known().ledger.counters()
    }

    /// How long calls and attempts took since the isolation was made. What [`counters`](Self::counters) told before of
    /// calls that have ended is in it.
    pub fn latencies(&self) -> CallLatencySnapshot {
        self.known().ledger.latencies()
    }

    /// The same of the methods that an override is for, by its glob: what [`counters`](Self::counters) and
    /// [`latencies`](Self::latencies) have of them, but for breakers that opened and results that came too late. An
    /// override that the policy dropped is in it for as long as calls go by it.
    pub fn methods(&self) -> Vec<(Arc<str>, CounterSnapshot, CallLatencySnapshot)> {
        self.known().ledger.methods()
    }

    /// The last calls that were turned away after the one of a number, oldest first, and the number of the last one; zero
    /// is before the first. At most eight are kept, and of those that differ in their time alone the last one; they are a
    /// sample, of one in a second for each breaker and reason.
    pub fn rejections_after(&self, number: u64) -> (Vec<RejectedCall>, u64) {
        self.rejections.after(number)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many breakers are known, those that nobody uses any more included.
    #[cfg(test)]
    pub(crate) fn known_breakers(&self) -> usize {
        self.known().breakers.len()
    }

    #[inline]
    pub(crate) fn count(&self, counter: Counter) {
        self.measured.count(counter);
    }

    /// Keeps a call that was turned away by what a breaker guards.
    pub(crate) fn keep_rejection(&self, own: &OwnBreaker, seen: SeenRejection<'_>) {
        self.rejections.keep(own, seen);
    }

    #[inline]
    pub(crate) fn publish(&self, part: &Part, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.tell(part, transition);
        }
    }

    #[cold]
    fn tell(&self, part: &Part, transition: Transition) {
        if transition.to == State::Open && transition.is_enforced {
            self.count(Counter::BreakerOpened);
        }
        // Whoever looks on is no reason for a call to fail.
        let _ = catch_unwind(AssertUnwindSafe(|| self.observer.transition(part, &transition)));
    }
}

impl InForce {
    fn new(policy: Policy, revision: Option<Revision>, is_enabled: bool, known: &mut Known) -> Self {
        let lasting_level = policy.level;
        let (level, level_until) =
            known.obeyed.level.map_or((lasting_level, None), |(level, until)| (level, Some(until)));
        let policy = policy.at_level(level);
        let orders = Arc::clone(&known.obeyed.orders);
        let base = Scope::of_service(&policy, known);
        let overrides = policy.method_overrides.iter().enumerate().filter_map(|(number, entry)| {
            let scope = base.of_methods(entry, policy.overridden(number)?, known);
            Some((entry.glob.clone(), scope))
        });
        let overrides = overrides.collect();
        Self { policy, revision, is_enabled, lasting_level, level_until, orders, base, overrides }
    }

    /// The breaker that a call of a method meets, in the pool that it names, by the part that it is for, and the pool that
    /// the call runs in. `None`: no breaker is in force at this level; it runs in no pool.
    pub fn route(&self, method: &str, pool: Option<&str>) -> (Option<Part>, Option<String>) {
        let scope = self.scope(method);
        let breaker = scope.plan.has_breaker.then(|| scope.lane(pool, method).breaker.part.clone());
        (breaker, scope.pool(pool, method).map(|(pool, _)| pool.name.clone()))
    }

    /// What a call of a method goes by.
    #[inline]
    pub(crate) fn scope(&self, method: &str) -> &Scope {
        if self.overrides.is_empty() { &self.base } else { self.scope_by_glob(method) }
    }

    fn scope_by_glob(&self, method: &str) -> &Scope {
        let own = self.overrides.iter().find(|(pattern, _)| glob::matches_method(pattern, method));
        own.map_or(&self.base, |(_, scope)| scope)
    }

    fn scopes(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.base).chain(self.overrides.iter().map(|(_, scope)| scope))
    }

    /// The breakers that calls can meet, each with the policy that it goes by: the service's, then those of pools and
    /// overrides. Empty: no breaker is in force at this level.
    fn breakers(&self) -> Vec<(&Arc<OwnBreaker>, &BreakerPolicy)> {
        let is_in_force = self.policy.level.enforces(Section::CircuitBreaker);
        self.distinct(|scope| scope.breakers().filter(move |_| is_in_force))
    }

    /// The same with those that are not in force at this level.
    fn all_breakers(&self) -> Vec<(&Arc<OwnBreaker>, &BreakerPolicy)> {
        self.distinct(Scope::all_breakers)
    }

    fn distinct<'a, I: Iterator<Item = &'a Arc<OwnBreaker>>>(
        &'a self,
        of: impl Fn(&'a Scope) -> I,
    ) -> Vec<(&'a Arc<OwnBreaker>, &'a BreakerPolicy)> {
        let mut all: Vec<(&Arc<OwnBreaker>, &BreakerPolicy)> = Vec::new();
        for scope in self.scopes() {
            for breaker in of(scope) {
                if all.iter().all(|(known, _)| !Arc::ptr_eq(known, breaker)) {
                    all.push((breaker, &scope.policy.breaker));
                }
            }
        }
        all
    }
}

impl Observer for Unobserved {
    fn transition(&self, _: &Part, _: &Transition) {}
}

impl fmt::Debug for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Isolation").field("in_force", &self.current).finish_non_exhaustive()
    }
}
