//! gRPC responses that say in their trailers how the call ended.

use super::*;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use std::collections::VecDeque;
use std::sync::Mutex;
use tonic::Status;
use tonic::body::Body;

type Frames = VecDeque<Result<Frame<Bytes>, Status>>;

/// A body that brings its frames one by one, and then ends or hangs.
struct Script {
    frames: Frames,
    hangs: bool,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.frames.pop_front() {
            None if self.hangs => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }
}

fn data() -> Result<Frame<Bytes>, Status> {
    Ok(Frame::data(Bytes::from_static(b"a message")))
}

fn trailers(code: &'static str) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    Ok(Frame::trailers(trailers))
}

fn cut() -> Result<Frame<Bytes>, Status> {
    Err(Status::unavailable("the connection broke"))
}

fn cofferdam() -> Cofferdam {
    let breaker = BreakerPolicy {
        consecutive_failures: 3,
        failure_rate: 0.0,
        success_threshold: 1,
        open_jitter_ratio: 0.0,
        ..BreakerPolicy::default()
    };
    let policy = PolicySpec { level: Level::Enhanced, breaker, ..PolicySpec::default() };
    Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start()
}

/// A call whose response has these frames after its headers.
async fn begin(cd: &Cofferdam, frames: impl Into<Frames>, hangs: bool) -> Response<Body> {
    let frames = Arc::new(Mutex::new(Some(frames.into())));
    let inner = service_fn(move |_: Request<Body>| {
        let body = Script { frames: frames.lock().unwrap().take().unwrap(), hangs };
        let response = Response::builder().header("content-type", "application/grpc+proto");
        std::future::ready(Ok::<_, Status>(response.body(Body::new(body)).unwrap()))
    });
    cd.layer("users").layer(inner).oneshot(Request::new(Body::empty())).await.unwrap()
}

async fn read(mut response: Response<Body>) -> Vec<Result<Frame<Bytes>, Status>> {
    let mut frames = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await {
        frames.push(frame);
    }
    frames
}

fn counts(cd: &Cofferdam) -> (u64, u64, u64) {
    let counters = cd.service("users").counters();
    (counters.attempt_successes, counters.attempt_failures, counters.attempt_neutrals)
}

fn state(cd: &Cofferdam) -> BreakerState {
    cd.service("users").breaker_state().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_trailers_counts_when_they_come() {
    let cd = cofferdam();
    for frames in [vec![trailers("14")], vec![data(), trailers("13")], vec![data(), cut()]] {
        assert_eq!(state(&cd), BreakerState::Closed);
        let (before, length) = (counts(&cd), frames.len());
        let response = begin(&cd, frames, false).await;
        assert_eq!(counts(&cd), before, "nothing is known yet");
        assert_eq!(read(response).await.len(), length, "and nothing is kept back");
    }
    assert_eq!((counts(&cd), state(&cd)), ((0, 3, 0), BreakerState::Open));
    let counters = cd.service("users").counters();
    assert_eq!((counters.calls, counters.served_live, counters.retries), (3, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_good_status_in_the_trailers_ends_the_row_of_failures() {
    let cd = cofferdam();
    for codes in [["14", "14", "0"], ["5", "14", "14"], ["8", "0", "1"]] {
        for code in codes {
            read(begin(&cd, [data(), trailers(code)], false).await).await;
        }
    }
    assert_eq!((counts(&cd), state(&cd)), ((3, 4, 2), BreakerState::Closed), "NOT_FOUND is an answer");
}

#[tokio::test(start_paused = true)]
async fn a_response_without_a_status_has_failed() {
    let cd = cofferdam();
    read(begin(&cd, [data()], false).await).await;
    let nothing = HeaderMap::new();
    read(begin(&cd, [Ok(Frame::trailers(nothing))], false).await).await;
    assert_eq!(counts(&cd), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_says_nothing_unless_messages_have_come() {
    let cd = cofferdam();
    drop(begin(&cd, [trailers("14")], false).await);
    assert_eq!(counts(&cd), (0, 0, 1));
    let mut response = begin(&cd, [data()], true).await;
    let frame = std::future::poll_fn(|context| Pin::new(response.body_mut()).poll_frame(context)).await;
    assert!(frame.unwrap().unwrap().is_data());
    assert_eq!(counts(&cd), (0, 0, 1), "the stream goes on");
    drop(response);
    assert_eq!(counts(&cd), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_for_the_first_message_or_the_trailers() {
    let cd = cofferdam();
    for _ in 0..3 {
        read(begin(&cd, [trailers("14")], false).await).await;
    }
    tokio::time::sleep(30 * SECOND).await;
    let probe = begin(&cd, [trailers("14")], false).await;
    assert_eq!(state(&cd), BreakerState::HalfOpen);
    read(probe).await;
    assert_eq!(state(&cd), BreakerState::Open);
    tokio::time::sleep(30 * SECOND).await;
    drop(begin(&cd, [data()], true).await);
    assert_eq!(state(&cd), BreakerState::HalfOpen, "it has said nothing");
    let mut stream = begin(&cd, [data()], true).await;
    let _message = std::future::poll_fn(|context| Pin::new(stream.body_mut()).poll_frame(context)).await;
    assert_eq!(state(&cd), BreakerState::Closed, "though the stream goes on");
}

#[tokio::test(start_paused = true)]
async fn a_classification_of_the_callers_own_does_not_wait() {
    let cd = cofferdam();
    let inner = service_fn(|_: Request<Body>| {
        let body = Script { frames: [data(), trailers("14")].into(), hangs: false };
        let response = Response::builder().header("content-type", "application/grpc").body(Body::new(body));
        std::future::ready(Ok::<_, Status>(response.unwrap()))
    });
    let layer = cd.layer("users");
    let layer = layer.classify(|_: Result<&Response<Body>, &(dyn std::error::Error + 'static)>| Outcome::Success);
    let response = layer.layer(inner).oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(counts(&cd), (1, 0, 0));
    read(response).await;
    assert_eq!(counts(&cd), (1, 0, 0));
}

/// A few streams that were ended when the call's timeout was over opened the breaker of a service that had answered.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_time_is_over_after_messages_had_come_is_no_failure() {
    let cd = cofferdam();
    for _ in 0..5 {
        read(begin(&cd, [data(), trailers("4")], false).await).await;
    }
    assert_eq!((counts(&cd), state(&cd)), ((5, 0, 0), BreakerState::Closed));
    read(begin(&cd, [trailers("4")], false).await).await;
    assert_eq!(counts(&cd), (5, 1, 0), "it has said nothing");
}

/// All of it is here, and nothing of it says how the call has ended.
#[tokio::test(start_paused = true)]
async fn a_response_that_ends_with_its_headers_and_has_no_status_has_failed() {
    let cd = cofferdam();
    let inner = service_fn(|_: Request<Body>| {
        let response = Response::builder().header("content-type", "application/grpc");
        std::future::ready(Ok::<_, Status>(response.body(Body::empty()).unwrap()))
    });
    cd.layer("users").layer(inner).oneshot(Request::new(Body::empty())).await.unwrap();
    assert_eq!(counts(&cd), (0, 1, 0));
}
