//! Connections to endpoints, kept for the next call.

use super::fence::Fence;
use super::upstream::UpstreamError;
use crate::error::Rejection;
use crate::registry::Registered;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections kept at most; then all are dropped and made anew as they are needed.
const MAX_CHANNELS: usize = 1024;

#[derive(Debug)]
pub(super) struct Channels {
    fence: Fence,
    open: Mutex<HashMap<SocketAddr, Channel>>,
}

impl Channels {
    pub(super) fn new(fence: Fence) -> Self {
        Self { fence, open: Mutex::default() }
    }

    /// A channel to each endpoint of a service that may be dialled and whose name resolves; at least one.
    pub(super) async fn of(&self, service: &Registered) -> Result<Vec<Channel>, UpstreamError> {
        let endpoints = &service.service().endpoints;
        let mut channels = Vec::new();
        let mut why = UpstreamError::Refused(Rejection::NoEndpoint(service.key().clone()));
        for resolved in join_all(endpoints.iter().map(|endpoint| self.resolve(&endpoint.address))).await {
            match resolved {
                Ok(address) => channels.push(self.channel(address)),
                Err(error) => why = error,
            }
        }
        if channels.is_empty() { Err(why) } else { Ok(channels) }
    }

    /// The address behind an endpoint, if it may be dialled. It is this address that is dialled, not the name again.
    async fn resolve(&self, endpoint: &str) -> Result<SocketAddr, UpstreamError> {
        let not_allowed = || UpstreamError::Refused(Rejection::EndpointNotAllowed(endpoint.to_owned()));
        if let Ok(address) = endpoint.parse::<SocketAddr>() {
            return if self.fence.allows(address) { Ok(address) } else { Err(not_allowed()) };
        }
        let unresolved = |reason: String| UpstreamError::Unresolved(format!("{endpoint} does not resolve: {reason}"));
        let mut resolved = match timeout(RESOLVE_TIMEOUT, lookup_host(endpoint)).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(error)) => return Err(unresolved(error.to_string())),
            Err(_) => return Err(unresolved(format!("no answer within {RESOLVE_TIMEOUT:?}"))),
        };
        resolved.find(|address| self.fence.allows(*address)).ok_or_else(not_allowed)
    }

    fn channel(&self, address: SocketAddr) -> Channel {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_CHANNELS && !open.contains_key(&address) {
            open.clear();
        }
        open.entry(address).or_insert_with(|| connect(address)).clone()
    }
}

fn connect(address: SocketAddr) -> Channel {
    // A socket address is always a valid authority.
    let uri = http::Uri::builder().scheme("http").authority(address.to_string()).path_and_query("/").build();
    Endpoint::from(uri.unwrap_or_default())
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .tcp_nodelay(true)
        .connect_lazy()
}
