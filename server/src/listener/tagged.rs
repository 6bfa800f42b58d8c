//! A service whose requests know how to end their connection.

use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use crate::hang_up::HangUp;

/// Puts a [`HangUp`] into each request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Tagged<S> {
    inner: S,
    hang_up: HangUp,
}

impl<S> Tagged<S> {
    pub(super) fn new(inner: S, hang_up: HangUp) -> Self {
        Self { inner, hang_up }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Tagged<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.hang_up.clone());
        self.inner.call(request)
    }
}
