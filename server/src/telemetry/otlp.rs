//! Spans, sent to a collector.
//!
//! They wait in a queue of 2,048 and are sent by a thread of their own, some hundred at a time; a collector that is away costs
//! the spans, and nothing else. `OTEL_BSP_*`, `OTEL_TRACES_SAMPLER` and `OTEL_RESOURCE_ATTRIBUTES` do what they do everywhere.

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};

use super::TelemetryError;
use crate::{config::TelemetryConfig, execute::Traces};

/// What spans are of, unless `OTEL_SERVICE_NAME` says something else.
const SERVICE: &str = "cofferdam";

/// How long what waits may take to be sent, when the manager stops.
const LAST: Duration = Duration::from_secs(2);

/// Sends spans. The default sends none.
#[derive(Debug, Default)]
pub struct Spans {
    provider: Option<SdkTracerProvider>,
}

impl Spans {
    /// Sends spans to where the settings say. To be called within a runtime.
    ///
    /// # Errors
    /// [`TelemetryError::Spans`] for an endpoint that cannot be one.
    pub fn export(config: &TelemetryConfig) -> Result<Self, TelemetryError> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build();
        let exporter = exporter
            .map_err(|error| TelemetryError::Spans { endpoint: endpoint.clone(), reason: error.to_string() })?;
        let mut resource =
            Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build());
        Ok(Self { provider: Some(provider.build()) })
    }

    /// What makes them.
    pub(crate) fn traces(&self) -> Traces {
        self.provider.as_ref().map(|provider| provider.tracer(SERVICE).into()).unwrap_or_default()
    }

    /// Sends what waits, and no more.
    pub(crate) async fn stop(self) {
        let Some(provider) = self.provider else { return };
        // It waits for the thread that sends.
        let stopping = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST));
        if let Ok(Err(error)) = stopping.await {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}
