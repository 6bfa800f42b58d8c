//! Leave to make an attempt: the adaptive limit's, the ramp's and the breaker's.

use super::{Call, FailureCause};
use crate::adaptive_limit;
use crate::breaker::{Admission, Rejected, Transition};
use crate::isolation::{BreakerReceipt, RejectionReason, SeenRejection};
use crate::runtime::Runtime;
use crate::time::Timestamp;
use std::time::Duration;

/// Leave to make an attempt. Dropped, it is given back, and nothing is learned.
#[derive(Default)]
pub(super) struct Leave<'a> {
    pub(super) permit: Option<adaptive_limit::Permit<'a>>,
    pub(super) admission: Option<Admission<'a>>,
}

/// No leave to make an attempt.
pub(super) enum Refused {
    ByLimit,
    ByBreaker(Rejected),
}

impl<'a, R: Runtime> Call<'a, R> {
    /// Leave to make an attempt: of the adaptive limit, which nobody waits for, then of the breaker.
    #[inline(always)]
    pub(super) fn leave(&self, now: Timestamp) -> Result<Leave<'a>, Refused> {
        let mut leave = Leave::default();
        if self.plan().has_adaptive_limit {
            leave.permit = Some(self.scope.adaptive_limit.try_acquire().ok_or(Refused::ByLimit)?);
        }
        leave.admission = self.admit(now).map_err(Refused::ByBreaker)?;
        Ok(leave)
    }

    pub(super) fn refused<E>(&self, refused: Refused) -> FailureCause<E> {
        match refused {
            Refused::ByBreaker(rejected) => self.open(rejected),
            Refused::ByLimit => {
                self.reject(RejectionReason::AdaptiveLimit, None);
                FailureCause::AdaptiveLimitReached
            }
        }
    }

    #[inline(always)]
    fn admit(&self, now: Timestamp) -> Result<Option<Admission<'a>>, Rejected> {
        if !self.plan().has_breaker {
            return Ok(None);
        }
        let (breaker, policy) = (&self.lane.breaker.breaker, &self.policy().breaker);
        if self.plan().has_ramp {
            breaker.ramp(policy, now, || self.clock.runtime.random())?;
        }
        let admitted = breaker.admit(policy, now, || self.clock.runtime.random())?;
        self.publish(admitted.transition);
        Ok(Some(admitted.admission))
    }

    #[inline(always)]
    pub(super) fn publish(&self, transition: Option<Transition>) {
        self.isolation.publish(&self.lane.breaker.part, transition);
    }

    pub(super) fn open<E>(&self, rejected: Rejected) -> FailureCause<E> {
        self.publish(rejected.transition);
        self.reject(RejectionReason::CircuitOpen, rejected.retry_after);
        FailureCause::Open { retry_after: rejected.retry_after, by: rejected.by }
    }

    /// Counts a rejection, and keeps one now and then for whoever asks why.
    #[inline]
    pub(super) fn reject(&self, reason: RejectionReason, retry_after: Option<Duration>) {
        self.count(reason.counter());
        if self.lane.breaker.next_look.is_due(reason, self.clock.now()) {
            self.keep_rejection(reason, retry_after);
        }
    }

    #[cold]
    fn keep_rejection(&self, reason: RejectionReason, retry_after: Option<Duration>) {
        let (at, own) = (self.clock.now(), &self.lane.breaker);
        let options = self.options;
        let revision = self.in_force.revision;
        let breaker = self.plan().has_breaker.then(|| own.receipt(revision, at));
        // Half-open, it lets a call in whenever a probe has ended, so it says of itself that it rejects none.
        let breaker =
            breaker.map(|receipt| BreakerReceipt { retry_after: retry_after.or(receipt.retry_after), ..receipt });
        let pool = self.scope.pool(options.pool, options.method).map(|(pool, _)| pool.name.as_str());
        let seen = SeenRejection { at, method: options.method, pool, reason, revision, breaker };
        self.isolation.keep_rejection(own, seen);
    }
}
