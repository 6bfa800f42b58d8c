//! The manager's gRPC services, called from inside it.
//!
//! What comes by HTTP takes the way of what comes by gRPC, from the decoding on: one set of limits, checks and errors, and
//! none that could be forgotten on the other one.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use cofferdam_proto::BytesCodec;
use futures_util::{StreamExt, stream::BoxStream};
use http::{HeaderMap, uri::PathAndQuery};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tonic_types::StatusExt;

use super::Routes;
use crate::peer::Peer;

/// The services, for callers in this process.
#[derive(Clone, Debug)]
pub struct InProcess {
    routes: Routes,
}

/// A status, without a transport in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Refusal {
    /// The number of its gRPC code, from 1 to 16.
    pub(crate) code: i32,
    /// Its words.
    pub(crate) message: String,
    /// The reason of its `ErrorInfo`. Empty: it has none.
    pub(crate) reason: String,
    /// The metadata of its `ErrorInfo`.
    pub(crate) metadata: BTreeMap<String, String>,
    /// The fields at fault, by their paths, and what is wrong with each.
    pub(crate) violations: Vec<(String, String)>,
    /// When it is worth coming again.
    pub(crate) retry_after: Option<Duration>,
}

impl InProcess {
    /// The services behind these routes.
    pub(crate) fn new(routes: Routes) -> Self {
        Self { routes }
    }

    /// Calls a unary method, `/package.Service/Method`, with an encoded message. `headers` become the call's metadata.
    pub(crate) async fn call(
        &self,
        method: PathAndQuery,
        message: Bytes,
        headers: HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Bytes, Refusal> {
        // The answer does not leave the process: its size is what the service makes it.
        let mut client = tonic::client::Grpc::new(self.routes.clone()).max_decoding_message_size(usize::MAX);
        let request = request(message, headers, peer);
        let answer = match client.ready().await {
            Ok(()) => client.unary(request, method, BytesCodec).await,
            Err(never) => match never {},
        };
        answer.map(Response::into_inner).map_err(|status| refusal(&status))
    }

    /// Calls a method that answers with a stream: its messages, encoded, as they come.
    pub(crate) async fn stream(
        &self,
        method: PathAndQuery,
        message: Bytes,
        headers: HeaderMap,
        peer: Option<Peer>,
    ) -> Result<BoxStream<'static, Result<Bytes, Refusal>>, Refusal> {
        let mut client = tonic::client::Grpc::new(self.routes.clone()).max_decoding_message_size(usize::MAX);
        let request = request(message, headers, peer);
        let answer = match client.ready().await {
            Ok(()) => client.server_streaming(request, method, BytesCodec).await,
            Err(never) => match never {},
        };
        let messages = answer.map_err(|status| refusal(&status))?.into_inner();
        Ok(messages.map(|message| message.map_err(|status| refusal(&status))).boxed())
    }
}

fn request(message: Bytes, headers: HeaderMap, peer: Option<Peer>) -> Request<Bytes> {
    let mut request = Request::new(message);
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    request
}

fn refusal(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let info = details.error_info();
    let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
    Refusal {
        code: status.code().into(),
        message: status.message().to_owned(),
        reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
        metadata: info.into_iter().flat_map(|info| info.metadata.clone()).collect(),
        violations: violations.iter().map(|one| (one.field.clone(), one.description.clone())).collect(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
    }
}
