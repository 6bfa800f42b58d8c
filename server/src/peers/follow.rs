//! The stream from one other manager: which instances have come to it, and how services stand at them.

use std::{
    collections::HashMap, convert::Infallible, error::Error as StdError, future::pending, io, sync::Weak,
    time::Duration,
};

use cofferdam_proto::v1::{self, peer_service_client::PeerServiceClient};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Streaming, transport::Endpoint};

use super::{Shared, ask::MAX_MESSAGE_BYTES, wire};

/// A stream that says nothing for so long is dead: three times what a manager may take between two messages.
pub(super) const SILENCE: Duration = Duration::from_secs(6);

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
    let mut last_heard = Instant::now();
    loop {
        let opened = tokio::select! {
            biased;
            never = age(&shared, &id, last_heard) => match never {},
            opened = open(&id, endpoint.as_ref()) => opened,
        };
        let ended = match opened {
            Ok((first, news)) => hear(&shared, &id, first, news, &mut last_heard).await,
            Err(ended) => ended,
        };
        let Some(shared) = shared.upgrade() else { return };
        tracing::debug!(manager = id, reason = ended.reason, "the stream from another manager ended");
        shared.instances.events().manager_is_away(&id, &shared.address_of(&id), &ended.reason);
        if shared.forget_if_left(&id, ended.is_absent) {
            return;
        }
        drop(shared);
        sleep(PAUSE.mul_f64(0.2 + 0.8 * rand::random::<f64>())).await;
    }
}

/// Forgets what a manager said of its instances' services once it was not heard for longer than it may be silent. It goes
/// on being missed. When it is heard again, it says all of it anew.
async fn age(shared: &Weak<Shared>, id: &str, last_heard: Instant) -> Infallible {
    sleep_until(last_heard + SILENCE).await;
    if let Some(shared) = shared.upgrade() {
        shared.instances.forget_elsewhere(id);
    }
    pending().await
}

/// A new stream, and what comes at once on it: all that there is to know.
async fn open(
    id: &str,
    endpoint: Option<&Endpoint>,
) -> Result<(v1::FollowResponse, Streaming<v1::FollowResponse>), Ended> {
    let reason = || Ended { reason: "it does not say where it is".to_owned(), is_absent: false };
    let channel = match endpoint.ok_or_else(reason)?.connect().await {
        Ok(channel) => channel,
        Err(error) => return Err(Ended { is_absent: is_refused(&error), reason: error.to_string() }),
    };
    let mut client = PeerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = v1::FollowRequest { manager_id: id.to_owned() };
    let mut news = match timeout(SILENCE, client.follow(request)).await {
        Ok(Ok(news)) => news.into_inner(),
        Ok(Err(status)) => return Err(of_status(&status)),
        Err(_) => return Err(silent()),
    };
    let first = next(&mut news).await?;
    Ok((first, news))
}

/// What a manager says, until it says nothing more.
async fn hear(
    shared: &Weak<Shared>,
    id: &str,
    first: v1::FollowResponse,
    mut stream: Streaming<v1::FollowResponse>,
    last_heard: &mut Instant,
) -> Ended {
    let mut news = first;
    loop {
        *last_heard = Instant::now();
        let Some(shared) = shared.upgrade() else { return silent() };
        shared.instances.moved_away(&wire::arrivals_from_wire(news.arrivals));
        if news.has_stands {
            let stands: HashMap<_, _> = news.stands.iter().filter_map(wire::stand_from_wire).collect();
            shared.instances.stand_elsewhere(id, stands);
        }
        shared.instances.events().manager_is_there(id, &shared.address_of(id));
        // Last, so that whoever reads it finds the rest done.
        if let Some(peer) = shared.lock().get_mut(id) {
            peer.heard = Some(news.arrived);
            peer.heard_at = Some(*last_heard);
            // A release that does not say it has the window of few instances.
            peer.reconnect_window = wire::duration(news.reconnect_window);
        }
        drop(shared);
        news = match next(&mut stream).await {
            Ok(news) => news,
            Err(ended) => return ended,
        };
    }
}

async fn next(stream: &mut Streaming<v1::FollowResponse>) -> Result<v1::FollowResponse, Ended> {
    match timeout(SILENCE, stream.message()).await {
        Ok(Ok(Some(news))) => Ok(news),
        Ok(Ok(None)) => Err(Ended { reason: "it ended the stream".to_owned(), is_absent: false }),
        Ok(Err(status)) => Err(of_status(&status)),
        Err(_) => Err(silent()),
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
