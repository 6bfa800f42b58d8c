//! A whole call through the engine alone, on a host that has the time at hand: what is left of a call of the SDK
//! without its clock and its timer.

use super::{Case, Failed, succeed};
use cofferdam_core::call::{self, Attempt, CallOptions, Context, Operation, Verdict};
use cofferdam_core::isolation::{Isolation, Unobserved};
use cofferdam_core::level::Level;
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{Policy, PolicySpec};
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::{Clocks, Timestamp};
use std::future::{Pending, pending};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};
use std::time::Duration;

/// With the time given, and no clock to read.
pub fn enhanced() -> Case {
    let isolation = subject(Level::Enhanced);
    Case::new("the engine's call, level enhanced, time given", move || call(&isolation))
}

/// The isolation of a service, at a level.
pub fn subject(level: Level) -> Isolation {
    let policy = Policy::new(PolicySpec { level, ..PolicySpec::default() }).expect("a valid policy");
    Isolation::new(policy, None, Clocks::default(), Arc::new(Unobserved))
}

/// A call that is answered.
pub fn call(isolation: &Isolation) {
    let options = CallOptions { method: "get", ..CallOptions::default() };
    let mut operation = Answered;
    let mut call = pin!(call::execute(isolation, &Given, &mut operation, &options));
    let poll = call.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
    assert!(matches!(black_box(poll), Poll::Ready(Ok(_))), "the call must be answered");
}

/// A host whose time stands still, and who is never asked to wait for it.
struct Given;

impl Runtime for Given {
    type Sleep = Pending<()>;

    fn now(&self) -> Timestamp {
        black_box(Timestamp::from_millis(1_000))
    }

    fn sleep(&self, _: Duration) -> Pending<()> {
        pending()
    }

    fn random(&self) -> u64 {
        0
    }
}

/// An operation that answers, and has nothing that stands in for it.
struct Answered;

impl Operation for Answered {
    type Output = u64;
    type Error = Failed;

    fn attempt(&mut self, _: Attempt) -> impl Future<Output = Result<u64, Failed>> + Send + use<> {
        async { succeed() }
    }

    fn classify(&self, result: Result<&u64, &Failed>, _: Context<'_>) -> Verdict {
        let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure };
        Verdict { outcome, is_retryable: true, may_have_reached: true, is_overload: false, pushback: None }
    }
}
