//! All that a store holds, taken over at once.

use std::collections::HashSet;

use super::{Catalog, Change};
use crate::{
    registry::key::{self, Key},
    store::{Listing, StoreRevision},
};

impl Catalog {
    /// Takes over all that the store holds.
    pub(in crate::registry) fn load(&mut self, listing: &Listing) -> Vec<Change> {
        let present: HashSet<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
        let mut changes: Vec<_> = self
            .keys()
            .into_iter()
            .filter(|(key, revision)| *revision <= listing.revision && !present.contains(key.as_str()))
            .filter_map(|(key, _)| self.delete(&key, listing.revision))
            .collect();
        changes
            .extend(listing.entries.iter().filter_map(|entry| self.put(&entry.key, &entry.value, entry.mod_revision)));
        self.advance(listing.revision);
        changes
    }

    /// Whether a listing of the present epoch cannot be one: it has an older value of a key than is known to have been there
    /// before. The store has gone back then, and others have written to it since.
    pub(in crate::registry) fn contradicts(&self, listing: &Listing) -> bool {
        listing.entries.iter().any(|entry| {
            let known = self.known(&Key::parse(&entry.key));
            known.is_some_and(|known| entry.mod_revision < known && known <= listing.revision)
        })
    }

    /// The store is another one, or has gone back: its revisions say nothing about those known so far. What is known
    /// stays in force until the next [`load`](Self::load) replaces all of it.
    pub(in crate::registry) fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.head = StoreRevision::ZERO;
        self.seen = StoreRevision::ZERO;
        self.deleted.clear();
        self.malformed.clear();
        self.guards.clear();
        self.unregistered.clear();
        self.bulk = None;
        self.containments.clear();
        self.services.values_mut().for_each(|slot| slot.revision = StoreRevision::ZERO);
        self.health.values_mut().for_each(|report| report.revision = StoreRevision::ZERO);
    }

    /// Every key that is known, with its last change.
    fn keys(&self) -> Vec<(String, StoreRevision)> {
        let services = self.services.iter().map(|(key, slot)| (key::service(key), slot.revision));
        let health = self.health.iter().map(|(key, report)| (key::health(key), report.revision));
        let containments = self.containments.iter().map(|(key, contained)| (key::containment(key), contained.revision));
        let guards = self.guards.iter().map(|(name, revision)| (key::alternatives(name), *revision));
        let malformed = self.malformed.iter().map(|(key, revision)| (key.clone(), *revision));
        let unregistered = self.unregistered.iter().map(|(key, (revision, _))| (key::unregistered(key), *revision));
        let bulk = self.bulk.iter().map(|bulk| (key::BULK.to_owned(), bulk.at));
        services
            .chain(health)
            .chain(containments)
            .chain(guards)
            .chain(unregistered)
            .chain(bulk)
            .chain(malformed)
            .collect()
    }
}
