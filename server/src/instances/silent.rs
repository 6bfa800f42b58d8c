//! Instances whose stream broke off without a word.
//!
//! A process that crashed, or that a network keeps from us, may go on with whatever policy it had. So it still counts
//! among those that use a service, and never among those that are done, until it comes back, or has been silent for so
//! long that it is taken for gone.

use std::{collections::HashMap, time::Duration};

use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{Inner, Instances, Service};
use crate::events::News;

/// How long an instance may be silent before it is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// How long an instance may be silent before it is told: one that has lost its connection is back sooner.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// One of them.
#[derive(Debug)]
pub(super) struct Silent {
    pub(super) since: Instant,
    /// The number of its stream.
    pub(super) session: u64,
    /// When its stream began.
    pub(super) began: Instant,
    pub(super) application: String,
    pub(super) namespace: Name,
    /// Whether it was told that it is silent.
    pub(super) is_told: bool,
    /// What it used, and what of that it had acknowledged last.
    pub(super) services: HashMap<ServiceKey, Option<Revision>>,
}

impl Instances {
    /// Forgets those that have been silent for too long.
    pub fn forget_silent(&self) {
        let mut inner = self.lock();
        let is_over = |silent: &Silent| silent.since.elapsed() >= FORGOTTEN_AFTER;
        let over: Vec<_> =
            inner.silent.iter().filter(|(_, silent)| is_over(silent)).map(|(id, _)| id.clone()).collect();
        for id in &over {
            inner.forget_silent(id);
        }
        drop(inner);
        if !over.is_empty() {
            tracing::warn!(instances = over.len(), "instances that broke off have not come back: forgotten");
            self.progressed();
        }
    }
}

impl Instances {
    /// Tells of those that have been silent for so long that it means something.
    pub(crate) fn tell_silent(&self) {
        let mut inner = self.lock();
        for (id, silent) in &mut inner.silent {
            if !silent.is_told && silent.since.elapsed() >= TOLD_AFTER {
                silent.is_told = true;
                let change = v1::InstanceChange::Silent;
                self.events.tell(News::instance(change, &silent.namespace, id, &silent.application));
            }
        }
    }
}

impl Inner {
    /// Ends the session of an id and takes out what was its own. Where it is expected back, it is silent from now on;
    /// of those, `max` are remembered.
    pub(super) fn depart(&mut self, id: &str, is_expected_back: bool, max: usize) {
        let Some(connected) = self.by_id.remove(id) else {
            return;
        };
        connected.ended.cancel();
        let (since, session, began) = (Instant::now(), connected.session, connected.since);
        let (application, namespace) = (connected.application, connected.namespace);
        let mut used = HashMap::new();
        for key in connected.services {
            if let Some(service) = self.services.get_mut(&key)
                && let Some(member) = service.take_out(connected.session)
            {
                self.figures -= usize::from(member.own.is_some());
                used.insert(key, member.applied.map(|(revision, _)| revision));
            }
        }
        if !is_expected_back {
            self.forget_silent(id);
            used.keys().for_each(|key| self.remove_if(key, Service::is_empty));
            return;
        }
        if self.silent.len() >= max
            && !self.silent.contains_key(id)
            && let Some(oldest) = self.silent.iter().min_by_key(|(_, silent)| silent.since).map(|(id, _)| id.clone())
        {
            self.forget_silent(&oldest);
        }
        let silent = self.silent.entry(id.to_owned());
        let silent = silent.or_insert_with(|| Silent {
            since,
            session,
            began,
            application,
            namespace,
            is_told: false,
            services: HashMap::new(),
        });
        (silent.session, silent.began) = (session, began);
        for (key, applied) in used {
            if let Some(service) = self.services.get_mut(&key)
                && silent.services.insert(key, applied).is_none()
            {
                service.silent = service.silent.saturating_add(1);
            }
        }
    }

    /// An instance is not silent any more, or not counted any more. Whether it was.
    pub(super) fn forget_silent(&mut self, id: &str) -> bool {
        let Some(silent) = self.silent.remove(id) else {
            return false;
        };
        for key in silent.services.keys() {
            if let Some(service) = self.services.get_mut(key) {
                service.silent = service.silent.saturating_sub(1);
            }
            self.remove_if(key, Service::is_empty);
        }
        true
    }
}
