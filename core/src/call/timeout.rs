use crate::runtime::Runtime;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// The time was over before the future was.
#[derive(Debug)]
pub(super) struct Elapsed;

/// Runs a future for at most so long; then it is dropped, which cancels it. A future that is ready when the time runs
/// out has won: there is one verdict.
pub(super) async fn timeout<R: Runtime, F: Future>(
    runtime: &R,
    limit: Option<Duration>,
    future: F,
) -> Result<F::Output, Elapsed> {
    let Some(limit) = limit else {
        return Ok(future.await);
    };
    let mut future = pin!(future);
    let mut sleep = pin!(runtime.sleep(limit));
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        sleep.as_mut().poll(context).map(|()| Err(Elapsed))
    })
    .await
}
