//! The Sync stream as it is on the wire, for what no SDK would say.

use crate::manager::Manager;
use crate::wait::within;
use cofferdam_proto::v1::policy_sync_service_client::PolicySyncServiceClient;
use cofferdam_proto::v1::sync_request::Message as Request;
use cofferdam_proto::v1::sync_response::Message as Response;
use cofferdam_proto::v1::{SyncHello, SyncRequest, SyncResponse};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// An open Sync stream.
#[derive(Debug)]
pub struct Follower {
    requests: mpsc::Sender<SyncRequest>,
    responses: Streaming<SyncResponse>,
}

impl Follower {
    /// Opens a stream on a connection of its own, and says nothing yet.
    ///
    /// # Panics
    ///
    /// If the manager does not take it.
    pub async fn open(manager: &Manager) -> Self {
        let (requests, stream) = mpsc::channel(64);
        let mut client = PolicySyncServiceClient::new(manager.channel());
        let opening = client.sync(ReceiverStream::new(stream));
        let responses = within("the opening of a stream", opening).await.expect("the stream opens").into_inner();
        Self { requests, responses }
    }

    /// Opens a stream that follows these services, and reads the first answer: all but its end.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub async fn start(manager: &Manager, instance: &str, services: &[&str]) -> (Self, Vec<Response>) {
        let mut follower = Self::open(manager).await;
        follower.say(Request::Hello(hello(instance, services))).await;
        let mut answers = Vec::new();
        loop {
            match follower.next().await.expect("the stream stays open") {
                Response::Complete(_) => return (follower, answers),
                answer => answers.push(answer),
            }
        }
    }

    /// Says something.
    ///
    /// # Panics
    ///
    /// If nobody takes it.
    pub async fn say(&self, message: Request) {
        within("the manager to listen", self.requests.send(SyncRequest { message: Some(message) }))
            .await
            .expect("the stream is open");
    }

    /// The next message that is no bookmark.
    ///
    /// # Errors
    ///
    /// The status that the stream ended with; OK where it merely ended.
    ///
    /// # Panics
    ///
    /// If nothing comes.
    pub async fn next(&mut self) -> Result<Response, Status> {
        // Over all of it: bookmarks come for ever.
        within("a message of the manager", async {
            loop {
                match self.responses.next().await {
                    Some(Ok(response)) => match response.message.expect("exactly one is set") {
                        Response::Bookmark(_) => {}
                        message => return Ok(message),
                    },
                    Some(Err(status)) => return Err(status),
                    None => return Err(Status::ok("the stream ended")),
                }
            }
        })
        .await
    }
}

/// The introduction of an instance that follows these services.
pub fn hello(instance: &str, services: &[&str]) -> SyncHello {
    SyncHello {
        instance_id: instance.into(),
        application: "tests".into(),
        sdk: "tests/1".into(),
        services: services.iter().map(|service| (*service).to_owned()).collect(),
        ..SyncHello::default()
    }
}
