use super::*;
use serde_json::json;

fn policy(value: Value) -> v1::IsolationPolicy {
    read(value).unwrap()
}

fn listed(message: &v1::IsolationPolicy) -> Vec<String> {
    let fields = fields(&dynamic(message).unwrap());
    fields.into_iter().map(|field| format!("{}={}", field.path, field.value)).collect()
}

fn assign(assignments: &[&str]) -> Result<(v1::IsolationPolicy, prost_types::FieldMask), Fault> {
    assigned(&assignments.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>())
}

#[test]
fn every_named_message_is_in_the_contract() {
    assert!(descriptor::<v1::IsolationPolicy>().is_ok() && descriptor::<v1::WaitForConvergenceResponse>().is_ok());
    for name in [v1::RegisterServiceRequest::NAME, v1::FallbackConfig::NAME, v1::UpdateServiceHealthResponse::NAME] {
        assert!(POOL.get_message_by_name(name).is_some(), "{name}");
    }
}

#[test]
fn what_people_write_short_is_the_contracts_json() {
    let short = json!({
        "level": "enhanced",
        "circuit_breaker": {"openDuration": "250ms", "mode": "forced-open"},
        "fallback": {"chain": [{"cached": {"ttl": "5m"}}], "on": ["open", "FALLBACK_TRIGGER_TIMEOUT"]},
    });
    let long = json!({
        "level": "ISOLATION_LEVEL_ENHANCED",
        "circuitBreaker": {"openDuration": "0.250s", "mode": "BREAKER_MODE_FORCED_OPEN"},
        "fallback": {
            "chain": [{"cached": {"ttl": "300s"}}],
            "on": ["FALLBACK_TRIGGER_OPEN", "FALLBACK_TRIGGER_TIMEOUT"],
        },
    });
    assert_eq!(policy(short), policy(long));
}

#[test]
fn what_is_no_message_is_refused_at_its_path() {
    for (value, path) in [
        (json!({"retry": {"maxAttempts": "many"}}), "retry.maxAttempts"),
        (json!({"fallback": {"chain": [{"cached": {"ttl": 5}}]}}), "fallback.chain[0].cached.ttl"),
        (json!({"level": "high"}), "level"),
    ] {
        let fault = read::<v1::IsolationPolicy>(value.clone()).unwrap_err();
        assert_eq!(fault.path, path, "{value}: {fault}");
    }
    for value in [json!([]), json!("text"), json!({"retries": {}})] {
        assert!(read::<v1::IsolationPolicy>(value.clone()).is_err(), "{value}");
    }
}

/// Before, a file was told "unrecognized field name", and of the section alone.
#[test]
fn a_misspelt_name_in_a_document_is_told_with_its_place_and_the_nearest() {
    for (value, told) in [
        (
            json!({"policy": {"retry": {"max_atempts": 2}}}),
            "policy.retry.max_atempts: there is no such field; did you mean policy.retry.max_attempts?",
        ),
        (
            json!({"service": {"endpoints": [{"adress": "x"}]}}),
            "service.endpoints[0].adress: there is no such field; did you mean service.endpoints[0].address?",
        ),
        (json!({"levell": "full"}), "levell: there is no such field; did you mean level?"),
        (
            json!({"policy": {"level": "enhancd"}}),
            "policy.level: must be one of none, basic, enhanced, full, auto, and is \"enhancd\"",
        ),
        (json!({"policy": {"fallback": {"on": ["opne"]}}}), "policy.fallback.on[0]: must be one of "),
    ] {
        let fault = read::<v1::RegisterServiceRequest>(value).unwrap_err().to_string();
        assert!(fault.starts_with(told), "{fault}");
    }
    // Keys of a map are whatever somebody likes.
    assert!(read::<v1::RegisterServiceRequest>(json!({"service": {"labels": {"levell": "x"}}})).is_ok());
}

#[test]
fn fields_are_listed_in_the_form_in_which_they_are_written() {
    let policy = policy(json!({
        "level": "full",
        "retry": {"initialBackoff": "100ms", "onlyIdempotent": false},
        "bulkhead": {"pools": [{"name": "read", "methodGlobs": ["Get*"]}]},
        "fallback": {"chain": [{"cached": {}}, {"degraded": {"reason": "back soon"}}]},
    }));
    assert_eq!(
        listed(&policy),
        [
            "level=full",
            "retry.initial_backoff=100ms",
            "retry.only_idempotent=false",
            "bulkhead.pools[0].name=read",
            "bulkhead.pools[0].method_globs=[Get*]",
            "fallback.chain[0].cached={}",
            "fallback.chain[1].degraded.reason=\"back soon\"",
        ]
    );
}

#[test]
fn a_difference_is_told_field_by_field() {
    let list = |value: Value| fields(&dynamic(&policy(value)).unwrap());
    let before = list(json!({"level": "basic", "retry": {"maxAttempts": 3}, "preset": "auth"}));
    let after = list(json!({"level": "full", "retry": {"maxAttempts": 3, "multiplier": 1.5}}));
    let told: Vec<_> = changes(&before, &after).iter().map(ToString::to_string).collect();
    assert_eq!(told, ["level: basic -> full", "preset: auth -> unset", "retry.multiplier: unset -> 1.5"]);
    assert_eq!(changes(&before, &before), []);
}

#[test]
fn assignments_become_a_patch_and_its_mask() {
    let (patch, mask) = assign(&[
        "retry.max_attempts=5",
        "circuitBreaker.openDuration=15s",
        "circuit_breaker.time_window.length=1m",
        "level=full",
        "preset=",
        "fallback.chain=[{\"cached\": {}}]",
        "circuit_breaker.mode=forced_open",
    ])
    .unwrap();
    let expected = json!({
        "retry": {"maxAttempts": 5},
        "circuitBreaker": {"openDuration": "15s", "timeWindow": {"length": "60s"}, "mode": "forced-open"},
        "level": "full",
        "fallback": {"chain": [{"cached": {}}]},
    });
    assert_eq!(patch, policy(expected));
    assert_eq!(
        mask.paths,
        [
            "retry.max_attempts",
            "circuit_breaker.open_duration",
            "circuit_breaker.time_window.length",
            "level",
            "preset",
            "fallback.chain",
            "circuit_breaker.mode",
        ]
    );
}

#[test]
fn what_cannot_be_assigned_is_refused_with_what_can() {
    for (assignment, words) in [
        ("retry.max_attemts=5", "retry.max_attemts: there is no such field; did you mean retry.max_attempts?"),
        ("zzz=1", "there are level, preset, timeout"),
        ("retry.max_attempts=many", "retry.max_attempts: must be a number, and is \"many\""),
        ("timeout.call_timeout=5", "must be a time with its unit"),
        ("level=high", "must be one of none, basic, enhanced, full"),
        ("retry.only_idempotent=yes", "must be true or false"),
        ("fallback.chain.cached=1", "set it as a whole"),
        ("fallback.chain=x", "must be a JSON list or object"),
    ] {
        let fault = assign(&[assignment]).unwrap_err().to_string();
        assert!(fault.contains(words), "{assignment}: {fault}");
    }
    assert!(assign(&["retry={}", "retry.max_attempts=3"]).is_ok());
    for text in ["retry", "=3", ""] {
        assert!(text.parse::<Assignment>().is_err(), "{text}");
    }
}
