//! Leave to make an attempt: the adaptive limit's, the ramp's and the breaker's.

use super::{Call, FailureCause};
use crate::adaptive_limit;
use crate::breaker::{Admission, Rejected, Transition};
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;

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
                self.count(Counter::RejectedAdaptiveLimit);
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
        self.count(Counter::RejectedOpen);
        FailureCause::Open { retry_after: rejected.retry_after, by: rejected.by }
    }
}
