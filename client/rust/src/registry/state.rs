//! One service of the process.

use super::holds::ToldHolds;
use crate::containment::Probation;
use crate::events::Hub;
use crate::fleet_hint::FleetHint;
use crate::journal::Journal;
use crate::panics::{Panicked, unless_it_panics};
use crate::policy_file::Kept;
use crate::runtime::clocks;
use crate::service::Origin;
use crate::told_once::ToldOnce;
use cofferdam_core::adaptive_limit::Load;
use cofferdam_core::breaker::State;
use cofferdam_core::health::HealthStatus;
use cofferdam_core::isolation::{Isolation, Part};
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::orders::Orders;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
use cofferdam_core::time::Timestamp;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One service.
#[derive(Debug)]
pub(crate) struct ServiceState {
    pub(crate) name: Arc<str>,
    /// Counts the services of the process, in the order in which they were named.
    pub(crate) number: u64,
    pub(crate) isolation: Isolation,
    pub(crate) journal: Arc<Journal>,
    /// The newest revision there was word of, be it of a policy or of a removal.
    newest: Mutex<Option<Newest>>,
    /// Whether what is in force was kept by an earlier process.
    is_from_file: AtomicBool,
    told: Mutex<Told>,
    probation: Mutex<Probation>,
    /// The holds that were told of.
    pub(super) told_holds: ToldHolds,
    /// What the log was told that it is told once.
    pub(crate) told_once: ToldOnce,
    /// Whether it was named since somebody last looked for a place to give to another.
    was_named: AtomicBool,
    /// Whether the manager has said what it had to say, be it nothing.
    is_settled: AtomicBool,
}

/// A revision, and whose word it is.
#[derive(Clone, Copy, Debug)]
struct Newest {
    revision: Revision,
    /// The file's, not the manager's.
    is_from_file: bool,
}

/// How far the manager has been told of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) counters: CounterSnapshot,
    pub(crate) latencies: CallLatencySnapshot,
    pub(crate) methods: Vec<(Arc<str>, CounterSnapshot, CallLatencySnapshot)>,
    /// The number of the last call that was turned away.
    pub(crate) rejections: u64,
    /// The stream, counted from 1, and the state that its manager knows. `None`: no manager knows any.
    pub(crate) state: Option<(u64, Shown)>,
}

/// How a service does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) breaker: Option<State>,
    pub(crate) parts: Vec<(Part, State)>,
    pub(crate) health: HealthStatus,
    pub(crate) adaptive_limit: Option<Load>,
    /// The service's own breaker by its rules alone.
    pub(crate) learned: Option<State>,
    /// Breakers over which a hold stands.
    pub(crate) held: usize,
}

impl Told {
    /// Whether the manager of a stream knows this state.
    pub(crate) fn is_shown(&self, stream: u64, state: &Shown) -> bool {
        self.state.as_ref().is_some_and(|(shown_on, shown)| *shown_on == stream && shown == state)
    }
}

impl ServiceState {
    pub(super) fn new(name: &str, number: u64, policy: Policy, hub: &Hub) -> Self {
        let name: Arc<str> = name.into();
        let journal = Arc::new(Journal::new(Arc::clone(&name), hub.clone()));
        let isolation = Isolation::new(policy, None, clocks(), Arc::<Journal>::clone(&journal));
        Self {
            name,
            number,
            isolation,
            journal,
            newest: Mutex::default(),
            is_from_file: AtomicBool::new(false),
            told: Mutex::default(),
            probation: Mutex::default(),
            told_holds: ToldHolds::default(),
            told_once: ToldOnce::default(),
            was_named: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
        }
    }

    /// Puts in force what an earlier process kept. Where that panics, the state is not to be used.
    pub(super) fn restore(&self, kept: &Kept, instance_id: &str) -> Result<(), Panicked> {
        let Kept { service: _, policy, revision, is_enabled, orders } = kept;
        unless_it_panics(|| {
            self.isolation.obey(orders.clone(), Some(instance_id), clocks());
            self.isolation.apply(policy.clone(), Some(*revision), *is_enabled, clocks());
        })?;
        *lock(&self.newest) = Some(Newest { revision: *revision, is_from_file: true });
        self.is_from_file.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Takes note of a revision that the manager told.
    ///
    /// # Errors
    ///
    /// The newest revision so far, where this one is older. What a file says of another epoch is no reason.
    pub(crate) fn advance(&self, revision: Revision) -> Result<(), Revision> {
        let mut newest = lock(&self.newest);
        match *newest {
            Some(Newest { revision: newest, is_from_file })
                if revision < newest && !(is_from_file && revision.epoch != newest.epoch) =>
            {
                Err(newest)
            }
            _ => {
                *newest = Some(Newest { revision, is_from_file: false });
                Ok(())
            }
        }
    }

    /// How it stands with its last revisions. Held by whoever puts a policy in force; never by a call.
    pub(crate) fn probation(&self) -> MutexGuard<'_, Probation> {
        lock(&self.probation)
    }

    /// Takes note of whether what is in force is the file's word, and not the manager's.
    pub(crate) fn set_from_file(&self, is_from_file: bool) {
        self.is_from_file.store(is_from_file, Ordering::Relaxed);
    }

    /// Where what is in force comes from.
    pub(crate) fn origin(&self) -> Origin {
        match (self.isolation.in_force().revision, self.is_from_file.load(Ordering::Relaxed)) {
            (None, _) => Origin::BuiltIn,
            (Some(_), true) => Origin::File,
            (Some(_), false) => Origin::Manager,
        }
    }

    /// What is to be kept of it. `None`: the manager has no policy for it.
    pub(super) fn kept(&self) -> Option<Kept> {
        let in_force = self.isolation.in_force();
        Some(Kept {
            service: Arc::clone(&self.name),
            policy: in_force.lasting_policy(),
            revision: in_force.revision?,
            is_enabled: in_force.is_enabled,
            orders: Orders::clone(&in_force.orders),
        })
    }

    /// What the manager says of other instances.
    pub(crate) fn fleet_hint(&self, now: Timestamp) -> Option<FleetHint> {
        let hint = self.isolation.fleet_hint(now)?;
        Some(FleetHint::new(hint, &self.isolation.in_force().policy, now))
    }

    /// How far the manager has been told.
    pub(crate) fn told(&self) -> Told {
        lock(&self.told).clone()
    }

    /// Takes note that the manager has been told so far.
    pub(crate) fn tell(&self, told: Told) {
        *lock(&self.told) = told;
    }

    /// Whether the manager knows all that happened.
    pub(super) fn is_told(&self) -> bool {
        self.isolation.counters() == self.told().counters && self.journal.unreported().is_empty()
    }

    /// Takes note that the manager has said what it had to say.
    pub(super) fn settle(&self) {
        self.is_settled.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled.load(Ordering::Relaxed)
    }

    pub(super) fn name_again(&self) {
        // Most often it is set already, and then nothing is written that other threads read.
        if !self.was_named.load(Ordering::Relaxed) {
            self.was_named.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was named since this was last asked.
    pub(super) fn was_named(&self) -> bool {
        self.was_named.swap(false, Ordering::Relaxed)
    }
}

/// Nothing that is done under these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
