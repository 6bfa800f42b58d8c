//! Fields of a policy that hold stamps: they do not depend on each other, any number fits, and what they say is of no
//! consequence where no call is made.

use super::{Stamp, Value};
use cofferdam_proto::v1::{CircuitBreakerPolicy, HealthPolicy, IsolationPolicy, RateLimitPolicy, TimeoutPolicy};
use prost_types::Duration;

/// How many such fields there are: so many writers can share a service and each have one to itself.
pub const SLOTS: u8 = 8;

const PATHS: [&str; SLOTS as usize] = [
    "timeout.attempt_timeout",
    "circuit_breaker.slow_call_duration",
    "circuit_breaker.minimum_calls",
    "circuit_breaker.failure_count",
    "circuit_breaker.half_open_lease",
    "circuit_breaker.ramp_duration",
    "rate_limit.permits",
    "health.minimum_calls",
];

/// The paths of the fields that a value sets, for a field mask.
pub fn paths(value: &Value) -> Vec<String> {
    value.keys().map(|slot| PATHS[usize::from(*slot)].to_owned()).collect()
}

/// A policy that sets just these fields.
///
/// # Panics
///
/// If a stamp is too large: at most 80 million.
pub fn patch(value: &Value) -> IsolationPolicy {
    let number = |slot: u8| value.get(&slot).map(|stamp| u32::try_from(*stamp).expect("a stamp that fits"));
    let time = |slot: u8| value.get(&slot).map(|stamp| millis(*stamp));
    IsolationPolicy {
        timeout: Some(TimeoutPolicy { attempt_timeout: time(0), ..TimeoutPolicy::default() }),
        circuit_breaker: Some(CircuitBreakerPolicy {
            slow_call_duration: time(1),
            minimum_calls: number(2),
            failure_count: number(3),
            half_open_lease: time(4),
            ramp_duration: time(5),
            ..CircuitBreakerPolicy::default()
        }),
        rate_limit: Some(RateLimitPolicy { permits: number(6).unwrap_or_default(), ..RateLimitPolicy::default() }),
        health: Some(HealthPolicy { minimum_calls: number(7), ..HealthPolicy::default() }),
        ..IsolationPolicy::default()
    }
}

/// The stamps of a policy as it was written.
pub fn value_of(written: Option<&IsolationPolicy>) -> Value {
    let timeout = written.and_then(|policy| policy.timeout.as_ref());
    let breaker = written.and_then(|policy| policy.circuit_breaker.as_ref());
    let rate = written.and_then(|policy| policy.rate_limit.as_ref());
    let health = written.and_then(|policy| policy.health.as_ref());
    let stamps = [
        timeout.and_then(|timeout| stamp(timeout.attempt_timeout)),
        breaker.and_then(|breaker| stamp(breaker.slow_call_duration)),
        breaker.and_then(|breaker| breaker.minimum_calls).map(Stamp::from),
        breaker.and_then(|breaker| breaker.failure_count).map(Stamp::from),
        breaker.and_then(|breaker| stamp(breaker.half_open_lease)),
        breaker.and_then(|breaker| stamp(breaker.ramp_duration)),
        rate.map(|rate| Stamp::from(rate.permits)).filter(|permits| *permits > 0),
        health.and_then(|health| health.minimum_calls).map(Stamp::from),
    ];
    (0..SLOTS).zip(stamps).filter_map(|(slot, stamp)| Some((slot, stamp?))).collect()
}

fn millis(stamp: Stamp) -> Duration {
    let seconds = i64::try_from(stamp / 1000).expect("a stamp that fits");
    Duration { seconds, nanos: i32::try_from(stamp % 1000).expect("below a thousand") * 1_000_000 }
}

fn stamp(time: Option<Duration>) -> Option<Stamp> {
    let time = time?;
    let millis = time.seconds * 1000 + i64::from(time.nanos / 1_000_000);
    Some(Stamp::try_from(millis).expect("no time is negative"))
}
