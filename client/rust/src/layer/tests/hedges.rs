//! Hedged requests.

use super::*;
use cofferdam_core::policy::HedgePolicy;
use std::sync::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

const MILLISECOND: Duration = Duration::from_millis(1);
const CHUNKS: usize = 100;

fn hedging() -> Cofferdam {
    let policy = PolicySpec {
        level: Level::Full,
        hedge: HedgePolicy::after(100 * MILLISECOND),
        retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::default() },
        ..PolicySpec::default()
    };
    Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start()
}

/// A response whose body is still on its way, as over HTTP/2: whoever drops it resets the stream.
struct Streaming {
    chunks: mpsc::Receiver<usize>,
    _stream: DropGuard,
}

/// Answers with headers after a while, and with a hundred chunks from then on, unless its stream is reset.
async fn stream(headers: Duration, resets: Arc<Mutex<Vec<Duration>>>) -> Result<Streaming, Boom> {
    let reset = CancellationToken::new();
    let stream = reset.clone().drop_guard();
    let (sender, chunks) = mpsc::channel(1);
    tokio::spawn(async move {
        let sending = async {
            sleep(headers).await;
            for chunk in 0..CHUNKS {
                sleep(MILLISECOND).await;
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        };
        if reset.run_until_cancelled(sending).await.is_none() {
            resets.lock().unwrap().push(headers);
        }
    });
    sleep(headers).await;
    Ok(Streaming { chunks, _stream: stream })
}

/// [failsafe-go#65](https://github.com/failsafe-go/failsafe-go/issues/65),
/// [failsafe-go#123](https://github.com/failsafe-go/failsafe-go/issues/123),
/// [resty#1197](https://github.com/go-resty/resty/pull/1197)
#[tokio::test(start_paused = true)]
async fn t34_to_cancel_the_loser_does_not_cut_the_winners_body() {
    for (first, second) in [(300 * MILLISECOND, 50 * MILLISECOND), (150 * MILLISECOND, 300 * MILLISECOND)] {
        let resets = Arc::new(Mutex::new(Vec::new()));
        let calls = Arc::new(AtomicU32::new(0));
        let inner = service_fn({
            let (resets, calls) = (Arc::clone(&resets), Arc::clone(&calls));
            move |_: http::Request<()>| {
                let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
                stream(if is_first { first } else { second }, Arc::clone(&resets))
            }
        });
        let copy = |request: &http::Request<()>| Some(request.clone());
        let service = hedging().layer("users").inspect(Idempotent).retry_with(copy).layer(inner);
        let request = http::Request::get("/users").body(()).unwrap();
        let begin = Instant::now();
        let mut response = service.oneshot(request).await.unwrap();
        assert_eq!(begin.elapsed(), first.min(100 * MILLISECOND + second));
        tokio::task::yield_now().await;
        assert_eq!(*resets.lock().unwrap(), [first.max(second)], "the loser's stream is reset at once");
        for chunk in 0..CHUNKS {
            assert_eq!(response.chunks.recv().await, Some(chunk));
        }
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}

/// Requests of which the layer's owner knows that they may be sent twice.
#[derive(Clone, Copy)]
struct Idempotent;

impl<Req, Res> Inspect<Req, Res> for Idempotent {
    fn is_idempotent(&self, _: &Req) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_hedged_only_where_it_can_be_copied_and_may_be_sent_twice() {
    let begin_calls = || {
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let inner = service_fn(move |request: u32| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(SECOND).await;
                Ok::<_, Boom>(request)
            }
        });
        (inner, calls)
    };
    let copy = |request: &u32| Some(*request);
    let (inner, calls) = begin_calls();
    hedging().layer("users").inspect(Idempotent).retry_with(copy).layer(inner).oneshot(1).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    let (inner, calls) = begin_calls();
    let cd = hedging();
    cd.layer("users").inspect(Idempotent).layer(inner).oneshot(1).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "a body is a stream, which is sent once");
    assert_eq!(cd.service("users").counters().hedges_refused, 0);

    let (inner, calls) = begin_calls();
    hedging().layer("users").retry_with(copy).layer(inner).oneshot(1).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1, "nobody said that it may");
}
