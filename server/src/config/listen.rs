use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::{ConfigError, check_wait, human};

/// Where and to whom the manager speaks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ListenConfig {
    /// The address for everything: gRPC, health, reflection. Port 0 is any free one. Default `127.0.0.1:7420`.
    #[serde(deserialize_with = "human::address")]
    pub address: SocketAddr,
    /// Whether an address that others can reach may be served although this release knows neither TLS nor
    /// authentication. Default false.
    pub insecure: bool,
    /// How long connections may take to end when the manager stops. At most `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub grace: Duration,
}

impl ListenConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_wait("listen.grace", self.grace)
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)), insecure: false, grace: Duration::from_secs(10) }
    }
}
