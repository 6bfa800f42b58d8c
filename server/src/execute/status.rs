//! What a gRPC status of a service means here.

use super::MAX_ANSWER_BYTES;
use crate::error::Rejection;
use cofferdam_core::call::{Context, Pushback, Verdict};
use cofferdam_core::outcome::Outcome;
use std::error::Error;
use std::time::Duration;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

/// The service's own word on when to come again (gRFC A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// What a result says about the service.
pub(super) fn verdict(status: Option<&Status>, context: Context<'_>) -> Verdict {
    let policy = context.policy;
    let code = status.map_or(Code::Ok, meant);
    // An answer that is too large to relay is an answer.
    let is_too_large = status.is_some_and(is_too_large);
    let number = code as i32 as u32;
    Verdict {
        outcome: if is_too_large { Outcome::Success } else { policy.classification.grpc(number, context.is_probe) },
        is_retryable: !is_too_large && policy.retry.retries_grpc(number, context.is_idempotent),
        may_have_reached: !status.is_some_and(has_source::<ConnectError>),
        pushback: status.and_then(pushback),
    }
}

/// What the caller is told.
pub(super) fn rejection(status: &Status) -> Rejection {
    if has_source::<TimeoutExpired>(status) {
        Rejection::Timeout
    } else if is_too_large(status) {
        Rejection::PayloadTooLarge { what: "the answer", limit: MAX_ANSWER_BYTES }
    } else {
        Rejection::Upstream { code: meant(status).into(), message: message(status) }
    }
}

/// The service's own words. Where there are none, what has happened: a status without a message is common, and so is a
/// connection that says no more than that it is none.
fn message(status: &Status) -> String {
    if has_source::<tonic::transport::Error>(status) || has_source::<ConnectError>(status) {
        let mut deepest: &dyn Error = status;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        return format!("no answer from the service: {}: {deepest}", status.message());
    }
    match status.message() {
        "" => format!("the service answered without a message: {}", meant(status).description()),
        words => words.to_owned(),
    }
}

/// The code that a status means. tonic says CANCELLED where its own timer ran out, and where the connection closed under
/// the request; nobody has cancelled such a call.
fn meant(status: &Status) -> Code {
    match status.code() {
        _ if has_source::<TimeoutExpired>(status) => Code::DeadlineExceeded,
        Code::Cancelled if has_source::<tonic::transport::Error>(status) => Code::Unavailable,
        code => code,
    }
}

fn has_source<E: Error + 'static>(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<E>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Whether tonic refused to decode an answer for its size: it says so in words alone.
fn is_too_large(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("decoded message length too large")
}

fn pushback(status: &Status) -> Option<Pushback> {
    let value = status.metadata().get(PUSHBACK)?.to_str().ok()?;
    // A negative or unreadable value means: do not come again.
    Some(value.parse().map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_words_is_given_some() {
        let told = |status: &Status| rejection(status).to_string();
        assert_eq!(told(&Status::aborted("not now")), "not now");
        let told = told(&Status::unimplemented(""));
        assert!(told.contains("not implemented"), "{told}");
    }
}
