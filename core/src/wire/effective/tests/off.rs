//! What says "off" is taken, and changes nothing.

use crate::policy::Policy;
use crate::wire::effective_policy;
use crate::wire::testing::{millis, secs};
use cofferdam_proto::v1;

#[test]
fn off_is_what_happens_anyway() {
    let adaptive = |kind: v1::AdaptiveLimitKind| {
        let limit = v1::AdaptiveLimitPolicy { kind: kind.into(), ..Default::default() };
        v1::IsolationPolicy { adaptive_limit: Some(limit), ..Default::default() }
    };
    let hedge = v1::HedgePolicy { delay: Some(secs(0)), max_extra: Some(1), percentile: 0.0 };
    let rate = v1::RateLimitPolicy { permits: 0, period: Some(secs(1)), burst: 7, max_wait: Some(millis(5)) };
    let cases = [
        v1::IsolationPolicy { classification: Some(v1::ClassificationPolicy::default()), ..Default::default() },
        v1::IsolationPolicy { hedge: Some(hedge), ..Default::default() },
        adaptive(v1::AdaptiveLimitKind::Off),
        adaptive(v1::AdaptiveLimitKind::Unspecified),
        v1::IsolationPolicy { rate_limit: Some(rate), ..Default::default() },
    ];
    for written in cases {
        assert_eq!(effective_policy(&written).unwrap(), Policy::default(), "{written:?}");
    }
}
