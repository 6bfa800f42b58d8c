use clap::ValueEnum;
use serde::Deserialize;

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
        }
    }
}
