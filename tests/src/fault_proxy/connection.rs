//! Connections of the proxy, from their beginning to their end.

use super::pump::pump;
use super::{Counts, Direction, Ending, Party, Plan, count};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Takes connections in until it is dropped, which drops them.
pub(super) async fn accept(listener: TcpListener, server: SocketAddr, plan: watch::Receiver<Plan>, seen: Arc<Counts>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                if plan.borrow().is_refusing {
                    count(&seen.refused);
                    reset(client);
                    continue;
                }
                count(&seen.accepted);
                connections.spawn(serve(client, server, plan.clone(), Arc::clone(&seen)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut client: TcpStream, server: SocketAddr, mut plan: watch::Receiver<Plan>, seen: Arc<Counts>) {
    let endings = plan.borrow().endings;
    // A server that is not there looks to the client as it would without a proxy.
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(client) };
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let ending = {
        let (to_server, to_client) = (plan.clone(), plan.clone());
        let (from_client, back_to_client) = client.split();
        let (from_server, on_to_server) = server.split();
        tokio::select! {
            ended = plan.wait_for(|plan| plan.endings > endings) => ended.map(|plan| plan.ending).ok(),
            // The two ways end apart, as the two halves of a connection do.
            _ = futures_util::future::join(
                pump(from_client, on_to_server, Direction::ToServer, to_server, &seen),
                pump(from_server, back_to_client, Direction::ToClient, to_client, &seen),
            ) => None,
        }
    };
    match ending {
        None => {}
        Some(Ending::Cut) => count(&seen.cut),
        Some(Ending::Reset) => {
            count(&seen.reset);
            reset(client);
            reset(server);
        }
        Some(Ending::HalfOpen(vanished)) => {
            count(&seen.half_open);
            let (gone, _left) = match vanished {
                Party::Client => (client, server),
                Party::Server => (server, client),
            };
            drop(gone);
            // The one that is left hears nothing more, until the connections are ended again or the proxy is dropped.
            let endings = plan.borrow().endings;
            let _ = plan.wait_for(|plan| plan.endings > endings).await;
        }
    }
}

/// Ends a connection such that its peer learns of it at once, with an error.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}
