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
    /// Error types of the caller's language and what they are; at most 256. The manager's own calls have none. Default
    /// empty.
    pub error_types: Vec<ErrorTypeRule>,
}

/// What an error type of the caller's language says about the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorTypeRule {
    /// The type's name as the language prints it, with or without what it is in: 1 to 256 bytes.
    pub type_name: String,
    /// What it is.
    pub outcome: Outcome,
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
            error_types: Vec::new(),
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

    /// What an error's type says about the service, by the name that the language gives it. A rule is for a type where it
    /// has its name, or the last part of it: that for `UserNotFound` is for `app::users::UserNotFound`, too, and one for
    /// `Wrapped` for `app::Wrapped<app::users::UserNotFound>`. `None`: no rule is for it.
    pub fn error_type(&self, type_name: &str) -> Option<Outcome> {
        let bare = type_name.split('<').next().unwrap_or_default();
        let last = bare.rsplit([':', '.']).next().unwrap_or_default();
        let rules = self.error_types.iter().filter(|rule| [type_name, bare, last].contains(&rule.type_name.as_str()));
        rules.map(|rule| rule.outcome).reduce(Outcome::prevailing)
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
    fn error_types_have_a_long_name_and_a_short_one() {
        let rule = |type_name: &str, outcome| ErrorTypeRule { type_name: type_name.to_owned(), outcome };
        let policy = ClassificationPolicy {
            error_types: vec![
                rule("NotFound", Outcome::Success),
                rule("app::users::NotFound", Outcome::Failure),
                rule("Wrapped", Outcome::Failure),
                rule("app::Wrapped<app::Busy>", Outcome::Neutral),
                rule("Timeout", Outcome::Success),
            ],
            ..ClassificationPolicy::default()
        };
        for (type_name, outcome) in [
            ("NotFound", Some(Outcome::Success)),
            ("app::orders::NotFound", Some(Outcome::Success)),
            ("app::users::NotFound", Some(Outcome::Failure)),
            ("app::Wrapped<app::users::NotFound>", Some(Outcome::Failure)),
            ("app::Wrapped<app::Busy>", Some(Outcome::Neutral)),
            ("java.util.concurrent.Timeout", Some(Outcome::Success)),
            ("app::UserNotFound", None),
            ("alloc::boxed::Box<app::NotFound>", None),
            ("", None),
        ] {
            assert_eq!(policy.error_type(type_name), outcome, "{type_name}");
        }
        assert_eq!(ClassificationPolicy::default().error_type("NotFound"), None);
    }

    #[test]
    fn neutral_wins_over_failure() {
        let policy = ClassificationPolicy {
            grpc_failure_codes: vec![14],
            grpc_neutral_codes: vec![14],
            http_failure_statuses: vec![400..=599],
            http_neutral_statuses: vec![404..=404],
            ..ClassificationPolicy::default()
        };
        assert_eq!(policy.grpc(14, false), Outcome::Neutral);
        assert_eq!(policy.grpc(2, false), Outcome::Success);
        assert_eq!(policy.http(404, true), Outcome::Neutral);
        assert_eq!(policy.http(429, false), Outcome::Failure);
    }
}
