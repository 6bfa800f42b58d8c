//! tower-resilience: layers around a tower service, each of which boxes the future of its call.

use super::{Case, Failed, HOUR, fail, runtime, succeed};
use std::convert::identity;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
};
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_ratelimiter::RateLimiterLayer;
use tower_resilience_retry::{RetryBudgetBuilder, RetryLayer};
use tower_resilience_timelimiter::TimeLimiterLayer;

/// The service that is protected.
#[derive(Clone, Copy, Debug)]
pub struct Upstream(fn() -> Result<u64, Failed>);

impl Service<()> for Upstream {
    type Response = u64;
    type Error = Failed;
    type Future = Ready<Result<u64, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready((self.0)())
    }
}

/// Opens at a rate of a half in the last 100 calls.
pub fn subject() -> impl Service<(), Response = u64, Error = CircuitBreakerError<Failed>> + Clone + Send + Sync {
    build(window().failure_rate_threshold(0.5)).layer(Upstream(succeed))
}

/// Keeps what it needs of each call of the last hour.
pub fn subject_of_time() -> impl Service<(), Response = u64, Error = CircuitBreakerError<Failed>> + Clone + Send + Sync
{
    let window_type = tower_resilience_circuitbreaker::SlidingWindowType::TimeBased;
    let builder = CircuitBreakerLayer::builder().sliding_window_type(window_type).sliding_window_duration(HOUR);
    build(builder).layer(Upstream(succeed))
}

pub fn success<S>(service: &S)
where
    S: Service<()> + Clone,
{
    runtime().block_on(async {
        let _ = service.clone().oneshot(()).await;
    });
}

pub fn closed_consecutive() -> Case {
    let layer = build(CircuitBreakerLayer::builder().consecutive_failures(5));
    answered("tower-resilience 0.14, consecutive failures", layer.layer(Upstream(succeed)))
}

pub fn closed_window() -> Case {
    answered("tower-resilience 0.14, window of 100 calls", build(window()).layer(Upstream(succeed)))
}

pub fn closed_latency() -> Case {
    let layer = build(window().slow_call_duration_threshold(Duration::from_secs(1)));
    answered("tower-resilience 0.14, window of 100 calls, slow calls", layer.layer(Upstream(succeed)))
}

pub fn failing() -> Case {
    let service = build(window().minimum_number_of_calls(usize::MAX)).layer(Upstream(fail));
    case("tower-resilience 0.14, window of 100 calls", service, |result| {
        assert!(matches!(result, Err(CircuitBreakerError::Inner(_))), "the breaker must be closed");
    })
}

pub fn open() -> Case {
    let layer = build(CircuitBreakerLayer::builder().consecutive_failures(1).wait_duration_in_open(HOUR));
    let service = layer.layer(Upstream(fail));
    success(&service);
    case("tower-resilience 0.14", service, |result| {
        assert!(matches!(result, Err(CircuitBreakerError::OpenCircuit)), "the breaker must be open");
    })
}

/// A failure that opens, and after no time at all a probe that closes.
pub fn outage() -> Case {
    Case::looped("tower-resilience 0.14: 2 calls", |count| {
        let builder = CircuitBreakerLayer::builder().consecutive_failures(1).permitted_calls_in_half_open(1);
        let layer = build(builder.wait_duration_in_open(Duration::ZERO));
        let mut service = layer.layer(tower::service_fn(|work: fn() -> Result<u64, Failed>| ready(work())));
        runtime().block_on(async {
            for _ in 0..count {
                for work in [fail, succeed].map(identity::<fn() -> Result<u64, Failed>>) {
                    let ready = service.ready().await.expect("always ready");
                    let result = ready.call(work).await;
                    assert!(!matches!(result, Err(CircuitBreakerError::OpenCircuit)), "each outage must end");
                }
            }
        });
    })
}

/// What our level basic has: timeout and fallback.
pub fn stack_basic() -> Case {
    let time = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(5)).build();
    let service = FallbackLayer::value(0).layer(time.layer(Upstream(succeed)));
    answered("tower-resilience 0.14: fallback, timeout", service)
}

/// What our level enhanced has: the same, with a breaker, and retry with a budget.
pub fn stack_enhanced() -> Case {
    let time = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(5)).build();
    let service = FallbackLayer::value(0).layer(time.layer(retry().layer(build(window()).layer(Upstream(succeed)))));
    answered("tower-resilience 0.14: and retry with a budget, breaker", service)
}

/// What our level full has: the same, with a bulkhead and a rate limit.
pub fn stack_full() -> Case {
    let time = TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(5)).build();
    let rate = RateLimiterLayer::builder().limit_for_period(usize::MAX / 2).refresh_period(Duration::from_secs(1));
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(25).reject_when_full().build().expect("valid");
    let breaker = build(window()).layer(Upstream(succeed));
    let limited = rate.build().expect("a valid configuration").layer(retry().layer(bulkhead.layer(breaker)));
    let service = FallbackLayer::value(0).layer(time.layer(limited));
    answered("tower-resilience 0.14: and rate limit, bulkhead", service)
}

fn retry<E>() -> RetryLayer<(), u64, E> {
    let budget = RetryBudgetBuilder::new().token_bucket().build().expect("a valid configuration");
    RetryLayer::builder().max_attempts(3).budget(budget).build()
}

fn window() -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    CircuitBreakerLayer::builder().sliding_window_size(100)
}

fn build(builder: CircuitBreakerConfigBuilder<DefaultClassifier>) -> CircuitBreakerLayer<DefaultClassifier> {
    builder.build().expect("a valid configuration")
}

fn answered<S>(name: &'static str, service: S) -> Case
where
    S: Service<(), Response = u64> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    case(name, service, |result| assert!(result.is_ok(), "the call must be answered"))
}

/// Each call is driven to its end on a runtime that does nothing else, without a wake-up.
fn case<S>(name: &'static str, service: S, check: impl Fn(Result<u64, S::Error>) + Send + Sync + 'static) -> Case
where
    S: Service<(), Response = u64> + Clone + Send + Sync + 'static,
    S::Error: std::fmt::Debug,
{
    Case::looped(name, move |count| {
        let mut service = service.clone();
        runtime().block_on(async {
            for _ in 0..count {
                let result = match service.ready().await {
                    Ok(ready) => ready.call(()).await,
                    Err(error) => Err(error),
                };
                check(result);
            }
        });
    })
}
