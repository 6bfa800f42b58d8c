use std::time::Duration;

use serde::Deserialize;

use super::{ConfigError, MAX_WAIT, check_within, human};

/// The shortest age at which a stream may be sent away: below it, instances would do nothing but come and go.
const MIN_AGE: Duration = Duration::from_secs(1);

/// Below it, an instance that is only slow would be cut off.
const MIN_STALL: Duration = Duration::from_secs(1);

/// How the streams of instances are kept.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SyncConfig {
    /// How long a stream lasts before its instance is asked to come again, ten percent more or less by chance. Zero: for
    /// ever. Otherwise `1s` to `24h`. Default `1h`.
    #[serde(deserialize_with = "human::duration")]
    pub max_age: Duration,
    /// How many instances per second may come, where many lose their stream at once: they are asked to spread over as
    /// much time as it takes. At least 1. Default 2000.
    #[serde(deserialize_with = "human::count")]
    pub reconnect_rate: usize,
    /// How long an instance may take nothing while something waits for it, before its connection is cut. `1s` to `24h`.
    /// Default `30s`.
    #[serde(deserialize_with = "human::duration")]
    pub stall_timeout: Duration,
}

impl SyncConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.max_age.is_zero() {
            check_within("sync.max_age", self.max_age, MIN_AGE, MAX_WAIT)?;
        }
        check_within("sync.stall_timeout", self.stall_timeout, MIN_STALL, MAX_WAIT)?;
        if self.reconnect_rate == 0 {
            return Err(ConfigError::Invalid { key: "sync.reconnect_rate", reason: "must be at least 1".to_owned() });
        }
        Ok(())
    }
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60 * 60), reconnect_rate: 2_000, stall_timeout: Duration::from_secs(30) }
    }
}
