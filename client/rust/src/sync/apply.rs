//! What a message of the manager does to the services.

use super::message::{Applied, FromManager, Refusal, ToManager, Update};
use crate::client::Shared;
use crate::events::Event;
use crate::registry::ServiceState;
use crate::runtime::clocks;
use cofferdam_core::policy::{FallbackStep, Policy};
use cofferdam_core::revision::Revision;
use cofferdam_core::wire::policy_hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Takes a message in. The answer to it, where it calls for one.
pub(super) fn receive(shared: &Shared, message: FromManager) -> Option<(Arc<str>, ToManager)> {
    match message {
        FromManager::Update(update) => {
            let service = shared.registry.find(&update.service)?;
            let answer = receive_update(shared, &service, update)?;
            Some((Arc::clone(&service.name), answer))
        }
        FromManager::Removal { service, revision } => {
            remove(shared, &*shared.registry.find(&service)?, revision);
            None
        }
        FromManager::Complete | FromManager::Bookmark => {
            shared.link.confirmed();
            None
        }
        FromManager::Reconnect { .. } | FromManager::Unknown => None,
    }
}

/// What is in force now, for the manager to know.
pub(super) fn applied(service: &ServiceState) -> Option<Applied> {
    let in_force = service.isolation.in_force();
    let revision = in_force.revision?;
    Some(Applied { service: Arc::clone(&service.name), revision, hash: policy_hash(&in_force.policy) })
}

fn receive_update(shared: &Shared, service: &ServiceState, update: Update) -> Option<ToManager> {
    let Some(revision) = update.revision else {
        let refusal = Refusal { reason: "the update names no revision".to_owned(), field_path: String::new() };
        return Some(refuse(shared, service, None, refusal));
    };
    if is_outdated(shared, service, revision) {
        return None;
    }
    let in_force = service.isolation.in_force();
    let outcome = if in_force.revision == Some(revision) {
        // Told twice; the manager gets its acknowledgement twice.
        Ok(())
    } else {
        update
            .policy
            .and_then(|policy| unless_it_panics(|| apply(shared, service, policy, revision, update.is_enabled)))
    };
    match outcome {
        Ok(()) => applied(service).map(ToManager::Applied),
        Err(refusal) => Some(refuse(shared, service, Some(revision), refusal)),
    }
}

fn apply(shared: &Shared, service: &ServiceState, policy: Policy, revision: Revision, is_enabled: bool) {
    // A service that stands in must have its own policy before it is needed.
    for step in &policy.fallback.chain {
        if let FallbackStep::Alternative(alternative) = step {
            shared.registry.service(alternative.service.as_str());
        }
    }
    let level = policy.level;
    service.isolation.apply(policy, Some(revision), is_enabled, clocks());
    tracing::info!(service = %service.name, %revision, %level, is_enabled, "policy applied");
    shared.hub.tell(Event::PolicyApplied { service: Arc::clone(&service.name), revision });
}

fn refuse(shared: &Shared, service: &ServiceState, revision: Option<Revision>, refusal: Refusal) -> ToManager {
    let in_force = service.isolation.in_force().revision;
    tracing::error!(
        service = %service.name,
        revision = revision.map(tracing::field::display),
        in_force = in_force.map(tracing::field::display),
        reason = refusal.reason,
        "policy refused; the one before stays in force"
    );
    let reason = refusal.reason.as_str().into();
    shared.hub.tell(Event::PolicyRefused { service: Arc::clone(&service.name), revision, reason });
    ToManager::Refused { service: Arc::clone(&service.name), revision, refusal, in_force }
}

fn remove(shared: &Shared, service: &ServiceState, revision: Option<Revision>) {
    // Only a removal that says when it happened is one.
    let Some(revision) = revision else { return };
    if is_outdated(shared, service, revision) {
        return;
    }
    let in_force = service.isolation.in_force();
    if in_force.revision.is_none() && in_force.is_enabled {
        return;
    }
    service.isolation.apply(shared.registry.default_policy().clone(), None, true, clocks());
    tracing::info!(service = %service.name, %revision, "policy removed; the built-in default is in force");
    shared.hub.tell(Event::PolicyRemoved { service: Arc::clone(&service.name), revision });
}

fn is_outdated(shared: &Shared, service: &ServiceState, revision: Revision) -> bool {
    let Err(newest) = service.advance(revision) else {
        return false;
    };
    tracing::warn!(service = %service.name, %revision, %newest, "the manager sent an outdated policy; ignored");
    shared.hub.tell(Event::PolicyOutdated { service: Arc::clone(&service.name), revision, newest });
    true
}

/// A policy must not take its application down, whatever is in it.
pub(crate) fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Refusal {
        reason: "this instance panicked over the policy, which is a bug of the SDK".to_owned(),
        field_path: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_refusal() {
        let refusal = unless_it_panics(|| panic!("bad policy")).unwrap_err();
        assert!(refusal.reason.contains("panicked"));
        assert_eq!(unless_it_panics(|| 7), Ok(7));
    }
}
