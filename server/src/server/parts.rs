//! What a manager is made of, and how it is put together.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::{
    clock::Clock,
    config::{Config, StoreKind},
    events::{Events, EventsOptions},
    execute::{Executor, Fence, Traces},
    grpc::{Api, InProcess, Requests, Routes, SyncOptions, routes},
    http::{Front, Http, HttpOptions},
    instances::Instances,
    listener::Connections,
    metrics::{Metrics, MetricsOptions, Sources},
    peers::{Local, Peers, PeersOptions},
    registry::{Registry, RegistryOptions},
    store::Store,
};

/// How long a few instances may take to come back after a restart: twice the longest pause of an SDK.
const SETTLING: Duration = Duration::from_secs(10);

/// How long a store's address may take to resolve, for the fence.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a manager is made of. A clone is the same manager.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) events: Arc<Events>,
    pub(super) registry: Arc<Registry>,
    pub(super) instances: Arc<Instances>,
    pub(super) executor: Arc<Executor>,
    pub(super) peers: Peers,
}

impl Parts {
    /// Loads what the store holds, and finds the other managers.
    pub(super) async fn load(
        config: &Config,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        local_addr: SocketAddr,
        traces: Traces,
    ) -> Result<Self, StartError> {
        let kind = config.store.kind;
        let options = EventsOptions { keep: config.events.keep, is_shared: kind == StoreKind::Etcd };
        let events = Arc::new(Events::new(Arc::clone(&clock), options));
        let options = RegistryOptions {
            events: Arc::clone(&events),
            store_timeout: config.store.timeout,
            max_services: config.limits.max_services,
            ..RegistryOptions::default()
        };
        let registry = Registry::open(Arc::clone(&store), Arc::clone(&clock), options).await;
        let registry = Arc::new(registry.map_err(|error| StartError::Load { kind, error })?);
        let max_instances = config.limits.max_instances;
        let settling = settling(SyncOptions::from(&config.sync), max_instances);
        let instances = Arc::new(Instances::new(max_instances, settling).telling(Arc::clone(&events)));
        let fence = Fence::loopback_except(own_addresses(config, local_addr).await);
        let executor = Arc::new(Executor::new(Arc::clone(&registry), fence).with_traces(traces));
        // The other stores are one manager's alone.
        let peers = match kind {
            StoreKind::Etcd => {
                let options = PeersOptions {
                    id: events.manager_id().to_owned(),
                    address: advertised(config, local_addr),
                    timeout: config.peers.timeout,
                    lease: config.peers.lease,
                };
                let peers = Peers::join(store, clock, Arc::clone(&instances), options);
                peers.joined().await;
                peers
            }
            StoreKind::Embedded | StoreKind::Memory => Peers::alone(),
        };
        Ok(Self { events, registry, instances, executor, peers })
    }

    /// Who answers what comes on a connection. `leaving` and `drain` are for a manager's end.
    pub(super) fn front(
        &self,
        config: &Config,
        connections: Connections,
        leaving: &CancellationToken,
        drain: &CancellationToken,
    ) -> Result<Front<Routes>, StartError> {
        let Self { registry, instances, executor, peers, .. } = self.clone();
        let requests = Arc::<Requests>::default();
        let metrics = Metrics::new(Sources {
            local: Local::new(Arc::clone(&registry), Arc::clone(&instances), Arc::clone(&executor)),
            peers: peers.clone(),
            connections,
            requests: Arc::clone(&requests),
            options: MetricsOptions { max_services: config.telemetry.metrics_max_services },
        });
        let api = Api {
            registry: Arc::clone(&registry),
            instances,
            executor,
            peers,
            sync: SyncOptions::from(&config.sync),
            requests,
            leaving: leaving.clone(),
            drain: drain.clone(),
        };
        let routes = routes(api).map_err(|error| StartError::Contract(error.to_string()))?;
        let in_process = InProcess::new(routes.clone());
        let http = Http::new(in_process, registry, metrics, leaving.clone(), HttpOptions::from(config));
        Ok(Front::new(routes, http.map_err(StartError::Contract)?))
    }
}

/// Where other managers reach this one. `None`: nobody has said so, and its own address does not tell.
pub(super) fn advertised(config: &Config, local_addr: SocketAddr) -> Option<String> {
    let bound = (!local_addr.ip().is_unspecified()).then(|| local_addr.to_string());
    config.peers.advertise_address.clone().or(bound)
}

/// How long instances may take to come back after a restart. How many there were is not known; as many as there may be were
/// asked to spread over their reconnect window.
fn settling(sync: SyncOptions, max_instances: usize) -> Duration {
    SETTLING.max(sync.reconnect_window_of(max_instances))
}

/// What the manager must never dial for others: itself and its store.
async fn own_addresses(config: &Config, local_addr: SocketAddr) -> Vec<SocketAddr> {
    let mut own = vec![local_addr];
    for endpoint in &config.store.etcd_endpoints {
        let authority = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, rest)| rest);
        let authority = authority.split('/').next().unwrap_or_default();
        match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host(authority)).await {
            Ok(Ok(addresses)) => own.extend(addresses),
            Ok(Err(error)) => tracing::debug!(endpoint, %error, "etcd endpoint does not resolve"),
            Err(_) => tracing::debug!(endpoint, "etcd endpoint does not resolve in time"),
        }
    }
    own
}

#[cfg(test)]
mod tests;
