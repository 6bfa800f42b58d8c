//! What a gRPC status of a service means here.

use super::MAX_ANSWER_BYTES;
use crate::error::Rejection;
use cofferdam_core::call::{Context, Pushback, Verdict};
use cofferdam_core::outcome::Outcome;
use cofferdam_proto::status::{Facts, is_timeout};
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
    if is_too_large(status) { Verdict { outcome: Outcome::Success, is_retryable: false, ..verdict } } else { verdict }
}

/// What the caller is told.
pub(super) fn rejection(status: &Status) -> Rejection {
    if is_timeout(status) {
        Rejection::Timeout
    } else if is_too_large(status) {
        Rejection::PayloadTooLarge { what: "the answer", limit: MAX_ANSWER_BYTES }
    } else {
        Rejection::Upstream { code: Facts::of_status(status).code.into(), message: status.message().to_owned() }
    }
}

/// Whether tonic refused to decode an answer for its size: it says so in words alone.
fn is_too_large(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("decoded message length too large")
}
