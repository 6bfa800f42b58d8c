//! failsafe: failures in a row, or a moving average over a time. It has no slow calls.

use super::{Case, HOUR, fail, runtime, succeed};
use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{
    ConsecutiveFailures, SuccessRateOverTimeWindow, consecutive_failures, success_rate_over_time_window,
};
use failsafe::{CircuitBreaker, Config, Error, FailurePolicy, StateMachine};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(30);

pub type Consecutive = StateMachine<ConsecutiveFailures<Constant>, ()>;
pub type Average = StateMachine<SuccessRateOverTimeWindow<Constant>, ()>;

/// Opens at the fifth failure in a row, as ours.
pub fn consecutive() -> Consecutive {
    build(consecutive_failures(5, constant(HOUR)))
}

/// Opens at a rate of a half, of ten calls or more.
pub fn average() -> Average {
    build(success_rate_over_time_window(0.5, 10, WINDOW, constant(HOUR)))
}

pub fn success(breaker: &impl CircuitBreaker) {
    let _ = breaker.call(succeed);
}

pub fn closed_consecutive() -> Case {
    closed("failsafe 1.3, consecutive failures", consecutive())
}

pub fn closed_window() -> Case {
    closed("failsafe 1.3, moving average over 30 s", average())
}

pub fn failing() -> Case {
    // A rate below which nothing is.
    let breaker = build(success_rate_over_time_window(0.0, 10, WINDOW, constant(HOUR)));
    Case::new("failsafe 1.3, moving average over 30 s", move || {
        assert!(matches!(breaker.call(fail), Err(Error::Inner(_))), "the breaker must be closed");
    })
}

pub fn open() -> Case {
    let breaker = build(consecutive_failures(1, constant(HOUR)));
    while !matches!(breaker.call(fail), Err(Error::Rejected)) {}
    Case::new("failsafe 1.3", move || {
        assert!(matches!(breaker.call(succeed), Err(Error::Rejected)), "the breaker must be open");
    })
}

/// A failure that opens, and after no time at all a probe that closes.
pub fn outage() -> Case {
    Case::looped("failsafe 1.3: 2 calls", |count| {
        let breaker = build(consecutive_failures(1, constant(Duration::ZERO)));
        for _ in 0..count {
            for work in [fail, succeed] {
                assert!(!matches!(breaker.call(work), Err(Error::Rejected)), "each outage must end");
            }
        }
    })
}

pub fn whole_call() -> Case {
    let breaker = consecutive();
    Case::looped("failsafe 1.3, its asynchronous call: breaker alone", move |count| {
        runtime().block_on(async {
            for _ in 0..count {
                let answer = failsafe::futures::CircuitBreaker::call(&breaker, async { succeed() }).await;
                assert!(answer.is_ok(), "the call must be answered");
            }
        });
    })
}

fn closed(name: &'static str, breaker: impl CircuitBreaker + Send + Sync + 'static) -> Case {
    Case::new(name, move || {
        assert!(breaker.call(succeed).is_ok(), "the breaker must be closed");
    })
}

fn build<P: FailurePolicy>(policy: P) -> StateMachine<P, ()> {
    Config::new().failure_policy(policy).build()
}
