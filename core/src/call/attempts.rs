//! The live part of a call: attempts, and the pauses between them.

use super::hedge::{First, Race};
use super::running::{Held, Running, Step};
use super::timeout::{Elapsed, timeout};
use super::{Attempt, Call, Context, FailureCause, Operation, Progress, Pushback, Verdict};
use crate::adaptive_limit;
use crate::breaker::{Admission, Rejected, Transition};
use crate::bulkhead::Permit;
use crate::isolation::Lane;
use crate::outcome::Outcome;
use crate::rate_limit::Turn;
use crate::retry;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use std::pin::pin;
use std::time::Duration;

/// DEADLINE_EXCEEDED: what a timeout of our own is, in the terms of the retry policy.
const DEADLINE_EXCEEDED: u32 = 4;

/// An attempt that did not bring an answer.
pub(super) struct Failed<E> {
    pub(super) cause: FailureCause<E>,
    pub(super) verdict: Verdict,
}

/// What it takes to make an attempt.
pub(super) struct Begun<'a> {
    pub(super) place: Option<Permit>,
    pub(super) leave: Leave<'a>,
    /// When it begins.
    pub(super) since: Timestamp,
    /// How long it may take. `None`: as long as it takes.
    pub(super) limit: Option<Duration>,
}

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

/// What keeps a call from making an attempt at once.
pub(super) enum Hindered<'a, E> {
    /// It makes none.
    Rejected(FailureCause<E>),
    /// It has to wait.
    MustWait(Wait<'a, E>),
}

/// What there is to wait for before an attempt.
pub(super) enum Wait<'a, E> {
    /// The call's turn under the rate limit.
    Turn(Turn<'a>),
    /// A place in the bulkhead.
    Place,
    /// The end of the pause after an attempt that failed like this.
    Retry(Duration, FailureCause<E>),
}

/// What came of an attempt.
pub(super) struct Settled<T, E> {
    pub(super) result: Result<T, FailureCause<E>>,
    pub(super) verdict: Verdict,
}

/// How long to wait before another attempt.
pub(super) enum Pause {
    /// The service has said.
    Asked(Duration),
    /// It is ours to say.
    Ours,
}

impl<'a, R: Runtime> Call<'a, R> {
    /// What the first attempt takes, if there is nothing to wait for.
    #[inline]
    pub(super) fn begin_at_once<E>(&self) -> Result<Begun<'a>, Hindered<'a, E>> {
        if !self.in_force.is_enabled {
            self.isolation.count(Counter::RejectedDisabled);
            return Err(Hindered::Rejected(FailureCause::Disabled));
        }
        if self.plan().has_rate_limit {
            self.turn_at_once()?;
        }
        self.deposit();
        self.try_begin()
    }

    /// Makes attempts until one succeeds or another would not help, from where there is something to wait for.
    pub(super) async fn attempts<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        mut wait: Wait<'a, O::Error>,
    ) -> Result<O::Output, FailureCause<O::Error>> {
        let mut last: Option<FailureCause<O::Error>> = None;
        loop {
            match wait {
                Wait::Turn(turn) => {
                    self.clock.runtime.sleep(turn.wait()).await;
                    self.clock.has_moved();
                    turn.take();
                    self.deposit();
                }
                Wait::Place => {}
                Wait::Retry(pause, cause) => {
                    last = Some(cause);
                    self.clock.runtime.sleep(pause).await;
                    self.clock.has_moved();
                }
            }
            let begun = match self.try_begin() {
                Err(Hindered::MustWait(_)) => self.begin_with_place().await,
                Err(Hindered::Rejected(cause)) => Err(cause),
                Ok(begun) => Ok(begun),
            };
            let begun = match begun {
                Ok(begun) => begun,
                // A rejection of our own ends the call; an earlier attempt's error says more than it does.
                Err(rejection) => return Err(last.unwrap_or(rejection)),
            };
            if last.is_some() {
                self.isolation.count(Counter::Retries);
            }
            wait = match self.attempt(operation, progress, begun).await {
                Ok(output) => return Ok(output),
                Err(failed) => match self.wait_after(failed, operation, progress) {
                    Hindered::MustWait(wait) => wait,
                    Hindered::Rejected(cause) => return Err(cause),
                },
            };
        }
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

    /// Earns the call's share of a retry, at every level: a level masks what is done, not what is counted.
    fn deposit(&self) {
        self.isolation.budget.deposit(self.clock.now(), &self.policy().retry.budget);
    }

    /// Until when attempts may run: an alternative needs some of the call's time.
    fn live_deadline(&self) -> Option<Timestamp> {
        let is_followed = self.plan().has_alternative && !self.options.is_alternative;
        self.deadline.map(|deadline| if is_followed { deadline.saturating_sub(self.reserve()) } else { deadline })
    }

    /// The time that is left for attempts. `None`: as much as they take.
    pub(super) fn live_time(&self) -> Option<Duration> {
        self.remaining(self.live_deadline())
    }

    /// Takes the call's turn under the rate limit, if it has come; it is waited for no longer than leaves time for an
    /// attempt.
    fn turn_at_once<E>(&self) -> Result<(), Hindered<'a, E>> {
        let Some(policy) = self.scope.rate_limit_policy() else { return Ok(()) };
        let spare = self.live_time().map(|left| left.saturating_sub(self.plan().least));
        let longest = spare.map_or(policy.max_wait, |spare| spare.min(policy.max_wait));
        match self.scope.rate_limit.enter(policy, longest, self.clock.now()) {
            Ok(turn) if turn.wait().is_zero() => {
                turn.take();
                Ok(())
            }
            Ok(turn) => Err(Hindered::MustWait(Wait::Turn(turn))),
            Err(limited) => {
                self.isolation.count(Counter::RejectedRateLimit);
                Err(Hindered::Rejected(FailureCause::RateLimited { retry_after: limited.retry_after }))
            }
        }
    }

    /// Makes an attempt, and others beside it where the policy says so.
    pub(super) async fn attempt<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        begun: Begun<'a>,
    ) -> Result<O::Output, Failed<O::Error>> {
        let attempt = self.next_attempt(progress, begun.limit);
        let mut running = pin!(Running::new(self, begun, false, operation, O::attempt, attempt));
        let delay = self.hedge_delay(operation, progress, running.is_probe());
        let result = match running.as_mut().for_at_most(delay).await {
            Step::Ended(result) => result,
            Step::Slow(delay) => {
                self.clock.has_moved();
                let race = Race::new(self, O::attempt, delay, self.live_deadline());
                return Box::pin(race.run(operation, progress, First::Runs(running))).await;
            }
        };
        let settled = self.settle(operation, progress, result, running.held());
        match delay {
            Some(delay) if !settled.is_answer() => {
                let race = Race::new(self, O::attempt, delay, self.live_deadline());
                Box::pin(race.run(operation, progress, First::Ended(settled))).await
            }
            _ => settled.into_result(),
        }
    }

    /// What an attempt takes, if there is a place for it.
    #[inline]
    fn try_begin<E>(&self) -> Result<Begun<'a>, Hindered<'a, E>> {
        // A look at the breaker before the wait for a place: an open breaker must not fill the queue.
        if self.plan().has_breaker
            && let Some(rejection) = self.lane.breaker.breaker.would_reject(self.clock.now())
        {
            return Err(Hindered::Rejected(self.open(rejection)));
        }
        let place = if self.plan().has_bulkhead {
            Some(self.lane.places.try_acquire().ok_or(Hindered::MustWait(Wait::Place))?)
        } else {
            None
        };
        self.begin_at(place).map_err(Hindered::Rejected)
    }

    /// Waits for a place, no longer than the policy and the deadline allow, and for no more than that.
    async fn begin_with_place<E>(&self) -> Result<Begun<'a>, FailureCause<E>> {
        let Lane { places, max_wait, .. } = self.lane;
        let wait = self.live_time().map_or(*max_wait, |left| left.min(*max_wait));
        let mut place = None;
        if !wait.is_zero() {
            place = timeout(self.clock.runtime, Some(wait), places.acquire()).await.ok().and_then(Result::ok);
            self.clock.has_moved();
        }
        if place.is_none() {
            self.isolation.count(Counter::RejectedBulkhead);
            return Err(FailureCause::BulkheadFull);
        }
        self.begin_at(place)
    }

    /// What else an attempt takes that has its place. Waiting for that is not the service's latency.
    #[inline]
    fn begin_at<E>(&self, place: Option<Permit>) -> Result<Begun<'a>, FailureCause<E>> {
        let left = self.live_time();
        if !self.is_enough(left) {
            self.isolation.count(Counter::RejectedDeadline);
            return Err(FailureCause::DeadlineSpent);
        }
        let since = self.clock.now();
        let leave = self.leave(since).map_err(|refused| self.refused(refused))?;
        Ok(Begun { place, leave, since, limit: self.limit_of_attempt(left) })
    }

    /// Whether an attempt may start with so much time left.
    pub(super) fn is_enough(&self, remaining: Option<Duration>) -> bool {
        remaining.is_none_or(|left| !left.is_zero() && left >= self.plan().least)
    }

    /// How long an attempt may take that starts with so much time left.
    pub(super) fn limit_of_attempt(&self, remaining: Option<Duration>) -> Option<Duration> {
        match (remaining, self.plan().attempt_timeout) {
            (Some(remaining), Some(own)) => Some(remaining.min(own)),
            (remaining, own) => remaining.or(own),
        }
    }

    /// Counts an attempt, and says what the operation is told of it.
    pub(super) fn next_attempt(&self, progress: &mut Progress, limit: Option<Duration>) -> Attempt {
        progress.attempts += 1;
        let tell_remaining = limit.filter(|_| self.policy().timeout.propagate_deadline);
        Attempt { number: progress.attempts, tell_remaining }
    }

    /// Judges an attempt that has ended, tells whoever learns from it, and gives back what it held.
    #[inline]
    pub(super) fn settle<O: Operation>(
        &self,
        operation: &O,
        progress: &mut Progress,
        result: Result<Result<O::Output, O::Error>, Elapsed>,
        held: &mut Held<'_, 'a, R>,
    ) -> Settled<O::Output, O::Error> {
        let leave = std::mem::take(&mut held.leave);
        let context = Context {
            policy: self.policy(),
            is_probe: leave.admission.as_ref().is_some_and(Admission::is_probe),
            is_idempotent: self.is_idempotent,
            error_type: std::any::type_name::<O::Error>(),
        };
        let verdict = match &result {
            Ok(result) => operation.classify(result.as_ref(), context),
            Err(Elapsed) => self.verdict_on_timeout(),
        };
        if let Some(tally) = held.tally.take() {
            tally.end(verdict.outcome);
        }
        // A success that came at once is counted where the call began, unless somebody asks how long it took.
        if held.has_waited || verdict.outcome != Outcome::Success || self.plan().measures {
            self.clock.has_moved();
        }
        let now = self.clock.now();
        self.learn(leave, verdict.outcome, held.since, now);
        if !held.is_hedge && (verdict.outcome == Outcome::Success || result.is_err()) {
            self.measure(now.saturating_since(held.since));
        }
        progress.last_outcome = verdict.outcome;
        if let Ok(result) = &result {
            self.take_note(operation, result.as_ref(), verdict.outcome);
        }
        let result = match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(FailureCause::Inner(error)),
            Err(Elapsed) => {
                self.isolation.count(Counter::Timeouts);
                Err(FailureCause::Timeout)
            }
        };
        held.place = None;
        Settled { result, verdict }
    }

    /// Leave to make an attempt: of the adaptive limit, which nobody waits for, then of the breaker.
    pub(super) fn leave(&self, now: Timestamp) -> Result<Leave<'a>, Refused> {
        let mut leave = Leave::default();
        if self.plan().has_adaptive_limit {
            leave.permit = Some(self.scope.adaptive_limit.try_acquire().ok_or(Refused::ByLimit)?);
        }
        leave.admission = self.admit(now).map_err(Refused::ByBreaker)?;
        Ok(leave)
    }

    fn refused<E>(&self, refused: Refused) -> FailureCause<E> {
        match refused {
            Refused::ByBreaker(rejected) => self.open(rejected),
            Refused::ByLimit => {
                self.isolation.count(Counter::RejectedAdaptiveLimit);
                FailureCause::AdaptiveLimitReached
            }
        }
    }

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

    pub(super) fn publish(&self, transition: Option<Transition>) {
        self.isolation.publish(&self.lane.breaker.part, transition);
    }

    fn open<E>(&self, rejected: Rejected) -> FailureCause<E> {
        self.publish(rejected.transition);
        self.isolation.count(Counter::RejectedOpen);
        FailureCause::Open { retry_after: rejected.retry_after, by: rejected.by }
    }

    pub(super) fn verdict_on_timeout(&self) -> Verdict {
        let is_idempotent = self.is_idempotent;
        let context = Context { policy: self.policy(), is_probe: false, is_idempotent, error_type: "" };
        Verdict { outcome: Outcome::Failure, ..Verdict::on_grpc_code(DEADLINE_EXCEEDED, context) }
    }

    /// Tells adaptive limit, breaker and health how an attempt went that began at one time and has ended now.
    pub(super) fn learn(&self, leave: Leave<'_>, outcome: Outcome, since: Timestamp, now: Timestamp) {
        let latency = now.saturating_since(since);
        if let Some(permit) = leave.permit {
            permit.record(outcome, latency, now);
        }
        if outcome != Outcome::Neutral {
            self.isolation.health.record(outcome == Outcome::Failure, now, &self.policy().health);
        }
        let Some(admission) = leave.admission else { return };
        let recorded = admission.record(&self.policy().breaker, outcome, latency, now, || self.clock.runtime.random());
        if recorded.is_stale {
            self.isolation.count(Counter::StaleResults);
        }
        self.publish(recorded.transition);
    }

    /// Whether the breaker rejects calls now, and still will after a pause.
    fn is_open_for(&self, pause: Duration) -> bool {
        let rejection = self.lane.breaker.breaker.would_reject(self.clock.now());
        let is_longer = |rejected: Rejected| rejected.retry_after.is_none_or(|left| left > pause);
        self.plan().has_breaker && rejection.is_some_and(is_longer)
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
            self.isolation.count(Counter::RetriesRefused);
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
                let longest = Some(retry.max_pushback).filter(|longest| !longest.is_zero());
                longest.is_none_or(|longest| pause <= longest).then_some(Pause::Asked(pause))
            }
        }
    }
}

impl<T, E> Settled<T, E> {
    pub(super) fn into_result(self) -> Result<T, Failed<E>> {
        self.result.map_err(|cause| Failed { cause, verdict: self.verdict })
    }
}
