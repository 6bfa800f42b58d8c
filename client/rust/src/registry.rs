//! The services of a process: one isolation each, made when the service is first named, and kept.
//!
//! Names that are made of what a user sends never end, so there is a limit to what is kept. Past it a handle has an
//! isolation of its own, which goes when the handle goes: memory is bounded, and no two names ever share what they
//! learn or keep.

use crate::events::{Event, Hub};
use crate::journal::Journal;
use cofferdam_core::isolation::Isolation;
use cofferdam_core::name::Name;
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// Services that a manager follows for one process; the contract's limit.
const MAX_FOLLOWED: usize = 10_000;
/// Services kept that no manager can follow, for their names.
const MAX_NAMELESS: usize = 1_000;

/// All services of a process.
#[derive(Debug)]
pub(crate) struct Registry {
    services: RwLock<Services>,
    /// How many services are followed.
    followed: watch::Sender<usize>,
    default_policy: Policy,
    hub: Hub,
}

#[derive(Debug, Default)]
struct Services {
    by_name: HashMap<Arc<str>, Arc<ServiceState>>,
    /// Those that the manager is asked for, in the order they were named.
    followed: Vec<Arc<ServiceState>>,
    /// Whether it has been told that no more are kept.
    is_full: bool,
}

/// One service.
#[derive(Debug)]
pub(crate) struct ServiceState {
    pub(crate) name: Arc<str>,
    pub(crate) isolation: Isolation,
    pub(crate) journal: Arc<Journal>,
    /// The newest revision that the manager has told, be it of a policy or of a removal.
    newest: Mutex<Option<Revision>>,
}

impl Registry {
    pub(crate) fn new(default_policy: Policy, hub: Hub) -> Self {
        Self { services: RwLock::default(), followed: watch::Sender::new(0), default_policy, hub }
    }

    pub(crate) fn default_policy(&self) -> &Policy {
        &self.default_policy
    }

    /// The service of a name, made where it is new.
    pub(crate) fn service(&self, name: &str) -> Arc<ServiceState> {
        self.find(name).unwrap_or_else(|| self.add(name))
    }

    /// The service of a name, where somebody asked for it.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<ServiceState>> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.by_name.get(name).cloned()
    }

    /// The services to follow, without the first so many, in the order they were named.
    pub(crate) fn followed(&self, skip: usize) -> Vec<Arc<ServiceState>> {
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        services.followed.iter().skip(skip).cloned().collect()
    }

    /// How many services there are to follow.
    pub(crate) fn followed_count(&self) -> usize {
        *self.followed.borrow()
    }

    /// Changes when there is another service to follow.
    pub(crate) fn watch(&self) -> watch::Receiver<usize> {
        self.followed.subscribe()
    }

    fn add(&self, name: &str) -> Arc<ServiceState> {
        let mut services = self.services.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = services.by_name.get(name) {
            return Arc::clone(service);
        }
        let service = Arc::new(ServiceState::new(name, self.default_policy.clone(), &self.hub));
        let refusal = services.keep(&service);
        let followed = services.followed.len();
        drop(services);
        self.followed.send_if_modified(|count| std::mem::replace(count, followed.max(*count)) < followed);
        if let Some(reason) = refusal {
            tracing::warn!(service = name, %reason, "the service is protected by the built-in default alone");
            self.hub.tell(Event::NotFollowed { service: Arc::clone(&service.name), reason: reason.into() });
        }
        service
    }
}

impl Services {
    /// Keeps a service, and follows it, where it can. Why it does not, where that is news.
    fn keep(&mut self, service: &Arc<ServiceState>) -> Option<String> {
        let invalid = Name::new(&service.name).err();
        let (taken, room) = match invalid {
            None => (self.followed.len(), MAX_FOLLOWED),
            Some(_) => (self.by_name.len() - self.followed.len(), MAX_NAMELESS),
        };
        if taken >= room {
            let is_news = !std::mem::replace(&mut self.is_full, true);
            return is_news
                .then(|| format!("the process uses {taken} services already; this and later ones are not kept"));
        }
        self.by_name.insert(Arc::clone(&service.name), Arc::clone(service));
        if invalid.is_none() {
            self.followed.push(Arc::clone(service));
        }
        invalid.map(|invalid| format!("a service's name {invalid}"))
    }
}

impl ServiceState {
    fn new(name: &str, policy: Policy, hub: &Hub) -> Self {
        let name: Arc<str> = name.into();
        let journal = Arc::new(Journal::new(Arc::clone(&name), hub.clone()));
        let isolation = Isolation::new(policy, None, Arc::<Journal>::clone(&journal));
        Self { name, isolation, journal, newest: Mutex::new(None) }
    }

    /// Takes note of a revision.
    ///
    /// # Errors
    ///
    /// The newest revision so far, where this one is older.
    pub(crate) fn advance(&self, revision: Revision) -> Result<(), Revision> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match *newest {
            Some(newest) if revision < newest => Err(newest),
            _ => {
                *newest = Some(revision);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_service() {
        let registry = Registry::new(Policy::default(), Hub::new());
        let first = registry.service("orders-db");
        assert!(Arc::ptr_eq(&first, &registry.service("orders-db")));
        assert!(registry.find("payments").is_none());
        assert_eq!(registry.followed(0).len(), 1);
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_protected_and_not_followed() {
        let hub = Hub::new();
        let mut events = hub.listen();
        let registry = Registry::new(Policy::default(), hub);
        let watch = registry.watch();
        let service = registry.service("Orders DB");
        assert!(Arc::ptr_eq(&service, &registry.service("Orders DB")));
        assert!(registry.followed(0).is_empty());
        assert!(!watch.has_changed().unwrap());
        let Some(Event::NotFollowed { service, reason }) = events.next().await else { panic!("not told") };
        assert_eq!(&*service, "Orders DB");
        assert!(reason.contains("a-z"), "{reason}");
    }

    #[tokio::test]
    async fn names_without_end_take_no_memory_without_end() {
        let hub = Hub::new();
        let mut events = hub.listen();
        let registry = Registry::new(Policy::default(), hub);
        let kept: Vec<_> = (0..MAX_FOLLOWED).map(|n| registry.service(&format!("service-{n}"))).collect();
        let extra = Arc::downgrade(&registry.service("user-7"));
        assert!(extra.upgrade().is_none(), "kept for nobody");
        assert!(registry.find("user-7").is_none());
        assert!(Arc::ptr_eq(&kept[0], &registry.service("service-0")));
        assert_eq!(registry.followed(0).len(), MAX_FOLLOWED);
        for n in 0..3 {
            registry.service(&format!("user-{n}"));
        }
        drop(registry);
        drop(kept);
        let mut told = 0;
        while let Some(event) = events.next().await {
            assert!(matches!(event, Event::NotFollowed { .. }));
            told += 1;
        }
        assert_eq!(told, 1, "one word is enough");
    }

    #[test]
    fn revisions_only_grow() {
        let registry = Registry::new(Policy::default(), Hub::new());
        let service = registry.service("a");
        let revision = |epoch, revision| Revision { epoch, revision };
        assert_eq!(service.advance(revision(1, 5)), Ok(()));
        assert_eq!(service.advance(revision(1, 5)), Ok(()));
        assert_eq!(service.advance(revision(1, 4)), Err(revision(1, 5)));
        assert_eq!(service.advance(revision(2, 1)), Ok(()));
        assert_eq!(service.advance(revision(1, 9)), Err(revision(2, 1)));
    }
}
