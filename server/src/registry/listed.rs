//! Services in lists.

use std::sync::Arc;

use cofferdam_core::name::{Name, ServiceKey};
use cofferdam_proto::v1;

use super::{catalog::Catalog, describe, record::Registered};

impl Catalog {
    /// Services by namespace and name, of one namespace or of all, from after `after` on.
    pub(super) fn services_in(
        &self,
        namespace: Option<&Name>,
        after: Option<&ServiceKey>,
    ) -> impl Iterator<Item = &Arc<Registered>> {
        let is_before = move |registered: &&Arc<Registered>| namespace > Some(&registered.key().namespace);
        let is_in =
            move |registered: &&Arc<Registered>| namespace.is_none_or(|name| registered.key().namespace == *name);
        self.services_after(after).skip_while(is_before).take_while(is_in)
    }
}

/// A service whose turn it is, as it is known now, of which nothing is copied until it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) registered: &'a Registered,
}

impl<'a> Listed<'a> {
    /// Its namespace and name.
    pub fn key(self) -> &'a ServiceKey {
        self.registered.key()
    }

    /// What is registered.
    pub fn registered(self) -> &'a Registered {
        self.registered
    }

    /// It as the contract shows it, with the health that was reported, except for its derived health and breaker state.
    pub fn describe(self) -> v1::IsolatedService {
        describe(self.catalog, self.registered)
    }

    /// The same without its service and its policies, which are most of it.
    pub fn describe_bare(self) -> v1::IsolatedService {
        let reported = self.catalog.health(self.key()).cloned();
        v1::IsolatedService { reported_health: reported, ..self.registered.describe_bare() }
    }
}
