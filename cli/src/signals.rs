//! Signals that mean "enough".

use std::io;

/// Waits for one: an interrupt, a request to terminate, or the end of the terminal. Where the system gives no notice of
/// signals it waits for ever, and a signal ends the process as it always did.
#[cfg(unix)]
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};

    let listen = || -> io::Result<_> {
        Ok((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?))
    };
    let Ok((mut interrupt, mut terminate, mut hangup)) = listen() else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// As on Unix, for the one signal that there is.
#[cfg(not(unix))]
pub(crate) async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
