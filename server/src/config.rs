//! What the operator decides: typed, with units, from four places.
//!
//! Defaults give way to the file (TOML, `--config`), the file to the environment (`COFFERDAM_SECTION_KEY`), the
//! environment to the flags. An unknown key in the file is an error that names the nearest key there is, as a setting
//! that is silently without effect is worse than none; so is an unknown variable that begins with `COFFERDAM_`.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

mod args;
mod environment;
mod error;
mod events;
mod human;
mod limits;
mod listen;
mod peers;
mod source;
mod store;
mod sync;
mod telemetry;
mod webhook;

pub use self::{
    args::{ServeArgs, StoreArgs},
    environment::{ACTOR, CONTEXT, SERVER, UnknownVariable, unknown_variables},
    error::ConfigError,
    events::EventsConfig,
    limits::LimitsConfig,
    listen::ListenConfig,
    peers::PeersConfig,
    store::{StoreConfig, StoreKind},
    sync::SyncConfig,
    telemetry::{LogFormat, TelemetryConfig},
    webhook::WebhookConfig,
};

/// All settings of a manager.
///
/// ```
/// use cofferdam_server::config::Config;
///
/// let config = Config::default();
/// assert_eq!(config.listen.address.to_string(), "127.0.0.1:7420");
/// assert!(config.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Section `[listen]`: where and to whom the manager speaks.
    pub listen: ListenConfig,
    /// Section `[store]`: what it keeps, and where.
    pub store: StoreConfig,
    /// Section `[telemetry]`: what it says of itself.
    pub telemetry: TelemetryConfig,
    /// Section `[limits]`: how much is too much.
    pub limits: LimitsConfig,
    /// Section `[sync]`: how the streams of instances are kept.
    pub sync: SyncConfig,
    /// Section `[peers]`: how managers that share a store find each other.
    pub peers: PeersConfig,
    /// Section `[events]`: what it keeps of what has happened.
    pub events: EventsConfig,
    /// Section `[webhook]`: where it posts what happens.
    pub webhook: WebhookConfig,
}

impl Config {
    /// The settings that flags, the environment of this process, and the file that either names amount to.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key, and what would be right. A variable that begins with `COFFERDAM_`
    /// and means nothing is one.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        source::load(args, &environment::Environment::of_this_process()?)
    }

    /// The same for what is done to a store without a manager.
    ///
    /// Where the flags say which kind it is, what file or environment say of the other kind is of another store.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`ConfigError::Invalid`] for settings of the store that do not go together.
    pub fn load_for_store(args: &StoreArgs) -> Result<Self, ConfigError> {
        let mut config = Self::load(&ServeArgs { store: args.clone(), ..ServeArgs::default() })?;
        match args.kind {
            Some(StoreKind::Embedded) if args.etcd_endpoints.is_empty() => config.store.etcd_endpoints.clear(),
            Some(StoreKind::Etcd) if args.data_dir.is_none() => config.store.data_dir = None,
            _ => {}
        }
        if config.store.kind == StoreKind::Memory {
            let reason = "must be embedded or etcd: a store in memory ends with its manager".to_owned();
            return Err(ConfigError::Invalid { key: "store.kind", reason });
        }
        config.store.check()?;
        Ok(config)
    }

    /// Checks what no single setting can be blamed for.
    ///
    /// # Errors
    /// [`ConfigError::Exposed`] for an address that others can reach; [`ConfigError::Invalid`] for settings that do
    /// not go together.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.listen.check()?;
        self.store.check()?;
        self.limits.check()?;
        self.sync.check()?;
        self.peers.check()?;
        self.telemetry.check()?;
        self.events.check()?;
        self.webhook.check()?;
        if is_exposed(self.listen.address.ip()) && !self.listen.insecure {
            return Err(ConfigError::Exposed { address: self.listen.address });
        }
        Ok(())
    }

    /// Whether others than this machine can reach the manager.
    pub fn is_exposed(&self) -> bool {
        is_exposed(self.listen.address.ip())
    }
}

/// No setting waits longer than this (one day): beyond it a number is a slip of the hand.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Checks how long something may take.
fn check_wait(key: &'static str, wait: Duration) -> Result<(), ConfigError> {
    if wait <= MAX_WAIT {
        return Ok(());
    }
    Err(ConfigError::Invalid { key, reason: "must be at most 24h".to_owned() })
}

/// Checks that a time is in a range.
fn check_within(key: &'static str, time: Duration, least: Duration, most: Duration) -> Result<(), ConfigError> {
    if (least..=most).contains(&time) {
        return Ok(());
    }
    let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
    Err(ConfigError::Invalid { key, reason: format!("must be {least} to {most}") })
}

fn is_exposed(ip: IpAddr) -> bool {
    !ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests;
