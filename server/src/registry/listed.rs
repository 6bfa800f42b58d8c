//! Services in lists.

use std::sync::Arc;

use cofferdam_core::name::{Name, ServiceKey};

use super::{catalog::Catalog, record::Registered};

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
