/// What says in a request which trace it belongs to: the headers of the W3C's
/// [trace context](https://www.w3.org/TR/trace-context/).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`: the trace, the span that the request comes from, and whether it is recorded.
    pub traceparent: String,
    /// `tracestate`: what vendors add to it. Empty: nothing.
    pub tracestate: String,
}

/// What a span says of a request or a response, by a name of OpenTelemetry's
/// [semantic conventions](https://opentelemetry.io/docs/specs/semconv/).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute {
    /// Its name, `rpc.method` for example.
    pub name: &'static str,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an [`Attribute`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl Attribute {
    /// An attribute whose value is a text.
    pub fn text(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, value: AttributeValue::Text(text.into()) }
    }

    /// An attribute whose value is a number.
    pub fn number(name: &'static str, number: i64) -> Self {
        Self { name, value: AttributeValue::Number(number) }
    }
}
