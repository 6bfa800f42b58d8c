//! The fallback part of a call: the chain of the policy, then the caller's own fallback.

use super::timeout::{Elapsed, timeout};
use super::{Call, Operation, PassedOver, Payload, Progress, Receipt, Source, Why};
use crate::policy::FallbackStep;
use crate::runtime::Runtime;
use std::time::Duration;

/// Why a step did not answer. `None`: it had no answer.
type NoAnswer = Option<PassedOver>;

impl<R: Runtime> Call<'_, R> {
    /// Asks the chain, then the caller's own fallback; the first that answers wins. A step that cannot answer, in
    /// whatever way, hands over to the next; where it was passed over, host and receipt are told.
    ///
    /// The caller's own takes no place of the policy's: it is the caller's code, which each caller waits for itself, as it
    /// would without us, and a level that an operator raises must not take it away.
    pub(super) async fn fall_back<O: Operation>(
        &self,
        operation: &mut O,
        progress: &Progress,
        why: Why,
        receipt: &mut Receipt,
    ) -> Option<(O::Output, Source)> {
        if self.options.is_alternative {
            return None;
        }
        let mut pass_over = |operation: &mut O, step: &'static str, passed_over| {
            receipt.passed_over = Some(passed_over);
            operation.passed_over(step, passed_over);
        };
        let policy = self.policy();
        if policy.fallback.on.contains(&why.trigger) {
            for step in policy.fallback.steps(policy.level) {
                match self.step(operation, progress, step, why).await {
                    Ok(answer) => return Some(answer),
                    Err(Some(passed_over)) => pass_over(operation, step.name(), passed_over),
                    Err(None) => {}
                }
                self.clock.has_moved();
            }
        }
        match timeout(self.clock.runtime, self.own_limit(), operation.local_fallback(why)).await {
            Ok(answer) => Some((answer?, Source::Local)),
            Err(Elapsed) => {
                pass_over(operation, Source::Local.name(), PassedOver::TooLate);
                None
            }
        }
    }

    async fn step<O: Operation>(
        &self,
        operation: &mut O,
        progress: &Progress,
        step: &FallbackStep,
        why: Why,
    ) -> Result<(O::Output, Source), NoAnswer> {
        if let Some(lacking) = operation.lacks(step) {
            return Err(Some(lacking));
        }
        match step {
            FallbackStep::Static(step) => {
                let payload = Payload { bytes: &step.payload, content_type: &step.content_type };
                Ok((operation.decode(payload).ok_or(PassedOver::Unreadable)?, Source::Static))
            }
            FallbackStep::Cached(step) => self.kept(operation, progress, step, why),
            FallbackStep::Alternative(step) => {
                let _place = self.scope.fallback_places.try_acquire().ok_or(PassedOver::TooMany)?;
                let remaining = self.remaining(self.deadline);
                let limit = remaining.map_or(step.timeout, |remaining| remaining.min(step.timeout));
                if limit.is_zero() {
                    return Err(Some(PassedOver::TooLate));
                }
                let asked = timeout(self.clock.runtime, Some(limit), operation.alternative(step, Some(limit))).await;
                Ok((in_time(asked)?, Source::Alternative))
            }
            FallbackStep::Degraded(step) => {
                let _place = self.scope.fallback_places.try_acquire().ok_or(PassedOver::TooMany)?;
                let made = timeout(self.clock.runtime, self.own_limit(), operation.degraded(step, why)).await;
                Ok((in_time(made)?, Source::Degraded(step.clone())))
            }
        }
    }

    /// How long the caller's own code may take to stand in: what is left of the call, and where a timeout has left
    /// nothing, the time that an alternative would have got. Without that, it could never answer for a timeout.
    fn own_limit(&self) -> Option<Duration> {
        self.remaining(self.deadline).map(|left| left.max(self.reserve()))
    }
}

fn in_time<T>(answered: Result<Option<T>, Elapsed>) -> Result<T, NoAnswer> {
    answered.map_err(|Elapsed| PassedOver::TooLate)?.ok_or(None)
}
