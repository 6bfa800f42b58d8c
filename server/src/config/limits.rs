use serde::Deserialize;

use super::{ConfigError, human};

/// How much is too much. Each bound is at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// Registered services, over all namespaces. Default 10000.
    #[serde(deserialize_with = "human::count")]
    pub max_services: usize,
    /// Instances that hold a stream at this manager. Default 20000.
    #[serde(deserialize_with = "human::count")]
    pub max_instances: usize,
    /// Connections to this manager. Default 25000.
    #[serde(deserialize_with = "human::count")]
    pub max_connections: usize,
    /// The last ones of these, which are kept for operators: instances that come by one are sent away. Fewer than
    /// `max_connections`. Default 1000.
    #[serde(deserialize_with = "human::count")]
    pub reserved_connections: usize,
    /// Connections from one IPv4 address, or one IPv6 network of 64 bits. Default 5000.
    #[serde(deserialize_with = "human::count")]
    pub max_connections_per_ip: usize,
    /// Calls and streams at once on one connection. Default 128.
    #[serde(deserialize_with = "human::count")]
    pub max_streams_per_connection: usize,
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("limits.max_services", self.max_services),
            ("limits.max_instances", self.max_instances),
            ("limits.max_connections", self.max_connections),
            ("limits.reserved_connections", self.reserved_connections),
            ("limits.max_connections_per_ip", self.max_connections_per_ip),
            ("limits.max_streams_per_connection", self.max_streams_per_connection),
        ];
        if let Some((key, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
            return Err(ConfigError::Invalid { key, reason: "must be at least 1".to_owned() });
        }
        if self.reserved_connections >= self.max_connections {
            let reason = "must be less than limits.max_connections".to_owned();
            return Err(ConfigError::Invalid { key: "limits.reserved_connections", reason });
        }
        Ok(())
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_services: 10_000,
            max_instances: 20_000,
            max_connections: 25_000,
            reserved_connections: 1_000,
            max_connections_per_ip: 5_000,
            max_streams_per_connection: 128,
        }
    }
}
