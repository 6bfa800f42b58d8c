//! Instances as they are on their own side: with what is in force there, what they have yet to hear and yet to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cofferdam_core::{policy::Preset, revision::Revision, wire::PolicyHash, wire::policy_hash};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use super::model::{Id, Policy, Service};
use crate::instances::Session;

/// What an instance says on its stream, in this order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    Ack(Service, Policy),
    Nack(Service, Revision),
    Follow(Service),
    Unfollow(Service),
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Id,
    pub(super) session: Option<Session>,
    /// Streams that the manager has not noticed to be dead.
    pub(super) stale: Vec<Session>,
    /// What it is to use when it connects next.
    pub(super) uses: BTreeSet<Service>,
    pub(super) in_force: BTreeMap<Service, Policy>,
    before: BTreeMap<Service, Policy>,
    /// The newest policy of each service that it has not taken in yet. `None`: it was removed.
    pub(super) inbox: BTreeMap<Service, Option<Policy>>,
    pub(super) outbox: VecDeque<Said>,
}

impl Client {
    pub(super) fn new(id: Id) -> Self {
        Self {
            id,
            session: None,
            stale: Vec::new(),
            uses: BTreeSet::new(),
            in_force: BTreeMap::new(),
            before: BTreeMap::new(),
            inbox: BTreeMap::new(),
            outbox: VecDeque::new(),
        }
    }

    /// Its stream is over: what was under way is lost.
    pub(super) fn disconnect(&mut self) -> Option<Session> {
        self.inbox.clear();
        self.outbox.clear();
        self.session.take()
    }

    /// Takes one change in: mostly applies it; sometimes refuses it, or has another policy in force than was meant.
    pub(super) fn hear(&mut self, random: &mut StdRng, is_willing: bool) -> Option<Said> {
        let heard: Vec<_> = self.inbox.keys().copied().collect();
        let service = *heard.choose(random)?;
        let Some((revision, hash)) = self.inbox.remove(service)? else {
            self.in_force.remove(service);
            return None;
        };
        if self.in_force.get(service).is_some_and(|policy| policy.0 > revision) {
            return None;
        }
        let said = match random.random_range(0..10) {
            0..2 if !is_willing => Said::Nack(service, revision),
            2 if !is_willing => self.put(service, (revision, another_hash())),
            _ => self.put(service, (revision, hash)),
        };
        self.outbox.push_back(said);
        Some(said)
    }

    /// Finds that a policy that it has acknowledged does harm, goes back to the one before and refuses it.
    pub(super) fn contain(&mut self, random: &mut StdRng) -> Option<Said> {
        let all: Vec<_> = self.in_force.iter().map(|(service, policy)| (*service, policy.0)).collect();
        let (service, revision) = *all.choose(random)?;
        match self.before.remove(service) {
            Some(before) => self.in_force.insert(service, before),
            None => self.in_force.remove(service),
        };
        let said = Said::Nack(service, revision);
        self.outbox.push_back(said);
        Some(said)
    }

    fn put(&mut self, service: Service, policy: Policy) -> Said {
        if let Some(before) = self.in_force.insert(service, policy) {
            self.before.insert(service, before);
        }
        Said::Ack(service, policy)
    }
}

/// The fingerprint of a policy that is in force nowhere else.
pub(super) fn another_hash() -> PolicyHash {
    policy_hash(&cofferdam_core::policy::Policy::new(Preset::Database.spec()).unwrap())
}
