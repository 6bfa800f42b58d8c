//! RegisterService: a service becomes known, or what is known of it is replaced.

use cofferdam_core::{
    level::{Level, LevelChoice},
    name::ServiceKey,
    policy::{Policy, Violation},
    wire::{apply_fallback_config, effective_policy, level_from_wire, level_to_wire, revision_from_wire},
};
use cofferdam_proto::v1;

use super::{
    Registry, Revision, alternatives,
    asked::{Asked, check_reason},
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

/// The policy that a registration would write, over `before`, the written policy of the service (`None`: it is not
/// registered). It is the manager's own check of a request, less what depends on other services, on revisions and on what
/// there is room for; so a program can look before it asks.
///
/// # Errors
/// [`Error::Invalid`] with each field at fault.
pub fn registered_policy(
    request: &v1::RegisterServiceRequest,
    before: Option<&v1::IsolationPolicy>,
) -> Result<v1::IsolationPolicy, Error> {
    let (_, registration, mut violations) = inspect(request.clone());
    let reason = check_reason(&request.reason).err();
    // What no manager of this release has written says nothing of a level.
    let before = before.and_then(|written| Some((written, effective_policy(written).ok()?.level)));
    let (written, policy) = match checked_policy(&registration, before) {
        Ok((written, _)) => (written, None),
        Err(error) => (v1::IsolationPolicy::default(), Some(error)),
    };
    for error in reason.into_iter().chain(policy) {
        match error {
            Error::Invalid { violations: more } => violations.extend(more),
            other => return Err(other),
        }
    }
    if violations.is_empty() { Ok(written) } else { Err(Error::Invalid { violations }) }
}

/// A request in parts; they are good, each for itself, where no field is at fault.
#[derive(Debug)]
struct Registration {
    service: v1::Service,
    level: Option<LevelChoice>,
    fallback: Option<v1::FallbackConfig>,
    policy: Option<v1::IsolationPolicy>,
    expected: Option<Revision>,
}

impl Registration {
    /// Where a path of its policy is in the request.
    fn place(&self, path: &str) -> String {
        self.field().place(path)
    }

    const fn field(&self) -> Field {
        if self.fallback.is_some() { Field::Fallback } else { Field::Policy }
    }
}

fn check(request: v1::RegisterServiceRequest) -> Result<(ServiceKey, Registration), Error> {
    match inspect(request) {
        (Some(key), mut registration, violations) if violations.is_empty() => {
            registration.service.namespace = key.namespace.to_string();
            Ok((key, registration))
        }
        (_, _, violations) => Err(Error::Invalid { violations }),
    }
}

fn inspect(request: v1::RegisterServiceRequest) -> (Option<ServiceKey>, Registration, Vec<Violation>) {
    let v1::RegisterServiceRequest { service, level, fallback, policy, expected_revision, request_id: _, reason: _ } =
        request;
    let (key, mut violations) = match &service {
        Some(service) => validate::service(service, "service"),
        None => (None, vec![Violation::invalid("service", "must be set")]),
    };
    let level = level_from_wire(level).unwrap_or_else(|unknown| {
        violations.push(Violation::invalid("level", unknown.to_string()));
        None
    });
    let both = fallback.is_some() && policy.as_ref().is_some_and(|policy| policy.fallback.is_some());
    if both {
        let description = "must not be set together with policy.fallback: leave one out";
        violations.push(Violation::invalid("fallback", description));
    }
    let expected = expected_revision.map(revision_from_wire);
    (key, Registration { service: service.unwrap_or_default(), level, fallback, policy, expected }, violations)
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
    let was = before.map(|before| (before.written_policy(), before.policy().level));
    let (written, policy) = checked_policy(registration, was)?;
    let guard = alternatives::check(view, target, before, &policy, |path| registration.place(path))?;
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

/// The quota of [`no_room`].
pub(super) const SERVICES: &str = "services";

/// The refusal of one service more than `limit`.
pub(super) fn no_room(limit: usize) -> Error {
    let remedy = "unregister some, or raise limits.max_services";
    Error::QuotaExceeded { quota: SERVICES, limit: limit.to_string(), remedy }
}

/// The policy that a registration writes, and what follows from it; `before` is the written policy of the service and the
/// level that follows from that.
fn checked_policy(
    registration: &Registration,
    before: Option<(&v1::IsolationPolicy, Level)>,
) -> Result<(v1::IsolationPolicy, Policy), Error> {
    let written = written_policy(registration, before)?;
    let policy = effective_policy(&written)
        .map_err(|invalid| Error::invalid_policy(&invalid, |path| registration.place(path)))?;
    check_size(&written, registration.field())?;
    Ok((written, policy))
}

fn written_policy(
    registration: &Registration,
    before: Option<(&v1::IsolationPolicy, Level)>,
) -> Result<v1::IsolationPolicy, Error> {
    let mut written = match (&registration.policy, before) {
        (Some(policy), _) => policy.clone(),
        (None, Some((before, _))) => before.clone(),
        (None, None) => v1::IsolationPolicy::default(),
    };
    if let Some(level) = registration.level {
        written.set_level(level_to_wire(level));
    } else if let Some((before, in_force)) = before
        && registration.policy.is_some()
        // An unknown number stays, for the check of the whole to refuse.
        && level_from_wire(written.level) == Ok(None)
    {
        keep_level(&mut written, before, in_force);
    }
    if let Some(fallback) = &registration.fallback {
        apply_fallback_config(&mut written, fallback)
            .map_err(|invalid| Error::invalid_policy(&invalid, str::to_owned))?;
    }
    Ok(written)
}

/// Keeps the level in force, in the words of before where they still mean the same, so that a registration repeated
/// is the same policy. A level that was left to the policy stays so.
fn keep_level(written: &mut v1::IsolationPolicy, before: &v1::IsolationPolicy, in_force: Level) {
    written.level = before.level;
    let is_auto = before.level() == v1::IsolationLevel::Auto;
    if !is_auto && effective_policy(written).is_ok_and(|policy| policy.level != in_force) {
        written.set_level(level_to_wire(in_force));
    }
}
