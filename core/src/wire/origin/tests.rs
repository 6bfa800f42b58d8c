use super::*;
use crate::wire::testing::policy;
use crate::wire::update::{descriptor, list, values_at};
use crate::wire::{apply_update, effective_policy, to_wire, to_wire_whole};
use proptest::prelude::*;
use prost_reflect::Value;
use prost_types::FieldMask;
use std::collections::HashMap;

/// Paths that lead to a value, and not into a list, of a policy with every field.
fn all_paths() -> Vec<String> {
    let mut paths = Vec::new();
    list(&descriptor().unwrap(), "", &mut paths);
    let is_section = |path: &String| {
        paths.iter().any(|other| other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.')))
    };
    let leaves = paths.iter().filter(|path| !is_section(path));
    leaves.filter(|path| !path.starts_with("method_overrides") && *path != "preset").cloned().collect()
}

type Values = HashMap<String, Value>;

fn values(policy: &v1::IsolationPolicy) -> Values {
    values_at(policy, &PATHS)
}

static PATHS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(all_paths);

fn unset(written: &mut v1::IsolationPolicy, paths: Vec<String>) {
    apply_update(written, &v1::IsolationPolicy::default(), Some(&FieldMask { paths })).unwrap();
}

/// Policies with any of their fields left out, and any preset or none.
fn written() -> impl Strategy<Value = v1::IsolationPolicy> {
    let all = PATHS.clone();
    let some = prop::sample::subsequence(all.clone(), 0..=all.len());
    let presets = prop::sample::select(Preset::ALL.map(Preset::name).into_iter().chain([""]).collect::<Vec<_>>());
    (policy(), some, presets).prop_map(|(policy, left_out, preset)| {
        let mut written = to_wire(&policy);
        if !left_out.is_empty() {
            unset(&mut written, left_out);
        }
        v1::IsolationPolicy { preset: preset.to_owned(), ..written }
    })
}

fn preset_alone(written: &v1::IsolationPolicy) -> v1::IsolationPolicy {
    let alone = v1::IsolationPolicy { preset: written.preset.clone(), ..Default::default() };
    to_wire_whole(&effective_policy(&alone).unwrap())
}

/// What is said of each value of a service is true: what was written is what is in force, what nobody wrote is as without
/// the rest.
fn holds(traced: &TracedPolicy, preset: &str, written: &Values, effective: &Values, alone: &Values, default: &Values) {
    for (path, value) in effective {
        let before = written.get(path);
        match traced.origin(path, None) {
            Origin::Written => assert_eq!(before, Some(value), "{path}"),
            // Elements of lists have their own.
            _ if matches!(&**path, "bulkhead.pools" | "fallback.chain") => {}
            Origin::Override => panic!("{path}: there is none"),
            origin => {
                // What is set and has no effect, as a ratio beside another jitter, is not shown.
                assert_eq!(before, None, "{path}: {origin:?}");
                match origin {
                    Origin::Default if alone.get(path) == default.get(path) => {
                        // Of a limit, a window or a jitter that was written, the default has nothing.
                        assert!(default.get(path).is_none_or(|default| default == value), "{path}");
                    }
                    Origin::Default => panic!("{path} is the preset's"),
                    Origin::Preset(named) => {
                        assert_eq!(named.name(), preset, "{path}");
                        assert_eq!(alone.get(path), Some(value), "{path}");
                    }
                    Origin::Follows(other) => {
                        assert_ne!(alone.get(path), Some(value), "{path}");
                        assert!(written.contains_key(&other), "{path} follows {other}");
                    }
                    Origin::Written | Origin::Override => {}
                    Origin::Auto(_) => panic!("{path}: nobody has left it to the policy"),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_each_value_is_true(written in written()) {
        let Ok(policy) = effective_policy(&written) else { return Ok(()) };
        let traced = TracedPolicy::new(&written).unwrap();
        prop_assert_eq!(traced.policy(), &policy);
        let default = values(&to_wire_whole(&Policy::default()));
        let service = values(&to_wire_whole(&policy));
        let alone = values(&preset_alone(&written));
        holds(&traced, &written.preset, &values(&written), &service, &alone, &default);

        for (number, entry) in written.method_overrides.iter().enumerate() {
            let effective = values(&to_wire_whole(&policy.overridden(number).unwrap()));
            let own = values(&entry.policy.clone().unwrap_or_default());
            for (path, value) in &effective {
                match traced.origin(path, Some(number)) {
                    Origin::Override => prop_assert_eq!(own.get(path), Some(value), "{}", path),
                    _ if matches!(&**path, "bulkhead.pools" | "fallback.chain") => {}
                    Origin::Written => {
                        prop_assert_eq!(service.get(path), Some(value), "{}", path);
                        prop_assert_eq!(own.get(path), None, "{}", path);
                    }
                    Origin::Follows(_) | Origin::Default | Origin::Preset(_) | Origin::Auto(_) => {
                        prop_assert_eq!(own.get(path), None, "{}", path);
                    }
                }
            }
        }
    }
}

#[test]
fn a_preset_sets_what_differs_from_the_defaults_and_no_more_than_there_is() {
    let default = values(&to_wire_whole(&Policy::default()));
    for preset in Preset::ALL {
        let own = values(&to_wire_whole(&Policy::new(preset.spec()).unwrap()));
        for path in PATHS.iter().filter(|path| own.get(*path) != default.get(*path)) {
            assert!(preset.sets(path), "{preset}: {path}");
        }
    }
    assert!(Preset::Database.sets("bulkhead.pools[0].name") && !Preset::Database.sets("bulkhead.max_queue"));
}

fn read(json_like: v1::IsolationPolicy) -> TracedPolicy {
    TracedPolicy::new(&json_like).unwrap()
}

#[test]
fn values_give_way_to_others_and_say_to_which() {
    let traced = read(v1::IsolationPolicy {
        circuit_breaker: Some(v1::CircuitBreakerPolicy {
            open_duration: Some(crate::wire::testing::secs(600)),
            ..Default::default()
        }),
        fallback: Some(v1::FallbackPolicy { chain: vec![crate::wire::testing::cached()], ..Default::default() }),
        preset: "auth".to_owned(),
        ..Default::default()
    });
    let open = "circuit_breaker.open_duration".to_owned();
    assert_eq!(traced.origin("circuit_breaker.max_open_duration", None), Origin::Follows(open));
    assert_eq!(traced.origin("fallback.enabled", None), Origin::Follows("fallback.chain".to_owned()));
    assert_eq!(traced.origin("fallback.chain[0].cached.ttl", None), Origin::Default);
    assert_eq!(traced.origin("bulkhead.pools[0].max_concurrent", None), Origin::Preset(Preset::Auth));
    assert_eq!(traced.origin("circuit_breaker.failure_count", None), Origin::Preset(Preset::Auth));
    assert_eq!(traced.origin("circuit_breaker.success_threshold", None), Origin::Default);
}

#[test]
fn the_budget_is_the_services_in_an_override_too() {
    let retry = |max_attempts, budget| v1::RetryPolicy { max_attempts, budget, ..Default::default() };
    let own = v1::IsolationPolicy { retry: Some(retry(Some(2), None)), ..Default::default() };
    let budget = v1::RetryBudget { ratio: Some(0.5), ..Default::default() };
    let traced = read(v1::IsolationPolicy {
        retry: Some(retry(Some(4), Some(budget))),
        method_overrides: vec![v1::MethodOverride { glob: "Get*".to_owned(), policy: Some(own), ..Default::default() }],
        ..Default::default()
    });
    assert_eq!(traced.override_of("/GetUser"), Some(0));
    assert_eq!(traced.override_of("PutUser"), None);
    assert_eq!(traced.origin("retry.max_attempts", Some(0)), Origin::Override);
    assert_eq!(traced.origin("retry.budget.ratio", Some(0)), Origin::Written);
    assert_eq!(traced.origin("retry.budget.ttl", Some(0)), Origin::Default);
    assert_eq!(traced.origin("timeout.call_timeout", Some(0)), Origin::Default);
}
