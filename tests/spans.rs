//! One trace from a caller with the SDK through the manager to the service, as a collector of OTLP sees it. Needs the
//! feature `opentelemetry`.

use cofferdam::Cofferdam;
use cofferdam_proto::v1::isolation_service_client::IsolationServiceClient;
use cofferdam_proto::v1::{ExecuteWithIsolationRequest, IsolationLevel};
use cofferdam_tests::wire::registration_at;
use cofferdam_tests::{Behaviour, Collector, Upstream, attribute, eventually, hex};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tower::ServiceBuilder;
use tracing::Instrument as _;
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::layer::SubscriberExt as _;

const EXECUTE: &str = "cofferdam.v1.IsolationService/ExecuteWithIsolation";
const CHARGE: &str = "shop.Payments/Charge";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_goes_from_the_sdk_through_the_manager_to_the_service() {
    let (collector, upstream) = (Collector::start().await, Upstream::start(Behaviour::echo()).await);
    let manager = collector.manager().await;
    let registered = registration_at("payments", IsolationLevel::Enhanced, &upstream.address());
    manager.client().register(registered).await.unwrap();

    let exporter = SpanExporter::builder().with_tonic().with_endpoint(collector.url()).build().unwrap();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("checkout"));
    let application = async {
        let cofferdam = Cofferdam::builder("checkout").start();
        let channel = ServiceBuilder::new().layer(cofferdam.layer("cofferdam")).service(manager.channel());
        let request = ExecuteWithIsolationRequest {
            service: "payments".to_owned(),
            method: CHARGE.to_owned(),
            payload: "secret-7719".into(),
            ..Default::default()
        };
        IsolationServiceClient::new(channel).execute_with_isolation(request).await.unwrap();
    };
    // The span is made where the subscriber is.
    let application = async { application.instrument(tracing::info_span!("checkout")).await };
    application.with_subscriber(tracing_subscriber::registry().with(layer)).await;
    provider.shutdown().unwrap();

    let spans = eventually("all five spans", async || {
        let spans = collector.spans();
        if spans.len() == 5 { Ok(spans) } else { Err(spans) }
    })
    .await;
    let only = |what: &str, is_it: &dyn Fn(&Span) -> bool| match spans
        .iter()
        .filter(|span| is_it(span))
        .collect::<Vec<_>>()[..]
    {
        [span] => span,
        _ => panic!("not one {what}: {spans:#?}"),
    };
    let way = [
        only("caller", &|span| span.name == "checkout"),
        only("call", &|span| span.name == "cofferdam.call"),
        only("attempt of the SDK", &|span| span.name == EXECUTE && span.kind == CLIENT),
        only("call of the manager", &|span| span.name == EXECUTE && span.kind == SERVER),
        only("attempt of the manager", &|span| span.name == CHARGE && span.kind == CLIENT),
    ];
    assert!(way[0].parent_span_id.is_empty(), "{:#?}", way[0]);
    for pair in way.windows(2) {
        assert_eq!(pair[1].trace_id, way[0].trace_id);
        assert_eq!(pair[1].parent_span_id, pair[0].span_id, "{} is below {}", pair[1].name, pair[0].name);
    }
    let told = upstream.last_headers().into_iter().find(|(name, _)| name == "traceparent").map(|(_, value)| value);
    assert_eq!(told, Some(format!("00-{}-{}-01", hex(&way[0].trace_id), hex(&way[4].span_id))));
    for (span, name, value) in [
        (way[1], "cofferdam.service", "cofferdam"),
        (way[1], "cofferdam.outcome", "success"),
        (way[1], "cofferdam.served_by", "live"),
        (way[2], "cofferdam.attempt", "1"),
        (way[2], "cofferdam.outcome", "success"),
        (way[2], "rpc.system", "grpc"),
        (way[2], "rpc.service", "cofferdam.v1.IsolationService"),
        (way[2], "rpc.method", "ExecuteWithIsolation"),
        (way[2], "rpc.grpc.status_code", "0"),
        (way[3], "cofferdam.service", "payments"),
        (way[4], "rpc.grpc.status_code", "0"),
    ] {
        assert_eq!(attribute(span, name).as_deref(), Some(value), "{name} of {}", span.name);
    }
    assert!(!format!("{spans:?}").contains("secret-7719"), "a payload is in no span");
}
