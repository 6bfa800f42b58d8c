//! Streams of events, which last until somebody ends them.

use super::{ACTOR, CallError, Client, MAX_ANSWER_BYTES, Patience, Rpc};
use cofferdam_proto::v1;
use std::time::Duration;
use tokio::time::{timeout, timeout_at};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// A stream that says nothing for so long is dead: three times what a manager may take between two messages.
const SILENCE: Duration = Duration::from_secs(30);

/// A stream of events.
#[derive(Debug)]
pub(crate) struct Events {
    stream: Streaming<v1::WatchEventsResponse>,
    request: v1::WatchEventsRequest,
    client: Client,
}

impl Client {
    /// Begins to watch events.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn watch(&self, request: v1::WatchEventsRequest) -> Result<Events, CallError> {
        let opened = timeout_at(self.patience.deadline(), self.open(request.clone())).await;
        let opened = opened.map_err(|_| self.no_answer::<v1::WatchEventsRequest>(self.patience))?;
        let stream = opened.map_err(|status| self.failed(&request, &status, self.patience))?;
        Ok(Events { stream, request, client: self.clone() })
    }

    async fn open(&self, message: v1::WatchEventsRequest) -> Result<Streaming<v1::WatchEventsResponse>, Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut request = Request::new(message);
        if let Some(actor) = &self.actor {
            request.metadata_mut().insert(ACTOR, actor.clone());
        }
        let path = PathAndQuery::from_static(v1::WatchEventsRequest::PATH);
        let codec: ProstCodec<v1::WatchEventsRequest, v1::WatchEventsResponse> = ProstCodec::default();
        Ok(grpc.server_streaming(request, path, codec).await?.into_inner())
    }
}

impl Events {
    /// The next message. `None`: the manager has ended the stream.
    ///
    /// # Errors
    ///
    /// [`CallError`], where the stream broke off or has fallen silent.
    pub(crate) async fn next(&mut self) -> Result<Option<v1::WatchEventsResponse>, CallError> {
        match timeout(SILENCE, self.stream.message()).await {
            Ok(Ok(message)) => {
                self.client.has_answered::<v1::WatchEventsRequest>();
                Ok(message)
            }
            Ok(Err(status)) => Err(self.client.failed(&self.request, &status, Patience::Each(SILENCE))),
            Err(_) => Err(self.client.no_answer::<v1::WatchEventsRequest>(Patience::Each(SILENCE))),
        }
    }
}
