//! GetConvergence and WaitForConvergence.
//!
//! Waiting is looking again when an instance has said something, or a policy has changed. A look is cheap: it asks how
//! many, and only the answer asks who. Where there are other managers they are asked, too, every so often (`survey`).
//!
//! A wait for the present policy asks the store first: another manager may have changed it a moment ago, and what is in
//! force everywhere is then the one before. While the store does not say, nothing is reached.

use std::time::Duration;

use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
    wire::{duration_from_wire, duration_to_wire, revision_from_wire, revision_to_wire},
};
use cofferdam_proto::v1::{self, wait_for_convergence_request::Quorum as WireQuorum};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::IsolationApi;
use crate::{
    error::Error,
    instances::Target,
    registry::{Registered, validate},
};

mod survey;

pub(in crate::grpc) use self::survey::service_standing;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_LAGGARDS: usize = 100;
const MAX_LAGGARDS: usize = 1_000;
/// How long after one look the next one comes, at least. Where thousands of instances acknowledge within moments, it would
/// cost more to be woken by each than to listen to all of them.
const PAUSE: Duration = Duration::from_millis(2);
/// How often there is a look where there are other managers to be asked.
const POLL: Duration = Duration::from_millis(100);
/// How long the store may take to say what there is, at least, however short the wait.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
/// How often managers are asked again whose parts do not fit together, and after which time.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(75);
/// Services of a namespace that are named at most.
const MAX_SERVICES: usize = 1_000;

/// What is asked about.
enum Scope {
    Service(ServiceKey, Option<Revision>, Subject),
    Namespace(Name),
}

/// Of what a revision is to be in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Policy,
    /// The orders alone, with whatever policy is handed out.
    Orders,
}

/// How many instances are enough.
#[derive(Clone, Copy)]
enum Quorum {
    Count(u32),
    /// In [1, 100].
    Percent(u32),
}

/// What waiting came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Reached,
    /// A policy that is asked for is contained.
    OutOfReach,
}

impl Quorum {
    fn is_reached(self, applied: u32, instances: u32) -> bool {
        match self {
            Self::Count(count) => applied >= count,
            // Of none, nothing is enough: nobody has it in force.
            Self::Percent(percent) => {
                applied > 0 && u64::from(applied) * 100 >= u64::from(instances) * u64::from(percent)
            }
        }
    }

    /// Whether it can be judged before all instances have had the time to come.
    fn is_absolute(self) -> bool {
        matches!(self, Self::Count(_))
    }
}

impl IsolationApi {
    pub(super) async fn convergence(&self, request: &v1::GetConvergenceRequest) -> Result<v1::Convergence, Error> {
        let scope = Scope::read(&request.namespace, &request.service, request.revision, Subject::Policy)?;
        let max = max_laggards(request.max_laggards)?;
        let scope = self.reached(scope).await?;
        self.look(&scope, Quorum::Percent(100), max).await.map(|(convergence, _)| convergence)
    }

    pub(super) async fn wait_for_convergence(
        &self,
        request: &v1::WaitForConvergenceRequest,
    ) -> Result<v1::WaitForConvergenceResponse, Error> {
        let subject = if request.orders_only { Subject::Orders } else { Subject::Policy };
        let scope = Scope::read(&request.namespace, &request.service, request.revision, subject)?;
        let max = max_laggards(request.max_laggards)?;
        let quorum = read_quorum(request.quorum)?;
        let deadline = Instant::now() + read_timeout(request.timeout)?;
        let scope = self.reached(scope).await?;
        let mut is_known = !scope.means_the_present() || self.catch_up(deadline).await;
        let answer =
            |reached, convergence| Ok(v1::WaitForConvergenceResponse { reached, convergence: Some(convergence) });
        let reaching = async {
            while !is_known {
                tokio::select! {
                    () = sleep(POLL) => is_known = self.local.registry.catch_up().await.is_ok(),
                    () = self.drain.cancelled() => return Err(Error::ShuttingDown),
                }
            }
            loop {
                if self.reach(&scope, quorum).await? == Outcome::OutOfReach {
                    return Ok(None);
                }
                // An instance may have gone since: what is said to be reached is true of what is shown.
                let (convergence, is_reached) = self.look(&scope, quorum, max).await?;
                if is_reached {
                    return Ok::<_, Error>(Some(convergence));
                }
            }
        };
        match timeout_at(deadline, reaching).await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(Some(reached))) => answer(true, reached),
            Ok(Ok(None)) | Err(_) => {
                // What became true after the look before is true of what is shown.
                let (convergence, is_reached) = self.look(&scope, quorum, max).await?;
                answer(is_known && is_reached && self.is_settled(quorum), convergence)
            }
        }
    }

    /// Brings memory to where the store is. Whether it is there.
    async fn catch_up(&self, deadline: Instant) -> bool {
        let patience = deadline.max(Instant::now() + STORE_PATIENCE);
        matches!(timeout_at(patience, self.local.registry.catch_up()).await, Ok(Ok(())))
    }

    /// What is asked about, with a whole revision: without an epoch, it is one of the present epoch. One that the service has
    /// not reached is refused, for no instance could have it. Another manager may have made it a moment ago; where the store
    /// does not say, it is taken to be so.
    async fn reached(&self, scope: Scope) -> Result<Scope, Error> {
        let Scope::Service(key, Some(asked), subject) = scope else { return Ok(scope) };
        let registry = &self.local.registry;
        let current = || registry.get(&key).map(|registered| registered.revision());
        let whole = |current: Option<Revision>| match current {
            Some(Revision { epoch, .. }) if asked.epoch == 0 => Revision { epoch, ..asked },
            _ => asked,
        };
        let is_ahead = |current: Option<Revision>| current.is_some_and(|there| whole(current) > there);
        if is_ahead(current())
            && registry.catch_up().await.is_ok()
            && let Some(there) = current().filter(|there| is_ahead(Some(*there)))
        {
            let there_is = format!("is not there yet: {key} is at {there}, which is meant where this is left out");
            return Err(Error::invalid("revision", there_is));
        }
        let asked = whole(current());
        Ok(Scope::Service(key, Some(asked), subject))
    }

    /// Returns once the quorum is reached, or nobody gets any more what is missing.
    async fn reach(&self, scope: &Scope, quorum: Quorum) -> Result<Outcome, Error> {
        let mut progress = self.local.instances.progress();
        let mut policies = self.local.registry.version();
        let settled = self.local.instances.settled_at();
        let mut next_look = Instant::now();
        loop {
            progress.borrow_and_update();
            policies.borrow_and_update();
            let survey = self.survey(scope, None).await?;
            let is_settled = self.is_settled(quorum);
            if is_settled && survey.is_reached(quorum) {
                return Ok(Outcome::Reached);
            }
            if survey.is_out_of_reach(quorum) {
                return Ok(Outcome::OutOfReach);
            }
            let has_others = !self.peers.are_none();
            let news = async {
                if has_others {
                    // Each look asks them all, so it does not come at every word that is said here; and what instances say
                    // at other managers, nobody is woken for.
                    return sleep(POLL).await;
                }
                // Nobody is woken for news meanwhile.
                sleep_until(next_look).await;
                tokio::select! {
                    _ = progress.changed() => {}
                    _ = policies.changed() => {}
                }
            };
            tokio::select! {
                () = news => next_look = Instant::now() + PAUSE,
                () = sleep_until(settled), if !is_settled => {}
                () = self.drain.cancelled() => return Err(Error::ShuttingDown),
            }
        }
    }

    /// Whether all instances have had the time to come, as far as it matters.
    fn is_settled(&self, quorum: Quorum) -> bool {
        quorum.is_absolute() || Instant::now() >= self.local.instances.settled_at()
    }

    /// Where things stand, and whether every service has reached the quorum.
    async fn look(&self, scope: &Scope, quorum: Quorum, max: usize) -> Result<(v1::Convergence, bool), Error> {
        let mut survey = self.survey(scope, Some(max)).await?;
        for _ in 1..LOOKS {
            if survey.doubts.is_empty() {
                break;
            }
            sleep(BETWEEN_LOOKS).await;
            survey = self.survey(scope, Some(max)).await?;
        }
        let is_reached = survey.is_reached(quorum);
        let total_services = number(survey.services.len());
        let (mut services, mut converged_services) = (Vec::new(), 0);
        for (target, standing) in survey.services {
            let is_done = standing.instances > 0 && standing.applied == standing.instances;
            converged_services += u32::from(is_done);
            if matches!(scope, Scope::Service(..)) || (!is_done && services.len() < MAX_SERVICES) {
                services.push(self.of_service(&target, standing));
            }
        }
        let convergence = v1::Convergence {
            services,
            total_services,
            converged_services,
            observed_for: Some(duration_to_wire(self.local.instances.observed_for())),
            stale_for: self.stale_for(),
            unreachable_managers: survey.unreachable.into_iter().chain(survey.doubts).collect(),
        };
        Ok((convergence, is_reached))
    }

    /// A standing with all that there is to say of its target.
    fn of_service(&self, target: &Target, standing: v1::ServiceConvergence) -> v1::ServiceConvergence {
        let behind = standing.instances - standing.applied.min(standing.instances);
        v1::ServiceConvergence {
            revision: Some(revision_to_wire(target.revision)),
            current_revision: Some(revision_to_wire(target.current)),
            laggards_left_out: behind.saturating_sub(number(standing.laggards.len())),
            containment: self.local.registry.get(&target.key).and_then(|registered| self.containment(&registered)),
            ..standing
        }
    }

    /// Why the policy of a service is not handed out any more, where it is not.
    pub(super) fn containment(&self, registered: &Registered) -> Option<v1::Containment> {
        let containment = registered.containment()?;
        let in_place = self.local.registry.in_place_of(registered);
        Some(v1::Containment {
            revision: Some(revision_to_wire(registered.revision())),
            in_place: in_place.map(|in_place| revision_to_wire(in_place.revision())),
            reason: containment.reason.clone(),
            age: Some(duration_to_wire(self.local.registry.wall_time().saturating_since(containment.since))),
        })
    }
}

impl Scope {
    fn read(namespace: &str, service: &str, revision: Option<v1::Revision>, subject: Subject) -> Result<Self, Error> {
        if !service.is_empty() {
            let key = validate::target(namespace, service)?;
            return Ok(Self::Service(key, revision.map(revision_from_wire), subject));
        }
        if revision.is_some() {
            return Err(Error::invalid("revision", "goes with a service: each has a revision of its own"));
        }
        if subject == Subject::Orders {
            return Err(Error::invalid("orders_only", "goes with a service: each has orders of its own"));
        }
        Ok(Self::Namespace(validate::one_namespace(namespace)?))
    }

    /// Whether it is about what the policies are now, whatever they are.
    fn means_the_present(&self) -> bool {
        !matches!(self, Self::Service(_, Some(_), _))
    }
}

fn read_quorum(quorum: Option<WireQuorum>) -> Result<Quorum, Error> {
    match quorum {
        None => Ok(Quorum::Percent(100)),
        Some(WireQuorum::Count(0)) => Err(Error::invalid("count", "must be at least 1")),
        Some(WireQuorum::Count(count)) => Ok(Quorum::Count(count)),
        Some(WireQuorum::Percent(percent @ 1..=100)) => Ok(Quorum::Percent(percent)),
        Some(WireQuorum::Percent(percent)) => {
            Err(Error::invalid("percent", format!("must be in [1, 100], not {percent}")))
        }
    }
}

fn read_timeout(timeout: Option<prost_types::Duration>) -> Result<Duration, Error> {
    let timeout = timeout.map(duration_from_wire).transpose();
    let timeout = timeout.map_err(|invalid| Error::invalid("timeout", invalid.to_string()))?;
    match timeout.unwrap_or(DEFAULT_TIMEOUT) {
        timeout if timeout <= MAX_TIMEOUT => Ok(timeout),
        _ => Err(Error::invalid("timeout", "must be at most 10 min: ask again, for nothing is lost between two calls")),
    }
}

fn max_laggards(asked: u32) -> Result<usize, Error> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_LAGGARDS),
        Ok(max) if max <= MAX_LAGGARDS => Ok(max),
        _ => Err(Error::invalid("max_laggards", format!("must be in [0, {MAX_LAGGARDS}], not {asked}"))),
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
