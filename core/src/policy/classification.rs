use crate::outcome::Outcome;
use std::ops::RangeInclusive;

/// What counts as success, failure or neither. Neutral wins over failure where a code is in both lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassificationPolicy {
    /// gRPC status codes that are failures. Default UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS,
    /// as linkerd; PERMISSION_DENIED is left out, for it says nothing of a service's health.
    pub grpc_failure_codes: Vec<u32>,
    /// gRPC status codes that say nothing about the service. Default CANCELLED and RESOURCE_EXHAUSTED.
    pub grpc_neutral_codes: Vec<u32>,
    /// HTTP statuses that are failures, within 100 to 599. Default 500, 502 to 504 and 507 to 599, as failsafe-go and
    /// Envoy: a service that does not implement a method or a version is up.
    pub http_failure_statuses: Vec<RangeInclusive<u32>>,
    /// HTTP statuses that say nothing about the service, within 100 to 599. Default 429, and 499, a caller that left.
    pub http_neutral_statuses: Vec<RangeInclusive<u32>>,
}

/// RESOURCE_EXHAUSTED: a service that sheds load is up, but has not recovered.
const RESOURCE_EXHAUSTED: u32 = 8;
/// HTTP's word for the same.
const TOO_MANY_REQUESTS: u32 = 429;

impl Default for ClassificationPolicy {
    fn default() -> Self {
        Self {
            grpc_failure_codes: vec![2, 4, 13, 14, 15],
            grpc_neutral_codes: vec![1, RESOURCE_EXHAUSTED],
            http_failure_statuses: vec![500..=500, 502..=504, 507..=599],
            http_neutral_statuses: vec![TOO_MANY_REQUESTS..=TOO_MANY_REQUESTS, 499..=499],
        }
    }
}

impl ClassificationPolicy {
    /// What a gRPC status code says about the service. A neutral RESOURCE_EXHAUSTED is a failure of a half-open probe:
    /// closing on it would send the full load to a service that just refused some.
    pub fn grpc(&self, code: u32, is_probe: bool) -> Outcome {
        if self.grpc_neutral_codes.contains(&code) {
            if is_probe && code == RESOURCE_EXHAUSTED { Outcome::Failure } else { Outcome::Neutral }
        } else if self.grpc_failure_codes.contains(&code) {
            Outcome::Failure
        } else {
            Outcome::Success
        }
    }

    /// What an HTTP status says about the service. A neutral 429 is a failure of a half-open probe, as
    /// RESOURCE_EXHAUSTED is.
    pub fn http(&self, status: u32, is_probe: bool) -> Outcome {
        let holds = |ranges: &[RangeInclusive<u32>]| ranges.iter().any(|range| range.contains(&status));
        if holds(&self.http_neutral_statuses) {
            if is_probe && status == TOO_MANY_REQUESTS { Outcome::Failure } else { Outcome::Neutral }
        } else if holds(&self.http_failure_statuses) {
            Outcome::Failure
        } else {
            Outcome::Success
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_codes() {
        let policy = ClassificationPolicy::default();
        let failures: Vec<u32> = (0..17).filter(|&code| policy.grpc(code, false) == Outcome::Failure).collect();
        let neutrals: Vec<u32> = (0..17).filter(|&code| policy.grpc(code, false) == Outcome::Neutral).collect();
        assert_eq!((failures, neutrals), (vec![2, 4, 13, 14, 15], vec![1, 8]));
        assert_eq!(policy.grpc(8, true), Outcome::Failure);
        assert_eq!(policy.grpc(1, true), Outcome::Neutral);
    }

    #[test]
    fn default_statuses() {
        let policy = ClassificationPolicy::default();
        let of = |outcome| (100..=599).filter(move |&status| policy.http(status, false) == outcome);
        assert!(of.clone()(Outcome::Failure).eq([500].into_iter().chain(502..=504).chain(507..=599)));
        assert!(of(Outcome::Neutral).eq([429, 499]));
        let policy = ClassificationPolicy::default();
        assert_eq!(policy.http(429, true), Outcome::Failure);
        assert_eq!((policy.http(499, true), policy.http(501, true)), (Outcome::Neutral, Outcome::Success));
    }

    #[test]
    fn neutral_wins_over_failure() {
        let policy = ClassificationPolicy {
            grpc_failure_codes: vec![14],
            grpc_neutral_codes: vec![14],
            http_failure_statuses: vec![400..=599],
            http_neutral_statuses: vec![404..=404],
        };
        assert_eq!(policy.grpc(14, false), Outcome::Neutral);
        assert_eq!(policy.grpc(2, false), Outcome::Success);
        assert_eq!(policy.http(404, true), Outcome::Neutral);
        assert_eq!(policy.http(429, false), Outcome::Failure);
    }
}
