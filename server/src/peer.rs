//! The connection that a request came by, for those who answer it.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

/// The listener puts one into every request's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Who is at the other end.
    pub(crate) address: SocketAddr,
    /// For a connection that has one of the places that are kept for operators: how many places are not. Instances that
    /// come by it are sent away.
    pub(crate) is_beyond: Option<usize>,
    /// Fired, it asks the connection to end when what it carries has ended.
    pub(crate) drain: CancellationToken,
    /// Fired, it ends the connection; it fires when the connection is ended.
    pub(crate) hang_up: CancellationToken,
}
