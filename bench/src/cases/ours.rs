//! Ours, and the floors that nobody can be below.

use super::{fail, succeed};
use crate::harness::Case;
use cofferdam::{Cofferdam, Level};
use cofferdam_core::breaker::Breaker;
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{BreakerPolicy, Policy, PolicySpec};
use cofferdam_core::time::Timestamp;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub fn cases() -> Vec<Case> {
    let atomic = AtomicU64::new(0);
    let counter = AtomicU64::new(0);
    vec![
        Case::new("floor: bare call", || {
            let _ = black_box(succeed());
        }),
        Case::new("floor: atomic load", move || {
            let _ = black_box(atomic.load(Ordering::Acquire));
        }),
        Case::new("floor: atomic fetch_add", move || {
            let _ = black_box(counter.fetch_add(1, Ordering::Relaxed));
        }),
        Case::new("floor: Instant::now", || {
            let _ = black_box(Instant::now());
        }),
        closed("cofferdam breaker, window, time given", policy(), Clock::Given),
        closed("cofferdam breaker, window, two clock reads", policy(), Clock::Read(Instant::now())),
        failing("cofferdam breaker, failing call that does not trip, time given"),
        open("cofferdam breaker, open, time given"),
        execute("cofferdam SDK execute, async, level none", Level::None),
        execute("cofferdam SDK execute, async, level enhanced", Level::Enhanced),
        execute("cofferdam SDK execute, async, level full", Level::Full),
    ]
}

/// Where a call's time comes from: a host may read its clock for each call, or share one reading between many.
#[derive(Clone, Copy)]
enum Clock {
    Given,
    Read(Instant),
}

impl Clock {
    fn now(self) -> Timestamp {
        match self {
            Self::Given => Timestamp::from_millis(black_box(1_000)),
            Self::Read(origin) => Timestamp::ZERO.saturating_add(origin.elapsed()),
        }
    }
}

fn policy() -> BreakerPolicy {
    BreakerPolicy::default()
}

fn closed(name: &'static str, policy: BreakerPolicy, clock: Clock) -> Case {
    let breaker = Breaker::new(&policy);
    Case::new(name, move || call(&breaker, &policy, clock, succeed))
}

fn failing(name: &'static str) -> Case {
    let policy = BreakerPolicy { consecutive_failures: 0, failure_rate: 0.0, ..policy() };
    let breaker = Breaker::new(&policy);
    Case::new(name, move || call(&breaker, &policy, Clock::Given, fail))
}

fn open(name: &'static str) -> Case {
    let hour = Duration::from_secs(3600);
    let policy = BreakerPolicy { open_duration: hour, max_open_duration: hour, ..policy() };
    // The policy goes through the same check as a user's.
    let checked = Policy::new(PolicySpec { breaker: policy.clone(), ..PolicySpec::default() }).expect("a valid policy");
    let breaker = Breaker::new(&checked.breaker);
    for _ in 0..5 {
        call(&breaker, &policy, Clock::Given, fail);
    }
    Case::new(name, move || {
        let rejected = breaker.admit(&policy, Clock::Given.now(), || 0).is_err();
        assert!(black_box(rejected), "the breaker must be open");
    })
}

fn call(breaker: &Breaker, policy: &BreakerPolicy, clock: Clock, work: fn() -> Result<u64, u64>) {
    let Ok(admitted) = breaker.admit(policy, clock.now(), || 0) else {
        return;
    };
    let outcome = if work().is_ok() { Outcome::Success } else { Outcome::Failure };
    black_box(admitted.admission.record(policy, outcome, Duration::ZERO, clock.now(), || 0));
}

/// The error of the call; it is never made.
#[derive(Debug)]
struct Failed(#[expect(dead_code, reason = "only its size matters")] u64);

/// A whole protected call of the SDK, with no manager: every section of the level is in force.
fn execute(name: &'static str, level: Level) -> Case {
    let policy = Policy::new(PolicySpec { level, ..PolicySpec::default() }).expect("a valid policy");
    let service = Cofferdam::builder("bench").default_policy(policy).start().service("bench");
    let run = Box::new(move |count| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            for _ in 0..count {
                let _ = black_box(service.execute("call", || async { succeed().map_err(Failed) }).await);
            }
        });
    });
    Case { name, run }
}
