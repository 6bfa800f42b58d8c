//! One instance's place among the others, for as long as its stream lasts.

use std::{
    collections::btree_map::Entry,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use cofferdam_core::{name::ServiceKey, revision::Revision, wire::PolicyHash};
use cofferdam_proto::v1;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Condition, Inner, Instances, Member, PutBack, Refusal, allowance::Allowance};
use crate::{
    error::Error,
    events::{Events, News},
};

/// One instance's place here. Dropping it disconnects the instance.
#[derive(Debug)]
pub struct Session {
    pub(super) instances: Arc<Instances>,
    pub(super) id: Arc<str>,
    pub(super) session: u64,
    began: Instant,
    ended: CancellationToken,
    has_said_goodbye: AtomicBool,
    allowance: Mutex<Allowance>,
}

impl Session {
    pub(super) fn new(instances: Arc<Instances>, id: Arc<str>, session: u64, ended: CancellationToken) -> Self {
        let began = Instant::now();
        let (has_said_goodbye, allowance) = (AtomicBool::new(false), Mutex::new(Allowance::full(began)));
        Self { instances, id, session, began, ended, has_said_goodbye, allowance }
    }

    /// The instance's own name.
    pub fn instance_id(&self) -> &str {
        &self.id
    }

    /// Fires when another stream takes this session's place.
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Where the stream comes from that has this instance's id now. `None`: there is none, or nobody knows.
    pub fn successor(&self) -> Option<SocketAddr> {
        self.instances.lock().by_id.get(&*self.id)?.from
    }

    /// The instance has said which SDK it has.
    pub fn names_sdk(&self, sdk: &str) {
        self.with(|inner| {
            if let Some(connected) = inner.by_id.get_mut(&*self.id) {
                connected.sdk = sdk.into();
            }
        });
    }

    /// Where it is told what the instance does.
    pub(crate) fn events(&self) -> &Events {
        &self.instances.events
    }

    /// How many events of so many it may tell now.
    pub(crate) fn may_tell(&self, events: usize) -> usize {
        self.allowance.lock().unwrap_or_else(PoisonError::into_inner).take(events, Instant::now())
    }

    /// What the instance has in force of a service, by what it acknowledged last.
    pub(crate) fn in_force(&self, key: &ServiceKey) -> Option<Revision> {
        let member = |inner: &mut Inner| inner.services.get(key)?.members.get(&self.session)?.applied;
        self.with(member).flatten().map(|(revision, _)| revision)
    }

    /// The instance has said goodbye: it is not silent when its stream ends.
    pub fn says_goodbye(&self) {
        self.has_said_goodbye.store(true, Ordering::Relaxed);
    }

    /// The instance uses these services, each with whether it is registered. What it used on a stream before this one, and
    /// has not named, it uses no more.
    ///
    /// # Errors
    /// [`Error::QuotaExceeded`] where instances name too many services that are not registered: then nothing is changed.
    pub fn follow<'a>(&self, keys: impl IntoIterator<Item = (&'a ServiceKey, bool)> + Clone) -> Result<(), Error> {
        let max = self.instances.max_unregistered;
        let was_silent = self.with(|inner| {
            let new = keys.clone().into_iter();
            let new = new.filter(|(key, is_registered)| !is_registered && !inner.services.contains_key(*key)).count();
            if new > 0 && inner.unregistered.saturating_add(new) > max {
                return Err(Error::QuotaExceeded {
                    quota: "services that instances name and nobody has registered",
                    limit: max.to_string(),
                    remedy: "register them, or name services instead of what they are called for",
                });
            }
            let was_silent = inner.forget_silent(&self.id);
            for (key, is_registered) in keys {
                let service = inner.service(key, is_registered);
                if let Entry::Vacant(vacant) = service.members.entry(self.session) {
                    let member = Member { id: Arc::clone(&self.id), ..Member::default() };
                    service.tally.add(member.now, &member.parts);
                    service.progress.add(None);
                    vacant.insert(Box::new(member));
                    if let Some(connected) = inner.by_id.get_mut(&*self.id) {
                        connected.services.insert(key.clone());
                    }
                }
            }
            Ok(was_silent)
        });
        // Of what it used and uses no more, one less is missing.
        if was_silent.transpose()? == Some(true) {
            self.instances.progressed();
        }
        Ok(())
    }

    /// The instance does not use this service any more.
    pub fn unfollow(&self, key: &ServiceKey) {
        let last = self.with(|inner| {
            inner.by_id.get_mut(&*self.id)?.services.remove(key);
            let member = inner.services.get_mut(key)?.take_out(self.session)?;
            inner.figures -= usize::from(member.own.is_some());
            Some(member.now)
        });
        if last.flatten().is_some_and(|last| last != Condition::default()) {
            self.instances.own_changed();
        }
        self.instances.progressed();
    }

    /// A policy is in force at the instance.
    pub fn applied(&self, key: &ServiceKey, revision: Revision, hash: PolicyHash) {
        self.acknowledged(key, (revision, hash), None);
    }

    /// The same of a policy that there is `since` a time: for the first such word, how long it took is counted.
    pub fn acknowledged(&self, key: &ServiceKey, (revision, hash): (Revision, PolicyHash), since: Option<Instant>) {
        self.with_member(key, |member| {
            if member.applied != Some((revision, hash))
                && let Some(since) = since
            {
                self.instances.apply_latency.record(since.max(self.began).elapsed());
            }
            member.applied = Some((revision, hash));
            if member.refused.as_ref().is_some_and(|refusal| refusal.revision <= revision) {
                member.refused = None;
            }
        });
    }

    /// A policy was refused by the instance, and another one stays in force there, as far as it says so. One that it had
    /// acknowledged before is not in force any more. How many have put it back.
    pub fn refused(&self, key: &ServiceKey, refusal: Refusal, stays: Option<(Revision, PolicyHash)>) -> PutBack {
        let revision = refusal.revision;
        self.with_member(key, |member| {
            if stays.is_some() || member.applied.is_some_and(|(applied, _)| applied >= refusal.revision) {
                member.applied = stays;
            }
            member.refused = Some(refusal);
        });
        self.instances.put_back(key, revision)
    }

    /// Runs `change` unless another session has taken this one's place.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> Option<T> {
        let mut inner = self.instances.lock();
        let current = inner.by_id.get(&*self.id).is_some_and(|connected| connected.session == self.session);
        current.then(|| change(&mut inner))
    }

    fn with_member(&self, key: &ServiceKey, change: impl FnOnce(&mut Member)) {
        self.with(|inner| {
            if let Some(service) = inner.services.get_mut(key)
                && let Some(member) = service.members.get_mut(&self.session)
            {
                let before = member.applied;
                change(member);
                service.progress.remove(before);
                service.progress.add(member.applied);
            }
        });
        self.instances.progressed();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let is_expected_back = !*self.has_said_goodbye.get_mut();
        let left = self.with(|inner| {
            let left = inner.by_id.get(&*self.id).filter(|_| !is_expected_back);
            let left = left.map(|connected| (connected.namespace.clone(), connected.application.clone()));
            inner.depart(&self.id, is_expected_back, self.instances.max);
            left
        });
        if let Some((namespace, application)) = left.flatten() {
            let change = v1::InstanceChange::Left;
            self.instances.events.tell(News::instance(change, &namespace, &self.id, &application));
        }
        self.instances.own_changed();
        self.instances.progressed();
    }
}
