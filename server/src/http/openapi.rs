//! `/openapi.json`: the paths and messages of the contract as OpenAPI 3.1 has them, made from what serves them.
//!
//! Comments of the contract become descriptions, so that there is one text of each.

use http::Method;
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

mod comments;
mod schemas;

use self::{comments::Comments, schemas::Schemas};
use super::{
    JSON,
    pages::PAGES,
    rules::{BodyRule, Rpc},
    seeds::{READS, WRITES},
    transcode::is_one_value,
};

/// Which OpenAPI this is.
const OPENAPI: &str = "3.1.0";

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const A_KEY: &str = "A name for this request: a repetition changes nothing. Stands for request_id.";
const ACTOR: &str = "Cofferdam-Actor";
const AN_ACTOR: &str =
    "Who makes the change, for the history: 1 to 128 bytes without control characters. Left out: the address.";

/// How deep fields within fields of a query are listed.
const MAX_DEPTH: usize = 3;

const ABOUT: &str = "What operators can ask of a Cofferdam manager: the gRPC service cofferdam.v1.IsolationService, as proto3 JSON. Of names, \
     bodies may have the contract's own as well (max_retries for maxRetries); of values, null for what is left out, numbers as \
     text and values of enums by number. Headers that begin with Cofferdam- are handed on as the call's metadata.";

/// The document.
pub(super) fn document(pool: &DescriptorPool, routes: &[(Method, String, Rpc)]) -> Value {
    let comments = Comments::new(pool);
    let mut schemas = Schemas::new(&comments);
    let mut paths: Map<String, Value> = Map::new();
    for (path, page) in PAGES {
        paths.insert((*path).to_owned(), json!({"get": page.in_openapi()}));
    }
    for (path, seed) in READS {
        paths.insert((*path).to_owned(), json!({"get": seed.in_openapi(path)}));
    }
    for (path, write) in WRITES {
        let operation = write.in_openapi(path);
        paths.entry((*path).to_owned()).or_insert_with(|| json!({}))["post"] = operation;
    }
    let mut names: Vec<String> = Vec::new();
    for (method, path, rpc) in routes {
        let name = rpc.name();
        let others = names.iter().filter(|other| *other == name).count();
        names.push(name.to_owned());
        // An operation has a name of its own, and an RPC may have several paths.
        let id = if others == 0 { name.to_owned() } else { format!("{name}_{}", others + 1) };
        let operation = operation(&id, path, rpc, &comments, &mut schemas);
        let item = paths.entry(path.clone()).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method.as_str().to_ascii_lowercase(), operation);
        }
    }
    json!({
        "openapi": OPENAPI,
        "info": {"title": "Cofferdam", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas.finish(), "responses": {"Problem": problem()}},
    })
}

fn operation(id: &str, path: &str, rpc: &Rpc, comments: &Comments, schemas: &mut Schemas<'_>) -> Value {
    let mut parameters = Vec::new();
    for field in rpc.input.fields() {
        let is_in_path = path.contains(&format!("{{{}}}", field.name()));
        let is_in_body = match &rpc.body {
            BodyRule::None => false,
            BodyRule::Whole => true,
            BodyRule::Field(body) => *body == field,
        };
        if is_in_path {
            let parameter = json!({
                "name": field.name(), "in": "path", "required": true, "description": comments.of_field(&field),
                "schema": {"type": "string"},
            });
            parameters.push(parameter);
        } else if !is_in_body {
            query(&mut parameters, &field, "", MAX_DEPTH, comments, schemas);
        }
    }
    parameters.extend(headers(rpc));
    let description = comments.of_method(rpc.name());
    // Of a stream, the schema is that of what its blocks hold together.
    let kind = if rpc.is_stream { "text/event-stream" } else { JSON };
    let mut answers = json!({
        "200": {"description": "Done.", "content": {kind: {"schema": schemas.refer(&rpc.output)}}},
        "default": {"$ref": "#/components/responses/Problem"},
    });
    if is_tagged(&rpc.output) {
        answers["200"]["headers"] = tag();
    }
    if rpc.input.get_field_by_name("expected_revision").is_some() {
        answers["412"] = json!({"$ref": "#/components/responses/Problem"});
    }
    if rpc.output.get_field_by_name("created").is_some() {
        answers["201"] = json!({"description": "Made.", "content": {JSON: {"schema": schemas.refer(&rpc.output)}}});
        answers["201"]["headers"] = tag();
    }
    let mut operation = json!({"operationId": id, "description": description, "responses": answers});
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    let body = match &rpc.body {
        BodyRule::None => None,
        BodyRule::Whole => Some(rpc.input.clone()),
        BodyRule::Field(field) => field.kind().as_message().cloned(),
    };
    if let Some(body) = body {
        operation["requestBody"] = json!({"required": true, "content": {JSON: {"schema": schemas.refer(&body)}}});
    }
    operation
}

/// The parameters that a field is: itself, or the fields in it.
fn query(
    parameters: &mut Vec<Value>,
    field: &FieldDescriptor,
    before: &str,
    depth: usize,
    comments: &Comments,
    schemas: &mut Schemas<'_>,
) {
    let name = format!("{before}{}", field.name());
    match field.kind() {
        _ if field.is_map() => {}
        Kind::Message(inner) if !is_one_value(&inner) => {
            if depth > 0 && !field.is_list() {
                let before = format!("{name}.");
                inner.fields().for_each(|field| query(parameters, &field, &before, depth - 1, comments, schemas));
            }
        }
        _ => parameters.push(json!({
            "name": name, "in": "query", "description": comments.of_field(field), "schema": schemas.of_field(field),
        })),
    }
}

/// What headers say of a request.
fn headers(rpc: &Rpc) -> Vec<Value> {
    let of = |field: &str, name: &str, description: &str| {
        rpc.input.get_field_by_name(field)?;
        Some(header(name, description))
    };
    let condition =
        "The ETag of the service as it was read: 412 where it has changed since. Stands for expected_revision.";
    let creation =
        "* registers the service only where there is none: 412 where there is. Stands for expected_revision.";
    let creates = rpc.input.get_field_by_name("service").is_some_and(|service| service.kind().as_message().is_some());
    let last = "The id of the last event that was seen: what came after it follows. Stands for after.";
    let all = [
        of("expected_revision", "If-Match", condition),
        of("expected_revision", "If-None-Match", creation).filter(|_| creates),
        of("request_id", IDEMPOTENCY_KEY, A_KEY),
        of("request_id", ACTOR, AN_ACTOR),
        rpc.is_stream.then(|| header("Last-Event-ID", last)),
    ];
    all.into_iter().flatten().collect()
}

/// The headers of every write.
pub(super) fn headers_of_writes() -> [Value; 2] {
    [header(IDEMPOTENCY_KEY, A_KEY), header(ACTOR, AN_ACTOR)]
}

fn header(name: &str, description: &str) -> Value {
    json!({"name": name, "in": "header", "description": description, "schema": {"type": "string"}})
}

/// Whether an answer has the revision of one service in it, which is its entity tag.
fn is_tagged(output: &MessageDescriptor) -> bool {
    let service = output.get_field_by_name("service").map(|field| field.kind());
    service.is_some_and(|kind| kind.as_message().is_some_and(|kind| kind.get_field_by_name("revision").is_some()))
}

fn tag() -> Value {
    let description = "The revision of the service, for If-Match: \"EPOCH-REVISION\".";
    json!({"ETag": {"description": description, "schema": {"type": "string"}}})
}

/// The answer of whatever goes wrong.
fn problem() -> Value {
    let text = json!({"type": "string"});
    let violation = json!({"type": "object", "properties": {"field": text, "description": text}});
    let schema = json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": text, "title": text, "status": {"type": "integer"}, "detail": text,
            "code": {"type": "string", "description": "The gRPC code."},
            "reason": {"type": "string", "description": "A name of ErrorReason, without its prefix."},
            "metadata": {"type": "object", "additionalProperties": text},
            "violations": {"type": "array", "items": violation},
        },
    });
    json!({
        "description": "What went wrong (RFC 9457).",
        "content": {"application/problem+json": {"schema": schema}},
    })
}

#[cfg(test)]
mod tests;
