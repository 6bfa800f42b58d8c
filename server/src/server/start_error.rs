//! Why a manager does not start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    config::{ConfigError, StoreKind},
    registry::OpenError,
    store::StoreError,
    telemetry::TelemetryError,
};

/// Why a manager does not start. Each says the fix in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Logging cannot begin.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The store cannot be opened.
    #[error("cannot open the {kind} store: {error}{}", remedy(*kind, error))]
    Store {
        /// Which store.
        kind: StoreKind,
        /// Why.
        error: StoreError,
    },
    /// A file that a setting names cannot be read.
    #[error("cannot read {key} {}: {error}", path.display())]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// What the store holds cannot be loaded.
    #[error("cannot load the {kind} store: {error}")]
    Load {
        /// Which store.
        kind: StoreKind,
        /// Why.
        error: OpenError,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {error}; choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// The signals that stop a manager cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
    /// The client that posts events cannot be made: no root certificates can be loaded.
    #[error("events cannot be posted: {0}")]
    Webhooks(std::io::Error),
    /// A defect of this program.
    #[error("the contract's descriptors contradict each other: {0}")]
    Contract(String),
}

/// What mends a store that cannot be opened; nothing where the error says it.
fn remedy(kind: StoreKind, error: &StoreError) -> &'static str {
    match (kind, error) {
        (StoreKind::Embedded, StoreError::InUse { .. }) => "; stop that one, or choose another --data-dir",
        (StoreKind::Embedded, StoreError::Unavailable { .. }) => "; choose a --data-dir that can be written to",
        (StoreKind::Embedded, StoreError::Full { .. }) => "; make room, or choose another --data-dir",
        (StoreKind::Embedded, StoreError::Corrupt { .. }) => {
            "; the file is left as it is: move it away, and `cofferdam store restore` puts a backup into a new one"
        }
        (StoreKind::Embedded, StoreError::Incompatible { .. }) => "; use the version that wrote it, or a newer one",
        _ => "",
    }
}
