//! What was counted, for those who ask, and what has to be done about it now and then. Asking changes nothing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cofferdam_core::{breaker::State, health::HealthStatus, name::ServiceKey, revision::Revision, wire::PolicyHash};

use super::{Condition, Inner, Instances, Losses, Member, OwnCalls, Point, Reported, Service, history};
use crate::activity::Activity;

/// What the histories of all services may take together, in bytes: a day of some four hundred services that are never idle,
/// or an hour of two thousand.
pub(super) const MAX_HISTORY_BYTES: usize = 256 << 20;
/// Of how many services at how many instances the figures are kept apart. Each takes some hundred bytes.
pub(super) const MAX_FIGURES: usize = 100_000;
/// Services that are looked after at a time, between which others may have the lock.
const AT_ONCE: usize = 64;

/// What is known of a service at one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The instance.
    pub id: String,
    /// The application it belongs to.
    pub application: String,
    /// Its SDK, language and version; empty where it does not say.
    pub sdk: String,
    /// For how long it has held its stream.
    pub connected: Duration,
    /// What happened in that time; absent where nothing did, or where its figures are not kept.
    pub activity: Option<Activity>,
    /// The breaker; absent where none is reported.
    pub breaker: Option<State>,
    /// The health; absent where none is reported.
    pub health: Option<HealthStatus>,
    /// What it has acknowledged last, with the fingerprint that it computed.
    pub applied: Option<(Revision, PolicyHash)>,
    /// How long ago it last reported; absent where it never has.
    pub reported: Option<Duration>,
    /// Breakers over which an operator's hold stands.
    pub held: u32,
}

impl Instances {
    /// For how long this manager has counted.
    pub fn uptime(&self) -> Duration {
        self.made.elapsed()
    }

    /// What instances reported and is lost, over all services.
    pub fn losses(&self) -> Losses {
        self.lock().losses
    }

    /// What happened to a service in the last so long.
    pub fn over(&self, key: &ServiceKey, window: Duration) -> Activity {
        let now = self.uptime();
        self.lock().reported(key).map(|reported| reported.history.over(window, now)).unwrap_or_default()
    }

    /// How long a window really is: it begins with the slot of the history that it begins in.
    pub fn period(&self, window: Duration) -> Duration {
        history::period(window, self.uptime())
    }

    /// The slots of the last so long in which something happened to a service, the oldest first.
    pub fn history(&self, key: &ServiceKey, window: Duration) -> Vec<Point> {
        let now = self.uptime();
        self.lock().reported(key).map(|reported| reported.history.points(window, now)).unwrap_or_default()
    }

    /// The instances that use a service, by id, from after `after` on: at most `max` of them, and whether there are more.
    pub fn rows(&self, key: &ServiceKey, after: &str, max: usize) -> (Vec<Row>, bool) {
        let inner = self.lock();
        let Some(service) = inner.services.get(key) else {
            return (Vec::new(), false);
        };
        let mut members: Vec<_> =
            service.members.values().map(Box::as_ref).filter(|member: &&Member| *member.id > *after).collect();
        members.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        let has_more = members.len() > max;
        members.truncate(max);
        let row = |member: &Member| {
            let connected = inner.by_id.get(&*member.id)?;
            let Condition { breaker, health } = member.now;
            Some(Row {
                id: member.id.to_string(),
                application: connected.application.clone(),
                sdk: connected.sdk.to_string(),
                connected: connected.since.elapsed(),
                activity: member.own.as_deref().cloned(),
                breaker,
                health,
                applied: member.applied,
                reported: member.reported.map(|reported| reported.elapsed()),
                held: member.held,
            })
        };
        (members.into_iter().filter_map(row).collect(), has_more)
    }

    /// Takes into the history of a service what this manager did itself.
    pub fn record_own(&self, key: &ServiceKey, activity: &Activity) {
        let now = self.uptime();
        self.lock().service(key, true).reported().history.record(activity, now);
    }

    /// How services do by the calls that this manager makes itself. Of those that are not named, nothing is known any more.
    pub(crate) fn stand_here(&self, calls: HashMap<ServiceKey, OwnCalls>) {
        let mut inner = self.lock();
        let mut has_changed = false;
        for (key, service) in &mut inner.services {
            if service.here != OwnCalls::default() && !calls.contains_key(key) {
                (service.here, has_changed) = (OwnCalls::default(), true);
            }
        }
        for (key, calls) in calls {
            let here = &mut inner.service(&key, true).here;
            has_changed |= *here != calls;
            *here = calls;
        }
        drop(inner);
        if has_changed {
            self.own_changed();
        }
    }

    /// Packs and forgets what is over of all histories, the oldest of them where they take too much, and gives up waiting
    /// for breakers to close whose instances are gone.
    pub fn look_after_history(&self) {
        let now = self.uptime();
        let keys: Vec<ServiceKey> = self.lock().services.keys().cloned().collect();
        let mut bytes = 0;
        let mut kept = 0;
        for keys in keys.chunks(AT_ONCE) {
            let mut inner = self.lock();
            let Inner { services, by_id, silent, .. } = &mut *inner;
            for key in keys {
                let reported = services.get_mut(key).and_then(|service| service.reported.as_deref_mut());
                let Some(reported) = reported else { continue };
                reported.history.advance(now);
                bytes += reported.history.bytes();
                kept += usize::from(reported.history.bytes() > 0);
                reported.recoveries.retain(|id| {
                    by_id.get(id).is_some_and(|connected| connected.services.contains(key))
                        || silent.get(id).is_some_and(|silent| silent.services.contains_key(key))
                });
            }
        }
        if bytes > self.max_history_bytes {
            self.trim(&keys, self.max_history_bytes / kept.max(1));
        }
    }

    /// Leaves each history so many bytes: those that need less leave none of theirs to others, and nobody has to ask twice.
    fn trim(&self, keys: &[ServiceKey], share: usize) {
        for keys in keys.chunks(AT_ONCE) {
            let mut inner = self.lock();
            let Inner { services, losses, .. } = &mut *inner;
            for key in keys {
                let reported = services.get_mut(key).and_then(|service| service.reported.as_deref_mut());
                let Some(reported) = reported else { continue };
                let lost = Losses { history_slots_dropped: reported.history.trim(share), ..Losses::default() };
                reported.losses.merge(&lost);
                losses.merge(&lost);
            }
        }
    }
}

impl Inner {
    pub(super) fn reported(&self, key: &ServiceKey) -> Option<&Reported> {
        self.services.get(key)?.reported.as_deref()
    }
}

/// The ids of the members whose breaker is open or half-open, in order.
pub(super) fn open_ids(service: &Service, max: usize) -> Vec<Arc<str>> {
    if service.tally.open() == 0 {
        return Vec::new();
    }
    let is_open = |member: &&Member| matches!(member.now.breaker, Some(State::Open | State::HalfOpen));
    let members = service.members.values().map(Box::as_ref);
    let mut ids: Vec<_> = members.filter(is_open).map(|member| Arc::clone(&member.id)).collect();
    ids.sort_unstable();
    ids.truncate(max);
    ids
}
