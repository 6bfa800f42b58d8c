//! Asking all of them at once.

use cofferdam_proto::v1::{self, peer_service_client::PeerServiceClient};
use futures_util::future::join_all;
use tokio::time::timeout;
use tonic::{Response, Status, transport::Channel};

use super::{Joining, Peers, Shared};

/// The largest message from another manager: of a thousand services, or of all of its instances.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// What they said.
#[derive(Debug)]
pub(crate) struct Parts<T> {
    /// The parts, each with the id of its manager.
    pub(crate) parts: Vec<(String, T)>,
    /// Who did not answer in time; this manager itself, where it may not know all of them, or they not of it.
    pub(crate) unreachable: Vec<v1::UnreachableManager>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self { parts: Vec::new(), unreachable: Vec::new() }
    }
}

impl Peers {
    /// Asks each of them, with its id, and waits for all, for as long as they may take.
    pub(crate) async fn ask<T, F>(&self, call: impl Fn(PeerServiceClient<Channel>, String) -> F) -> Parts<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut parts = Parts::default();
        let Some(joined) = &self.joined else { return parts };
        let Shared { timeout: patience, .. } = &*joined.shared;
        parts.unreachable.extend(joined.shared.doubt_self());
        let asking = self.all().into_iter().map(|(id, address, channel)| {
            let asked = channel.map(|channel| {
                let client = PeerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
                timeout(*patience, call(client, id.clone()))
            });
            async move {
                let answer = match asked {
                    None => Err("it does not say where it is: set --advertise-address there".to_owned()),
                    Some(asked) => match asked.await {
                        Ok(Ok(answer)) => Ok(answer.into_inner()),
                        Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), status.message())),
                        Err(_) => Err(format!("no answer within {patience:?}")),
                    },
                };
                (id, address, answer)
            }
        });
        for (id, address, answer) in join_all(asking).await {
            match answer {
                Ok(part) => parts.parts.push((id, part)),
                Err(reason) => parts.unreachable.push(v1::UnreachableManager { id, address, reason }),
            }
        }
        parts
    }

    /// One of them, as one that cannot be counted on.
    pub(crate) fn doubt(&self, id: &str, reason: String) -> v1::UnreachableManager {
        let address = self.joined.as_ref().and_then(|joined| Some(joined.shared.lock().get(id)?.address.clone()));
        v1::UnreachableManager { id: id.to_owned(), address: address.unwrap_or_default(), reason }
    }
}

impl Shared {
    /// This manager itself, while it cannot speak for all: it does not know the others yet, or they cannot know of it.
    fn doubt_self(&self) -> Option<v1::UnreachableManager> {
        let reason = match *self.joining.borrow() {
            Joining { has_listed: false, .. } => "it has not read yet which other managers there are",
            Joining { is_enlisted: false, .. } => {
                "its key is not in the store, so that other managers do not know of it"
            }
            Joining { .. } => return None,
        };
        let (id, address) = (self.id.clone(), self.address.clone());
        Some(v1::UnreachableManager { id, address, reason: reason.to_owned() })
    }
}
