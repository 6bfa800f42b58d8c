//! What this release does not enforce: refused where it asks for something, taken where it says "off".

use crate::policy::{Policy, ViolationKind};
use crate::wire::effective_policy;
use crate::wire::testing::{cached, millis, secs, with_chain};
use cofferdam_proto::v1;

fn classification(classification: v1::ClassificationPolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { classification: Some(classification), ..Default::default() }
}

fn hedge(hedge: v1::HedgePolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { hedge: Some(hedge), ..Default::default() }
}

fn breaker(section: v1::CircuitBreakerPolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { circuit_breaker: Some(section), ..Default::default() }
}

fn rate(permits: u32) -> v1::IsolationPolicy {
    let limit = v1::RateLimitPolicy { permits, period: Some(secs(1)), burst: 7, max_wait: Some(millis(5)) };
    v1::IsolationPolicy { rate_limit: Some(limit), ..Default::default() }
}

#[test]
fn what_asks_for_something_is_refused_by_name() {
    let cases = [
        (
            breaker(v1::CircuitBreakerPolicy {
                mode_until: Some(prost_types::Timestamp::default()),
                ..Default::default()
            }),
            "circuit_breaker.mode_until",
        ),
        (hedge(v1::HedgePolicy { delay: Some(millis(5)), ..Default::default() }), "hedge.delay"),
        (hedge(v1::HedgePolicy { percentile: 0.95, ..Default::default() }), "hedge.percentile"),
        (
            v1::IsolationPolicy {
                method_overrides: vec![v1::MethodOverride {
                    glob: "*".to_owned(),
                    policy: Some(hedge(v1::HedgePolicy { percentile: 0.95, ..Default::default() })),
                    ..Default::default()
                }],
                ..Default::default()
            },
            "method_overrides[0].policy.hedge.percentile",
        ),
    ];
    for (written, path) in cases {
        let invalid = effective_policy(&written).unwrap_err();
        let [violation] = invalid.violations() else { panic!("{path}: {invalid}") };
        assert_eq!((violation.path.as_str(), violation.kind), (path, ViolationKind::NotInForce));
    }
}

#[test]
fn off_is_what_happens_anyway() {
    let cases = [
        classification(v1::ClassificationPolicy::default()),
        hedge(v1::HedgePolicy { delay: Some(secs(0)), max_extra: Some(4), percentile: 0.0 }),
        rate(0),
    ];
    for written in cases {
        assert_eq!(effective_policy(&written).unwrap(), Policy::default(), "{written:?}");
    }
    assert!(effective_policy(&with_chain(vec![cached()])).is_ok());
}
