//! The services of a process: one isolation each, made when the service is first named.
//!
//! Names that are made of what a user sends never end, so there is a limit to what is kept. Past it, a new name takes
//! the place of one that rests ([`shelf`]). Where nothing rests, it shares one isolation with all others that found no
//! room: protected by the built-in default as if they were one service, for as long as its handle lives. So memory is
//! bounded, every call is protected by something that learns, and nothing learned of a failing service is lost.
//!
//! A service begins under the policy that an earlier process kept for it, where there is one, else under the built-in
//! default.
//!
//! What is shared is what a service learns. Cached answers are not: one service's would be another's, so the shared
//! isolation keeps none.

mod holds;
mod shelf;
mod state;

#[cfg(test)]
mod tests;

pub(crate) use state::{ServiceState, Shown, Told};

use crate::events::{Event, Hub};
use crate::panics::{Panicked, tell};
use crate::policy_file::Kept;
use crate::runtime::Tokio;
use cofferdam_core::name::Name;
use cofferdam_core::policy::{FallbackStep, Policy};
use cofferdam_core::runtime::Runtime as _;
use shelf::{Full, Shelf};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{Notify, watch};

/// How many services are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// Those that a manager can follow.
    pub(crate) followed: usize,
    /// Those that none can, for their names.
    pub(crate) nameless: usize,
}

/// The first is the contract's limit for one process.
const CAPACITY: Capacity = Capacity { followed: 10_000, nameless: 1_000 };
/// What the isolation of all further services is called. No service can have the name.
const OTHER: &str = "__other__";

/// All services of a process.
#[derive(Debug)]
pub(crate) struct Registry {
    services: RwLock<Services>,
    /// The number of the newest service to follow. Zero: there is none.
    newest: watch::Sender<u64>,
    /// What the services share that found no room.
    other: OnceLock<Arc<ServiceState>>,
    default_policy: Policy,
    hub: Hub,
    /// Told when a temporary level or a hold for a time begins.
    order_begun: Notify,
    /// Told when the manager has said what it had to say of a service.
    settled: watch::Sender<()>,
}

#[derive(Debug)]
struct Services {
    by_name: HashMap<Arc<str>, Arc<ServiceState>>,
    followed: Shelf,
    nameless: Shelf,
    /// The number of the next service.
    next: u64,
    /// Services with lower numbers have been asked for on the present stream. Zero: there is none.
    asked: u64,
    /// Services with lower numbers had been asked for when the stream was last known to be without a gap.
    awaited: u64,
    /// Of those that were asked for, the ones that are not kept any more, which the manager has not been told. Never more than it follows.
    gone: Vec<Arc<str>>,
    /// Policies that an earlier process kept, of services that were not named yet.
    restorable: HashMap<Arc<str>, Kept>,
    /// Who this instance is, for the orders in them.
    instance_id: Arc<str>,
}

/// What a manager is to be asked for beside what it was asked for.
#[derive(Debug)]
pub(crate) struct News {
    /// Services to follow, in the order they were named.
    pub(crate) services: Vec<Arc<ServiceState>>,
    /// Services not to follow any more.
    pub(crate) gone: Vec<Arc<str>>,
}

/// Where a service was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    InFreePlace,
    InPlaceOfAnother,
}

impl Registry {
    pub(crate) fn new(default_policy: Policy, hub: Hub) -> Self {
        Self::with_capacity(default_policy, hub, CAPACITY)
    }

    pub(crate) fn with_capacity(default_policy: Policy, hub: Hub, capacity: Capacity) -> Self {
        let services = Services {
            by_name: HashMap::new(),
            followed: Shelf::new(capacity.followed),
            nameless: Shelf::new(capacity.nameless),
            next: 1,
            asked: 0,
            awaited: 0,
            gone: Vec::new(),
            restorable: HashMap::new(),
            instance_id: "".into(),
        };
        let newest = watch::Sender::new(0);
        let (other, order_begun, settled) = (OnceLock::new(), Notify::new(), watch::Sender::new(()));
        Self { services: RwLock::new(services), newest, other, default_policy, hub, order_begun, settled }
    }

    /// Takes in what an earlier process kept, for this instance; before anything is named.
    pub(crate) fn restore(&self, kept: Vec<Kept>, instance_id: &str) {
        let restorable = kept.into_iter().map(|kept| (Arc::clone(&kept.service), kept));
        let mut services = self.write();
        services.restorable.extend(restorable);
        services.instance_id = instance_id.into();
    }

    /// Takes note that another policy is in force, or other orders, which may be for a time.
    pub(crate) fn changed(&self, service: &ServiceState) {
        let hold_until = service.tell_holds(&self.hub, Tokio.now());
        if hold_until.or(service.isolation.in_force().level_until).is_some() {
            self.order_begun.notify_one();
        }
    }

    /// Ends when a temporary level, or a hold for a time, has begun since this last ended. Cancel-safe.
    pub(crate) async fn temporary_order_begun(&self) {
        self.order_begun.notified().await;
    }

    /// What is to be kept for the next process, beginning with the services that were named in this one.
    pub(crate) fn kept(&self) -> Vec<Kept> {
        let services = self.read();
        let named = services.followed.services().iter().filter_map(|service| service.kept());
        named.chain(services.restorable.values().cloned()).collect()
    }

    pub(crate) fn default_policy(&self) -> &Policy {
        &self.default_policy
    }

    /// The service of a name, made where it is new; of another name where there is no room for it.
    pub(crate) fn service(&self, name: &str) -> Arc<ServiceState> {
        match self.find(name) {
            Some(service) => {
                service.name_again();
                service
            }
            None => {
                let (service, mut stand_ins) = self.add(name);
                // A service that stands in must have its own policy before it is needed.
                while let Some(name) = stand_ins.pop() {
                    if self.find(&name).is_none() {
                        stand_ins.extend(self.add(&name).1);
                    }
                }
                service
            }
        }
    }

    /// The service of a name, where somebody asked for it.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<ServiceState>> {
        self.read().by_name.get(name).cloned()
    }

    /// Begins to ask a manager: for all services there are.
    pub(crate) fn begin_stream(&self) -> Vec<Arc<ServiceState>> {
        let mut services = self.write();
        services.asked = 0;
        let all = services.news().services;
        services.awaited = services.asked;
        all
    }

    /// Nobody is asked any more.
    pub(crate) fn end_stream(&self) {
        let mut services = self.write();
        (services.asked, services.awaited) = (0, 0);
        services.gone = Vec::new();
    }

    /// What the manager has not been asked for yet, and now is.
    pub(crate) fn news(&self) -> News {
        self.write().news()
    }

    /// Whether a service has been named since the manager was last asked.
    pub(crate) fn has_new(&self) -> bool {
        let newest = *self.newest.borrow();
        newest >= self.read().asked
    }

    /// Whether the manager follows services that are not kept any more.
    pub(crate) fn has_gone(&self) -> bool {
        !self.read().gone.is_empty()
    }

    /// The services that a manager can follow.
    pub(crate) fn followed(&self) -> Vec<Arc<ServiceState>> {
        self.read().followed.services().to_vec()
    }

    /// The services that the manager has been asked for.
    pub(crate) fn asked(&self) -> Vec<Arc<ServiceState>> {
        let services = self.read();
        let asked = services.followed.services().iter().filter(|service| service.number < services.asked);
        asked.cloned().collect()
    }

    /// The services of which the manager has said by now what it had to say, at a word of it that nothing is missing: those
    /// that had been asked for at the word before, or with which the stream began. It may not have read the others yet.
    pub(crate) fn answered(&self) -> Vec<Arc<ServiceState>> {
        let mut services = self.write();
        let awaited = services.awaited;
        services.awaited = services.asked;
        let answered = services.followed.services().iter().filter(|service| service.number < awaited);
        let answered: Vec<_> = answered.cloned().collect();
        answered.iter().for_each(|service| service.settle());
        self.settled.send_replace(());
        answered
    }

    /// Takes note that the manager has said what it had to say of a service.
    pub(crate) fn settle(&self, service: &ServiceState) {
        service.settle();
        self.settled.send_replace(());
    }

    /// Ends when the manager has said what it had to say of all services that were named so far. Cancel-safe.
    pub(crate) async fn all_settled(&self) {
        let mut settled = self.settled.subscribe();
        let mut open = self.followed();
        loop {
            open.retain(|service| !service.is_settled());
            // The sender lives as long as this does.
            if open.is_empty() || settled.changed().await.is_err() {
                return;
            }
        }
    }

    /// Changes when there is another service to follow.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Also the names of those that its policy lets stand in for it, where it is new and has one.
    fn add(&self, name: &str) -> (Arc<ServiceState>, Vec<String>) {
        let mut services = self.write();
        if let Some(service) = services.by_name.get(name) {
            service.name_again();
            return (Arc::clone(service), Vec::new());
        }
        let (service, stand_ins) = self.begin(&services, name);
        let invalid = Name::new(name).err();
        let kept = services.keep(&service, invalid.is_none());
        if kept.is_ok() {
            services.restorable.remove(name);
        }
        drop(services);
        match (kept, invalid) {
            (Err(full), _) => return (Arc::clone(self.other(name, full)), Vec::new()),
            (Ok(Place::InFreePlace), Some(invalid)) => {
                self.not_followed(name, &format!("a service's name {invalid}"));
            }
            // Names that take each other's places have no end, and enough was said of such names.
            (Ok(Place::InPlaceOfAnother), Some(_)) => {}
            (Ok(_), None) => {
                let number = service.number;
                self.newest.send_if_modified(|newest| std::mem::replace(newest, number.max(*newest)) < number);
                self.changed(&service);
            }
        }
        (service, stand_ins)
    }

    /// A service under the policy that was kept for it, else under the built-in default.
    fn begin(&self, services: &Services, name: &str) -> (Arc<ServiceState>, Vec<String>) {
        let new = || ServiceState::new(name, services.next, self.default_policy.clone(), &self.hub);
        let service = new();
        let Some(kept) = services.restorable.get(name) else { return (Arc::new(service), Vec::new()) };
        match service.restore(kept, &services.instance_id) {
            Ok(()) => (Arc::new(service), stand_ins(&kept.policy)),
            Err(Panicked { message }) => {
                tell(|| {
                    tracing::error!(service = name, message, "the SDK panicked over a kept policy; it is not used")
                });
                (Arc::new(new()), Vec::new())
            }
        }
    }

    /// What all share that found no room; the first of them is told of.
    fn other(&self, name: &str, Full { capacity }: Full) -> &Arc<ServiceState> {
        self.other.get_or_init(|| {
            let reason = format!(
                "the process uses {capacity} such services already; this and later ones share one isolation, {OTHER}"
            );
            self.not_followed(name, &reason);
            Arc::new(ServiceState::new(OTHER, 0, without_cache(&self.default_policy), &self.hub))
        })
    }

    fn not_followed(&self, name: &str, reason: &str) {
        tracing::warn!(service = name, %reason, "the service is protected by the built-in default alone");
        self.hub.tell(Event::NotFollowed { service: name.into(), reason: reason.into() });
    }

    /// Nothing that is done under the lock can panic half-way: a poisoned registry is whole.
    fn read(&self) -> RwLockReadGuard<'_, Services> {
        self.services.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Services> {
        self.services.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Services {
    /// Keeps a service, in the place of another where there is no free one.
    fn keep(&mut self, service: &Arc<ServiceState>, is_followed: bool) -> Result<Place, Full> {
        let shelf = if is_followed { &mut self.followed } else { &mut self.nameless };
        let evicted = shelf.put(Arc::clone(service), is_followed && self.asked > 0, Tokio.now())?;
        self.next += 1;
        let kept = if evicted.is_some() { Place::InPlaceOfAnother } else { Place::InFreePlace };
        if let Some(evicted) = evicted {
            self.by_name.remove(&evicted.name);
            if is_followed && evicted.number < self.asked {
                self.gone.push(Arc::clone(&evicted.name));
            }
        }
        self.by_name.insert(Arc::clone(&service.name), Arc::clone(service));
        Ok(kept)
    }

    /// What the manager has not been asked for, and now is.
    fn news(&mut self) -> News {
        let new = self.followed.services().iter().filter(|service| service.number >= self.asked);
        let mut services: Vec<_> = new.cloned().collect();
        services.sort_unstable_by_key(|service| service.number);
        self.asked = self.next;
        News { services, gone: std::mem::take(&mut self.gone) }
    }
}

/// The services that a policy lets stand in for its own.
pub(crate) fn stand_ins(policy: &Policy) -> Vec<String> {
    let overridden = policy.method_overrides.iter().filter_map(|entry| entry.fallback.as_ref());
    let steps = std::iter::once(&policy.fallback).chain(overridden).flat_map(|fallback| &fallback.chain);
    let names = steps.filter_map(|step| match step {
        FallbackStep::Alternative(alternative) => Some(alternative.service.to_string()),
        _ => None,
    });
    names.collect()
}

/// A policy without its cached steps: what answers one service must not answer another.
fn without_cache(policy: &Policy) -> Policy {
    let mut spec = policy.to_spec();
    let overridden = spec.method_overrides.iter_mut().filter_map(|entry| entry.fallback.as_mut());
    for fallback in std::iter::once(&mut spec.fallback).chain(overridden) {
        fallback.chain.retain(|step| !matches!(step, FallbackStep::Cached(_)));
    }
    Policy::new(spec).unwrap_or_default()
}
