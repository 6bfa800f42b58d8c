//! What gRPC's errors say about a service.

use crate::classify::sources;
use cofferdam_core::call::{Context, Pushback, Verdict};
use std::any::{Any, type_name};
use std::error::Error;
use std::time::Duration;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

/// A server's word on when to come again (gRFC A6): milliseconds, or anything else for never.
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A value as one of gRPC's errors.
pub(crate) fn as_error(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    let status = error.downcast_ref::<Status>().map(|error| -> &(dyn Error + 'static) { error });
    status.or_else(|| error.downcast_ref::<tonic::transport::Error>().map(|error| -> &(dyn Error + 'static) { error }))
}

/// The name of an error's type, where it is gRPC's.
pub(crate) fn type_name_of(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if error.is::<Status>() {
        Some(type_name::<Status>())
    } else {
        error.is::<tonic::transport::Error>().then(type_name::<tonic::transport::Error>)
    }
}

/// The verdict on an error, where it is gRPC's.
pub(crate) fn on_error(error: &(dyn Error + 'static), context: Context<'_>) -> Option<Verdict> {
    if let Some(status) = error.downcast_ref::<Status>() {
        let pushback = status.metadata().get(PUSHBACK).map(|value| pushback(value.as_bytes()));
        return Some(on_code(meant(status), pushback, context));
    }
    if error.is::<ConnectError>() {
        return Some(on_code(Code::Unavailable, None, context));
    }
    error.is::<TimeoutExpired>().then(|| on_code(Code::DeadlineExceeded, None, context))
}

/// The code that a status means. tonic says CANCELLED where the client's own timer ran out, and where the connection
/// closed under the request. Nobody has cancelled such a call: a caller that does sees no status at all.
fn meant(status: &Status) -> Code {
    match status.code() {
        Code::Cancelled if sources(status).any(|source| source.is::<TimeoutExpired>()) => Code::DeadlineExceeded,
        Code::Cancelled if sources(status).any(|source| source.is::<tonic::transport::Error>()) => Code::Unavailable,
        code => code,
    }
}

/// Whether an error says that no connection could be made: then the service has not seen the call.
pub(crate) fn is_connect_error(error: &(dyn Error + 'static)) -> bool {
    error.is::<ConnectError>()
}

/// The verdict on a status code, as the policy has it.
pub(super) fn on_code(code: Code, pushback: Option<Pushback>, context: Context<'_>) -> Verdict {
    let number = u32::from(u8::try_from(i32::from(code)).unwrap_or(u8::MAX));
    Verdict {
        outcome: context.policy.classification.grpc(number, context.is_probe),
        is_retryable: context.policy.retry.retries_grpc(number, context.is_idempotent),
        may_have_reached: true,
        pushback,
    }
}

pub(super) fn pushback(value: &[u8]) -> Pushback {
    let millis = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
    millis.map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_ran_out_is_no_cancellation() {
        let timed_out = Status::from_error(Box::new(TimeoutExpired(())));
        assert_eq!(timed_out.code(), Code::Cancelled, "tonic's own word");
        assert_eq!(meant(&timed_out), Code::DeadlineExceeded);
        assert_eq!(meant(&Status::cancelled("by the service itself")), Code::Cancelled);
    }
}
