//! What an attempt that has ended says, and to whom.

use super::leave::Leave;
use super::operation::DEADLINE_EXCEEDED;
use super::running::Held;
use super::timeout::Elapsed;
use super::{AttemptEnd, Call, Context, FailureCause, Operation, Progress, Unfinished, Verdict};
use crate::adaptive_limit::Lesson;
use crate::breaker::Admission;
use crate::isolation::{Isolation, Part};
use crate::outcome::Outcome;
use crate::policy::PolicySpec;
use crate::runtime::Runtime;
use crate::stats::Counter;
use crate::time::Timestamp;
use std::time::Duration;

/// An attempt that did not bring an answer.
pub(super) struct Failed<E> {
    pub(super) cause: FailureCause<E>,
    pub(super) verdict: Verdict,
}

/// What came of an attempt.
pub(super) struct Settled<T, E> {
    pub(super) result: Result<T, FailureCause<E>>,
    pub(super) verdict: Verdict,
}

impl<'a, R: Runtime> Call<'a, R> {
    /// [`judge`](Self::judge)s an attempt that has ended, and puts what comes of it together.
    pub(super) fn settle<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        mut result: Result<Result<O::Output, O::Error>, Elapsed>,
        held: &mut Held<'_, 'a, R>,
    ) -> Settled<O::Output, O::Error> {
        let verdict = self.judge(operation, progress, &mut result, held);
        Settled::new(result, verdict)
    }

    /// Judges an attempt that has ended, tells whoever learns from it, and gives back what it held.
    #[inline(always)]
    pub(super) fn judge<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        result: &mut Result<Result<O::Output, O::Error>, Elapsed>,
        held: &mut Held<'_, 'a, R>,
    ) -> Verdict {
        if let Ok(Ok(output)) = result
            && operation.is_unfinished(output)
        {
            return self.hand_over(operation, progress, output, held);
        }
        let leave = std::mem::take(&mut held.leave);
        let context = Context {
            policy: self.policy(),
            is_probe: leave.admission.as_ref().is_some_and(Admission::is_probe),
            is_idempotent: self.is_idempotent,
            error_type: std::any::type_name::<O::Error>(),
        };
        let verdict = match &*result {
            Ok(result) => operation.classify(result.as_ref(), context),
            Err(Elapsed) => self.verdict_on_timeout(),
        };
        // A success that came at once is counted where the call began, unless somebody asks how long it took.
        let is_timed = held.has_waited || verdict.outcome != Outcome::Success || self.plan().measures;
        if is_timed {
            self.clock.has_moved();
        }
        let now = self.clock.now();
        if is_timed {
            let is_answer = verdict.outcome != Outcome::Failure && matches!(result, Ok(Ok(_)));
            self.time_attempt(progress, held.since, now, is_answer);
        }
        let is_whole = verdict.outcome == Outcome::Success && progress.attempts == 1 && matches!(result, Ok(Ok(_)));
        if let Some(tally) = held.tally.take_if(|_| !is_whole) {
            tally.end(verdict.outcome);
        }
        let Leave { permit, admission } = leave;
        if let Some(permit) = permit {
            permit.record(lesson(verdict, now.saturating_since(held.since)), now);
        }
        self.learn(admission, verdict.outcome, held.since, now);
        if !held.is_hedge && (verdict.outcome == Outcome::Success || result.is_err()) {
            self.measure(now.saturating_since(held.since));
        }
        progress.last_outcome = verdict.outcome;
        if let Ok(result) = &*result {
            self.take_note(operation, result.as_ref(), verdict.outcome);
        }
        // Last: where the operation's own code has panicked until now, the attempt is counted all the same.
        if let Some(tally) = held.tally.take() {
            tally.hand_over();
            progress.counts_attempt = true;
        }
        if result.is_err() {
            self.count(Counter::Timeouts);
        }
        operation.ended(
            held.number,
            if result.is_err() { AttemptEnd::TimedOut } else { AttemptEnd::Judged(verdict.outcome) },
        );
        held.place = None;
        if verdict.outcome == Outcome::Failure {
            reject(operation, result);
        }
        verdict
    }

    /// Leaves it to the host to say how an answer that has begun ends. That it has come this far, and when, is a success to
    /// those who go by latency; breaker, health and counters wait for the end.
    fn hand_over<O: Operation>(
        &self,
        operation: &mut O,
        progress: &mut Progress,
        output: &mut O::Output,
        held: &mut Held<'_, 'a, R>,
    ) -> Verdict {
        let Leave { permit, admission } = std::mem::take(&mut held.leave);
        self.clock.has_moved();
        let now = self.clock.now();
        let latency = now.saturating_since(held.since);
        if let Some(permit) = permit {
            permit.record(Lesson::Answered(latency), now);
        }
        if !held.is_hedge {
            self.measure(latency);
        }
        self.time_attempt(progress, held.since, now, true);
        if let Some(tally) = held.tally.take() {
            tally.hand_over();
        }
        held.place = None;
        progress.last_outcome = Outcome::Success;
        operation.ended(held.number, AttemptEnd::Unfinished);
        let (own, policy) = (&self.lane.breaker, self.scope.policy.clone());
        operation
            .follow(output, Unfinished::new(own, &self.scope.measured, policy, admission, self.is_idempotent, latency));
        let (is_retryable, may_have_reached, is_overload, pushback) = (false, true, false, None);
        Verdict { outcome: Outcome::Success, is_retryable, may_have_reached, is_overload, pushback }
    }

    pub(super) fn verdict_on_timeout(&self) -> Verdict {
        let is_idempotent = self.is_idempotent;
        let context = Context { policy: self.policy(), is_probe: false, is_idempotent, error_type: "" };
        Verdict { outcome: Outcome::Failure, ..Verdict::on_grpc_code(DEADLINE_EXCEEDED, context) }
    }

    /// Tells breaker and health how an attempt went that began at one time and has ended now.
    #[inline(always)]
    pub(super) fn learn(&self, admission: Option<Admission<'_>>, outcome: Outcome, since: Timestamp, now: Timestamp) {
        let latency = now.saturating_since(since);
        let said = Said { outcome, latency, now };
        said.to(self.isolation, &self.lane.breaker.part, self.policy(), admission, self.clock.runtime);
    }
}

/// What an attempt teaches the adaptive limit.
#[inline]
fn lesson(verdict: Verdict, latency: Duration) -> Lesson {
    match verdict.outcome {
        _ if verdict.is_overload => Lesson::Overload,
        Outcome::Success => Lesson::Answered(latency),
        Outcome::Failure | Outcome::Neutral => Lesson::Nothing,
    }
}

/// What an attempt has said of the service.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub(super) outcome: Outcome,
    pub(super) latency: Duration,
    pub(super) now: Timestamp,
}

impl Said {
    /// Tells health, and the breaker of a part.
    #[inline(always)]
    pub(super) fn to<R: Runtime>(
        self,
        isolation: &Isolation,
        part: &Part,
        policy: &PolicySpec,
        admission: Option<Admission<'_>>,
        runtime: &R,
    ) {
        let Self { outcome, latency, now } = self;
        if outcome != Outcome::Neutral {
            isolation.health.record(outcome == Outcome::Failure, now);
        }
        let Some(admission) = admission else { return };
        let recorded = admission.record(&policy.breaker, outcome, latency, now, || runtime.random());
        if recorded.is_stale {
            isolation.count(Counter::StaleResults);
        }
        isolation.publish(part, recorded.transition);
    }
}

#[cold]
fn reject<O: Operation>(operation: &mut O, result: &mut Result<Result<O::Output, O::Error>, Elapsed>) {
    *result = match std::mem::replace(result, Err(Elapsed)) {
        Ok(Ok(output)) => Ok(operation.reject(output)),
        other => other,
    };
}

impl<T, E> Settled<T, E> {
    pub(super) fn new(result: Result<Result<T, E>, Elapsed>, verdict: Verdict) -> Self {
        let result = match result {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(FailureCause::Inner(error)),
            Err(Elapsed) => Err(FailureCause::Timeout),
        };
        Self { result, verdict }
    }

    pub(super) fn into_result(self) -> Result<T, Failed<E>> {
        self.result.map_err(|cause| Failed { cause, verdict: self.verdict })
    }
}
