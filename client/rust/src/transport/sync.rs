//! The stream, over gRPC.

use super::wire::{from_manager, to_manager};
use super::{Keepalive, Manager, describe};
use crate::runtime::Tokio;
use crate::sync::message::FromManager;
use crate::sync::{Down, Outbound, Transport};
use cofferdam_core::runtime::Runtime as _;
use cofferdam_core::time::Timestamp;
use cofferdam_proto::v1;
use cofferdam_proto::v1::policy_sync_service_client::PolicySyncServiceClient;
use futures_util::{Stream, StreamExt};
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

/// What the manager says on one stream.
#[derive(Debug)]
pub(crate) struct Inbound {
    stream: Streaming<v1::SyncResponse>,
    /// When it last said something.
    heard: Timestamp,
    keepalive: Keepalive,
}

impl Transport for Manager {
    type Inbound = Inbound;

    fn address(&self) -> &Arc<str> {
        &self.url
    }

    async fn open(&mut self, outbound: Outbound) -> Result<Inbound, Down> {
        let channel = self.connect().await.map_err(|error| Down::new(describe(&error)))?;
        let opened = PolicySyncServiceClient::new(channel).sync(outbound.map(to_manager)).await;
        let stream = opened.map_err(|status| down(&status))?.into_inner();
        Ok(Inbound { stream, heard: Tokio.now(), keepalive: self.keepalive })
    }
}

impl Stream for Inbound {
    type Item = Result<FromManager, Down>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.stream).poll_next(context);
        next.map(|next| {
            next.map(|received| {
                let silence = Tokio.now().saturating_since(self.heard);
                self.heard = Tokio.now();
                match received {
                    Ok(message) => Ok(from_manager(message)),
                    // What the manager says itself has no error behind it.
                    Err(status) if status.source().is_some() => {
                        Err(Down::new(broken(&status, silence, self.keepalive)))
                    }
                    Err(status) => Err(down(&status)),
                }
            })
        })
    }
}

/// Why there is a connection no more. The transport tells the stream no more than that it is closed, be it that nobody has
/// answered a keepalive.
fn broken(error: &(dyn Error + 'static), silence: Duration, keepalive: Keepalive) -> String {
    let Keepalive { interval, timeout } = keepalive;
    let error = describe(error);
    if silence < timeout {
        return format!("the connection broke off: {error}");
    }
    format!(
        "the connection broke off after {silence:.1?} without a word, of a manager that does not answer a keepalive for \
         example (sent every {interval:?}, waited for {timeout:?}): {error}"
    )
}

fn down(status: &Status) -> Down {
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Down { retry_after, ..Down::new(format!("{:?}: {}", status.code(), status.message())) }
}
