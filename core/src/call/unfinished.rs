use super::Context;
use super::settle::Said;
use super::tally::count_attempt;
use crate::breaker::{Admission, Detached};
use crate::isolation::{Isolation, Measured, OwnBreaker};
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;

/// An attempt whose answer has begun and not ended: what it says of the service is still to come.
///
/// It holds the breaker's admission and nothing else: an answer may take hours, and places are for calls that are waited
/// for. Dropped without an [`end`](Self::end), it gives the admission back, and the attempt is not counted.
#[derive(Debug)]
pub struct Unfinished {
    own: Arc<OwnBreaker>,
    measured: Arc<Measured>,
    policy: Policy,
    /// `None`: no breaker was in force, or it has ended.
    admission: Option<Detached>,
    is_probe: bool,
    is_idempotent: bool,
    /// Until it began.
    latency: Duration,
}

impl Unfinished {
    pub(super) fn new(
        own: &Arc<OwnBreaker>,
        measured: &Arc<Measured>,
        policy: Policy,
        admission: Option<Admission<'_>>,
        is_idempotent: bool,
        latency: Duration,
    ) -> Self {
        let is_probe = admission.as_ref().is_some_and(Admission::is_probe);
        let admission = admission.map(Admission::detach);
        Self {
            own: Arc::clone(own),
            measured: Arc::clone(measured),
            policy,
            admission,
            is_probe,
            is_idempotent,
            latency,
        }
    }

    /// What its end is judged by; for an error of no type that is known.
    pub fn context(&self) -> Context<'_> {
        let Self { policy, is_probe, is_idempotent, .. } = self;
        Context { policy, is_probe: *is_probe, is_idempotent: *is_idempotent, error_type: "" }
    }

    /// Says how it ended, now. `isolation` is that of its call.
    pub fn end<R: Runtime>(mut self, isolation: &Isolation, runtime: &R, outcome: Outcome) {
        count_attempt(&self.measured, outcome);
        let said = Said { outcome, latency: self.latency, now: runtime.now() };
        let admission = self.admission.take().map(|detached| self.own.breaker.attach(detached));
        said.to(isolation, &self.own.part, &self.policy, admission, runtime);
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(self.admission.take().map(|detached| self.own.breaker.attach(detached)));
    }
}
