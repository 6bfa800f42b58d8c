//! What gRPC's errors say about a service.

use crate::error::{Error as CallError, Failure, Rejection};
use cofferdam_core::call::{Context, Pushback, Verdict};
use cofferdam_proto::status::Facts;
use std::any::{Any, type_name};
use std::error::Error;
use std::sync::Arc;
use tonic::{Code, Status};

/// What a handler of gRPC answers whose own protected call brought nothing: the call's own error as its status. A
/// verdict of the SDK is UNAVAILABLE where the breaker is open or the service disabled, DEADLINE_EXCEEDED where time
/// ran out, RESOURCE_EXHAUSTED where there was no place, and the status's source.
impl<E: Into<Self>> From<CallError<E>> for Status {
    fn from(error: CallError<E>) -> Self {
        error.into_inner().map_or_else(status_of, Into::into)
    }
}

/// As that of the failure's error.
impl<E: Into<Self>> From<Failure<E>> for Status {
    fn from(failure: Failure<E>) -> Self {
        failure.error.into()
    }
}

fn status_of(rejection: Rejection) -> Status {
    let mut status = Status::new(code_of(&rejection), rejection.to_string());
    status.set_source(Arc::new(rejection));
    status
}

/// What a verdict of the SDK is among gRPC's codes.
pub(super) fn code_of(rejection: &Rejection) -> Code {
    match rejection {
        CallError::Inner(never) => match *never {},
        CallError::Open { .. } | CallError::Disabled => Code::Unavailable,
        CallError::Timeout | CallError::DeadlineSpent => Code::DeadlineExceeded,
        CallError::BulkheadFull | CallError::AdaptiveLimitReached | CallError::RateLimited { .. } => {
            Code::ResourceExhausted
        }
    }
}

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

/// The verdict on an error, where it or one of its sources is gRPC's.
pub(crate) fn on_error(error: &(dyn Error + 'static), context: Context<'_>) -> Option<Verdict> {
    let facts = Facts::of(error)?;
    Some(Verdict { may_have_reached: facts.may_have_reached, ..on_code(facts.code, facts.pushback, context) })
}

/// The verdict on a status code and its pushback, as the policy has it.
pub(super) fn on_code(code: Code, pushback: Option<&[u8]>, context: Context<'_>) -> Verdict {
    Verdict { pushback: pushback.map(Pushback::parse), ..Verdict::on_grpc_code(code as u32, context) }
}
