use super::*;
use cofferdam_core::call::Pushback;
use cofferdam_core::policy::PolicySpec;
use std::time::Duration;
use tonic::{Code, ConnectError, Status};

fn judge<E: 'static>(error: &E) -> Verdict {
    judged(error, false, false)
}

fn judged<E: 'static>(error: &E, is_probe: bool, is_idempotent: bool) -> Verdict {
    let policy = PolicySpec::default();
    verdict::<(), E>(Err(error), Context { policy: &policy, is_probe, is_idempotent, error_type: "" })
}

#[derive(Debug, thiserror::Error)]
#[error("while fetching")]
struct Fetching(#[source] Status);

#[derive(Debug, thiserror::Error)]
#[error("while calling")]
struct Calling(#[source] Rejection);

#[test]
fn an_answer_is_a_success() {
    let policy = PolicySpec::default();
    let context = Context { policy: &policy, is_probe: false, is_idempotent: false, error_type: "" };
    assert_eq!(verdict::<_, Status>(Ok(&1), context).outcome, Outcome::Success);
}

#[test]
fn each_grpc_code_says_what_the_policy_says() {
    for number in 0..17 {
        let verdict = judge(&Status::new(Code::from_i32(number), ""));
        let expected = match number {
            2 | 4 | 13 | 14 | 15 => Outcome::Failure,
            1 | 8 => Outcome::Neutral,
            _ => Outcome::Success,
        };
        assert_eq!((verdict.outcome, verdict.is_retryable), (expected, number == 14), "code {number}");
    }
    assert_eq!(judged(&Status::resource_exhausted(""), true, false).outcome, Outcome::Failure);
    assert!(judged(&Status::deadline_exceeded(""), false, true).is_retryable);
}

#[test]
fn a_status_is_found_inside_a_box() {
    let boxed: Box<dyn Error + Send + Sync> = Box::new(Fetching(Status::not_found("")));
    assert_eq!(judge(&boxed).outcome, Outcome::Success);
    let boxed: Box<dyn Error + Send> = Box::new(Status::internal(""));
    assert_eq!((judge(&boxed).outcome, judge(&boxed).is_retryable), (Outcome::Failure, false));
}

#[test]
fn pushback_is_the_services_word() {
    let pushback = |value: &str| {
        let mut status = Status::unavailable("");
        status.metadata_mut().insert("grpc-retry-pushback-ms", value.parse().unwrap());
        judge(&status).pushback
    };
    assert_eq!(pushback("250"), Some(Pushback::After(Duration::from_millis(250))));
    assert_eq!(pushback("-1"), Some(Pushback::Never));
    assert_eq!(pushback("soon"), Some(Pushback::Never));
    let mut twice = Status::unavailable("");
    for value in ["100", "10"] {
        twice.metadata_mut().append("grpc-retry-pushback-ms", value.parse().unwrap());
    }
    assert_eq!(judge(&twice).pushback, Some(Pushback::Never), "as gRPC for Go: two words are none");
    assert_eq!(judge(&Status::unavailable("")).pushback, None);
}

#[test]
fn a_call_that_found_no_connection_has_not_arrived() {
    let mut status = Status::unavailable("");
    assert!(judge(&status).may_have_reached);
    status.set_source(std::sync::Arc::new(ConnectError("no route".into())));
    let verdict = judge(&status);
    assert_eq!((verdict.outcome, verdict.may_have_reached), (Outcome::Failure, false));
    let verdict = judge(&io::Error::from(io::ErrorKind::ConnectionRefused));
    assert_eq!((verdict.outcome, verdict.is_retryable, verdict.may_have_reached), (Outcome::Failure, true, false));
    assert!(judge(&io::Error::from(io::ErrorKind::ConnectionReset)).may_have_reached);
}

/// The rejection of a call within a call is not the outer service's failure, and repeating the outer call would ask the
/// same breaker again.
///
/// Seen in <https://github.com/projectbeskar/virtrigaud/issues/70>,
/// <https://github.com/resilience4j/resilience4j/issues/1065>.
#[test]
fn t37_a_rejection_of_our_own_below_is_neither_counted_nor_retried() {
    let open = Rejection::Open { retry_after: None, by: cofferdam_core::breaker::OpenedBy::Rules };
    let boxed: Box<dyn Error + Send + Sync> = Box::new(Calling(open.clone()));
    for verdict in [judge(&open), judge(&Rejection::BulkheadFull), judge(&boxed)] {
        assert_eq!((verdict.outcome, verdict.is_retryable), (Outcome::Neutral, false));
    }
    assert_eq!(judge(&Rejection::Timeout).outcome, Outcome::Failure, "that service was called");
}

/// The same where the inner call's error is not boxed, as `?` hands it on.
#[test]
fn a_protected_calls_error_within_another_is_what_it_holds() {
    #[derive(Debug, thiserror::Error)]
    #[error("while calling")]
    struct Outer<E: Error + 'static>(#[source] CallError<E>);

    fn open<E>() -> CallError<E> {
        CallError::Open { retry_after: None, by: cofferdam_core::breaker::OpenedBy::Rules }
    }
    fn boxed(error: impl Error + Send + Sync + 'static) -> Box<dyn Error + Send + Sync> {
        Box::new(error)
    }
    let rejected = [
        judge(&open::<Status>()),
        judge(&open::<io::Error>()),
        judge(&boxed(Outer(open::<Status>()))),
        judge(&boxed(Outer(open::<io::Error>()))),
        judge(&Status::from(open::<Status>())),
    ];
    for verdict in rejected {
        assert_eq!((verdict.outcome, verdict.is_retryable), (Outcome::Neutral, false));
    }
    let not_found = || CallError::Inner(Status::not_found(""));
    assert_eq!(judge(&not_found()).outcome, Outcome::Success);
    assert_eq!(judge(&boxed(Outer(not_found()))).outcome, Outcome::Success);
    let refused = CallError::Inner(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(!judge(&refused).may_have_reached);
    let timeout = judge(&CallError::<Status>::Timeout);
    assert_eq!((timeout.outcome, timeout.may_have_reached), (Outcome::Failure, true), "that service was called");
}

/// The same where the inner call's own error is of a type that the SDK has never heard of.
#[test]
fn a_rejection_within_an_error_of_ones_own_is_known_by_its_source() {
    #[derive(Debug, thiserror::Error)]
    #[error("plain")]
    struct Plain;
    #[derive(Debug, thiserror::Error)]
    enum App {
        #[error("users")]
        Users(#[from] CallError<Plain>),
        #[error(transparent)]
        Orders(Failure<Plain>),
    }
    fn outcome<E: Error + 'static>(error: &E) -> (Outcome, bool) {
        let policy = PolicySpec::default();
        let context = Context { policy: &policy, is_probe: false, is_idempotent: false, error_type: "" };
        let verdict = verdict_by_source::<(), _>(Err(error), context);
        (verdict.outcome, verdict.is_retryable)
    }
    let (neutral, failure) = ((Outcome::Neutral, false), (Outcome::Failure, true));
    let failed = |error: CallError<Plain>| Failure { error, receipt: Default::default() };
    assert_eq!(outcome(&App::from(CallError::open(None))), neutral);
    assert_eq!(outcome(&App::Orders(failed(CallError::BulkheadFull))), neutral);
    assert_eq!(outcome(&CallError::<Plain>::Disabled), neutral);
    assert_eq!(outcome(&CallError::Inner(App::from(CallError::open(None)))), neutral);
    assert_eq!(outcome(&App::from(CallError::Inner(Plain))), failure);
    assert_eq!(outcome(&App::from(CallError::Timeout)), failure, "that service was called");
    let boxed = |error: CallError<Plain>| -> Box<dyn Error + Send + Sync> { Box::new(error) };
    assert_eq!(judge(&boxed(CallError::open(None))).outcome, Outcome::Neutral);
    let not_found = Failure { error: CallError::Inner(Status::not_found("")), receipt: Default::default() };
    assert_eq!(outcome(&not_found).0, Outcome::Success, "found behind a failure as behind an error");
}

/// An error that is none itself, and holds one.
#[test]
fn an_error_that_holds_another_is_judged_by_what_the_caller_shows() {
    let policy = PolicySpec::default();
    let context = Context { policy: &policy, is_probe: false, is_idempotent: false, error_type: "" };
    let outcome = |error: anyhow::Error| verdict_by::<(), _>(Err(&error), |error| error.as_ref(), context).outcome;
    assert_eq!(outcome(Status::not_found("").into()), Outcome::Success);
    assert_eq!(outcome(anyhow::Error::from(Status::not_found("")).context("while fetching")), Outcome::Success);
    assert_eq!(outcome(anyhow::Error::from_boxed(CallError::<io::Error>::open(None).boxed())), Outcome::Neutral);
    assert_eq!(outcome(anyhow::anyhow!("disk on fire")), Outcome::Failure);
}

#[test]
fn what_is_too_much_for_a_service_says_so() {
    for number in 0..17 {
        let is_overload = judge(&Status::new(Code::from_i32(number), "")).is_overload;
        assert_eq!(is_overload, [4, 8, 14].contains(&number), "code {number}");
    }
    let of_kind = |kind: io::ErrorKind| judge(&io::Error::from(kind)).is_overload;
    assert!(of_kind(io::ErrorKind::TimedOut) && of_kind(io::ErrorKind::ConnectionRefused));
    assert!(!of_kind(io::ErrorKind::NotFound));
}

#[test]
fn an_error_of_any_type_is_judged_by_its_source_where_that_is_asked_for() {
    let policy = PolicySpec::default();
    let context = Context { policy: &policy, is_probe: false, is_idempotent: false, error_type: "" };
    let by_source = |error: &Fetching| verdict_by_source::<(), _>(Err(error), context);
    let not_found = Fetching(Status::not_found(""));
    assert_eq!(judge(&not_found).outcome, Outcome::Failure, "not asked for");
    assert_eq!(by_source(&not_found).outcome, Outcome::Success);
    let unavailable = by_source(&Fetching(Status::unavailable("")));
    assert_eq!((unavailable.outcome, unavailable.is_retryable), (Outcome::Failure, true));
    let rejected = Calling(Rejection::BulkheadFull);
    assert_eq!(verdict_by_source::<(), _>(Err(&rejected), context).outcome, Outcome::Neutral);
    assert_eq!(verdict_by_source::<_, Fetching>(Ok(&1), context).outcome, Outcome::Success);
}

#[test]
fn any_other_error_is_a_failure_that_may_have_arrived() {
    struct Opaque;
    let verdict = judge(&Opaque);
    assert_eq!((verdict.outcome, verdict.is_retryable, verdict.may_have_reached), (Outcome::Failure, true, true));
}

#[test]
fn the_policy_says_what_an_error_type_is() {
    use cofferdam_core::policy::ErrorTypeRule;

    struct UserNotFound;
    fn outcome<E: 'static>(error: &E, rules: &[(&str, Outcome)]) -> Outcome {
        let mut policy = PolicySpec::default();
        let rule =
            |(name, outcome): &(&str, Outcome)| ErrorTypeRule { type_name: (*name).to_owned(), outcome: *outcome };
        policy.classification.error_types = rules.iter().map(rule).collect();
        let context = Context { policy: &policy, is_probe: false, is_idempotent: false, error_type: "" };
        verdict::<(), E>(Err(error), context).outcome
    }
    let (good, bad, neither) = (Outcome::Success, Outcome::Failure, Outcome::Neutral);
    assert_eq!(outcome(&UserNotFound, &[("UserNotFound", good)]), good);
    assert_eq!(outcome(&UserNotFound, &[(std::any::type_name::<UserNotFound>(), neither)]), neither);
    assert_eq!(outcome(&UserNotFound, &[("Other", good)]), bad);
    let (unavailable, not_found) = (Status::unavailable(""), Status::not_found(""));
    assert_eq!(outcome(&unavailable, &[("Status", good)]), bad, "failure wins over success");
    assert_eq!(outcome(&unavailable, &[("Status", neither)]), neither);
    assert_eq!(outcome(&not_found, &[("Status", bad)]), bad);
    let boxed: Box<dyn Error + Send + Sync> = Box::new(Fetching(Status::unavailable("")));
    assert_eq!(outcome(&boxed, &[("Fetching", neither)]), bad, "its name is hidden in the box");
    assert_eq!(outcome(&boxed, &[("Status", neither)]), neither, "this one the SDK knows");
    assert_eq!(outcome(&io::Error::other("x"), &[("std::io::error::Error", neither)]), neither);
}

#[test]
fn an_outcome_is_a_verdict_in_short() {
    assert!(Outcome::Failure.into_verdict().is_retryable);
    assert!(!Outcome::Neutral.into_verdict().is_retryable && !Outcome::Success.into_verdict().is_retryable);
}
