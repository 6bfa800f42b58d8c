//! What went wrong, as RFC 9457 has it: `application/problem+json`.
//!
//! A refusal of the service keeps all that its gRPC status says: code, reason, metadata, fields at fault, and when to come
//! again. What only HTTP can get wrong has neither code nor reason.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::{grpc::Refusal, words::shortened};

/// The gRPC codes by their numbers, with the status that each is over HTTP, as `google.rpc.Code` says.
const CODES: [(&str, StatusCode); 17] = [
    ("OK", StatusCode::OK),
    ("CANCELLED", CLIENT_CLOSED_REQUEST),
    ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
    ("INVALID_ARGUMENT", StatusCode::BAD_REQUEST),
    ("DEADLINE_EXCEEDED", StatusCode::GATEWAY_TIMEOUT),
    ("NOT_FOUND", StatusCode::NOT_FOUND),
    ("ALREADY_EXISTS", StatusCode::CONFLICT),
    ("PERMISSION_DENIED", StatusCode::FORBIDDEN),
    ("RESOURCE_EXHAUSTED", StatusCode::TOO_MANY_REQUESTS),
    ("FAILED_PRECONDITION", StatusCode::BAD_REQUEST),
    ("ABORTED", StatusCode::CONFLICT),
    ("OUT_OF_RANGE", StatusCode::BAD_REQUEST),
    ("UNIMPLEMENTED", StatusCode::NOT_IMPLEMENTED),
    ("INTERNAL", StatusCode::INTERNAL_SERVER_ERROR),
    ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
    ("DATA_LOSS", StatusCode::INTERNAL_SERVER_ERROR),
    ("UNAUTHENTICATED", StatusCode::UNAUTHORIZED),
];

/// How much of a field's path, and of what is wrong with it, is told: a caller's own words may be in either.
const MAX_WORDS_BYTES: usize = 512;

/// The code of a request with a fault, and its reason.
const INVALID: (&str, &str) = ("INVALID_ARGUMENT", "INVALID_FIELD");

/// 499, which has no name in the registry: the caller went away. Nobody reads it.
const CLIENT_CLOSED_REQUEST: StatusCode = StatusCode::BAD_REQUEST;

/// The name of a gRPC code, by its number.
pub(crate) fn code_name(code: usize) -> &'static str {
    CODES.get(code).map_or("UNKNOWN", |(name, _)| name)
}

/// Why a request has no better answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem(Box<Content>);

#[derive(Clone, Debug, Default, PartialEq)]
struct Content {
    status: StatusCode,
    code: Option<&'static str>,
    reason: Option<String>,
    detail: String,
    metadata: BTreeMap<String, String>,
    violations: Vec<Violation>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// A field at fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Violation {
    /// Its path in the RPC's request, as in `policy.retry.max_attempts`. Empty: the request as a whole.
    pub(super) field: String,
    /// What is wrong with it.
    pub(super) description: String,
}

impl Violation {
    pub(super) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: shortened(field, MAX_WORDS_BYTES), description: shortened(description, MAX_WORDS_BYTES) }
    }
}

impl Problem {
    /// One of HTTP's own.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Content { status, detail: detail.into(), ..Content::default() }))
    }

    /// A type of body that is not taken.
    pub(super) fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
    }

    /// A defect of this program.
    pub(super) fn internal(detail: &str) -> Self {
        tracing::error!(%detail, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error: the manager's log says more")
    }

    /// Fields at fault.
    pub(super) fn invalid(violations: Vec<Violation>) -> Self {
        let said = |violation: &Violation| match violation.field.as_str() {
            "" => violation.description.clone(),
            field => format!("{field} {}", violation.description),
        };
        let detail = violations.iter().map(said).collect::<Vec<_>>().join("; ");
        let (code, reason, status) = (Some(INVALID.0), Some(INVALID.1.to_owned()), StatusCode::BAD_REQUEST);
        Self(Box::new(Content { status, code, reason, detail, violations, ..Content::default() }))
    }

    /// One field at fault.
    pub(super) fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::invalid(vec![Violation::new(field, description)])
    }

    /// A refusal of the service. `is_conditional`: the request had a condition on the revision.
    pub(super) fn from_refusal(refusal: Refusal, is_conditional: bool) -> Self {
        let Refusal { code, message, reason, metadata, violations, retry_after } = refusal;
        let known = usize::try_from(code).ok().and_then(|code| CODES.get(code));
        let (name, status) = known.copied().unwrap_or(("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR));
        let status = match reason.as_str() {
            // Without the present revision, the others were merely faster each time: the condition may still hold.
            "REVISION_MISMATCH" if is_conditional && metadata.contains_key("current_revision") => {
                StatusCode::PRECONDITION_FAILED
            }
            "PAYLOAD_TOO_LARGE" => StatusCode::PAYLOAD_TOO_LARGE,
            // What the upstream says of the manager, it does not say of the manager's caller.
            "UPSTREAM" if matches!(name, "CANCELLED" | "UNAUTHENTICATED") => StatusCode::BAD_GATEWAY,
            _ => status,
        };
        let violations = violations.into_iter().map(|(field, description)| Violation { field, description });
        Self(Box::new(Content {
            status,
            code: Some(name),
            reason: Some(reason).filter(|reason| !reason.is_empty()),
            detail: message,
            metadata,
            violations: violations.collect(),
            headers: retry_after.map(retry_after_header).into_iter().collect(),
        }))
    }

    /// The fields at fault.
    #[cfg(test)]
    pub(super) fn violations(&self) -> &[Violation] {
        &self.0.violations
    }

    /// What is wrong, in words.
    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Whether there is nothing of the name.
    pub(super) fn is_not_found(&self) -> bool {
        self.0.status == StatusCode::NOT_FOUND
    }

    /// Whether nobody could be asked, or nothing was heard of it.
    pub(super) fn is_without_answer(&self) -> bool {
        matches!(self.0.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
    }

    /// The same of a caller whose entity tags were none of ours, or several: 412 names the present revision, and none that was
    /// expected.
    pub(super) fn of_entity_tags(mut self) -> Self {
        let content = &mut self.0;
        if content.status != StatusCode::PRECONDITION_FAILED {
            return self;
        }
        content.metadata.retain(|name, _| !name.starts_with("expected_"));
        let part = |name| content.metadata.get(name).map(String::as_str).unwrap_or_default();
        content.detail = match (part("current_epoch"), part("current_revision")) {
            ("0", "0") => "If-Match has entity tags of a service that is not registered".to_owned(),
            (epoch, revision) => format!(
                "no entity tag in If-Match is that of the service now, \"{epoch}-{revision}\": read it again and decide anew"
            ),
        };
        self
    }

    /// The same with a header.
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let content = *self.0;
        let body = Body {
            kind: "about:blank",
            title: content.status.canonical_reason().unwrap_or_default(),
            status: content.status.as_u16(),
            detail: &content.detail,
            code: content.code,
            reason: content.reason.as_deref(),
            metadata: &content.metadata,
            violations: &content.violations,
        };
        // Texts alone cannot fail to be written.
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        let mut response = Response::new(text.into());
        *response.status_mut() = content.status;
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response.headers_mut().extend(content.headers);
        response
    }
}

/// In whole seconds, which is all that the header has: rounded up, so that nobody comes too early.
fn retry_after_header(after: Duration) -> (HeaderName, HeaderValue) {
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    (header::RETRY_AFTER, seconds.into())
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    violations: &'a [Violation],
}

#[cfg(test)]
mod tests;
