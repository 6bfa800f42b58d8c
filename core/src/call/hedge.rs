//! Hedging: another attempt of an idempotent call while one still runs.
//!
//! **When.** An attempt that has not ended after the delay gets another one beside it, and after the delay again the next,
//! up to `max_extra` in a call. As in gRPC (gRFC A6) and Polly, a failure that another attempt may mend starts the next
//! one at once, or when the service's pushback says. A failure that no other can mend, and a pushback of "never", end the
//! hedging; what is under way may still answer. With a percentile, the delay is that of the recent latencies.
//!
//! **What wins.** The first answer that counts as a success, or says nothing bad of the service. The others are dropped
//! before the caller gets it, which cancels them and teaches the breaker nothing. Where all fail, the last one speaks.
//!
//! **Hedges are attempts.** Each has its own place, admission and attempt timeout, and counts towards
//! `retry.max_attempts`. A call is not retried while an attempt of it runs, so it makes at most `retry.max_attempts`
//! attempts or `1 + max_extra`, whichever is more. Each counts for the breaker when it has ended, as that of a retry does:
//! a call whose three attempts all run out of time is three failures in a row, for the service was asked three times and
//! did not answer. Those that are cancelled because another has won are neutral.
//!
//! **A hedge is a luxury.** It takes a place that is free and never waits for one, and the adaptive limit's permit as any
//! attempt does. It starts only while the breaker is closed, for a probe must not be doubled, and takes from the budget
//! that it shares with the retries. One that is refused is counted, and the call goes on with what it has: it must not fail
//! for what it did not need.
//!
//! **What is measured** is how long attempts take that are no hedges: those that succeed; those that time out, as long
//! as they took; and those that lost, for as long as they ran, which was longer than the delay. Without the last two the
//! slow ones would be missing, and the quantile would go down and down. Hedges would add fast ones only.
//!
//! The first attempt runs in the call's own future. Nothing is allocated until one has failed or a hedge is due.

mod race;

pub(super) use race::{First, Race};

use super::attempts::Begun;
use super::leave::Refused;
use super::settle::Settled;
use super::{Call, Operation, Progress};
use crate::breaker::{Admission, State};
use crate::outcome::Outcome;
use crate::runtime::Runtime;
use crate::time::Timestamp;
use std::time::Duration;

impl<'a, R: Runtime> Call<'a, R> {
    /// How long an attempt that begins now may run before another one starts beside it. `None`: none does.
    #[inline(always)]
    pub(super) fn hedge_delay<O: Operation>(
        &self,
        operation: &O,
        progress: &Progress,
        is_probe: bool,
    ) -> Option<Duration> {
        if self.may_be_hedged() { self.due_delay(operation, progress, is_probe) } else { None }
    }

    fn due_delay<O: Operation>(&self, operation: &O, progress: &Progress, is_probe: bool) -> Option<Duration> {
        let policy = &self.policy().hedge;
        if is_probe || progress.hedges >= policy.max_extra || !operation.can_repeat() {
            return None;
        }
        let latency = self.scope.latency.as_ref();
        let measured = latency.and_then(|latency| latency.quantile(policy.percentile, self.clock.now()));
        Some(measured.unwrap_or(policy.delay))
    }

    /// Takes note of how long an attempt took, or was seen to take at least.
    #[inline(always)]
    pub(super) fn measure(&self, took: Duration) {
        if self.may_be_hedged()
            && let Some(latency) = &self.scope.latency
        {
            latency.record(took);
        }
    }

    #[inline(always)]
    fn may_be_hedged(&self) -> bool {
        self.plan().has_hedge && self.is_idempotent && !self.options.is_alternative
    }

    /// Leave to make a hedge. `None`: it is refused.
    fn begin_hedge(&self, deadline: Option<Timestamp>) -> Option<Begun<'a>> {
        let now = self.clock.now();
        let (breaker, policy) = (&self.lane.breaker.breaker, self.policy());
        if self.plan().has_breaker && breaker.state(now) != State::Closed {
            return None;
        }
        let place = if self.plan().has_bulkhead { Some(self.lane.places.try_acquire()?) } else { None };
        let leave = match self.leave(now) {
            Ok(leave) => leave,
            Err(Refused::ByBreaker(rejected)) => {
                self.publish(rejected.transition);
                return None;
            }
            Err(Refused::ByLimit) => return None,
        };
        // The breaker has opened since it was looked at.
        if leave.admission.as_ref().is_some_and(Admission::is_probe) {
            return None;
        }
        if !self.isolation.budget.withdraw(now, &policy.retry.budget) {
            return None;
        }
        Some(Begun { place, leave, since: now, limit: self.limit_of_attempt(self.remaining(deadline)) })
    }
}

impl<T, E> Settled<T, E> {
    /// Whether it is what the caller gets, whatever else is under way.
    pub(super) fn is_answer(&self) -> bool {
        self.verdict.outcome != Outcome::Failure && (self.result.is_ok() || !self.verdict.is_retryable)
    }
}
