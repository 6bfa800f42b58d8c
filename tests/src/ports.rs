//! Ports that a process can come back to.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which Linux gives out ports on its own: nothing that merely connects, and no other test's
/// port 0, can take a port while its owner is being restarted.
const FIRST: u32 = 12_000;
const COUNT: u32 = 18_000;

/// A loopback address, host and port, at which nobody listens or will.
pub fn unused_address() -> String {
    format!("127.0.0.1:{}", reserve())
}

/// A loopback port that is free now and that no other caller in this process gets.
///
/// # Panics
///
/// If every port is taken.
pub(crate) fn reserve() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test binaries that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(7919) % COUNT;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).expect("all of the range are ports");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
