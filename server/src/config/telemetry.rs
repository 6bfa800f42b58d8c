use clap::ValueEnum;
use serde::Deserialize;

use super::ConfigError;
use crate::metrics::DEFAULT_MAX_SERVICES;

/// What the manager says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TelemetryConfig {
    /// How log lines are written, on standard error. Default `text`.
    pub log_format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives as `RUST_LOG` has them, for example
    /// `info,cofferdam_server=debug`. `RUST_LOG` itself, where it is set, wins. Default `info`.
    pub log_level: String,
    /// Services that have rows of their own in `/metrics`; those beyond are added up. Zero: all are. Default 2,000.
    pub metrics_max_services: usize,
    /// Where spans of calls go by OTLP over gRPC, as in `http://127.0.0.1:4317`. Unset: what `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
    /// or `OTEL_EXPORTER_OTLP_ENDPOINT` says, and nowhere without them.
    pub otlp_endpoint: Option<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one JSON object per line.
    Json,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::default(),
            log_level: "info".to_owned(),
            metrics_max_services: DEFAULT_MAX_SERVICES,
            otlp_endpoint: None,
        }
    }
}

impl TelemetryConfig {
    /// Checks what no type says.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] for an invalid endpoint, or one of TLS.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Some(endpoint) = &self.otlp_endpoint else { return Ok(()) };
        let uri = endpoint.parse::<http::Uri>().ok();
        if uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some()) {
            return Ok(());
        }
        let reason =
            "must be http://HOST:PORT, without TLS: a collector beside the manager can speak it to others".to_owned();
        Err(ConfigError::Invalid { key: "telemetry.otlp_endpoint", reason })
    }
}
