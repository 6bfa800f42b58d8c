//! Where gRPC and the rest of HTTP part.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt as _,
    future::{BoxFuture, Either as EitherFuture, MapOk},
};
use http::{HeaderMap, Request, Response, Version, header};
use http_body_util::Either;
use hyper::body::Body;
use tower::Service;

use super::{BoxError, Content, Http};

/// A service that hands gRPC's requests to one service and all others to [`Http`].
///
/// gRPC is HTTP/2, always. A web page can make a browser send a request of HTTP/1 with any content type to a name that
/// resolves to this machine; none can make it speak HTTP/2 without TLS.
#[derive(Clone, Debug)]
pub struct Front<S> {
    grpc: S,
    http: Http,
}

impl<S> Front<S> {
    /// In front of both.
    pub fn new(grpc: S, http: Http) -> Self {
        Self { grpc, http }
    }
}

pub(super) type Answer<B> = Response<Either<B, Content>>;

impl<S, R, B> Service<Request<R>> for Front<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    R: Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<BoxError>,
{
    type Response = Answer<B>;
    type Error = Infallible;
    type Future =
        EitherFuture<MapOk<S::Future, fn(Response<B>) -> Answer<B>>, BoxFuture<'static, Result<Answer<B>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.grpc.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        if request.version() == Version::HTTP_2 && is_grpc(request.headers()) {
            let whole: fn(Response<B>) -> Answer<B> = |answer| answer.map(Either::Left);
            return EitherFuture::Left(self.grpc.call(request).map_ok(whole));
        }
        let answer = self.http.answer_later(request);
        EitherFuture::Right(Box::pin(async move { Ok(answer.await?.map(Either::Right)) }))
    }
}

/// Whether a request says that it is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    kind.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
}
