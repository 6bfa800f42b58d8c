//! Requests that have to arrive.
//!
//! What a request holds of the manager is held until its message is there, and a client that keeps its connection alive
//! may take for ever. So the message of a request has so much time, from the headers on; and each message of a stream has it,
//! from its first byte on: between two of them there may be any time.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Status, body::Body, codegen::Service, codegen::http, server::NamedService};

use super::error::status;
use crate::error::Error;

mod messages;

pub(super) use messages::Messages;

/// How long a message may take to arrive.
pub(super) const ARRIVES_WITHIN: Duration = Duration::from_secs(20);

/// A service of which no request is a stream.
#[derive(Clone, Debug)]
pub(super) struct Timely<S> {
    inner: S,
}

impl<S> Timely<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: NamedService> NamedService for Timely<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Timely<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let until = Instant::now() + ARRIVES_WITHIN;
        self.inner.call(request.map(|body| Body::new(Arriving { body, until, timer: None })))
    }
}

/// The body of a request, until its time is over.
struct Arriving {
    body: Body,
    until: Instant,
    /// Made when the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let until = self.until;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().poll(cx).map(|()| Some(Err(not_arrived())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn not_arrived() -> Status {
    status(&Error::NotArrived { within: ARRIVES_WITHIN })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use std::convert::Infallible;
    use tonic::Code;

    /// What the first frames of a body are, by a service that reads it.
    struct Reads;

    impl Service<http::Request<Body>> for Reads {
        type Response = Result<Bytes, Status>;
        type Error = Infallible;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            Box::pin(async { Ok(request.into_body().collect().await.map(|whole| whole.to_bytes())) })
        }
    }

    async fn read(frames: impl stream::Stream<Item = &'static [u8]> + Send + 'static) -> Result<Bytes, Status> {
        let frames = frames.map(|bytes| Ok::<_, Status>(Frame::data(Bytes::from_static(bytes))));
        let request = http::Request::new(Body::new(StreamBody::new(frames)));
        Timely::new(Reads).call(request).await.unwrap()
    }

    /// A connection that was kept alive kept a megabyte for each of its requests.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_arrives_is_given_up() {
        let begun = Instant::now();
        let status = read(stream::iter([&b"most of it"[..]]).chain(stream::pending())).await.unwrap_err();
        assert_eq!((status.code(), begun.elapsed()), (Code::DeadlineExceeded, ARRIVES_WITHIN));
        assert!(status.message().contains("did not arrive within 20s"), "{status}");
        // A byte now and then is no message either.
        let drip = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((&b"x"[..], ()))
        });
        let begun = Instant::now();
        assert_eq!(read(drip).await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(begun.elapsed(), ARRIVES_WITHIN);
        assert_eq!(read(stream::iter([&b"all of it"[..]])).await.unwrap(), &b"all of it"[..]);
    }
}
