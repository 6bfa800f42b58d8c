//! The processes that hold a Sync stream: what they have in force and what they report.
//!
//! Counters are sums since this manager started and stay when an instance goes. What is a state rather than a count
//! (breaker, health, applied revision) belongs to its instance and goes with it. Nothing here outlives the manager or
//! reaches the store, and reading changes nothing.
//!
//! An instance is known by its `instance_id`. A second stream with the same id is the same process, come back before
//! its old connection was noticed to be dead: it takes the place of the first, which is ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cofferdam_core::{
    adaptive_limit::Load,
    breaker::State,
    health::HealthStatus,
    isolation::Part,
    name::{Name, ServiceKey},
    revision::Revision,
    stats::CounterSnapshot,
    wire::PolicyHash,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

mod tally;

use self::tally::Tally;

/// The instances of this manager.
#[derive(Debug)]
pub struct Instances {
    inner: Mutex<Inner>,
    max: usize,
    /// Counts changes of breaker states and health.
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<String, Connected>,
    services: HashMap<ServiceKey, Service>,
    last_session: u64,
}

#[derive(Debug)]
struct Connected {
    session: u64,
    namespace: Name,
    services: HashSet<ServiceKey>,
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Service {
    sums: CounterSnapshot,
    members: BTreeMap<u64, Member>,
    tally: Tally,
}

/// One service at one instance.
#[derive(Clone, Debug, Default)]
struct Member {
    applied: Option<(Revision, PolicyHash)>,
    refused: Option<Refusal>,
    now: Condition,
    /// The breakers that parts of the service have to themselves, as far as they are not closed.
    parts: Vec<(Part, State)>,
    /// `None`: none is in force.
    adaptive_limit: Option<Load>,
}

/// A policy that an instance would not put in force; the one before stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The policy's revision.
    pub revision: Revision,
    /// Why, in the instance's own words.
    pub reason: String,
    /// The field at fault, by its path in the policy; empty where it is not one field.
    pub field_path: String,
}

/// One instance's place here. Dropping it disconnects the instance.
#[derive(Debug)]
pub struct Session {
    instances: Arc<Instances>,
    id: String,
    session: u64,
    ended: CancellationToken,
}

/// What the instances say about a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// Sums over all instances since this manager started.
    pub counters: CounterSnapshot,
    /// Instances that use the service.
    pub instances: u32,
    /// Instances that have a breaker open or half-open.
    pub open_instances: u32,
    /// Of the breakers that parts of the service have to themselves and that are not closed everywhere: at how many
    /// instances each is open, and half-open.
    pub parts: HashMap<Part, (u32, u32)>,
    /// The service's adaptive limit and the calls in flight under it, summed over the instances that have one.
    pub adaptive_limit: Load,
    /// Instances that have the policy asked about in force.
    pub applied_instances: u32,
    /// Instances that refused it.
    pub refused_instances: u32,
}

/// The least good of what instances report about a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The breaker; absent where no instance reports one.
    pub breaker: Option<State>,
    /// The health; absent where no instance reports it.
    pub health: Option<HealthStatus>,
}

impl Instances {
    /// No instance yet, and never more than `max` at once.
    pub fn new(max: usize) -> Self {
        Self { inner: Mutex::default(), max, version: watch::Sender::new(0) }
    }

    /// Takes an instance in, and ends the session that had its id before.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] where there is no room.
    pub fn connect(self: &Arc<Self>, id: &str, namespace: Name) -> Result<Session, Error> {
        let mut inner = self.lock();
        if inner.by_id.len() >= self.max && !inner.by_id.contains_key(id) {
            return Err(Error::QuotaExceeded {
                quota: "instances",
                limit: self.max.to_string(),
                remedy: "connect to another manager, or raise limits.max_instances",
            });
        }
        inner.remove(id);
        inner.last_session += 1;
        let session = inner.last_session;
        let ended = CancellationToken::new();
        let connected = Connected { session, namespace, services: HashSet::new(), ended: ended.clone() };
        inner.by_id.insert(id.to_owned(), connected);
        Ok(Session { instances: Arc::clone(self), id: id.to_owned(), session, ended })
    }

    /// How many instances are connected, in one namespace or in all.
    pub fn count(&self, namespace: Option<&Name>) -> usize {
        let inner = self.lock();
        match namespace {
            Some(namespace) => inner.by_id.values().filter(|connected| connected.namespace == *namespace).count(),
            None => inner.by_id.len(),
        }
    }

    /// What is known of a service whose policy is at this revision with this fingerprint.
    pub fn observe(&self, key: &ServiceKey, revision: Revision, hash: PolicyHash) -> Observation {
        let inner = self.lock();
        let Some(service) = inner.services.get(key) else {
            return Observation::default();
        };
        let count = |holds: &dyn Fn(&Member) -> bool| {
            u32::try_from(service.members.values().filter(|member| holds(member)).count()).unwrap_or(u32::MAX)
        };
        let mut parts: HashMap<Part, (u32, u32)> = HashMap::new();
        for (part, state) in service.members.values().flat_map(|member| &member.parts) {
            let (open, half_open) = parts.entry(part.clone()).or_default();
            match state {
                State::Open => *open += 1,
                State::HalfOpen => *half_open += 1,
                State::Closed => {}
            }
        }
        Observation {
            parts,
            adaptive_limit: service.members.values().filter_map(|member| member.adaptive_limit).fold(
                Load::default(),
                |sum, Load { limit, in_flight }| Load {
                    limit: sum.limit.saturating_add(limit),
                    in_flight: sum.in_flight.saturating_add(in_flight),
                },
            ),
            counters: service.sums,
            instances: count(&|_| true),
            open_instances: service.tally.open(),
            applied_instances: count(&|member| member.applied == Some((revision, hash))),
            refused_instances: count(&|member| {
                member.refused.as_ref().is_some_and(|refusal| refusal.revision == revision)
            }),
        }
    }

    /// What instances have last refused of a service and not replaced since, by instance.
    pub fn refusals(&self, key: &ServiceKey) -> BTreeMap<String, Refusal> {
        let inner = self.lock();
        let Some(service) = inner.services.get(key) else {
            return BTreeMap::new();
        };
        let of = |connected: &Connected| service.members.get(&connected.session)?.refused.clone();
        let refusals = inner.by_id.iter().filter_map(|(id, connected)| Some((id.clone(), of(connected)?)));
        refusals.collect()
    }

    /// The least good of what instances report about a service.
    pub fn condition(&self, key: &ServiceKey) -> Condition {
        self.lock().services.get(key).map(|service| service.tally.condition()).unwrap_or_default()
    }

    /// The services that nobody follows any more, whose sums are still kept.
    pub fn abandoned(&self) -> Vec<ServiceKey> {
        let inner = self.lock();
        inner.services.iter().filter(|(_, service)| service.members.is_empty()).map(|(key, _)| key.clone()).collect()
    }

    /// Forgets the sums of a service, unless somebody follows it by now.
    pub fn forget(&self, key: &ServiceKey) {
        let mut inner = self.lock();
        if inner.services.get(key).is_some_and(|service| service.members.is_empty()) {
            inner.services.remove(key);
        }
    }

    /// Counts changes of breaker states and health: wakes those who wait for one.
    pub fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn changed(&self) {
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Nothing between two steps of a change can panic: a poisoned state is whole.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends the session of an id and takes out what was its own.
    fn remove(&mut self, id: &str) {
        let Some(connected) = self.by_id.remove(id) else {
            return;
        };
        connected.ended.cancel();
        for key in &connected.services {
            if let Some(service) = self.services.get_mut(key)
                && let Some(member) = service.members.remove(&connected.session)
            {
                service.tally.remove(member.now);
            }
        }
    }
}

impl Session {
    /// The instance's own name.
    pub fn instance_id(&self) -> &str {
        &self.id
    }

    /// Fires when another stream takes this session's place.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// The instance uses these services.
    pub fn follow<'a>(&self, keys: impl IntoIterator<Item = &'a ServiceKey>) {
        self.with(|inner| {
            for key in keys {
                let service = inner.services.entry(key.clone()).or_default();
                if let Entry::Vacant(vacant) = service.members.entry(self.session) {
                    let member = vacant.insert(Member::default());
                    service.tally.add(member.now);
                    if let Some(connected) = inner.by_id.get_mut(&self.id) {
                        connected.services.insert(key.clone());
                    }
                }
            }
        });
    }

    /// The instance does not use this service any more.
    pub fn unfollow(&self, key: &ServiceKey) {
        let last = self.with(|inner| {
            inner.by_id.get_mut(&self.id)?.services.remove(key);
            let service = inner.services.get_mut(key)?;
            let member = service.members.remove(&self.session)?;
            service.tally.remove(member.now);
            Some(member.now)
        });
        if last.flatten().is_some_and(|last| last != Condition::default()) {
            self.instances.changed();
        }
    }

    /// A policy is in force at the instance.
    pub fn applied(&self, key: &ServiceKey, revision: Revision, hash: PolicyHash) {
        self.with_member(key, |member| {
            member.applied = Some((revision, hash));
            if member.refused.as_ref().is_some_and(|refusal| refusal.revision <= revision) {
                member.refused = None;
            }
        });
    }

    /// A policy was refused by the instance.
    pub fn refused(&self, key: &ServiceKey, refusal: Refusal) {
        self.with_member(key, |member| member.refused = Some(refusal));
    }

    /// What happened to a service at the instance since its last report, and how it is now; `parts` are the breakers
    /// that parts of it have to themselves, as far as they are not closed.
    pub fn report(
        &self,
        key: &ServiceKey,
        counters: &CounterSnapshot,
        now: Condition,
        parts: Vec<(Part, State)>,
        adaptive_limit: Option<Load>,
    ) {
        let changed = self.with(|inner| {
            let service = inner.services.get_mut(key)?;
            let member = service.members.get_mut(&self.session)?;
            service.sums.merge(counters);
            let before = std::mem::replace(&mut member.now, now);
            (member.parts, member.adaptive_limit) = (parts, adaptive_limit);
            service.tally.remove(before);
            service.tally.add(now);
            Some(before != now)
        });
        if changed == Some(Some(true)) {
            self.instances.changed();
        }
    }

    /// Runs `change` unless another session has taken this one's place.
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> Option<T> {
        let mut inner = self.instances.lock();
        let current = inner.by_id.get(&self.id).is_some_and(|connected| connected.session == self.session);
        current.then(|| change(&mut inner))
    }

    fn with_member(&self, key: &ServiceKey, change: impl FnOnce(&mut Member)) {
        self.with(|inner| {
            if let Some(service) = inner.services.get_mut(key)
                && let Some(member) = service.members.get_mut(&self.session)
            {
                change(member);
            }
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.with(|inner| inner.remove(&self.id));
        self.instances.changed();
    }
}

#[cfg(test)]
mod tests;
