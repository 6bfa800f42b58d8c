use crate::runtime::Runtime;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use crate::time::Timestamp;

/// The time as a call sees it: read when it is first asked for, and again once time may have passed, for a reading costs
/// as much as all the rest of a call that has nothing to wait for.
pub(super) struct Clock<'a, R> {
    pub(super) runtime: &'a R,
    /// What was last read, in nanoseconds. Zero: it is to be read. One task polls all attempts of a call, so nobody else
    /// writes to it; it is atomic for the call to be sent from thread to thread.
    seen: AtomicU64,
}

impl<'a, R: Runtime> Clock<'a, R> {
    pub(super) fn new(runtime: &'a R) -> Self {
        Self { runtime, seen: AtomicU64::new(0) }
    }

    /// The time now, or when it was last looked at.
    #[inline]
    pub(super) fn now(&self) -> Timestamp {
        match self.seen.load(Relaxed) {
            0 => {
                let now = self.runtime.now();
                self.seen.store(now.as_nanos(), Relaxed);
                now
            }
            seen => Timestamp::from_nanos(seen),
        }
    }

    /// Takes note that time may have passed.
    #[inline]
    pub(super) fn has_moved(&self) {
        self.seen.store(0, Relaxed);
    }
}
