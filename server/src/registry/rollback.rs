//! Rollback: services become what they were, at a new revision.
//!
//! A service is put back with the same check as any write: what it was may no longer be valid, or name an alternative that
//! is gone. Many services are one transaction, where they fit into one: all that can be put back is, at one revision, or
//! nothing (`many`). More of them are a plan, which is stored first and then carried to its end (`plan`).

use cofferdam_core::{name::ServiceKey, wire::revision_from_wire};
use cofferdam_proto::v1::{self, RollbackOutcome};

mod chunk;
mod goal;
mod graph;
mod many;
mod plan;

pub(super) use self::plan::keep;

use self::goal::{Goal, Step};
use super::{
    Registry, alternatives,
    asked::Asked,
    change::expect_revision,
    changes::Cause,
    register::no_room,
    request_record::Request,
    revisions::check_time,
    transact::{Answer, Plan, View},
    unregister::remove_one,
    validate::{self, target},
};
use crate::error::Error;

const METHOD: &str = "/cofferdam.v1.IsolationService/Rollback";

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

impl Registry {
    /// Puts services back to what they were.
    ///
    /// # Errors
    /// For one service [`Error::ServiceNotFound`], [`Error::RevisionUnknown`], [`Error::RevisionNotKept`],
    /// [`Error::RevisionMismatch`], [`Error::Invalid`], and those of every write; for several what is wrong with the
    /// request, and those of every write where nothing was written.
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
            return Ok(v1::RollbackResponse { services: vec![service], ..v1::RollbackResponse::default() });
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

    async fn roll_back(&self, key: &ServiceKey, wish: &Wish) -> Result<v1::RolledBackService, Error> {
        let history = match self.shared.history(key).await {
            Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
            history => history,
        };
        let goal = history.and_then(|history| Goal::at(&history, wish.request.to.as_ref(), self.now()));
        let limit = self.shared.options.max_services;
        // Within the plan, so that a request that was done is answered as it was, whatever is kept now.
        let plan = |view: &mut View<'_>| match &goal {
            Ok(goal) => plan(view, key, wish, goal, limit),
            Err(error) => Err(error.clone()),
        };
        let mut service = if wish.request.validate_only {
            self.shared.preview(plan)?
        } else {
            let identity = Request::new(METHOD, &wish.request.request_id, &wish.request)?;
            self.shared.transact(key, &identity, Some(&wish.cause), plan).await?
        };
        service.revision = service.revision.filter(|revision| revision.revision != 0);
        Ok(service)
    }
}

fn plan(
    view: &mut View<'_>,
    key: &ServiceKey,
    wish: &Wish,
    goal: &Goal,
    limit: usize,
) -> Result<Plan<v1::RolledBackService>, Error> {
    let before = view.service(key).map(|registered| &**registered);
    let expected = wish.request.expected_revision.map(revision_from_wire);
    expect_revision(key, expected, before)?;
    let cause = goal.cause(&wish.cause);
    let is_poisoned = view.catalog().is_poisoned(key);
    let ops = match goal.step(before, is_poisoned, wish.request.unregister_newer) {
        Step::Nothing(outcome) => {
            let mut answer = goal.answer(key, before, outcome);
            // None of a transaction that writes nothing.
            answer.revision.get_or_insert_default();
            return Ok(Plan { ops: Vec::new(), answer });
        }
        Step::Remove => remove_one(view, key, before, &cause)?,
        Step::Restore if before.is_none() && view.catalog().len() >= limit => return Err(no_room(limit)),
        Step::Restore => {
            let policy = goal.policy()?;
            let guard = alternatives::check(view, key, before, &policy, |path| format!("to.policy.{path}"))?;
            let mut ops = goal.restore(view, key, before, &cause)?;
            ops.extend(guard);
            ops
        }
    };
    Ok(Plan { ops, answer: goal.answer(key, before, RollbackOutcome::Done) })
}
