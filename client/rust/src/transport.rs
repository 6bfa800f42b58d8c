//! The edge to gRPC: the only place of the SDK that knows tonic.
//!
//! Each use of the manager has a connection of its own. The stream must not share one: a connection stalls as a whole
//! when too much on it is left unread (hyperium/hyper#2899), and the stream is the one thing that is always read.

mod policy_file;
mod registration;
mod status;
mod sync;
mod wire;

#[cfg(feature = "tower")]
mod http;
#[cfg(test)]
mod tests;

pub(crate) use cofferdam_proto::sealed::{Damage, Seal};
#[cfg(feature = "tower")]
pub(crate) use cofferdam_proto::status::is_timeout;
#[cfg(feature = "tower")]
pub(crate) use http::status_of_rejection;
#[cfg(feature = "tower")]
pub use http::{Auto, Http};
pub(crate) use policy_file::{EncodedPolicy, UnusableBody, decode_policies, encode_policies, encode_policy};
pub(crate) use status::{as_error, on_error, type_name_of};
pub(crate) use tonic::Status;

use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a connection to a manager finds out that there is nobody at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// How often an idle connection is probed.
    pub(crate) interval: Duration,
    /// How long the answer to a probe may take.
    pub(crate) timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), timeout: Duration::from_secs(10) }
    }
}

/// A manager: its checked URL.
#[derive(Clone, Debug)]
pub(crate) struct Manager {
    url: Arc<str>,
    endpoint: Endpoint,
    keepalive: Keepalive,
}

/// Why the SDK cannot use a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidUrl(pub(crate) String);

impl Manager {
    pub(crate) fn new(url: &str, keepalive: Keepalive) -> Result<Self, InvalidUrl> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| InvalidUrl(describe(&error)))?;
        // The scheme by the text: the endpoint has one of its own for the path of a socket.
        match url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("http") => {}
            Some("https") => return Err(InvalidUrl("this release has no TLS; use http://".to_owned())),
            _ => return Err(InvalidUrl("must begin with http://".to_owned())),
        }
        if let Some(fault) = fault_of(endpoint.uri(), url) {
            return Err(InvalidUrl(fault.to_owned()));
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(keepalive.interval)
            .keep_alive_timeout(keepalive.timeout)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        Ok(Self { url: url.into(), endpoint, keepalive })
    }

    /// A new connection.
    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        self.endpoint.connect().await
    }
}

/// What is wrong with a URL that parses. `None`: nothing.
fn fault_of(uri: &Uri, url: &str) -> Option<&'static str> {
    let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
        return Some("names no host");
    };
    let is_bare = authority.as_str() == authority.host();
    if authority.as_str().contains('@') {
        Some("must have no user and no password: the manager asks for none")
    } else if !is_bare && authority.port_u16().is_none_or(|port| port == 0) {
        Some("the port must be 1 to 65535")
    } else if !matches!(uri.path(), "" | "/") || uri.query().is_some() || url.contains('#') {
        Some("must end with the port: a manager has no path")
    } else {
        None
    }
}

/// An error with all that lies behind it: transports say "transport error" and keep the reason to themselves.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = crate::classify::sources(error).map(ToString::to_string).collect();
    parts.dedup();
    parts.join(": ")
}
