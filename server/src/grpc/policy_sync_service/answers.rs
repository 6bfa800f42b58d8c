//! The body of a stream: answers that are framed already.
//!
//! The transport's own encoder would copy each answer into a buffer of the stream, of 8 KiB. Here an answer goes out as it
//! is: thousands of streams share its bytes.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use hyper::body::{Body, Frame};
use tonic::{Code, Status, codegen::http::HeaderMap};

/// Answers until the stream of them ends; then how it ended, in trailers.
pub(super) struct Answers {
    stream: BoxStream<'static, Result<Bytes, Status>>,
    has_ended: bool,
}

impl Answers {
    pub(super) fn new(stream: BoxStream<'static, Result<Bytes, Status>>) -> Self {
        Self { stream, has_ended: false }
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.stream.as_mut().poll_next(cx)) {
            Some(Ok(answer)) => return Poll::Ready(Some(Ok(Frame::data(answer)))),
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.has_ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if let Err(unwritable) = status.add_header(&mut trailers) {
        trailers.clear();
        tracing::error!(%status, %unwritable, "the end of a stream cannot be told");
        trailers.insert(Status::GRPC_STATUS, (Code::Internal as u16).into());
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt, stream};

    /// The next frame of a body that never waits.
    fn next(answers: &mut Answers) -> Option<Frame<Bytes>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *answers).poll_frame(cx));
        frame.now_or_never().expect("it waits").map(|frame| frame.unwrap())
    }

    fn data(answers: &mut Answers) -> Bytes {
        next(answers).unwrap().into_data().unwrap()
    }

    fn status(answers: &mut Answers) -> Status {
        let trailers = next(answers).unwrap().into_trailers().unwrap();
        assert!(answers.is_end_stream() && next(answers).is_none());
        Status::from_header_map(&trailers).unwrap()
    }

    #[test]
    fn an_answer_alone_is_not_copied() {
        let answer = Bytes::from(vec![b'x'; 500]);
        let waits = stream::pending::<Result<Bytes, Status>>();
        let mut answers = Answers::new(stream::iter([Ok(answer.clone())]).chain(waits).boxed());
        assert_eq!(data(&mut answers).as_ptr(), answer.as_ptr());
    }

    #[test]
    fn an_error_comes_after_what_was_said_before() {
        let said = [Ok(Bytes::from_static(b"a")), Err(Status::with_details(Code::Aborted, "no", "why".into()))];
        let mut answers = Answers::new(stream::iter(said).boxed());
        assert_eq!(data(&mut answers), "a");
        let status = status(&mut answers);
        assert_eq!((status.code(), status.message(), status.details()), (Code::Aborted, "no", &b"why"[..]));
    }
}
