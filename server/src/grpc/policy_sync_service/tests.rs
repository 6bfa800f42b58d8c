//! Streams of real clients over real sockets.

use std::time::Duration;

use cofferdam_core::{
    policy::Policy,
    wire::{effective_policy, policy_hash},
};
use cofferdam_proto::v1::{
    self, policy_sync_service_client::PolicySyncServiceClient, sync_response::Message as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use crate::testing::{Manager, PATIENCE, registration};

mod containing;
mod converging;
mod following;
mod hinting;
mod implausible;
mod reporting;
mod staying;
mod telling;

/// An instance on its stream.
struct Instance {
    say: mpsc::Sender<v1::SyncRequest>,
    hear: Streaming<v1::SyncResponse>,
}

impl Instance {
    async fn connect(manager: &Manager, hello: v1::SyncHello) -> Self {
        Self::on(manager.channel().await, hello).await
    }

    async fn on(channel: Channel, hello: v1::SyncHello) -> Self {
        let mut client = PolicySyncServiceClient::new(channel);
        let (say, said) = mpsc::channel(64);
        say.send(request(v1::sync_request::Message::Hello(hello))).await.unwrap();
        let hear = client.sync(ReceiverStream::new(said)).await.unwrap().into_inner();
        Self { say, hear }
    }

    async fn say(&self, message: v1::sync_request::Message) {
        self.say.send(request(message)).await.unwrap();
    }

    /// The next answer, bookmarks included; none at the end of the stream.
    async fn next(&mut self) -> Result<Option<Answer>, Status> {
        let answer = tokio::time::timeout(PATIENCE, self.hear.message()).await.expect("no answer came");
        Ok(answer?.map(|answer| answer.message.unwrap()))
    }

    async fn update(&mut self) -> v1::PolicyUpdate {
        match self.next().await.unwrap() {
            Some(Answer::Update(update)) => update,
            other => panic!("not an update: {other:?}"),
        }
    }

    async fn removal(&mut self) -> v1::PolicyRemoval {
        match self.next().await.unwrap() {
            Some(Answer::Removal(removal)) => removal,
            other => panic!("not a removal: {other:?}"),
        }
    }

    async fn complete(&mut self) -> v1::SyncComplete {
        match self.next().await.unwrap() {
            Some(Answer::Complete(complete)) => complete,
            other => panic!("not the end of the first answer: {other:?}"),
        }
    }

    /// Within which time it is asked to come again.
    async fn reconnect(&mut self) -> Duration {
        match self.next().await.unwrap() {
            Some(Answer::Reconnect(reconnect)) => reconnect.within.unwrap().try_into().unwrap(),
            other => panic!("not asked to come again: {other:?}"),
        }
    }

    /// The error that ends the stream.
    async fn failure(&mut self) -> Status {
        self.next().await.expect_err("the stream goes on")
    }

    async fn ack(&self, update: &v1::PolicyUpdate) {
        let ack = v1::PolicyAck {
            service: update.service.clone(),
            revision: update.revision,
            policy_hash: policy_hash(&policy(update)).as_bytes().to_vec().into(),
        };
        self.say(v1::sync_request::Message::Ack(ack)).await;
    }
}

fn request(message: v1::sync_request::Message) -> v1::SyncRequest {
    v1::SyncRequest { message: Some(message) }
}

/// The policy of an update, checked as an instance checks it.
fn policy(update: &v1::PolicyUpdate) -> Policy {
    effective_policy(update.policy.as_ref().unwrap()).unwrap()
}

fn hello(id: &str, services: &[&str]) -> v1::SyncHello {
    v1::SyncHello {
        instance_id: id.to_owned(),
        application: "checkout".to_owned(),
        sdk: "test/0".to_owned(),
        services: services.iter().map(|&service| service.to_owned()).collect(),
        ..v1::SyncHello::default()
    }
}

async fn register(manager: &Manager, name: &str) {
    manager.registry.register(registration(name)).await.unwrap();
}

async fn set_level(manager: &Manager, name: &str, level: v1::IsolationLevel) {
    let request = v1::SetIsolationLevelRequest {
        service: name.to_owned(),
        level: level.into(),
        ..v1::SetIsolationLevelRequest::default()
    };
    manager.registry.set_level(request).await.unwrap();
}

async fn unregister(manager: &Manager, name: &str) {
    let request = v1::UnregisterServiceRequest { service: name.to_owned(), ..Default::default() };
    manager.registry.unregister(request).await.unwrap();
}

async fn stats(manager: &Manager, name: &str) -> v1::ServiceStats {
    let request = v1::GetServiceIsolationInfoRequest { service: name.to_owned(), ..Default::default() };
    manager.client().await.get_service_isolation_info(request).await.unwrap().into_inner().stats.unwrap()
}

/// Asks for the stats of a service until they are as they should be.
async fn stats_become(manager: &Manager, name: &str, holds: impl Fn(&v1::ServiceStats) -> bool) -> v1::ServiceStats {
    let asking = async {
        loop {
            let stats = stats(manager, name).await;
            if holds(&stats) {
                return stats;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the stats never became so")
}
