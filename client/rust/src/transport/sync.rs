//! The stream, over gRPC.

use super::wire::{from_manager, to_manager};
use super::{Manager, describe};
use crate::sync::message::FromManager;
use crate::sync::{Down, Outbound, Transport};
use cofferdam_proto::v1;
use cofferdam_proto::v1::policy_sync_service_client::PolicySyncServiceClient;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;

/// What the manager says on one stream.
#[derive(Debug)]
pub(crate) struct Inbound(Streaming<v1::SyncResponse>);

impl Transport for Manager {
    type Inbound = Inbound;

    fn address(&self) -> &Arc<str> {
        &self.url
    }

    async fn open(&mut self, outbound: Outbound) -> Result<Inbound, Down> {
        let channel = self.connect().await.map_err(|error| Down::new(describe(&error)))?;
        let opened = PolicySyncServiceClient::new(channel).sync(outbound.map(to_manager)).await;
        Ok(Inbound(opened.map_err(|status| down(&status))?.into_inner()))
    }
}

impl Stream for Inbound {
    type Item = Result<FromManager, Down>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.0).poll_next(context);
        next.map(|next| next.map(|received| received.map(from_manager).map_err(|status| down(&status))))
    }
}

fn down(status: &Status) -> Down {
    let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    Down { retry_after, ..Down::new(format!("{:?}: {}", status.code(), status.message())) }
}
