//! All that the manager serves, by path.

use std::sync::Arc;

use cofferdam_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{isolation_service_server::IsolationServiceServer, peer_service_server::PeerServiceServer},
};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::{Builder, Error as ReflectionError};

use super::{
    Counted, HealthApi, IsolationApi, PeerApi, Requests, SyncApi, SyncOptions, decode_errors::DecodeErrors,
    timely::Timely,
};
use crate::{
    execute::Executor,
    instances::Instances,
    peers::{Local, Peers},
    registry::Registry,
};

/// The largest request of an operator: a policy with a chain of static answers fits several times.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// What the services are made of.
#[derive(Debug)]
pub struct Api {
    /// The services in memory.
    pub registry: Arc<Registry>,
    /// Who is connected.
    pub instances: Arc<Instances>,
    /// Who makes calls for others.
    pub executor: Arc<Executor>,
    /// The other managers.
    pub peers: Peers,
    /// How Sync streams are kept.
    pub sync: SyncOptions,
    /// Counts the requests.
    pub requests: Arc<Requests>,
    /// Fires when this manager is about to stop: the health of the whole is "not serving".
    pub leaving: CancellationToken,
    /// Fires when it stops: streams end.
    pub drain: CancellationToken,
}

/// All that the manager serves, by path.
pub type Routes = Counted<tonic::service::Routes>;

/// The routes of every service, with reflection (v1 and v1alpha) over all of them.
///
/// # Errors
/// [`ReflectionError`] where the descriptors that are part of this program contradict each other.
pub fn routes(api: Api) -> Result<Routes, ReflectionError> {
    let Api { registry, instances, executor, peers, sync, requests, leaving, drain } = api;
    let local = Local::new(Arc::clone(&registry), Arc::clone(&instances), executor);
    let peer = PeerServiceServer::new(PeerApi::new(local.clone(), peers.clone(), sync, drain.clone()));
    let isolation = IsolationApi::new(local, peers.clone(), drain.clone());
    let isolation = IsolationServiceServer::new(isolation).max_decoding_message_size(MAX_REQUEST_BYTES);
    let health = HealthApi::new(Arc::clone(&registry), Arc::clone(&instances), leaving, drain.clone());
    let isolation = DecodeErrors::new(Timely::new(isolation), MAX_REQUEST_BYTES);
    let routes = tonic::service::Routes::new(isolation)
        .add_service(SyncApi::new(registry, instances, peers, sync, drain))
        .add_service(peer)
        .add_service(HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .prepare();
    Ok(Counted::new(routes, requests))
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // The details of errors, which clients such as grpcurl show in full only where they know them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests;
