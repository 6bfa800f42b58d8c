//! How the service's own breaker stands at the instances, by its rules alone.

use cofferdam_core::{breaker::State, name::ServiceKey};

use super::Instances;

/// At how many instances the service's own breaker is not closed. Each connected instance that reports one counts once,
/// whatever and however often it reports; one that is silent does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Instances where it is open or half-open by its own rules, whatever mode or hold stands over it.
    pub open: u32,
    /// Instances that report one.
    pub instances: u32,
}

impl Census {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { open: self.open.saturating_add(other.open), instances: self.instances.saturating_add(other.instances) }
    }

    pub(super) fn add(&mut self, learned: Option<State>) {
        let Some(state) = learned else { return };
        self.instances = self.instances.saturating_add(1);
        self.open = self.open.saturating_add((state != State::Closed).into());
    }

    pub(super) fn remove(&mut self, learned: Option<State>) {
        let Some(state) = learned else { return };
        self.instances = self.instances.saturating_sub(1);
        self.open = self.open.saturating_sub((state != State::Closed).into());
    }
}

impl Instances {
    /// How the own breaker of a service stands, at the instances of other managers as well.
    pub fn census(&self, key: &ServiceKey) -> Census {
        self.stand(key).census
    }

    /// The services whose own breaker is not closed at some instance, of this manager or another. One may stand twice.
    pub fn with_open_breakers(&self) -> Vec<ServiceKey> {
        let inner = self.lock();
        let own = inner.services.iter().filter(|(_, service)| service.census.open > 0).map(|(key, _)| key);
        let others = inner.elsewhere.values().flatten().filter(|(_, stand)| stand.census.open > 0).map(|(key, _)| key);
        own.chain(others).cloned().collect()
    }
}
