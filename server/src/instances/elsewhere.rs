//! The instances of other managers over the same store, as far as this one has to know them.
//!
//! Each instance counts at one manager: at the one to which it came last. So a manager that hears of an instance's coming
//! elsewhere lets go of what it has of an earlier stream, be it silent or believed to be connected. How services stand at
//! the others' instances is kept here, too: health, and when fleet hints are given, are then the same at every manager.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use cofferdam_core::{breaker::State, isolation::Part, name::ServiceKey};
use tokio::{sync::watch, time::Instant};

use super::{Census, Condition, Instances, Service};

/// How a service stands at the instances of one manager, and by the calls that the manager makes itself; or of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stand {
    /// The least good of what is seen.
    pub condition: Condition,
    /// Its breakers that are not closed, its own and those of its parts, each in its least good state.
    pub breakers: BTreeMap<Part, State>,
    /// How its own breaker stands at the instances.
    pub census: Census,
}

/// An instance that has come to a manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its name.
    pub id: String,
    /// How long ago its stream began.
    pub age: Duration,
}

impl Instances {
    /// How the services stand of which some instance of this manager reports something.
    pub fn stands(&self) -> HashMap<ServiceKey, Stand> {
        let inner = self.lock();
        let all = inner.services.iter().map(|(key, service)| (key, service.stand()));
        all.filter(|(_, stand)| *stand != Stand::default()).map(|(key, stand)| (key.clone(), stand)).collect()
    }

    /// How a service stands at this manager and all others.
    pub fn stand(&self, key: &ServiceKey) -> Stand {
        let inner = self.lock();
        let mut all = inner.services.get(key).map(Service::stand).unwrap_or_default();
        inner.elsewhere.values().filter_map(|stands| stands.get(key)).for_each(|stand| all.merge(stand));
        all
    }

    /// Takes note of how services stand at the instances of another manager, instead of what was said before.
    pub fn stand_elsewhere(&self, manager: &str, stands: HashMap<ServiceKey, Stand>) {
        let mut inner = self.lock();
        let has_changed = inner.elsewhere.get(manager).is_none_or(|before| *before != stands);
        let before = inner.elsewhere.insert(manager.to_owned(), stands);
        drop(inner);
        drop(before);
        if has_changed {
            self.changed();
        }
    }

    /// The other manager is gone, and what it said with it.
    pub fn forget_elsewhere(&self, manager: &str) {
        if self.lock().elsewhere.remove(manager).is_some() {
            self.changed();
        }
    }

    /// Counts changes of [`Instances::stands`]. What other managers say is none: they would tell each other the same for
    /// ever.
    pub fn own_version(&self) -> watch::Receiver<u64> {
        self.own_version.subscribe()
    }

    /// Counts the streams that have ever begun here.
    pub fn arrived(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// The instances whose stream began after so many others, and how many have by now. Those that have broken off since
    /// are among them: they were silent at two managers otherwise, here and where they had been before.
    pub fn arrivals_after(&self, after: u64) -> (Vec<Arrival>, u64) {
        let inner = self.lock();
        let connected = inner.by_id.iter().map(|(id, connected)| (id, connected.session, connected.since));
        // Who is back and has not yet said what it uses is both.
        let silent = inner.silent.iter().filter(|(id, _)| !inner.by_id.contains_key(*id));
        let silent = silent.map(|(id, silent)| (id, silent.session, silent.began));
        let since = connected.chain(silent).filter(|(_, session, _)| *session > after);
        let arrival = |(id, _, began): (&String, u64, Instant)| Arrival { id: id.clone(), age: began.elapsed() };
        (since.map(arrival).collect(), inner.last_session)
    }

    /// Instances have come to another manager: what is left of earlier streams here is over.
    pub fn moved_away(&self, arrivals: &[Arrival]) {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut moved = 0_usize;
        for Arrival { id, age } in arrivals {
            let began_before = |began: Instant| now.saturating_duration_since(began) >= *age;
            if inner.by_id.get(id).is_some_and(|connected| began_before(connected.since)) {
                inner.depart(id, false, 0);
                moved += 1;
            } else if inner.silent.get(id).is_some_and(|silent| began_before(silent.began)) {
                inner.forget_silent(id);
                moved += 1;
            }
        }
        drop(inner);
        if moved > 0 {
            tracing::debug!(instances = moved, "instances have moved to another manager");
            self.own_changed();
            self.progressed();
        }
    }
}

impl Service {
    /// How it stands at this manager.
    fn stand(&self) -> Stand {
        let counted = self.tally.parts().iter();
        let state = |(open, _): &(u32, u32)| if *open > 0 { State::Open } else { State::HalfOpen };
        let mut breakers = counted.map(|(part, counts)| (part.clone(), state(counts))).collect();
        worsen(&mut breakers, self.here.parts.iter().map(|(part, state)| (part, *state)));
        Stand { condition: self.condition(), breakers, census: self.census }
    }
}

impl Stand {
    fn merge(&mut self, other: &Self) {
        let Self { condition, breakers, census } = other;
        self.condition = self.condition.worse(*condition);
        worsen(&mut self.breakers, breakers.iter().map(|(part, state)| (part, *state)));
        self.census = self.census.plus(*census);
    }
}

/// Leaves each breaker the less good of two states.
fn worsen<'a>(breakers: &mut BTreeMap<Part, State>, others: impl Iterator<Item = (&'a Part, State)>) {
    for (part, state) in others {
        let known = breakers.entry(part.clone()).or_insert(state);
        // A worse state is greater.
        *known = state.max(*known);
    }
}

impl Condition {
    /// The less good of two, part by part.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        // Nothing known is less than anything known, and what is worse is greater.
        Self { breaker: self.breaker.max(other.breaker), health: self.health.max(other.health) }
    }
}

#[cfg(test)]
mod tests;
