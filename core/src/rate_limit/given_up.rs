//! Turns that were told and given up while others stood behind them in line.
//!
//! Whoever stands behind has been told when to start, and is left alone. So a turn in the middle of the line is handed to
//! the next call that would have to wait, where its time has not come yet. It was part of the rate when it was told, so
//! whoever takes it exceeds nothing. Without that, callers that leave before their turn would keep the line as long as
//! the wait is, and nobody would start any more.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering::Relaxed};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// A place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// When the call may start.
    pub(super) start: u64,
    /// The theoretical arrival time after it.
    pub(super) end: u64,
    /// How far it has moved that on.
    pub(super) by: u64,
}

/// The places that were given up, by their end. No more than calls that waited at once: the next one that waits forgets
/// those whose time has passed.
#[derive(Debug, Default)]
pub(super) struct GivenUp {
    places: Mutex<BTreeMap<u64, Place>>,
    /// How many there are, so that nobody takes the lock for none. Nothing else is published with it.
    count: AtomicU64,
}

impl GivenUp {
    /// Takes the first that starts at `now` or later, and before `latest`.
    #[inline]
    pub(super) fn take_first(&self, now: u64, latest: u64, longest: u64) -> Option<Result<Place, u64>> {
        if self.count.load(Relaxed) == 0 { None } else { self.take_first_of_some(now, latest, longest) }
    }

    /// `Err`: the first one is this far away, which is longer than `longest`.
    #[cold]
    fn take_first_of_some(&self, now: u64, latest: u64, longest: u64) -> Option<Result<Place, u64>> {
        let mut places = self.lock();
        places.retain(|_, place| place.start >= now);
        let first = places.values().filter(|place| place.start < latest).min_by_key(|place| place.start).copied();
        let offered = first.map(|place| match place.start - now {
            wait if wait > longest => Err(wait),
            _ => {
                places.remove(&place.end);
                Ok(place)
            }
        });
        self.settle(places);
        offered
    }

    /// Gives a place up: it moves the line back where it is the last in it, with those before it that were given up.
    #[cold]
    pub(super) fn add(&self, place: Place, line: &AtomicU64) {
        let mut places = self.lock();
        // Only the last in line finds the time where it has left it; only later calls move it, and those that gave their
        // turns up left it as it was.
        let is_last = |place: Place| line.compare_exchange(place.end, place.end - place.by, Relaxed, Relaxed).is_ok();
        if is_last(place) {
            let mut end = place.end - place.by;
            while let Some(before) = places.get(&end).copied().filter(|before| is_last(*before)) {
                places.remove(&end);
                end -= before.by;
            }
        } else {
            places.insert(place.end, place);
        }
        self.settle(places);
    }

    /// Forgets all: another policy tells other turns.
    pub(super) fn clear(&self) {
        let mut places = self.lock();
        places.clear();
        self.settle(places);
    }

    fn settle(&self, places: MutexGuard<'_, BTreeMap<u64, Place>>) {
        self.count.store(places.len() as u64, Relaxed);
    }

    /// Nothing between two changes can panic: a poisoned map is whole.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
