use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::{ConfigError, MAX_WAIT, check_wait, check_within, human};

/// Below these, peers that are but slow would be cut off.
const MIN_HANDSHAKE: Duration = Duration::from_millis(100);
const MIN_KEEPALIVE: Duration = Duration::from_secs(1);

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
    /// Names by which web clients may ask for the manager, beside `localhost` and addresses: a list, or one text with
    /// commas. Default: none.
    #[serde(deserialize_with = "human::list")]
    pub hosts: Vec<String>,
    /// How long the manager goes on serving after it was asked to stop, and says that it is not ready, for who has to notice
    /// that first. At most `24h`. Default `0s`.
    #[serde(deserialize_with = "human::duration")]
    pub shutdown_delay: Duration,
    /// How long connections may take to end when the manager stops. At most `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub grace: Duration,
    /// How long a new connection may take until it has said which protocol it speaks. `100ms` to `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub handshake_timeout: Duration,
    /// How often a connection is asked whether there is somebody at the other end. `1s` to `24h`. Default `20s`.
    #[serde(deserialize_with = "human::duration")]
    pub keepalive_interval: Duration,
    /// How long the answer to that may take. `1s` to `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub keepalive_timeout: Duration,
}

impl ListenConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_wait("listen.shutdown_delay", self.shutdown_delay)?;
        check_wait("listen.grace", self.grace)?;
        check_within("listen.handshake_timeout", self.handshake_timeout, MIN_HANDSHAKE, MAX_WAIT)?;
        check_within("listen.keepalive_interval", self.keepalive_interval, MIN_KEEPALIVE, MAX_WAIT)?;
        check_within("listen.keepalive_timeout", self.keepalive_timeout, MIN_KEEPALIVE, MAX_WAIT)
    }
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)),
            insecure: false,
            hosts: Vec::new(),
            shutdown_delay: Duration::ZERO,
            grace: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(10),
        }
    }
}
