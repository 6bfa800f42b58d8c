//! What `GET /metrics` shows: what the manager knows of services and of itself, for Prometheus.
//!
//! Nothing is counted for metrics that somebody else counts already: a scrape reads what statistics, convergence and health
//! are made of, once, writes it down, and changes nothing. It runs beside the tasks that serve others, one at a time.
//!
//! Each manager shows its own instances and no other manager's, so that what is counted may be added up over managers.
//! What all of them have from the store alike (services, levels, revisions) is the same at each: of that, the largest
//! counts. `docs/metrics.md` says which is which.
//!
//! Labels are bounded. A service has its own rows up to [`MetricsOptions::max_services`], in the order of namespace and
//! name; what is beyond is added up in rows of `(other)`, and calls to names that nobody registered in rows of
//! `(unregistered)`. No label holds what a caller or an instance may choose.

use std::{fmt, sync::Arc};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry as Exposition};
use tokio::sync::Semaphore;

mod buckets;
mod catalogue;
mod classic;
mod manager;
mod page;
mod service;

use self::{manager::Manager, page::Page, service::Service};
use crate::{
    grpc::Requests,
    listener::Connections,
    peers::{Local, Peers},
};

/// How many services have rows of their own unless told otherwise.
pub const DEFAULT_MAX_SERVICES: usize = 2_000;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct MetricsOptions {
    /// Services with rows of their own. Default [`DEFAULT_MAX_SERVICES`].
    pub max_services: usize,
}

impl Default for MetricsOptions {
    fn default() -> Self {
        Self { max_services: DEFAULT_MAX_SERVICES }
    }
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, which everything reads.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The type of what is written, for HTTP.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The metrics of a manager. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    sources: Arc<Sources>,
    /// A scrape takes memory for all that it shows: there is one at a time.
    turn: Arc<Semaphore>,
}

/// Where the numbers are.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) local: Local,
    pub(crate) peers: Peers,
    pub(crate) connections: Connections,
    pub(crate) requests: Arc<Requests>,
    pub(crate) options: MetricsOptions,
}

impl Metrics {
    pub(crate) fn new(sources: Sources) -> Self {
        Self { sources: Arc::new(sources), turn: Arc::new(Semaphore::new(1)) }
    }

    /// The same with another bound.
    #[cfg(test)]
    fn with(&self, options: MetricsOptions) -> Self {
        let Sources { local, peers, connections, requests, .. } = &*self.sources;
        let (local, peers, connections) = (local.clone(), peers.clone(), connections.clone());
        Self::new(Sources { local, peers, connections, requests: Arc::clone(requests), options })
    }

    /// All metrics as they are now. `None`: the manager stops.
    pub async fn scrape(&self, format: Format) -> Option<String> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        let sources = Arc::clone(&self.sources);
        // The turn ends with the work: who hangs up does not end that.
        let scrape = move || (sources.write(format), turn).0;
        tokio::task::spawn_blocking(scrape).await.ok()
    }
}

impl Sources {
    fn write(&self, format: Format) -> String {
        let mut exposition = Exposition::default();
        exposition.register_collector(Box::new(self.collect()));
        let mut text = String::new();
        // Writing to a text cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &exposition);
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => classic::from_open_metrics(&text),
        }
    }

    fn collect(&self) -> Collected {
        let (services, counts) = service::collect(&self.local, self.options.max_services);
        Collected { manager: Manager::collect(self, counts), services }
    }
}

/// What a scrape has read.
#[derive(Debug)]
struct Collected {
    services: Vec<Service>,
    manager: Manager,
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        service::write(&self.services, &mut page)?;
        self.manager.write(&mut page)
    }
}

#[cfg(test)]
mod tests;
