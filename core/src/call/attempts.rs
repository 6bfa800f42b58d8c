//! The live part of a call: attempts, and the pauses between them.

use super::tally::AttemptTally;
use super::timeout::{Elapsed, timeout};
use super::{Attempt, Call, Context, FailureCause, Operation, Pushback, Verdict};
use crate::breaker::{Admission, Rejected, Transition};
use crate::bulkhead::Permit;
use crate::cache::CacheKey;
use crate::isolation::Lane;
use crate::level::Section;
use crate::outcome::Outcome;
use crate::retry;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

/// DEADLINE_EXCEEDED: what a timeout of our own is, in the terms of the retry policy.
const DEADLINE_EXCEEDED: u32 = 4;

/// An attempt that did not bring an answer.
struct Failed<E> {
    cause: FailureCause<E>,
    /// `None`: no attempt was made, for we rejected it ourselves.
    verdict: Option<Verdict>,
}

impl<'a, R: Runtime> Call<'a, R> {
    /// Attempts until one succeeds or another would not help.
    pub(super) async fn attempts<O: Operation>(
        &mut self,
        operation: &mut O,
    ) -> Result<O::Output, FailureCause<O::Error>> {
        if !self.in_force.is_enabled {
            self.isolation.count(Counter::RejectedDisabled);
            return Err(FailureCause::Disabled);
        }
        let deadline = self.live_deadline();
        self.turn(deadline).await?;
        self.isolation.budget.deposit(self.runtime.now(), &self.policy().retry.budget);
        let mut last: Option<FailureCause<O::Error>> = None;
        loop {
            let failed = match self.attempt(operation, deadline).await {
                Ok(output) => return Ok(output),
                Err(failed) => failed,
            };
            let Some(verdict) = failed.verdict else {
                // A rejection of our own ends the call; an earlier attempt's error says more than it does.
                return Err(last.unwrap_or(failed.cause));
            };
            let pause = if operation.can_repeat() { self.pause_before_retry(verdict, deadline) } else { None };
            let Some(pause) = pause else {
                return Err(failed.cause);
            };
            last = Some(failed.cause);
            self.runtime.sleep(pause).await;
        }
    }

    /// Until when attempts may run: an alternative needs some of the call's time.
    fn live_deadline(&self) -> Option<Timestamp> {
        let deadline = self.deadline?;
        if !self.has_alternative() {
            return Some(deadline);
        }
        Some(deadline.saturating_sub(self.reserve()))
    }

    /// Waits for the call's turn under the rate limit, no longer than leaves time for an attempt.
    async fn turn<E>(&self, deadline: Option<Timestamp>) -> Result<(), FailureCause<E>> {
        let Some(policy) = self.policy().rate_limit.as_ref().filter(|_| self.enforces(Section::RateLimit)) else {
            return Ok(());
        };
        let least = self.policy().timeout.min_attempt_budget;
        let spare = self.remaining(deadline).map(|remaining| remaining.saturating_sub(least));
        let longest = spare.map_or(policy.max_wait, |spare| spare.min(policy.max_wait));
        match self.scope.rate_limit.enter(policy, longest, self.runtime.now()) {
            Ok(turn) => {
                if !turn.wait().is_zero() {
                    self.runtime.sleep(turn.wait()).await;
                }
                turn.take();
                Ok(())
            }
            Err(limited) => {
                self.isolation.count(Counter::RejectedRateLimit);
                Err(FailureCause::RateLimited { retry_after: limited.retry_after })
            }
        }
    }

    async fn attempt<O: Operation>(
        &mut self,
        operation: &mut O,
        deadline: Option<Timestamp>,
    ) -> Result<O::Output, Failed<O::Error>> {
        let rejected = |cause| Failed { cause, verdict: None };
        // A look at the breaker before the wait for a place: an open breaker must not fill the queue.
        if self.enforces(Section::CircuitBreaker) {
            let now = self.runtime.now();
            if let Some(rejection) = self.lane.breaker.breaker.would_reject(now) {
                return Err(rejected(self.open(rejection)));
            }
        }
        let _place = self.place(deadline).await.map_err(rejected)?;
        let remaining = self.remaining(deadline);
        let least = Some(self.policy().timeout.min_attempt_budget).filter(|_| self.enforces(Section::Timeout));
        if remaining.is_some_and(|left| left.is_zero() || left < least.unwrap_or_default()) {
            self.isolation.count(Counter::RejectedDeadline);
            return Err(rejected(FailureCause::DeadlineSpent));
        }
        // From here on: waiting for a place is not the service's latency.
        let since = self.runtime.now();
        let admission = self.admit(since).map_err(rejected)?;
        self.attempts += 1;
        if self.attempts > 1 {
            self.isolation.count(Counter::Retries);
        }
        let attempt_timeout = Some(self.policy().timeout.attempt_timeout)
            .filter(|timeout| self.enforces(Section::Timeout) && !timeout.is_zero());
        let limit = match (remaining, attempt_timeout) {
            (Some(remaining), Some(attempt)) => Some(remaining.min(attempt)),
            (remaining, attempt) => remaining.or(attempt),
        };
        let tell_remaining = limit.filter(|_| self.policy().timeout.propagate_deadline);
        let attempt = Attempt { number: self.attempts, tell_remaining };

        let mut guard = PanicGuard {
            call: self,
            admission,
            tally: Some(AttemptTally::begin(self.isolation)),
            is_polling: false,
            since,
        };
        let result = {
            let mut attempt = pin!(async { operation.attempt(attempt).await });
            let watched = poll_fn(|context| {
                guard.is_polling = true;
                let poll = attempt.as_mut().poll(context);
                guard.is_polling = false;
                poll
            });
            timeout(self.runtime, limit, watched).await
        };
        let (admission, tally) = (guard.admission.take(), guard.tally.take());
        drop(guard);

        let context = Context {
            policy: self.policy(),
            is_probe: admission.as_ref().is_some_and(Admission::is_probe),
            is_idempotent: self.options.is_idempotent,
            error_type: std::any::type_name::<O::Error>(),
        };
        let verdict = match &result {
            Ok(result) => operation.classify(result.as_ref(), context),
            Err(Elapsed) => self.verdict_on_timeout(),
        };
        if let Some(tally) = tally {
            tally.end(verdict.outcome);
        }
        self.learn(admission, verdict.outcome, since);
        self.last_outcome = verdict.outcome;
        match result {
            Ok(Ok(output)) => {
                if verdict.outcome == Outcome::Success {
                    self.keep(operation, &output);
                }
                Ok(output)
            }
            Ok(Err(error)) => Err(Failed { cause: FailureCause::Inner(error), verdict: Some(verdict) }),
            Err(Elapsed) => {
                self.isolation.count(Counter::Timeouts);
                Err(Failed { cause: FailureCause::Timeout, verdict: Some(verdict) })
            }
        }
    }

    /// Waits for a place, no longer than the policy and the deadline allow.
    async fn place<E>(&self, deadline: Option<Timestamp>) -> Result<Option<Permit>, FailureCause<E>> {
        if !self.enforces(Section::Bulkhead) {
            return Ok(None);
        }
        let Lane { places, max_wait, .. } = self.lane;
        if let Some(permit) = places.try_acquire() {
            return Ok(Some(permit));
        }
        let wait = self.remaining(deadline).map_or(*max_wait, |remaining| remaining.min(*max_wait));
        if !wait.is_zero()
            && let Ok(Ok(permit)) = timeout(self.runtime, Some(wait), places.acquire()).await
        {
            return Ok(Some(permit));
        }
        self.isolation.count(Counter::RejectedBulkhead);
        Err(FailureCause::BulkheadFull)
    }

    fn admit<E>(&self, now: Timestamp) -> Result<Option<Admission<'a>>, FailureCause<E>> {
        if !self.enforces(Section::CircuitBreaker) {
            return Ok(None);
        }
        let (breaker, policy) = (&self.lane.breaker.breaker, &self.policy().breaker);
        if self.enforces(Section::RampUp)
            && let Err(rejection) = breaker.ramp(policy, now, || self.runtime.random())
        {
            return Err(self.open(rejection));
        }
        match breaker.admit(policy, now, || self.runtime.random()) {
            Ok(admitted) => {
                self.publish(admitted.transition);
                Ok(Some(admitted.admission))
            }
            Err(rejection) => Err(self.open(rejection)),
        }
    }

    fn publish(&self, transition: Option<Transition>) {
        self.isolation.publish(&self.lane.breaker.part, transition);
    }

    fn open<E>(&self, rejected: Rejected) -> FailureCause<E> {
        self.publish(rejected.transition);
        self.isolation.count(Counter::RejectedOpen);
        FailureCause::Open { retry_after: rejected.retry_after, by: rejected.by }
    }

    fn verdict_on_timeout(&self) -> Verdict {
        let is_idempotent = self.options.is_idempotent;
        let context = Context { policy: self.policy(), is_probe: false, is_idempotent, error_type: "" };
        Verdict { outcome: Outcome::Failure, ..Verdict::on_grpc_code(DEADLINE_EXCEEDED, context) }
    }

    /// Tells breaker and health how an attempt that began then went.
    fn learn(&self, admission: Option<Admission<'_>>, outcome: Outcome, since: Timestamp) {
        let now = self.runtime.now();
        if outcome != Outcome::Neutral {
            self.isolation.health.record(outcome == Outcome::Failure, now, &self.policy().health);
        }
        let Some(admission) = admission else { return };
        let latency = now.saturating_since(since);
        let recorded = admission.record(&self.policy().breaker, outcome, latency, now, || self.runtime.random());
        if recorded.is_stale {
            self.isolation.count(Counter::StaleResults);
        }
        self.publish(recorded.transition);
    }

    /// Keeps a live answer for the cached fallback.
    fn keep<O: Operation>(&self, operation: &O, output: &O::Output) {
        let (Some(step), Some(key)) = (self.cached_step(), self.options.cache_key) else { return };
        if let Some(payload) = operation.encode(output) {
            let key = CacheKey::new(self.options.method, key);
            self.isolation.cache.store(step, key, payload, self.runtime.now());
        }
    }

    /// Whether the breaker rejects calls now, and still will after a pause.
    fn is_open_for(&self, pause: Duration) -> bool {
        let rejection = self.lane.breaker.breaker.would_reject(self.runtime.now());
        let is_longer = |rejected: Rejected| rejected.retry_after.is_none_or(|left| left > pause);
        self.enforces(Section::CircuitBreaker) && rejection.is_some_and(is_longer)
    }

    /// How long to wait before the next attempt. `None`: there is none.
    fn pause_before_retry(&self, verdict: Verdict, deadline: Option<Timestamp>) -> Option<Duration> {
        let retry = &self.policy().retry;
        let in_force = self.enforces(Section::Retry) && !self.options.is_alternative;
        let is_safe = self.options.is_idempotent || !verdict.may_have_reached || !retry.only_idempotent;
        if !in_force || !verdict.is_retryable || !is_safe {
            return None;
        }
        if self.attempts >= retry.max_attempts {
            return None;
        }
        let remaining = self.remaining(deadline);
        let pause = match verdict.pushback.filter(|_| retry.honour_pushback) {
            Some(Pushback::Never) => return None,
            Some(Pushback::After(pushback)) => {
                let longest = Some(retry.max_pushback).filter(|longest| !longest.is_zero());
                longest.is_none_or(|longest| pushback <= longest).then_some(pushback)?
            }
            None => retry::backoff(retry, self.attempts, self.runtime.random()),
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
        if !self.isolation.budget.withdraw(self.runtime.now(), &retry.budget) {
            self.isolation.count(Counter::RetriesRefused);
            return None;
        }
        Some(pause)
    }
}

/// Counts a panic of the operation as a failure of the service: it unwinds through the call like a cancellation, but
/// an operation that panics at every attempt must trip the breaker. A panic elsewhere in the caller's task, which drops
/// the call as well, is a cancellation.
struct PanicGuard<'c, 'a, R: Runtime> {
    call: &'c Call<'a, R>,
    admission: Option<Admission<'a>>,
    tally: Option<AttemptTally<'a>>,
    /// Whether the operation has begun to run and not come back.
    is_polling: bool,
    /// When the attempt began.
    since: Timestamp,
}

impl<R: Runtime> Drop for PanicGuard<'_, '_, R> {
    fn drop(&mut self) {
        if self.is_polling {
            if let Some(tally) = self.tally.take() {
                tally.end(Outcome::Failure);
            }
            self.call.learn(self.admission.take(), Outcome::Failure, self.since);
        }
    }
}
