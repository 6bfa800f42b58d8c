//! What headers say of a request: on which revision it rests, and what it is called.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use super::super::problem::Violation;

const EXPECTED_REVISION: &str = "expected_revision";
/// The write that makes what is not there.
const REGISTRATION: &str = "cofferdam.v1.RegisterServiceRequest";
const REQUEST_ID: &str = "request_id";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Sets what `If-Match` says, the entity tag of the service as the caller read it, or `*`: that there is one; or
/// `If-None-Match: *`: that there is none.
pub(super) fn set_expected_revision(message: &mut DynamicMessage, headers: &HeaderMap) -> Result<(), Violation> {
    let Some(tag) = single(headers, &header::IF_MATCH)? else { return set_expected_absence(message, headers) };
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
    if tag.trim() == "*" {
        // Whatever is written but registered has to be there, and is not found where it is not.
        return match message.descriptor().full_name() {
            REGISTRATION => at_fault("must be an entity tag on a registration, which may be the first one"),
            _ => Ok(()),
        };
    }
    let Some((epoch, revision)) = parse(tag) else {
        return at_fault(
            "must be *, or one entity tag as a service's answer has it in ETag, for example \"1700000000000-12\"",
        );
    };
    if let Some(expected) = message.get_field_mut(&field).as_message_mut() {
        expected.set_field_by_name("epoch", Value::U64(epoch));
        expected.set_field_by_name("revision", Value::U64(revision));
    }
    Ok(())
}

fn set_expected_absence(message: &mut DynamicMessage, headers: &HeaderMap) -> Result<(), Violation> {
    let at_fault = |what: &str| Err(Violation::new("If-None-Match", what));
    let kind = message.descriptor();
    let Some(field) = kind.get_field_by_name(EXPECTED_REVISION) else {
        let is_refused = kind.get_field_by_name(REQUEST_ID).is_some() && headers.contains_key(header::IF_NONE_MATCH);
        // Of a read it is no condition: each answer is sent whole.
        return if is_refused { at_fault("is for writes of a service or its policy") } else { Ok(()) };
    };
    match single(headers, &header::IF_NONE_MATCH)? {
        None => Ok(()),
        Some("*") if message.has_field(&field) => at_fault("is there together with expected_revision"),
        Some("*") => {
            // Whatever is not registered is at revision zero.
            let Value::Message(none) = Value::default_value_for_field(&field) else { return Ok(()) };
            message.set_field(&field, Value::Message(none));
            Ok(())
        }
        Some(_) => at_fault("must be * on a write: that there is no such service yet; what there is goes by If-Match"),
    }
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

fn parse(tag: &str) -> Option<(u64, u64)> {
    // As they are written, and not as numbers can be written in other ways. No service is of epoch 0, which is any.
    let number = |text: &str| text.parse().ok().filter(|number: &u64| *number > 0 && number.to_string() == text);
    let (epoch, revision) = tag.trim().strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
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
