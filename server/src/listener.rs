//! The manager's own accept loop.
//!
//! The servers that come with the transport leave open what a control plane must not: a peer that connects and says
//! nothing is held for ever, a stop waits for as long as anybody keeps a stream, the first message of a stream waits
//! 40 ms for Nagle, and nothing bounds what one connection may ask for. So connections are accepted here, one task each,
//! with a deadline for the first words, keepalive that notices the dead within half a minute, bounds on streams, resets
//! and headers, and a stop that asks first and closes after a grace.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

mod greeting;
mod tagged;

use self::{greeting::Greeting, tagged::Tagged};
use crate::hang_up::HangUp;

/// Connections that wait to be accepted. With the usual 1024 a fleet that reconnects at once is refused by thousands.
const BACKLOG: u32 = 4096;

/// How soon the first words must be said: HTTP/2's preface, or a request of HTTP/1.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_STREAMS: u32 = 128;
const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Resets that may be pending: above what clients with short timeouts cause, below what a rapid-reset attack needs.
const MAX_PENDING_RESETS: usize = 200;

/// What may be written ahead on one stream: a subscriber that does not read costs no more than this.
const MAX_SEND_BUFFER: usize = 64 * 1024;

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long to wait where no connection can be accepted, as where no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerOptions {
    /// The most connections at once; further ones are closed as they come.
    pub max_connections: usize,
    /// How long connections may take to end, when the manager stops.
    pub grace: Duration,
}

/// A bound address that accepts connections once it is served.
#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    options: ListenerOptions,
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
        Ok(Self { inner: socket.listen(BACKLOG)?, options })
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
        let builder = Arc::new(builder());
        while let Some(stream) = self.accept(&drain).await {
            if connections.len() >= self.options.max_connections {
                tracing::warn!(
                    limit = self.options.max_connections,
                    "connection closed: limits.max_connections is reached"
                );
                continue;
            }
            let connection = Connection { drain: drain.clone(), hang_up: close.child_token() };
            connections.spawn(connection.serve(Arc::clone(&builder), stream, service.clone()));
        }
        drop(self.inner);
        connections.close();
        if tokio::time::timeout(self.options.grace, connections.wait()).await.is_err() {
            tracing::info!(left = connections.len(), "closing the connections that did not end by themselves");
            close.cancel();
            connections.wait().await;
        }
    }

    /// The next connection; none once `drain` has fired.
    async fn accept(&self, drain: &CancellationToken) -> Option<TcpStream> {
        loop {
            let accepted = tokio::select! {
                accepted = self.inner.accept() => accepted,
                () = drain.cancelled() => return None,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Without it, what is written last waits for the peer's delayed acknowledgement.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was gone before it was accepted");
                        continue;
                    }
                    return Some(stream);
                }
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// One connection's signals.
#[derive(Debug)]
struct Connection {
    /// Asks it to end.
    drain: CancellationToken,
    /// Ends it.
    hang_up: CancellationToken,
}

impl Connection {
    async fn serve<S, B>(self, builder: Arc<Builder<TokioExecutor>>, stream: TcpStream, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let said = Arc::new(AtomicUsize::new(0));
        let io = TokioIo::new(Greeting::new(stream, Arc::clone(&said)));
        let tagged = Tagged::new(service, HangUp::new(self.hang_up.clone()));
        let mut connection = std::pin::pin!(builder.serve_connection(io, TowerToHyperService::new(tagged)));
        let mut greeting = std::pin::pin!(tokio::time::sleep(GREETING_TIMEOUT));
        let (mut is_greeted, mut is_ending) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = self.hang_up.cancelled() => return,
                () = self.drain.cancelled(), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = greeting.as_mut(), if !is_greeted => {
                    is_greeted = true;
                    if said.load(Ordering::Relaxed) < greeting::LENGTH {
                        tracing::debug!("connection closed: it said nothing that we understand");
                        return;
                    }
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

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(GREETING_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}

#[cfg(test)]
mod tests;
