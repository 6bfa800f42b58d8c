//! RegisterService: a service becomes known, or what is known of it is replaced.

use cofferdam_core::{
    level::Level,
    name::ServiceKey,
    policy::Violation,
    wire::{apply_fallback_config, effective_policy, level_from_wire, level_to_wire, revision_from_wire},
};
use cofferdam_proto::v1;

use super::{
    Registered, Registry, Revision, alternatives,
    asked::Asked,
    change::{Field, Written, check_size, expect_revision, written_service},
    changes::Cause,
    request_record::Request,
    transact::{Answer, Plan, View},
    validate,
};
use crate::error::Error;

impl Answer for v1::RegisterServiceResponse {
    fn revision(&mut self) -> &mut Option<v1::Revision> {
        &mut self.service.get_or_insert_default().revision
    }
}

impl Registry {
    /// Registers a service. What is already as asked for stays at its revision, so that every instance of a service
    /// may register it at every start.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::RevisionMismatch`], [`Error::QuotaExceeded`], and those of every write.
    pub async fn register(
        &self,
        asked: impl Into<Asked<v1::RegisterServiceRequest>>,
    ) -> Result<v1::RegisterServiceResponse, Error> {
        let Asked { mut request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/RegisterService", &request.request_id, &request)?;
        let cause = self.cause(v1::ChangeKind::Registered, actor, std::mem::take(&mut request.reason))?;
        let (target, registration) = check(request)?;
        let limit = self.shared.options.max_services;
        let plan = |view: &mut View<'_>| plan(view, &target, &registration, &cause, limit);
        self.shared.transact(&target, &identity, Some(&cause), plan).await
    }
}

/// A request whose parts are good, each for itself.
#[derive(Debug)]
struct Registration {
    service: v1::Service,
    level: Option<Level>,
    fallback: Option<v1::FallbackConfig>,
    policy: Option<v1::IsolationPolicy>,
    expected: Option<Revision>,
}

fn check(request: v1::RegisterServiceRequest) -> Result<(ServiceKey, Registration), Error> {
    let v1::RegisterServiceRequest { service, level, fallback, policy, expected_revision, request_id: _, reason: _ } =
        request;
    let mut service = service.ok_or_else(|| Error::invalid("service", "must be set"))?;
    let (key, mut violations) = validate::service(&service, "service");
    let level = level_from_wire(level).unwrap_or_else(|unknown| {
        violations.push(Violation::invalid("level", unknown.to_string()));
        None
    });
    let both = fallback.is_some() && policy.as_ref().is_some_and(|policy| policy.fallback.is_some());
    if both {
        let description = "must not be set together with policy.fallback: leave one out";
        violations.push(Violation::invalid("fallback", description));
    }
    match key {
        Some(key) if violations.is_empty() => {
            service.namespace = key.namespace.to_string();
            Ok((
                key,
                Registration { service, level, fallback, policy, expected: expected_revision.map(revision_from_wire) },
            ))
        }
        _ => Err(Error::Invalid { violations }),
    }
}

fn plan(
    view: &mut View<'_>,
    target: &ServiceKey,
    registration: &Registration,
    cause: &Cause,
    limit: usize,
) -> Result<Plan<v1::RegisterServiceResponse>, Error> {
    let before = view.service(target).map(|registered| &**registered);
    expect_revision(target, registration.expected, before)?;
    if before.is_none() && view.catalog().len() >= limit {
        return Err(no_room(limit));
    }
    let written = written_policy(registration, before)?;
    let field = if registration.fallback.is_some() { Field::Fallback } else { Field::Policy };
    let place = |path: &str| field.place(path);
    let policy = effective_policy(&written).map_err(|invalid| Error::invalid_policy(&invalid, place))?;
    check_size(&written, field)?;
    let guard = alternatives::check(view, target, before, &policy, place)?;
    if let Some(same) = before.filter(|before| *before.service() == registration.service)
        && *same.written_policy() == written
        && !view.catalog().is_poisoned(target)
    {
        let service = Some(super::describe(view.catalog(), same));
        return Ok(Plan { ops: Vec::new(), answer: v1::RegisterServiceResponse { service, created: false } });
    }
    let created = before.is_none();
    let written = Written { service: registration.service.clone(), policy: written, insist: false, orders: None };
    let (mut ops, service) = written_service(view, target, before, written, cause)?;
    ops.extend(guard);
    Ok(Plan { ops, answer: v1::RegisterServiceResponse { service: Some(service), created } })
}

/// The refusal of one service more than `limit`.
/// The quota of [`no_room`].
pub(super) const SERVICES: &str = "services";

pub(super) fn no_room(limit: usize) -> Error {
    let remedy = "unregister some, or raise limits.max_services";
    Error::QuotaExceeded { quota: SERVICES, limit: limit.to_string(), remedy }
}

/// The policy that a registration writes.
fn written_policy(registration: &Registration, before: Option<&Registered>) -> Result<v1::IsolationPolicy, Error> {
    let mut written = match (&registration.policy, before) {
        (Some(policy), _) => policy.clone(),
        (None, Some(before)) => before.written_policy().clone(),
        (None, None) => v1::IsolationPolicy::default(),
    };
    if let Some(level) = registration.level {
        written.set_level(level_to_wire(level));
    } else if let Some(before) = before
        && registration.policy.is_some()
        // An unknown number stays, for the check of the whole to refuse.
        && level_from_wire(written.level) == Ok(None)
    {
        keep_level(&mut written, before);
    }
    if let Some(fallback) = &registration.fallback {
        apply_fallback_config(&mut written, fallback)
            .map_err(|invalid| Error::invalid_policy(&invalid, str::to_owned))?;
    }
    Ok(written)
}

/// Keeps the level in force, in the words of before where they still mean the same, so that a registration repeated
/// is the same policy.
fn keep_level(written: &mut v1::IsolationPolicy, before: &Registered) {
    let in_force = before.policy().level;
    written.level = before.written_policy().level;
    if effective_policy(written).is_ok_and(|policy| policy.level != in_force) {
        written.set_level(level_to_wire(in_force));
    }
}
