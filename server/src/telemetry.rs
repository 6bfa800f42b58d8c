//! What the manager says of itself: log lines on standard error, for people or for machines.

//!
//! Lines are written by a thread of their own: standard error that nobody reads, as where a pipe is full, must not stop the
//! manager. Lines that find no room in front of that thread are dropped and counted ([`lost_lines`]).

use std::{io::IsTerminal as _, sync::OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{LogFormat, TelemetryConfig};

mod otlp;

pub use self::otlp::Spans;

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
    /// Spans cannot be exported.
    #[error("spans cannot be sent to {endpoint}: {reason}")]
    Spans {
        /// Where to.
        endpoint: String,
        /// Why.
        reason: String,
    },
    /// The process logs already.
    #[error("logging was set up before")]
    Installed,
}

/// Lines that wait to be written, at most.
const MAX_WAITING_LINES: usize = 16 * 1024;

/// Counts the lines that were dropped, once logging was set up.
static LOST_LINES: OnceLock<ErrorCounter> = OnceLock::new();

/// The process's log. When it is dropped, what waits is written, for as long as a second.
#[derive(Debug)]
#[must_use = "lines are written for as long as this is kept"]
pub struct Log {
    _writer: WorkerGuard,
}

/// How many log lines this process has dropped, because standard error did not take them.
pub fn lost_lines() -> u64 {
    LOST_LINES.get().map_or(0, |counter| counter.dropped_lines() as u64)
}

/// Sends the process's log lines to standard error. `RUST_LOG`, where it is set, says which; else the settings do.
///
/// # Errors
/// [`TelemetryError`] for directives that are none, or where the process logs already.
pub fn install(config: &TelemetryConfig) -> Result<Log, TelemetryError> {
    let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|directives| !directives.is_empty());
    let (place, directives) = match from_environment {
        Some(directives) => (EnvFilter::DEFAULT_ENV, directives),
        None => ("the log level", config.log_level.clone()),
    };
    if place != EnvFilter::DEFAULT_ENV
        && let Some(word) = stray_word(&directives)
    {
        let reason = format!("{word:?} is no level");
        return Err(TelemetryError::Directives { place, directives, reason });
    }
    let filter = EnvFilter::builder().parse(&directives).map_err(|error| TelemetryError::Directives {
        place,
        directives,
        reason: error.to_string(),
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    // Colours are for a terminal, and for who has not declined them (https://no-color.org).
    let is_declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let has_colours = std::io::stderr().is_terminal() && !is_declined;
    let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_WAITING_LINES);
    let (writer, _writer) = writer.thread_name("log").finish(std::io::stderr());
    let lost = writer.error_counter();
    let installed = match config.log_format {
        LogFormat::Text => registry.with(fmt::layer().with_ansi(has_colours).with_writer(writer)).try_init(),
        LogFormat::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(writer)).try_init(),
    };
    installed.map_err(|_| TelemetryError::Installed)?;
    LOST_LINES.get_or_init(|| lost);
    Ok(Log { _writer })
}

/// A word that stands alone and is no level. As a directive it names a target of which nothing may ever be heard: a
/// level mistyped would silence the manager.
fn stray_word(directives: &str) -> Option<&str> {
    let is_word = |part: &&str| !part.is_empty() && !part.contains(['=', '[']);
    directives.split(',').map(str::trim).filter(is_word).find(|word| word.parse::<LevelFilter>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_mistyped_is_found() {
        for fine in ["info", "DEBUG", "off", "warn, cofferdam_server=debug", "info,[request]=trace", ""] {
            assert_eq!(stray_word(fine), None, "{fine}");
        }
        assert_eq!(stray_word("loud"), Some("loud"));
        assert_eq!(stray_word("cofferdam_server=debug,infoo"), Some("infoo"));
    }
}
