//! What headers say of a request: on which revision it rests, and what it is called.

use std::collections::BTreeSet;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::{
    super::problem::Violation,
    entity_tags::{self, Tags},
};

const EXPECTED_REVISION: &str = "expected_revision";
/// The write that makes what is not there.
const REGISTRATION: &str = "cofferdam.v1.RegisterServiceRequest";
const REQUEST_ID: &str = "request_id";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The most revisions of ours that a caller may name: each may be tried.
const MAX_TAGS: usize = 16;

/// What no service is at.
const NEVER: (u64, u64) = (u64::MAX, u64::MAX);

/// On which revision a request rests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Condition {
    /// On that which its message says, or on any.
    #[default]
    AsSaid,
    /// There is no such service yet.
    Absent,
    /// It is at one of these, as `(epoch, revision)`: the newest first, as it is the likeliest. None of ours: at none.
    AtOneOf(Vec<(u64, u64)>),
}

impl Condition {
    /// The revisions to expect, each for an attempt of its own until one is met. `None`: what the message says.
    pub(super) fn expected(&self) -> Vec<Option<(u64, u64)>> {
        match self {
            Self::AsSaid => vec![None],
            // Whatever is not registered is at revision zero.
            Self::Absent => vec![Some((0, 0))],
            Self::AtOneOf(tags) if tags.is_empty() => vec![Some(NEVER)],
            Self::AtOneOf(tags) => tags.iter().copied().map(Some).collect(),
        }
    }

    /// Whether what is expected in an attempt is all that the caller has said.
    pub(super) fn is_one(&self) -> bool {
        !matches!(self, Self::AtOneOf(tags) if tags.len() != 1)
    }
}

/// What `If-Match` says, entity tags of the service as the caller read it, or `*`: that there is one; or `If-None-Match: *`:
/// that there is none.
pub(super) fn read(message: &DynamicMessage, headers: &HeaderMap) -> Result<Condition, Violation> {
    if !headers.contains_key(header::IF_MATCH) {
        return absence(message, headers);
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        return Err(Violation::new("If-None-Match", "is there together with If-Match"));
    }
    let at_fault = |what: &str| Err(Violation::new("If-Match", what));
    let Some(field) = message.descriptor().get_field_by_name(EXPECTED_REVISION) else {
        return at_fault("is for writes of a service or its policy");
    };
    if message.has_field(&field) {
        return at_fault("is there together with expected_revision");
    }
    match entity_tags::read(headers.get_all(header::IF_MATCH)) {
        // Whatever is written but registered has to be there, and is not found where it is not.
        Some(Tags::Any) if message.descriptor().full_name() == REGISTRATION => {
            at_fault("must be an entity tag on a registration, which may be the first one")
        }
        Some(Tags::Any) => Ok(Condition::AsSaid),
        Some(Tags::These(tags)) => {
            // The comparison is strong (RFC 9110, section 13.1.1): a weak tag is none of ours.
            let ours = tags.into_iter().filter(|tag| !tag.is_weak).filter_map(|tag| parse(tag.opaque));
            let ours: BTreeSet<_> = ours.collect();
            if ours.len() > MAX_TAGS {
                return at_fault("has more revisions than the 16 that are compared");
            }
            Ok(Condition::AtOneOf(ours.into_iter().rev().collect()))
        }
        None => at_fault("must be *, or entity tags as a service's answer has one in ETag: \"1700000000000-12\""),
    }
}

fn absence(message: &DynamicMessage, headers: &HeaderMap) -> Result<Condition, Violation> {
    let at_fault = |what: &str| Err(Violation::new("If-None-Match", what));
    let kind = message.descriptor();
    let Some(field) = kind.get_field_by_name(EXPECTED_REVISION) else {
        let is_refused = kind.get_field_by_name(REQUEST_ID).is_some() && headers.contains_key(header::IF_NONE_MATCH);
        // Of a read it is no condition: each answer is sent whole.
        return if is_refused { at_fault("is for writes of a service or its policy") } else { Ok(Condition::AsSaid) };
    };
    match single(headers, &header::IF_NONE_MATCH)? {
        None => Ok(Condition::AsSaid),
        Some("*") if message.has_field(&field) => at_fault("is there together with expected_revision"),
        Some("*") => Ok(Condition::Absent),
        Some(_) => at_fault("must be * on a write: that there is no such service yet; what there is goes by If-Match"),
    }
}

/// The same message, expecting a revision.
pub(super) fn expecting(message: &DynamicMessage, expected: Option<(u64, u64)>) -> DynamicMessage {
    let mut message = message.clone();
    let field = message.descriptor().get_field_by_name(EXPECTED_REVISION);
    if let Some(((epoch, revision), field)) = expected.zip(field)
        && let Value::Message(mut said) = Value::default_value_for_field(&field)
    {
        said.set_field_by_name("epoch", Value::U64(epoch));
        said.set_field_by_name("revision", Value::U64(revision));
        message.set_field(&field, Value::Message(said));
    }
    message
}

/// What `Idempotency-Key` says, with quotes around it or without. `None`: it is not there.
pub(in crate::http) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Violation> {
    let Some(key) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    let key = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key);
    if key.is_empty() { Err(Violation::new("Idempotency-Key", "must not be empty")) } else { Ok(Some(key)) }
}

/// Sets what `Idempotency-Key` says.
pub(super) fn set_request_id(message: &mut DynamicMessage, headers: &HeaderMap) -> Result<(), Violation> {
    let Some(key) = idempotency_key(headers)? else { return Ok(()) };
    let at_fault = |what: &str| Err(Violation::new("Idempotency-Key", what));
    let Some(field) = message.descriptor().get_field_by_name(REQUEST_ID) else {
        return at_fault("is for writes");
    };
    if message.has_field(&field) {
        return at_fault("is there together with request_id");
    }
    message.set_field(&field, Value::String(key.to_owned()));
    Ok(())
}

/// The entity tag of an answer: the revision of the service that is in it. `None`: none is.
pub(super) fn entity_tag(answer: &DynamicMessage) -> Option<HeaderValue> {
    let service = answer.get_field_by_name("service")?;
    let revision = service.as_message()?.get_field_by_name("revision")?;
    let part = |name| revision.as_message()?.get_field_by_name(name)?.as_u64();
    HeaderValue::from_str(&format!("\"{}-{}\"", part("epoch")?, part("revision")?)).ok()
}

/// The revision that a tag of ours is, by what stands between its quotes. `None`: it is none of ours.
fn parse(opaque: &[u8]) -> Option<(u64, u64)> {
    // As they are written, and not as numbers can be written in other ways. No service is of epoch 0, which is any.
    let number = |text: &str| text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text);
    let (epoch, revision) = std::str::from_utf8(opaque).ok()?.split_once('-')?;
    Some((number(epoch)?, number(revision)?))
}

/// The value of a header that can be there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Violation> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text)),
        (Ok(_), Some(_)) => Err(Violation::new(name.as_str(), "is there twice")),
        (Err(_), _) => Err(Violation::new(name.as_str(), "must be in ASCII")),
    }
}
