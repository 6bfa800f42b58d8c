//! The presets as the wire names them, with the values of the systems they come from.

use crate::level::Level;
use crate::policy::{BreakerWindow, TimeWindow};
use crate::policy::{FallbackStep, Jitter, Policy, Preset};
use crate::wire::effective_policy;
use crate::wire::testing::{cached, paths, secs, with_chain};
use cofferdam_proto::v1;
use std::time::Duration;

fn written(preset: &str) -> v1::IsolationPolicy {
    v1::IsolationPolicy { preset: preset.to_owned(), ..Default::default() }
}

fn effective(preset: &str) -> Policy {
    effective_policy(&written(preset)).unwrap()
}

fn time(window: BreakerWindow) -> TimeWindow {
    let BreakerWindow::Time(window) = window else { panic!("{window:?}") };
    window
}

#[test]
fn a_preset_is_its_spec() {
    for preset in Preset::ALL {
        assert_eq!(effective(preset.name()).to_spec(), preset.spec());
    }
}

#[test]
fn flask_module_opens_at_5_in_a_row_for_60_s_and_closes_at_2() {
    let policy = effective("flask-module");
    assert_eq!(policy.level, Level::Enhanced);
    assert_eq!(policy.breaker.consecutive_failures, 5);
    assert_eq!(policy.breaker.open_duration, Duration::from_secs(60));
    assert_eq!(policy.breaker.success_threshold, 2);
    assert_eq!((policy.breaker.failure_count, policy.breaker.failure_rate), (0, 0.0));
    assert_eq!(policy.breaker.open_jitter_ratio, 0.0);
}

#[test]
fn e2_the_counting_presets_have_their_numbers() {
    // Preset, failures, among at least, in seconds, open for seconds. "among" and "in" of the last two are ours.
    let table =
        [("database", 3, 5, 30, 15), ("cache", 5, 10, 60, 10), ("auth", 3, 5, 30, 20), ("external-api", 5, 10, 60, 30)];
    for (preset, failures, among, window, open) in table {
        let breaker = &effective(preset).breaker;
        assert_eq!(breaker.failure_count, failures, "{preset}");
        assert_eq!(breaker.minimum_calls, among, "{preset}");
        assert_eq!(time(breaker.window).length, Duration::from_secs(window), "{preset}");
        assert_eq!(breaker.open_duration, Duration::from_secs(open), "{preset}");
        assert_eq!(breaker.open_jitter_ratio, 0.0, "{preset}");
        assert_eq!((breaker.consecutive_failures, breaker.failure_rate), (0, 0.0), "{preset}");
    }
}

#[test]
fn d5_pools_fallbacks_and_retries_of_the_presets() {
    let pools = |preset: &str| {
        let pools = effective(preset).bulkhead.pools.clone();
        pools.into_iter().map(|pool| (pool.name, pool.max_concurrent)).collect::<Vec<_>>()
    };
    assert_eq!(pools("database"), [("readPool".to_owned(), 20), ("writePool".to_owned(), 10)]);
    assert_eq!(pools("auth"), [("authPool".to_owned(), 10)]);
    assert!(!effective("auth").fallback.enabled);
    assert!(effective("stripe").retry.only_idempotent);
    assert!(matches!(
        effective("stripe").fallback.chain.as_slice(),
        [FallbackStep::Degraded(step)] if step.reason == "payment pending"
    ));
    assert_eq!(effective("node-db").retry.jitter, Jitter::Equal);
}

#[test]
fn one_field_overrides_and_the_rest_stays() {
    let breaker = v1::CircuitBreakerPolicy { failure_count: Some(7), ..Default::default() };
    let policy =
        effective_policy(&v1::IsolationPolicy { circuit_breaker: Some(breaker), ..written("database") }).unwrap();
    let mut spec = Preset::Database.spec();
    spec.breaker.failure_count = 7;
    assert_eq!(policy.to_spec(), spec);

    let level = v1::IsolationPolicy { level: v1::IsolationLevel::None.into(), ..written("database") };
    assert_eq!(effective_policy(&level).unwrap().level, Level::None);

    let window = v1::CircuitBreakerPolicy {
        window: Some(v1::circuit_breaker_policy::Window::TimeWindow(v1::TimeWindow { length: None, buckets: 20 })),
        ..Default::default()
    };
    let policy = effective_policy(&v1::IsolationPolicy { circuit_breaker: Some(window), ..written("cache") }).unwrap();
    assert_eq!(time(policy.breaker.window).length, Duration::from_secs(60));
    assert_eq!(time(policy.breaker.window).buckets, 20);
}

#[test]
fn an_explicit_zero_overrides_too() {
    let breaker = v1::CircuitBreakerPolicy {
        failure_count: Some(0),
        consecutive_failures: Some(3),
        minimum_calls: Some(0),
        ..Default::default()
    };
    let policy = effective_policy(&v1::IsolationPolicy { circuit_breaker: Some(breaker), ..written("cache") }).unwrap();
    let (minimum, count) = (policy.breaker.minimum_calls, policy.breaker.failure_count);
    assert_eq!((minimum, count, policy.breaker.consecutive_failures), (0, 0, 3));
}

#[test]
fn lists_override_presets_only_where_they_say_something() {
    let pool = v1::BulkheadPool { name: "jobs".to_owned(), ..Default::default() };
    let bulkhead = |pools| v1::IsolationPolicy {
        bulkhead: Some(v1::BulkheadPolicy { pools, ..Default::default() }),
        ..written("database")
    };
    assert_eq!(effective_policy(&bulkhead(vec![pool])).unwrap().bulkhead.pools.len(), 1);
    assert_eq!(effective_policy(&bulkhead(vec![])).unwrap().bulkhead.pools.len(), 2);
}

#[test]
fn a_chain_is_enabled_even_where_the_preset_has_none() {
    let auth = |enabled, chain| {
        let mut policy = with_chain(chain);
        policy.preset = "auth".to_owned();
        policy.fallback.as_mut().unwrap().enabled = enabled;
        effective_policy(&policy).unwrap().fallback.enabled
    };
    assert!(!auth(None, vec![]));
    assert!(auth(None, vec![cached()]));
    assert!(!auth(Some(false), vec![cached()]));
    assert!(auth(Some(true), vec![]));
}

#[test]
fn the_longest_pause_gives_way_to_the_first() {
    let retry = |initial_backoff, max_backoff| {
        let retry = v1::RetryPolicy { initial_backoff, max_backoff, ..Default::default() };
        effective_policy(&v1::IsolationPolicy { retry: Some(retry), ..Default::default() })
    };
    assert_eq!(retry(None, None).unwrap().retry.max_backoff, Duration::from_secs(2));
    assert_eq!(retry(Some(secs(1)), None).unwrap().retry.max_backoff, Duration::from_secs(2));
    assert_eq!(retry(Some(secs(5)), None).unwrap().retry.max_backoff, Duration::from_secs(5));
    assert_eq!(paths(&retry(Some(secs(5)), Some(secs(4)))), ["retry.max_backoff"]);
    assert_eq!(paths(&retry(Some(secs(90_000)), None)), ["retry.initial_backoff"]);
    assert_eq!(paths(&retry(Some(secs(-1)), None)), ["retry.initial_backoff"]);
}

#[test]
fn an_unknown_preset_is_answered_with_the_known() {
    for name in ["Database", "databse", " cache", "none", &"x".repeat(1_000_000), "\u{1F980}"] {
        let invalid = effective_policy(&written(name)).unwrap_err();
        let [violation] = invalid.violations() else { panic!("{invalid}") };
        assert_eq!(violation.path, "preset");
        for preset in Preset::ALL {
            assert!(violation.description.contains(preset.name()), "{violation}");
        }
        assert!(violation.description.len() < 1000, "{}", violation.description.len());
    }
}
