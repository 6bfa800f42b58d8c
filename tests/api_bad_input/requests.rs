//! Requests that come too late, twice, too large or torn.

use super::{Bench, timeout};
use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use cofferdam_proto::v1::{
    ExecuteWithIsolationRequest, FallbackConfig, IsolationLevel, RegisterServiceRequest, Revision,
    SetIsolationLevelRequest, UnregisterServiceRequest, UpdateFallbackConfigRequest, UpdateIsolationPolicyRequest,
};
use cofferdam_tests::wire::{registration, revision, seconds};
use tonic::{Code, Request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_expected_revision_is_aborted_with_the_current_one() {
    let bench = Bench::new().await;
    let old = revision(Some(&bench.before));
    let current = revision(Some(&bench.client.set_level("payments", IsolationLevel::Full).await.unwrap()));
    let expected_revision = Some(old);
    let service = || "payments".to_owned();
    let refusals = [
        {
            let level = IsolationLevel::None.into();
            let request =
                SetIsolationLevelRequest { service: service(), level, expected_revision, ..Default::default() };
            bench.client.set_isolation_level(request).await.map(drop)
        },
        {
            let fallback = Some(FallbackConfig { max_retries: Some(1), ..FallbackConfig::default() });
            let request =
                UpdateFallbackConfigRequest { service: service(), fallback, expected_revision, ..Default::default() };
            bench.client.update_fallback_config(request).await.map(drop)
        },
        {
            let policy = Some(timeout(seconds(1)));
            let request =
                UpdateIsolationPolicyRequest { service: service(), policy, expected_revision, ..Default::default() };
            bench.client.update_isolation_policy(request).await.map(drop)
        },
        {
            let request =
                RegisterServiceRequest { expected_revision, ..registration("payments", IsolationLevel::Basic) };
            bench.client.register(request).await.map(drop)
        },
        {
            let request = UnregisterServiceRequest { service: service(), expected_revision, ..Default::default() };
            bench.client.unregister_service(request).await.map(drop)
        },
    ];
    for result in refusals {
        let refusal = result.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::Aborted, "REVISION_MISMATCH"), "{refusal:?}");
        assert_eq!((refusal.number("expected_epoch"), refusal.number("expected_revision")), (old.epoch, old.revision));
        assert_eq!(
            (refusal.number("current_epoch"), refusal.number("current_revision")),
            (current.epoch, current.revision)
        );
    }
    assert_eq!(bench.client.revision("payments").await.unwrap(), current);

    let any_epoch = Some(Revision { epoch: 0, revision: current.revision });
    let level = IsolationLevel::Basic.into();
    let request =
        SetIsolationLevelRequest { service: service(), level, expected_revision: any_epoch, ..Default::default() };
    bench.client.set_isolation_level(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_names_one_request_and_its_retry_returns_the_first_result() {
    let bench = Bench::new().await;
    let request = |level: IsolationLevel| SetIsolationLevelRequest {
        service: "payments".into(),
        level: level.into(),
        request_id: "change-1".into(),
        ..Default::default()
    };
    let first = bench.client.set_isolation_level(request(IsolationLevel::Full)).await.unwrap().service;
    bench.client.set_level("payments", IsolationLevel::Basic).await.unwrap();
    let again = bench.client.set_isolation_level(request(IsolationLevel::Full)).await.unwrap().service;
    assert_eq!(revision(again.as_ref()), revision(first.as_ref()), "the first result, not a second change");
    let now = bench.client.info("payments").await.unwrap().service.unwrap();
    assert_eq!(now.policy.unwrap().level(), IsolationLevel::Basic, "the retry changed nothing");

    let refusal = bench.client.set_isolation_level(request(IsolationLevel::None)).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "REQUEST_ID_REUSED"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_malformed_messages_are_refused() {
    let bench = Bench::new().await;
    let payload: Bytes = vec![0; 256 * 1024 + 1].into();
    let request = ExecuteWithIsolationRequest {
        service: "payments".into(),
        method: "charge".into(),
        payload,
        ..ExecuteWithIsolationRequest::default()
    };
    let refusal = bench.client.execute_with_isolation(request).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "INVALID_FIELD"), "{refusal:?}");
    assert_eq!(refusal.fields, ["payload"]);

    let raw = async |bytes: Vec<u8>| {
        let mut client = tonic::client::Grpc::new(bench.manager.channel());
        client.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/cofferdam.v1.IsolationService/SetIsolationLevel");
        client.unary(Request::new(Bytes::from(bytes)), path, BytesCodec).await.map(drop).unwrap_err()
    };
    // Field 2 (service): a length beyond the end; a text that is no UTF-8. Then groups in groups, and a message over
    // every limit.
    for (what, bytes) in [
        ("truncated", vec![0x12, 0x7f, b'a']),
        ("not UTF-8", vec![0x12, 0x02, 0xff, 0xfe]),
        ("nested groups", vec![0x0b; 5000]),
    ] {
        let status = raw(bytes).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
    }
    let status = raw(vec![0; 8 << 20]).await;
    let refused = [Code::ResourceExhausted, Code::OutOfRange, Code::InvalidArgument].contains(&status.code());
    assert!(refused, "8 MiB: {status:?}");
    assert_eq!(bench.client.list().await.unwrap(), ["payments"], "the manager is unharmed");
}
