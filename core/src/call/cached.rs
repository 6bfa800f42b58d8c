//! What a call has to do with the good answers that are kept: it leaves its own there, and may be answered by one.

use super::{Call, Operation, PassedOver, Payload, Progress, Source, Why};
use crate::cache::{CacheKey, Refresh, Turn};
use crate::outcome::Outcome;
use crate::policy::{CachedFallback, FallbackStep, FallbackTrigger};
use crate::runtime::Runtime;

impl<'a, R: Runtime> Call<'a, R> {
    /// Lets a call of a service with a cache ask the service, or answers it at once with a stale answer that another call
    /// is just refreshing.
    ///
    /// # Errors
    ///
    /// The answer, and why the service was not asked.
    pub(super) fn refresh<O: Operation>(
        &self,
        operation: &mut O,
    ) -> Result<Option<Refresh<'a>>, (O::Output, Source, Why)> {
        let cache = &self.scope.cache;
        let Some(step) = self.first_step().filter(|_| cache.takes_turns()) else { return Ok(None) };
        let Some(key) = self.cache_key(step) else { return Ok(None) };
        match cache.turn(step, &key, self.clock.now()) {
            Turn::Live(refresh) => Ok(refresh),
            Turn::Stale(_, failed) if !self.policy().fallback.on.contains(&failed) => Ok(None),
            Turn::Stale(answer, failed) => {
                let why = Why { trigger: failed, is_adaptive_limit: false, retry_after: None, is_forced: false };
                match operation.decode(Payload { bytes: &answer.payload, content_type: "" }) {
                    Some(value) => Err((value, Source::Cached { age: answer.age }, why)),
                    None => Ok(None),
                }
            }
        }
    }

    /// Keeps a good answer; forgets the one that was kept where the service now says something else, such as a
    /// NOT_FOUND. A failure, and what is neutral, changes nothing.
    #[inline(always)]
    pub(super) fn take_note<O: Operation>(
        &self,
        operation: &O,
        result: Result<&O::Output, &O::Error>,
        outcome: Outcome,
    ) {
        if self.plan().has_cache && outcome == Outcome::Success && !self.options.is_alternative {
            self.keep(operation, result);
        }
    }

    fn keep<O: Operation>(&self, operation: &O, result: Result<&O::Output, &O::Error>) {
        let Some(step) = self.policy().fallback.cached(self.policy().level) else { return };
        let cache = &self.scope.cache;
        let payload = result.map(|output| operation.encode(output));
        // A key costs an allocation, which a call whose answers cannot be kept does not need.
        if matches!(payload, Ok(None)) && !cache.takes_turns() {
            return;
        }
        let Some(key) = self.cache_key(step) else { return };
        match payload {
            Ok(Some(payload)) => cache.store(step, key, payload, self.clock.now()),
            Ok(None) => cache.refreshed(&key),
            Err(_) => cache.forget(&key),
        }
    }

    /// The answer that was kept.
    ///
    /// # Errors
    ///
    /// Why it is passed over. `None`: there is none.
    pub(super) fn kept<O: Operation>(
        &self,
        operation: &mut O,
        progress: &Progress,
        step: &CachedFallback,
        why: Why,
    ) -> Result<(O::Output, Source), Option<PassedOver>> {
        let key = self.cache_key(step).ok_or(PassedOver::NoKey)?;
        let kept = self.scope.cache.lookup(step, &key, self.clock.now()).ok_or(None)?;
        let payload = Payload { bytes: &kept.payload, content_type: "" };
        let value = operation.decode(payload).ok_or(PassedOver::Unreadable)?;
        let has_failed = progress.last_outcome == Outcome::Failure || why.trigger == FallbackTrigger::Open;
        if has_failed && self.first_step().is_some() {
            self.scope.cache.stood_in(&key, why.trigger);
        }
        Ok((value, Source::Cached { age: kept.age }))
    }

    /// The chain's cached step, where it is the first: otherwise others are asked before it.
    fn first_step(&self) -> Option<&'a CachedFallback> {
        match self.policy().fallback.steps(self.policy().level).next()? {
            FallbackStep::Cached(step) if !self.options.is_alternative => Some(step),
            _ => None,
        }
    }

    /// What an answer belongs to. `None`: the call has not said it.
    fn cache_key(&self, step: &CachedFallback) -> Option<CacheKey> {
        let method = self.options.method;
        if step.key_fields.is_empty() {
            return Some(CacheKey::new(method, self.options.cache_key?));
        }
        let named = |name: &str| self.options.cache_fields.iter().find(|(field, _)| *field == name).copied();
        let fields: Vec<_> = step.key_fields.iter().map(|name| named(name)).collect::<Option<_>>()?;
        Some(CacheKey::of_fields(method, fields))
    }
}
