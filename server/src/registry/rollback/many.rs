//! Many services go back at once: what can be put back is found out for all of them together, and written as one
//! transaction.
//!
//! Which services have changed is found out from memory, which is first brought to where the store is; what each was, from
//! its history. What was at a time past does not change any more, so only what is there now is a condition of the
//! transaction, and only for what is written: that others are as they were, or cannot be put back, was true after the
//! request came, and that is all that can be said of them.

use std::collections::{BTreeMap, BTreeSet};

use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::v1::{self, RollbackOutcome};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost::Message;
use prost_types::Timestamp;
use std::sync::{Mutex, PoisonError};

use super::{
    METHOD, Wish,
    chunk::chunk,
    goal::{Goal, Step},
    graph::{Wanted, settle},
};
use crate::{
    error::Error,
    registry::{
        Registry,
        catalog::Catalog,
        request_record::Request,
        revisions::is_before,
        transact::{Answer, Plan, View},
        validate,
    },
    store::Op,
    words::shortened,
};

/// How many histories are read at a time.
const TOGETHER: usize = 64;

/// How many bytes of differences an answer has.
const MAX_CHANGES_BYTES: usize = 1024 * 1024;

/// How much it has of why a service was refused.
const MAX_ERROR_BYTES: usize = 256;

/// The largest answer that can be kept beside what it is about.
const MAX_ANSWER_BYTES: usize = 192 * 1024;

impl Answer for v1::RollbackResponse {
    fn revision(&mut self) -> &mut Option<v1::Revision> {
        &mut self.revision
    }
}

/// A service that may have to be put back.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) goal: Goal,
    /// The services that are to stand in for it again, or why it cannot be put back.
    pub(super) alternatives: Result<BTreeSet<Name>, Error>,
}

/// What is known of each service that may have to be put back, or why nothing is.
pub(super) type Candidates = BTreeMap<ServiceKey, Result<Candidate, Error>>;

/// What is to be done.
#[derive(Debug, Default)]
struct Course {
    /// The services that are written, in an order in which that can be done part by part.
    order: Vec<ServiceKey>,
    /// Those that are not, and why.
    refused: Vec<(ServiceKey, Error)>,
    /// Those of which nothing has to be written.
    others: Vec<(ServiceKey, RollbackOutcome)>,
}

impl Registry {
    pub(super) async fn roll_all_back(&self, wish: &Wish, time: &Timestamp) -> Result<v1::RollbackResponse, Error> {
        // Which services have changed is found out from memory, and no transaction would tell it of one that it missed.
        self.shared.catch_up_with_store().await?;
        let Changed { waiting, unchanged } = self.changed_since(&wish.request.namespace, time)?;
        let candidates = self.candidates_of(&waiting, wish.request.to.as_ref()).await?;
        let last = Mutex::new(None);
        let limit = self.shared.options.max_services;
        let plan = |view: &mut View<'_>| {
            let (ops, answers) = plan(view, &candidates, wish, limit).ok_or_else(too_many)?;
            let mut answer = answers.into_response(unchanged);
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
            if ops.is_empty() {
                // None of a transaction that writes nothing.
                answer.revision = Some(v1::Revision::default());
            }
            Ok(Plan { ops, answer })
        };
        let answer = if waiting.len() > TOGETHER / 2 {
            Err(too_many())
        } else if wish.request.validate_only {
            self.shared.preview(plan)
        } else {
            let identity = Request::new(METHOD, &wish.request.request_id, &wish.request)?;
            self.shared.transact(None, &identity, Some(&wish.cause), plan).await
        };
        match answer {
            Ok(answer) => Ok(told(answer)),
            Err(error) if error == too_many() => self.roll_each_back(wish, waiting, unchanged).await,
            Err(error @ Error::StoreOutcomeUnknown { .. }) => {
                let planned = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok(doubted(planned.unwrap_or_default(), &error))
            }
            Err(error) => Err(error),
        }
    }

    /// What is known of services, by what they were at a point.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`].
    async fn candidates_of(
        &self,
        services: &[ServiceKey],
        to: Option<&v1::RevisionPoint>,
    ) -> Result<Candidates, Error> {
        let reading = stream::iter(services.to_vec()).map(|key| async move {
            match self.shared.history(&key).await {
                Err(error @ Error::StoreUnavailable { .. }) => Err(error),
                history => {
                    let goal = history.and_then(|history| Goal::at(&history, to, self.now()));
                    let candidate = goal.map(|goal| Candidate { alternatives: goal.alternatives(), goal });
                    Ok((key, candidate))
                }
            }
        });
        reading.buffer_unordered(TOGETHER).try_collect().await
    }

    /// The services that changed after a time, and how many did not.
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
}

/// The services that a rollback of several is about.
#[derive(Debug)]
struct Changed {
    waiting: Vec<ServiceKey>,
    /// How many more have not changed.
    unchanged: u32,
}

/// What to write in one transaction, and what becomes of all. `None`: it takes more than one.
fn plan(view: &mut View<'_>, candidates: &Candidates, wish: &Wish, limit: usize) -> Option<(Vec<Op>, Answers)> {
    let mut unfit = BTreeMap::new();
    let read = view.read();
    loop {
        let course = course(view.catalog(), candidates, &unfit, wish.request.unregister_newer, limit);
        let chunk = match chunk(view, &course.order, candidates, &wish.cause) {
            Ok(chunk) => chunk,
            Err(refused) => {
                let (key, error) = *refused;
                // Others may depend on it.
                unfit.insert(key, error);
                view.forget_since(read.clone());
                continue;
            }
        };
        let mut answers = Answers::default();
        let is_whole = chunk.services.len() == course.order.len();
        chunk.services.into_iter().for_each(|service| answers.add(service));
        course.refused.iter().for_each(|(key, error)| answers.add(refusal(key, error)));
        for (key, outcome) in &course.others {
            let Some(Ok(candidate)) = candidates.get(key) else { continue };
            answers.add(candidate.goal.answer(key, view.catalog().service(key).map(|present| &**present), *outcome));
        }
        let fits = is_whole && (wish.request.validate_only || answers.bytes() <= MAX_ANSWER_BYTES);
        return fits.then_some((chunk.ops, answers));
    }
}

/// What is to be done, as the services are now; `unfit` says for which nothing can be written.
fn course(
    catalog: &Catalog,
    candidates: &Candidates,
    unfit: &BTreeMap<ServiceKey, Error>,
    unregister_newer: bool,
    limit: usize,
) -> Course {
    let mut course = Course::default();
    let mut wanted = BTreeMap::new();
    for (key, candidate) in candidates {
        let candidate = match (candidate, unfit.get(key)) {
            (Ok(candidate), None) => candidate,
            (_, Some(error)) | (Err(error), _) => {
                course.refused.push((key.clone(), error.clone()));
                continue;
            }
        };
        let before = catalog.service(key).map(|present| &**present);
        match candidate.goal.step(before, catalog.is_poisoned(key), unregister_newer) {
            Step::Nothing(outcome) => course.others.push((key.clone(), outcome)),
            Step::Remove => {
                wanted.insert(key, Wanted::Remove);
            }
            Step::Restore => match &candidate.alternatives {
                Ok(alternatives) => {
                    wanted.insert(key, Wanted::Restore(alternatives));
                }
                Err(error) => course.refused.push((key.clone(), error.clone())),
            },
        }
    }
    let settled = settle(catalog, &wanted, limit);
    course.order = settled.order;
    course.refused.extend(settled.refused);
    course
}

/// The answer with the revision in it that all have in common.
fn told(mut answer: v1::RollbackResponse) -> v1::RollbackResponse {
    answer.revision = answer.revision.filter(|revision| revision.revision != 0);
    for service in answer.services.iter_mut().filter(|service| service.outcome() == RollbackOutcome::Done) {
        service.revision = answer.revision;
    }
    answer
}

/// The answer where nobody knows whether what was planned has happened.
fn doubted(mut answer: v1::RollbackResponse, error: &Error) -> v1::RollbackResponse {
    for service in answer.services.iter_mut().filter(|service| service.outcome() == RollbackOutcome::Done) {
        service.set_outcome(RollbackOutcome::Unknown);
        service.error = shortened(error.to_string(), MAX_ERROR_BYTES);
    }
    answer
}

fn too_many() -> Error {
    Error::Internal { detail: "more services than one transaction takes".to_owned() }
}

/// What became of several services, within bounds.
#[derive(Debug, Default)]
pub(super) struct Answers {
    services: Vec<v1::RolledBackService>,
    bytes: usize,
}

impl Answers {
    pub(super) fn add(&mut self, mut service: v1::RolledBackService) {
        self.bytes += service.encoded_len();
        if self.bytes > MAX_CHANGES_BYTES {
            let left_out = u32::try_from(service.changes.len()).unwrap_or(u32::MAX);
            service.more_changes = service.more_changes.saturating_add(left_out);
            service.changes = Vec::new();
        }
        self.services.push(service);
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn into_response(mut self, unchanged: u32) -> v1::RollbackResponse {
        self.services.sort_by(|a, b| (&a.namespace, &a.service).cmp(&(&b.namespace, &b.service)));
        v1::RollbackResponse { services: self.services, unchanged, revision: None }
    }
}

pub(super) fn refusal(key: &ServiceKey, error: &Error) -> v1::RolledBackService {
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
