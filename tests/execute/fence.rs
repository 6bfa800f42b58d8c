//! What the manager does not do for anybody.

use super::{Bench, request};
use cofferdam_proto::v1::{IsolationLevel, IsolationPolicy, ServedBy};
use cofferdam_tests::Behaviour;
use cofferdam_tests::wire::registration_at;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_endpoints_that_the_operator_allows_are_dialled() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let own = bench.manager.address();
    let own_port = own.rsplit_once(':').unwrap().1;
    let refused = [
        "192.0.2.1:50051",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        &own,
        &format!("localhost:{own_port}"),
        &format!("[::ffff:127.0.0.1]:{own_port}"),
        &format!("0.0.0.0:{own_port}"),
        &format!("[::]:{own_port}"),
    ];
    for (index, address) in refused.into_iter().enumerate() {
        let name = format!("refused-{index}");
        bench.client.register(registration_at(&name, IsolationLevel::Basic, address)).await.unwrap();
        let method = "cofferdam.v1.IsolationService/GetIsolationStats";
        let refusal = bench.client.execute(&name, method, "").await.unwrap_err();
        let reason = (refusal.code, &refusal.reason[..]);
        assert_eq!(reason, (Code::PermissionDenied, "ENDPOINT_NOT_ALLOWED"), "{address}: {refusal:?}");
    }
    let (_, port) =
        bench.upstream.address().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let allowed = format!("localhost:{port}");
    bench.client.register(registration_at("allowed", IsolationLevel::Basic, &allowed)).await.unwrap();
    assert_eq!(bench.client.execute("allowed", "get", "").await.unwrap().served_by(), ServedBy::Live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_not_relayed() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let most = vec![7; 256 * 1024];
    assert_eq!(bench.client.execute("payments", "put", most).await.unwrap().payload.len(), 256 * 1024);
    let refusal = bench.client.execute("payments", "put", vec![7; 256 * 1024 + 1]).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "INVALID_FIELD"), "{refusal:?}");
    assert_eq!(bench.upstream.calls(), 1);

    bench.upstream.behave(Behaviour::bytes(vec![7; 1 << 20]));
    assert_eq!(bench.client.execute("payments", "get", "").await.unwrap().payload.len(), 1 << 20);
    bench.upstream.behave(Behaviour::bytes(vec![7; (1 << 20) + 1]));
    let refusal = bench.client.execute("payments", "get", "").await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::ResourceExhausted, "PAYLOAD_TOO_LARGE"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_credentials_go_no_further() {
    let bench = Bench::new(IsolationLevel::Basic, IsolationPolicy::default()).await;
    let mut client =
        cofferdam_proto::v1::isolation_service_client::IsolationServiceClient::new(bench.manager.channel());
    let mut request = tonic::Request::new(request("charge", ""));
    for key in ["authorization", "cookie", "x-forwarded-for", "x-secret"] {
        request.metadata_mut().insert(key, "secret-7719".parse().unwrap());
    }
    client.execute_with_isolation(request).await.unwrap();
    let headers = bench.upstream.last_headers();
    assert!(!headers.is_empty());
    assert!(!headers.iter().any(|(_, value)| value.contains("secret-7719")), "{headers:?}");
}
