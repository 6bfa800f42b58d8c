use super::*;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn said(parent: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("traceparent", parent.parse().unwrap());
    metadata.insert("tracestate", "vendor=1".parse().unwrap());
    metadata
}

fn told(trace: &Trace) -> Option<String> {
    let mut metadata = MetadataMap::new();
    trace.tell(&mut metadata);
    Some(metadata.get("traceparent")?.to_str().unwrap().to_owned())
}

#[test]
fn what_a_caller_said_is_passed_on_and_what_is_none_is_not() {
    assert_eq!(told(&Trace::of(&said(PARENT))), Some(PARENT.to_owned()));
    let mut metadata = MetadataMap::new();
    Trace::of(&said(PARENT)).tell(&mut metadata);
    assert_eq!(metadata.get("tracestate").unwrap(), "vendor=1");
    assert_eq!(told(&Trace::of(&MetadataMap::new())), None);
    let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    for none in ["", "x", "00-abc-def-01", zero, &PARENT[..54], &PARENT.to_uppercase()] {
        assert_eq!(told(&Trace::of(&said(none))), None, "{none}");
    }
}

#[test]
fn a_span_is_below_the_one_before_and_of_the_same_trace() {
    let provider = SdkTracerProvider::builder().build();
    let tracer = provider.tracer("cofferdam");
    let caller = Trace::of(&said(PARENT));
    let call = caller.below(&tracer, "call", SpanKind::Server, Vec::new());
    let attempt = call.below(&tracer, "attempt", SpanKind::Client, Vec::new());
    let [said, call, attempt] = [caller, call, attempt].map(|trace| told(&trace).unwrap());
    let trace_of = |parent: &str| parent.split('-').nth(1).unwrap().to_owned();
    assert_eq!([trace_of(&call), trace_of(&attempt)], [trace_of(&said), trace_of(&said)]);
    assert!(call != said && attempt != call);
}
