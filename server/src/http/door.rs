//! What is answered while the store is being loaded.
//!
//! The port is open from the start on, so that a probe can tell a manager that loads from one that is dead. gRPC waits:
//! whoever speaks it has a deadline of its own, and instances that were asked to come again are not sent away once more.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Either as EitherFuture},
};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{Either, Full};
use tokio::sync::watch;
use tower::Service;

use super::{
    front::{Answer, Front, is_grpc},
    pages,
    problem::Problem,
};

/// When it is worth coming again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lets requests through to a [`Front`], once there is one.
#[derive(Clone, Debug)]
pub struct Door<S> {
    front: watch::Receiver<Option<Front<S>>>,
    /// It, once it was seen.
    opened: Option<Front<S>>,
}

/// Opens a [`Door`].
#[derive(Debug)]
pub struct Key<S> {
    front: watch::Sender<Option<Front<S>>>,
}

impl<S> Door<S> {
    /// A closed one, and its key.
    pub fn new() -> (Self, Key<S>) {
        let (sender, front) = watch::channel(None);
        (Self { front, opened: None }, Key { front: sender })
    }
}

impl<S> Key<S> {
    /// Opens the door, for good.
    pub fn open(self, front: Front<S>) {
        self.front.send_replace(Some(front));
    }
}

impl<S, R, B> Service<Request<R>> for Door<S>
where
    S: Clone + Send + Sync + 'static,
    Front<S>: Service<Request<R>, Response = Answer<B>, Error = Infallible>,
    <Front<S> as Service<Request<R>>>::Future: Send,
    R: Send + 'static,
    B: Send + 'static,
{
    type Response = Answer<B>;
    type Error = Infallible;
    type Future =
        EitherFuture<<Front<S> as Service<Request<R>>>::Future, BoxFuture<'static, Result<Answer<B>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.opened.is_none() {
            self.opened = self.front.borrow().clone();
        }
        self.opened.as_mut().map_or(Poll::Ready(Ok(())), |front| front.poll_ready(cx))
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        if let Some(front) = &mut self.opened {
            return EitherFuture::Left(front.call(request));
        }
        let is_grpc = request.version() == Version::HTTP_2 && is_grpc(request.headers());
        if !is_grpc {
            let said = loading(request.uri().path()).map(|said| Either::Right(Either::Left(Full::new(said))));
            return EitherFuture::Right(std::future::ready(Ok(said)).boxed());
        }
        let mut opening = self.front.clone();
        let waiting = async move {
            let opened = opening.wait_for(Option::is_some).await.ok().and_then(|front| front.clone());
            match opened {
                Some(mut front) => {
                    std::future::poll_fn(|cx| front.poll_ready(cx)).await?;
                    front.call(request).await
                }
                // The manager does not start, and its connections end with it.
                None => std::future::pending().await,
            }
        };
        EitherFuture::Right(waiting.boxed())
    }
}

/// What is said meanwhile.
fn loading(path: &str) -> Response<bytes::Bytes> {
    if let Some(said) = pages::while_loading(path) {
        return said;
    }
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store is being loaded");
    let mut said = problem.into_response();
    let seconds = HeaderValue::from(RETRY_AFTER.as_secs());
    said.headers_mut().insert(header::RETRY_AFTER, seconds);
    said
}
