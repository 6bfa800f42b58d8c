//! One trace from a caller through the manager to the service, as a collector sees it.

use cofferdam_proto::v1::{ExecuteWithIsolationRequest, IsolationLevel};
use cofferdam_tests::wire::registration_at;
use cofferdam_tests::{Behaviour, Collector, Curl, Manager, Store, Upstream, attribute, eventually, hex};
use serde_json::json;
use tonic::Request;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

async fn execute(manager: &Manager) {
    let mut client = cofferdam_proto::v1::isolation_service_client::IsolationServiceClient::new(manager.channel());
    let request = ExecuteWithIsolationRequest {
        service: "payments".to_owned(),
        method: "shop.Payments/Charge".to_owned(),
        payload: "secret-7719".into(),
        ..Default::default()
    };
    let mut request = Request::new(request);
    request.metadata_mut().insert("traceparent", traceparent().parse().unwrap());
    client.execute_with_isolation(request).await.unwrap();
}

/// What the service was told.
fn told(upstream: &Upstream) -> Option<String> {
    upstream.last_headers().into_iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_through_the_manager_to_the_service() {
    let (collector, upstream) = (Collector::start().await, Upstream::start(Behaviour::echo()).await);
    let manager = collector.manager().await;
    let registered = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    manager.client().register(registered).await.unwrap();
    execute(&manager).await;
    let spans = eventually("both spans", async || {
        let spans = collector.spans();
        if spans.len() == 2 { Ok(spans) } else { Err(spans) }
    })
    .await;
    let of = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:#?}"));
    let call = of("cofferdam.v1.IsolationService/ExecuteWithIsolation");
    let attempt = of("shop.Payments/Charge");
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:#?}");
    assert_eq!((hex(&call.parent_span_id), &attempt.parent_span_id), (CALLER.to_owned(), &call.span_id));
    assert_eq!(told(&upstream), Some(format!("00-{TRACE}-{}-01", hex(&attempt.span_id))));
    let revision = manager.client().revision("payments").await.unwrap();
    for (span, name, value) in [
        (call, "cofferdam.namespace", "default"),
        (call, "cofferdam.service", "payments"),
        (call, "cofferdam.served_by", "live"),
        (call, "cofferdam.attempts", "1"),
        (call, "cofferdam.revision", &revision.revision.to_string()),
        (attempt, "cofferdam.attempt", "1"),
        (attempt, "rpc.grpc.status_code", "0"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name}");
    }
    assert!(!format!("{spans:?}").contains("secret-7719"), "a payload is in no span");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_the_service_is_told_what_the_caller_said() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let manager = Manager::start(Store::Memory).await;
    let registered = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    manager.client().register(registered).await.unwrap();
    execute(&manager).await;
    assert_eq!(told(&upstream), Some(traceparent()));
    let header = format!("traceparent: 00-{TRACE}-{CALLER}-00");
    let body = json!({"method": "shop.Payments/Charge"}).to_string();
    let options = ["-X", "POST", "-H", "Content-Type: application/json", "-H", &header, "-d", &body];
    assert_eq!(Curl::at(manager.url()).ask(&options, "/v1/services/payments:execute").status, 200);
    assert_eq!(told(&upstream), Some(format!("00-{TRACE}-{CALLER}-00")), "by HTTP as well");
}

/// A collector that is away costs spans, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_stops_nothing() {
    let upstream = Upstream::start(Behaviour::echo()).await;
    let nobody = format!("http://{}", cofferdam_tests::unused_address());
    let mut manager = Manager::start_with(Store::Memory, &[("COFFERDAM_TELEMETRY_OTLP_ENDPOINT", &nobody)]).await;
    let registered = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    manager.client().register(registered).await.unwrap();
    for _ in 0..3 {
        execute(&manager).await;
    }
    assert_eq!(upstream.calls(), 3);
    manager.process().terminate();
    assert_eq!(manager.process().exit().await.code, Some(0));
}
