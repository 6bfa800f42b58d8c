//! The signals that stop a manager, and one that must not.

use std::{future::Future, io};

/// Done at the first SIGTERM, SIGINT or SIGHUP from now on. Where SIGHUP is ignored, as `nohup` has it, it stays so: whoever
/// started the process wants it to outlive the terminal.
#[cfg(unix)]
pub(super) fn stop() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
    let hung_up = async move {
        match &mut hang_up {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = hung_up => {}
        }
    })
}

/// Whether SIGHUP is ignored, by what Linux says of this process. Where nobody says it, it is not.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // SIGHUP is number 1, which is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
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
