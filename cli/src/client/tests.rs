use super::*;
use cofferdam_proto::v1;
use std::collections::HashMap;
use tonic_health::pb::HealthCheckRequest;
use tonic_types::{ErrorDetails, StatusExt as _};

fn refusal(status: &Status) -> Refusal {
    Refusal::of("SetIsolationLevel", "shop/pay".to_owned(), status)
}

#[tokio::test]
async fn an_address_is_a_url_or_host_and_port() {
    for (server, url) in
        [("127.0.0.1:7420", "http://127.0.0.1:7420"), ("http://m:1", "http://m:1"), ("http://m:1/", "http://m:1/")]
    {
        assert_eq!(Client::new(server, "a", Patience::Each(Duration::ZERO)).unwrap().server(), url);
    }
    for server in [
        "",
        "https://m:1",
        "ftp://m:1",
        "http://",
        "a b",
        "http://m:port",
        "m",
        "http://m:1/foo",
        "http://m:1?a=b",
        "http://u:pw@m:1",
    ] {
        let error = Client::new(server, "a", Patience::Each(Duration::ZERO)).unwrap_err().to_string();
        assert!(error.contains("\ntry: --server"), "{server}: {error}");
    }
}

#[test]
fn who_asks_is_told_in_what_metadata_can_hold() {
    assert_eq!(as_metadata("jos\u{e9}@host\n"), "jos?@host?");
    assert_eq!(as_metadata(&"a".repeat(500)).len(), MAX_ACTOR_BYTES);
}

#[test]
fn a_refusal_names_each_field_on_a_line_of_its_own() {
    let mut details = ErrorDetails::with_error_info("INVALID_FIELD", "cofferdam", HashMap::new());
    details.add_bad_request_violation("policy.retry.max_attempts", "must be at most 10");
    details.add_bad_request_violation("", "is too large");
    let status = Status::with_error_details(Code::InvalidArgument, "bad", details);
    assert_eq!(
        refusal(&status).to_string(),
        "SetIsolationLevel was refused: 2 fields are wrong\n  policy.retry.max_attempts: must be at most 10\n  the request: is too large\ntry: the same with what it says, or --help"
    );
}

#[test]
fn a_name_that_is_unknown_comes_with_the_nearest_and_what_lists_them() {
    let metadata = HashMap::from([
        ("namespace".to_owned(), "default".to_owned()),
        ("nearest".to_owned(), "payments,payroll".to_owned()),
    ]);
    let details = ErrorDetails::with_error_info("SERVICE_NOT_FOUND", "cofferdam", metadata);
    let refusal = refusal(&Status::with_error_details(Code::NotFound, "no service paymnets", details));
    assert_eq!(refusal.nearest(), Some("payments"));
    assert_eq!(refusal.to_string(), "no service paymnets\ntry: cofferdam get services -n default");
}

#[test]
fn only_what_is_harmless_is_made_twice() {
    let named = v1::SetIsolationLevelRequest { request_id: "a".into(), ..Default::default() };
    assert!(named.is_repeatable() && v1::GetIsolationStatsRequest::default().is_repeatable());
    assert!(!v1::SetIsolationLevelRequest::default().is_repeatable());
    assert!(!v1::ExecuteWithIsolationRequest::default().is_repeatable());
}

/// Before, some had no line that begins with `try:`.
#[test]
fn every_refusal_says_what_mends_it() {
    for (code, reason, mend) in [
        (Code::NotFound, "HOLD_NOT_FOUND", "try: cofferdam describe service shop/pay, which shows its holds"),
        (
            Code::ResourceExhausted,
            "QUOTA_EXCEEDED",
            "try: cofferdam describe service shop/pay, which shows what it has",
        ),
        (Code::NotFound, "REVISION_UNKNOWN", "try: cofferdam history shop/pay, which lists its revisions"),
        (Code::Unavailable, "", "try: cofferdam check"),
        (Code::Unimplemented, "", "try: cofferdam version (the manager may be of another release)"),
    ] {
        let details = ErrorDetails::with_error_info(reason, "cofferdam", HashMap::new());
        let told = refusal(&Status::with_error_details(code, "no", details)).to_string();
        assert_eq!(told, format!("no\n{mend}"), "{reason}");
    }
}

/// Before, an upstream that `exec` called could clear the operator's screen, and write lines that looked like ours.
#[test]
fn what_a_refusal_says_is_nothing_for_a_terminal_to_obey() {
    let evil = "\u{1b}[2Jdown\nok   all fine\u{202e}";
    let metadata = HashMap::from([("service".to_owned(), evil.to_owned())]);
    let mut details = ErrorDetails::with_error_info("INVALID_FIELD", "cofferdam", metadata);
    let bare = refusal(&Status::with_error_details(Code::Unknown, evil, details.clone()));
    details.add_bad_request_violation(evil, evil);
    let told = refusal(&Status::with_error_details(Code::Unknown, evil, details));
    let shown = r"\u{1b}[2Jdown\nok   all fine\u{202e}";
    assert_eq!(bare.to_string(), format!("{shown}\ntry: cofferdam check"));
    assert!(told.to_string().contains(&format!("\n  {shown}: {shown}\n")), "{told}");
    assert_eq!(told.metadata["service"], shown);
}

/// Before, it was told as if the manager had failed.
#[test]
fn what_the_service_did_wrong_is_told_as_its_own() {
    let details = ErrorDetails::with_error_info("UPSTREAM", "cofferdam", HashMap::new());
    let told = refusal(&Status::with_error_details(Code::Internal, "protocol error", details)).to_string();
    let mend = "cofferdam describe service shop/pay, and the service's own log";
    assert_eq!(told, format!("the call of the service failed with Internal: protocol error\ntry: {mend}"));
}

fn client() -> Client {
    Client::new("http://m:1", "a", Patience::Each(Duration::from_secs(5))).unwrap()
}

/// Before, it was told in the words of the library that speaks HTTP/2, or as if a manager had refused.
#[tokio::test]
async fn what_answers_and_is_no_manager_is_told_as_that() {
    let (client, request) = (client(), v1::ListIsolatedServicesRequest::default());
    let told = |status: Status| client.failed(&request, &status, Patience::Each(Duration::ZERO)).to_string();
    let unknown = "unknown service cofferdam.v1.IsolationService";
    assert_eq!(
        told(Status::unimplemented(unknown)),
        format!(
            "http://m:1 answers, but not as a Cofferdam manager: it does not know ListIsolatedServices ({unknown})\n\
             try: another --server, or cofferdam version where that is a manager of another release"
        )
    );
    let garbled = told(Status::internal("failed to decode Protobuf message: invalid wire type"));
    let words = "what it says to ListIsolatedServices is no answer of one (failed to decode Protobuf message: ";
    assert!(garbled.contains(words), "{garbled}");
    // Any gRPC service may say how it does, and etcd says so: `check` asks that first.
    client.has_answered::<HealthCheckRequest>();
    let store = HealthCheckRequest { service: "cofferdam.Store".to_owned() };
    let health =
        client.failed(&store, &Status::not_found("unknown service"), Patience::Each(Duration::ZERO)).to_string();
    assert!(health.contains("not as a Cofferdam manager: it does not know Check (unknown service)"), "{health}");
    // A manager is known by the reasons that it gives, and is believed from then on.
    let details = ErrorDetails::with_error_info("INTERNAL", "cofferdam", HashMap::new());
    assert_eq!(told(Status::with_error_details(Code::Internal, "no", details)), "no\ntry: cofferdam check");
    assert!(told(Status::unimplemented("")).contains("the manager may be of another release"));
}

/// Before, it was a refusal, such as "h2 protocol error: error reading a body from connection".
#[tokio::test]
async fn a_manager_that_dies_under_an_answer_went_away() {
    let client = client();
    client.has_answered::<v1::WatchEventsRequest>();
    let cut = || Status::from_error(std::io::Error::other("error reading a body").into());
    let error = client.failed(&v1::WatchEventsRequest::default(), &cut(), Patience::Each(Duration::ZERO));
    assert_eq!(error.in_a_line(), "the manager at http://m:1 went away under WatchEvents (error reading a body)");
}

#[tokio::test]
async fn a_server_of_web_pages_is_no_manager() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client =
        Client::new(&listener.local_addr().unwrap().to_string(), "a", Patience::Each(Duration::from_secs(60))).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The first words of HTTP/2 are a request line to it.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n<html></html>").await;
        }
    });
    let error = client.call(v1::ListIsolatedServicesRequest::default()).await.unwrap_err();
    assert!(matches!(error, CallError::NoManager { .. }), "{error:?}");
    assert!(
        error.to_string().contains("answers, but not as a Cofferdam manager: the connection broke under"),
        "{error}"
    );
}
