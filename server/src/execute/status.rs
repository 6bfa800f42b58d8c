//! What a gRPC status of a service means here.

use super::MAX_ANSWER_BYTES;
use crate::{error::Rejection, words::printed};
use cofferdam_core::call::{Context, Pushback, Verdict};
use cofferdam_core::outcome::Outcome;
use cofferdam_proto::status::{Facts, is_timeout, is_transport};
use std::error::Error;
use tonic::{Code, Status};

/// What a result says about the service.
pub(super) fn verdict(status: Option<&Status>, context: Context<'_>) -> Verdict {
    let Some(status) = status else {
        return Verdict::on_grpc_code(Code::Ok as u32, context);
    };
    let facts = Facts::of_status(status);
    let verdict = Verdict {
        may_have_reached: facts.may_have_reached,
        pushback: facts.pushback.map(Pushback::parse),
        ..Verdict::on_grpc_code(facts.code as u32, context)
    };
    // An answer that is too large to relay is an answer.
    if is_too_large(status) {
        Verdict { outcome: Outcome::Success, is_retryable: false, is_overload: false, ..verdict }
    } else {
        verdict
    }
}

/// What the caller is told.
pub(super) fn rejection(status: &Status) -> Rejection {
    if is_timeout(status) {
        Rejection::Timeout
    } else if is_too_large(status) {
        Rejection::PayloadTooLarge { what: "the answer", limit: MAX_ANSWER_BYTES }
    } else {
        Rejection::Upstream { code: Facts::of_status(status).code.into(), message: message(status) }
    }
}

/// The service's own words, in one line. Where there are none, what has happened: a status without a message is common, and so is a
/// connection that says no more than that it is none.
fn message(status: &Status) -> String {
    if is_transport(status) {
        let mut deepest: &dyn Error = status;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        return printed(&format!("no answer from the service: {}: {deepest}", status.message()));
    }
    match status.message() {
        "" => format!("the service answered without a message: {}", status.code().description()),
        words => printed(words),
    }
}

/// Whether tonic refused to decode an answer for its size: it says so in words alone.
fn is_too_large(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("decoded message length too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_words_is_given_some() {
        let told = |status: &Status| rejection(status).to_string();
        assert_eq!(told(&Status::aborted("not now")), "not now");
        assert_eq!(told(&Status::aborted("\u{1b}[2Jno\nok")), " [2Jno ok", "it ends on an operator's terminal");
        let told = told(&Status::unimplemented(""));
        assert!(told.contains("not implemented"), "{told}");
    }
}
