use super::error::{BoxError, LayerError};
use super::inspect::Inspect;
use super::ongoing::Ongoing;
use crate::error::{Bad, Error};
use crate::runtime::Tokio;
use crate::service::Service;
use crate::spans::{CallSpan, Made};
use crate::transport::is_timeout;
use cofferdam_core::call::{self, Attempt, AttemptEnd, CallOptions, Context, Operation, Unfinished, Verdict};
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;

/// A tower service in its isolation; made by [`IsolationLayer`](super::IsolationLayer).
#[derive(Clone, Debug)]
pub struct Isolated<S, I, R> {
    inner: S,
    service: Service,
    inspect: I,
    replay: R,
}

/// Copies requests, so that they can be repeated. Implemented by functions, and by [`Never`].
pub trait Replay<Req>: Send + Sync {
    /// A copy. `None`: this request can be sent only once.
    fn copy(&self, request: &Req) -> Option<Req>;
}

/// Copies no request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

impl<S, I, R> Isolated<S, I, R> {
    pub(super) fn new(inner: S, service: Service, inspect: I, replay: R) -> Self {
        Self { inner, service, inspect, replay }
    }

    /// The service whose isolation it is.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The service inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S, Req, I, R> tower_service::Service<Req> for Isolated<S, I, R>
where
    S: tower_service::Service<Req> + Clone + Send + 'static,
    S::Response: Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    Req: Send + 'static,
    I: Inspect<Req, S::Response> + Clone + 'static,
    R: Replay<Req> + Clone + 'static,
{
    type Response = S::Response;
    type Error = LayerError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, LayerError>> + Send>>;

    /// Always ready; see the [module](crate::layer).
    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> Poll<Result<(), LayerError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let Self { inner, service, inspect, replay } = self.clone();
        Box::pin(async move {
            let method = inspect.method(&request);
            let is_idempotent = inspect.is_idempotent(&request);
            let timeout = inspect.timeout(&request);
            let options = CallOptions { method: &method, is_idempotent, timeout, ..CallOptions::default() };
            let span = CallSpan::begin(&service, &options, || inspect.trace(&request));
            let handle = span.handle();
            let (request, responses) = (Some(request), PhantomData);
            let mut carried = Carried { inner, service: service.clone(), request, inspect, replay, span, responses };
            let answered = handle.around(call::execute(service.isolation(), &Tokio, &mut carried, &options)).await;
            carried.span.end(&answered);
            let failure = match answered {
                Ok(answer) => return Ok(answer.value),
                Err(failure) => failure,
            };
            if failure.receipt.passed_over.is_some() {
                service.passed_over(&method, "chain", "the tower layer cannot use one; `Service::execute` can");
            }
            let error = match Error::from(failure.cause).into_inner() {
                // Bad news is still the service's own answer.
                Ok(Bad::Answer(response)) => return Ok(response),
                // A channel's own timer runs beside the engine's, by the same limit or by one that the caller has set.
                Ok(Bad::Error(error)) if is_timeout(&*error) => Error::Timeout,
                Ok(Bad::Error(error)) => Error::Inner(error),
                Err(rejection) => rejection.widen(),
            };
            Err(LayerError::new(service.name(), error))
        })
    }
}

/// A request on its way.
struct Carried<S, Req, Res, I, R> {
    inner: S,
    service: Service,
    /// The request of the next attempt. `None`: it was sent, and there is no copy.
    request: Option<Req>,
    inspect: I,
    replay: R,
    span: CallSpan,
    responses: PhantomData<fn() -> Res>,
}

impl<S, Req, I, R> Operation for Carried<S, Req, S::Response, I, R>
where
    S: tower_service::Service<Req> + Clone + Send,
    S::Response: Send,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    Req: Send,
    I: Inspect<Req, S::Response> + Clone,
    R: Replay<Req>,
{
    type Output = S::Response;
    type Error = Bad<S::Response, BoxError>;

    fn attempt(
        &mut self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<S::Response, Bad<S::Response, BoxError>>> + Send + use<S, Req, I, R> {
        let mut request = self.request.take();
        let span = self.span.attempt(attempt, Made::ByLayer);
        if let Some(request) = &mut request {
            self.request = self.replay.copy(request);
            span.describe(|| self.inspect.describe_request(request));
            if let Some(trace) = span.trace() {
                self.inspect.tell_trace(request, &trace);
            }
            if let Some(remaining) = attempt.tell_remaining
                && !self.inspect.is_stream(request)
            {
                self.inspect.tell_remaining(request, remaining);
            }
        }
        let (mut inner, inspect) = (self.inner.clone(), self.inspect.clone());
        let handle = span.clone();
        handle.around(async move {
            let request = request.ok_or_else(|| Bad::Error("the request cannot be sent twice".into()))?;
            poll_fn(|context| inner.poll_ready(context)).await.map_err(|error| Bad::Error(error.into()))?;
            let response = inner.call(request).await.map_err(|error| Bad::Error(error.into()))?;
            span.describe(|| inspect.describe_response(&response));
            if inspect.is_error(&response) { Err(Bad::Answer(response)) } else { Ok(response) }
        })
    }

    fn ended(&mut self, attempt: u32, end: AttemptEnd) {
        self.span.attempt_ended(attempt, end);
    }

    fn can_repeat(&self) -> bool {
        self.request.is_some()
    }

    fn classify(&self, result: Result<&S::Response, &Bad<S::Response, BoxError>>, context: Context<'_>) -> Verdict {
        let context = Context { error_type: std::any::type_name::<S::Error>(), ..context };
        if let Ok(response) = result
            && self.inspect.is_opaque(response)
        {
            self.service.cannot_see(std::any::type_name::<S::Response>());
        }
        match result {
            Ok(response) | Err(Bad::Answer(response)) => self.inspect.classify(Ok(response), context),
            Err(Bad::Error(error)) => self.inspect.classify(Err(&**error), context),
        }
    }

    fn is_unfinished(&self, response: &S::Response) -> bool {
        self.inspect.is_unfinished(response)
    }

    fn follow(&mut self, response: &mut S::Response, unfinished: Unfinished) {
        self.inspect.follow(response, Ongoing::new(self.service.clone(), unfinished, self.span.unended()));
    }
}

impl<Req> Replay<Req> for Never {
    fn copy(&self, _: &Req) -> Option<Req> {
        None
    }
}

impl<Req, F: Fn(&Req) -> Option<Req> + Send + Sync> Replay<Req> for F {
    fn copy(&self, request: &Req) -> Option<Req> {
        self(request)
    }
}
