//! The fallback part of a call: the chain of the policy, then the caller's own fallback.

use super::timeout::timeout;
use super::{Call, Operation, Payload, Progress, Source, Why};
use crate::policy::FallbackStep;
use crate::runtime::Runtime;
use std::time::Duration;

impl<R: Runtime> Call<'_, R> {
    /// Asks the chain, then the caller's own fallback; the first that answers wins. A step that cannot answer, in
    /// whatever way, hands over to the next.
    pub(super) async fn fall_back<O: Operation>(
        &self,
        operation: &mut O,
        progress: &Progress,
        why: Why,
    ) -> Option<(O::Output, Source)> {
        if self.options.is_alternative {
            return None;
        }
        let policy = self.policy();
        if policy.fallback.on.contains(&why.trigger) {
            for step in policy.fallback.steps(policy.level) {
                if let Some(answer) = self.step(operation, progress, step, why).await {
                    return Some(answer);
                }
                self.clock.has_moved();
            }
        }
        let _place = if self.plan().has_fallback { Some(self.scope.fallback_places.try_acquire()?) } else { None };
        let answer = timeout(self.clock.runtime, self.own_limit(), operation.local_fallback(why)).await;
        Some((answer.ok()??, Source::Local))
    }

    async fn step<O: Operation>(
        &self,
        operation: &mut O,
        progress: &Progress,
        step: &FallbackStep,
        why: Why,
    ) -> Option<(O::Output, Source)> {
        match step {
            FallbackStep::Static(step) => {
                let payload = Payload { bytes: &step.payload, content_type: &step.content_type };
                Some((operation.decode(payload)?, Source::Static))
            }
            FallbackStep::Cached(step) => self.kept(operation, progress, step, why),
            FallbackStep::Alternative(step) => {
                let _place = self.scope.fallback_places.try_acquire()?;
                let remaining = self.remaining(self.deadline);
                let limit = remaining.map_or(step.timeout, |remaining| remaining.min(step.timeout));
                if limit.is_zero() {
                    return None;
                }
                let answer = timeout(self.clock.runtime, Some(limit), operation.alternative(step, Some(limit))).await;
                Some((answer.ok()??, Source::Alternative))
            }
            FallbackStep::Degraded(step) => {
                let _place = self.scope.fallback_places.try_acquire()?;
                let answer = timeout(self.clock.runtime, self.own_limit(), operation.degraded(step, why)).await;
                Some((answer.ok()??, Source::Degraded(step.clone())))
            }
        }
    }

    /// How long the caller's own code may take to stand in: what is left of the call, and where a timeout has left
    /// nothing, the time that an alternative would have got. Without that, it could never answer for a timeout.
    fn own_limit(&self) -> Option<Duration> {
        self.remaining(self.deadline).map(|left| left.max(self.reserve()))
    }
}
