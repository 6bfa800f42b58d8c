//! How far a policy has come.
//!
//! Everything here is one look under one lock, so that no instance is counted twice or not at all because it moved
//! from one state to another in between. What counts as done is an acknowledgement on a stream that still stands, of
//! the policy asked for or of a later one that we know; of the present one, with the fingerprint that we have computed.

use std::{cmp::Ordering, time::Duration};

use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
    wire::PolicyHash,
};
use tokio::{sync::watch, time::Instant};

use super::{Connected, ENOUGH_TO_CONTAIN, Instances, Member, Service};

/// What instances are to have in force.
#[derive(Clone, Debug)]
pub struct Target {
    /// The service.
    pub key: ServiceKey,
    /// The revision asked for, or a later one.
    pub revision: Revision,
    /// The present revision.
    pub current: Revision,
    /// The fingerprint of the present policy.
    pub hash: PolicyHash,
    /// Since when there is the present policy to be sent.
    pub since: Instant,
    /// Whether the present policy is contained: it is sent to nobody any more.
    pub is_contained: bool,
    /// What is as good as the revision asked for: what is handed out in the place of a contained policy, with the orders of
    /// the present revision. `None`: nothing is.
    pub in_place: Option<(Revision, PolicyHash)>,
}

/// How many instances stand where. Their sum is how many use the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Connected, and it is in force.
    pub applied: u32,
    /// Connected, and not heard of yet.
    pub pending: u32,
    /// Connected, and refused.
    pub refused: u32,
    /// Not connected, and expected back.
    pub silent: u32,
    /// Of the refused ones, those that had the present policy in force and put the one before back.
    pub put_back: u32,
}

/// How many instances have put a policy back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// So many.
    pub count: u32,
    /// Of so many that are connected and use the service.
    pub of: u32,
}

impl PutBack {
    /// Whether it is to be handed out no more: two have, or all there are. One is not enough among others: it may be that
    /// one which is out of order.
    pub fn is_enough(self) -> bool {
        self.count > 0 && self.count >= self.of.min(ENOUGH_TO_CONTAIN)
    }

    /// With those of another manager.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { count: self.count.saturating_add(other.count), of: self.of.saturating_add(other.of) }
    }
}

/// An instance that is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct Laggard {
    /// The instance.
    pub id: String,
    /// The application it belongs to.
    pub application: String,
    /// Where it stands.
    pub state: LagState,
    /// What it has acknowledged last.
    pub applied: Option<Revision>,
    /// For how long.
    pub age: Duration,
}

/// Where an instance stands that is not done. Those to look at first come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LagState {
    /// It refused.
    Refused {
        /// Why, in its own words.
        reason: String,
        /// The field at fault; empty where it is not one field.
        field_path: String,
    },
    /// Its stream broke off.
    Silent,
    /// It has another policy in force under the same revision, or one under a revision that there never was.
    Diverged,
    /// It is not told: the policy is contained.
    Withheld,
    /// It has not answered yet.
    Pending,
}

impl Standing {
    /// All that use the service.
    pub fn instances(&self) -> u32 {
        self.applied.saturating_add(self.pending).saturating_add(self.refused).saturating_add(self.silent)
    }

    /// Adds those of another service.
    pub fn merge(&mut self, other: &Self) {
        let Self { applied, pending, refused, silent, put_back } = other;
        self.applied = self.applied.saturating_add(*applied);
        self.pending = self.pending.saturating_add(*pending);
        self.refused = self.refused.saturating_add(*refused);
        self.silent = self.silent.saturating_add(*silent);
        self.put_back = self.put_back.saturating_add(*put_back);
    }
}

impl Target {
    /// Whether nobody gets it any more that has not got it.
    pub fn is_out_of_reach(&self) -> bool {
        self.is_contained && self.in_place.is_none() && self.revision >= self.current
    }

    fn is_met_by(&self, revision: Revision, hash: PolicyHash) -> bool {
        let is_ours = match revision.cmp(&self.current) {
            Ordering::Less => true,
            Ordering::Equal => hash == self.hash,
            // Nobody here has made such a policy yet: it counts once it is known, with its fingerprint.
            Ordering::Greater => false,
        };
        (revision >= self.revision && is_ours) || self.in_place == Some((revision, hash))
    }

    fn is_met(&self, member: &Member) -> bool {
        #[cfg(test)]
        tests::LOOKED_AT.set(tests::LOOKED_AT.get() + 1);
        member.applied.is_some_and(|(revision, hash)| self.is_met_by(revision, hash))
    }

    /// Whether a member has neither put it in force nor refused it.
    pub(super) fn waits_for(&self, member: &Member) -> bool {
        !self.is_met(member) && !self.is_refused(member)
    }

    fn is_refused(&self, member: &Member) -> bool {
        let asked = self.revision..=self.current.max(self.revision);
        member.refused.as_ref().is_some_and(|refusal| asked.contains(&refusal.revision))
    }
}

impl Instances {
    /// How many have a policy in force, of how many. Its cost does not grow with the number of instances.
    pub fn applied(&self, target: &Target) -> (u32, u32) {
        let inner = self.lock();
        let Some(service) = inner.services.get(&target.key) else {
            return (0, 0);
        };
        let members = u32::try_from(service.members.len()).unwrap_or(u32::MAX);
        let applied = service.progress.count(|revision, hash| target.is_met_by(revision, hash));
        (applied, members.saturating_add(service.silent))
    }

    /// How many instances stand where, and who is not done: at most `max` of them, those to look at first.
    ///
    /// Its cost grows with the instances that use the service, and where one of those is silent, with all that are silent; not
    /// with all that are connected. Where all are done, it does not grow at all.
    pub fn standing(&self, target: &Target, max: usize) -> (Standing, Vec<Laggard>) {
        let inner = self.lock();
        let Some(service) = inner.services.get(&target.key) else {
            return (Standing::default(), Vec::new());
        };
        let standing = standing(service, target);
        if max == 0 || standing.applied == standing.instances() {
            return (standing, Vec::new());
        }
        let now = Instant::now();
        let mut laggards = Vec::new();
        for member in service.members.values().filter(|member| !target.is_met(member)) {
            if let Some(connected) = inner.by_id.get(&*member.id) {
                laggards.push(laggard(connected, member, target, now));
            }
        }
        let silent = inner.silent.iter().filter(|_| service.silent > 0);
        for (id, silent) in silent {
            if let Some(applied) = silent.services.get(&target.key) {
                laggards.push(Laggard {
                    id: id.clone(),
                    application: silent.application.clone(),
                    state: LagState::Silent,
                    applied: *applied,
                    age: now.saturating_duration_since(silent.since),
                });
            }
        }
        drop(inner);
        let order = |laggard: &Laggard| (laggard.state.rank(), std::cmp::Reverse(laggard.age), laggard.id.clone());
        laggards.sort_by_cached_key(order);
        laggards.truncate(max);
        (standing, laggards)
    }

    /// How many have put a revision of a service back.
    pub fn put_back(&self, key: &ServiceKey, revision: Revision) -> PutBack {
        let inner = self.lock();
        inner.services.get(key).map(|service| service.put_back(revision)).unwrap_or_default()
    }

    /// The services of a namespace that some instance uses.
    pub fn used(&self, namespace: &Name) -> Vec<ServiceKey> {
        let inner = self.lock();
        let used =
            inner.services.iter().filter(|(key, service)| key.namespace == *namespace && !service.is_abandoned());
        used.map(|(key, _)| key.clone()).collect()
    }

    /// The services that some instance uses, of all namespaces.
    pub(crate) fn all_used(&self) -> Vec<ServiceKey> {
        let inner = self.lock();
        inner.services.iter().filter(|(_, service)| !service.is_abandoned()).map(|(key, _)| key.clone()).collect()
    }

    /// Counts what instances say about policies, their coming and their going: wakes those who wait for it.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// How many wait for such news.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.progress.receiver_count()
    }

    /// For how long instances have been collected here.
    pub fn observed_for(&self) -> Duration {
        self.since().elapsed()
    }

    /// When all instances have had the time to come: from then on a share of them says something.
    pub fn settled_at(&self) -> Instant {
        self.since() + self.settling
    }

    fn since(&self) -> Instant {
        self.opened.get().copied().unwrap_or(self.made)
    }
}

impl LagState {
    fn rank(&self) -> u8 {
        match self {
            Self::Refused { .. } => 0,
            Self::Silent => 1,
            Self::Diverged => 2,
            Self::Withheld => 3,
            Self::Pending => 4,
        }
    }
}

/// How many stand where. Members are only looked at where some are not done.
pub(super) fn standing(service: &Service, target: &Target) -> Standing {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let applied = service.progress.count(|revision, hash| target.is_met_by(revision, hash));
    let behind = number(service.members.len()).saturating_sub(applied);
    let refused = if behind == 0 {
        0
    } else {
        let members = service.members.values();
        number(members.filter(|member| !target.is_met(member) && target.is_refused(member)).count())
    };
    let put_back = if refused == 0 { 0 } else { service.put_back(target.current).count };
    Standing { applied, pending: behind.saturating_sub(refused), refused, silent: service.silent, put_back }
}

fn laggard(connected: &Connected, member: &Member, target: &Target, now: Instant) -> Laggard {
    let applied = member.applied.map(|(revision, _)| revision);
    let (state, since) = match &member.refused {
        Some(refusal) if target.is_refused(member) => {
            let (reason, field_path) = (refusal.reason.clone(), refusal.field_path.clone());
            (LagState::Refused { reason, field_path }, refusal.since)
        }
        _ if applied >= Some(target.current) => (LagState::Diverged, target.since),
        _ if target.is_out_of_reach() => (LagState::Withheld, target.since.max(connected.since)),
        _ => (LagState::Pending, target.since.max(connected.since)),
    };
    let age = now.saturating_duration_since(since);
    Laggard { id: member.id.to_string(), application: connected.application.clone(), state, applied, age }
}

#[cfg(test)]
mod tests;
