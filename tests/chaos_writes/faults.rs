//! What goes wrong.

use super::site::Site;
use cofferdam_tests::Numbers;
use std::collections::BTreeMap;

/// A kind of fault, as a run has to have had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A manager is killed, and comes back on the same data.
    KillManager,
    /// A manager stands still until a call to it is given up, and goes on.
    PauseManager,
    /// The clients of a manager lose their connections.
    CutClients,
    /// A member of etcd is killed, and comes back on the same data.
    KillStore,
    /// A member of etcd stands still until a call is given up, and goes on.
    PauseStore,
    /// A manager loses its connections to etcd.
    CutStore,
    /// A manager and a member of etcd are killed together.
    KillBoth,
}

pub(super) const OF_MANAGERS: [Kind; 3] = [Kind::KillManager, Kind::PauseManager, Kind::CutClients];
pub(super) const OF_ALL: [Kind; 7] = [
    Kind::KillManager,
    Kind::KillStore,
    Kind::CutClients,
    Kind::PauseManager,
    Kind::CutStore,
    Kind::KillBoth,
    Kind::PauseStore,
];

/// A fault: which manager, and which member of etcd, where it is about one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) manager: usize,
    pub(super) member: usize,
}

impl Fault {
    /// The fault of this turn: each kind comes once in as many turns as there are kinds, whom it meets is drawn.
    pub(super) fn draw(site: &Site, turn: usize, numbers: &mut Numbers) -> Self {
        let kinds = site.kinds();
        let mut below = |bound: usize| usize::try_from(numbers.below(bound.max(1) as u64)).unwrap();
        Self { kind: kinds[turn % kinds.len()], manager: below(site.managers()), member: below(site.members()) }
    }
}

/// How often each kind happened, of those that could.
#[derive(Debug)]
pub(super) struct Faults(BTreeMap<Kind, usize>);

impl Faults {
    pub(super) fn none_yet(site: &Site) -> Self {
        Self(site.kinds().iter().map(|kind| (*kind, 0)).collect())
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault.kind).or_default() += 1;
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }
}
