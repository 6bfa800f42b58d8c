//! From a request of HTTP to the message of an RPC, and from its answer to JSON.

use bytes::Bytes;
use cofferdam_proto::json::Ordered;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};

mod condition;
mod entity_tags;
mod expected;
mod json;
mod parameter;
mod seed;
mod tree;

pub(super) use self::{condition::idempotency_key, json::is_one_value};

use self::condition::Condition;
use super::{
    JSON,
    problem::{Problem, Violation},
    route::Variables,
    rules::{BodyRule, Rpc},
};

/// From how many bytes on a body is read, and an answer written, on a thread where that holds up nobody: it takes a
/// millisecond and more.
pub(super) const LARGE_BYTES: usize = 64 * 1024;

/// A request of HTTP as an RPC's.
#[derive(Debug)]
pub(super) struct Asked {
    message: DynamicMessage,
    condition: Condition,
}

impl Asked {
    /// The message, encoded: where it may rest on one of several revisions once for each of them, to be tried until one is
    /// met.
    pub(super) fn attempts(&self) -> impl Iterator<Item = Bytes> {
        let expected = self.condition.expected().into_iter();
        expected.map(|revision| condition::expecting(&self.message, revision).encode_to_vec().into())
    }

    /// A refusal in the caller's terms: whoever named none of our revisions, or several, expected none in particular.
    pub(super) fn refused(&self, problem: Problem) -> Problem {
        if self.condition.is_one() { problem } else { problem.of_entity_tags() }
    }

    /// The message, encoded, of an RPC that knows no conditions.
    pub(super) fn encode(&self) -> Bytes {
        self.message.encode_to_vec().into()
    }
}

/// What a request asks for.
///
/// # Errors
/// What is wrong with body, path, query or headers: 400 with each field at fault, or 415.
pub(super) async fn request(rpc: &Rpc, variables: &Variables, head: &Parts, body: Bytes) -> Result<Asked, Problem> {
    let mut message = read_body(rpc, &head.headers, body).await?;
    let (mut faults, mut said) = (Vec::new(), parameter::Said::new());
    for (field, value) in variables {
        faults.extend(parameter::set(&mut message, field, value, &mut said).err());
    }
    for (field, value) in form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes()) {
        if faults.len() >= json::MAX_FAULTS {
            break;
        }
        let set = match &rpc.body {
            BodyRule::Field(body) if parameter::begins_with(&field, body) => {
                Err(Violation::new(field, "is what the body is"))
            }
            _ => parameter::set(&mut message, &field, &value, &mut said),
        };
        faults.extend(set.err());
    }
    let condition = condition::read(&message, &head.headers).unwrap_or_else(|fault| {
        faults.push(fault);
        Condition::default()
    });
    faults.extend(condition::set_request_id(&mut message, &head.headers).err());
    if faults.is_empty() { Ok(Asked { message, condition }) } else { Err(Problem::invalid(faults)) }
}

async fn read_body(rpc: &Rpc, headers: &HeaderMap, body: Bytes) -> Result<DynamicMessage, Problem> {
    let mut message = DynamicMessage::new(rpc.input.clone());
    match &rpc.body {
        BodyRule::None if body.is_empty() => {}
        BodyRule::None => return Err(Problem::invalid_field("", "this request takes no body")),
        BodyRule::Whole => {
            is_json(headers)?;
            message = read_json(rpc.input.clone(), body, "").await?;
        }
        BodyRule::Field(field) => {
            is_json(headers)?;
            if let Some(kind) = field.kind().as_message() {
                let value = read_json(kind.clone(), body, field.name()).await?;
                message.set_field(field, Value::Message(value));
            }
        }
    }
    Ok(message)
}

async fn read_json(kind: MessageDescriptor, body: Bytes, path: &str) -> Result<DynamicMessage, Problem> {
    let path = path.to_owned();
    aside(body.len(), move || json::read(&kind, &body, &path)).await?.map_err(Problem::invalid)
}

/// Does what takes time for many bytes: where there are few, at once.
async fn aside<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    if bytes <= LARGE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error.to_string()))
}

/// Refuses what is not said to be JSON, an empty body as well: what a page can send unasked is none of it.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let (kind, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    let is_utf8 = parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()).all(|parameter| {
        let parameter = parameter.to_ascii_lowercase();
        !parameter.starts_with("charset=") || matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
    });
    if kind.trim().eq_ignore_ascii_case(JSON) && is_utf8 {
        return Ok(());
    }
    let problem = Problem::unsupported("the body must be application/json, and its Content-Type say so");
    Err(problem.with_header(header::ACCEPT, HeaderValue::from_static(JSON)))
}

/// The answer of an RPC as JSON, with the revision of the service in it as its entity tag.
///
/// # Errors
/// 500 for an answer that is not the contract's.
pub(super) async fn response(rpc: &Rpc, answer: Bytes) -> Result<Response<Bytes>, Problem> {
    let rpc = rpc.clone();
    aside(answer.len(), move || written(&rpc, &answer)).await?
}

fn written(rpc: &Rpc, answer: &[u8]) -> Result<Response<Bytes>, Problem> {
    let message = DynamicMessage::decode(rpc.output.clone(), answer);
    let message = message.map_err(|error| Problem::internal(&format!("{}: {error}", rpc.method)))?;
    let mut text = serde_json::to_vec(&Ordered(&message))
        .map_err(|error| Problem::internal(&format!("{} cannot be written as JSON: {error}", rpc.method)))?;
    text.push(b'\n');
    let mut response = Response::new(text.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    if let Some(tag) = condition::entity_tag(&message) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    let is_created = message.get_field_by_name("created").is_some_and(|created| created.as_bool() == Some(true));
    if is_created {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
