//! A rollback of more services than one transaction takes, carried to its end.
//!
//! The manager that was asked goes on with it at once. Each other one does so where its key has not moved for some
//! seconds: whoever was at it is gone, or cannot reach the store. Two at a time do no harm ([`bulk`](super::super::bulk)).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cofferdam_core::{name::ServiceKey, wire::revision_from_wire};
use cofferdam_proto::v1;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    chunk::chunk,
    many::{Answers, Candidate, Candidates, TOGETHER, course, refusal, refused},
};
use crate::{
    error::Error,
    registry::{
        Shared,
        asked::Actor,
        bulk::{self, BulkPlan},
        catalog::Catalog,
        changes::Cause,
        key::Key,
        request_record::Request,
        revisions::History,
        transact::{Plan, View},
    },
    store::StoreRevision,
    words::shortened,
};

/// How long a plan may stand still before another manager goes on with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long whoever asked waits for the end.
const WAIT: Duration = Duration::from_secs(5);

/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// How many services that are left alone are named.
const MAX_NAMED: usize = 100;

/// How many bytes of why one is left alone.
const MAX_WHY_BYTES: usize = 160;

/// What memory knows of a service: its key's revision, and that of what stands for it where it is gone.
type Seen = (Option<StoreRevision>, Option<StoreRevision>);

/// What is found of a service in its history.
#[derive(Debug)]
enum Finding {
    /// The plan has changed it.
    Done(Box<v1::RolledBackService>),
    /// Somebody has changed it since, as this says.
    Overwritten(String),
    /// It was not to be changed, when that was ordered.
    Untouched,
    /// It may have to be changed, if it is as it was seen.
    Open(Seen, Box<Result<Candidate, Error>>),
}

/// What is known of the services of a plan.
#[derive(Debug, Default)]
struct Found {
    done: BTreeSet<ServiceKey>,
    overwritten: BTreeMap<ServiceKey, String>,
    open: Candidates,
    seen: BTreeMap<ServiceKey, Seen>,
}

impl Found {
    fn add(&mut self, key: ServiceKey, finding: Finding) {
        self.open.remove(&key);
        match finding {
            Finding::Done(_) => {
                self.done.insert(key);
            }
            Finding::Overwritten(by) => {
                self.overwritten.insert(key, by);
            }
            Finding::Untouched => {}
            Finding::Open(seen, candidate) => {
                self.seen.insert(key.clone(), seen);
                self.open.insert(key, *candidate);
            }
        }
    }
}

/// A part of a plan, as it was written.
#[derive(Debug, Default)]
struct Part {
    done: Vec<ServiceKey>,
    /// Those that have changed since they were looked at.
    stale: Vec<ServiceKey>,
    is_last: bool,
}

/// Carries plans on, for as long as it runs.
pub(in crate::registry) async fn keep(shared: Arc<Shared>) {
    let mut is_told = false;
    loop {
        shared.wait_for_plan().await;
        // Apart, so that a manager with nothing to do carries none of its room.
        match Box::pin(shared.carry_on()).await {
            Ok(()) => is_told = false,
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    tracing::warn!(%error, "a change of many services cannot go on yet");
                }
                sleep(PAUSE).await;
                shared.bulk_begun.notify_one();
            }
        }
    }
}

impl Shared {
    /// Waits until there is a plan that was ordered here, or that stands still.
    async fn wait_for_plan(&self) {
        let mut version = self.version.subscribe();
        let mut last = None;
        let mut since = Instant::now();
        loop {
            let plan = self.bulk_under_way();
            let at = plan.as_ref().map(|(at, _)| *at);
            if at != last {
                (last, since) = (at, Instant::now());
            }
            tokio::select! {
                () = self.bulk_begun.notified() => {
                    if self.bulk_under_way().is_some() {
                        return;
                    }
                }
                () = sleep_until(since + PATIENCE), if at.is_some() => {
                    if let Some((_, plan)) = plan {
                        tracing::warn!(
                            ordered = plan.ordered.revision, actor = plan.change.actor,
                            "a change of many services stands still: going on with it"
                        );
                    }
                    return;
                }
                changed = version.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                }
            }
        }
    }

    /// Carries the plan that is under way to its end.
    ///
    /// # Errors
    /// Those of every write. What was done is done, and the rest is still to do.
    pub(in crate::registry) async fn carry_on(self: &Arc<Self>) -> Result<(), Error> {
        self.catch_up_with_store().await?;
        let Some((_, plan)) = self.bulk_under_way() else { return Ok(()) };
        let cause = self.cause_of(&plan)?;
        let mut found = Found::default();
        let mut waiting = self.changed_since(&plan.change.namespace, &plan.change.to.unwrap_or_default())?.waiting;
        loop {
            for (key, finding) in self.findings(waiting, &plan).await? {
                found.add(key, finding);
            }
            let Some(part) = self.write_part(&plan, &found, &cause).await? else { return Ok(()) };
            for key in &part.done {
                found.open.remove(key);
            }
            found.done.extend(part.done);
            if part.is_last {
                return Ok(());
            }
            waiting = part.stale;
        }
    }

    /// Writes as much of a plan as a transaction takes. `None`: somebody else has brought it to its end.
    async fn write_part(
        self: &Arc<Self>,
        plan: &BulkPlan,
        found: &Found,
        cause: &Cause,
    ) -> Result<Option<Part>, Error> {
        let limit = self.options.max_services;
        let last = Mutex::new(None);
        let write = |view: &mut View<'_>| {
            let part = write_part(view, plan, found, cause, limit);
            let (ops, answer, part) = part.unwrap_or_default();
            *last.lock().unwrap_or_else(PoisonError::into_inner) = part;
            Ok(Plan { ops, answer })
        };
        let nameless = Request::new(super::METHOD, "", &v1::RollbackRequest::default())?;
        let written: v1::RollbackResponse = self.transact(None, &nameless, Some(cause), write).await?;
        if let Some(change) = &written.bulk {
            tell(change);
        }
        Ok(last.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is found of services in their histories.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`].
    async fn findings(&self, services: Vec<ServiceKey>, plan: &BulkPlan) -> Result<Vec<(ServiceKey, Finding)>, Error> {
        let reading = stream::iter(services).map(|key| async move {
            // Before its history is read, which is then as new at least.
            let seen = seen(&self.read(), &key);
            let history = match self.history(&key).await {
                Err(error @ Error::StoreUnavailable { .. }) => return Err(error),
                history => history,
            };
            let finding = history.as_ref().ok().and_then(|history| judged(history, plan));
            let to = v1::RevisionPoint { point: plan.change.to.map(v1::revision_point::Point::Time) };
            let open = || Finding::Open(seen, Box::new(self.candidate(history.as_ref(), Some(&to))));
            Ok((key, finding.unwrap_or_else(open)))
        });
        reading.buffer_unordered(TOGETHER).try_collect().await
    }

    /// Waits for the end of a plan, but not for ever, and says what has become of it.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`] where that cannot be read.
    pub(super) async fn await_bulk(
        &self,
        mut change: v1::BulkChange,
        unchanged: u32,
    ) -> Result<v1::RollbackResponse, Error> {
        self.bulk_begun.notify_one();
        let ordered = change.revision.map(revision_from_wire).unwrap_or_default();
        let mut version = self.version.subscribe();
        let give_up = Instant::now() + WAIT;
        let mut is_finished = false;
        loop {
            let bulk = self.read().bulk().and_then(|bulk| bulk.plan.clone());
            match bulk.filter(|plan| plan.ordered >= ordered) {
                Some(plan) if plan.ordered == ordered => {
                    change = plan.change;
                    is_finished = change.finished;
                }
                // Another one could not have begun before.
                Some(_) => is_finished = true,
                None => {}
            }
            if is_finished || tokio::time::timeout_at(give_up, version.changed()).await.is_err() {
                break;
            }
        }
        let mut answers = Answers::default();
        if is_finished {
            change.finished = true;
            self.add_outcomes(&change, &mut answers).await?;
        }
        Ok(v1::RollbackResponse { bulk: Some(change), ..answers.into_response(unchanged) })
    }

    /// What became of the services of a plan that is finished.
    async fn add_outcomes(&self, change: &v1::BulkChange, answers: &mut Answers) -> Result<(), Error> {
        let ordered = change.revision.map(revision_from_wire).unwrap_or_default();
        let plan = BulkPlan { ordered, change: change.clone() };
        let services = self.changed_since(&change.namespace, &change.to.unwrap_or_default())?.waiting;
        let mut open = Candidates::new();
        for (key, finding) in self.findings(services, &plan).await? {
            match finding {
                Finding::Done(service) => answers.add(*service),
                Finding::Overwritten(by) => answers.add(refused(&key, &by)),
                Finding::Untouched => {}
                Finding::Open(_, candidate) => drop(open.insert(key, *candidate)),
            }
        }
        let catalog = self.read();
        let (none, nobody, limit) = (BTreeMap::new(), BTreeSet::new(), self.options.max_services);
        let course = course(&catalog, &open, &none, &nobody, change.unregister_newer, limit);
        for (key, outcome) in &course.others {
            let Some(Ok(candidate)) = open.get(key) else { continue };
            answers.add(candidate.goal.answer(key, catalog.service(key).map(|present| &**present), *outcome));
        }
        course.refused.iter().for_each(|(key, error)| answers.add(refusal(key, error)));
        // What could not be done then, and could be done now.
        for key in &course.order {
            let is_it = |left: &&v1::LeftAloneService| {
                key.namespace.as_str() == left.namespace && key.name.as_str() == left.service
            };
            let why = change.left_alone.iter().find(is_it).map(|left| left.error.as_str());
            answers.add(refused(key, why.unwrap_or("it was left alone")));
        }
        Ok(())
    }

    /// Why a plan changes services.
    fn cause_of(&self, plan: &BulkPlan) -> Result<Cause, Error> {
        let v1::BulkChange { actor, reason, .. } = &plan.change;
        let actor = Actor::new(actor.as_bytes()).unwrap_or_default();
        let manager_id = self.teller.events.manager_id().to_owned();
        let now = self.clock.now().into();
        let cause = Cause::new(v1::ChangeKind::Rollback, actor, reason.clone(), now, manager_id)?;
        Ok(cause.of_bulk(plan.ordered))
    }
}

/// A part of a plan: what to write, what to answer and what it is. `None`: somebody else has brought the plan to its end.
fn write_part(
    view: &mut View<'_>,
    plan: &BulkPlan,
    found: &Found,
    cause: &Cause,
    limit: usize,
) -> Option<(Vec<crate::store::Op>, v1::RollbackResponse, Option<Part>)> {
    let present = view.bulk()?.plan.as_ref()?;
    if present.ordered != plan.ordered || present.change.finished {
        return None;
    }
    let is_stale = |key: &&ServiceKey| found.seen.get(*key) != Some(&seen(view.catalog(), key));
    let stale: BTreeSet<_> = found.open.keys().filter(is_stale).cloned().collect();
    let read = view.read();
    let mut unfit = BTreeMap::new();
    let (course, chunk) = loop {
        let course = course(view.catalog(), &found.open, &unfit, &stale, plan.change.unregister_newer, limit);
        match chunk(view, &course.order, &found.open, cause) {
            Ok(chunk) => break (course, chunk),
            Err(refused) => {
                let (key, error) = *refused;
                // Others may depend on it.
                unfit.insert(key, error);
                view.forget_since(read.clone());
            }
        }
    };
    let is_last = stale.is_empty() && chunk.services.len() == course.order.len();
    let done: Vec<_> = course.order.iter().take(chunk.services.len()).cloned().collect();
    let part = Part { done, stale: stale.into_iter().collect(), is_last };
    if part.done.is_empty() && !is_last {
        return Some((Vec::new(), v1::RollbackResponse::default(), Some(part)));
    }
    let mut left: Vec<_> = found.overwritten.iter().map(|(key, by)| left_alone(key, by)).collect();
    if is_last {
        left.extend(course.refused.iter().map(|(key, error)| left_alone(key, &error.to_string())));
    }
    let left_alone_count = count(left.len());
    left.truncate(MAX_NAMED);
    let change = v1::BulkChange {
        done: count(found.done.len() + part.done.len()),
        left_alone: left,
        left_alone_count,
        finished: is_last,
        ..present.change.clone()
    };
    let mut ops = chunk.ops;
    ops.push(bulk::store(change.clone()));
    let answer = v1::RollbackResponse { bulk: Some(change), ..v1::RollbackResponse::default() };
    Some((ops, answer, Some(part)))
}

/// What a history says of a service by itself. `None`: that it may have to be changed.
fn judged(history: &History, plan: &BulkPlan) -> Option<Finding> {
    if let Some(service) = history.put_back_by(plan.ordered) {
        return Some(Finding::Done(Box::new(service)));
    }
    let since = history.first_after(plan.ordered)?;
    if !history.had_changed(&plan.change.to.unwrap_or_default(), plan.ordered) {
        return Some(Finding::Untouched);
    }
    let actor = match since.record.actor.as_str() {
        "" => "somebody",
        actor => actor,
    };
    Some(Finding::Overwritten(format!("{actor} changed it at revision {} since", since.revision.revision)))
}

fn seen(catalog: &Catalog, key: &ServiceKey) -> Seen {
    (catalog.known(&Key::Service(key.clone())), catalog.known(&Key::Unregistered(key.clone())))
}

fn left_alone(key: &ServiceKey, why: &str) -> v1::LeftAloneService {
    let error = shortened(why, MAX_WHY_BYTES);
    v1::LeftAloneService { namespace: key.namespace.to_string(), service: key.name.to_string(), error }
}

pub(super) fn count(services: usize) -> u32 {
    u32::try_from(services).unwrap_or(u32::MAX)
}

fn tell(change: &v1::BulkChange) {
    let v1::BulkChange { done, services, left_alone_count, finished, actor, .. } = change;
    let ordered = change.revision.unwrap_or_default().revision;
    if *finished {
        tracing::info!(
            ordered,
            actor,
            done,
            services,
            left_alone = left_alone_count,
            "a change of many services is done"
        );
    } else {
        tracing::debug!(ordered, done, services, "a change of many services goes on");
    }
}
