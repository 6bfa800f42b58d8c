//! What is true of instances, found the long way: from every word they have said, each time anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cofferdam_core::{revision::Revision, wire::PolicyHash};
use tokio::time::Instant;

use crate::grpc::isolation_service::convergence::Quorum;

/// A service.
pub(super) type Service = &'static str;
/// An instance.
pub(super) type Id = &'static str;
/// A policy, by its revision and fingerprint.
pub(super) type Policy = (Revision, PolicyHash);

const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// A word of an instance about a service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word {
    Ack(Policy),
    Nack(Revision),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Applied,
    Pending,
    Refused,
    Silent,
}

/// What the manager was told.
#[derive(Debug)]
pub(super) struct Model {
    /// What each instance that is connected said of each service it uses, since it has used it.
    connected: BTreeMap<Id, BTreeMap<Service, Vec<Word>>>,
    silent: BTreeMap<Id, (Instant, BTreeSet<Service>)>,
    pub(super) policies: BTreeMap<Service, Policy>,
    pub(super) settled_at: Instant,
}

impl Model {
    pub(super) fn new(settled_at: Instant) -> Self {
        Self { connected: BTreeMap::new(), silent: BTreeMap::new(), policies: BTreeMap::new(), settled_at }
    }

    /// Another manager has the same policies and knows nobody.
    pub(super) fn restart(&mut self, settled_at: Instant) {
        let policies = std::mem::take(&mut self.policies);
        *self = Self { policies, ..Self::new(settled_at) };
    }

    pub(super) fn connect(&mut self, id: Id) {
        self.break_off(id);
        self.connected.insert(id, BTreeMap::new());
    }

    pub(super) fn follow(&mut self, id: Id, services: impl IntoIterator<Item = Service>) {
        self.silent.remove(id);
        let uses = self.connected.get_mut(id).unwrap();
        for service in services {
            uses.entry(service).or_default();
        }
    }

    pub(super) fn unfollow(&mut self, id: Id, service: Service) {
        self.connected.get_mut(id).unwrap().remove(service);
    }

    pub(super) fn say(&mut self, id: Id, service: Service, word: Word) {
        if let Some(words) = self.connected.get_mut(id).unwrap().get_mut(service) {
            words.push(word);
        }
    }

    pub(super) fn break_off(&mut self, id: Id) {
        if let Some(uses) = self.connected.remove(id) {
            self.silent.insert(id, (Instant::now(), uses.into_keys().collect()));
        }
    }

    pub(super) fn leave(&mut self, id: Id) {
        self.connected.remove(id);
        self.silent.remove(id);
    }

    pub(super) fn forget_silent(&mut self) {
        self.silent.retain(|_, (since, _)| since.elapsed() < FORGOTTEN_AFTER);
    }

    /// The instances that are told of a change.
    pub(super) fn followers(&self, service: Service) -> Vec<Id> {
        self.connected.iter().filter(|(_, uses)| uses.contains_key(service)).map(|(id, _)| *id).collect()
    }

    /// Where each instance stands that uses a service. `None`: it is not registered.
    pub(super) fn states(&self, service: Service, asked: Option<Revision>) -> Option<BTreeMap<Id, State>> {
        let current = *self.policies.get(service)?;
        let asked = asked.unwrap_or(current.0);
        let silent = self.silent.iter().filter(|(_, (_, uses))| uses.contains(service));
        let mut states: BTreeMap<_, _> = silent.map(|(id, _)| (*id, State::Silent)).collect();
        for (id, uses) in &self.connected {
            if let Some(words) = uses.get(service) {
                states.insert(id, state(words, asked, current));
            }
        }
        Some(states)
    }

    /// The services of the namespace that somebody uses.
    pub(super) fn used(&self) -> Vec<Service> {
        let used = |service: &Service| self.states(service, None).is_some_and(|states| !states.is_empty());
        self.policies.keys().copied().filter(used).collect()
    }

    /// Whether a quorum has a service, or all that are used, in force. `None`: there is no such service.
    pub(super) fn is_reached(&self, service: Option<Service>, asked: Option<Revision>, quorum: Quorum) -> Option<bool> {
        let of_service = |service| {
            let states = self.states(service, asked)?;
            let applied = states.values().filter(|state| **state == State::Applied).count();
            Some(match quorum {
                Quorum::Count(count) => applied >= count as usize,
                Quorum::Percent(percent) => {
                    applied > 0 && applied * 100 >= states.len() * percent as usize && Instant::now() >= self.settled_at
                }
            })
        };
        match service {
            Some(service) => of_service(service),
            None => {
                let used = self.used();
                Some(!used.is_empty() && used.into_iter().all(|service| of_service(service) == Some(true)))
            }
        }
    }
}

/// Whether a policy in force is what was asked for, or later; of the present one the fingerprint is known, and there is
/// none after it.
pub(super) fn is_met((revision, hash): Policy, asked: Revision, current: Policy) -> bool {
    revision >= asked && (revision < current.0 || (revision, hash) == current)
}

fn state(words: &[Word], asked: Revision, current: Policy) -> State {
    let last = |is: fn(&Word) -> bool| words.iter().rposition(is);
    // The last acknowledgement holds unless the same or an earlier policy was refused after it.
    let applied = last(|word| matches!(word, Word::Ack(_))).and_then(|at| {
        let Word::Ack(policy) = words[at] else { return None };
        let refused = |word: &Word| matches!(word, Word::Nack(revision) if *revision <= policy.0);
        (!words[at..].iter().any(refused)).then_some(policy)
    });
    // The last refusal holds unless the same or a later policy was acknowledged after it.
    let refused = last(|word| matches!(word, Word::Nack(_))).and_then(|at| {
        let Word::Nack(revision) = words[at] else { return None };
        let applied = |word: &Word| matches!(word, Word::Ack(policy) if policy.0 >= revision);
        (!words[at..].iter().any(applied)).then_some(revision)
    });
    match (applied, refused) {
        (Some(policy), _) if is_met(policy, asked, current) => State::Applied,
        (_, Some(revision)) if revision >= asked => State::Refused,
        _ => State::Pending,
    }
}
