//! The signals that stop a manager, and one that must not.

use std::{future::Future, io};

/// Done at the first SIGTERM or SIGINT from now on.
#[cfg(unix)]
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// From now on a write beyond the limit of a file's size (`ulimit -f`) fails, as one on a full disk does, instead of
/// ending the process.
#[cfg(unix)]
pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    // SIGXFSZ, on every Unix but those on MIPS. Tokio's handler stays for good.
    const FILE_SIZE_EXCEEDED: i32 = 25;
    signal(SignalKind::from_raw(FILE_SIZE_EXCEEDED)).map(drop)
}

#[cfg(not(unix))]
pub(crate) fn outlive_file_size_limit() -> io::Result<()> {
    Ok(())
}

/// Done at the first Ctrl-C from now on.
#[cfg(not(unix))]
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "cannot listen to Ctrl-C");
            std::future::pending::<()>().await;
        }
    })
}
