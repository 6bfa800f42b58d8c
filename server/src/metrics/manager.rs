//! What there is to show of the manager itself.

use std::{fmt, time::Duration};

use cofferdam_core::latency::SparseLatency;

use super::{Sources, catalogue as all, page::Page};
use crate::{
    grpc::RequestCount,
    http::code_name,
    instances::{Losses, Presence},
    listener::Occupancy,
    registry::Vitals,
    telemetry,
};

/// The label for RPCs that the manager does not have.
const OTHER_RPC: &str = "(other)";

/// What is known of the manager.
#[derive(Debug)]
pub(super) struct Manager {
    services: usize,
    summed: usize,
    presence: Presence,
    apply: SparseLatency,
    vitals: Vitals,
    losses: Losses,
    managers: (usize, usize),
    connections: Occupancy,
    requests: Vec<RequestCount>,
    log_lines_lost: u64,
    started: Duration,
}

impl Manager {
    pub(super) fn collect(sources: &Sources, (services, summed): (usize, usize)) -> Self {
        let Sources { local, peers, connections, requests, .. } = sources;
        Self {
            services,
            summed,
            presence: local.instances.presence(),
            apply: local.instances.apply_latency(),
            vitals: local.registry.vitals(),
            losses: local.instances.losses(),
            managers: peers.presence(),
            connections: connections.occupancy(),
            requests: requests.counts(),
            log_lines_lost: telemetry::lost_lines(),
            started: Duration::from_secs(u64::try_from(local.started.seconds()).unwrap_or_default()),
        }
    }

    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.write_fleet(page)?;
        self.write_store(page)?;
        let (present, missing) = self.managers;
        page.family(&all::MANAGERS, |samples| {
            samples.value(&[("state", "present")], present as u64)?;
            samples.value(&[("state", "missing")], missing as u64)
        })?;
        let Occupancy { connections, refused_for_all, refused_for_one } = self.connections;
        page.gauge(&all::CONNECTIONS, connections)?;
        page.family(&all::CONNECTIONS_REFUSED, |samples| {
            samples.count(&[("limit", "max_connections")], refused_for_all)?;
            samples.count(&[("limit", "max_connections_per_ip")], refused_for_one)
        })?;
        page.family(&all::REQUESTS, |samples| {
            self.requests.iter().try_for_each(|RequestCount { rpc, code, count }| {
                let labels = [("rpc", rpc.as_deref().unwrap_or(OTHER_RPC)), ("code", code_name(*code))];
                samples.count(&labels, *count)
            })
        })?;
        page.counter(&all::LOG_LINES_LOST, self.log_lines_lost)?;
        page.family(&all::BUILD_INFO, |samples| samples.value(&[("version", env!("CARGO_PKG_VERSION"))], 1))?;
        page.family(&all::START_TIME, |samples| samples.seconds(&[], self.started))
    }

    fn write_fleet(&self, page: &mut Page<'_>) -> fmt::Result {
        let Presence { connected, silent, unregistered } = self.presence;
        page.gauge(&all::SERVICES, self.services)?;
        page.gauge(&all::SERVICES_SUMMED, self.summed)?;
        page.gauge(&all::SERVICES_UNREGISTERED, unregistered)?;
        page.family(&all::INSTANCES, |samples| {
            samples.value(&[("state", "connected")], connected as u64)?;
            samples.value(&[("state", "silent")], silent as u64)
        })?;
        page.family(&all::POLICY_APPLY, |samples| samples.times(&[], &self.apply))?;
        let deliveries = &self.vitals.deliveries;
        page.gauge(&all::STREAMS, deliveries.streams)?;
        page.counter(&all::PUSHES, deliveries.pushed)?;
        page.counter(&all::PUSHES_COALESCED, deliveries.coalesced)?;
        page.family(&all::STREAMS_CUT, |samples| {
            samples.count(&[("reason", "overrun")], deliveries.overrun)?;
            samples.count(&[("reason", "stalled")], deliveries.stalled)
        })?;
        let Losses {
            reports_missed,
            transitions_dropped,
            histograms_refused,
            history_slots_dropped,
            instance_figures_dropped,
        } = self.losses;
        page.family(&all::LOSSES, |samples| {
            samples.count(&[("kind", "reports_missed")], reports_missed)?;
            samples.count(&[("kind", "transitions_dropped")], transitions_dropped)?;
            samples.count(&[("kind", "histograms_refused")], histograms_refused)?;
            samples.count(&[("kind", "history_slots_dropped")], history_slots_dropped)?;
            samples.count(&[("kind", "instance_figures_dropped")], instance_figures_dropped)
        })
    }

    fn write_store(&self, page: &mut Page<'_>) -> fmt::Result {
        let Vitals { head, stale_for, takes_writes, poisoned, bulk_waiting, epochs, doubts, .. } = self.vitals;
        page.gauge(&all::STORE_UP, stale_for.is_none().into())?;
        page.gauge(&all::STORE_WRITABLE, takes_writes.into())?;
        page.family(&all::STORE_STALE, |samples| samples.seconds(&[], stale_for.unwrap_or_default()))?;
        page.gauge(&all::STORE_POISONED, poisoned)?;
        page.family(&all::BULK_WAITING, |samples| samples.value(&[], bulk_waiting.into()))?;
        page.family(&all::STORE_REVISION, |samples| samples.value(&[], head.revision))?;
        page.family(&all::STORE_EPOCH, |samples| samples.value(&[], head.epoch))?;
        page.counter(&all::STORE_EPOCH_CHANGES, epochs)?;
        page.counter(&all::STORE_DOUBTS, doubts)
    }
}
