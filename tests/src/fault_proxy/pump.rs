//! One way of a connection: bytes in, a fault or none, bytes out.

use super::{Counts, Direction, Fault, Plan, count};
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

/// More is never under way at once.
const PIECE: usize = 16 * 1024;
/// How often a throttled way lets some through, each second.
const SHARES: u32 = 20;

/// Passes bytes on until there are no more, or one of the two is gone.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Direction,
    mut plan: watch::Receiver<Plan>,
    seen: &Counts,
) {
    // An error is the end of this way; its party sees it by itself.
    let _ = pass_on(from, &mut to, way, &mut plan, seen).await;
    let _ = to.shutdown().await;
}

async fn pass_on(
    from: ReadHalf<'_>,
    to: &mut WriteHalf<'_>,
    way: Direction,
    plan: &mut watch::Receiver<Plan>,
    seen: &Counts,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        from.readable().await?;
        let Plan { fault, flips, .. } = *plan.borrow_and_update();
        if matches!(fault, Fault::Blackhole(blocked) if blocked.covers(way)) {
            count(&seen.held_back);
            // The proxy is gone where nobody can lift the fault any more.
            plan.changed().await.map_err(io::Error::other)?;
            continue;
        }
        let room = match fault {
            Fault::Throttle(rate) => ((rate / SHARES).max(1) as usize).min(PIECE),
            _ => PIECE,
        };
        let piece = match from.try_read(&mut buffer[..room]) {
            Ok(0) => return Ok(()),
            Ok(read) => &mut buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        match fault {
            Fault::Delay(delay) => {
                count(&seen.delayed);
                tokio::time::sleep(delay).await;
            }
            Fault::Throttle(_) => {
                count(&seen.throttled);
                tokio::time::sleep(Duration::from_secs(1) / SHARES).await;
            }
            Fault::FlipByte(damaged) if damaged.covers(way) && is_next(flips, seen) => piece[0] ^= 0x20,
            _ => {}
        }
        to.write_all(piece).await?;
        seen.passed.fetch_add(piece.len() as u64, Relaxed);
    }
}

/// Whether one of so many bytes in all is still to be damaged; it is counted then.
fn is_next(flips: u64, seen: &Counts) -> bool {
    seen.damaged.fetch_update(Relaxed, Relaxed, |damaged| (damaged < flips).then_some(damaged + 1)).is_ok()
}
