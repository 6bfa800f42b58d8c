//! The holds of operators over a service's breakers, told as they come and go.

use super::ServiceState;
use crate::events::{Event, Hub};
use crate::panics::tell;
use cofferdam_core::hold::Hold;
use cofferdam_core::time::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};

/// Those that were told as in force.
#[derive(Debug, Default)]
pub(super) struct ToldHolds(Mutex<Vec<Arc<Hold>>>);

impl ServiceState {
    /// Tells of the holds that are in force and were not, and of those that were and are not any more, be it that they ran
    /// out or that they were released. When the next one runs out. `None`: none does by itself.
    pub(crate) fn tell_holds(&self, hub: &Hub, now: Timestamp) -> Option<Timestamp> {
        // Held until all is told: of what comes and goes at once, the order is what matters.
        let mut told = self.told_holds.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = self.isolation.holds(now);
        let service = || Arc::clone(&self.name);
        for hold in told.iter().filter(|hold| !holds.contains(hold)) {
            tell(|| tracing::info!(service = %self.name, owner = hold.owner(), "a hold over breakers is over"));
            hub.tell(Event::HoldOver { service: service(), hold: Arc::clone(hold) });
        }
        for hold in holds.iter().filter(|hold| !told.contains(hold)) {
            let (forced, target, owner, reason) = (hold.forced(), hold.target(), hold.owner(), hold.reason());
            tell(|| tracing::warn!(service = %self.name, ?forced, ?target, owner, reason, "breakers are held"));
            hub.tell(Event::Held { service: service(), hold: Arc::clone(hold) });
        }
        *told = holds;
        told.iter().filter_map(|hold| hold.until()).min()
    }
}
