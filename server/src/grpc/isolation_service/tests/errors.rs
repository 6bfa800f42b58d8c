//! What a caller is told when something is wrong: code, reason, fields.

use cofferdam_proto::{BytesCodec, v1};
use tonic::{Code, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_types::StatusExt;

use crate::testing::{Manager, eventually, reason, registration};

fn set_level(name: &str) -> v1::SetIsolationLevelRequest {
    v1::SetIsolationLevelRequest {
        service: name.to_owned(),
        level: v1::IsolationLevel::Full.into(),
        ..v1::SetIsolationLevelRequest::default()
    }
}

fn metadata(status: &Status, key: &str) -> String {
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.domain, "cofferdam");
    info.metadata.get(key).cloned().unwrap_or_default()
}

fn fields(status: &Status) -> Vec<String> {
    let violations = status.get_details_bad_request().unwrap().field_violations;
    violations.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn an_unknown_service() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(registration("payments")).await.unwrap();
    let refused = client.set_isolation_level(set_level("paymens")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::NotFound, "SERVICE_NOT_FOUND"));
    assert_eq!(metadata(&refused, "nearest"), "payments");
    assert_eq!((metadata(&refused, "namespace"), metadata(&refused, "service")), ("default".into(), "paymens".into()));
    let info = v1::GetServiceIsolationInfoRequest { service: "paymens".to_owned(), ..Default::default() };
    assert_eq!(client.get_service_isolation_info(info).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn fields_at_fault() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let mut request = registration("Not A Name");
    request.service.as_mut().unwrap().version = "v".repeat(65);
    let refused = client.register_service(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(fields(&refused), ["service.name", "service.version"]);
}

#[tokio::test]
async fn a_stale_expectation() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let registered = client.register_service(registration("payments")).await.unwrap().into_inner();
    let current = registered.service.unwrap().revision.unwrap();
    let expected = v1::Revision { revision: current.revision + 7, ..current };
    let request = v1::SetIsolationLevelRequest { expected_revision: Some(expected), ..set_level("payments") };
    let refused = client.set_isolation_level(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Aborted, "REVISION_MISMATCH"));
    assert_eq!(metadata(&refused, "current_revision"), current.revision.to_string());
    assert_eq!(metadata(&refused, "current_epoch"), current.epoch.to_string());
    assert_eq!(metadata(&refused, "expected_revision"), expected.revision.to_string());
}

#[tokio::test]
async fn a_store_that_is_away() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(registration("payments")).await.unwrap();
    manager.store.set_away(true);
    eventually(&manager.registry, || manager.registry.stale_for().is_some()).await;
    let refused = client.set_isolation_level(set_level("payments")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    let info = v1::GetServiceIsolationInfoRequest { service: "payments".to_owned(), ..Default::default() };
    assert!(client.get_service_isolation_info(info).await.unwrap().into_inner().stale_for.is_some());
    let listed = client.list_isolated_services(v1::ListIsolatedServicesRequest::default()).await.unwrap();
    assert!(listed.into_inner().stale_for.is_some());
    let stats = client.get_isolation_stats(v1::GetIsolationStatsRequest::default()).await.unwrap();
    assert!(stats.into_inner().stale_for.is_some());
}

#[tokio::test]
async fn an_answer_that_the_store_did_not_give() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    manager.store.unanswered.store(1, std::sync::atomic::Ordering::SeqCst);
    let refused = client.register_service(registration("payments")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::DeadlineExceeded, "STORE_OUTCOME_UNKNOWN"));
}

#[tokio::test]
async fn a_request_id_used_twice() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let named = |name| v1::RegisterServiceRequest { request_id: "one".to_owned(), ..registration(name) };
    let first = client.register_service(named("payments")).await.unwrap().into_inner();
    assert_eq!(client.register_service(named("payments")).await.unwrap().into_inner(), first);
    let refused = client.register_service(named("orders")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn a_service_that_others_need() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(registration("backup")).await.unwrap();
    let chain = vec![crate::testing::alternative_step("backup")];
    let user =
        v1::RegisterServiceRequest { fallback: Some(crate::testing::fallback(chain)), ..registration("payments") };
    client.register_service(user).await.unwrap();
    let gone = v1::UnregisterServiceRequest { service: "backup".to_owned(), ..Default::default() };
    let refused = client.unregister_service(gone).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SERVICE_IN_USE"));
    assert_eq!(metadata(&refused, "services"), "payments");
}

#[tokio::test]
async fn a_message_that_is_none_or_too_large() {
    let manager = Manager::start().await;
    let mut raw = Grpc::new(manager.channel().await);
    let path = PathAndQuery::from_static("/cofferdam.v1.IsolationService/RegisterService");
    let no_text = [0x0a, 0x04, 0x12, 0x02, 0xff, 0xfe];
    let truncated = [0x0a, 0x7f];
    for bytes in [no_text.as_slice(), truncated.as_slice(), b"\xff\xff\xff\xff"] {
        raw.ready().await.unwrap();
        let request = tonic::Request::new(bytes::Bytes::copy_from_slice(bytes));
        let refused = raw.unary(request, path.clone(), BytesCodec).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{refused}");
    }
    raw.ready().await.unwrap();
    let large = tonic::Request::new(bytes::Bytes::from(vec![0; 1024 * 1024 + 1]));
    let refused = raw.unary(large, path, BytesCodec).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"));
}

#[tokio::test]
async fn a_request_with_a_thousand_faults_is_answered_with_the_first_ones() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    let mut request = registration("payments");
    let bad = |index| v1::Endpoint { address: format!("{index} ä") };
    request.service.as_mut().unwrap().endpoints = (0..1_000).map(bad).collect();
    let refused = client.register_service(request).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{refused}");
    let fields = fields(&refused);
    assert_eq!(fields[..2], ["service.endpoints", "service.endpoints[0].address"]);
    assert!(refused.message().contains("more"), "{refused}");
}

#[tokio::test]
async fn a_service_that_hundreds_need() {
    let manager = Manager::start().await;
    let mut client = manager.client().await;
    client.register_service(registration("backup")).await.unwrap();
    for index in 0..150 {
        let chain = vec![crate::testing::alternative_step("backup")];
        let fallback = Some(crate::testing::fallback(chain));
        let request = v1::RegisterServiceRequest { fallback, ..registration(&format!("{index:a>120}")) };
        client.register_service(request).await.unwrap();
    }
    let gone = v1::UnregisterServiceRequest { service: "backup".to_owned(), ..Default::default() };
    let refused = client.unregister_service(gone).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "SERVICE_IN_USE"), "{refused}");
    assert!(!metadata(&refused, "services").is_empty());
}
