//! Rollback: services become what they were, at a new revision.
//!
//! A service is put back in one transaction, with the same check as any write: what it was may no longer be valid, or name
//! an alternative that is gone. Many services are many transactions, as no store takes them all in one: each is done or
//! refused for itself, side by side, and the answer says which. Those that were refused because of another one, which stands
//! in for them or for which they do, are tried again while others are still being put back.

use cofferdam_core::{
    name::ServiceKey,
    wire::{effective_policy, revision_from_wire, revision_to_wire},
};
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, RollbackOutcome},
};
use futures_util::{StreamExt as _, stream};
use prost::Message;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    Registered, Registry, alternatives,
    asked::Asked,
    change::{expect_revision, kept_orders, write},
    changes::{Cause, Kept},
    record::put_back,
    register::no_room,
    request_record::Request,
    revisions::{Difference, check_time, is_before},
    transact::{Answer, Plan, View},
    unregister::remove,
    validate::{self, target},
};
use crate::error::Error;

const METHOD: &str = "/cofferdam.v1.IsolationService/Rollback";

/// How many services are put back at a time.
const TOGETHER: usize = 64;

/// How many bytes of differences an answer about several services has.
const MAX_CHANGES_BYTES: usize = 1024 * 1024;

impl Answer for v1::RolledBackService {
    fn revision(&mut self) -> &mut Option<v1::Revision> {
        &mut self.revision
    }
}

/// What is asked of each service.
#[derive(Debug)]
struct Wish {
    request: v1::RollbackRequest,
    cause: Cause,
}

/// What a service is to be again. `None`: not registered.
#[derive(Debug)]
struct Goal<'a> {
    change: Option<&'a Kept>,
    state: Option<storage::ServiceRecord>,
}

impl Registry {
    /// Puts services back to what they were.
    ///
    /// # Errors
    /// For one service [`Error::ServiceNotFound`], [`Error::RevisionUnknown`], [`Error::RevisionNotKept`],
    /// [`Error::RevisionMismatch`], [`Error::Invalid`], and those of every write; for several only what is wrong with the
    /// request.
    pub async fn rollback(&self, asked: impl Into<Asked<v1::RollbackRequest>>) -> Result<v1::RollbackResponse, Error> {
        let Asked { request, actor } = asked.into();
        validate::request_id(&request.request_id)?;
        let point = request.to.as_ref().and_then(|to| to.point.as_ref());
        let point = *point.ok_or_else(|| Error::invalid("to", "must be set: to a revision or a time"))?;
        let cause = self.cause(v1::ChangeKind::Rollback, actor, request.reason.clone())?;
        let wish = Wish { request, cause };
        if !wish.request.service.is_empty() {
            let key = target(&wish.request.namespace, &wish.request.service)?;
            let service = self.roll_back(&key, &wish).await?;
            return Ok(v1::RollbackResponse { services: vec![service], unchanged: 0 });
        }
        if wish.request.expected_revision.is_some() {
            return Err(Error::invalid("expected_revision", "must be unset where no service is named"));
        }
        let v1::revision_point::Point::Time(time) = point else {
            return Err(Error::invalid("to.revision", "must be a time where no service is named: set to.time"));
        };
        check_time(&time, "to.time", self.now())?;
        self.roll_all_back(&wish, &time).await
    }

    async fn roll_all_back(&self, wish: &Wish, time: &Timestamp) -> Result<v1::RollbackResponse, Error> {
        let (mut waiting, unchanged) = self.changed_since(&wish.request.namespace, time)?;
        let mut services = Vec::new();
        loop {
            let attempts = stream::iter(waiting.iter().cloned()).map(|key| async move {
                let outcome = Box::pin(self.roll_back(&key, wish)).await;
                (key, outcome)
            });
            let attempts: Vec<_> = attempts.buffer_unordered(TOGETHER).collect().await;
            let is_nearer = attempts.iter().any(|(_, outcome)| is_done(outcome));
            let is_last = !is_nearer || wish.request.validate_only;
            let mut again = Vec::new();
            for (key, outcome) in attempts {
                match outcome {
                    Ok(service) => services.push(service),
                    Err(error) if !is_last && may_pass(&error) => again.push(key),
                    Err(error) => services.push(refusal(&key, &error)),
                }
            }
            if again.is_empty() {
                break;
            }
            waiting = again;
        }
        services.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
        let mut bytes = 0;
        for service in &mut services {
            bytes += service.encoded_len();
            if bytes > MAX_CHANGES_BYTES {
                let left_out = u32::try_from(service.changes.len()).unwrap_or(u32::MAX);
                service.more_changes = service.more_changes.saturating_add(left_out);
                service.changes.clear();
            }
        }
        Ok(v1::RollbackResponse { services, unchanged })
    }

    /// The services that changed after a time, and how many did not.
    fn changed_since(&self, namespace: &str, time: &Timestamp) -> Result<(Vec<ServiceKey>, u32), Error> {
        let namespace = validate::namespaces(namespace)?;
        let catalog = self.shared.read();
        let wanted = |key: &ServiceKey| namespace.as_ref().is_none_or(|name| key.namespace == *name);
        let is_since = |at: Option<Timestamp>| at.is_none_or(|at| !is_before(&at, time));
        let registered = catalog.services_after(None).filter(|present| wanted(present.key()));
        let (since, before): (Vec<_>, Vec<_>) = registered.partition(|present| is_since(present.update_time()));
        let gone = catalog.unregistered_services().filter(|(key, gone)| wanted(key) && is_since(gone.changes.time));
        let keys = since.iter().map(|present| present.key().clone()).chain(gone.map(|(key, _)| key.clone()));
        Ok((keys.collect(), u32::try_from(before.len()).unwrap_or(u32::MAX)))
    }

    async fn roll_back(&self, key: &ServiceKey, wish: &Wish) -> Result<v1::RolledBackService, Error> {
        let history = self.shared.history(key).await?;
        let moment = history.find(wish.request.to.as_ref(), "to", self.now())?;
        let goal = Goal { change: moment.change, state: moment.state()? };
        let limit = self.shared.options.max_services;
        let plan = |view: &mut View<'_>| plan(view, key, wish, &goal, limit);
        let mut service = if wish.request.validate_only {
            self.shared.preview(plan)?
        } else {
            let identity = Request::new(METHOD, &own_id(&wish.request.request_id, key), &wish.request)?;
            self.shared.transact(key, &identity, plan).await?
        };
        service.revision = service.revision.filter(|revision| revision.revision != 0);
        Ok(service)
    }
}

fn plan(
    view: &mut View<'_>,
    key: &ServiceKey,
    wish: &Wish,
    goal: &Goal<'_>,
    limit: usize,
) -> Result<Plan<v1::RolledBackService>, Error> {
    let before = view.service(key).map(|registered| &**registered);
    let expected = wish.request.expected_revision.map(revision_from_wire);
    expect_revision(key, expected, before)?;
    let restored = goal.change.map(|change| revision_to_wire(change.revision));
    let present = before.map(|before| revision_to_wire(before.revision()));
    // What operators order stays as it is.
    let less_orders = |state: storage::ServiceRecord| storage::ServiceRecord { orders: None, ..state };
    let (present_state, then) =
        (before.map(|before| less_orders(before.record())), goal.state.clone().map(less_orders));
    let Difference { changes, more } = Difference::between(present_state.as_ref(), then.as_ref());
    let answer = |outcome: RollbackOutcome| v1::RolledBackService {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        outcome: outcome.into(),
        from: present,
        to: restored,
        // Where nothing is written, none comes from a transaction.
        revision: (outcome != RollbackOutcome::Done).then(|| present.unwrap_or_default()),
        changes: if outcome == RollbackOutcome::Unchanged { Vec::new() } else { changes.clone() },
        more_changes: more,
        error: String::new(),
    };
    let nothing = |outcome| Ok(Plan { ops: Vec::new(), answer: answer(outcome) });
    let cause = wish.cause.clone().restoring(restored);
    let Some(state) = &goal.state else {
        return match before {
            None => nothing(RollbackOutcome::Unchanged),
            Some(_) if !wish.request.unregister_newer => nothing(RollbackOutcome::LeftAlone),
            Some(before) => {
                let ops = remove(view, key, Some(before), &cause)?;
                Ok(Plan { ops, answer: answer(RollbackOutcome::Done) })
            }
        };
    };
    if before.is_some_and(|before| is_the_same(before, state)) && !view.catalog().is_poisoned(key) {
        return nothing(RollbackOutcome::Unchanged);
    }
    if before.is_none() && view.catalog().len() >= limit {
        return Err(no_room(limit));
    }
    let ops = restore(view, key, before, goal, state, &cause)?;
    Ok(Plan { ops, answer: answer(RollbackOutcome::Done) })
}

/// What to write for a service to be what it was.
fn restore(
    view: &mut View<'_>,
    key: &ServiceKey,
    before: Option<&Registered>,
    goal: &Goal<'_>,
    state: &storage::ServiceRecord,
    cause: &Cause,
) -> Result<Vec<crate::store::Op>, Error> {
    let place = |path: &str| format!("to.policy.{path}");
    let (_, violations) = validate::service(&state.service.clone().unwrap_or_default(), "to.service");
    if !violations.is_empty() {
        return Err(Error::Invalid { violations });
    }
    let policy = effective_policy(&state.policy.clone().unwrap_or_default())
        .map_err(|invalid| Error::invalid_policy(&invalid, place))?;
    let guard = alternatives::check(view, key, before, &policy, place)?;
    let written = goal.change.map(|change| change.record.after.as_ref()).unwrap_or_default();
    let after = put_back(written, state, &kept_orders(before, cause)?, cause.time());
    let (mut ops, _) = write(view, key, before, after, cause)?;
    ops.extend(guard);
    Ok(ops)
}

fn is_the_same(present: &Registered, state: &storage::ServiceRecord) -> bool {
    let is_same_policy = state.policy.as_ref() == Some(present.written_policy());
    is_same_policy && state.service.as_ref() == Some(present.service()) && state.insisted == present.is_insisted()
}

fn is_done(outcome: &Result<v1::RolledBackService, Error>) -> bool {
    outcome.as_ref().is_ok_and(|service| service.outcome() == RollbackOutcome::Done)
}

/// Whether others that are put back may make room.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Invalid { .. } | Error::ServiceInUse { .. } | Error::Contended { .. })
}

fn refusal(key: &ServiceKey, error: &Error) -> v1::RolledBackService {
    if let Error::Internal { detail } = error {
        tracing::error!(%detail, "internal error");
    }
    v1::RolledBackService {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        outcome: RollbackOutcome::Refused.into(),
        error: error.to_string(),
        ..v1::RolledBackService::default()
    }
}

/// The name of the part of a request that is about one service; empty where the request has none.
fn own_id(request_id: &str, key: &ServiceKey) -> String {
    if request_id.is_empty() {
        return String::new();
    }
    let digest = Sha256::digest(format!("{request_id}\n{key}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
