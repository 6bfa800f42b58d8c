//! Containment: a revision that turns a working service's calls away is put back, here and at once.
//!
//! A policy can pass every check and be poison: a timeout of 1 ms, one place where a hundred are needed. The first
//! callers feel it before any operator does. So for 30 seconds after a revision is in force, the SDK compares
//! what the policy turns away with what it turned away before. It is put back where **all** of this holds:
//!
//! 1. there were at least 20 decisions (attempts that ended, and rejections) in the time before, which is the last 30 to
//!    60 s, and at least 20 since;
//! 2. of the rejections *that the revision can be blamed for* there were at most 1 % before, and there are at least 50 %
//!    now. It is blamed for what it changed, and for nothing else: see the module `blame`;
//! 3. of the attempts that ended, the service itself does not fail 20 points more than before: else it may be the service,
//!    and a breaker that opens does its work.
//!
//! Putting back is applying the policy before, so that nothing learned is lost. The manager gets a refusal that says so,
//! and does not hand the revision out any more; sent again, it is refused again, and so is a newer revision with the same
//! policy, whose orders are obeyed all the same. Another policy is taken, and begins a watch of its own.
//!
//! Known limits. A dependency that slows down in the very moment in which its timeout is shortened looks like a timeout
//! that is too short. A process that has seen fewer than 20 decisions says nothing. The manager's own
//! `ExecuteWithIsolation` does not watch.
//!
//! The verdict is pure (`trial`). This file's task asks for it while there is something on trial; a call notices nothing.

mod blame;
mod probation;
mod trial;

pub(crate) use probation::Probation;
pub(crate) use trial::Good;

use probation::Ordered;

use crate::client::Shared;
use crate::events::Event;
use crate::panics::tell;
use crate::registry::ServiceState;
use crate::runtime::{Tokio, clocks};
use crate::sync::applied;
use crate::sync::message::{Refusal, ToManager};
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime as _;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often what is on trial is judged.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often it is noted what was counted so far, for a later comparison.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(30);

/// What is on trial in a process, and what came of it.
#[derive(Debug)]
pub(crate) struct Containment {
    is_on: bool,
    on_trial: Mutex<BTreeMap<Arc<str>, Arc<ServiceState>>>,
    begun: Notify,
    /// Refusals that the manager has not been told, the last of each service.
    refusals: Mutex<BTreeMap<Arc<str>, ToManager>>,
    refused: Notify,
}

impl Containment {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            on_trial: Mutex::default(),
            begun: Notify::new(),
            refusals: Mutex::default(),
            refused: Notify::new(),
        }
    }

    /// Begins to watch a revision that is in force now, in the place of what was before it.
    pub(crate) fn begin(&self, service: &Arc<ServiceState>, good: Good, revision: Revision, probation: &mut Probation) {
        if !self.is_on {
            return;
        }
        let counts = service.isolation.counters();
        let policy = service.isolation.in_force().lasting_policy();
        if probation.begin(good, &policy, revision, counts, Tokio.now()) {
            lock(&self.on_trial).insert(Arc::clone(&service.name), Arc::clone(service));
            self.begun.notify_one();
        }
    }

    /// Has the manager told that a revision was put back.
    pub(crate) fn refuse(&self, service: &Arc<str>, refusal: ToManager) {
        lock(&self.refusals).insert(Arc::clone(service), refusal);
        self.refused.notify_one();
    }

    /// Ends when there are refusals that the manager has not been told. Cancel-safe.
    pub(crate) async fn refused(&self) {
        self.refused.notified().await;
    }

    /// The refusals that the manager has not been told, and now is.
    pub(crate) fn take_refusals(&self) -> BTreeMap<Arc<str>, ToManager> {
        std::mem::take(&mut *lock(&self.refusals))
    }

    fn services(&self) -> Vec<Arc<ServiceState>> {
        lock(&self.on_trial).values().cloned().collect()
    }
}

/// Judges what is on trial until it is to stop.
pub(crate) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    if !shared.containment.is_on {
        return;
    }
    let mut next_sample = Instant::now() + SAMPLE_INTERVAL;
    let mut next_look = Instant::now();
    loop {
        let has_trials = !lock(&shared.containment.on_trial).is_empty();
        tokio::select! {
            () = stop.cancelled() => return,
            () = shared.containment.begun.notified() => {}
            () = sleep_until(next_look), if has_trials => {
                shared.containment.services().iter().for_each(|service| judge(&shared, service));
                next_look = Instant::now() + INTERVAL;
            }
            () = sleep_until(next_sample) => {
                shared.registry.followed().iter().for_each(|service| {
                    service.probation().sample(service.isolation.counters());
                });
                next_sample = Instant::now() + SAMPLE_INTERVAL;
            }
        }
    }
}

fn judge(shared: &Shared, service: &Arc<ServiceState>) {
    let now = Tokio.now();
    let holds = service.isolation.holds(now);
    let ordered = Ordered { holds: &holds, level: service.isolation.in_force().policy.level };
    // Held over the swap: the sync task must not put a newer revision in force in between.
    let mut probation = service.probation();
    let verdict = probation.judge(&service.isolation.counters(), &ordered, now);
    if !probation.is_on_trial() {
        lock(&shared.containment.on_trial).remove(&service.name);
    }
    let Some((revision, good, reason)) = verdict else { return };
    let in_force = good.revision;
    // Whether it may be called is not the policy's to say, and may have been ordered since.
    let is_enabled = service.isolation.in_force().is_enabled;
    tell(|| service.isolation.apply(good.policy, good.revision, is_enabled, clocks()));
    service.set_from_file(good.is_from_file);
    drop(probation);
    shared.keep();
    shared.link.refused();
    tell(|| {
        let in_force = in_force.map(tracing::field::display);
        tracing::error!(service = %service.name, %revision, in_force, reason, "policy put back");
    });
    let words: Arc<str> = reason.as_str().into();
    let event = Event::PolicyContained { service: Arc::clone(&service.name), revision, in_force, reason: words };
    shared.hub.tell(event);
    let refusal = Refusal { reason, field_path: String::new() };
    let answer = ToManager::Refused {
        service: Arc::clone(&service.name),
        revision: Some(revision),
        refusal,
        in_force: applied(service),
        is_contained: true,
    };
    shared.containment.refuse(&service.name, answer);
}

/// Nothing that is done under these locks can panic half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
