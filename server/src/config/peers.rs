use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, MAX_WAIT, check_within, human};

const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// Below it, a manager that is only slow would be taken for gone.
const MIN_LEASE: Duration = Duration::from_secs(2);

/// How managers that share an etcd find and ask each other. Without effect on other stores.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PeersConfig {
    /// Where other managers reach this one, host and port. Unset: `listen.address`, where that is no wildcard such as
    /// `0.0.0.0`; otherwise the others cannot ask this one, and say so.
    pub advertise_address: Option<String>,
    /// How long the others may take to answer. `100ms` to `24h`. Default `2s`.
    #[serde(deserialize_with = "human::duration")]
    pub timeout: Duration,
    /// How long the others take this manager for there after it was last heard of, in which its instances come to them.
    /// `2s` to `24h`. Default `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub lease: Duration,
}

impl PeersConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let is_address = |text: &str| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            matches!(port, Some(Ok(1..))) && text.parse::<http::uri::Authority>().is_ok() && !text.contains('@')
        };
        if self.advertise_address.as_deref().is_some_and(|text| !is_address(text)) {
            let reason = "must be a host and a port, such as manager-1:7420".to_owned();
            return Err(ConfigError::Invalid { key: "peers.advertise_address", reason });
        }
        check_within("peers.timeout", self.timeout, MIN_TIMEOUT, MAX_WAIT)?;
        check_within("peers.lease", self.lease, MIN_LEASE, MAX_WAIT)
    }
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self { advertise_address: None, timeout: Duration::from_secs(2), lease: Duration::from_secs(10) }
    }
}
