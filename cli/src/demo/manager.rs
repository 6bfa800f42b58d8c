//! The demo's own manager: the real one, on a free port of this machine, with an embedded store in a temporary folder.

use crate::error::Error;
use cofferdam_server::Server;
use cofferdam_server::config::{Config, StoreKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long the manager waits for its instances at the end.
const GRACE: Duration = Duration::from_millis(200);

/// The running manager.
#[derive(Debug)]
pub(crate) struct Manager {
    address: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<()>,
    /// Removed, with the store in it, when this is dropped.
    folder: TempDir,
}

impl Manager {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// No folder or no port could be had, or the manager does not start.
    pub(crate) async fn start() -> Result<Self, Error> {
        let folder = TempDir::with_prefix("cofferdam-demo-").map_err(Error::NoFolder)?;
        let mut config = Config::default();
        config.listen.address = (Ipv4Addr::LOCALHOST, 0).into();
        config.listen.grace = GRACE;
        config.store.kind = StoreKind::Embedded;
        config.store.data_dir = Some(folder.path().to_owned());
        let server = Box::pin(Server::bind(&config)).await?;
        let address = server.local_addr();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.serve(stop.clone().cancelled_owned()));
        Ok(Self { address, stop, running, folder })
    }

    /// Where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, waits for it, and removes its store.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // A panic of the manager has shown itself already.
        let _ = self.running.await;
        drop(self.folder);
    }
}
