//! What the instances say about a service, in a form that adds up over managers.

use std::{collections::BTreeMap, sync::Arc};

use cofferdam_core::{adaptive_limit::Load, isolation::Part, name::ServiceKey, revision::Revision, wire::PolicyHash};

use super::{Instances, Losses, Member, Recoveries, statistics};
use crate::activity::Activity;

/// Instances with an open breaker that are named of a service.
const MAX_OPEN_IDS: usize = 100;

/// What the instances say about a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Sums over all instances since this manager started.
    pub activity: Activity,
    /// What they reported and is lost.
    pub losses: Losses,
    /// How long breakers took to recover.
    pub recoveries: Recoveries,
    /// What of the sums happened to methods that overrides are for, by glob; those of earlier policies may be in it.
    pub methods: BTreeMap<String, Activity>,
    /// Instances that use the service.
    pub instances: u32,
    /// Instances that have a breaker open or half-open.
    pub open_instances: u32,
    /// The first hundred of them, in order.
    pub open_ids: Vec<Arc<str>>,
    /// Of its breakers that are not closed everywhere, the service's own and those of its parts: at how many instances each
    /// is open, and half-open.
    pub parts: BTreeMap<Part, (u32, u32)>,
    /// The service's adaptive limit and the calls in flight under it, summed over the instances that have one.
    pub adaptive_limit: Load,
    /// Instances that have the policy asked about in force.
    pub applied_instances: u32,
    /// Instances that refused it.
    pub refused_instances: u32,
    /// Instances with a breaker over which an operator's hold stands.
    pub held_instances: u32,
    /// Instances that used it and are silent; they are in no other number.
    pub silent_instances: u32,
}

impl Observation {
    /// Adds what the instances of another manager say.
    pub fn merge(&mut self, other: Self) {
        let Self {
            activity,
            losses,
            recoveries,
            methods,
            instances,
            open_instances,
            open_ids,
            parts,
            adaptive_limit: Load { limit, in_flight },
            applied_instances,
            refused_instances,
            held_instances,
            silent_instances,
        } = other;
        self.activity.merge(&activity);
        self.losses.merge(&losses);
        self.recoveries.merge(&recoveries);
        for (glob, activity) in methods {
            self.methods.entry(glob).or_default().merge(&activity);
        }
        for (part, (open, half_open)) in parts {
            let sum = self.parts.entry(part).or_default();
            *sum = (sum.0.saturating_add(open), sum.1.saturating_add(half_open));
        }
        self.open_ids.extend(open_ids);
        self.open_ids.sort_unstable();
        self.open_ids.dedup();
        self.open_ids.truncate(MAX_OPEN_IDS);
        self.adaptive_limit.limit = self.adaptive_limit.limit.saturating_add(limit);
        self.adaptive_limit.in_flight = self.adaptive_limit.in_flight.saturating_add(in_flight);
        for (sum, more) in [
            (&mut self.instances, instances),
            (&mut self.open_instances, open_instances),
            (&mut self.applied_instances, applied_instances),
            (&mut self.refused_instances, refused_instances),
            (&mut self.held_instances, held_instances),
            (&mut self.silent_instances, silent_instances),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Instances {
    /// What is known of a service whose policy is at this revision with this fingerprint.
    pub fn observe(&self, key: &ServiceKey, revision: Revision, hash: PolicyHash) -> Observation {
        let inner = self.lock();
        let Some(service) = inner.services.get(key) else {
            return Observation::default();
        };
        let count = |holds: &dyn Fn(&Member) -> bool| {
            u32::try_from(service.members.values().filter(|member| holds(member)).count()).unwrap_or(u32::MAX)
        };
        let reported = service.reported.as_deref();
        Observation {
            parts: service.tally.parts().clone(),
            adaptive_limit: service.members.values().filter_map(|member| member.adaptive_limit).fold(
                Load::default(),
                |sum, Load { limit, in_flight }| Load {
                    limit: sum.limit.saturating_add(limit),
                    in_flight: sum.in_flight.saturating_add(in_flight),
                },
            ),
            activity: reported.map(|reported| reported.sums.clone()).unwrap_or_default(),
            losses: reported.map(|reported| reported.losses).unwrap_or_default(),
            methods: reported.map(|reported| reported.methods.clone()).unwrap_or_default(),
            recoveries: reported.map(|reported| reported.recoveries.so_far().clone()).unwrap_or_default(),
            open_ids: statistics::open_ids(service, MAX_OPEN_IDS),
            instances: count(&|_| true),
            silent_instances: service.silent,
            open_instances: service.tally.open(),
            held_instances: count(&|member| member.held > 0),
            applied_instances: count(&|member| member.applied == Some((revision, hash))),
            refused_instances: count(&|member| {
                member.refused.as_ref().is_some_and(|refusal| refusal.revision == revision)
            }),
        }
    }
}
