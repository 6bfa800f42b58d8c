use std::{net::SocketAddr, path::PathBuf};

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration file {} is not valid TOML: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The file has a key that means nothing.
    #[error("unknown key {key} in {}: did you mean {nearest}?", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: String,
        /// The nearest key there is.
        nearest: &'static str,
    },
    /// A variable of the environment begins as settings do, and means nothing.
    #[error("unknown variable {name}: did you mean {nearest}? What begins with COFFERDAM_ is a setting")]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The nearest one there is.
        nearest: String,
    },
    /// A value is of the wrong kind or form.
    #[error("{0}")]
    Value(String),
    /// A value is out of range, or does not go with another.
    #[error("{key} {reason}")]
    Invalid {
        /// The key, with its section.
        key: &'static str,
        /// What would be right.
        reason: String,
    },
    /// The address can be reached by others, and nothing would keep them out.
    #[error(
        "{address} can be reached from other machines and this release has neither TLS nor authentication: listen on 127.0.0.1 behind a proxy that has both, or accept that anybody there may change every policy with --insecure-i-understand"
    )]
    Exposed {
        /// The address.
        address: SocketAddr,
    },
}
