//! `cofferdam.v1.PolicySyncService`.
//!
//! It is served by hand rather than through the generated trait for one reason: an answer is encoded once and its
//! bytes are shared by every stream that gets it, where the generated service would encode it for each.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use cofferdam_proto::v1;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Body as HttpBody, Service, StdError, http},
    server::{Grpc, NamedService, StreamingService},
};

use crate::{hang_up::HangUp, instances::Instances, registry::Registry};

mod codec;
mod frame;
mod hello;
mod inbound;
mod session;

/// The path of the one method.
const SYNC: &str = "/cofferdam.v1.PolicySyncService/Sync";

/// The largest message of an instance: a hello that names as many services as one may, and what it has of each.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How streams are kept.
#[derive(Clone, Copy, Debug)]
pub struct SyncOptions {
    /// How often an idle stream hears that nothing is missing. Default 10 s.
    pub bookmark_interval: Duration,
    /// How long an instance may take to say hello. Default 10 s.
    pub hello_timeout: Duration,
    /// Within which time instances come back, when this manager stops or sheds load. Default 2 s.
    pub reconnect_within: Duration,
}

impl Default for SyncOptions {
    fn default() -> Self {
        Self {
            bookmark_interval: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(10),
            reconnect_within: Duration::from_secs(2),
        }
    }
}

/// Keeps instances in step.
#[derive(Clone, Debug)]
pub struct SyncApi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Arc<Registry>,
    instances: Arc<Instances>,
    options: SyncOptions,
    drain: CancellationToken,
}

impl SyncApi {
    /// Over these services and instances. When `drain` fires, streams end with a request to reconnect.
    pub fn new(
        registry: Arc<Registry>,
        instances: Arc<Instances>,
        options: SyncOptions,
        drain: CancellationToken,
    ) -> Self {
        Self { shared: Arc::new(Shared { registry, instances, options, drain }) }
    }
}

impl NamedService for SyncApi {
    const NAME: &'static str = v1::policy_sync_service_server::SERVICE_NAME;
}

impl StreamingService<v1::SyncRequest> for SyncApi {
    type Response = Bytes;
    type ResponseStream = BoxStream<'static, Result<Bytes, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<v1::SyncRequest>>) -> Self::Future {
        let (_, extensions, inbound) = request.into_parts();
        // In a test without our listener there is nobody to hang up.
        let hang_up = extensions.get::<HangUp>().map(HangUp::token).unwrap_or_default();
        let stream = session::stream(Arc::clone(&self.shared), inbound, hang_up);
        std::future::ready(Ok(Response::new(stream)))
    }
}

impl<B> Service<http::Request<B>> for SyncApi
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let api = self.clone();
        Box::pin(async move {
            if request.uri().path() != SYNC {
                return Ok(Status::unimplemented("PolicySyncService has one method, Sync").into_http());
            }
            let mut grpc = Grpc::new(codec::SyncCodec).max_decoding_message_size(MAX_MESSAGE_BYTES);
            Ok(grpc.streaming(api, request).await)
        })
    }
}

#[cfg(test)]
mod tests;
