use serde::Deserialize;

use super::{ConfigError, human};

/// The most events that may be kept: they are in memory.
const MAX_KEPT: usize = 1_000_000;

/// What a manager keeps of what has happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EventsConfig {
    /// How many events are kept, in as many KiB of memory together. 1 to 1,000,000. Default 10,000.
    #[serde(deserialize_with = "human::count")]
    pub keep: usize,
}

impl EventsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (1..=MAX_KEPT).contains(&self.keep) {
            return Ok(());
        }
        Err(ConfigError::Invalid { key: "events.keep", reason: format!("must be 1 to {MAX_KEPT}") })
    }
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { keep: 10_000 }
    }
}
