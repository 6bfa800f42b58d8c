//! What this release does not enforce: refused where it asks for something, taken where it says "off".

use crate::policy::{Policy, ViolationKind};
use crate::wire::effective_policy;
use crate::wire::testing::{cached, millis, secs, step, with_chain};
use cofferdam_proto::v1;
use cofferdam_proto::v1::fallback_step::Strategy;

fn classification(classification: v1::ClassificationPolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { classification: Some(classification), ..Default::default() }
}

fn hedge(hedge: v1::HedgePolicy) -> v1::IsolationPolicy {
    v1::IsolationPolicy { hedge: Some(hedge), ..Default::default() }
}

fn adaptive(kind: v1::AdaptiveLimitKind) -> v1::IsolationPolicy {
    let limit = v1::AdaptiveLimitPolicy { kind: kind.into(), min: Some(1), initial: Some(2), max: Some(3) };
    v1::IsolationPolicy { adaptive_limit: Some(limit), ..Default::default() }
}

fn rate(permits: u32) -> v1::IsolationPolicy {
    let limit = v1::RateLimitPolicy { permits, period: Some(secs(1)), burst: 7, max_wait: Some(millis(5)) };
    v1::IsolationPolicy { rate_limit: Some(limit), ..Default::default() }
}

#[test]
fn what_asks_for_something_is_refused_by_name() {
    let cases = [
        (hedge(v1::HedgePolicy { delay: Some(millis(5)), ..Default::default() }), "hedge.delay"),
        (hedge(v1::HedgePolicy { percentile: 0.95, ..Default::default() }), "hedge.percentile"),
        (adaptive(v1::AdaptiveLimitKind::Gradient2), "adaptive_limit.kind"),
        (adaptive(v1::AdaptiveLimitKind::Aimd), "adaptive_limit.kind"),
        (
            with_chain(vec![step(Strategy::Cached(v1::CachedFallback {
                key_fields: vec!["user_id".to_owned()],
                ..Default::default()
            }))]),
            "fallback.chain[0].cached.key_fields",
        ),
        (
            v1::IsolationPolicy {
                method_overrides: vec![v1::MethodOverride {
                    glob: "*".to_owned(),
                    policy: Some(adaptive(v1::AdaptiveLimitKind::Aimd)),
                    ..Default::default()
                }],
                ..Default::default()
            },
            "method_overrides[0].policy.adaptive_limit.kind",
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
        adaptive(v1::AdaptiveLimitKind::Off),
        adaptive(v1::AdaptiveLimitKind::Unspecified),
        rate(0),
    ];
    for written in cases {
        assert_eq!(effective_policy(&written).unwrap(), Policy::default(), "{written:?}");
    }
    assert!(effective_policy(&with_chain(vec![cached()])).is_ok());
}
