//! A service whose requests know which connection they came by.

use std::task::{Context, Poll};

use http::Request;
use tower::Service;

use crate::peer::Peer;

/// Puts a [`Peer`] into each request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Tagged<S> {
    inner: S,
    peer: Peer,
}

impl<S> Tagged<S> {
    pub(super) fn new(inner: S, peer: Peer) -> Self {
        Self { inner, peer }
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
        request.extensions_mut().insert(self.peer.clone());
        self.inner.call(request)
    }
}
