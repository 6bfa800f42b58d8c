//! One manager's part of what is known, in a form that adds up.
//!
//! The same code makes this manager's part for its own answer and for that of another, so that what one manager says alone
//! is what several say together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cofferdam_core::{
    name::{Name, ServiceKey},
    revision::Revision,
    time::WallTime,
    wire::PolicyHash,
};
use cofferdam_proto::v1;

use crate::{
    activity::Activity,
    execute::Executor,
    instances::{Instances, Losses, Observation, Recoveries, newest_rejections},
    registry::{Registered, Registry},
};

/// What this manager knows by itself.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    pub(crate) registry: Arc<Registry>,
    pub(crate) instances: Arc<Instances>,
    pub(crate) executor: Arc<Executor>,
    /// The time of day when counting began.
    pub(crate) started: WallTime,
}

/// What is known of one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServicePart {
    /// What the instances say.
    pub(crate) seen: Observation,
    /// The calls that managers made themselves.
    pub(crate) executed: Activity,
    /// Both of late, where a window was asked for.
    pub(crate) recent: Option<Activity>,
}

/// What is known of several services together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TotalsPart {
    /// Since the managers started.
    pub(crate) total: Activity,
    /// Of late, where a window was asked for.
    pub(crate) recent: Option<Activity>,
    pub(crate) recoveries: Recoveries,
    /// Of all services, whatever was asked about.
    pub(crate) losses: Losses,
    /// Instances that hold a stream.
    pub(crate) instances: u32,
    /// The services of which some instance has a breaker open or half-open.
    pub(crate) open: BTreeSet<String>,
    /// Those instances by their SDK.
    pub(crate) sdks: BTreeMap<String, u32>,
}

/// Which services totals are over.
#[derive(Clone, Debug)]
pub(crate) enum TotalScope {
    All,
    Namespace(Name),
    Service(ServiceKey),
}

/// What happened to a service in a slot of its history.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slot {
    /// When it began, in seconds since 1970.
    pub(crate) begin: i64,
    /// Its length so far.
    pub(crate) length: Duration,
    pub(crate) activity: Activity,
}

impl Local {
    pub(crate) fn new(registry: Arc<Registry>, instances: Arc<Instances>, executor: Arc<Executor>) -> Self {
        let started = registry.wall_time();
        Self { registry, instances, executor, started }
    }

    /// What is known of a service whose policy is at this revision with this fingerprint.
    pub(crate) fn service(
        &self,
        key: &ServiceKey,
        revision: Revision,
        hash: PolicyHash,
        window: Option<Duration>,
    ) -> ServicePart {
        let recent = window.map(|window| {
            let mut recent = self.instances.over(key, window);
            recent.merge(&self.executor.untold(key));
            recent
        });
        let seen = self.instances.observe(key, revision, hash);
        ServicePart { seen, executed: self.executor.activity(key), recent }
    }

    /// The services that totals are over.
    pub(crate) fn in_scope(&self, scope: &TotalScope) -> Vec<Arc<Registered>> {
        match scope {
            TotalScope::All => self.registry.services(None),
            TotalScope::Namespace(namespace) => self.registry.services(Some(namespace)),
            TotalScope::Service(key) => self.registry.get(key).into_iter().collect(),
        }
    }

    /// What is known together of the services in a scope, which `services` are.
    pub(crate) fn totals(
        &self,
        scope: &TotalScope,
        services: &[Arc<Registered>],
        window: Option<Duration>,
    ) -> TotalsPart {
        let namespace = match scope {
            TotalScope::All => None,
            TotalScope::Namespace(namespace) | TotalScope::Service(ServiceKey { namespace, .. }) => Some(namespace),
        };
        let mut totals = TotalsPart {
            recent: window.map(|_| Activity::default()),
            losses: self.instances.losses(),
            instances: u32::try_from(self.instances.count(namespace)).unwrap_or(u32::MAX),
            sdks: self.instances.sdks(),
            ..TotalsPart::default()
        };
        for registered in services {
            let part = self.service(registered.key(), registered.revision(), registered.policy_hash(), window);
            totals.add(registered.key(), &part);
        }
        totals
    }

    /// The last calls to a service that were turned away, by instances and by this manager: the newest first.
    pub(crate) fn rejections(&self, key: &ServiceKey) -> Vec<v1::RejectedCall> {
        let mut calls = self.instances.rejections(key);
        calls.extend(self.executor.rejections(key, self.registry.events().manager_id()));
        newest_rejections(calls)
    }

    /// How long the figures are about.
    pub(crate) fn period(&self, window: Option<Duration>) -> Duration {
        window.map_or_else(|| self.instances.uptime(), |window| self.instances.period(window))
    }

    /// What happened to a service of late, slot by slot.
    pub(crate) fn history(&self, key: &ServiceKey, window: Duration) -> Vec<Slot> {
        let slot = |point: crate::instances::Point| {
            let since_start = i64::try_from(point.begin.as_secs()).unwrap_or(i64::MAX);
            let begin = self.started.seconds().saturating_add(since_start);
            Slot { begin, length: point.length, activity: point.activity }
        };
        self.instances.history(key, window).into_iter().map(slot).collect()
    }
}

impl ServicePart {
    /// All calls, whoever made them.
    pub(crate) fn total(&self) -> Activity {
        let mut total = self.seen.activity.clone();
        total.merge(&self.executed);
        total
    }

    /// Adds another manager's part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.seen.merge(other.seen);
        self.executed.merge(&other.executed);
        merge_recent(&mut self.recent, other.recent.as_ref());
    }
}

impl TotalsPart {
    fn add(&mut self, key: &ServiceKey, part: &ServicePart) {
        self.total.merge(&part.seen.activity);
        self.total.merge(&part.executed);
        merge_recent(&mut self.recent, part.recent.as_ref());
        self.recoveries.merge(&part.seen.recoveries);
        if part.seen.open_instances > 0 {
            self.open.insert(key.to_string());
        }
    }

    /// Adds another manager's part.
    pub(crate) fn merge(&mut self, other: Self) {
        self.total.merge(&other.total);
        merge_recent(&mut self.recent, other.recent.as_ref());
        self.recoveries.merge(&other.recoveries);
        self.losses.merge(&other.losses);
        self.instances = self.instances.saturating_add(other.instances);
        self.open.extend(other.open);
        for (sdk, count) in other.sdks {
            let sum = self.sdks.entry(sdk).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}

fn merge_recent(recent: &mut Option<Activity>, other: Option<&Activity>) {
    if let Some(other) = other {
        recent.get_or_insert_default().merge(other);
    }
}

impl Slot {
    /// Adds the slots of several managers, which began at different times: each counts where it began, cut to the length
    /// of a whole one.
    pub(crate) fn together(slots: Vec<Self>, length: Duration) -> Vec<Self> {
        let whole = i64::try_from(length.as_secs()).unwrap_or(i64::MAX).max(1);
        let mut all = std::collections::BTreeMap::<i64, Self>::new();
        for slot in slots {
            let begin = slot.begin.div_euclid(whole).saturating_mul(whole);
            match all.get_mut(&begin) {
                Some(sum) => {
                    sum.activity.merge(&slot.activity);
                    sum.length = sum.length.max(slot.length);
                }
                None => {
                    all.insert(begin, Self { begin, ..slot });
                }
            }
        }
        all.into_values().collect()
    }
}
