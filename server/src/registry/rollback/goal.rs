//! What a service is to be again, and what that asks of it as it is.

use std::collections::BTreeSet;

use bytes::Bytes;
use cofferdam_core::policy::Policy;
use cofferdam_core::{
    name::{Name, ServiceKey},
    wire::{effective_policy, revision_to_wire},
};
use cofferdam_proto::{
    storage::v1 as storage,
    v1::{self, RollbackOutcome},
};
use prost_types::Timestamp;

use super::super::{
    Registered,
    change::{kept_orders, write},
    changes::Cause,
    record::{alternatives, put_back},
    revisions::{Difference, History},
    transact::View,
    validate,
};
use crate::{error::Error, store::Op};

/// What a service is to be again.
#[derive(Debug)]
pub(super) struct Goal {
    /// The revision to go back to. `None`: it was before all of them.
    restored: Option<v1::Revision>,
    /// What it was, as it is stored.
    written: Bytes,
    /// The same, read. `None`: it was not registered.
    state: Option<storage::ServiceRecord>,
}

/// What a goal asks of a service as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is written.
    Nothing(RollbackOutcome),
    /// It becomes what it was.
    Restore,
    /// It goes.
    Remove,
}

impl Goal {
    /// What a service was at a point.
    ///
    /// # Errors
    /// [`Error::RevisionUnknown`], [`Error::RevisionNotKept`], or [`Error::Invalid`] for a time that is none or in the
    /// future.
    pub(super) fn at(history: &History, to: Option<&v1::RevisionPoint>, now: Timestamp) -> Result<Self, Error> {
        let moment = history.find(to, "to", now)?;
        Ok(Self {
            restored: moment.change.map(|change| revision_to_wire(change.revision)),
            written: moment.change.map(|change| change.record.after.clone()).unwrap_or_default(),
            state: moment.state()?,
        })
    }

    /// What is to be done to a service, as it is: `before`, or what of it cannot be read.
    pub(super) fn step(&self, before: Option<&Registered>, is_poisoned: bool, unregister_newer: bool) -> Step {
        match (&self.state, before) {
            (None, None) => Step::Nothing(RollbackOutcome::Unchanged),
            (None, Some(_)) if unregister_newer => Step::Remove,
            (None, Some(_)) => Step::Nothing(RollbackOutcome::LeftAlone),
            (Some(state), Some(before)) if is_the_same(before, state) && !is_poisoned => {
                Step::Nothing(RollbackOutcome::Unchanged)
            }
            (Some(_), _) => Step::Restore,
        }
    }

    /// The policy that it is to have again, by the check of any write: what it was may no longer be valid.
    ///
    /// # Errors
    /// [`Error::Invalid`] with each field at fault.
    pub(super) fn policy(&self) -> Result<Policy, Error> {
        let state = self.state.clone().unwrap_or_default();
        let (_, violations) = validate::service(&state.service.unwrap_or_default(), "to.service");
        if !violations.is_empty() {
            return Err(Error::Invalid { violations });
        }
        effective_policy(&state.policy.unwrap_or_default())
            .map_err(|invalid| Error::invalid_policy(&invalid, |path| format!("to.policy.{path}")))
    }

    /// The services that are to stand in for it again.
    ///
    /// # Errors
    /// As [`policy`](Self::policy).
    pub(super) fn alternatives(&self) -> Result<BTreeSet<Name>, Error> {
        let policy = self.policy()?;
        Ok(alternatives(&policy).map(|(_, name)| name.clone()).collect())
    }

    /// What to write for it to be what it was, less what its alternatives ask for. What operators order now stays.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] where a store would not take it.
    pub(super) fn restore(
        &self,
        view: &mut View<'_>,
        key: &ServiceKey,
        before: Option<&Registered>,
        cause: &Cause,
    ) -> Result<Vec<Op>, Error> {
        let state = self.state.clone().unwrap_or_default();
        let after = put_back(&self.written, &state, &kept_orders(before, cause)?, cause.time());
        write(view, key, before, after, cause).map(|(ops, _)| ops)
    }

    /// Why it is changed: a rollback to this.
    pub(super) fn cause(&self, cause: &Cause) -> Cause {
        cause.clone().restoring(self.restored)
    }

    /// What becomes of a service. Where something is done, the revision is that of its transaction.
    pub(super) fn answer(
        &self,
        key: &ServiceKey,
        before: Option<&Registered>,
        outcome: RollbackOutcome,
    ) -> v1::RolledBackService {
        let Difference { changes, more } = match outcome {
            RollbackOutcome::Unchanged => Difference::default(),
            _ => self.difference(before),
        };
        let present = before.map(|before| revision_to_wire(before.revision()));
        v1::RolledBackService {
            namespace: key.namespace.to_string(),
            service: key.name.to_string(),
            outcome: outcome.into(),
            from: present,
            to: self.restored,
            revision: present.filter(|_| outcome != RollbackOutcome::Done),
            changes,
            more_changes: more,
            error: String::new(),
        }
    }

    /// What differs from how it was, less what operators order: that stays.
    fn difference(&self, before: Option<&Registered>) -> Difference {
        let less_orders = |state: storage::ServiceRecord| storage::ServiceRecord { orders: None, ..state };
        let present = before.map(|before| less_orders(before.record()));
        Difference::between(present.as_ref(), self.state.clone().map(less_orders).as_ref())
    }
}

fn is_the_same(present: &Registered, state: &storage::ServiceRecord) -> bool {
    let is_same_policy = state.policy.as_ref() == Some(present.written_policy());
    is_same_policy && state.service.as_ref() == Some(present.service()) && state.insisted == present.is_insisted()
}
