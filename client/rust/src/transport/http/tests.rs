use super::*;
use cofferdam_core::breaker::OpenedBy;
use cofferdam_core::call::Pushback;
use cofferdam_core::policy::PolicySpec;

fn response(status: u16, headers: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

fn judge(response: &Response<()>, is_probe: bool) -> Verdict {
    let policy = PolicySpec::default();
    Inspect::<Request<()>, _>::classify(
        &Http,
        Ok(response),
        Context { policy: &policy, is_probe, is_idempotent: false, error_type: "" },
    )
}

fn is_error(response: &Response<()>) -> bool {
    Inspect::<Request<()>, _>::is_error(&Http, response)
}

#[test]
fn a_grpc_status_counts_before_the_http_status() {
    let unavailable = response(200, &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "5")]);
    let verdict = judge(&unavailable, false);
    assert_eq!((verdict.outcome, verdict.is_retryable, is_error(&unavailable)), (Outcome::Failure, true, true));
    assert_eq!(verdict.pushback, Some(Pushback::After(Duration::from_millis(5))));
    let twice = [("grpc-status", "14"), ("grpc-retry-pushback-ms", "100"), ("grpc-retry-pushback-ms", "10")];
    assert_eq!(judge(&response(200, &twice), false).pushback, Some(Pushback::Never));
    let not_found = response(200, &[("grpc-status", "5")]);
    assert_eq!((judge(&not_found, false).outcome, is_error(&not_found)), (Outcome::Success, true));
    let fine = response(200, &[("grpc-status", "0")]);
    assert_eq!((judge(&fine, false).outcome, is_error(&fine)), (Outcome::Success, false));
}

#[test]
fn http_statuses_say_what_http_says() {
    for (status, outcome, is_retryable) in [
        (200, Outcome::Success, false),
        (404, Outcome::Success, false),
        (429, Outcome::Neutral, false),
        (499, Outcome::Neutral, false),
        (500, Outcome::Failure, false),
        (501, Outcome::Success, false),
        (502, Outcome::Failure, true),
        (503, Outcome::Failure, true),
        (504, Outcome::Failure, true),
    ] {
        let verdict = judge(&response(status, &[]), false);
        assert_eq!((verdict.outcome, verdict.is_retryable), (outcome, is_retryable), "{status}");
    }
    assert_eq!(judge(&response(429, &[]), true).outcome, Outcome::Failure);
    let busy = judge(&response(503, &[("retry-after", "3")]), false);
    assert_eq!(busy.pushback, Some(Pushback::After(Duration::from_secs(3))));
    let dated = judge(&response(503, &[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), false);
    assert_eq!(dated.pushback, Some(Pushback::After(Duration::ZERO)));
}

#[test]
fn the_policy_says_what_an_http_status_is() {
    let mut policy = PolicySpec::default();
    policy.classification.http_failure_statuses = vec![404..=404, 503..=503];
    policy.classification.http_neutral_statuses = vec![502..=503];
    let context = Context { policy: &policy, is_probe: false, is_idempotent: true, error_type: "" };
    let judge = |status| {
        let verdict = Inspect::<Request<()>, _>::classify(&Http, Ok(&response(status, &[])), context);
        (verdict.outcome, verdict.is_retryable)
    };
    assert_eq!([404, 500].map(judge), [(Outcome::Failure, false), (Outcome::Success, false)]);
    assert_eq!([502, 503].map(judge), [(Outcome::Neutral, false); 2]);
    assert!(is_error(&response(404, &[])) && !is_error(&response(302, &[])));
}

#[test]
fn a_grpc_service_is_told_the_time_left_of_what_the_caller_has() {
    let tell = |headers: &[(&'static str, &'static str)], remaining| {
        let mut request = Request::post("/svc/Method");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        Inspect::<_, Response<()>>::tell_remaining(&Http, &mut request, remaining);
        request.headers().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned())
    };
    let grpc = ("content-type", "application/grpc");
    let second = Duration::from_secs(1);
    assert_eq!(tell(&[grpc], second).as_deref(), Some("1001m"));
    assert_eq!(tell(&[grpc, ("grpc-timeout", "7S")], second).as_deref(), Some("1001m"));
    assert_eq!(tell(&[("content-type", "application/json")], second), None);
    assert_eq!(tell(&[], second), None);
    let limit = |kind, timeout| {
        let request = Request::post("/svc/Method").header("content-type", kind).header("grpc-timeout", timeout);
        Inspect::<_, Response<()>>::timeout(&Http, &request.body(()).unwrap())
    };
    assert_eq!(limit("application/grpc+proto", "7S"), Some(7 * second));
    assert_eq!([limit("application/grpc", "soon"), limit("text/plain", "7S")], [None; 2]);
}

#[test]
fn a_request_is_its_path_and_what_http_says_of_its_method() {
    let inspect = |request: &Request<()>| {
        let is_idempotent = Inspect::<_, Response<()>>::is_idempotent(&Http, request);
        (Inspect::<_, Response<()>>::method(&Http, request), is_idempotent)
    };
    let get = Request::get("http://a/users?id=1").body(()).unwrap();
    assert_eq!(inspect(&get), ("/users".to_owned(), true));
    let post = Request::post("/svc/Method").body(()).unwrap();
    assert_eq!(inspect(&post), ("/svc/Method".to_owned(), false));
}

#[test]
fn tonics_own_types_are_known_and_others_are_not() {
    let tonic = Request::post("/svc/Method").body(tonic::body::Body::empty()).unwrap();
    assert_eq!(Inspect::<_, TonicResponse>::method(&Auto, &tonic), "/svc/Method");
    let other = Request::post("/svc/Method").body(()).unwrap();
    assert_eq!(Inspect::<_, TonicResponse>::method(&Auto, &other), "");
    let failed = Response::builder().status(503).body(tonic::body::Body::empty()).unwrap();
    assert!(Inspect::<TonicRequest, _>::is_error(&Auto, &failed));
    assert!(!Inspect::<TonicRequest, _>::is_error(&Auto, &response(503, &[])));
}

#[test]
fn verdicts_have_a_status_of_their_own() {
    let code = |rejection: Rejection| {
        let status = status_of_rejection("users", &rejection);
        let status = status.downcast::<Status>().unwrap();
        assert!(status.message().starts_with("users: "), "{}", status.message());
        status.code()
    };
    assert_eq!(code(Rejection::Open { retry_after: None, by: OpenedBy::Rules }), Code::Unavailable);
    assert_eq!(code(Rejection::Disabled), Code::Unavailable);
    assert_eq!(code(Rejection::Timeout), Code::DeadlineExceeded);
    assert_eq!(code(Rejection::DeadlineSpent), Code::DeadlineExceeded);
    assert_eq!(code(Rejection::BulkheadFull), Code::ResourceExhausted);
    assert_eq!(code(Rejection::AdaptiveLimitReached), Code::ResourceExhausted);
    assert_eq!(code(Rejection::RateLimited { retry_after: Duration::ZERO }), Code::ResourceExhausted);
}
