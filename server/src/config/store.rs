use std::{fmt, path::PathBuf, time::Duration};

use clap::ValueEnum;
use serde::Deserialize;

use super::{ConfigError, check_wait, human};
use crate::store::DEFAULT_PREFIX;

/// What the manager keeps, and where.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StoreConfig {
    /// Which store. Default `embedded`.
    pub kind: StoreKind,
    /// The directory of the embedded store; other stores have none. Unset: `$XDG_STATE_HOME/cofferdam`, else `$HOME/.local/state/cofferdam`,
    /// else `./cofferdam-data`.
    pub data_dir: Option<PathBuf>,
    /// How long the store may take: to be there at start, and for each write. Above zero, at most `24h`. Default
    /// `10s`.
    #[serde(deserialize_with = "human::duration")]
    pub timeout: Duration,
    /// The members of the etcd cluster, `host:port`, `http://host:port` or `https://host:port`: a list, or one
    /// text with commas.
    #[serde(deserialize_with = "human::list")]
    pub etcd_endpoints: Vec<String>,
    /// What all keys begin with in etcd; ends with a slash. Managers that share it share their state. Default
    /// `/cofferdam/v1/`.
    pub etcd_prefix: String,
    /// Who to log in to etcd as. Unset: nobody, for a cluster without authentication.
    pub etcd_user: Option<String>,
    /// The file that holds that user's password, a line end after it not counted.
    pub etcd_password_file: Option<PathBuf>,
    /// The file with the certificates, in PEM, of those who may have issued those of etcd's members. Set: they are reached
    /// by TLS. Unset: by plain HTTP.
    pub etcd_ca_file: Option<PathBuf>,
    /// The file with the manager's own certificate, in PEM, for members that ask for one.
    pub etcd_cert_file: Option<PathBuf>,
    /// The file with that certificate's private key, in PEM.
    pub etcd_key_file: Option<PathBuf>,
}

/// Which store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// One file, one manager, no set-up.
    #[default]
    Embedded,
    /// An etcd cluster, any number of managers.
    Etcd,
    /// Nothing survives the manager: for trials and tests.
    Memory,
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
            Self::Memory => "memory",
        })
    }
}

impl StoreConfig {
    fn names(&self, scheme: &str) -> bool {
        self.etcd_endpoints.iter().any(|endpoint| endpoint.starts_with(scheme))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, reason: &str| Err(ConfigError::Invalid { key, reason: reason.to_owned() });
        if self.timeout.is_zero() {
            return invalid("store.timeout", "must be above zero");
        }
        check_wait("store.timeout", self.timeout)?;
        match self.kind {
            StoreKind::Etcd if self.etcd_endpoints.is_empty() => {
                invalid("store.etcd_endpoints", "must be set where the store is etcd: use --etcd-endpoints host:2379")
            }
            StoreKind::Etcd if self.etcd_user.is_some() != self.etcd_password_file.is_some() => {
                invalid("store.etcd_password_file", "must be set together with store.etcd_user")
            }
            StoreKind::Etcd if self.etcd_cert_file.is_some() != self.etcd_key_file.is_some() => {
                invalid("store.etcd_key_file", "must be set together with store.etcd_cert_file")
            }
            StoreKind::Etcd
                if self.etcd_ca_file.is_none() && (self.etcd_cert_file.is_some() || self.names("https://")) =>
            {
                invalid("store.etcd_ca_file", "must be set where etcd is reached by TLS")
            }
            StoreKind::Etcd if self.etcd_ca_file.is_some() && self.names("http://") => {
                invalid("store.etcd_endpoints", "must not begin with http:// where store.etcd_ca_file is set")
            }
            StoreKind::Embedded | StoreKind::Memory if !self.etcd_endpoints.is_empty() => {
                invalid("store.etcd_endpoints", "is set and the store is not etcd: use --store etcd, or leave it out")
            }
            StoreKind::Etcd | StoreKind::Memory if self.data_dir.is_some() => {
                let kind = self.kind;
                let reason = format!("is set and the store is {kind}: use --store embedded, or leave it out");
                invalid("store.data_dir", &reason)
            }
            StoreKind::Embedded | StoreKind::Etcd | StoreKind::Memory => Ok(()),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            kind: StoreKind::default(),
            data_dir: None,
            timeout: Duration::from_secs(10),
            etcd_endpoints: Vec::new(),
            etcd_prefix: DEFAULT_PREFIX.to_owned(),
            etcd_user: None,
            etcd_password_file: None,
            etcd_ca_file: None,
            etcd_cert_file: None,
            etcd_key_file: None,
        }
    }
}
