//! Many services go back at once: what can be put back is found out for all of them together, and written as one
//! transaction; or, where it takes more than one, the order to do so is.
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
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    METHOD, Wish,
    chunk::chunk,
    goal::{Goal, Step},
    graph::{Wanted, settle},
    plan::count,
};
use crate::{
    error::Error,
    registry::{
        Registry, Shared, bulk,
        catalog::Catalog,
        key,
        request_record::Request,
        revisions::{History, is_before},
        transact::{Answer, Plan, View},
        validate,
    },
    store::Op,
    words::shortened,
};

/// How many histories are read at a time.
pub(super) const TOGETHER: usize = 64;

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
pub(super) struct Course {
    /// The services that are written, in an order in which that can be done part by part.
    pub(super) order: Vec<ServiceKey>,
    /// Those that are not, and why.
    pub(super) refused: Vec<(ServiceKey, Error)>,
    /// Those of which nothing has to be written.
    pub(super) others: Vec<(ServiceKey, RollbackOutcome)>,
}

/// How it is to be written.
#[derive(Debug)]
enum Written {
    /// In one transaction, which says what becomes of all.
    Whole(Vec<Op>, Answers),
    /// In several, for so many services.
    Parts(usize),
}

impl Registry {
    pub(super) async fn roll_all_back(&self, wish: &Wish, time: &Timestamp) -> Result<v1::RollbackResponse, Error> {
        let shared = &self.shared;
        // Which services have changed is found out from memory, and no transaction would tell it of one that it missed.
        shared.catch_up_with_store().await?;
        let Changed { waiting, unchanged } = shared.changed_since(&wish.request.namespace, time)?;
        let candidates = shared.candidates(waiting, wish.request.to.as_ref()).await?;
        if wish.request.validate_only {
            return Ok(shared.would_be(&candidates, wish, unchanged));
        }
        let last = Mutex::new(None);
        let plan = |view: &mut View<'_>| {
            check_alone(view)?;
            let (ops, mut answer) = match plan(view, &candidates, wish, shared.options.max_services) {
                Written::Whole(ops, answers) => (ops, answers.into_response(unchanged)),
                Written::Parts(services) => {
                    let change = order(wish, time, services, view.catalog().epoch);
                    let answer = v1::RollbackResponse {
                        bulk: Some(change.clone()),
                        ..Answers::default().into_response(unchanged)
                    };
                    (vec![bulk::store(change)], answer)
                }
            };
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
            if ops.is_empty() {
                // None of a transaction that writes nothing.
                answer.revision = Some(v1::Revision::default());
            }
            Ok(Plan { ops, answer })
        };
        let identity = Request::new(METHOD, &wish.request.request_id, &wish.request)?;
        let answer = match shared.transact(None, &identity, Some(&wish.cause), plan).await {
            Ok(answer) => answer,
            Err(error @ Error::StoreOutcomeUnknown { .. }) => {
                let planned: Option<v1::RollbackResponse> = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                return planned
                    .filter(|planned| planned.bulk.is_none())
                    .map(|planned| doubted(planned, &error))
                    .ok_or(error);
            }
            Err(error) => return Err(error),
        };
        match answer.bulk {
            Some(change) => {
                let change = v1::BulkChange { revision: answer.revision, ..change };
                Box::pin(shared.await_bulk(change, answer.unchanged)).await
            }
            None => Ok(told(answer)),
        }
    }
}

impl Shared {
    /// What is known of services, by what they were at a point.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`].
    async fn candidates(&self, services: Vec<ServiceKey>, to: Option<&v1::RevisionPoint>) -> Result<Candidates, Error> {
        let reading = stream::iter(services).map(|key| async move {
            match self.history(&key).await {
                Err(error @ Error::StoreUnavailable { .. }) => Err(error),
                history => Ok((key, self.candidate(history.as_ref(), to))),
            }
        });
        reading.buffer_unordered(TOGETHER).try_collect().await
    }

    /// What is known of a service by its history.
    pub(super) fn candidate(
        &self,
        history: Result<&History, &Error>,
        to: Option<&v1::RevisionPoint>,
    ) -> Result<Candidate, Error> {
        let goal = Goal::at(history.map_err(Clone::clone)?, to, self.clock.now().into())?;
        Ok(Candidate { alternatives: goal.alternatives(), goal })
    }

    /// What would become of services.
    fn would_be(&self, candidates: &Candidates, wish: &Wish, unchanged: u32) -> v1::RollbackResponse {
        let (course, present) = {
            let catalog = self.read();
            let (none, nobody) = (BTreeMap::new(), BTreeSet::new());
            let limit = self.options.max_services;
            let course = course(&catalog, candidates, &none, &nobody, wish.request.unregister_newer, limit);
            let present = |key: &ServiceKey| Some((key.clone(), Arc::clone(catalog.service(key)?)));
            let present: BTreeMap<_, _> = candidates.keys().filter_map(present).collect();
            (course, present)
        };
        let mut answers = Answers::default();
        let done = course.order.iter().map(|key| (key, RollbackOutcome::Done));
        for (key, outcome) in done.chain(course.others.iter().map(|(key, outcome)| (key, *outcome))) {
            let Some(Ok(candidate)) = candidates.get(key) else { continue };
            answers.add(candidate.goal.answer(key, present.get(key).map(|present| &**present), outcome));
        }
        course.refused.iter().for_each(|(key, error)| answers.add(refusal(key, error)));
        answers.into_response(unchanged)
    }

    /// The services that changed after a time, and how many did not.
    pub(super) fn changed_since(&self, namespace: &str, time: &Timestamp) -> Result<Changed, Error> {
        let namespace = validate::namespaces(namespace)?;
        let catalog = self.read();
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
pub(super) struct Changed {
    pub(super) waiting: Vec<ServiceKey>,
    /// How many more have not changed.
    pub(super) unchanged: u32,
}

/// Refuses to begin while many services are still being changed.
fn check_alone(view: &mut View<'_>) -> Result<(), Error> {
    match view.bulk().map(|bulk| bulk.plan.as_ref()) {
        Some(Some(plan)) if !plan.change.finished => Err(plan.under_way()),
        Some(None) => Err(Error::Internal { detail: format!("{}: it cannot be read", key::BULK) }),
        Some(Some(_)) | None => Ok(()),
    }
}

/// The order to put services back, as it is stored first.
fn order(wish: &Wish, time: &Timestamp, services: usize, epoch: u64) -> v1::BulkChange {
    v1::BulkChange {
        // The rest is that of its transaction.
        revision: Some(v1::Revision { epoch, revision: 0 }),
        namespace: wish.request.namespace.clone(),
        to: Some(*time),
        unregister_newer: wish.request.unregister_newer,
        actor: wish.cause.actor().to_owned(),
        reason: wish.request.reason.clone(),
        create_time: Some(wish.cause.time()),
        services: count(services),
        ..v1::BulkChange::default()
    }
}

/// What to write, in one transaction or in several.
fn plan(view: &mut View<'_>, candidates: &Candidates, wish: &Wish, limit: usize) -> Written {
    let mut unfit = BTreeMap::new();
    let read = view.read();
    loop {
        let none = BTreeSet::new();
        let course = course(view.catalog(), candidates, &unfit, &none, wish.request.unregister_newer, limit);
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
        for (key, outcome) in course.others.iter().filter(|_| is_whole) {
            let Some(Ok(candidate)) = candidates.get(key) else { continue };
            answers.add(candidate.goal.answer(key, view.catalog().service(key).map(|present| &**present), *outcome));
        }
        if is_whole && answers.bytes() <= MAX_ANSWER_BYTES {
            return Written::Whole(chunk.ops, answers);
        }
        // It is the order to do so that is written, and none of it.
        view.forget_since(read);
        return Written::Parts(course.order.len() + course.refused.len());
    }
}

/// What is to be done, as the services are now; `unfit` says for which nothing can be written, and `stale` for which nothing
/// is known.
pub(super) fn course(
    catalog: &Catalog,
    candidates: &Candidates,
    unfit: &BTreeMap<ServiceKey, Error>,
    stale: &BTreeSet<ServiceKey>,
    unregister_newer: bool,
    limit: usize,
) -> Course {
    let mut course = Course::default();
    let mut wanted = BTreeMap::new();
    for (key, candidate) in candidates.iter().filter(|(key, _)| !stale.contains(*key)) {
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
        v1::RollbackResponse { services: self.services, unchanged, ..v1::RollbackResponse::default() }
    }
}

pub(super) fn refusal(key: &ServiceKey, error: &Error) -> v1::RolledBackService {
    if let Error::Internal { detail } = error {
        tracing::error!(%detail, "internal error");
    }
    refused(key, &error.to_string())
}

/// A service that is not put back, and why.
pub(super) fn refused(key: &ServiceKey, why: &str) -> v1::RolledBackService {
    v1::RolledBackService {
        namespace: key.namespace.to_string(),
        service: key.name.to_string(),
        outcome: RollbackOutcome::Refused.into(),
        error: shortened(why, MAX_ERROR_BYTES),
        ..v1::RolledBackService::default()
    }
}
