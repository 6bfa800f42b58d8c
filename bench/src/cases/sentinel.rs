//! sentinel-core: an entry through a chain of slots, where one is the circuit breaker, and an exit.
//!
//! Without its feature `async`, which is for entries that move between threads: this is its fastest way. Its time comes
//! from its thread that ticks each millisecond. The rest of what its `init_default` starts watches the load of the machine,
//! for other rules than these, and would be in the way of all cases.
//! An open time below a millisecond is none of its settings, so it has no outage here.

use super::{Case, HOUR, fail, succeed};
use sentinel_core::circuitbreaker::{BreakerStrategy, Rule, load_rules_of_resource};
use sentinel_core::utils::start_time_ticker;
use sentinel_core::{EntryBuilder, trace_error};
use std::sync::{Arc, Once};

const RATE: &str = "rate";
const SLOW: &str = "slow";
const PATIENT: &str = "patient";
const OPEN: &str = "open";

pub fn closed_window() -> Case {
    set_up(Rule { min_request_amount: 10, ..rule(RATE) });
    closed("sentinel-core 0.1, window of 30 s", RATE)
}

pub fn closed_latency() -> Case {
    let strategy = BreakerStrategy::SlowRequestRatio;
    set_up(Rule { strategy, max_allowed_rt_ms: 1_000, min_request_amount: 10, ..rule(SLOW) });
    closed("sentinel-core 0.1, window of 30 s, slow calls", SLOW)
}

pub fn failing() -> Case {
    set_up(Rule { min_request_amount: u64::MAX, ..rule(PATIENT) });
    Case::new("sentinel-core 0.1, window of 30 s", || {
        assert!(call(PATIENT, fail), "the breaker must be closed");
    })
}

pub fn open() -> Case {
    set_up(Rule { min_request_amount: 1, ..rule(OPEN) });
    while call(OPEN, fail) {}
    Case::new("sentinel-core 0.1", || assert!(!call(OPEN, succeed), "the breaker must be open"))
}

/// A resource with a rule, by itself.
pub fn subject(number: usize) -> String {
    let resource = format!("subject-{number}");
    set_up(Rule { min_request_amount: 10, ..rule(&resource) });
    resource
}

pub fn success(resource: &str) {
    call(resource, succeed);
}

fn rule(resource: &str) -> Rule {
    Rule {
        resource: resource.to_owned(),
        strategy: BreakerStrategy::ErrorRatio,
        threshold: 0.5,
        stat_interval_ms: 30_000,
        stat_sliding_window_bucket_count: 10,
        retry_timeout_ms: HOUR.as_millis().try_into().unwrap_or(u32::MAX),
        ..Rule::default()
    }
}

fn set_up(rule: Rule) {
    static STARTED: Once = Once::new();
    STARTED.call_once(start_time_ticker);
    let resource = rule.resource.clone();
    load_rules_of_resource(&resource, vec![Arc::new(rule)]).expect("a valid rule");
}

fn closed(name: &'static str, resource: &'static str) -> Case {
    Case::new(name, || assert!(call(resource, succeed), "the breaker must be closed"))
}

/// One call, and whether it was allowed.
fn call<E: std::error::Error + Send + Sync + 'static>(resource: &str, work: fn() -> Result<u64, E>) -> bool {
    let Ok(entry) = EntryBuilder::new(resource.to_owned()).build() else {
        return false;
    };
    if let Err(error) = work() {
        trace_error(&entry, error.into());
    }
    entry.exit();
    true
}
