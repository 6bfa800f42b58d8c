//! A call as the engine sees it.

use super::hooks::{Hooks, Kept};
use crate::classify::IntoVerdict;
use crate::error::{Bad, Error, Failure};
use crate::runtime::Tokio;
use crate::service::Service;
use crate::spans::{CallSpan, Made};
use bytes::Bytes;
use cofferdam_core::call::{
    self, Answer, Attempt, AttemptEnd, CallOptions, Context, Operation, PassedOver, Payload, Source, Verdict, Why,
};
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{AlternativeFallback, DegradedFallback, FallbackStep};
use futures_util::FutureExt;
use pin_project_lite::pin_project;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

/// A call that has not begun.
pub(crate) struct Call<'a, F, H> {
    pub(super) service: &'a Service,
    pub(super) options: CallOptions<'a>,
    pub(super) attempt: F,
    pub(super) hooks: H,
}

/// Another service that is asked in the place of one that did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alternative {
    /// The service.
    pub service: String,
    /// The method to ask.
    pub method: String,
    /// The time there is for it, which the service should be told. `None`: no limit, or the policy says not to tell.
    pub remaining: Option<Duration>,
}

impl<'a, F, H> Call<'a, F, H> {
    pub(super) fn map<G>(self, change: impl FnOnce(H) -> G) -> Call<'a, F, G> {
        let Self { service, options, attempt, hooks } = self;
        Call { service, options, attempt, hooks: change(hooks) }
    }

    #[inline]
    pub(super) fn value<Fut, T, E>(self) -> impl Future<Output = Result<T, Error<E>>> + Send
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        H: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        // Not awaited: what awaits a future holds it twice.
        self.answer().map(|answered| Ok(answered?.value))
    }

    #[inline]
    pub(super) fn answer<Fut, T, E>(self) -> impl Future<Output = Result<Answer<T>, Failure<E>>> + Send
    where
        F: FnMut(Attempt) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        H: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        let (service, options) = (self.service, self.options);
        let mut operation = Running { call: self, last_word: None, span: CallSpan::none() };
        async move {
            operation.span = CallSpan::begin(service, &options, || None);
            let span = operation.span.handle();
            let answered = span.around(call::execute(service.isolation(), &Tokio, &mut operation, &options)).await;
            operation.span.end(&answered);
            answered.or_else(|failure| failed(failure, operation.last_word))
        }
    }
}

pin_project! {
    /// An attempt, whose error is one of two kinds. Nothing takes note of its end, as the maps of futures do: the engine
    /// polls it no more.
    struct Attempted<F, K> {
        #[pin]
        attempt: F,
        kept: PhantomData<fn() -> K>,
    }
}

impl<T, E, K, F: Future<Output = Result<T, E>>> Future for Attempted<F, K> {
    type Output = Result<T, Bad<K, E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.project().attempt.poll(context).map_err(Bad::Error)
    }
}

/// What the caller gets of a call that brought no good answer. `last_word`: the error of the caller's own fallback.
#[cold]
fn failed<T, E, K: Kept<T>>(failure: call::Failure<Bad<K, E>>, last_word: Option<E>) -> Result<Answer<T>, Failure<E>> {
    let receipt = failure.receipt;
    let error = match (last_word, Error::from(failure.cause).into_inner()) {
        (Some(error), _) | (None, Ok(Bad::Error(error))) => Error::Inner(error),
        // Bad news is still the service's own answer.
        (None, Ok(Bad::Answer(kept))) => return Ok(Answer { value: kept.give(), source: Source::Live, receipt }),
        (None, Err(rejection)) => rejection.widen(),
    };
    Err(Failure { error, receipt })
}

/// A call under way.
struct Running<'a, F, H, E> {
    call: Call<'a, F, H>,
    /// The error of the caller's own fallback.
    last_word: Option<E>,
    span: CallSpan,
}

impl<'a, F, Fut, H, T, E> Operation for Running<'a, F, H, E>
where
    F: FnMut(Attempt) -> Fut + Send,
    Fut: Future<Output = Result<T, E>> + Send,
    H: Hooks<T, E>,
    T: Send,
    E: Send,
{
    type Output = T;
    type Error = Bad<H::Kept, E>;

    fn attempt(
        &mut self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<T, Bad<H::Kept, E>>> + Send + use<'a, F, Fut, H, T, E> {
        let span = self.span.attempt(attempt, Made::ByCode);
        let (attempt, kept) = ((self.call.attempt)(attempt), PhantomData);
        span.around(Attempted { attempt, kept })
    }

    fn ended(&mut self, attempt: u32, end: AttemptEnd) {
        self.span.attempt_ended(attempt, end);
    }

    fn classify(&self, result: Result<&T, &Bad<H::Kept, E>>, context: Context<'_>) -> Verdict {
        let context = Context { error_type: std::any::type_name::<E>(), ..context };
        match result {
            Ok(answer) => self.call.hooks.classify(Ok(answer), context),
            Err(Bad::Answer(kept)) => self.call.hooks.classify(Ok(kept.look()), context),
            Err(Bad::Error(error)) => self.call.hooks.classify(Err(error), context),
        }
    }

    fn reject(&mut self, answer: T) -> Result<T, Bad<H::Kept, E>> {
        H::Kept::keep(answer).map_err(Bad::Answer)
    }

    fn encode(&self, output: &T) -> Option<Bytes> {
        self.call.hooks.encode(output)
    }

    fn decode(&mut self, payload: Payload<'_>) -> Option<T> {
        self.call.hooks.decode(payload)
    }

    fn has_alternative(&self) -> bool {
        H::HAS_ALTERNATIVE
    }

    async fn alternative(&mut self, step: &AlternativeFallback, limit: Option<Duration>) -> Option<T> {
        // Boxed, for a call within a call would make every call's future that much larger.
        Box::pin(self.ask(step, limit)).await
    }

    fn lacks(&self, step: &FallbackStep) -> Option<PassedOver> {
        match step {
            FallbackStep::Static(_) | FallbackStep::Cached(_) => (!H::HAS_CODEC).then_some(PassedOver::NoCodec),
            FallbackStep::Alternative(_) => (!H::HAS_ALTERNATIVE).then_some(PassedOver::NoAlternative),
            FallbackStep::Degraded(_) => (!H::HAS_DEGRADED).then_some(PassedOver::NoDegraded),
        }
    }

    fn passed_over(&mut self, step: &'static str, why: PassedOver) {
        self.call.service.passed_over(self.call.options.method, step, why.as_str());
    }

    fn degraded(&mut self, step: &DegradedFallback, why: Why) -> impl Future<Output = Option<T>> + Send {
        self.call.hooks.degraded(step, why)
    }

    async fn local_fallback(&mut self, why: Why) -> Option<T> {
        match self.call.hooks.fallback(why).await? {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.last_word = Some(error);
                None
            }
        }
    }
}

impl<F, H, E> Running<'_, F, H, E> {
    async fn ask<T>(&mut self, step: &AlternativeFallback, limit: Option<Duration>) -> Option<T>
    where
        H: Hooks<T, E>,
        T: Send,
        E: Send,
    {
        let method = if step.method.is_empty() { self.call.options.method } else { &step.method };
        let options = CallOptions { method, pool: None, timeout: limit, is_alternative: true, ..self.call.options };
        let service = self.call.service.sibling(step.service.as_str());
        let hooks = &mut self.call.hooks;
        let span = CallSpan::begin(&service, &options, || None);
        let handle = span.handle();
        let mut stand_in = StandIn { hooks, service: step.service.as_str(), method, span, answers: PhantomData };
        let answer = handle.around(call::execute(service.isolation(), &Tokio, &mut stand_in, &options)).await;
        stand_in.span.end(&answer);
        answer.ok().map(|answer| answer.value)
    }
}

/// A call of the service that stands in: one attempt, and nothing that stands in for it in turn.
struct StandIn<'a, H, T, E> {
    hooks: &'a mut H,
    service: &'a str,
    method: &'a str,
    span: CallSpan,
    answers: PhantomData<fn() -> (T, E)>,
}

impl<'a, H, T, E> Operation for StandIn<'a, H, T, E>
where
    H: Hooks<T, E>,
    T: Send,
    E: Send,
{
    type Output = T;
    type Error = Option<E>;

    fn attempt(&mut self, attempt: Attempt) -> impl Future<Output = Result<T, Option<E>>> + Send + use<'a, H, T, E> {
        let span = self.span.attempt(attempt, Made::ByCode);
        span.around(self.hooks.alternative(Alternative {
            service: self.service.to_owned(),
            method: self.method.to_owned(),
            remaining: attempt.tell_remaining,
        }))
    }

    fn ended(&mut self, attempt: u32, end: AttemptEnd) {
        self.span.attempt_ended(attempt, end);
    }

    fn classify(&self, result: Result<&T, &Option<E>>, context: Context<'_>) -> Verdict {
        match result {
            Ok(answer) => self.hooks.classify(Ok(answer), context),
            Err(Some(error)) => self.hooks.classify(Err(error), context),
            Err(None) => Outcome::Neutral.into_verdict(),
        }
    }

    /// A bad answer stands in for nothing: the next step is asked.
    fn reject(&mut self, answer: T) -> Result<T, Option<E>> {
        H::Kept::keep(answer).map_err(|_| None)
    }
}
