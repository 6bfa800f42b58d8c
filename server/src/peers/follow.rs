//! The stream from one other manager: which instances have come to it, and how services stand at them.

use std::{collections::HashMap, error::Error as StdError, io, sync::Weak, time::Duration};

use cofferdam_proto::v1::{self, peer_service_client::PeerServiceClient};
use tokio::time::{sleep, timeout};
use tonic::{Code, transport::Endpoint};

use super::{Shared, ask::MAX_MESSAGE_BYTES, wire};

/// A stream that says nothing for so long is dead: three times what a manager may take between two messages.
const SILENCE: Duration = Duration::from_secs(6);

/// The longest pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Why a stream ended.
struct Ended {
    reason: String,
    /// Nobody is at its address, or another manager: it does not run any more.
    is_absent: bool,
}

/// Follows a manager until it is gone.
pub(super) async fn follow(shared: Weak<Shared>, id: String, endpoint: Option<Endpoint>) {
    loop {
        let ended = match &endpoint {
            Some(endpoint) => listen(&shared, &id, endpoint).await,
            None => Ended { reason: "it does not say where it is".to_owned(), is_absent: false },
        };
        let Some(shared) = shared.upgrade() else { return };
        tracing::debug!(manager = id, reason = ended.reason, "the stream from another manager ended");
        if shared.forget_if_left(&id, ended.is_absent) {
            return;
        }
        drop(shared);
        sleep(PAUSE.mul_f64(0.2 + 0.8 * rand::random::<f64>())).await;
    }
}

async fn listen(shared: &Weak<Shared>, id: &str, endpoint: &Endpoint) -> Ended {
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return Ended { is_absent: is_refused(&error), reason: error.to_string() },
    };
    let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = v1::FollowRequest { manager_id: id.to_owned() };
    let mut news = match timeout(SILENCE, client.follow(request)).await {
        Ok(Ok(news)) => news.into_inner(),
        Ok(Err(status)) => return of_status(&status),
        Err(_) => return silent(),
    };
    loop {
        let news = match timeout(SILENCE, news.message()).await {
            Ok(Ok(Some(news))) => news,
            Ok(Ok(None)) => return Ended { reason: "it ended the stream".to_owned(), is_absent: false },
            Ok(Err(status)) => return of_status(&status),
            Err(_) => return silent(),
        };
        let Some(shared) = shared.upgrade() else { return silent() };
        shared.instances.moved_away(&wire::arrivals_from_wire(news.arrivals));
        if news.has_stands {
            let stands: HashMap<_, _> = news.stands.iter().filter_map(wire::stand_from_wire).collect();
            shared.instances.stand_elsewhere(id, stands);
        }
        // Last, so that whoever reads it finds the rest done.
        if let Some(peer) = shared.lock().get_mut(id) {
            peer.heard = Some(news.arrived);
        }
    }
}

fn silent() -> Ended {
    Ended { reason: "it has fallen silent".to_owned(), is_absent: false }
}

fn of_status(status: &tonic::Status) -> Ended {
    let is_absent = status.code() == Code::FailedPrecondition;
    Ended { reason: status.message().to_owned(), is_absent }
}

/// Whether the machine is there and nobody listens.
fn is_refused(error: &tonic::transport::Error) -> bool {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        source = error.source();
    }
    false
}
