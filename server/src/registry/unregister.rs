//! UnregisterService: a service, its policy and its health report go.

use cofferdam_core::name::ServiceKey;
use cofferdam_proto::v1;

use super::{
    Registered, Registry, alternatives,
    asked::Asked,
    change::expect_revision,
    changes::{self, Cause},
    key, nearest,
    request_record::Request,
    transact::{Answer, Plan, View, delete},
    validate::target,
};
use crate::{error::Error, store::Op};

impl Answer for v1::UnregisterServiceResponse {
    fn revision(&mut self) -> &mut Option<v1::Revision> {
        &mut self.revision
    }
}

impl Registry {
    /// Forgets a service. One whose stored value cannot be read goes, too.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::ServiceInUse`], [`Error::RevisionMismatch`], and those of every write.
    pub async fn unregister(
        &self,
        asked: impl Into<Asked<v1::UnregisterServiceRequest>>,
    ) -> Result<v1::UnregisterServiceResponse, Error> {
        let Asked { request, actor } = asked.into();
        let identity = Request::new("/cofferdam.v1.IsolationService/UnregisterService", &request.request_id, &request)?;
        let target = target(&request.namespace, &request.service)?;
        let cause = self.cause(v1::ChangeKind::Unregistered, actor, request.reason)?;
        let expected = request.expected_revision.map(cofferdam_core::wire::revision_from_wire);
        let plan = |view: &mut View<'_>| {
            let before = view.service(&target).map(|registered| &**registered);
            if before.is_none() && !view.catalog().is_poisoned(&target) {
                return Err(nearest::not_found(view.catalog(), &target));
            }
            expect_revision(&target, expected, before)?;
            let ops = remove_one(view, &target, before, &cause)?;
            Ok(Plan { ops, answer: v1::UnregisterServiceResponse::default() })
        };
        self.shared.transact(&target, &identity, Some(&cause), plan).await
    }
}

/// What to write for a service to go, and nothing else to happen.
///
/// # Errors
/// [`Error::ServiceInUse`].
pub(super) fn remove_one(
    view: &mut View<'_>,
    target: &ServiceKey,
    before: Option<&Registered>,
    cause: &Cause,
) -> Result<Vec<Op>, Error> {
    let guard = alternatives::release(view, target, before)?;
    let mut ops = remove(view, target, before, cause);
    ops.extend(guard);
    if before.is_some() {
        changes::forget(view, target, &mut ops);
    }
    Ok(ops)
}

/// What to write for a service to go whose name nobody uses, less what that asks of the others.
pub(super) fn remove(view: &mut View<'_>, target: &ServiceKey, before: Option<&Registered>, cause: &Cause) -> Vec<Op> {
    let gone = [delete(key::service(target)), delete(key::health(target))];
    // Of one that was never good nobody knows what it was.
    let recorded = before.map(|before| changes::removal(view, target, before, cause)).unwrap_or_default();
    gone.into_iter().chain(recorded).collect()
}
