//! Traces of the calls that the manager makes for others.
//!
//! A caller says in its metadata which trace its call belongs to ([W3C trace context](https://www.w3.org/TR/trace-context/)),
//! and the service that is called hears of it in the same way. In between, where spans are exported, stand the manager's own:
//! one for the call, and one for each attempt below it, which is then what the service is told. Where none are, the service
//! is told what the caller said.
//!
//! A span has names and numbers: services, methods, revisions, states. Payloads, metadata and the words of errors are not
//! in it.

use std::borrow::Cow;

use opentelemetry::{
    Context, KeyValue,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanKind, Status as SpanStatus, TraceContextExt, Tracer},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};
use tonic::{
    Code,
    metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue},
};

use super::{Executed, Method};
use crate::registry::Registered;

/// The span of a call, as it is called from outside.
const CALL: &str = "cofferdam.v1.IsolationService/ExecuteWithIsolation";

/// Makes the spans. The default makes none.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    tracer: Option<SdkTracer>,
}

/// What a call, or an attempt of one, belongs to. The default is no trace.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    context: Context,
    /// Whether the last span of the context is our own.
    is_own: bool,
}

impl From<SdkTracer> for Traces {
    fn from(tracer: SdkTracer) -> Self {
        Self { tracer: Some(tracer) }
    }
}

impl Traces {
    /// The span of a call that came from this trace.
    pub(crate) fn call(&self, caller: &Trace, service: &Registered, method: &Method) -> Trace {
        let Some(tracer) = &self.tracer else { return caller.clone() };
        let attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", "cofferdam.v1.IsolationService"),
            KeyValue::new("rpc.method", "ExecuteWithIsolation"),
            KeyValue::new("cofferdam.namespace", service.key().namespace.to_string()),
            KeyValue::new("cofferdam.service", service.key().name.to_string()),
            KeyValue::new("cofferdam.method", method.path().as_str().to_owned()),
        ];
        caller.below(tracer, CALL, SpanKind::Server, attributes)
    }

    /// The span of an attempt.
    pub(super) fn attempt(&self, call: &Trace, service: &Registered, method: &Method, number: u32) -> Trace {
        let Some(tracer) = &self.tracer else { return call.clone() };
        let path = method.path().as_str().trim_start_matches('/');
        let (rpc_service, rpc_method) = path.rsplit_once('/').unwrap_or_default();
        let attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.service", rpc_service.to_owned()),
            KeyValue::new("rpc.method", rpc_method.to_owned()),
            KeyValue::new("cofferdam.namespace", service.key().namespace.to_string()),
            KeyValue::new("cofferdam.service", service.key().name.to_string()),
            KeyValue::new("cofferdam.attempt", i64::from(number)),
        ];
        call.below(tracer, path.to_owned(), SpanKind::Client, attributes)
    }
}

impl Trace {
    /// What a caller said. Nothing where it said nothing, or what is none.
    pub fn of(metadata: &MetadataMap) -> Self {
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Said(metadata));
        Self { context, is_own: false }
    }

    /// Says it to who is called.
    pub(super) fn tell(&self, metadata: &mut MetadataMap) {
        if self.context.span().span_context().is_valid() {
            TraceContextPropagator::new().inject_context(&self.context, &mut Told(metadata));
        }
    }

    /// A call has ended: with an answer, or for a reason.
    pub(crate) fn end_call(&self, result: Result<&Executed, &'static str>) {
        if !self.is_own {
            return;
        }
        let span = self.context.span();
        match result {
            Ok(executed) => {
                let revision = executed.receipt.revision.unwrap_or_default();
                span.set_attribute(KeyValue::new("cofferdam.attempts", i64::from(executed.receipt.attempts)));
                span.set_attribute(KeyValue::new("cofferdam.epoch", number(revision.epoch)));
                span.set_attribute(KeyValue::new("cofferdam.revision", number(revision.revision)));
                span.set_attribute(KeyValue::new("cofferdam.served_by", executed.source.name()));
            }
            Err(reason) => {
                span.set_attribute(KeyValue::new("error.type", reason));
                span.set_status(SpanStatus::error(""));
            }
        }
        span.end();
    }

    /// An attempt has ended.
    pub(super) fn end_attempt(&self, code: Code) {
        if !self.is_own {
            return;
        }
        let span = self.context.span();
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))));
        if code != Code::Ok {
            span.set_status(SpanStatus::error(""));
        }
        span.end();
    }

    fn below(
        &self,
        tracer: &SdkTracer,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        attributes: Vec<KeyValue>,
    ) -> Self {
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &self.context);
        Self { context: self.context.with_span(span), is_own: true }
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a caller's metadata says.
struct Said<'a>(&'a MetadataMap);

/// What says to which span a call belongs.
const PARENT: &str = "traceparent";

/// Whether a text has the form of one: the propagator fills up what is too short, and then it is another trace.
fn is_parent(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let has_form = |(at, byte): (usize, &u8)| if matches!(at, 2 | 35 | 52) { *byte == b'-' } else { is_hex(byte) };
    // Later versions may say more behind it.
    let ends = bytes.len() == 55 || (bytes.get(55) == Some(&b'-') && !text.starts_with("00"));
    ends && bytes.iter().take(55).enumerate().all(has_form)
}

/// Metadata that is being made.
struct Told<'a>(&'a mut MetadataMap);

impl Extractor for Said<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let text = self.0.get(key)?.to_str().ok()?;
        (key != PARENT || is_parent(text)).then_some(text)
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Injector for Told<'_> {
    fn set(&mut self, key: &str, value: String) {
        let key = key.parse::<MetadataKey<Ascii>>();
        if let (Ok(key), Ok(value)) = (key, value.parse::<MetadataValue<Ascii>>()) {
            self.0.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests;
