//! What the breakers of the manager's own calls do, told as that of an instance is: its name is the manager's.

use crate::events::{Events, News};
use cofferdam_core::breaker::Transition;
use cofferdam_core::isolation::{Observer, Part};
use cofferdam_core::name::ServiceKey;
use cofferdam_core::wire::transition_to_wire;
use std::sync::Arc;
use std::time::Duration;

/// Tells what happens to one service.
#[derive(Debug)]
pub(super) struct Told {
    key: ServiceKey,
    events: Arc<Events>,
}

impl Told {
    pub(super) fn new(key: ServiceKey, events: Arc<Events>) -> Self {
        Self { key, events }
    }
}

impl Observer for Told {
    fn transition(&self, part: &Part, transition: &Transition) {
        let told = transition_to_wire(part, transition, Duration::ZERO);
        self.events.tell(News::breaker(&self.key, self.events.manager_id(), None, &told));
    }
}
