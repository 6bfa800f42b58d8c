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
use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Registered, Registry, alternatives,
    asked::Asked,
    change::{expect_revision, kept_orders, write},
    changes::{Cause, Kept},
    record::put_back,
    register::{SERVICES, no_room},
    request_record::Request,
    revisions::{Difference, check_time, is_before},
    transact::{Answer, Plan, View},
    unregister::remove,
    validate::{self, target},
};
use crate::{error::Error, words::shortened};

const METHOD: &str = "/cofferdam.v1.IsolationService/Rollback";

/// How many services are put back at a time.
const TOGETHER: usize = 64;

/// How many bytes of differences an answer about several services has.
const MAX_CHANGES_BYTES: usize = 1024 * 1024;

/// How much it has of why one of them was refused.
const MAX_ERROR_BYTES: usize = 256;

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
            let service = self.roll_back(&key, &wish, true).await?;
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
        // Which services have changed is found out from memory, and no transaction would tell it of one that it missed.
        self.shared.catch_up_with_store().await?;
        let Changed { mut waiting, unchanged } = self.changed_since(&wish.request.namespace, time)?;
        let mut answers = Answers::default();
        // What is to go again goes last: the history of what is gone is forgotten where too much is.
        let mut may_remove = wish.request.validate_only;
        loop {
            let Round { is_nearer, refused, to_remove } = self.go(waiting, wish, may_remove, &mut answers).await;
            let is_last = wish.request.validate_only || !is_nearer && to_remove.is_empty();
            let (again, refused): (Vec<_>, Vec<_>) =
                refused.into_iter().partition(|(_, error)| !is_last && may_pass(error));
            refused.into_iter().for_each(|(key, error)| answers.add(refusal(&key, &error)));
            may_remove |= !to_remove.is_empty();
            waiting = again.into_iter().map(|(key, _)| key).chain(to_remove).collect();
            if waiting.is_empty() {
                return Ok(answers.into_response(unchanged));
            }
        }
    }

    /// Tries to put each back, side by side, until the store goes away.
    async fn go(&self, waiting: Vec<ServiceKey>, wish: &Wish, may_remove: bool, answers: &mut Answers) -> Round {
        let is_away = &AtomicBool::new(false);
        let attempts = stream::iter(waiting).map(|key| async move {
            if is_away.load(Ordering::Relaxed) {
                return (key, Err(Error::StoreUnavailable { reason: "it went away before its turn".to_owned() }));
            }
            let outcome = Box::pin(self.roll_back(&key, wish, may_remove)).await;
            if let Err(Error::StoreUnavailable { .. } | Error::StoreOutcomeUnknown { .. }) = outcome {
                is_away.store(true, Ordering::Relaxed);
            }
            (key, outcome)
        });
        let mut attempts = std::pin::pin!(attempts.buffer_unordered(TOGETHER));
        let mut round = Round::default();
        while let Some((key, outcome)) = attempts.next().await {
            round.is_nearer |= is_done(&outcome);
            match outcome {
                Ok(service) if is_left(&service) && wish.request.unregister_newer => round.to_remove.push(key),
                Ok(service) => answers.add(service),
                Err(error) => round.refused.push((key, error)),
            }
        }
        round
    }

    /// The services that changed after a time, those that are gone first, and how many did not.
    fn changed_since(&self, namespace: &str, time: &Timestamp) -> Result<Changed, Error> {
        let namespace = validate::namespaces(namespace)?;
        let catalog = self.shared.read();
        let wanted = |key: &ServiceKey| namespace.as_ref().is_none_or(|name| key.namespace == *name);
        let is_since = |at: Option<Timestamp>| at.is_none_or(|at| !is_before(&at, time));
        let registered = catalog.services_after(None).filter(|present| wanted(present.key()));
        let (since, before): (Vec<_>, Vec<_>) = registered.partition(|present| is_since(present.update_time()));
        let gone = catalog.unregistered_services().filter(|(key, gone)| {
            // A release that keeps no changes registers a service and leaves this.
            wanted(key) && is_since(gone.changes.time) && catalog.service(key).is_none()
        });
        let keys = gone.map(|(key, _)| key.clone()).chain(since.iter().map(|present| present.key().clone()));
        Ok(Changed { waiting: keys.collect(), unchanged: u32::try_from(before.len()).unwrap_or(u32::MAX) })
    }

    async fn roll_back(&self, key: &ServiceKey, wish: &Wish, may_remove: bool) -> Result<v1::RolledBackService, Error> {
        let history = match self.shared.history(key).await {
            Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
            history => history,
        };
        let goal = history.as_ref().map_err(Clone::clone).and_then(|history| {
            let moment = history.find(wish.request.to.as_ref(), "to", self.now())?;
            Ok(Goal { change: moment.change, state: moment.state()? })
        });
        let limit = self.shared.options.max_services;
        // Within the plan, so that a request that was done is answered as it was, whatever is kept now.
        let plan = |view: &mut View<'_>| match &goal {
            Ok(goal) => plan(view, key, wish, goal, limit, may_remove),
            Err(error) => Err(error.clone()),
        };
        let mut service = if wish.request.validate_only {
            self.shared.preview(plan)?
        } else {
            let request_id = &wish.request.request_id;
            let identity = Request::new(METHOD, &own_id(request_id, key), &wish.request)?;
            let reused = |error| match error {
                Error::RequestIdReused { .. } => Error::RequestIdReused { request_id: request_id.clone() },
                error => error,
            };
            self.shared.transact(key, &identity, Some(&wish.cause), plan).await.map_err(reused)?
        };
        service.revision = service.revision.filter(|revision| revision.revision != 0);
        Ok(service)
    }
}

/// The services that a rollback of several is about.
#[derive(Debug)]
struct Changed {
    waiting: Vec<ServiceKey>,
    /// How many more have not changed.
    unchanged: u32,
}

/// What is left of a try.
#[derive(Debug, Default)]
struct Round {
    /// Something was done.
    is_nearer: bool,
    refused: Vec<(ServiceKey, Error)>,
    /// Those that are to go, and were not to go yet.
    to_remove: Vec<ServiceKey>,
}

/// What became of several services, within bounds.
#[derive(Debug, Default)]
struct Answers {
    services: Vec<v1::RolledBackService>,
    bytes: usize,
}

impl Answers {
    fn add(&mut self, mut service: v1::RolledBackService) {
        self.bytes += service.encoded_len();
        if self.bytes > MAX_CHANGES_BYTES {
            let left_out = u32::try_from(service.changes.len()).unwrap_or(u32::MAX);
            service.more_changes = service.more_changes.saturating_add(left_out);
            service.changes = Vec::new();
        }
        self.services.push(service);
    }

    fn into_response(mut self, unchanged: u32) -> v1::RollbackResponse {
        self.services.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
        v1::RollbackResponse { services: self.services, unchanged }
    }
}

fn plan(
    view: &mut View<'_>,
    key: &ServiceKey,
    wish: &Wish,
    goal: &Goal<'_>,
    limit: usize,
    may_remove: bool,
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
            Some(_) if !(wish.request.unregister_newer && may_remove) => nothing(RollbackOutcome::LeftAlone),
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

fn is_left(service: &v1::RolledBackService) -> bool {
    service.outcome() == RollbackOutcome::LeftAlone
}

/// Whether others that are put back may make room.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Invalid { .. } | Error::ServiceInUse { .. } | Error::Contended { .. } => true,
        Error::QuotaExceeded { quota, .. } => *quota == SERVICES,
        _ => false,
    }
}

fn refusal(key: &ServiceKey, error: &Error) -> v1::RolledBackService {
    if let Error::Internal { detail } = error {
        tracing::error!(%detail, "internal error");
    }
    let is_unknown = matches!(error, Error::StoreOutcomeUnknown { .. });
    let outcome = if is_unknown { RollbackOutcome::Unknown } else { RollbackOutcome::Refused };
    v1::RolledBackService {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        outcome: outcome.into(),
        error: shortened(error.to_string(), MAX_ERROR_BYTES),
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
