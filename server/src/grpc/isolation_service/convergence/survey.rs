//! How instances stand, over all managers.
//!
//! Each manager counts its own. The counts may be added up only if no instance is in two of them, or in none because it was
//! on its way from one manager to another while they were asked. That is so where each manager has heard of exactly the
//! arrivals at each other one that were counted there: then all counts are of one moment, as far as moves are concerned.
//! Where it is not so, the others are asked again, and what does not come to fit is in doubt and counts as not answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cofferdam_core::{name::ServiceKey, revision::Revision, wire::duration_from_wire, wire::revision_to_wire};
use cofferdam_proto::v1::{self, peer_service_client::PeerServiceClient};
use tonic::{Response, Status, transport::Channel};

use super::{IsolationApi, Quorum, Scope, Subject, duration_to_wire, number};
use crate::{
    error::Error,
    grpc::peer_service::MAX_TARGETS,
    instances::{Instances, LagState, Laggard, Standing, Target},
    peers::target_to_wire,
    registry::validate,
};

/// How instances stand.
pub(super) struct Survey {
    pub(super) services: Vec<(Target, v1::ServiceConvergence)>,
    /// Managers that did not answer; this one, where it does not know yet who they are.
    pub(super) unreachable: Vec<v1::UnreachableManager>,
    /// Managers whose part does not fit the others.
    pub(super) doubts: Vec<v1::UnreachableManager>,
}

impl Survey {
    /// Whether each service has reached the quorum. Who did not answer can only add to a number, and take from a share.
    pub(super) fn is_reached(&self, quorum: Quorum) -> bool {
        let all_are_known = self.doubts.is_empty() && (self.unreachable.is_empty() || quorum.is_absolute());
        let is_reached = |standing: &v1::ServiceConvergence| quorum.is_reached(standing.applied, standing.instances);
        all_are_known && !self.services.is_empty() && self.services.iter().all(|(_, standing)| is_reached(standing))
    }

    /// Whether nobody gets any more what is missing.
    pub(super) fn is_out_of_reach(&self, quorum: Quorum) -> bool {
        self.services.iter().any(|(target, standing)| {
            target.is_out_of_reach() && !quorum.is_reached(standing.applied, standing.instances)
        })
    }
}

impl IsolationApi {
    /// Asks how instances stand: how many are done, of how many, or with `max`, also who is not, at most so many of them.
    pub(super) async fn survey(&self, scope: &Scope, max: Option<usize>) -> Result<Survey, Error> {
        let targets = self.targets(scope)?;
        let others = if self.peers.are_none() {
            Default::default()
        } else {
            let wire: Vec<_> = targets.iter().map(target_to_wire).collect();
            let max = number(max.unwrap_or_default());
            self.peers.ask(|client, manager_id| collect(client, manager_id, wire.clone(), max)).await
        };
        let heard = self.peers.heard();
        let mut parts = BTreeMap::<ServiceKey, Vec<v1::ServiceConvergence>>::new();
        let mut views = Vec::new();
        for (id, part) in others.parts {
            for standing in part.services {
                if let Ok(key) = validate::target(&standing.namespace, &standing.service) {
                    parts.entry(key).or_default().push(standing);
                }
            }
            views.push((id, part.arrived, part.heard));
        }
        let mut room = max;
        let mut services = Vec::new();
        for target in targets {
            let mut standing = service_standing(&self.local.instances, &target, room);
            for part in parts.remove(&target.key).unwrap_or_default() {
                add(&mut standing, part, room.unwrap_or_default());
            }
            let is_used = standing.instances > 0 || matches!(scope, Scope::Service(..));
            if is_used || self.peers.are_none() {
                room = room.map(|room| room.saturating_sub(standing.laggards.len()));
                services.push((target, standing));
            }
        }
        views.push((self.peers.id().to_owned(), *self.local.instances.arrived().borrow(), heard));
        let mut unreachable = others.unreachable;
        let unknown = unknown(&views, &unreachable);
        unreachable.extend(unknown);
        Ok(Survey { services, unreachable, doubts: self.doubts(&views) })
    }

    /// The managers of whose arrivals another one has not heard yet, or heard later than they were counted.
    fn doubts(&self, views: &[View]) -> Vec<v1::UnreachableManager> {
        let mut doubts = Vec::new();
        for (id, arrived, _) in views {
            let other =
                |(other, _, heard): &&View| other != id && heard.get(id).copied().unwrap_or_default() != *arrived;
            if let Some((other, ..)) = views.iter().find(other) {
                let reason = format!("manager {other} has not heard of the same instances from it");
                doubts.push(self.peers.doubt(id, reason));
            }
        }
        doubts
    }
}

/// One manager's part. Where it takes several questions, nobody has come or gone elsewhere between them: otherwise parts of
/// different moments would be taken for one.
async fn collect(
    mut client: PeerServiceClient<Channel>,
    manager_id: String,
    mut targets: Vec<v1::PolicyTarget>,
    max_laggards: u32,
) -> Result<Response<v1::CollectConvergenceResponse>, Status> {
    let mut whole: Option<v1::CollectConvergenceResponse> = None;
    loop {
        let rest = targets.split_off(targets.len().min(MAX_TARGETS));
        let request = v1::CollectConvergenceRequest { manager_id: manager_id.clone(), targets, max_laggards };
        let part = client.collect_convergence(request).await?.into_inner();
        let whole = match &mut whole {
            None => whole.insert(part),
            Some(whole) if (whole.arrived, &whole.heard) == (part.arrived, &part.heard) => {
                whole.services.extend(part.services);
                whole
            }
            Some(_) => return Err(Status::aborted("instances came and went between two parts of its answer")),
        };
        if rest.is_empty() {
            return Ok(Response::new(std::mem::take(whole)));
        }
        targets = rest;
    }
}

/// The managers that another one counts on, and this one did not ask: the other has heard of them first, or still waits for
/// their instances.
fn unknown(views: &[View], unreachable: &[v1::UnreachableManager]) -> Vec<v1::UnreachableManager> {
    let asked: BTreeSet<&str> = views.iter().map(|(id, ..)| &**id).chain(unreachable.iter().map(|m| &*m.id)).collect();
    let counted_on: BTreeMap<&String, &String> =
        views.iter().flat_map(|(id, _, heard)| heard.keys().map(move |other| (other, id))).collect();
    let unknown = counted_on.into_iter().filter(|(other, _)| !asked.contains(other.as_str()));
    let doubt = |(other, id): (&String, &String)| v1::UnreachableManager {
        id: other.clone(),
        address: String::new(),
        reason: format!("manager {id} knows of it, and this one does not"),
    };
    unknown.map(doubt).collect()
}

/// A manager, how many instances have ever come to it, and what it has heard of that from others.
type View = (String, u64, BTreeMap<String, u64>);

/// How the instances of one manager stand. Without `max`, how many are done of how many, whose cost does not grow with them.
pub(in crate::grpc) fn service_standing(
    instances: &Instances,
    target: &Target,
    max: Option<usize>,
) -> v1::ServiceConvergence {
    let (namespace, service) = (target.key.namespace.to_string(), target.key.name.to_string());
    let Some(max) = max else {
        let (applied, instances) = instances.applied(target);
        return v1::ServiceConvergence { namespace, service, applied, instances, ..Default::default() };
    };
    let (standing, laggards) = instances.standing(target, max);
    let Standing { applied, pending, refused, silent, put_back } = standing;
    v1::ServiceConvergence {
        namespace,
        service,
        instances: standing.instances(),
        applied,
        pending,
        refused,
        silent,
        put_back,
        laggards: laggards.into_iter().map(of_laggard).collect(),
        ..Default::default()
    }
}

/// Adds the instances of another manager.
fn add(sum: &mut v1::ServiceConvergence, part: v1::ServiceConvergence, room: usize) {
    for (sum, more) in [
        (&mut sum.instances, part.instances),
        (&mut sum.applied, part.applied),
        (&mut sum.pending, part.pending),
        (&mut sum.refused, part.refused),
        (&mut sum.silent, part.silent),
        (&mut sum.put_back, part.put_back),
    ] {
        *sum = sum.saturating_add(more);
    }
    sum.laggards.extend(part.laggards);
    sum.laggards.sort_by_cached_key(order);
    sum.laggards.truncate(room);
}

/// Those to look at first come first.
fn order(laggard: &v1::Laggard) -> (u8, std::cmp::Reverse<Duration>, String) {
    let rank = match laggard.state() {
        v1::InstanceSyncState::Refused => 0,
        v1::InstanceSyncState::Silent => 1,
        _ => 2,
    };
    let age = laggard.age.and_then(|age| duration_from_wire(age).ok()).unwrap_or_default();
    (rank, std::cmp::Reverse(age), laggard.instance_id.clone())
}

impl IsolationApi {
    /// What is to be in force, by the policies of now.
    pub(super) fn targets(&self, scope: &Scope) -> Result<Vec<Target>, Error> {
        let target = |key: &ServiceKey, asked: Option<Revision>, subject: Subject| {
            let registered = self.local.registry.get(key)?;
            let current = registered.revision();
            let is_about_orders = subject == Subject::Orders;
            let in_place = if is_about_orders { self.local.registry.in_place_of(&registered) } else { None };
            Some(Target {
                key: key.clone(),
                revision: asked.unwrap_or(current),
                current,
                hash: registered.policy_hash(),
                since: registered.since(),
                is_contained: registered.containment().is_some(),
                in_place: in_place.map(|in_place| (in_place.revision(), in_place.policy_hash())),
            })
        };
        match scope {
            Scope::Service(key, asked, subject) => match target(key, *asked, *subject) {
                Some(target) => Ok(vec![target]),
                // Says so, with the names that come close.
                None => self.local.registry.describe(key).map(|_| Vec::new()),
            },
            Scope::Namespace(namespace) => {
                let mut used = self.local.instances.used(namespace);
                if !self.peers.are_none() {
                    // Some may be used at other managers alone.
                    used = self.local.registry.services(Some(namespace)).iter().map(|s| s.key().clone()).collect();
                }
                used.sort();
                Ok(used.iter().filter_map(|key| target(key, None, Subject::Policy)).collect())
            }
        }
    }
}

fn of_laggard(laggard: Laggard) -> v1::Laggard {
    let (state, reason, field_path) = match laggard.state {
        LagState::Refused { reason, field_path } => (v1::InstanceSyncState::Refused, reason, field_path),
        LagState::Silent => (v1::InstanceSyncState::Silent, "its stream broke off".to_owned(), String::new()),
        LagState::Diverged => {
            let reason = "it has another policy in force under this revision: its SDK may be of another release";
            (v1::InstanceSyncState::Pending, reason.to_owned(), String::new())
        }
        LagState::Withheld => {
            let reason = "the policy is contained and not handed out: see containment";
            (v1::InstanceSyncState::Pending, reason.to_owned(), String::new())
        }
        LagState::Pending => (v1::InstanceSyncState::Pending, "no answer yet".to_owned(), String::new()),
    };
    v1::Laggard {
        instance_id: laggard.id,
        application: laggard.application,
        state: state.into(),
        applied_revision: laggard.applied.map(revision_to_wire),
        reason,
        field_path,
        age: Some(duration_to_wire(laggard.age)),
    }
}

#[cfg(test)]
mod tests;
