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
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let limits = [
            ("limits.max_services", self.max_services),
            ("limits.max_instances", self.max_instances),
            ("limits.max_connections", self.max_connections),
        ];
        match limits.into_iter().find(|(_, limit)| *limit == 0) {
            Some((key, _)) => Err(ConfigError::Invalid { key, reason: "must be at least 1".to_owned() }),
            None => Ok(()),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { max_services: 10_000, max_instances: 20_000, max_connections: 25_000 }
    }
}
