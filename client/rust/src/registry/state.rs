//! One service of the process.

use crate::events::Hub;
use crate::journal::Journal;
use crate::runtime::clocks;
use cofferdam_core::adaptive_limit::Load;
use cofferdam_core::breaker::State;
use cofferdam_core::health::HealthStatus;
use cofferdam_core::isolation::{Isolation, Part};
use cofferdam_core::latency::CallLatencySnapshot;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::stats::CounterSnapshot;
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
    /// The newest revision that the manager has told, be it of a policy or of a removal.
    newest: Mutex<Option<Revision>>,
    told: Mutex<Told>,
    /// Whether it was named since somebody last looked for a place to give to another.
    was_named: AtomicBool,
}

/// How far the manager has been told of a service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) counters: CounterSnapshot,
    pub(crate) latencies: CallLatencySnapshot,
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
            told: Mutex::default(),
            was_named: AtomicBool::new(false),
        }
    }

    /// Takes note of a revision.
    ///
    /// # Errors
    ///
    /// The newest revision so far, where this one is older.
    pub(crate) fn advance(&self, revision: Revision) -> Result<(), Revision> {
        let mut newest = lock(&self.newest);
        match *newest {
            Some(newest) if revision < newest => Err(newest),
            _ => {
                *newest = Some(revision);
                Ok(())
            }
        }
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
