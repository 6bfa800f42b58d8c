//! Whether a failed attempt is made again, and when.

use super::attempts::{Hindered, Wait};
use super::settle::Failed;
use super::{Call, Operation, Progress, Pushback, Verdict};
use crate::breaker::Rejected;
use crate::policy::limits::MAX_DURATION;
use crate::retry;
use crate::runtime::Runtime;
use crate::stats::Counter;
use std::time::Duration;

/// How long to wait before another attempt.
pub(super) enum Pause {
    /// The service has said.
    Asked(Duration),
    /// It is ours to say.
    Ours,
}

impl<'a, R: Runtime> Call<'a, R> {
    /// Earns the call's share of a retry, at every level: a level masks what is done, not what is counted.
    #[inline(always)]
    pub(super) fn deposit(&self) {
        self.isolation.budget.deposit(self.clock.now());
    }

    /// What comes after an attempt that has failed: the pause before the next one, or the end.
    pub(super) fn wait_after<O: Operation>(
        &self,
        failed: Failed<O::Error>,
        operation: &O,
        progress: &Progress,
    ) -> Hindered<'a, O::Error> {
        let Failed { cause, verdict } = failed;
        let pause = if operation.can_repeat() { self.pause_before_retry(verdict, progress) } else { None };
        match pause {
            Some(pause) => Hindered::MustWait(Wait::Retry(pause, cause)),
            None => Hindered::Rejected(cause),
        }
    }

    /// How long to wait before the next attempt. `None`: there is none.
    fn pause_before_retry(&self, verdict: Verdict, progress: &Progress) -> Option<Duration> {
        let retry = &self.policy().retry;
        let in_force = self.plan().has_retry && !self.options.is_alternative;
        let is_safe = self.is_idempotent || !verdict.may_have_reached || !retry.only_idempotent;
        if !in_force || !verdict.is_retryable || !is_safe {
            return None;
        }
        if progress.attempts >= retry.max_attempts {
            return None;
        }
        let remaining = self.live_time();
        let pause = match self.pause_asked(verdict)? {
            Pause::Asked(pause) => pause,
            Pause::Ours => retry::backoff(retry, progress.attempts, self.clock.runtime.random()),
        };
        // A pause that leaves no time for an attempt is time lost: the caller gets the real error now.
        let needed = pause.saturating_add(self.policy().timeout.min_attempt_budget);
        if remaining.is_some_and(|remaining| remaining <= needed) {
            return None;
        }
        // The failure may have been the one that opens: a pause that ends at a closed door is time lost, too.
        if self.is_open_for(pause) {
            return None;
        }
        if !self.isolation.budget.withdraw(self.clock.now(), &retry.budget) {
            self.count(Counter::RetriesRefused);
            return None;
        }
        Some(pause)
    }

    /// What the service said of when to come again. `None`: not again, or later than the policy waits.
    pub(super) fn pause_asked(&self, verdict: Verdict) -> Option<Pause> {
        let retry = &self.policy().retry;
        match verdict.pushback.filter(|_| retry.honour_pushback) {
            None => Some(Pause::Ours),
            Some(Pushback::Never) => None,
            Some(Pushback::After(pause)) => {
                // A pause beyond what any policy can say is no pause: a call without a limit would never end.
                let longest = if retry.max_pushback.is_zero() { MAX_DURATION } else { retry.max_pushback };
                (pause <= longest).then_some(Pause::Asked(pause))
            }
        }
    }

    /// Whether the breaker rejects calls now, and still will after a pause.
    fn is_open_for(&self, pause: Duration) -> bool {
        let rejection = self.lane.breaker.breaker.would_reject(self.clock.now());
        let is_longer = |rejected: Rejected| rejected.retry_after.is_none_or(|left| left > pause);
        self.plan().has_breaker && rejection.is_some_and(is_longer)
    }
}
