//! What a message of the manager does to the services.
//!
//! A policy is in force as a whole or not at all. Where putting it in force panics, the one before is put back, with all
//! that was learned, and the manager gets a refusal with the panic's own words. Telling the log and the listeners of it
//! comes after that and apart from it: a log that panics is no reason to refuse a policy, nor to end the stream.

use super::message::{Applied, FromManager, Refusal, ToManager, Update};
use crate::client::Shared;
use crate::containment::{Good, Probation};
use crate::events::Event;
use crate::panics::{Panicked, tell, unless_it_panics};
use crate::registry::{ServiceState, stand_ins};
use crate::runtime::{Tokio, clocks};
use crate::service::Origin;
use cofferdam_core::fleet_hint::FleetHint;
use cofferdam_core::orders::{Action, Command, Orders};
use cofferdam_core::policy::Policy;
use cofferdam_core::revision::Revision;
use cofferdam_core::runtime::Runtime;
use cofferdam_core::time::Timestamp;
use cofferdam_core::wire::{fingerprint, policy_hash};
use std::sync::Arc;

/// Takes a message in. The answer to it, where it calls for one.
pub(super) fn receive(shared: &Shared, message: FromManager) -> Option<(Arc<str>, ToManager)> {
    match message {
        FromManager::Update(update) => {
            let service = shared.registry.find(&update.service)?;
            let answer = receive_update(shared, &service, update);
            shared.registry.settle(&service);
            Some((Arc::clone(&service.name), answer?))
        }
        FromManager::Removal { service, revision } => {
            let service = shared.registry.find(&service)?;
            remove(shared, &service, revision);
            perform(shared, &service, &mut service.probation());
            shared.registry.settle(&service);
            None
        }
        FromManager::Complete(_) | FromManager::Bookmark(_) => {
            // Of what was not sent, the manager knows nothing newer: what is commanded from now on is to be done.
            // It may have kept back what there is, with commands of long ago.
            let answered = shared.registry.answered();
            let known = answered.iter().filter(|service| service.isolation.in_force().revision.is_some());
            known.for_each(|service| perform(shared, service, &mut service.probation()));
            shared.link.confirmed();
            None
        }
        FromManager::FleetHint { service, open_instances, instances, ttl } => {
            let service = shared.registry.find(&service)?;
            let now = Tokio.now();
            match FleetHint::new(open_instances, instances, ttl, now) {
                Ok(hint) => receive_hint(shared, &service, hint, now),
                Err(invalid) => tell(|| tracing::warn!(service = %service.name, %invalid, "an invalid fleet hint")),
            }
            None
        }
        FromManager::Reconnect { .. } | FromManager::Unknown => None,
    }
}

/// Takes a hint in. That it goes on is no news.
fn receive_hint(shared: &Shared, service: &ServiceState, hint: FleetHint, now: Timestamp) {
    if !service.isolation.hint(hint, now) {
        return;
    }
    let Some(hint) = service.fleet_hint(now) else { return };
    let crate::FleetHint { open_instances, instances, is_enforced, .. } = hint;
    tell(|| {
        tracing::warn!(service = %service.name, open_instances, instances, is_enforced, "the breaker has opened at other instances");
    });
    shared.hub.tell(Event::FleetHint { service: Arc::clone(&service.name), hint });
}

/// What is in force now, for the manager to know.
pub(crate) fn applied(service: &ServiceState) -> Option<Applied> {
    let in_force = service.isolation.in_force();
    let revision = in_force.revision?;
    let hash = fingerprint(&in_force.lasting_policy(), &in_force.orders);
    Some(Applied { service: Arc::clone(&service.name), revision, hash })
}

fn receive_update(shared: &Shared, service: &Arc<ServiceState>, update: Update) -> Option<ToManager> {
    let Some(revision) = update.revision else {
        let refusal = Refusal { reason: "the update names no revision".to_owned(), field_path: String::new() };
        return Some(refuse(shared, service, None, refusal, false));
    };
    let Update { policy, is_enabled, is_insisted, orders, as_of, .. } = update;
    if is_outdated(shared, service, as_of.map_or(revision, |as_of| as_of.max(revision))) {
        return None;
    }
    let policy = match policy {
        Ok(policy) => policy,
        Err(refusal) => {
            service.isolation.pass_over(&orders);
            return Some(refuse(shared, service, Some(revision), refusal, false));
        }
    };
    if is_told_twice(service, revision, (&policy, &orders), is_enabled) {
        // The manager gets its acknowledgement twice.
        return applied(service).map(ToManager::Applied);
    }
    let contained = service.probation().contained(policy_hash(&policy)).map(str::to_owned);
    if let Some(reason) = contained.filter(|_| !is_insisted) {
        let obeyed = obey(shared, service, orders, is_enabled);
        let is_obeyed = obeyed.is_ok();
        let refusal = obeyed.err().unwrap_or(Refusal { reason, field_path: String::new() });
        return Some(refuse(shared, service, Some(revision), refusal, is_obeyed));
    }
    let is_in_place = as_of.is_some();
    let passed_over = orders.clone();
    match apply(shared, service, Order { policy, orders, revision, is_enabled, is_insisted, is_in_place }) {
        Ok(()) => applied(service).map(ToManager::Applied),
        Err(refusal) => {
            service.isolation.pass_over(&passed_over);
            Some(refuse(shared, service, Some(revision), refusal, false))
        }
    }
}

/// Whether this is in force already. A revision alone does not tell: a manager of another release may fill in other
/// defaults, and then it is the manager that is right.
fn is_told_twice(
    service: &ServiceState,
    revision: Revision,
    (policy, orders): (&Policy, &Orders),
    is_enabled: bool,
) -> bool {
    let in_force = service.isolation.in_force();
    let is_same = in_force.revision == Some(revision) && in_force.is_enabled == is_enabled;
    let hash = || fingerprint(&in_force.lasting_policy(), &in_force.orders);
    is_same && service.origin() == Origin::Manager && hash() == fingerprint(policy, orders)
}

/// A policy that is to be put in force.
struct Order {
    policy: Policy,
    orders: Orders,
    revision: Revision,
    is_enabled: bool,
    is_insisted: bool,
    /// Whether it takes the place of one that is contained.
    is_in_place: bool,
}

fn apply(shared: &Shared, service: &Arc<ServiceState>, order: Order) -> Result<(), Refusal> {
    let Order { policy, orders, revision, is_enabled, is_insisted, is_in_place } = order;
    let level = policy.level;
    let swap = |policy: Policy| {
        // A service that stands in must have its own policy before it is needed.
        for stand_in in stand_ins(&policy) {
            shared.registry.service(&stand_in);
        }
        service.isolation.obey(orders, Some(&shared.identity.instance_id), clocks());
        service.isolation.apply(policy, Some(revision), is_enabled, clocks());
    };
    let mut probation = service.probation();
    let good = good(service);
    swap_or_restore(shared, service, || swap(policy))?;
    service.set_from_file(false);
    if is_insisted {
        probation.end();
    } else {
        shared.containment.begin(service, good, revision, &mut probation);
    }
    if !is_in_place {
        probation.forgive();
    }
    perform(shared, service, &mut probation);
    drop(probation);
    shared.registry.changed(service);
    shared.keep();
    shared.link.applied(&service.name, revision);
    let holds = service.isolation.holds(Tokio.now()).len();
    tell(|| tracing::info!(service = %service.name, %revision, %level, is_enabled, holds, "policy applied"));
    shared.hub.tell(Event::PolicyApplied { service: Arc::clone(&service.name), revision });
    Ok(())
}

/// Does what is ordered beside a policy that was put back, under the one in force.
fn obey(shared: &Shared, service: &ServiceState, orders: Orders, is_enabled: bool) -> Result<(), Refusal> {
    // Held over the swap: nothing may be put back in between.
    let mut probation = service.probation();
    let in_force = service.isolation.in_force();
    swap_or_restore(shared, service, || {
        service.isolation.obey(orders, Some(&shared.identity.instance_id), clocks());
        if in_force.is_enabled != is_enabled {
            service.isolation.apply(in_force.lasting_policy(), in_force.revision, is_enabled, clocks());
        }
    })?;
    perform(shared, service, &mut probation);
    drop(probation);
    shared.registry.changed(service);
    shared.keep();
    Ok(())
}

/// Does what breakers were told to do and have not done.
fn perform(shared: &Shared, service: &ServiceState, probation: &mut Probation) {
    let now = Tokio.now();
    let random = || Tokio.random();
    for done in service.isolation.perform(Some(&shared.identity.instance_id), now, random) {
        let Command { number, action, actor, reason, .. } = done;
        if let (Action::Trip(_), Some(until)) = (action, service.isolation.open_until()) {
            probation.tripped(until);
        }
        tell(
            || tracing::warn!(service = %service.name, number, ?action, actor, reason, "an operator's command is done"),
        );
    }
}

/// What is in force, to go back to.
fn good(service: &ServiceState) -> Good {
    let in_force = service.isolation.in_force();
    Good {
        policy: in_force.lasting_policy(),
        revision: in_force.revision,
        is_enabled: in_force.is_enabled,
        is_from_file: service.origin() == Origin::File,
    }
}

/// Puts another policy in force. Where that panics, half of it may be: then the one before is put back. What belongs to
/// the pools and overrides of that one is kept for so long.
fn swap_or_restore(shared: &Shared, service: &ServiceState, swap: impl FnOnce()) -> Result<(), Panicked> {
    let before = service.isolation.in_force();
    unless_it_panics(swap).inspect_err(|_| {
        tell(|| {
            service.isolation.obey(Orders::clone(&before.orders), Some(&shared.identity.instance_id), clocks());
            service.isolation.apply(before.lasting_policy(), before.revision, before.is_enabled, clocks());
        });
    })
}

fn refuse(
    shared: &Shared,
    service: &ServiceState,
    revision: Option<Revision>,
    refusal: Refusal,
    is_contained: bool,
) -> ToManager {
    shared.link.refused();
    let in_force = applied(service);
    tell(|| {
        tracing::error!(
            service = %service.name,
            revision = revision.map(tracing::field::display),
            in_force = in_force.as_ref().map(|applied| tracing::field::display(applied.revision)),
            reason = refusal.reason,
            "policy refused; the one before stays in force"
        );
    });
    let reason = refusal.reason.as_str().into();
    shared.hub.tell(Event::PolicyRefused { service: Arc::clone(&service.name), revision, reason });
    ToManager::Refused { service: Arc::clone(&service.name), revision, refusal, in_force, is_contained }
}

fn remove(shared: &Shared, service: &ServiceState, revision: Option<Revision>) {
    // Only a removal that says when it happened is one.
    let Some(revision) = revision else { return };
    if is_outdated(shared, service, revision) {
        return;
    }
    let mut probation = service.probation();
    probation.end();
    probation.forgive();
    let in_force = service.isolation.in_force();
    if in_force.revision.is_none() && in_force.is_enabled && in_force.orders.is_empty() {
        return;
    }
    let default = shared.registry.default_policy().clone();
    let removed = swap_or_restore(shared, service, || {
        service.isolation.obey(Orders::default(), None, clocks());
        service.isolation.apply(default, None, true, clocks());
    });
    if let Err(Panicked { message }) = removed {
        tell(|| tracing::error!(service = %service.name, %revision, message, "the policy cannot be removed"));
        return;
    }
    drop(probation);
    shared.registry.changed(service);
    shared.keep();
    tell(|| tracing::info!(service = %service.name, %revision, "policy removed; the built-in default is in force"));
    shared.hub.tell(Event::PolicyRemoved { service: Arc::clone(&service.name), revision });
}

fn is_outdated(shared: &Shared, service: &ServiceState, revision: Revision) -> bool {
    let Err(newest) = service.advance(revision) else {
        return false;
    };
    tell(|| {
        tracing::warn!(service = %service.name, %revision, %newest, "the manager sent an outdated policy; ignored");
    });
    shared.hub.tell(Event::PolicyOutdated { service: Arc::clone(&service.name), revision, newest });
    true
}
