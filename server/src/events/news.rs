//! What there is to tell, and the line that says it to people.

use std::time::SystemTime;

use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
    wire::{duration_to_wire, revision_to_wire},
};
use cofferdam_proto::v1::{self, event::Detail};

use crate::{instances::Refusal, words::printed};

/// Something to tell: an event without its number, its time and its teller.
#[derive(Clone, Debug)]
pub(crate) struct News {
    event: v1::Event,
}

impl News {
    fn new(kind: v1::EventKind, summary: String, detail: Detail) -> Self {
        Self { event: v1::Event { kind: kind.into(), summary, detail: Some(detail), ..v1::Event::default() } }
    }

    fn of(mut self, key: &ServiceKey) -> Self {
        key.namespace.as_str().clone_into(&mut self.event.namespace);
        key.name.as_str().clone_into(&mut self.event.service);
        self
    }

    fn by(mut self, instance: &str) -> Self {
        instance.clone_into(&mut self.event.instance_id);
        self
    }

    fn revision(mut self, revision: Option<Revision>) -> Self {
        self.event.revision = revision.map(revision_to_wire);
        self
    }

    /// It, at its time.
    pub(super) fn at(mut self, time: SystemTime) -> v1::Event {
        self.event.time = Some(time.into());
        self.event
    }

    /// What a breaker did.
    pub(crate) fn breaker(
        key: &ServiceKey,
        instance: &str,
        applied: Option<Revision>,
        transition: &v1::BreakerTransition,
    ) -> Self {
        let v1::BreakerTransition { from, to, cause, pool, method_glob, hinted, unenforced, .. } = transition.clone();
        let whose = part(&pool, &method_glob);
        let (before, after) = (state(transition.from()), state(transition.to()));
        let hint = if hinted { ", for a fleet hint" } else { "" };
        let felt = if unenforced { ", not enforced" } else { "" };
        let summary = format!("{key}{whose} at {instance}: {before} -> {after}, {}{hint}{felt}", printed(&cause));
        let detail = v1::BreakerEvent { from, to, cause, pool, method_glob, hinted, not_reported: 0, unenforced };
        Self::new(v1::EventKind::Breaker, summary, Detail::Breaker(detail)).of(key).by(instance).revision(applied)
    }

    /// Breakers did so much more.
    pub(crate) fn more_transitions(key: &ServiceKey, instance: &str, applied: Option<Revision>, count: u32) -> Self {
        let summary = format!("{key} at {instance}: {count} changes of breakers are not told one by one");
        let detail = v1::BreakerEvent { not_reported: count, ..v1::BreakerEvent::default() };
        Self::new(v1::EventKind::Breaker, summary, Detail::Breaker(detail)).of(key).by(instance).revision(applied)
    }

    /// Somebody has changed a service.
    pub(crate) fn change(key: &ServiceKey, revision: Revision, change: v1::ChangeEvent) -> Self {
        let is_order = matches!(
            change.kind(),
            v1::ChangeKind::Held | v1::ChangeKind::Released | v1::ChangeKind::Tripped | v1::ChangeKind::Reset
        );
        let is_order = is_order || change.temporary_level.is_some();
        let kind = if is_order { v1::EventKind::Order } else { v1::EventKind::Change };
        let mut summary = format!("{key}: {}", what(&change));
        if !change.actor.is_empty() {
            summary.push_str(&format!(" by {}", printed(&change.actor)));
        }
        if !change.reason.is_empty() {
            summary.push_str(&format!(": {}", printed(&change.reason)));
        }
        Self::new(kind, summary, Detail::Change(change)).of(key).revision(Some(revision))
    }

    /// What somebody had ordered has run out.
    pub(crate) fn expiry(key: &ServiceKey, revision: Revision, expired: v1::expiry_event::Expired) -> Self {
        let what = match &expired {
            v1::expiry_event::Expired::Hold(hold) => {
                format!("the hold {}{} has run out", forced(hold.forced()), target(hold.target.as_ref()))
            }
            v1::expiry_event::Expired::TemporaryLevel(temporary) => {
                format!("the temporary level {} has run out", level(temporary.level()))
            }
        };
        let detail = Detail::Expiry(v1::ExpiryEvent { expired: Some(expired) });
        Self::new(v1::EventKind::Order, format!("{key}: {what}"), detail).of(key).revision(Some(revision))
    }

    /// The health of a service was reported.
    pub(crate) fn health(key: &ServiceKey, health: v1::ServiceHealth) -> Self {
        let status = word(health.status().as_str_name(), "HEALTH_STATUS_");
        let why = if health.message.is_empty() { String::new() } else { format!(": {}", printed(&health.message)) };
        let summary = format!("{key}: reported {status}{why}");
        Self::new(v1::EventKind::Health, summary, Detail::Health(health)).of(key)
    }

    /// An instance has refused a policy.
    pub(crate) fn refusal(key: &ServiceKey, instance: &str, refusal: &Refusal, stays: Option<Revision>) -> Self {
        let Refusal { revision, reason, field_path, is_contained, .. } = refusal;
        let what = if *is_contained { "put back" } else { "refused" };
        let field = if field_path.is_empty() { String::new() } else { format!("{}: ", printed(field_path)) };
        let summary = format!("{key} at {instance}: revision {revision} {what}: {field}{}", printed(reason));
        let detail = v1::RefusalEvent {
            reason: reason.clone(),
            field_path: field_path.clone(),
            applied_revision: stays.map(revision_to_wire),
            contained: *is_contained,
        };
        let news = Self::new(v1::EventKind::Refusal, summary, Detail::Refusal(detail));
        news.of(key).by(instance).revision(Some(*revision))
    }

    /// A policy is not handed out any more.
    pub(crate) fn containment(key: &ServiceKey, revision: Revision, reason: String) -> Self {
        let summary = format!("{key}: revision {revision} is contained: {}", printed(&reason));
        let detail = Detail::Containment(v1::ContainmentEvent { reason });
        Self::new(v1::EventKind::Containment, summary, detail).of(key).revision(Some(revision))
    }

    /// All instances have a policy in force, or not any more.
    pub(crate) fn convergence(key: &ServiceKey, revision: Revision, applied: u32, instances: u32) -> Self {
        let reached = applied == instances;
        let how = if reached { "in force" } else { "not in force everywhere" };
        let summary = format!("{key}: revision {revision} is {how}, {applied}/{instances}");
        let detail = Detail::Convergence(v1::ConvergenceEvent { reached, applied, instances });
        Self::new(v1::EventKind::Convergence, summary, detail).of(key).revision(Some(revision))
    }

    /// An instance has come or gone.
    pub(crate) fn instance(change: v1::InstanceChange, namespace: &Name, instance: &str, application: &str) -> Self {
        let what = match change {
            v1::InstanceChange::Unspecified | v1::InstanceChange::Came => "has come",
            v1::InstanceChange::Left => "has left",
            v1::InstanceChange::Silent => "is silent",
            v1::InstanceChange::Returned => "is back",
        };
        let summary = format!("instance {instance} of {application} {what}");
        let detail = v1::InstanceEvent { change: change.into(), application: application.to_owned() };
        let mut news = Self::new(v1::EventKind::Instance, summary, Detail::Instance(detail)).by(instance);
        namespace.as_str().clone_into(&mut news.event.namespace);
        news
    }

    /// A manager has come or gone.
    pub(crate) fn manager(change: v1::ManagerChange, id: &str, address: &str, reason: &str) -> Self {
        let what = match change {
            v1::ManagerChange::Unspecified | v1::ManagerChange::Started => "serves",
            v1::ManagerChange::Stopped => "stops",
            v1::ManagerChange::Unreachable => "cannot be reached",
            v1::ManagerChange::Reachable => "can be reached again",
            v1::ManagerChange::Gone => "is gone",
        };
        let place = if address.is_empty() { String::new() } else { format!(" at {address}") };
        let why = if reason.is_empty() { String::new() } else { format!(": {}", printed(reason)) };
        let detail = v1::ManagerEvent {
            change: change.into(),
            manager_id: id.to_owned(),
            address: address.to_owned(),
            reason: reason.to_owned(),
        };
        Self::new(v1::EventKind::Manager, format!("manager {id}{place} {what}{why}"), Detail::Manager(detail))
    }

    /// The store is away.
    pub(crate) fn store_lost(reason: &str) -> Self {
        let detail = v1::StoreEvent { reason: reason.to_owned(), ..of_store(v1::StoreChange::Lost) };
        Self::new(v1::EventKind::Store, format!("the store is away: {}", printed(reason)), Detail::Store(detail))
    }

    /// The store is back.
    pub(crate) fn store_back(away: std::time::Duration) -> Self {
        let detail = v1::StoreEvent { away: Some(duration_to_wire(away)), ..of_store(v1::StoreChange::Back) };
        Self::new(v1::EventKind::Store, format!("the store is back after {away:.1?}"), Detail::Store(detail))
    }

    /// The store is another one, or has gone back.
    pub(crate) fn store_epoch(epoch: u64) -> Self {
        let detail = v1::StoreEvent { epoch, ..of_store(v1::StoreChange::Epoch) };
        let summary = format!("the store is another one, or has gone back: epoch {epoch} begins");
        Self::new(v1::EventKind::Store, summary, Detail::Store(detail))
    }

    /// Something has happened that this manager cannot tell.
    pub(crate) fn gap(manager: &str, reason: String) -> Self {
        let detail = v1::EventGap { manager_id: manager.to_owned(), lost: 0, reason: reason.clone() };
        Self::new(v1::EventKind::Gap, format!("events are missing: {reason}"), Detail::Gap(detail))
    }

    /// A hint was given to instances, or is over.
    pub(crate) fn fleet_hint(key: &ServiceKey, given: bool, open_instances: u32, instances: u32) -> Self {
        let what = if given { "all are told" } else { "the hint is over" };
        let summary = format!("{key}: breakers are open at {open_instances}/{instances} instances, {what}");
        let detail = v1::FleetHintEvent { given, open_instances, instances };
        Self::new(v1::EventKind::FleetHint, summary, Detail::FleetHint(detail)).of(key)
    }
}

fn of_store(change: v1::StoreChange) -> v1::StoreEvent {
    v1::StoreEvent { change: change.into(), ..v1::StoreEvent::default() }
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

fn state(state: v1::BreakerState) -> String {
    word(state.as_str_name(), "BREAKER_STATE_")
}

fn level(level: v1::IsolationLevel) -> String {
    word(level.as_str_name(), "ISOLATION_LEVEL_")
}

fn forced(state: v1::ForcedState) -> String {
    word(state.as_str_name(), "FORCED_STATE_")
}

fn part(pool: &str, method_glob: &str) -> String {
    match (pool, method_glob) {
        ("", "") => String::new(),
        ("", glob) => format!(" [{}]", printed(glob)),
        (pool, _) => format!(" [{}]", printed(pool)),
    }
}

fn target(target: Option<&v1::BreakerTarget>) -> String {
    let Some(target) = target else { return String::new() };
    let at =
        if target.instance_id.is_empty() { String::new() } else { format!(" at {}", printed(&target.instance_id)) };
    format!("{}{at}", part(&target.pool, &target.method_glob))
}

/// The level after a change, and whether the policy has chosen it.
fn level_after(change: &v1::ChangeEvent) -> String {
    let auto = if change.auto_level { " (auto)" } else { "" };
    format!("{}{auto}", level(change.level()))
}

/// What a change of something else has made of a level that is left to the policy. Empty: nothing.
fn level_that_followed(change: &v1::ChangeEvent) -> String {
    if !change.auto_level || change.level_before == change.level {
        return String::new();
    }
    format!(", level {} -> {}", level(change.level_before()), level_after(change))
}

/// What was done, in a few words.
fn what(change: &v1::ChangeEvent) -> String {
    let hold = |done: &str| match &change.hold {
        Some(hold) => format!("{done} {}{}", forced(hold.forced()), target(hold.target.as_ref())),
        None => done.to_owned(),
    };
    let command = |done: &str| {
        let aim = change.command.as_ref().and_then(|command| command.target.as_ref());
        format!("{done}{}", target(aim))
    };
    match change.kind() {
        v1::ChangeKind::Unspecified | v1::ChangeKind::Found => "changed".to_owned(),
        v1::ChangeKind::Registered => format!("registered, level {}", level_after(change)),
        v1::ChangeKind::Unregistered => "unregistered".to_owned(),
        v1::ChangeKind::Level => match &change.temporary_level {
            Some(temporary) => format!("level {} for a time", level(temporary.level())),
            None => format!("level {} -> {}", level(change.level_before()), level_after(change)),
        },
        v1::ChangeKind::Fallback => format!("fallback changed{}", level_that_followed(change)),
        v1::ChangeKind::Policy => format!("policy changed{}", level_that_followed(change)),
        v1::ChangeKind::Rollback => "put back".to_owned(),
        v1::ChangeKind::Held => hold("held"),
        v1::ChangeKind::Released => hold("released"),
        v1::ChangeKind::Tripped => command("tripped"),
        v1::ChangeKind::Reset => command("reset"),
    }
}
