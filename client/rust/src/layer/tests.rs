mod hedges;
mod trailers;

use super::*;
use crate::{BreakerState, Error, Level, Outcome, Policy, PolicySpec};
use cofferdam_core::policy::{BreakerPolicy, BulkheadPolicy, ErrorTypeRule, Jitter, RetryPolicy, TimeoutPolicy};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{self, Poll};
use std::time::Duration;
use tower::{Service as _, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn client(level: Level) -> Cofferdam {
    let policy = PolicySpec {
        level,
        timeout: TimeoutPolicy { call_timeout: SECOND, ..TimeoutPolicy::default() },
        breaker: BreakerPolicy { consecutive_failures: 3, failure_rate: 0.0, ..BreakerPolicy::default() },
        retry: RetryPolicy { max_attempts: 2, jitter: Jitter::None, only_idempotent: false, ..RetryPolicy::default() },
        bulkhead: BulkheadPolicy { max_concurrent: 1, ..BulkheadPolicy::default() },
        ..PolicySpec::default()
    };
    Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start()
}

#[derive(Debug, thiserror::Error)]
#[error("boom {0}")]
struct Boom(u32);

/// A service that fails a number of times, and a count of its calls.
fn failing(
    times: u32,
) -> (impl tower::Service<u32, Response = u32, Error = Boom, Future: Send> + Clone, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |request: u32| {
        let call = counted.fetch_add(1, Ordering::Relaxed);
        async move { if call < times { Err(Boom(call)) } else { Ok(request * 10) } }
    });
    (service, calls)
}

#[tokio::test(start_paused = true)]
async fn a_response_goes_through_and_an_error_stays_itself() {
    for level in Level::ALL {
        let (inner, calls) = failing(1);
        let mut service = ServiceBuilder::new().layer(client(level).layer("users")).service(inner);
        let error = service.ready().await.unwrap().call(4).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.service()), ("users: boom 0", "users"));
        assert!(std::error::Error::source(&error).unwrap().is::<Boom>());
        let Error::Inner(inner) = error.into_error() else { panic!("not the inner error") };
        assert!(inner.is::<Boom>());
        assert_eq!(service.ready().await.unwrap().call(4).await.unwrap(), 40);
        assert_eq!(calls.load(Ordering::Relaxed), 2, "a request that cannot be copied is sent once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_be_copied_is_retried_from_enhanced_on() {
    for level in Level::ALL {
        let (inner, calls) = failing(1);
        let layer = client(level).layer("users").retry_with(|request: &u32| Some(*request));
        let answered = layer.layer(inner).oneshot(4).await;
        assert_eq!(answered.is_ok(), level >= Level::Enhanced, "{level}");
        assert_eq!(calls.load(Ordering::Relaxed), if level >= Level::Enhanced { 2 } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_rejects_without_asking_the_service() {
    let cd = client(Level::Enhanced);
    let (inner, calls) = failing(u32::MAX);
    let service = cd.layer("users").layer(inner);
    for _ in 0..3 {
        service.clone().oneshot(1).await.unwrap_err();
    }
    assert_eq!(service.service().breaker_state(), Some(BreakerState::Open));
    let error = service.clone().oneshot(1).await.unwrap_err();
    assert!(matches!(error.error(), Error::Open { .. }));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert!(std::error::Error::source(&error).unwrap().is::<tonic::Status>());

    // A layer below has rejected: that says nothing about the service of a layer above.
    let outer = cd.layer("gateway").layer(service);
    for _ in 0..5 {
        outer.clone().oneshot(1).await.unwrap_err();
    }
    assert_eq!(outer.service().breaker_state(), Some(BreakerState::Closed));
    assert_eq!(outer.service().counters().attempt_neutrals, 5);
}

/// A service that is never ready.
#[derive(Clone)]
struct Stuck;

impl tower::Service<u32> for Stuck {
    type Response = u32;
    type Error = Boom;
    type Future = std::future::Ready<Result<u32, Boom>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Boom>> {
        Poll::Pending
    }

    fn call(&mut self, _: u32) -> Self::Future {
        panic!("called without being ready")
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_readiness_is_a_part_of_the_attempt() {
    let service = client(Level::Enhanced).layer("users").layer(Stuck);
    for _ in 0..3 {
        let error = service.clone().oneshot(1).await.unwrap_err();
        assert!(matches!(error.error(), Error::Timeout));
    }
    assert!(matches!(service.clone().oneshot(1).await.unwrap_err().error(), Error::Open { .. }));
}

/// A service that panics when it is called without having been made ready, as tower allows.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    calls: Arc<AtomicU32>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { is_ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl tower::Service<u32> for Strict {
    type Response = u32;
    type Error = Boom;
    type Future = Pin<Box<dyn Future<Output = Result<u32, Boom>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> Poll<Result<(), Boom>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { Err(Boom(call)) })
    }
}

#[tokio::test(start_paused = true)]
async fn every_attempt_is_made_on_a_service_that_is_ready() {
    let layer = client(Level::Enhanced).layer("users").retry_with(|request: &u32| Some(*request));
    let inner = Strict::default();
    let calls = Arc::clone(&inner.calls);
    let mut service = layer.layer(inner);
    service.ready().await.unwrap().call(1).await.unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_response_future_gives_its_place_back() {
    let service = client(Level::Full).layer("users").layer(service_fn(|request: u32| async move {
        if request == 0 {
            std::future::pending::<()>().await;
        }
        Ok::<_, Boom>(request)
    }));
    let mut stuck = service.clone();
    let first = tokio::spawn(async move { stuck.call(0).await });
    tokio::task::yield_now().await;
    assert!(matches!(service.clone().oneshot(1).await.unwrap_err().error(), Error::BulkheadFull));
    first.abort();
    let _ = first.await;
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_policy_says_what_an_error_type_is() {
    let mut policy = PolicySpec { level: Level::Enhanced, ..PolicySpec::default() };
    let rule = ErrorTypeRule { type_name: "Boom".to_owned(), outcome: Outcome::Neutral };
    policy.classification.error_types = vec![rule];
    let client = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let (inner, _) = failing(20);
    let mut service = ServiceBuilder::new().layer(client.layer("users")).service(inner);
    for _ in 0..20 {
        service.ready().await.unwrap().call(1).await.unwrap_err();
    }
    assert_eq!(service.service().breaker_state(), Some(BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_classification_of_the_callers_own_decides_about_responses_and_errors() {
    let cd = client(Level::Enhanced);
    let layer = cd.layer("users").retry_with(|request: &u32| Some(*request));
    let layer = layer.classify(|result: Result<&u32, &(dyn std::error::Error + 'static)>| match result {
        Ok(0) => Outcome::Failure,
        _ => Outcome::Success,
    });
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let mut service = layer.layer(service_fn(move |request: u32| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { if request == 9 { Err(Boom(9)) } else { Ok(request) } }
    }));
    // Bad news is asked for again, and then is the answer.
    assert_eq!(service.call(0).await.unwrap(), 0);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    // An error that the caller calls a success is not.
    service.call(9).await.unwrap_err();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    let counters = cd.service("users").counters();
    assert_eq!((counters.attempt_failures, counters.attempt_successes), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn methods_choose_their_pool() {
    use cofferdam_core::policy::PoolPolicy;

    let pool = PoolPolicy {
        name: "reads".to_owned(),
        max_concurrent: 2,
        method_globs: vec!["get*".to_owned()],
        ..PoolPolicy::default()
    };
    let bulkhead = BulkheadPolicy { max_concurrent: 1, pools: vec![pool], ..BulkheadPolicy::default() };
    let policy = PolicySpec { level: Level::Full, bulkhead, ..PolicySpec::default() };
    let cd = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let layer = cd.layer("users").method_of(|request: &&'static str| (*request).to_owned());
    let service = layer.layer(service_fn(|_: &'static str| std::future::pending::<Result<(), Boom>>()));
    let rejected = |method| {
        let mut service = service.clone();
        let mut call = service.call(method);
        let mut context = task::Context::from_waker(task::Waker::noop());
        let is_rejected = call.as_mut().poll(&mut context).is_ready();
        (call, is_rejected)
    };
    let (_a, a) = rejected("getUser");
    let (_b, b) = rejected("getAll");
    let (_c, c) = rejected("put");
    assert_eq!((a, b, c), (false, false, false));
    assert!(rejected("getUser").1 && rejected("put").1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_copied_times_out_once() {
    let policy = PolicySpec {
        level: Level::Enhanced,
        timeout: TimeoutPolicy { call_timeout: 10 * SECOND, attempt_timeout: SECOND, ..TimeoutPolicy::default() },
        ..PolicySpec::default()
    };
    let cd = Cofferdam::builder("test").default_policy(Policy::new(policy).unwrap()).start();
    let hangs = service_fn(|_: http::Request<()>| std::future::pending::<Result<http::Response<()>, Boom>>());
    let service = cd.layer("users").inspect(Http).layer(hangs);
    let error = service.oneshot(http::Request::get("/users").body(()).unwrap()).await.unwrap_err();
    assert!(matches!(error.error(), Error::Timeout), "{error}");
    let counters = cd.service("users").counters();
    assert_eq!((counters.attempts, counters.retries), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_rejection_far_below_is_nobodys_failure() {
    let cd = client(Level::Enhanced);
    let (inner, _) = failing(u32::MAX);
    let service = cd.layer("users").layer(inner);
    for _ in 0..3 {
        service.clone().oneshot(1).await.unwrap_err();
    }
    let top = cd.layer("top").layer(cd.layer("middle").layer(service));
    for _ in 0..5 {
        top.clone().oneshot(1).await.unwrap_err();
    }
    assert_eq!(top.service().counters().attempt_neutrals, 5);
}

/// Around the layer a limit drops the call, and a service that hangs stays healthy in our eyes.
#[tokio::test(start_paused = true)]
async fn a_limit_of_the_layers_own_opens_the_breaker_of_a_service_that_hangs() {
    let cd = client(Level::Enhanced);
    let hangs = service_fn(|_: u32| std::future::pending::<Result<u32, Boom>>());
    let layered = cd.layer("users").timeout(SECOND / 50).layer(hangs);
    let begin = tokio::time::Instant::now();
    for _ in 0..3 {
        let error = layered.clone().oneshot(1).await.unwrap_err();
        assert!(matches!(error.error(), Error::Timeout));
    }
    assert_eq!(begin.elapsed(), 3 * SECOND / 50);
    assert_eq!(layered.service().breaker_state(), Some(BreakerState::Open));
}

#[tokio::test(start_paused = true)]
async fn the_shorter_of_the_layers_limit_and_the_requests_counts() {
    let request = |timeout: &str| {
        let request = http::Request::post("/shop.Shop/Get").header("content-type", "application/grpc");
        request.header("grpc-timeout", timeout).body(()).unwrap()
    };
    for (timeout, limit) in [("100m", SECOND / 10), ("700m", SECOND / 2)] {
        let hangs = service_fn(|_: http::Request<()>| std::future::pending::<Result<http::Response<()>, Boom>>());
        let layer = client(Level::Enhanced).layer("shop").inspect(Http).timeout(SECOND / 2);
        let begin = tokio::time::Instant::now();
        layer.layer(hangs).oneshot(request(timeout)).await.unwrap_err();
        assert_eq!(begin.elapsed(), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_cannot_see_what_responses_say_tells_it_once() {
    let (warnings, _guard) = crate::log_lines::Warnings::of_this_thread();
    let answers = |body: &'static str| {
        service_fn(move |_: http::Request<()>| async move {
            let response = http::Response::builder().status(200).header("content-type", "application/grpc");
            Ok::<_, Boom>(response.body(body.to_owned()).unwrap())
        })
    };
    let cd = client(Level::Enhanced);
    let with_auto = cd.layer("with-auto").layer(answers("internal error, in trailers"));
    let with_http = cd.layer("with-http").inspect(Http).layer(answers("internal error, in trailers"));
    let with_own = cd.layer("with-own").classify(|_: Result<&http::Response<String>, _>| Outcome::Success);
    let with_own = with_own.layer(answers("an answer"));
    for _ in 0..3 {
        with_auto.clone().oneshot(http::Request::new(())).await.unwrap();
        with_http.clone().oneshot(http::Request::new(())).await.unwrap();
        with_own.clone().oneshot(http::Request::new(())).await.unwrap();
    }
    let told = |service: &str| warnings.with("cannot see").iter().filter(|line| line.contains(service)).count();
    assert_eq!((told("with-auto"), told("with-http"), told("with-own")), (1, 1, 0));
}
