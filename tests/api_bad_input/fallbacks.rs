//! Chains of fallbacks and the services that they name.

use super::Bench;
use cofferdam_proto::v1::{
    DegradedFallback, FallbackPolicy, IsolationLevel, IsolationPolicy, RegisterServiceRequest, StaticFallback,
    UnregisterServiceRequest,
};
use cofferdam_tests::wire::{alternative, degraded, fallback, registration, static_json};
use cofferdam_tests::{Manager, Store, wire};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fallback_chains_are_bounded() {
    let bench = Bench::new().await;
    let five = fallback(["a", "b", "c", "d", "e"].map(degraded));
    let refusal = bench.client.update_fallback("payments", five).await.unwrap_err();
    assert!(refusal.fields.contains(&"fallback.chain".to_owned()), "{refusal:?}");
    let big = StaticFallback { payload: vec![0; 64 * 1024 + 1].into(), content_type: String::new() };
    let big = fallback([wire::Strategy::Static(big)]);
    bench.refuses_fallback("a payload over 64 KiB", big, "fallback.chain[0].static.payload").await;
    let features = (0..33).map(|n| n.to_string()).collect();
    let many = fallback([wire::Strategy::Degraded(DegradedFallback { features, reason: String::new() })]);
    bench.refuses_fallback("33 features", many, "fallback.chain[0].degraded.features").await;
    let both = RegisterServiceRequest {
        fallback: Some(fallback([static_json("{}")])),
        policy: Some(IsolationPolicy { fallback: Some(FallbackPolicy::default()), ..IsolationPolicy::default() }),
        ..registration("orders", IsolationLevel::Basic)
    };
    bench.refuses("two fallbacks", bench.client.register(both).await, "fallback").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alternatives_that_are_missing_or_cyclic_are_refused_and_one_in_use_stays() {
    let manager = Manager::start(Store::Memory).await;
    let client = manager.client();
    for name in ["a", "b", "c"] {
        client.register(registration(name, IsolationLevel::Enhanced)).await.unwrap();
    }
    let refused = async |service: &str, other: &str| {
        let before = client.revision(service).await.unwrap();
        let refusal = client.update_fallback(service, fallback([alternative(other, "")])).await.unwrap_err();
        assert_eq!((refusal.code, &refusal.reason[..]), (Code::InvalidArgument, "INVALID_FIELD"), "{refusal:?}");
        assert_eq!(refusal.fields, ["fallback.chain[0].alternative.service"], "{refusal:?}");
        assert_eq!(client.revision(service).await.unwrap(), before);
    };
    refused("a", "nowhere").await;
    refused("a", "a").await;
    refused("a", "").await;
    client.update_fallback("a", fallback([alternative("b", "")])).await.unwrap();
    client.update_fallback("b", fallback([alternative("c", "")])).await.unwrap();
    refused("c", "a").await;
    refused("b", "a").await;

    let request = |service: &str| UnregisterServiceRequest { service: service.into(), ..Default::default() };
    let refusal = client.unregister_service(request("c")).await.unwrap_err();
    assert_eq!((refusal.code, &refusal.reason[..]), (Code::FailedPrecondition, "SERVICE_IN_USE"), "{refusal:?}");
    assert_eq!(refusal.metadata["services"], "b");
    for name in ["a", "b", "c"] {
        client.unregister_service(request(name)).await.unwrap();
    }
    assert_eq!(client.list().await.unwrap(), [""; 0]);
}
