//! Our breaker by itself, without the call around it.

use super::{Case, Failed, fail, succeed};
use cofferdam_core::breaker::{Breaker, Recorded, State};
use cofferdam_core::outcome::Outcome;
use cofferdam_core::policy::{BreakerPolicy, BreakerWindow, Policy, PolicySpec};
use cofferdam_core::time::Timestamp;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// When the calls of a given time are made.
const NOW: Timestamp = Timestamp::from_millis(1_000);

/// The time of a host that shares one reading of its clock between many calls.
fn given() -> Timestamp {
    black_box(NOW)
}

/// The latency for a policy that does not look at it.
fn unmeasured(_: Timestamp, _: Timestamp) -> Duration {
    Duration::ZERO
}

fn measured(begun: Timestamp, now: Timestamp) -> Duration {
    now.saturating_since(begun)
}

/// Trips on failures in a row alone.
pub fn consecutive_policy() -> BreakerPolicy {
    checked(BreakerPolicy { failure_rate: 0.0, ..BreakerPolicy::default() })
}

/// The default: trips on failures in a row, and on a rate in a window of 30 s.
pub fn window_policy() -> BreakerPolicy {
    checked(BreakerPolicy::default())
}

/// The same, with a window of the last 100 calls.
pub fn count_policy() -> BreakerPolicy {
    checked(BreakerPolicy { window: BreakerWindow::Count(100), ..BreakerPolicy::default() })
}

/// Looks at the latency of each call.
fn slow_call_policy() -> BreakerPolicy {
    checked(BreakerPolicy { slow_call_duration: Duration::from_secs(1), ..BreakerPolicy::default() })
}

/// Looks at its window at each failure, and never has enough calls in it to trip.
fn patient_policy() -> BreakerPolicy {
    let policy = BreakerPolicy { consecutive_failures: 0, minimum_calls: u32::MAX, ..BreakerPolicy::default() };
    checked(policy)
}

/// Opens at the first failure, and closes at the first success of a probe.
fn quick_policy() -> BreakerPolicy {
    let policy = BreakerPolicy { consecutive_failures: 1, success_threshold: 1, ..BreakerPolicy::default() };
    checked(BreakerPolicy { open_jitter_ratio: 0.0, ..policy })
}

/// A policy that has passed the same check as a user's.
fn checked(breaker: BreakerPolicy) -> BreakerPolicy {
    let policy = Policy::new(PolicySpec { breaker, ..PolicySpec::default() }).expect("a valid policy");
    policy.breaker.clone()
}

pub fn closed_consecutive() -> Case {
    closed("Cofferdam, consecutive failures", consecutive_policy())
}

pub fn closed_window() -> Case {
    closed("Cofferdam, window of 30 s", window_policy())
}

pub fn closed_count() -> Case {
    closed("Cofferdam, window of 100 calls", count_policy())
}

/// The standard library's clock, read before and after each call.
pub fn closed_latency() -> Case {
    let origin = Instant::now();
    timed("Cofferdam, window of 30 s, two reads of `Instant`", move || Timestamp::ZERO.saturating_add(origin.elapsed()))
}

/// The processor's time stamp, read before and after each call, by a library that knows how fast it counts.
#[cfg(feature = "peers")]
pub fn closed_latency_by_time_stamp() -> Case {
    let clock = quanta::Clock::new();
    let origin = clock.raw();
    let now = move || Timestamp::from_nanos(clock.delta_as_nanos(origin, clock.raw()));
    timed("Cofferdam, window of 30 s, two reads of the processor's time stamp (quanta 0.13)", now)
}

/// A failure that does not trip, but has the window looked at.
pub fn failing() -> Case {
    let policy = patient_policy();
    let breaker = Breaker::new(&policy);
    Case::new("Cofferdam, window of 30 s", move || {
        let recorded = call(&breaker, &policy, given, unmeasured, fail);
        assert!(is_plain(recorded), "the breaker must be closed");
    })
}

pub fn open() -> Case {
    let policy = window_policy();
    let breaker = Breaker::new(&policy);
    while breaker.state(NOW) == State::Closed {
        call(&breaker, &policy, given, unmeasured, fail);
    }
    Case::new("Cofferdam", move || {
        let recorded = call(&breaker, &policy, given, unmeasured, succeed);
        assert!(recorded.is_none(), "the breaker must be open");
    })
}

/// A failure that opens, and after the open time a probe that closes.
pub fn outage() -> Case {
    let policy = quick_policy();
    Case::looped("Cofferdam: 2 calls", move |count| {
        let breaker = Breaker::new(&policy);
        let mut now = NOW;
        let to = |recorded: Option<Recorded>| Some(recorded?.transition?.to);
        for _ in 0..count {
            let failed = call(&breaker, &policy, || now, unmeasured, fail);
            now = now.saturating_add(policy.open_duration);
            let probed = call(&breaker, &policy, || now, unmeasured, succeed);
            assert!(to(failed) == Some(State::Open) && to(probed) == Some(State::Closed), "each outage must end");
        }
    })
}

/// A successful call through a breaker.
pub fn success(breaker: &Breaker, policy: &BreakerPolicy) {
    call(breaker, policy, given, unmeasured, succeed);
}

fn timed(name: &'static str, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Case {
    let policy = slow_call_policy();
    let breaker = Breaker::new(&policy);
    Case::new(name, move || {
        let recorded = call(&breaker, &policy, &clock, measured, succeed);
        assert!(is_plain(recorded), "the breaker must be closed");
    })
}

fn closed(name: &'static str, policy: BreakerPolicy) -> Case {
    let breaker = Breaker::new(&policy);
    Case::new(name, move || {
        let recorded = call(&breaker, &policy, given, unmeasured, succeed);
        assert!(is_plain(recorded), "the breaker must be closed");
    })
}

/// Whether a call was allowed, counted, and changed no state.
fn is_plain(recorded: Option<Recorded>) -> bool {
    recorded.is_some_and(|recorded| recorded.transition.is_none() && !recorded.is_stale)
}

/// One call, as a host makes it. `None`: it was rejected.
#[inline(always)]
fn call(
    breaker: &Breaker,
    policy: &BreakerPolicy,
    clock: impl Fn() -> Timestamp,
    latency: impl Fn(Timestamp, Timestamp) -> Duration,
    work: impl FnOnce() -> Result<u64, Failed>,
) -> Option<Recorded> {
    let begun = clock();
    let admitted = breaker.admit(policy, begun, random).ok()?;
    let outcome = if work().is_ok() { Outcome::Success } else { Outcome::Failure };
    let now = clock();
    Some(admitted.admission.record(policy, outcome, latency(begun, now), now, random))
}

/// Nothing here depends on chance.
fn random() -> u64 {
    0
}
