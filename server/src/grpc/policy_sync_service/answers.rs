//! The body of a stream: answers that are framed already.
//!
//! The transport's own encoder would copy each answer into a buffer of the stream, of 8 KiB. Here an answer that comes
//! alone goes out as it is: thousands of streams share its bytes. Where several wait, as at the beginning of a stream
//! with many services, they go out together, as a write of the socket costs more than a copy.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use hyper::body::{Body, Frame};
use tonic::{Code, Status, codegen::http::HeaderMap};

/// Bytes of several answers that go out together: a frame of HTTP/2.
const TOGETHER: usize = 16 * 1024;

/// Answers until the stream of them ends; then how it ended, in trailers.
pub(super) struct Answers {
    stream: BoxStream<'static, Result<Bytes, Status>>,
    end: End,
}

enum End {
    Ahead,
    Due(Status),
    Said,
}

impl Answers {
    pub(super) fn new(stream: BoxStream<'static, Result<Bytes, Status>>) -> Self {
        Self { stream, end: End::Ahead }
    }

    /// The next answer; none, where there is an end to be said.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !matches!(self.end, End::Ahead) {
            return Poll::Ready(None);
        }
        let status = match ready!(self.stream.as_mut().poll_next(cx)) {
            Some(Ok(answer)) => return Poll::Ready(Some(answer)),
            Some(Err(status)) => status,
            None => Status::new(Code::Ok, ""),
        };
        self.end = End::Due(status);
        Poll::Ready(None)
    }

    /// Puts all that is ready behind the first answer, as far as it goes out together.
    fn gather(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let Poll::Ready(Some(second)) = self.poll_answer(cx) else {
            return first;
        };
        let mut all = BytesMut::with_capacity(TOGETHER.max(first.len() + second.len()));
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while all.len() < TOGETHER
            && let Poll::Ready(Some(next)) = self.poll_answer(cx)
        {
            all.extend_from_slice(&next);
        }
        all.freeze()
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = ready!(self.poll_answer(cx)) {
            let data = self.gather(first, cx);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let End::Due(status) = std::mem::replace(&mut self.end, End::Said) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.end, End::Said)
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
    fn answers_that_wait_go_together_as_far_as_there_is_room() {
        let sizes = [6_000, 6_000, 6_000, 20_000, 100, 1];
        let all = sizes.map(|size| Ok(Bytes::from(vec![b'x'; size])));
        let mut answers = Answers::new(stream::iter(all).boxed());
        assert_eq!([data(&mut answers).len(), data(&mut answers).len()], [18_000, 20_100]);
        assert_eq!(data(&mut answers).len(), 1);
        assert_eq!(status(&mut answers).code(), Code::Ok);
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
