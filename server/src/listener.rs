//! The manager's own accept loop.
//!
//! The servers that come with the transport leave open what a control plane must not: a peer that connects and says
//! nothing is held for ever, a stop waits for as long as anybody keeps a stream, the first message of a stream waits
//! 40 ms for Nagle, and nothing bounds what one connection may ask for. So connections are accepted here, one task each,
//! with a deadline for the first words, keepalive that notices the dead within half a minute, bounds on connections of
//! all and of each, on streams, resets and headers, places that are kept for operators, and a stop that asks first and
//! closes after a grace.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

mod connection;
mod greeting;
mod patient;
mod places;
mod tagged;
mod throttle;

pub use self::places::Occupancy;

use self::{
    connection::{Connection, builder},
    places::Places,
    throttle::Throttle,
};
use crate::{config::Config, peer::Peer};

/// Connections that wait to be accepted. With the usual 1024 a fleet that reconnects at once is refused by thousands.
const BACKLOG: u32 = 4096;

/// How long to wait where no connection can be accepted, as where no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// The most connections at once; further ones are closed as they come.
    pub max_connections: usize,
    /// The last ones of these, by which only operators are served.
    pub reserved_connections: usize,
    /// The most connections from one IPv4 address, or one IPv6 network of 64 bits; further ones are closed as they come.
    pub max_connections_per_ip: usize,
    /// The most calls and streams at once on one connection.
    pub max_streams_per_connection: u32,
    /// How soon the first words must be said: HTTP/2's preface, or a request of HTTP/1.
    pub handshake_timeout: Duration,
    /// How often a connection is asked whether there is somebody at the other end.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take.
    pub keepalive_timeout: Duration,
    /// How long connections may take to end, when the manager stops.
    pub grace: Duration,
}

impl Default for ListenerOptions {
    fn default() -> Self {
        Self::from(&Config::default())
    }
}

impl From<&Config> for ListenerOptions {
    fn from(config: &Config) -> Self {
        let Config { listen, limits, .. } = config;
        Self {
            max_connections: limits.max_connections,
            reserved_connections: limits.reserved_connections,
            max_connections_per_ip: limits.max_connections_per_ip,
            max_streams_per_connection: u32::try_from(limits.max_streams_per_connection).unwrap_or(u32::MAX),
            handshake_timeout: listen.handshake_timeout,
            keepalive_interval: listen.keepalive_interval,
            keepalive_timeout: listen.keepalive_timeout,
            grace: listen.grace,
        }
    }
}

/// A bound address that accepts connections once it is served.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    options: ListenerOptions,
    places: Arc<Places>,
}

/// Tells how many connections a listener has. Cheap to clone; it does not keep the listener.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Places>);

impl Connections {
    /// How many there are, and how many were refused.
    pub fn occupancy(&self) -> Occupancy {
        self.0.occupancy()
    }
}

impl Listener {
    /// Binds an address. Port 0 is any free one.
    ///
    /// # Errors
    /// What the operating system says, as where the address is in use.
    pub fn bind(address: SocketAddr, options: ListenerOptions) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A manager that comes back must not wait for what is left of its old connections.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { inner: socket.listen(BACKLOG)?, places: Places::new(&options), options })
    }

    /// Tells of its connections while it serves.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.places))
    }

    /// The address that is bound.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Serves connections until `drain` fires; then accepts no more, asks each to end, and closes what is left after
    /// the grace.
    pub async fn serve<S, B>(self, service: S, drain: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let connections = TaskTracker::new();
        let close = CancellationToken::new();
        let builder = Arc::new(builder(&self.options));
        // As long as HTTP/2 gives a peer that says nothing.
        let patience = self.options.keepalive_interval + self.options.keepalive_timeout;
        let mut refusals = Throttle::default();
        while let Some((stream, address)) = self.accept(&drain).await {
            let place = match self.places.take(address.ip()) {
                Ok(place) => place,
                Err(reason) => {
                    if let Some(connections) = refusals.another() {
                        tracing::warn!(last = %address, connections, "connections closed: {reason}");
                    }
                    continue;
                }
            };
            let is_beyond = place.is_beyond;
            let peer = Peer { address, is_beyond, drain: drain.child_token(), hang_up: close.child_token() };
            let handshake_timeout = self.options.handshake_timeout;
            let connection = Connection { stream, peer, handshake_timeout, patience, place: Some(place) };
            connections.spawn(connection.serve(Arc::clone(&builder), service.clone()));
        }
        drop(self.inner);
        connections.close();
        if tokio::time::timeout(self.options.grace, connections.wait()).await.is_err() {
            tracing::info!(left = connections.len(), "closing the connections that did not end by themselves");
            close.cancel();
            connections.wait().await;
        }
    }

    /// The next connection, and whose it is; none once `drain` has fired.
    async fn accept(&self, drain: &CancellationToken) -> Option<(TcpStream, SocketAddr)> {
        let mut failures = Throttle::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.inner.accept() => accepted,
                () = drain.cancelled() => return None,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Without it, what is written last waits for the peer's delayed acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was gone before it was accepted");
                        continue;
                    }
                    return Some((stream, address));
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    if let Some(attempts) = failures.another() {
                        tracing::warn!(%error, attempts, "no connection could be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Whether an error of accepting is about the connection that was to be accepted, and says nothing of the next one.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests;
