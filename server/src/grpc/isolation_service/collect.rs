//! What this manager and all others know together.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cofferdam_core::wire::{duration_from_wire, duration_to_wire};
use cofferdam_proto::v1;
use tokio::time::Instant;

use super::{IsolationApi, overview::instance};
use crate::{
    instances::Target,
    peers::{ServicePart, Slot, TotalScope, TotalsPart, target_to_wire},
    registry::Registered,
};

/// The longest window that is answered in slots of ten seconds, and the lengths of slots.
pub(super) const SHORT_WINDOW: Duration = Duration::from_secs(3600);
pub(super) const SHORT_SLOT: Duration = Duration::from_secs(10);
pub(super) const LONG_SLOT: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// The services to be told one by one.
    pub(super) services: Vec<Arc<Registered>>,
    pub(super) window: Option<Duration>,
    /// What the sums are over. `None`: there are none.
    pub(super) totals: Option<TotalScope>,
    /// The services that those are.
    pub(super) summed: Vec<Arc<Registered>>,
    /// The instances of the first service: after which one, and how many.
    pub(super) rows: Option<(String, usize)>,
    /// Whether the history of the first service is asked for.
    pub(super) includes_history: bool,
    /// Whether the rejections of the first service are asked for.
    pub(super) includes_rejections: bool,
}

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// In the order in which they were asked for.
    pub(super) services: Vec<ServicePart>,
    pub(super) totals: TotalsPart,
    pub(super) rows: Vec<v1::InstanceStats>,
    /// Where the next page of rows begins; empty where there is none.
    pub(super) rows_token: String,
    pub(super) history: Vec<Slot>,
    /// What each manager knows of calls that were turned away.
    pub(super) rejections: Vec<v1::RejectedCall>,
    /// How long the figures are about, and those without a window: the longest of all managers.
    pub(super) period: (Duration, Duration),
    pub(super) unreachable: Vec<v1::UnreachableManager>,
}

impl IsolationApi {
    /// Asks the others, and adds what this manager knows.
    pub(super) async fn collect(&self, question: &Question) -> Collected {
        let others = if self.peers.are_none() {
            Default::default()
        } else {
            let request = request(question);
            self.peers
                .ask(|mut client, manager_id| {
                    let request = v1::CollectStatsRequest { manager_id, ..request.clone() };
                    async move { client.collect_stats(request).await }
                })
                .await
        };
        let mut collected = self.collect_own(question);
        collected.unreachable = others.unreachable;
        let is_alone = others.parts.is_empty();
        for (_, part) in others.parts {
            collected.add(part);
        }
        if let Some((_, max)) = question.rows {
            collected.cut_rows(max);
        }
        if !is_alone && question.includes_history {
            let is_long = question.window.is_some_and(|window| window > SHORT_WINDOW);
            let length = if is_long { LONG_SLOT } else { SHORT_SLOT };
            collected.history = Slot::together(collected.history, length);
        }
        collected
    }

    fn collect_own(&self, question: &Question) -> Collected {
        let local = &self.local;
        let Question { services, window, totals, summed, rows, includes_history, includes_rejections } = question;
        let part = |registered: &Arc<Registered>| {
            local.service(registered.key(), registered.revision(), registered.policy_hash(), *window)
        };
        let first = services.first().map(|registered| registered.key());
        let rows = first.zip(rows.as_ref()).map(|(key, (after, max))| local.instances.rows(key, after, max + 1).0);
        let history = first.filter(|_| *includes_history);
        let history = history.map(|key| local.history(key, window.unwrap_or(super::DEFAULT_HISTORY)));
        let rejections = first.filter(|_| *includes_rejections).map(|key| local.rejections(key));
        Collected {
            services: services.iter().map(part).collect(),
            totals: totals.as_ref().map(|scope| local.totals(scope, summed, *window)).unwrap_or_default(),
            rows: rows.unwrap_or_default().into_iter().map(instance).collect(),
            history: history.unwrap_or_default(),
            rejections: rejections.unwrap_or_default(),
            period: (local.period(*window), local.period(None)),
            ..Collected::default()
        }
    }
}

impl Collected {
    /// Adds another manager's part.
    fn add(&mut self, part: v1::CollectStatsResponse) {
        for (sum, part) in self.services.iter_mut().zip(part.services) {
            sum.merge(part.into());
        }
        self.totals.merge(part.totals.unwrap_or_default().into());
        self.rows.extend(part.instances);
        self.history.extend(part.history.into_iter().map(Slot::from));
        self.rejections.extend(part.rejections);
        let read = |wire: Option<prost_types::Duration>| wire.and_then(|wire| duration_from_wire(wire).ok());
        let period = read(part.period).unwrap_or_default();
        let uptime = read(part.uptime).unwrap_or_default();
        self.period = (self.period.0.max(period), self.period.1.max(uptime));
    }

    /// Leaves the first so many instances. One that two managers list has moved: the younger stream is the one it holds.
    fn cut_rows(&mut self, max: usize) {
        let mut rows = BTreeMap::<String, v1::InstanceStats>::new();
        let age = |row: &v1::InstanceStats| row.connected_for.map(|age| (age.seconds, age.nanos));
        for row in std::mem::take(&mut self.rows) {
            match rows.get_mut(&row.instance_id) {
                Some(known) if age(known) <= age(&row) => {}
                Some(known) => *known = row,
                None => {
                    rows.insert(row.instance_id.clone(), row);
                }
            }
        }
        let has_more = rows.len() > max;
        self.rows = rows.into_values().take(max).collect();
        self.rows_token = self.rows.last().filter(|_| has_more).map(|row| row.instance_id.clone()).unwrap_or_default();
    }
}

fn request(question: &Question) -> v1::CollectStatsRequest {
    let Question { services, window, totals, summed: _, rows, includes_history, includes_rejections } = question;
    let target = |registered: &Arc<Registered>| {
        let revision = registered.revision();
        target_to_wire(&Target {
            key: registered.key().clone(),
            revision,
            current: revision,
            hash: registered.policy_hash(),
            since: Instant::now(),
            is_contained: false,
            in_place: None,
        })
    };
    let (total_namespace, total_service) = match totals {
        None | Some(TotalScope::All) => (String::new(), String::new()),
        Some(TotalScope::Namespace(namespace)) => (namespace.to_string(), String::new()),
        Some(TotalScope::Service(key)) => (key.namespace.to_string(), key.name.to_string()),
    };
    v1::CollectStatsRequest {
        manager_id: String::new(),
        services: services.iter().map(target).collect(),
        window: window.map(duration_to_wire),
        include_totals: totals.is_some(),
        total_namespace,
        total_service,
        max_instances: rows.as_ref().map_or(0, |(_, max)| u32::try_from(max + 1).unwrap_or(u32::MAX)),
        instances_after: rows.as_ref().map(|(after, _)| after.clone()).unwrap_or_default(),
        include_history: *includes_history,
        include_rejections: *includes_rejections,
    }
}
