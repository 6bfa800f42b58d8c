//! What a breaker did, kept until it has been reported.

use crate::events::{Event, Hub};
use cofferdam_core::breaker::Transition;
use cofferdam_core::isolation::{Observer, Part};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Transitions kept; the most that one report carries.
const CAPACITY: usize = 100;

/// The transitions of one service's breakers. It tells each at once, and keeps the newest for the next report.
#[derive(Debug)]
pub(crate) struct Journal {
    service: Arc<str>,
    hub: Hub,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<(Part, Transition)>,
    /// Transitions so far.
    count: u64,
    /// How many of them have been reported.
    reported: u64,
}

/// What has not been reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unreported {
    /// The newest transitions, oldest first.
    pub(crate) transitions: Vec<(Part, Transition)>,
    /// Older ones that are lost.
    pub(crate) dropped: u64,
    /// Where to go on after these; for [`Journal::commit`].
    pub(crate) position: u64,
}

impl Unreported {
    pub(crate) fn is_empty(&self) -> bool {
        self.transitions.is_empty() && self.dropped == 0
    }
}

impl Journal {
    pub(crate) fn new(service: Arc<str>, hub: Hub) -> Self {
        Self { service, hub, entries: Mutex::default() }
    }

    /// What has not been reported.
    pub(crate) fn unreported(&self) -> Unreported {
        let entries = self.lock();
        Unreported {
            transitions: entries.kept.iter().cloned().collect(),
            dropped: (entries.count - entries.reported).saturating_sub(entries.kept.len() as u64),
            position: entries.count,
        }
    }

    /// Takes note that all up to a position has been reported.
    pub(crate) fn commit(&self, position: u64) {
        let mut entries = self.lock();
        entries.reported = entries.reported.max(position);
        while entries.count - entries.reported < entries.kept.len() as u64 {
            entries.kept.pop_front();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Journal {
    fn transition(&self, part: &Part, transition: &Transition) {
        let mut entries = self.lock();
        if entries.kept.len() == CAPACITY {
            entries.kept.pop_front();
        }
        entries.kept.push_back((part.clone(), *transition));
        entries.count += 1;
        drop(entries);
        let Transition { from, to, cause, at: _, is_enforced, is_hinted } = *transition;
        tracing::info!(service = %self.service, %part, %from, %to, %cause, is_enforced, is_hinted, "circuit breaker");
        let (service, part) = (Arc::clone(&self.service), part.clone());
        self.hub.tell(Event::Transition { service, part, from, to, cause, is_enforced, is_hinted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::breaker::{Cause, State};
    use cofferdam_core::time::Timestamp;

    fn transition(at: u64) -> Transition {
        let at = Timestamp::from_millis(at);
        let (from, to) = (State::Closed, State::Open);
        Transition { from, to, cause: Cause::FailureRate, at, is_enforced: true, is_hinted: false }
    }

    fn journal(transitions: u64) -> Journal {
        let journal = Journal::new("a".into(), Hub::new());
        (0..transitions).for_each(|at| journal.transition(&Part::Service, &transition(at)));
        journal
    }

    #[test]
    fn what_happens_between_look_and_commit_stays() {
        let journal = journal(2);
        let unreported = journal.unreported();
        assert_eq!(unreported.transitions, [0, 1].map(|at| (Part::Service, transition(at))));
        let pool = Part::Pool("readPool".into());
        journal.transition(&pool, &transition(2));
        journal.commit(unreported.position);
        assert_eq!(journal.unreported().transitions, [(pool, transition(2))]);
    }

    #[test]
    fn the_newest_are_kept_and_the_lost_are_counted_once() {
        let journal = journal(103);
        let unreported = journal.unreported();
        assert_eq!((unreported.transitions.len(), unreported.dropped), (CAPACITY, 3));
        assert_eq!(unreported.transitions[0].1, transition(3));
        // Between look and commit, one of those looked at falls out: it is not lost, it has been reported.
        journal.transition(&Part::Service, &transition(103));
        journal.commit(unreported.position);
        let rest = journal.unreported();
        assert_eq!((rest.transitions.len(), rest.dropped), (1, 0));
    }
}
