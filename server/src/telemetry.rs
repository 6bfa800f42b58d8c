//! What the manager says of itself: log lines on standard error, for people or for machines.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The directives cannot be read.
    #[error("{place} {directives:?} is neither a level nor directives as in info,cofferdam_server=debug: {reason}")]
    Directives {
        /// Where they stand.
        place: &'static str,
        /// The text.
        directives: String,
        /// Why it is none.
        reason: String,
    },
    /// The process logs already.
    #[error("logging was set up before")]
    Installed,
}

/// Sends the process's log lines to standard error. `RUST_LOG`, where it is set, says which; else the settings do.
///
/// # Errors
/// [`TelemetryError`] for directives that are none, or where the process logs already.
pub fn install(config: &TelemetryConfig) -> Result<(), TelemetryError> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV)
        .ok()
        .filter(|directives| !directives.is_empty());
    let (place, directives) = match from_environment {
        Some(directives) => (EnvFilter::DEFAULT_ENV, directives),
        None => ("the log level", config.log_level.clone()),
    };
    let filter = EnvFilter::builder()
        .parse(&directives)
        .map_err(|error| TelemetryError::Directives {
            place,
            directives,
            reason: error.to_string(),
        })?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(std::io::stderr);
    let installed = match config.log_format {
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    installed.map_err(|_| TelemetryError::Installed)
}
