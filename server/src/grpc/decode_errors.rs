//! What a request that cannot be decoded is answered with.
//!
//! tonic answers INTERNAL for a message that cannot be decoded and OUT_OF_RANGE for one that is too large, as if the fault were
//! the manager's. It leaves the status it made in the response, and such a status has no details, where each of ours
//! has: so the two are told apart, and the caller gets the contract's words.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tonic::{Code, Status, body::Body, codegen::Service, codegen::http, server::NamedService};

use super::error::{malformed, status};
use crate::error::{Error, Rejection};

/// A service whose decode errors are the contract's.
#[derive(Clone, Debug)]
pub(super) struct DecodeErrors<S> {
    inner: S,
    /// The most bytes of a request.
    limit: usize,
}

impl<S> DecodeErrors<S> {
    /// Around a service that takes requests of at most `limit` bytes.
    pub(super) fn new(inner: S, limit: usize) -> Self {
        Self { inner, limit }
    }
}

impl<S: NamedService> NamedService for DecodeErrors<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<http::Request<B>> for DecodeErrors<S>
where
    S: Service<http::Request<B>, Response = http::Response<Body>>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        Answer { inner: self.inner.call(request), limit: self.limit }
    }
}

/// The answer to come.
#[derive(Debug)]
pub(super) struct Answer<F> {
    inner: F,
    limit: usize,
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<http::Response<Body>, E>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.inner).poll(cx))?;
        let in_our_words = response.extensions().get::<Status>().and_then(|theirs| translate(theirs, self.limit));
        Poll::Ready(Ok(in_our_words.map_or(response, Status::into_http)))
    }
}

/// The contract's words for a status that tonic made of a request which cannot be decoded. `None`: it is something else.
pub(super) fn translate(theirs: &Status, limit: usize) -> Option<Status> {
    match theirs.code() {
        _ if !theirs.details().is_empty() => None,
        Code::Internal => Some(malformed(theirs.message())),
        Code::OutOfRange => {
            let what = "the request";
            Some(status(&Error::Rejected(Rejection::PayloadTooLarge { what, limit })))
        }
        _ => None,
    }
}
