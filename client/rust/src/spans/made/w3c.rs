//! The headers of trace context, of version 00.

use crate::spans::TraceContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// What a request says. `None`: nothing that can be understood.
pub(super) fn read(said: &TraceContext) -> Option<SpanContext> {
    let mut parts = said.traceparent.split('-');
    let [version, trace, span, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    // A later version may say more, in further parts.
    let is_known = version == "00" && parts.next().is_none() || version != "00" && version != "ff";
    if !is_known || ![(version, 2), (trace, 32), (span, 16), (flags, 2)].into_iter().all(is_hex) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let state = said.tracestate.parse::<TraceState>().unwrap_or_default();
    Some(SpanContext::new(trace, span, flags, true, state)).filter(SpanContext::is_valid)
}

/// What a request is to say. `None`: these are no ids.
pub(super) fn write(ids: &SpanContext) -> Option<TraceContext> {
    let (trace, span, flags) = (ids.trace_id(), ids.span_id(), ids.trace_flags().to_u8());
    let traceparent = format!("00-{trace}-{span}-{flags:02x}");
    ids.is_valid().then(|| TraceContext { traceparent, tracestate: ids.trace_state().header() })
}

fn is_hex((text, length): (&str, usize)) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn said(traceparent: &str) -> TraceContext {
        TraceContext { traceparent: traceparent.to_owned(), tracestate: "vendor=1".to_owned() }
    }

    #[test]
    fn what_is_read_is_written() {
        for flags in ["00", "01"] {
            let context = said(&format!("00-{TRACE}-{SPAN}-{flags}"));
            assert_eq!(write(&read(&context).unwrap()), Some(context));
        }
        let later = read(&said(&format!("01-{TRACE}-{SPAN}-09-more"))).unwrap();
        assert_eq!(write(&later).unwrap().traceparent, format!("00-{TRACE}-{SPAN}-01"));
        assert_eq!(write(&SpanContext::NONE), None);
    }

    #[test]
    fn what_is_no_trace_is_not_read() {
        let zero = "0".repeat(32);
        for bad in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(read(&said(&bad)), None, "{bad}");
        }
    }
}
