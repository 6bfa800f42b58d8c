//! The same isolation as a tower middleware, for tonic channels and every other [`Service`](tower_service::Service).
//!
//! ```
//! use cofferdam::Cofferdam;
//! use tonic::transport::Endpoint;
//! use tower::ServiceBuilder;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let cd = Cofferdam::builder("checkout").start();
//! let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
//! let protected = ServiceBuilder::new().layer(cd.layer("user-svc")).service(channel);
//! // UserServiceClient::new(protected)
//! # let _ = protected; });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is what
//!
//! What a request is and what a response says is up to an [`Inspect`]. The default, [`Auto`], knows the requests of
//! tonic; [`Http`] those of any HTTP client; of others the layer knows that an error is a failure. The policy's rules for
//! error types are for the inner service's error as its type has it: a boxed one tells no name of what it holds.
//!
//! A layer that cannot see what responses say takes each for a success. So it is where something below it has put another
//! body into tonic's responses, and with the default [`Auto`] and another HTTP client; a warning in the log says so once.
//! Put such a middleware outside of the layer, and take [`Http`] for other clients; for gRPC in bodies that are not tonic's
//! it takes an [`Inspect`] that follows them.
//!
//! gRPC puts a call's status in a response's headers where there is nothing but a status, as with most errors, and else
//! in its trailers, behind the body. The layer hands such a response on when it begins, and follows it: the breaker, the
//! health and the counters of attempts learn of the call when its trailers come, or when the body breaks off. Nothing is
//! buffered. By then the caller has the response, so there is no retry; nor does the call's timeout end a body. A service
//! that is told of the timeout ends it, though: say which requests begin [streams](IsolationLayer::streams). A body that is
//! dropped early says nothing; where messages had come, it is a success, and so is one whose time is over then. A probe of a half-open breaker is a
//! success with its first message. This is for the bodies of tonic; an [`Inspect`] of your own can
//! [follow](Inspect::follow) those of others.
//!
//! A response that streams has a place in the bulkhead until it has begun. A request that streams has to end within the
//! call's timeout, for the response begins after it, and a failure it is if it does not.
//!
//! # Around it and below it
//!
//! What is outside of the layer and drops a request, such as tower's timeout, leaves the breaker without a word on the
//! service: put it below, or the limit into the [layer](IsolationLayer::timeout) or the policy. Tower's `load_shed` and `concurrency_limit` are for the
//! outside: below, what they turn away is the service's failure, as every error is of which the layer knows nothing.
//!
//! # Readiness
//!
//! The middleware is always ready. Waiting for the service behind it is a part of each attempt, so that the deadline
//! covers it, a full pool of connections trips the breaker, and an open breaker rejects at once instead of waiting for
//! a service that is not to be called. Each attempt uses a clone of its own, made ready for it.
//!
//! # Retries
//!
//! A request is not repeated unless [`retry_with`](IsolationLayer::retry_with) says how to copy it: bodies are streams,
//! and can be sent once. Policy decides, as ever, whether a request that can be repeated is, and whether it is hedged,
//! which is to be sent again while the first still runs.
//!
//! # Fallbacks
//!
//! A policy's fallback chain is not used, at no level: a middleware cannot know how to make a response of a static payload,
//! nor how to keep one whose body is a stream. What the policy would have answered is the caller's to do on a
//! [`LayerError`]. Calls that need the chain go through [`Service::execute`]; where the policy has one, a warning in the log
//! says so once of each method.

mod error;
mod inspect;
mod isolated;
mod ongoing;

#[cfg(test)]
mod tests;

pub use crate::spans::{Attribute, AttributeValue, TraceContext};
pub use crate::transport::{Auto, Http};
pub use cofferdam_core::call::Context;
pub use error::{BoxError, LayerError};
pub use inspect::{ClassifiedBy, Inspect, MethodOf, StreamsBy, TimeoutOf};
pub use isolated::{Isolated, Never, Replay};
pub use ongoing::Ongoing;

use crate::classify::IntoVerdict;
use crate::client::Cofferdam;
use crate::service::Service;
use std::time::Duration;
use tower_layer::Layer;

/// Puts a service's isolation around a tower service; made by [`Cofferdam::layer`].
#[derive(Clone, Debug)]
pub struct IsolationLayer<I = Auto, R = Never> {
    service: Service,
    inspect: I,
    replay: R,
}

impl Cofferdam {
    /// The isolation of a service as a tower layer. See the [module](crate::layer) for what it does; as for the name,
    /// see [`service`](Self::service).
    pub fn layer(&self, name: &str) -> IsolationLayer {
        IsolationLayer { service: self.service(name), inspect: Auto, replay: Never }
    }
}

impl<I, R> IsolationLayer<I, R> {
    /// Who says what requests are and what responses mean.
    pub fn inspect<J>(self, inspect: J) -> IsolationLayer<J, R> {
        IsolationLayer { service: self.service, inspect, replay: self.replay }
    }

    /// How to copy a request, so that it can be repeated. `None`: this one cannot.
    pub fn retry_with<Req, F: Fn(&Req) -> Option<Req>>(self, copy: F) -> IsolationLayer<I, F> {
        IsolationLayer { service: self.service, inspect: self.inspect, replay: copy }
    }

    /// What a request's method is, by which the policy picks its override for methods and its pool.
    pub fn method_of<Req, F: Fn(&Req) -> String>(self, method: F) -> IsolationLayer<MethodOf<I, F>, R> {
        let Self { service, inspect, replay } = self;
        IsolationLayer { service, inspect: MethodOf { inspect, method }, replay }
    }

    /// The caller's own limit for each call, at every level, as [`Execute::timeout`](crate::Execute::timeout): the policy's
    /// is in force where it is shorter, and so is that of a request. The service is told of it.
    ///
    /// It is for what tower's timeout around the layer would do, which drops the call, so that the breaker learns nothing
    /// of a service that hangs.
    pub fn timeout(self, limit: Duration) -> IsolationLayer<TimeoutOf<I>, R> {
        let Self { service, inspect, replay } = self;
        IsolationLayer { service, inspect: TimeoutOf { inspect, limit }, replay }
    }

    /// Which requests begin a stream, such as gRPC's server streams: they are not told the call's timeout. It bounds how
    /// long the response may take to begin; a gRPC service that is told of it has to end the stream by then. A policy can say
    /// the same of methods: with an override whose `timeout.propagate_deadline` is false.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let cd = cofferdam::Cofferdam::builder("checkout").start();
    /// type Request = http::Request<tonic::body::Body>;
    /// let layer = cd.layer("user-svc").streams(|request: &Request| request.uri().path().ends_with("/WatchUsers"));
    /// # let _ = layer; });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn streams<Req, F: Fn(&Req) -> bool>(self, is_stream: F) -> IsolationLayer<StreamsBy<I, F>, R> {
        let Self { service, inspect, replay } = self;
        IsolationLayer { service, inspect: StreamsBy { inspect, is_stream }, replay }
    }

    /// What a result says about the service: an [`Outcome`](crate::Outcome) or a [`Verdict`](crate::Verdict).
    pub fn classify<Res, V, F>(self, classify: F) -> IsolationLayer<ClassifiedBy<I, F>, R>
    where
        F: Fn(Result<&Res, &(dyn std::error::Error + 'static)>) -> V,
        V: IntoVerdict,
    {
        let Self { service, inspect, replay } = self;
        IsolationLayer { service, inspect: ClassifiedBy { inspect, classify }, replay }
    }
}

impl<S, I: Clone, R: Clone> Layer<S> for IsolationLayer<I, R> {
    type Service = Isolated<S, I, R>;

    fn layer(&self, inner: S) -> Isolated<S, I, R> {
        Isolated::new(inner, self.service.clone(), self.inspect.clone(), self.replay.clone())
    }
}
