//! One connection, from its first words to its end.

use std::{
    convert::Infallible,
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
use tokio::net::TcpStream;
use tower::Service;

use super::{
    BoxError, ListenerOptions,
    greeting::{self, Greeting},
    patient::Patient,
    places::Place,
    tagged::Tagged,
};
use crate::peer::Peer;

const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// Resets that may be pending: above what clients with short timeouts cause, below what a rapid-reset attack needs.
const MAX_PENDING_RESETS: usize = 200;

/// What may be written ahead on one stream: a subscriber that does not read costs no more than this.
const MAX_SEND_BUFFER: usize = 64 * 1024;

const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// One connection, accepted.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: Peer,
    /// How soon the first words must be said: HTTP/2's preface, or a request of HTTP/1.
    pub(super) handshake_timeout: Duration,
    /// How long its peer may take nothing of what it was sent.
    pub(super) patience: Duration,
    /// Its place among the others.
    pub(super) place: Option<Place>,
}

impl Connection {
    pub(super) async fn serve<S, B>(self, builder: Arc<Builder<TokioExecutor>>, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let Self { stream, peer, handshake_timeout, patience, place: _place } = self;
        let said = Arc::new(AtomicUsize::new(0));
        let io = TokioIo::new(Patient::new(Greeting::new(stream, Arc::clone(&said)), patience));
        let tagged = Tagged::new(service, peer.clone());
        let mut connection = std::pin::pin!(builder.serve_connection(io, TowerToHyperService::new(tagged)));
        let mut greeting = std::pin::pin!(tokio::time::sleep(handshake_timeout));
        // Asked each time that something comes: so they are made once.
        let (mut drained, mut hung_up) =
            (std::pin::pin!(peer.drain.cancelled()), std::pin::pin!(peer.hang_up.cancelled()));
        let (mut is_greeted, mut is_ending) = (false, false);
        loop {
            tokio::select! {
                biased;
                () = hung_up.as_mut() => return,
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "connection ended");
                    }
                    return;
                }
                () = drained.as_mut(), if !is_ending => {
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

/// How connections are served.
pub(super) fn builder(options: &ListenerOptions) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.handshake_timeout)
        .max_buf_size(MAX_HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .max_concurrent_streams(options.max_streams_per_connection)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(MAX_SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    builder
}
