//! Spans of protected calls and of their attempts, for applications that trace with OpenTelemetry.
//!
//! They are `tracing` spans, so whoever subscribes to those gets them. The feature is what trace context needs, whose ids
//! only OpenTelemetry's layer of `tracing` knows, and attributes that are no field of a span. Without it there is nothing
//! here: a call costs not an instruction more.
//!
//! An attempt's span is below its call's. A response that has only begun keeps both open until it has ended. Names, numbers
//! and states are in a span: no payload, no metadata, and no words of errors.

#[cfg_attr(not(feature = "tower"), allow(dead_code, unreachable_pub, reason = "only the layer shows them"))]
mod context;
#[cfg(feature = "opentelemetry")]
#[cfg_attr(not(feature = "tower"), allow(dead_code, reason = "as above"))]
mod made;
#[cfg(not(feature = "opentelemetry"))]
mod none;

#[cfg(not(feature = "tower"))]
pub(crate) use self::context::TraceContext;
#[cfg(feature = "tower")]
pub use self::context::{Attribute, AttributeValue, TraceContext};
#[cfg(feature = "opentelemetry")]
pub(crate) use self::made::CallSpan;
#[cfg(all(feature = "opentelemetry", feature = "tower"))]
pub(crate) use self::made::Unended;
#[cfg(not(feature = "opentelemetry"))]
pub(crate) use self::none::CallSpan;
#[cfg(all(not(feature = "opentelemetry"), feature = "tower"))]
pub(crate) use self::none::Unended;

/// Who makes the attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// The caller's own code: what it calls, and how, is its own to trace.
    ByCode,
    /// The tower layer, which sends requests.
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "there is no layer"))]
    ByLayer,
}
