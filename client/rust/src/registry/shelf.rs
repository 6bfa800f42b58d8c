//! Places for so many services and no more.
//!
//! A full shelf gives a new service the place of one that *rests*: nobody has a handle to it, no call is under way, its
//! breakers are closed and no failure is in their sight. All that goes with it can be had again: successes, a cached
//! answer, a policy that the manager tells anew. What was learned of a failing service never goes.
//!
//! The hand of a clock goes round over the places (the second-chance algorithm): a service that was named since the
//! hand last passed is passed once more, so those in use outlast those that are named once. Of the resting ones,
//! those go first that are missed least. One look for a place visits so many at the most, so that naming a service
//! costs no more when nothing rests.

use super::state::ServiceState;
use cofferdam_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Places that one look for a resting service visits.
const LOOKS: usize = 64;
/// How often the registry itself holds a service: on its shelf, and by its name.
const OWN_HANDLES: usize = 2;

#[derive(Debug)]
pub(super) struct Shelf {
    places: Vec<Arc<ServiceState>>,
    capacity: usize,
    /// The next place to visit.
    hand: usize,
}

/// Every place is taken, and nothing rests that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) capacity: usize,
}

/// How much a resting service would be missed, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Nothing,
    /// Counts that the manager was not told.
    Counts,
    /// A policy of the manager's.
    Policy,
}

impl Shelf {
    pub(super) fn new(capacity: usize) -> Self {
        Self { places: Vec::new(), capacity, hand: 0 }
    }

    pub(super) fn services(&self) -> &[Arc<ServiceState>] {
        &self.places
    }

    /// Puts a service in a free place, else in that of a resting one, which it returns. `reports`: somebody is told
    /// what services count.
    pub(super) fn put(
        &mut self,
        service: Arc<ServiceState>,
        reports: bool,
        now: Timestamp,
    ) -> Result<Option<Arc<ServiceState>>, Full> {
        if self.places.len() < self.capacity {
            self.places.push(service);
            return Ok(None);
        }
        let full = Full { capacity: self.capacity };
        let place = self.resting(reports, now).and_then(|index| self.places.get_mut(index)).ok_or(full)?;
        Ok(Some(std::mem::replace(place, service)))
    }

    /// The place of the service that is missed least, among those that the hand passes and that rest.
    fn resting(&mut self, reports: bool, now: Timestamp) -> Option<usize> {
        let mut best: Option<(Loss, usize)> = None;
        for _ in 0..LOOKS.min(self.places.len()) {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.places.len();
            let Some(loss) = self.places.get(index).and_then(|service| loss(service, reports, now)) else { continue };
            if loss == Loss::Nothing {
                return Some(index);
            }
            if best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, index));
            }
        }
        best.map(|(_, index)| index)
    }
}

/// What is lost with a service. `None`: it does not rest.
fn loss(service: &Arc<ServiceState>, reports: bool, now: Timestamp) -> Option<Loss> {
    // With the registry locked nobody gets a new handle, and a call under way has one.
    if Arc::strong_count(service) > OWN_HANDLES {
        return None;
    }
    // Whatever was written through the handles that are gone is seen below.
    fence(Ordering::Acquire);
    if service.was_named() || !service.isolation.is_at_rest(now) {
        return None;
    }
    let has_policy = service.isolation.in_force().revision.is_some();
    Some(if has_policy {
        Loss::Policy
    } else if reports && !service.is_told() {
        Loss::Counts
    } else {
        Loss::Nothing
    })
}
