use crate::runtime::Runtime;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// The time was over before the future was.
#[derive(Debug)]
pub(super) struct Elapsed;

pin_project! {
    /// Runs a future for at most so long, from when it first has to wait; then it is dropped, which cancels it. A future
    /// that is ready when the time runs out has won: there is one verdict.
    pub(super) struct Timeout<'a, R: Runtime, F> {
        runtime: &'a R,
        limit: Option<Duration>,
        #[pin]
        timer: Option<R::Sleep>,
        #[pin]
        future: F,
    }
}

pub(super) fn timeout<R: Runtime, F: Future>(runtime: &R, limit: Option<Duration>, future: F) -> Timeout<'_, R, F> {
    Timeout { runtime, limit, timer: None, future }
}

impl<R: Runtime, F: Future> Future for Timeout<'_, R, F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        let Some(limit) = *this.limit else {
            return Poll::Pending;
        };
        if this.timer.is_none() {
            this.timer.set(Some(this.runtime.sleep(limit)));
        }
        match this.timer.as_pin_mut() {
            Some(timer) => timer.poll(context).map(|()| Err(Elapsed)),
            None => Poll::Pending,
        }
    }
}
