//! A stream of messages of which each has to arrive once it has begun.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::codegen::StdError;

use super::{ARRIVES_WITHIN, not_arrived};

/// A flag and the length of what follows, as gRPC puts them before each message.
const HEADER_BYTES: u8 = 5;

pin_project! {
    /// The body of a request that is a stream.
    pub(in crate::grpc) struct Messages<B> {
        #[pin]
        body: B,
        place: Place,
        // By when the message that has begun must be there. `None`: none has.
        until: Option<Instant>,
        // Made when such a message has to be waited for.
        timer: Option<Pin<Box<Sleep>>>,
    }
}

/// Where in a stream of messages one is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    /// Bytes of the header that were there.
    header: u8,
    /// What the header says of the length, as far as it was there; then how much of the message is missing.
    missing: u32,
}

impl<B> Messages<B> {
    pub(in crate::grpc) const fn new(body: B) -> Self {
        Self { body, place: Place { header: 0, missing: 0 }, until: None, timer: None }
    }
}

impl Place {
    /// Goes on by these bytes. Whether a message has ended within them.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_ended = false;
        while let Some((first, rest)) = bytes.split_first() {
            if self.header < HEADER_BYTES {
                // The first one is the flag.
                if self.header > 0 {
                    self.missing = self.missing << 8 | u32::from(*first);
                }
                self.header += 1;
                bytes = rest;
            } else {
                let here = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.missing);
                self.missing -= here;
                bytes = bytes.get(here as usize..).unwrap_or_default();
            }
            if self.header == HEADER_BYTES && self.missing == 0 {
                *self = Self::default();
                has_ended = true;
            }
        }
        has_ended
    }

    fn is_within_a_message(self) -> bool {
        self != Self::default()
    }
}

impl<B> HttpBody for Messages<B>
where
    B: HttpBody,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.body.poll_frame(cx) {
            let frame = match frame {
                Some(Ok(frame)) => whole(frame),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            };
            let has_ended = frame.data_ref().is_some_and(|data| this.place.pass(data));
            if has_ended {
                (*this.until, *this.timer) = (None, None);
            }
            if this.place.is_within_a_message() {
                this.until.get_or_insert_with(|| Instant::now() + ARRIVES_WITHIN);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(until) = *this.until else { return Poll::Pending };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Box::new(not_arrived()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The frame with its data in one piece, which it is already where it comes from the network.
fn whole<D: Buf>(frame: Frame<D>) -> Frame<Bytes> {
    frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use std::time::Duration;
    use tonic::{Code, Status};

    /// Two messages, of three bytes and of none, and the beginning of one of three hundred.
    const STREAM: &[u8] = b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\x01\x2cdef";

    #[test]
    fn messages_end_where_they_end_however_they_are_cut() {
        for size in 1..=STREAM.len() {
            let (mut place, mut ends, mut at) = (Place::default(), Vec::new(), 0);
            for piece in STREAM.chunks(size) {
                at += piece.len();
                if place.pass(piece) {
                    ends.push(at);
                }
            }
            assert_eq!(place, Place { header: HEADER_BYTES, missing: 297 }, "{size}");
            if size == 1 {
                assert_eq!(ends, [8, 13]);
            }
        }
        let mut place = Place::default();
        assert!(!place.pass(b"") && !place.is_within_a_message());
        assert!(!place.pass(b"\0") && place.is_within_a_message());
    }

    /// Reads a stream to its end, of which each piece comes so many seconds after the one before.
    async fn read(pieces: &'static [(u64, &'static [u8])]) -> Result<usize, Status> {
        let pieces = stream::iter(pieces).then(|(after, bytes)| async {
            tokio::time::sleep(Duration::from_secs(*after)).await;
            Ok::<_, Status>(Frame::data(Bytes::from_static(bytes)))
        });
        let body = Messages::new(Box::pin(StreamBody::new(pieces)));
        let read = body.collect().await.map(|read| read.to_bytes().len());
        read.map_err(|error| *error.downcast::<Status>().unwrap())
    }

    /// Four megabytes of each stream were held for an hour, and for ever where streams have no age.
    #[tokio::test(start_paused = true)]
    async fn a_message_that_has_begun_must_arrive_and_none_must_begin() {
        let begun = Instant::now();
        let status = read(&[(0, STREAM), (3600, b"g")]).await.unwrap_err();
        assert_eq!((status.code(), begun.elapsed()), (Code::DeadlineExceeded, ARRIVES_WITHIN));
        // The end of one and the beginning of the next: the time is the next one's own.
        assert_eq!(read(&[(0, b"\0\0\0"), (15, b"\0\x01a\0\0\0"), (15, b"\0\x01b")]).await.unwrap(), 12);
        // A byte now and then is no message either.
        let status = read(&[(0, b"\0"), (10, b"\0"), (9, b"\0"), (9, b"\0"), (9, b"\0")]).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded);
        assert_eq!(read(&[(3600, b"\0\0\0\0\x01a"), (3600, b"\0\0\0\0\0"), (3600, b"")]).await.unwrap(), 11);
    }
}
