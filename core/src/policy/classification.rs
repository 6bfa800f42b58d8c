use crate::outcome::Outcome;

/// What counts as success, failure or neither. Neutral wins over failure where a code is in both lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassificationPolicy {
    /// gRPC status codes that are failures. Default UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS,
    /// as linkerd; PERMISSION_DENIED is left out, for it says nothing of a service's health.
    pub grpc_failure_codes: Vec<u32>,
    /// gRPC status codes that say nothing about the service. Default CANCELLED and RESOURCE_EXHAUSTED.
    pub grpc_neutral_codes: Vec<u32>,
}

/// RESOURCE_EXHAUSTED: a service that sheds load is up, but has not recovered.
const RESOURCE_EXHAUSTED: u32 = 8;

impl Default for ClassificationPolicy {
    fn default() -> Self {
        Self { grpc_failure_codes: vec![2, 4, 13, 14, 15], grpc_neutral_codes: vec![1, RESOURCE_EXHAUSTED] }
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
    fn neutral_wins_over_failure() {
        let policy = ClassificationPolicy { grpc_failure_codes: vec![14], grpc_neutral_codes: vec![14] };
        assert_eq!(policy.grpc(14, false), Outcome::Neutral);
        assert_eq!(policy.grpc(2, false), Outcome::Success);
    }
}
