//! A manager, put together.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    clock::{Clock, SystemClock},
    config::{Config, ServeArgs, StoreKind},
    http::Door,
    listener::{Listener, ListenerOptions},
    store::Store,
    telemetry::{self, Spans},
};

mod housekeeping;
mod open_store;
mod parts;
mod post_events;
mod setting_file;
mod signal;
mod start_error;
mod tasks;

pub use self::start_error::StartError;
pub(crate) use self::{open_store::open_store, signal::outlive_file_size_limit};

use self::{parts::Parts, post_events::post_events};

/// A manager that is bound to its address and has loaded its store.
#[derive(Debug)]
pub struct Server {
    serving: AbortOnDropHandle<()>,
    leaving: CancellationToken,
    drain: CancellationToken,
    local_addr: SocketAddr,
    spans: Spans,
    _tasks: Vec<AbortOnDropHandle<()>>,
    webhooks: Vec<AbortOnDropHandle<()>>,
    shutdown_delay: Duration,
    grace: Duration,
}

impl Server {
    /// Binds the address, opens the store and loads it. Probes are answered from the binding on.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way and how to mend it.
    pub async fn bind(config: &Config) -> Result<Self, StartError> {
        config.check()?;
        Self::start(config, open_store(config), Arc::new(SystemClock)).await
    }

    async fn start(
        config: &Config,
        store: impl Future<Output = Result<Arc<dyn Store>, StartError>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let address = config.listen.address;
        let listen_error = |error| StartError::Listen { address, error };
        // Bound first: a second manager on one address is told so before it waits for a store.
        let listener = Listener::bind(address, ListenerOptions::from(config)).map_err(listen_error)?;
        let local_addr = listener.local_addr().map_err(listen_error)?;
        let (leaving, drain) = (CancellationToken::new(), CancellationToken::new());
        let connections = listener.connections();
        let (door, key) = Door::new();
        let serving = AbortOnDropHandle::new(tokio::spawn(listener.serve(door, drain.clone())));
        let spans = Spans::export(&config.telemetry)?;
        let parts = Parts::load(config, store.await?, clock, local_addr, spans.traces()).await?;
        let front = parts.front(config, connections, &leaving, &drain)?;
        let webhooks = post_events(config, &parts.events).await?;
        parts.instances.open();
        let _tasks = tasks::begin(&parts, config, local_addr, &drain);
        key.open(front);
        let (shutdown_delay, grace) = (config.listen.shutdown_delay, config.listen.grace);
        Ok(Self { serving, leaving, drain, local_addr, spans, _tasks, webhooks, shutdown_delay, grace })
    }

    /// The address that is bound; its port is the real one where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Goes on serving until `shutdown` is done. Then it says that it is not ready, and serves on for as long as it was told to
    /// delay the end; then instances are asked to come again elsewhere, and what is still connected after the grace is closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let mut serving = self.serving;
        tokio::select! {
            _ = &mut serving => return,
            () = shutdown => {}
        }
        tracing::info!("stopping");
        self.leaving.cancel();
        if !self.shutdown_delay.is_zero() {
            tracing::info!(delay = ?self.shutdown_delay, "not ready any more; whoever comes is served until then");
            tokio::select! {
                _ = &mut serving => return,
                () = tokio::time::sleep(self.shutdown_delay) => {}
            }
        }
        let until = Instant::now() + self.grace;
        self.drain.cancel();
        // An error says that it has ended before.
        let _ = serving.await;
        // The last event is told a moment after the beginning of the end; nobody may be connected that long.
        let posted = futures_util::future::join_all(self.webhooks);
        if tokio::time::timeout_at(until, posted).await.is_err() {
            tracing::warn!("events were not posted any more: there was no time left");
        }
        self.spans.stop().await;
        tracing::info!("stopped");
    }
}

/// Runs a manager until SIGTERM, SIGINT or, where it is not ignored, SIGHUP: what `cofferdam serve` does.
///
/// # Errors
/// [`StartError`] says what is in the way and how to mend it.
pub async fn run(args: &ServeArgs) -> Result<(), StartError> {
    let config = Config::load(args)?;
    let _log = telemetry::install(&config.telemetry)?;
    outlive_file_size_limit().map_err(StartError::Signals)?;
    let mut stop = std::pin::pin!(signal::stop().map_err(StartError::Signals)?);
    // A store may take its time to be there. Who does not want to wait for it is heard.
    let server = tokio::select! {
        server = Server::bind(&config) => server?,
        () = stop.as_mut() => {
            tracing::info!("stopped before it was ready");
            return Ok(());
        }
    };
    let address = server.local_addr();
    let store = config.store.kind;
    match (store, &config.store.data_dir) {
        (StoreKind::Embedded, Some(dir)) => {
            tracing::info!(%address, %store, data_dir = %dir.display(), "cofferdam manager is listening");
        }
        (StoreKind::Etcd, _) => {
            let endpoints = config.store.etcd_endpoints.join(",");
            let prefix = &config.store.etcd_prefix;
            tracing::info!(%address, %store, %endpoints, %prefix, "cofferdam manager is listening");
        }
        _ => tracing::info!(%address, %store, "cofferdam manager is listening"),
    }
    server.serve(stop).await;
    Ok(())
}

#[cfg(test)]
mod tests;
