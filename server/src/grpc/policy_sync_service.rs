//! `cofferdam.v1.PolicySyncService`.
//!
//! It is served by hand rather than through the generated trait for one reason: an answer is encoded and framed once and
//! its bytes are shared by every stream that gets it, where the generated service would do that for each.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cofferdam_proto::v1;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tonic::{
    Status, Streaming,
    body::Body,
    codegen::{Body as HttpBody, Service, StdError, http},
    metadata::{GRPC_CONTENT_TYPE, MetadataValue},
    server::NamedService,
};

use self::{answers::Answers, containing::Suspicions, decoder::SyncDecoder};
use crate::{
    config::SyncConfig,
    error::Error,
    grpc::{error, timely::Messages},
    instances::Instances,
    peer::Peer,
    peers::Peers,
    registry::Registry,
    supervise::supervised,
};

mod answers;
mod containing;
mod decoder;
mod frame;
mod hello;
mod inbound;
mod plausible;
mod rejections;
mod session;
mod together;

/// How messages may be compressed.
const ENCODING_HEADER: &str = "grpc-encoding";
const ACCEPT_ENCODING_HEADER: &str = "grpc-accept-encoding";

/// The path of the one method.
const SYNC: &str = "/cofferdam.v1.PolicySyncService/Sync";

/// The target of records in the log about streams and what is said on them.
const LOG: &str = "cofferdam_server::sync";

/// The largest message of an instance: a hello that names as many services as one may, and what it has of each.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// The shortest time over which instances come back that were asked to.
const MIN_WITHIN: Duration = Duration::from_secs(2);

/// The longest one: beyond it, a fleet is better served by more managers.
const MAX_WITHIN: Duration = Duration::from_secs(300);

/// How streams are kept.
#[derive(Clone, Copy, Debug)]
pub struct SyncOptions {
    /// How often an idle stream hears that nothing is missing. Default 10 s.
    pub bookmark_interval: Duration,
    /// How long an instance may take to say hello. Default 10 s.
    pub hello_timeout: Duration,
    /// How long a stream may still say something after it was asked to come again. Default 1 s.
    pub farewell: Duration,
    /// How long a stream lasts, ten percent more or less by chance. Zero: for ever. Default 1 h.
    pub max_age: Duration,
    /// How many instances per second are to come, where many do at once. Default 2000.
    pub reconnect_rate: usize,
}

impl From<&SyncConfig> for SyncOptions {
    fn from(config: &SyncConfig) -> Self {
        Self {
            bookmark_interval: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
            max_age: config.max_age,
            reconnect_rate: config.reconnect_rate,
        }
    }
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self::from(&SyncConfig::default())
    }
}

/// Keeps instances in step.
#[derive(Clone, Debug)]
pub struct SyncApi {
    shared: Arc<Shared>,
    _judge: Arc<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    peers: Peers,
    suspicions: Suspicions,
    options: SyncOptions,
    drain: CancellationToken,
}

impl SyncOptions {
    /// Over how much time instances come back, if all of them lose their manager.
    pub(super) fn reconnect_window(&self, instances: &Instances) -> Duration {
        self.reconnect_window_of(instances.known())
    }

    /// Over how much time so many instances come back.
    pub(crate) fn reconnect_window_of(&self, instances: usize) -> Duration {
        let (instances, rate) = (instances as f64, self.reconnect_rate.max(1) as f64);
        Duration::try_from_secs_f64(instances / rate).unwrap_or(MAX_WITHIN).min(MAX_WITHIN)
    }
}

impl Shared {
    fn reconnect_window(&self) -> Duration {
        self.options.reconnect_window(&self.instances)
    }

    /// Within which time an instance is asked to come again.
    fn reconnect_within(&self) -> Duration {
        self.reconnect_window().max(MIN_WITHIN)
    }
}

impl SyncApi {
    /// Over these services and instances, among these managers. When `drain` fires, streams end with a request to reconnect.
    pub fn new(
        registry: Arc<Registry>,
        instances: Arc<Instances>,
        peers: Peers,
        options: SyncOptions,
        drain: CancellationToken,
    ) -> Self {
        let suspicions = Suspicions::default();
        let shared = Arc::new(Shared { registry, instances, peers, suspicions, options, drain });
        let judging = Arc::clone(&shared);
        let judge = supervised("judge", move || containing::look_into(Arc::clone(&judging)));
        Self { shared, _judge: Arc::new(judge) }
    }
}

impl NamedService for SyncApi {
    const NAME: &'static str = v1::policy_sync_service_server::SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for SyncApi
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        ready(Ok(self.answer(request).unwrap_or_else(Status::into_http)))
    }
}

impl SyncApi {
    fn answer<B>(&self, request: http::Request<B>) -> Result<http::Response<Body>, Status>
    where
        B: HttpBody + Send + 'static,
        B::Error: Into<StdError> + Send + 'static,
    {
        if request.uri().path() != SYNC {
            return Err(Status::unimplemented("PolicySyncService has one method, Sync"));
        }
        if request.headers().get(ENCODING_HEADER).is_some_and(|encoding| encoding != "identity") {
            let mut status = Status::unimplemented("Sync takes messages that are not compressed");
            status.metadata_mut().insert(ACCEPT_ENCODING_HEADER, MetadataValue::from_static("identity"));
            return Err(status);
        }
        let Some(peer) = request.extensions().get::<Peer>().cloned() else {
            return Err(error::status(&Error::Internal { detail: "a request came by no connection".to_owned() }));
        };
        if let Some(limit) = peer.is_beyond {
            // What it carries ends first, this refusal included.
            peer.drain.cancel();
            let error = Error::QuotaExceeded {
                quota: "connections",
                limit: limit.to_string(),
                remedy: "come again in a while, connect to another manager, or raise limits.max_connections",
            };
            return Err(error::with_retry_after(&error, Some(self.shared.reconnect_within())));
        }
        let inbound =
            Streaming::new_request(SyncDecoder, Messages::new(request.into_body()), None, Some(MAX_MESSAGE_BYTES));
        let stream = session::stream(Arc::clone(&self.shared), inbound, peer);
        let mut response = http::Response::new(Body::new(Answers::new(stream)));
        response.headers_mut().insert(http::header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
        Ok(response)
    }
}

#[cfg(test)]
mod tests;
