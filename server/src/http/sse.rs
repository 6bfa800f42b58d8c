//! Streams: an RPC that answers with a stream is answered as server-sent events, as HTML has them.
//!
//! Each event of the contract is a message without a name, so that `onmessage` hears all of them; what is not one has a
//! name: `gap`, `bookmark` and `problem`. The id of each is its cursor, which a browser sends back by itself
//! (`Last-Event-ID`) when it comes again. A bookmark that says nothing is a comment with an id.

use bytes::Bytes;
use cofferdam_proto::{json::Ordered, v1};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::{accept, metadata, problem::Problem, route::Variables, rules::Rpc, transcode};
use crate::{grpc::InProcess, peer::Peer};

const EVENT_STREAM: &str = "text/event-stream";

/// The header with the id of the last event that somebody has seen.
const LAST_EVENT_ID: &str = "last-event-id";

/// How long a browser waits before it comes again, in milliseconds.
const RETRY: &str = "retry: 2000\n";

/// Answers with the messages of a stream.
///
/// # Errors
/// What is wrong with the request, and what the RPC refuses at once.
pub(super) async fn answer(
    rpc: &Rpc,
    service: &InProcess,
    variables: &Variables,
    head: &Parts,
    body: Bytes,
) -> Result<Response<BoxStream<'static, Bytes>>, Problem> {
    let request = transcode::request(rpc, variables, head, body).await?;
    let request = resumed(request.encode(), &head.headers)?;
    let peer = head.extensions.get::<Peer>().cloned();
    let messages = service.stream(rpc.method.clone(), request, metadata(&head.headers), peer).await;
    let messages = messages.map_err(|refusal| Problem::from_refusal(refusal, false))?;
    let output = rpc.output.clone();
    let blocks = messages.scan(false, move |was_told, message| {
        let block = match message {
            Ok(message) => block(&output, &message, was_told),
            Err(refusal) => Err(Problem::from_refusal(refusal, false)),
        };
        let block = block.unwrap_or_else(|problem| {
            let text = problem.into_response().into_body();
            named("problem", "", String::from_utf8_lossy(&text).trim_end())
        });
        std::future::ready(Some(Bytes::from(block)))
    });
    let first = stream::once(std::future::ready(Bytes::from_static(RETRY.as_bytes())));
    let mut answer = Response::new(first.chain(blocks).boxed());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    // A proxy that collects answers would hold each event back until many have come.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

/// Refuses who wants something else than a stream of events.
pub(super) fn accepts(headers: &HeaderMap) -> Result<(), Problem> {
    if accept::accepts(headers, &[EVENT_STREAM, "text/*", "*/*"]) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "this path streams text/event-stream; that with :list behind it lists",
    ))
}

/// The request, going on where its sender has stopped.
fn resumed(request: Bytes, headers: &HeaderMap) -> Result<Bytes, Problem> {
    let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) else { return Ok(request) };
    let last = last.to_str().map_err(|_| Problem::invalid_field("after", "must be a cursor"))?;
    let request = v1::WatchEventsRequest::decode(request).map_err(|error| Problem::internal(&error.to_string()))?;
    // Of what a browser asked for at first, where to begin is over.
    let request = v1::WatchEventsRequest { after: last.to_owned(), since: None, ..request };
    Ok(request.encode_to_vec().into())
}

/// A message as a block of the stream.
fn block(output: &MessageDescriptor, message: &[u8], was_told: &mut bool) -> Result<String, Problem> {
    let internal = |error: &dyn std::fmt::Display| Problem::internal(&error.to_string());
    let message = DynamicMessage::decode(output.clone(), message).map_err(|error| internal(&error))?;
    let cursor = message.get_field_by_name("cursor");
    let cursor = cursor.as_ref().and_then(|cursor| cursor.as_str()).unwrap_or_default().to_owned();
    for field in output.fields().filter(|field| message.has_field(field)) {
        let value = message.get_field(&field);
        let Some(inner) = value.as_message() else { continue };
        let text = serde_json::to_string(&Ordered(inner)).map_err(|error| internal(&error))?;
        if field.name() != "bookmark" {
            let name = if field.name() == "event" { "" } else { field.name() };
            return Ok(named(name, &cursor, &text));
        }
        // Who cannot be asked is said, and once that nobody is any more.
        let is_told = text != "{}";
        if is_told || std::mem::replace(was_told, is_told) {
            *was_told = is_told;
            return Ok(named("bookmark", &cursor, &text));
        }
    }
    Ok(format!(": nothing new\nid: {cursor}\n\n"))
}

/// A block with a name; without one, it is a message.
fn named(name: &str, cursor: &str, data: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!("event: {name}\n") };
    let id = if cursor.is_empty() { String::new() } else { format!("id: {cursor}\n") };
    format!("{name}{id}data: {data}\n\n")
}
