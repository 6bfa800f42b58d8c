use super::*;
use serde_json::json;

/// What is registered, and what is said about it.
fn imported(source: Source, value: Value, service: Option<&str>) -> (Vec<v1::RegisterServiceRequest>, Vec<String>) {
    let imports = convert(source, value, service).unwrap();
    let notes = imports.iter().flat_map(|import| import.notes.clone()).collect();
    (imports.into_iter().map(|import| request(import).unwrap()).collect(), notes)
}

fn one(source: Source, value: Value) -> (Value, Vec<String>) {
    let (requests, notes) = imported(source, value, Some("payments"));
    assert_eq!(requests.len(), 1);
    let message = crate::message::dynamic(&requests[0]).unwrap();
    (serde_json::to_value(message).unwrap()["policy"].clone(), notes)
}

/// C12 to C14: the keys, strategies and values of the Go manager's documents, durations in nanoseconds and as text.
#[test]
fn c13_the_json_of_the_go_manager_is_taken_verbatim() {
    let (policy, notes) = one(
        Source::SeedJson,
        json!({
            "enabled": true, "strategy": "static", "max_retries": 3, "retry_delay": 1_000_000_000, "timeout": "30s",
            "circuit_breaker": true, "fallback_data": {"status": "fallback", "data": "static fallback data"},
        }),
    );
    let payload = "eyJkYXRhIjoic3RhdGljIGZhbGxiYWNrIGRhdGEiLCJzdGF0dXMiOiJmYWxsYmFjayJ9";
    let expected = json!({
        "level": "ISOLATION_LEVEL_ENHANCED",
        "timeout": {"callTimeout": "30s"},
        "retry": {"maxAttempts": 4, "initialBackoff": "1s"},
        "fallback": {"enabled": true, "chain": [{"static": {"payload": payload, "contentType": "application/json"}}]},
    });
    assert_eq!((policy, notes), (expected, vec![]));

    let data = json!({"alternative_service": "backup-service", "alternative_method": "getData"});
    let (policy, _) = one(Source::SeedJson, json!({"strategy": "alternative", "fallback_data": data}));
    let step = json!({"alternative": {"service": "backup-service", "method": "getData"}});
    assert_eq!(policy["fallback"]["chain"], json!([step]));
    let data = json!({"degraded_features": ["basic_functionality"]});
    let (policy, _) = one(Source::SeedJson, json!({"strategy": "degraded", "fallback_data": data, "colour": 1}));
    assert_eq!(policy["fallback"]["chain"], json!([{"degraded": {"features": ["basic_functionality"]}}]));
    let (requests, _) = imported(Source::SeedJson, json!({"a": {"strategy": "cached"}, "b": {"timeout": "1s"}}), None);
    assert_eq!(requests.len(), 2);
}

#[test]
fn opossums_defaults_come_along() {
    let (policy, notes) =
        one(Source::Opossum, json!({"timeout": 3000, "errorThresholdPercentage": 40, "cache": true, "capacity": 7}));
    assert_eq!(policy["level"], "ISOLATION_LEVEL_FULL");
    assert_eq!(policy["timeout"]["callTimeout"], "3s");
    assert_eq!(policy["circuitBreaker"]["failureRate"], 0.400_001, "above 0.4");
    assert_eq!(policy["circuitBreaker"]["openDuration"], "30s");
    assert_eq!(policy["circuitBreaker"]["consecutiveFailures"], 0);
    assert_eq!(policy["retry"]["maxAttempts"], 1);
    assert_eq!(policy["bulkhead"]["maxConcurrent"], 7);
    let above = "errorThresholdPercentage 40 is opened above: written as a failureRate of 0.400001";
    assert_eq!(notes, ["cache has no counterpart and is left out", above]);
    let (policy, _) = one(Source::Opossum, json!({"timeout": false, "enabled": false}));
    assert_eq!(
        (&policy["timeout"]["callTimeout"], &policy["circuitBreaker"]["mode"]),
        (&json!("0s"), &json!("BREAKER_MODE_DISABLED"))
    );
}

/// Before, a misspelt option was told as one that has no counterpart, which it has.
#[test]
fn a_misspelt_option_is_told_with_the_one_that_was_meant() {
    let (_, notes) =
        one(Source::Opossum, json!({"timout": 3000, "volumeTreshold": 4, "cacheTTL": 1, "errorFilter": 0}));
    let said = |name: &str| notes.iter().find(|note| note.starts_with(name)).unwrap().as_str();
    let left_out = "has no counterpart and is left out";
    assert_eq!(said("timout"), format!("timout {left_out}; did you mean timeout?"));
    assert_eq!(said("volumeTreshold"), format!("volumeTreshold {left_out}; did you mean volumeThreshold?"));
    assert_eq!(said("cacheTTL"), format!("cacheTTL {left_out}"));
    assert_eq!(said("errorFilter"), format!("errorFilter {left_out}"));
}

#[test]
fn instances_of_resilience4j_are_services() {
    let config = json!({"resilience4j": {
        "circuitbreaker": {
            "configs": {"default": {"sliding-window-size": 20, "minimumNumberOfCalls": 5}, "slow": {"baseConfig": "default", "waitDurationInOpenState": "10s"}},
            "instances": {"backendA": {"baseConfig": "slow", "failureRateThreshold": 60}, "backend-b": {"slidingWindowType": "TIME_BASED"}},
        },
        "retry": {"instances": {"backend-b": {"maxAttempts": 4, "waitDuration": "PT0.5S", "enableExponentialBackoff": true}}},
    }});
    let imports = convert(Source::Resilience4j, config, None).unwrap();
    let names: Vec<_> = imports.iter().map(|import| import.service.as_str()).collect();
    assert_eq!(names, ["backend-b", "backenda"]);
    assert_eq!(imports[1].notes.last().unwrap(), "it is called backendA there, which is no name of a service");
    let breaker = &imports[1].policy["circuitBreaker"];
    assert_eq!((&breaker["failureRate"], &breaker["openDuration"]), (&json!(0.6), &json!("10s")));
    assert_eq!((&breaker["countWindow"]["size"], &breaker["minimumCalls"]), (&json!(20), &json!(5)));
    assert_eq!(imports[0].policy["circuitBreaker"]["timeWindow"]["length"], "20s");
    assert_eq!(imports[0].policy["retry"]["initialBackoff"], "500ms");
    assert!(request(imports[0].clone()).is_ok());
    assert!(request(imports[1].clone()).is_ok());
}

#[test]
fn rules_of_sentinel_are_put_together_by_resource() {
    let rules = json!([
        {"resource": "GET:/orders/{id}", "grade": 0, "count": 200, "timeWindow": 10, "slowRatioThreshold": 0.6, "statIntervalMs": 10000},
        {"resource": "GET:/orders/{id}", "grade": 1, "count": 50, "limitApp": "default", "controlBehavior": 0},
        {"resource": "payments", "grade": 2, "count": 5, "timeWindow": 60},
    ]);
    let (requests, notes) = imported(Source::Sentinel, rules, None);
    assert_eq!(requests.len(), 2);
    let policy = requests[0].policy.clone().unwrap();
    assert_eq!(requests[0].service.clone().unwrap().name, "get.orders.id");
    assert_eq!(policy.level(), v1::IsolationLevel::Full);
    assert_eq!(policy.rate_limit.unwrap().permits, 50);
    assert_eq!(policy.circuit_breaker.unwrap().slow_call_rate, Some(0.600_001), "above 0.6");
    assert_eq!(requests[1].policy.clone().unwrap().circuit_breaker.unwrap().failure_count, Some(6), "above 5");
    assert_eq!(notes[0], "the resource is GET:/orders/{id}, which is no name of a service");
}

/// Before, the second rule overwrote the first, other rules of the file vanished, and half an exception was none.
#[test]
fn no_rule_of_sentinel_goes_without_a_word() {
    let degrade = |grade: u32, count: f64, window: u32| json!({"resource": "a", "grade": grade, "count": count, "timeWindow": window});
    let rules = json!({
        "flowRules": [{"resource": "a", "grade": 1, "count": 50}, {"resource": "a", "grade": 1, "count": 5}],
        "degradeRules": [degrade(1, 0.5, 10), degrade(1, 0.1, 10), degrade(2, 7.0, 20)],
        "systemRules": [{"qps": 10}],
        "paramFlowRules": [],
    });
    let (requests, notes) = imported(Source::Sentinel, rules, None);
    let policy = requests[0].policy.clone().unwrap();
    let breaker = policy.circuit_breaker.unwrap();
    assert_eq!(policy.rate_limit.unwrap().permits, 50);
    assert_eq!(
        (breaker.failure_rate, breaker.failure_count, breaker.slow_call_rate),
        (Some(0.500_001), Some(8), Some(0.0))
    );
    assert_eq!(breaker.open_duration.unwrap().seconds, 10);
    for words in [
        "a second flow rule of grade 1 is left out",
        "a second degrade rule of grade 1 is left out",
        "openDuration \"20s\" of a second degrade rule is left out",
        "systemRules of the file has no counterpart",
        "paramFlowRules of the file has no counterpart",
    ] {
        assert!(notes.iter().any(|note| note.starts_with(words)), "no {words:?} in {notes:?}");
    }
    for (rules, words) in [
        (json!([degrade(2, 0.5, 10)]), "[0].count: must be a whole number where grade is 2"),
        (json!({"flowRules": {"resource": "a"}}), "flowRules: must be a list"),
    ] {
        let fault = convert(Source::Sentinel, rules, None).unwrap_err().to_string();
        assert!(fault.starts_with(words), "{fault}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_at_its_place() {
    for (source, value, words) in [
        (
            Source::SeedJson,
            json!({"strategy": "magic"}),
            "strategy: must be one of static, cached, alternative, degraded",
        ),
        (Source::SeedJson, json!({"strategy": "cached", "timeout": "soon"}), "timeout: must be a time"),
        (Source::SeedJson, json!([]), "must be an object"),
        (Source::Opossum, json!({"errorThresholdPercentage": "half"}), "errorThresholdPercentage: must be a number"),
        (Source::Sentinel, json!([{"grade": 1}]), "[0].resource: must be set"),
        (Source::Sentinel, json!([]), "has no rules"),
        (Source::Resilience4j, json!({"spring": {}}), "has no instances"),
        (
            Source::Resilience4j,
            json!({"retry": {"instances": {"a": {"baseConfig": "x"}}}}),
            "retry.instances.a.baseConfig: there is no config x",
        ),
    ] {
        let fault = convert(source, value.clone(), Some("payments")).unwrap_err().to_string();
        assert!(fault.contains(words), "{value}: {fault}");
    }
    assert!(
        convert(Source::SeedJson, json!({"strategy": "cached"}), None)
            .is_err_and(|fault| fault.what.contains("--service"))
    );
    let long = convert(Source::SeedJson, json!({"max_retries": 99}), Some("payments")).unwrap();
    assert!(request(long[0].clone()).is_err_and(|fault| fault.path == "payments: policy.retry.max_attempts"));
}

/// Sentinel opens above its numbers, and a policy at them. Before, a rule imported opened one failure sooner.
#[test]
fn what_sentinel_opens_above_is_written_as_what_a_policy_opens_at() {
    let breaker = |rule: Value| {
        let (requests, notes) = imported(Source::Sentinel, json!([rule]), None);
        (effective_policy(requests[0].policy.as_ref().unwrap()).unwrap().breaker.clone(), notes)
    };
    let rule = |grade: u32, count: f64| json!({"resource": "a", "grade": grade, "count": count, "timeWindow": 5});
    let (counted, notes) = breaker(rule(2, 5.0));
    assert_eq!((counted.failure_count, counted.failure_rate), (6, 0.0));
    assert_eq!(notes, ["a rule of grade 2 opens above its count of 5: written as a failureCount of 6"]);
    let (shared, notes) = breaker(rule(1, 0.5));
    assert_eq!((shared.failure_count, shared.failure_rate), (0, 0.500_001));
    assert_eq!(notes, ["a rule of grade 1 opens above its count of 0.5: written as a failureRate of 0.500001"]);
    let (never, notes) = breaker(rule(1, 1.0));
    assert_eq!((never.failure_count, never.failure_rate), (0, 0.0));
    assert_eq!(
        notes,
        ["count 1 of grade 1 never opens, for no share is above it: written as a failureRate of 0, which is off"]
    );
    let mut slow = rule(0, 200.0);
    slow["slowRatioThreshold"] = json!(0.5);
    let (slow, _) = breaker(slow);
    assert_eq!((slow.slow_call_duration, slow.slow_call_rate), (std::time::Duration::from_millis(201), 0.500_001));
    // A share of one is the exception: all calls are enough.
    let (all, notes) = breaker(rule(0, 200.0));
    assert_eq!((all.slow_call_rate, notes.len()), (1.0, 1), "{notes:?}");
}

/// Before, one of the two was taken, whichever came first in a map.
#[test]
fn two_spellings_of_one_option_are_refused() {
    let options = json!({"slidingWindowSize": 20, "sliding-window-size": 30});
    let config = json!({"resilience4j": {"circuitbreaker": {"instances": {"a": options}}}});
    let fault = convert(Source::Resilience4j, config, None).unwrap_err().to_string();
    let words = "circuitbreaker.instances.a: sliding-window-size and slidingWindowSize are one option: say it once";
    assert_eq!(fault, words);
    let modules = json!({"retry": {"instances": {}}, "Retry": {"instances": {"a": {}}}});
    let fault = convert(Source::Resilience4j, json!({"resilience4j": modules}), None).unwrap_err().to_string();
    assert_eq!(fault, "Retry and retry are one option: say it once");
}

/// Before, what allowed nothing allowed all, and a breaker that opens at any exception never opened.
#[test]
fn a_count_of_zero_is_not_the_same_as_no_rule() {
    let policy = |rules: Value| {
        let (requests, notes) = imported(Source::Sentinel, rules, None);
        (effective_policy(requests[0].policy.as_ref().unwrap()).unwrap(), notes)
    };
    for grade in [0, 1] {
        let (policy, notes) = policy(json!([{"resource": "a", "grade": grade, "count": 0}]));
        assert_eq!(policy.breaker.mode, cofferdam_core::policy::BreakerMode::ForcedOpen);
        assert_eq!(notes, ["count 0 lets no call through: written as a breaker that is forced open"]);
    }
    for grade in [1, 2] {
        let (policy, notes) = policy(json!([{"resource": "a", "grade": grade, "count": 0, "timeWindow": 5}]));
        assert_eq!((policy.breaker.failure_count, policy.breaker.failure_rate), (1, 0.0));
        assert!(notes.len() == 1 && notes[0].contains("opens at the first exception"), "{notes:?}");
    }
    let slow = json!([{"resource": "a", "grade": 0, "count": 0, "timeWindow": 5, "slowRatioThreshold": 0}]);
    let (policy, notes) = policy(slow);
    assert_eq!(policy.breaker.slow_call_duration, std::time::Duration::from_millis(1));
    assert!(policy.breaker.slow_call_rate > 0.0 && notes.len() == 2, "{notes:?}");
}

/// It opens above its number. Before, what never opened there opened here when all calls failed.
#[test]
fn a_share_that_opossum_opens_above_and_nobody_reaches_is_off() {
    for percent in [100, 250] {
        let (policy, notes) = one(Source::Opossum, json!({"errorThresholdPercentage": percent}));
        assert_eq!(policy["circuitBreaker"]["failureRate"], 0.0);
        assert!(
            notes[0].ends_with("never opens, for no share is above it: written as a failureRate of 0, which is off")
        );
    }
    let (policy, notes) = one(Source::Opossum, json!({"errorThresholdPercentage": 0}));
    assert_eq!((&policy["circuitBreaker"]["consecutiveFailures"], notes.len()), (&json!(1), 1));
}

/// Before, one failed probe of three opened the breaker again.
#[test]
fn as_many_probes_may_fail_as_in_resilience4j() {
    let breaker = |probes: u32, percent: f64| {
        let options = json!({"permittedNumberOfCallsInHalfOpenState": probes, "failureRateThreshold": percent});
        let config = json!({"circuitbreaker": {"instances": {"a": options}}});
        let import = convert(Source::Resilience4j, config, None).unwrap().remove(0);
        let policy = request(import.clone()).unwrap().policy.unwrap();
        (policy.circuit_breaker.unwrap().half_open_allowed_failures, import.notes.len())
    };
    // Of each, as many as stay below the threshold.
    for (probes, percent, allowed) in
        [(3, 50.0, 1), (10, 50.0, 4), (10, 30.0, 2), (4, 100.0, 3), (1, 50.0, 0), (5, 1.0, 0)]
    {
        assert_eq!(breaker(probes, percent), (Some(allowed), usize::from(allowed > 0)), "{probes} at {percent} %");
    }
}

/// Before, its own default was refused.
#[test]
fn opossums_capacity_without_a_bound_is_no_bulkhead() {
    let capacity = |capacity: Value| {
        let (policy, notes) = one(Source::Opossum, json!({"capacity": capacity}));
        let said = notes.iter().filter(|note| note.starts_with("capacity")).count();
        (policy["bulkhead"].clone(), policy["level"].clone(), said)
    };
    assert_eq!(capacity(json!(9_007_199_254_740_991_u64)), (Value::Null, json!("ISOLATION_LEVEL_ENHANCED"), 0));
    assert_eq!(capacity(json!(100_001)), (Value::Null, json!("ISOLATION_LEVEL_ENHANCED"), 1));
    assert_eq!(capacity(json!(100_000)).0, json!({"maxConcurrent": 100_000}));
    assert!(convert(Source::Opossum, json!({"capacity": 1.5}), Some("a")).is_err());
}

/// Before, `max_retries` of a document without a breaker was written, and not in force.
#[test]
fn retries_of_the_go_manager_are_in_force() {
    let (policy, notes) = one(
        Source::SeedJson,
        json!({
            "enabled": true, "strategy": "cached", "max_retries": 5, "retry_delay": 2_000_000_000, "timeout": 60_000_000_000_u64,
            "circuit_breaker": false,
        }),
    );
    assert_eq!(policy["level"], "ISOLATION_LEVEL_ENHANCED");
    assert_eq!(policy["retry"], json!({"maxAttempts": 6, "initialBackoff": "2s"}));
    assert_eq!(policy["circuitBreaker"]["mode"], "BREAKER_MODE_DISABLED");
    assert_eq!(notes, ["circuit_breaker false is written as a breaker that is switched off"]);
    let zeros = json!({"strategy": "static", "max_retries": 0, "timeout": 0, "circuit_breaker": false});
    let (policy, notes) = one(Source::SeedJson, zeros);
    assert_eq!((&policy["level"], &policy["timeout"]["callTimeout"]), (&json!("ISOLATION_LEVEL_BASIC"), &json!("0s")));
    assert_eq!(notes[0], "timeout 0 is written as no limit of our own");
    let (_, notes) = one(Source::SeedJson, json!({"strategy": "cached", "level": "basic", "max_retries": 5}));
    assert!(notes[0].ends_with("not in force at level basic, but from enhanced"), "{notes:?}");
}

/// Before, it was refused: dots were no levels, and several documents were too many.
#[test]
fn resilience4j_is_taken_as_spring_takes_it() {
    let config = json!([
        {"server.port": 8080, "resilience4j.circuitbreaker": {
            "configs.default": {"slidingWindowSize": 20},
            "instances.backendA.failureRateThreshold": 60,
            "instances": {"backendA": {
                "enableExponentialBackoff": true, "exponentialBackoffMultiplier": 2,
                "exponentialMaxWaitDurationInOpenState": "10m", "recordExceptions": ["a.B"], "ignoreExceptions": "c.D, e.F",
                "writableStackTraceEnabled": true,
            }},
        }},
        {"resilience4j.timelimiter.instances.backendA.timeoutDuration": "2s"},
        {"spring.config.activate.on-profile": "test", "resilience4j.retry.instances.b.maxAttempts": 9},
    ]);
    let imports = convert(Source::Resilience4j, config, None).unwrap();
    assert_eq!(imports.len(), 1);
    let policy = request(imports[0].clone()).unwrap().policy.unwrap();
    let breaker = policy.circuit_breaker.unwrap();
    assert_eq!((breaker.failure_rate, breaker.open_backoff_multiplier), (Some(0.6), Some(2.0)));
    assert_eq!(breaker.max_open_duration.unwrap().seconds, 600);
    let types: Vec<_> = policy
        .classification
        .unwrap()
        .error_types
        .into_iter()
        .map(|rule| (rule.type_name.clone(), rule.outcome()))
        .collect();
    let (failure, neutral) = (v1::OutcomeClass::Failure, v1::OutcomeClass::Neutral);
    assert_eq!(types, [("a.B".to_owned(), failure), ("c.D".to_owned(), neutral), ("e.F".to_owned(), neutral)]);
    // Before, it was the whole call's, whose retries it does not bound there.
    let timeout = policy.timeout.unwrap();
    assert_eq!((timeout.attempt_timeout.unwrap().seconds, timeout.call_timeout.unwrap().seconds), (2, 0));
    let notes = &imports[0].notes;
    assert!(notes.contains(&"writableStackTraceEnabled has no counterpart and is left out".to_owned()), "{notes:?}");
    assert!(notes.contains(&"the document of profile \"test\" is left out".to_owned()), "{notes:?}");
    assert!(notes.iter().any(|note| note.starts_with("recordExceptions are failures here")), "{notes:?}");
}

/// Before, two of them were merged, or became two documents that `apply` refused.
#[test]
fn two_names_that_would_be_one_service_are_refused() {
    let config = json!({"retry": {"instances": {"backendA": {}, "backenda": {}}}});
    let fault = convert(Source::Resilience4j, config, None).unwrap_err().to_string();
    assert!(fault.starts_with("backendA and backenda would both be the service backenda: "), "{fault}");
    let rules = json!([{"resource": "GET:/a", "count": 1}, {"resource": "GET:/a", "grade": 0, "count": 1}, {"resource": "get/a", "count": 2}]);
    let fault = convert(Source::Sentinel, rules, None).unwrap_err().to_string();
    assert!(fault.starts_with("[2].resource: GET:/a and get/a would both be the service get.a: "), "{fault}");
}

/// Before, it was said that there are no instances, or that a text is no time.
#[test]
fn properties_and_placeholders_are_called_what_they_are() {
    let text = json!(["resilience4j.retry.instances.a.maxAttempts=3 b.c=4"]);
    assert_eq!(convert(Source::Resilience4j, text, None).unwrap_err().to_string(), PROPERTIES);
    let options = json!({"waitDuration": "${WAIT:3s}"});
    let fault = convert(Source::Resilience4j, json!({"retry": {"instances": {"a": options}}}), None).unwrap_err();
    let words = "must be a time, and is \"${WAIT:3s}\": nothing fills in a placeholder here, so write its value";
    assert_eq!(fault.what, words);
}
