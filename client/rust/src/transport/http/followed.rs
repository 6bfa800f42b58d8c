use super::super::status::on_code;
use super::{grpc_code, grpc_status_code};
use crate::classify::on_error;
use crate::layer::Ongoing;
use bytes::Bytes;
use cofferdam_core::call::Context as Judged;
use cofferdam_core::outcome::Outcome;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::{Code, Status};

pin_project! {
    /// The body of a gRPC response, which tells how the call ended: by the status in its trailers, or by the error that cut
    /// it short. Nothing of it is kept.
    ///
    /// Who drops a body has left. Then the call says nothing of the service, unless messages had come: a stream is often
    /// left when its reader has seen enough. So it is where the caller's time was over after messages had come. The first
    /// message ends a probe, too: a stream may go on for hours, and the
    /// breaker would wait for that.
    pub(super) struct Followed {
        #[pin]
        body: tonic::body::Body,
        // `None`: it has ended.
        ongoing: Option<Ongoing>,
        has_data: bool,
    }

    impl PinnedDrop for Followed {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if *this.has_data {
                end(this.ongoing, |_| Outcome::Success);
            }
        }
    }
}

impl Followed {
    pub(super) fn new(body: tonic::body::Body, ongoing: Ongoing) -> Self {
        Self { body, ongoing: Some(ongoing), has_data: false }
    }
}

impl Body for Followed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(context));
        match &frame {
            Some(Ok(frame)) if frame.is_data() => {
                *this.has_data = true;
                if this.ongoing.as_ref().is_some_and(Ongoing::is_probe) {
                    end(this.ongoing, |_| Outcome::Success);
                }
            }
            Some(Ok(frame)) => {
                let code = frame.trailers_ref().and_then(grpc_code).unwrap_or(Code::Unknown);
                if let Some(ongoing) = this.ongoing.as_ref() {
                    ongoing.describe(|| vec![grpc_status_code(code)]);
                }
                let is_cut_short = code == Code::DeadlineExceeded && *this.has_data;
                let outcome = |context: Judged<'_>| on_code(code, None, context).outcome;
                end(this.ongoing, |context| if is_cut_short { Outcome::Success } else { outcome(context) });
            }
            Some(Err(error)) => end(this.ongoing, |context| on_error(error, context).outcome),
            // A call without a status has failed, gRPC says.
            None => end(this.ongoing, |context| on_code(Code::Unknown, None, context).outcome),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn end(ongoing: &mut Option<Ongoing>, judge: impl FnOnce(Judged<'_>) -> Outcome) {
    if let Some(ongoing) = ongoing.take() {
        ongoing.end(judge);
    }
}
