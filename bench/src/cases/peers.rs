//! The peers, each set up as its documentation says, with thresholds that keep it closed, or an hour of open time.

use super::{fail, succeed};
use crate::harness::Case;
use failsafe::CircuitBreaker as _;
use failsafe::failure_policy::{consecutive_failures, success_rate_over_time_window};
use std::hint::black_box;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

const HOUR: Duration = Duration::from_secs(3600);

pub fn cases() -> Vec<Case> {
    let hour = || failsafe::backoff::constant(HOUR);
    vec![
        recloser_closed(),
        recloser_open(),
        failsafe_closed(
            "failsafe 1.3, consecutive failures",
            failsafe::Config::new().failure_policy(consecutive_failures(5, hour())).build(),
        ),
        failsafe_closed(
            "failsafe 1.3, success rate over a time window",
            failsafe::Config::new()
                .failure_policy(success_rate_over_time_window(0.5, 10, Duration::from_secs(30), hour()))
                .build(),
        ),
        failsafe_open(),
        tower_resilience(),
    ]
}

fn recloser_closed() -> Case {
    let breaker = recloser::Recloser::custom().closed_len(100).build();
    Case::new("recloser 1.4, ring of 100 calls", move || {
        let _ = black_box(breaker.call(succeed));
    })
}

fn recloser_open() -> Case {
    let breaker = recloser::Recloser::custom().closed_len(1).open_wait(HOUR).build();
    for _ in 0..3 {
        let _ = breaker.call(fail);
    }
    Case::new("recloser 1.4, open", move || {
        assert!(black_box(breaker.call(succeed)).is_err(), "the breaker must be open");
    })
}

fn failsafe_closed<B>(name: &'static str, breaker: B) -> Case
where
    B: failsafe::CircuitBreaker + Send + Sync + 'static,
{
    Case::new(name, move || {
        let _ = black_box(breaker.call(succeed));
    })
}

fn failsafe_open() -> Case {
    let policy = consecutive_failures(1, failsafe::backoff::constant(HOUR));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    let _ = breaker.call(fail);
    Case::new("failsafe 1.3, open", move || {
        assert!(black_box(breaker.call(succeed)).is_err(), "the breaker must be open");
    })
}

/// An async service: each call is driven to its end on a runtime that does nothing else, without a wake-up.
fn tower_resilience() -> Case {
    let layer = CircuitBreakerLayer::builder().sliding_window_size(100).build().expect("a valid configuration");
    let service = layer.layer(service_fn(|_: ()| async { succeed() }));
    let run = Box::new(move |count| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut service = service.clone();
        runtime.block_on(async {
            for _ in 0..count {
                let ready = service.ready().await.expect("always ready");
                let _ = black_box(ready.call(()).await);
            }
        });
    });
    Case { name: "tower-resilience-circuitbreaker 0.14, window of 100 calls", run }
}
