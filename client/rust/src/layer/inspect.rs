use super::ongoing::Ongoing;
use crate::classify::{IntoVerdict, on_error};
use crate::spans::{Attribute, TraceContext};
use cofferdam_core::call::{Context, Verdict};
use cofferdam_core::outcome::Outcome;
use std::error::Error as StdError;
use std::time::Duration;

/// Says what requests are and what results mean. Every method has a default, for requests of which nothing is known.
pub trait Inspect<Req, Res>: Send + Sync {
    /// The method of a request, by which the policy picks its override for methods and its pool. Default: empty.
    fn method(&self, request: &Req) -> String {
        let _ = request;
        String::new()
    }

    /// Whether a request may safely be repeated even if the service may have seen it. Default: no.
    fn is_idempotent(&self, request: &Req) -> bool {
        let _ = request;
        false
    }

    /// The caller's own limit of the whole call. Default: none.
    fn timeout(&self, request: &Req) -> Option<Duration> {
        let _ = request;
        None
    }

    /// Whether a request begins a stream, of which the call's timeout bounds the beginning alone: then the service is not
    /// told of it. Default: no.
    fn is_stream(&self, request: &Req) -> bool {
        let _ = request;
        false
    }

    /// Tells the service how much time is left. Default: does not.
    fn tell_remaining(&self, request: &mut Req, remaining: Duration) {
        let _ = (request, remaining);
    }

    /// Which trace a request says that it belongs to. Default: it says nothing.
    fn trace(&self, request: &Req) -> Option<TraceContext> {
        let _ = request;
        None
    }

    /// Tells the service which trace the attempt belongs to. Default: does not. Asked with the feature `opentelemetry`
    /// alone, as all that is about traces and spans.
    fn tell_trace(&self, request: &mut Req, trace: &TraceContext) {
        let _ = (request, trace);
    }

    /// What the attempt's span says of a request. Default: nothing.
    fn describe_request(&self, request: &Req) -> Vec<Attribute> {
        let _ = request;
        Vec::new()
    }

    /// What the attempt's span says of a response. Default: nothing.
    fn describe_response(&self, response: &Res) -> Vec<Attribute> {
        let _ = response;
        Vec::new()
    }

    /// Whether a response may be a failure, so that it is to be classified as one and, where the policy says so, asked
    /// for again. Default: no.
    fn is_error(&self, response: &Res) -> bool {
        let _ = response;
        false
    }

    /// Whether a response has only begun, and its end will say what it says of the service. Default: no.
    fn is_unfinished(&self, response: &Res) -> bool {
        let _ = response;
        false
    }

    /// Takes a response that has only begun, to say how it ends: by a wrapper around its body, for example. Default: says
    /// nothing.
    fn follow(&self, response: &mut Res, ongoing: Ongoing) {
        let _ = (response, ongoing);
    }

    /// Whether what a response says of the service cannot be seen, so that it counts as a success whatever it is: told once
    /// in the log. Default: no.
    fn is_opaque(&self, response: &Res) -> bool {
        let _ = response;
        false
    }

    /// What a result says about the service. Default: a response is a success, and an error is what the policy's
    /// `classification.error_types` say of its type and what a gRPC status among its sources says; where neither speaks, it
    /// is a failure.
    fn classify(&self, result: Result<&Res, &(dyn StdError + 'static)>, context: Context<'_>) -> Verdict {
        match result {
            Ok(_) => Outcome::Success.into_verdict(),
            Err(error) => on_error(error, context),
        }
    }
}

/// An [`Inspect`] with a method of its own; made by [`IsolationLayer::method_of`](super::IsolationLayer::method_of).
#[derive(Clone, Copy, Debug)]
pub struct MethodOf<I, F> {
    pub(super) inspect: I,
    pub(super) method: F,
}

/// An [`Inspect`] with a limit for every call; made by [`IsolationLayer::timeout`](super::IsolationLayer::timeout).
#[derive(Clone, Copy, Debug)]
pub struct TimeoutOf<I> {
    pub(super) inspect: I,
    pub(super) limit: Duration,
}

/// An [`Inspect`] that knows streams; made by [`IsolationLayer::streams`](super::IsolationLayer::streams).
#[derive(Clone, Copy, Debug)]
pub struct StreamsBy<I, F> {
    pub(super) inspect: I,
    pub(super) is_stream: F,
}

/// An [`Inspect`] with a classification of its own; made by
/// [`IsolationLayer::classify`](super::IsolationLayer::classify).
#[derive(Clone, Copy, Debug)]
pub struct ClassifiedBy<I, F> {
    pub(super) inspect: I,
    pub(super) classify: F,
}

/// What all kinds of [`Inspect`] around another one leave to that one.
macro_rules! forward_to_inner {
    () => {
        fn is_idempotent(&self, request: &Req) -> bool {
            self.inspect.is_idempotent(request)
        }

        fn tell_remaining(&self, request: &mut Req, remaining: Duration) {
            self.inspect.tell_remaining(request, remaining);
        }

        fn trace(&self, request: &Req) -> Option<TraceContext> {
            self.inspect.trace(request)
        }

        fn tell_trace(&self, request: &mut Req, trace: &TraceContext) {
            self.inspect.tell_trace(request, trace);
        }

        fn describe_request(&self, request: &Req) -> Vec<Attribute> {
            self.inspect.describe_request(request)
        }

        fn describe_response(&self, response: &Res) -> Vec<Attribute> {
            self.inspect.describe_response(response)
        }
    };
}

/// What those that judge nothing leave to it besides.
macro_rules! forward_responses {
    () => {
        fn is_error(&self, response: &Res) -> bool {
            self.inspect.is_error(response)
        }

        fn is_unfinished(&self, response: &Res) -> bool {
            self.inspect.is_unfinished(response)
        }

        fn follow(&self, response: &mut Res, ongoing: Ongoing) {
            self.inspect.follow(response, ongoing);
        }

        fn is_opaque(&self, response: &Res) -> bool {
            self.inspect.is_opaque(response)
        }

        fn classify(&self, result: Result<&Res, &(dyn StdError + 'static)>, context: Context<'_>) -> Verdict {
            self.inspect.classify(result, context)
        }
    };
}

impl<Req, Res, I, F> Inspect<Req, Res> for MethodOf<I, F>
where
    I: Inspect<Req, Res>,
    F: Fn(&Req) -> String + Send + Sync,
{
    fn method(&self, request: &Req) -> String {
        (self.method)(request)
    }

    fn timeout(&self, request: &Req) -> Option<Duration> {
        self.inspect.timeout(request)
    }

    fn is_stream(&self, request: &Req) -> bool {
        self.inspect.is_stream(request)
    }

    forward_to_inner!();
    forward_responses!();
}

impl<Req, Res, I: Inspect<Req, Res>> Inspect<Req, Res> for TimeoutOf<I> {
    fn method(&self, request: &Req) -> String {
        self.inspect.method(request)
    }

    fn is_stream(&self, request: &Req) -> bool {
        self.inspect.is_stream(request)
    }

    fn timeout(&self, request: &Req) -> Option<Duration> {
        Some(self.inspect.timeout(request).map_or(self.limit, |limit| limit.min(self.limit)))
    }

    forward_to_inner!();
    forward_responses!();
}

impl<Req, Res, I, F> Inspect<Req, Res> for StreamsBy<I, F>
where
    I: Inspect<Req, Res>,
    F: Fn(&Req) -> bool + Send + Sync,
{
    fn method(&self, request: &Req) -> String {
        self.inspect.method(request)
    }

    fn is_stream(&self, request: &Req) -> bool {
        (self.is_stream)(request)
    }

    fn timeout(&self, request: &Req) -> Option<Duration> {
        self.inspect.timeout(request)
    }

    forward_to_inner!();
    forward_responses!();
}

impl<Req, Res, I, F, V> Inspect<Req, Res> for ClassifiedBy<I, F>
where
    I: Inspect<Req, Res>,
    F: Fn(Result<&Res, &(dyn StdError + 'static)>) -> V + Send + Sync,
    V: IntoVerdict,
{
    fn method(&self, request: &Req) -> String {
        self.inspect.method(request)
    }

    fn is_stream(&self, request: &Req) -> bool {
        self.inspect.is_stream(request)
    }

    fn timeout(&self, request: &Req) -> Option<Duration> {
        self.inspect.timeout(request)
    }

    forward_to_inner!();

    fn is_error(&self, response: &Res) -> bool {
        (self.classify)(Ok(response)).into_verdict().outcome != Outcome::Success
    }

    fn classify(&self, result: Result<&Res, &(dyn StdError + 'static)>, _: Context<'_>) -> Verdict {
        (self.classify)(result).into_verdict()
    }
}
