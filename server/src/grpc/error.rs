//! From the manager's closed set of errors to gRPC statuses, once.
//!
//! A status travels in trailers, of which clients take 8 to 16 KiB; beyond that some of them close the connection with
//! all its streams. What a request can make longer than that, by a thousand fields at fault or a service that hundreds
//! need, is therefore cut: the first faults are told, and that there are more.

use std::{collections::HashMap, time::Duration};

use cofferdam_core::breaker::OpenedBy;
use cofferdam_core::isolation::Part;
use cofferdam_core::policy::Violation;
use cofferdam_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    error::{Error, Rejection},
    words::shortened,
};

/// The domain of every `ErrorInfo`.
const DOMAIN: &str = "cofferdam";

/// The prefix that a reason's name has in the contract and not on the wire.
const REASON_PREFIX: &str = "ERROR_REASON_";

/// The most bytes of a status's words, which stand in the trailers twice.
const MAX_MESSAGE_BYTES: usize = 1024;

/// The most bytes of all field violations together.
const MAX_FIELDS_BYTES: usize = 2048;

/// The most bytes of a list of names.
const MAX_NAMES_BYTES: usize = 512;

/// The status of an error: its code, its words, an `ErrorInfo`, and a `BadRequest` where fields are at fault.
pub(crate) fn status(error: &Error) -> Status {
    let retry_after = match error {
        Error::Rejected(Rejection::CircuitOpen { retry_after, .. }) => *retry_after,
        _ => None,
    };
    with_retry_after(error, retry_after)
}

/// The reason of an error, as its status has it.
pub(crate) fn reason_of(error: &Error) -> &'static str {
    reason_name(classify(error).1)
}

/// The status of an error, with a `RetryInfo` that says when it is worth coming again.
pub(crate) fn with_retry_after(error: &Error, retry_after: Option<Duration>) -> Status {
    if let Error::Internal { detail } = error {
        tracing::error!(%detail, "internal error");
    }
    let (code, reason, metadata) = classify(error);
    let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, metadata);
    if let Error::Invalid { violations } = error {
        details.set_bad_request(fields(violations));
    }
    if let Error::NoBreaker { named, .. } = error {
        let field = match named {
            Some(Part::Pool(_)) => "target.pool",
            Some(Part::Methods(_)) => "target.method_glob",
            Some(Part::Service) | None => "target",
        };
        details.set_bad_request(fields(&[Violation::invalid(field, error.to_string())]));
    }
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code, shortened(error.to_string(), MAX_MESSAGE_BYTES), details)
}

/// The first fields at fault, as many as there is room for; at least one.
fn fields(violations: &[Violation]) -> Vec<FieldViolation> {
    let mut room = MAX_FIELDS_BYTES;
    let fits = |violation: &&Violation| {
        let left = room.checked_sub(violation.path.len() + violation.description.len());
        room = left.unwrap_or_default();
        left.is_some()
    };
    let field = |violation: &Violation| {
        let words = |text: &str| shortened(text, MAX_MESSAGE_BYTES);
        FieldViolation::new(words(&violation.path), words(&violation.description))
    };
    let mut fields: Vec<_> = violations.iter().take_while(fits).map(field).collect();
    if fields.is_empty() {
        fields.extend(violations.first().map(field));
    }
    fields
}

/// Names with commas between them, as many as there is room for.
fn joined(names: &[String]) -> String {
    let mut joined = String::new();
    for name in names {
        let comma = if joined.is_empty() { "" } else { "," };
        if joined.len() + comma.len() + name.len() > MAX_NAMES_BYTES {
            break;
        }
        joined.push_str(comma);
        joined.push_str(name);
    }
    joined
}

/// A request that is no message of its method.
pub(super) fn malformed(description: &str) -> Status {
    status(&Error::invalid("", format!("the request cannot be decoded: {description}")))
}

type Metadata = HashMap<String, String>;

fn classify(error: &Error) -> (Code, ErrorReason, Metadata) {
    match error {
        Error::ServiceNotFound { key, nearest } => {
            let metadata = metadata([
                ("namespace", key.namespace.to_string()),
                ("service", key.name.to_string()),
                ("nearest", joined(nearest)),
            ]);
            (Code::NotFound, ErrorReason::ServiceNotFound, metadata)
        }
        Error::Invalid { .. } => (Code::InvalidArgument, ErrorReason::InvalidField, Metadata::new()),
        Error::RevisionMismatch { expected, current, .. } => {
            let metadata = metadata([
                ("expected_epoch", expected.epoch.to_string()),
                ("expected_revision", expected.revision.to_string()),
                ("current_epoch", current.epoch.to_string()),
                ("current_revision", current.revision.to_string()),
            ]);
            (Code::Aborted, ErrorReason::RevisionMismatch, metadata)
        }
        Error::RevisionUnknown { oldest, newest, .. } => {
            let metadata = metadata([
                ("oldest_epoch", oldest.epoch.to_string()),
                ("oldest_revision", oldest.revision.to_string()),
                ("newest_epoch", newest.epoch.to_string()),
                ("newest_revision", newest.revision.to_string()),
            ]);
            (Code::NotFound, ErrorReason::RevisionUnknown, metadata)
        }
        Error::RevisionNotKept { oldest, time, .. } => {
            let metadata = metadata([
                ("oldest_epoch", oldest.epoch.to_string()),
                ("oldest_revision", oldest.revision.to_string()),
                ("oldest_time", time.clone()),
            ]);
            (Code::NotFound, ErrorReason::RevisionNotKept, metadata)
        }
        Error::NotArrived { .. } => (Code::DeadlineExceeded, ErrorReason::Timeout, Metadata::new()),
        Error::Contended { .. } => (Code::Aborted, ErrorReason::RevisionMismatch, Metadata::new()),
        Error::RequestIdReused { .. } => (Code::InvalidArgument, ErrorReason::RequestIdReused, Metadata::new()),
        Error::StoreUnavailable { .. } => (Code::Unavailable, ErrorReason::StoreUnavailable, Metadata::new()),
        Error::StoreOutcomeUnknown { .. } => {
            (Code::DeadlineExceeded, ErrorReason::StoreOutcomeUnknown, Metadata::new())
        }
        Error::QuotaExceeded { quota, limit, .. } => {
            let metadata = metadata([("quota", (*quota).to_owned()), ("limit", limit.clone())]);
            (Code::ResourceExhausted, ErrorReason::QuotaExceeded, metadata)
        }
        Error::StoreFull { reason } => {
            let metadata = metadata([("quota", "store".to_owned()), ("limit", reason.clone())]);
            (Code::ResourceExhausted, ErrorReason::QuotaExceeded, metadata)
        }
        Error::ServiceInUse { services, .. } => {
            (Code::FailedPrecondition, ErrorReason::ServiceInUse, metadata([("services", joined(services))]))
        }
        Error::NoBreaker { level, breakers, .. } => {
            let metadata = metadata([("breakers", joined(breakers)), ("level", level.to_string())]);
            (Code::FailedPrecondition, ErrorReason::NoBreaker, metadata)
        }
        Error::BulkChangeUnderWay { actor, time, done, services } => {
            let metadata = metadata([
                ("actor", actor.clone()),
                ("create_time", time.clone()),
                ("done", done.to_string()),
                ("services", services.to_string()),
            ]);
            (Code::FailedPrecondition, ErrorReason::BulkChangeUnderWay, metadata)
        }
        Error::HoldNotFound { holds, .. } => {
            (Code::NotFound, ErrorReason::HoldNotFound, metadata([("holds", joined(holds))]))
        }
        Error::InstanceNotFound { instances, .. } => {
            (Code::NotFound, ErrorReason::InstanceNotFound, metadata([("instances", joined(instances))]))
        }
        Error::PoolNotFound { pools, .. } => {
            (Code::NotFound, ErrorReason::PoolNotFound, metadata([("pools", joined(pools))]))
        }
        Error::ShuttingDown => (Code::Unavailable, ErrorReason::ShuttingDown, Metadata::new()),
        Error::Rejected(rejection) => classify_rejection(rejection),
        Error::Internal { .. } => (Code::Internal, ErrorReason::Internal, Metadata::new()),
    }
}

fn classify_rejection(rejection: &Rejection) -> (Code, ErrorReason, Metadata) {
    let none = Metadata::new();
    match rejection {
        Rejection::NoEndpoint(_) => (Code::FailedPrecondition, ErrorReason::NoEndpoint, none),
        Rejection::EndpointNotAllowed(_) => (Code::PermissionDenied, ErrorReason::EndpointNotAllowed, none),
        Rejection::CircuitOpen { key, retry_after, by, receipt } => {
            let opened_by = match by {
                OpenedBy::Rules => "rules",
                OpenedBy::Policy => "policy",
                OpenedBy::Hold(_) => "hold",
            };
            let mut pairs = vec![
                ("opened_by", opened_by.to_owned()),
                ("namespace", key.namespace.to_string()),
                ("service", key.name.to_string()),
            ];
            pairs.extend(retry_after.map(|after| ("retry_after_ms", after.as_millis().to_string())));
            if let OpenedBy::Hold(hold) = by {
                pairs.push(("hold_owner", hold.owner().to_owned()));
                pairs.push(("hold_reason", hold.reason().to_owned()));
            }
            if let Some(receipt) = receipt {
                pairs.push(("receipt", receipt.to_string()));
                pairs.push(("breaker", receipt.part.to_string()));
                pairs.push(("calls", receipt.calls.to_string()));
                pairs.push(("failures", receipt.failures.to_string()));
                pairs.extend(receipt.open_for.map(|time| ("open_for_ms", time.as_millis().to_string())));
                let revision = receipt.revision.unwrap_or_default();
                pairs.push(("epoch", revision.epoch.to_string()));
                pairs.push(("revision", revision.revision.to_string()));
            }
            (Code::Unavailable, ErrorReason::CircuitOpen, metadata(pairs))
        }
        Rejection::BulkheadFull { pool } => {
            (Code::ResourceExhausted, ErrorReason::BulkheadFull, metadata([("pool", pool.clone())]))
        }
        Rejection::AdaptiveLimitReached(_) => (Code::ResourceExhausted, ErrorReason::AdaptiveLimitReached, none),
        Rejection::RateLimited(_) => (Code::ResourceExhausted, ErrorReason::RateLimited, none),
        Rejection::Timeout => (Code::DeadlineExceeded, ErrorReason::Timeout, none),
        Rejection::Disabled(_) => (Code::Unavailable, ErrorReason::ServiceDisabled, none),
        Rejection::PayloadTooLarge { .. } => (Code::ResourceExhausted, ErrorReason::PayloadTooLarge, none),
        Rejection::Upstream { code, .. } => (Code::from_i32(*code), ErrorReason::Upstream, none),
    }
}

fn reason_name(reason: ErrorReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix(REASON_PREFIX).unwrap_or(name)
}

fn metadata<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Metadata {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
