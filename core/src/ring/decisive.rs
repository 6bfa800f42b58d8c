//! Counts each of which may decide something, and the few numbers that tell most of them at once that they do not.
//!
//! Whoever adds what may decide has to look at the whole window. But within a tick, little of it changes: nothing of the
//! other ticks, unless somebody comes late, and the *companions* (what is counted beside, successes) only become more.
//! So whoever looks first in a tick keeps what it found: the sum over all other ticks, and the companions. With these and
//! the count of its own cell, each later one has a [`Glance`]: exactly how many there are, and no more companions than
//! there are. A share that does not reach a threshold with so few companions does not with more, so nobody needs to sum.
//!
//! **Why a glance misses nothing.** All accesses are sequentially consistent. What is kept is of one tick, the key, and
//! holds as long as the version is what it was. Whoever adds at another tick raises the version *after* it has added.
//!
//! - A glance that was taken before the version was raised misses the other's count. Then the other, who looks after it
//!   has raised the version, sees the one that the glance was for. So of those that race, the last still sees all.
//! - A keeper raises the version, writes the key, and only then sums. Whoever adds and finds the key to be its own tick
//!   need not raise the version: if it added before the key was written, it is in the keeper's sum, and if after, the
//!   keeper does not sum its cell. If it finds another key, it raises the version, and what the keeper found is not kept.
//!
//! The version is a whole word and does not come round. Two who keep at once would mix their words, so there is a lock,
//! for which nobody waits: who does not get it sums for itself.
//!
//! A tick that goes on for long, with many successes after its first failure, would have each later failure sum, for the
//! companions that were kept are too few to rule anything out. So whoever has summed all the same leaves the larger number
//! there, if what is kept is still what its glance was of.

use super::Cells;
use super::frame::Frame;
use crate::sync::{AtomicU64, Mutex, OnceLock, Ordering::SeqCst, sequentially_consistent};
use crate::time::Timestamp;

/// A ring whose writers get a [`Glance`]. It takes memory when it is first written to.
#[derive(Debug, Default)]
pub(crate) struct DecisiveRing(OnceLock<Box<Watched>>);

/// What a writer knows of the window right after it has added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Glance {
    /// What it is of.
    pub(crate) frame: Frame,
    /// The sum over the window, with what was counted of later ticks already. A sum that is read after it may be less: where
    /// a window takes all cells but one, whoever counts two ticks later takes the oldest over.
    pub(crate) sum: u64,
    /// Of the companions there are so many at least.
    pub(crate) companions: u64,
    version: u64,
}

#[derive(Debug, Default)]
struct Watched {
    kept: Kept,
    cells: Cells,
}

/// What is known of all but one tick. A line of its own at most.
#[derive(Debug, Default)]
struct Kept {
    version: AtomicU64,
    /// The version that the rest holds for; zero: none was kept.
    holds_for: AtomicU64,
    frame: AtomicU64,
    tick: AtomicU64,
    /// Of the tick, in nanoseconds.
    width: AtomicU64,
    others: AtomicU64,
    companions: AtomicU64,
    keeping: Mutex<()>,
}

/// What was kept, as of a version.
struct Found {
    version: u64,
    tick: u64,
    others: u64,
    companions: u64,
}

impl DecisiveRing {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one more; what is late is dropped. `companions` sums them over the window that ends with a tick. `None`:
    /// there is no glance to be had, and the caller has to look at the whole window.
    pub(crate) fn add(&self, frame: Frame, now: Timestamp, companions: impl FnOnce(u64) -> u64) -> Option<Glance> {
        let Watched { kept, cells } = &**self.0.get_or_init(Box::default);
        let Some(found) = kept.find(frame, now) else {
            let tick = frame.tick(now);
            cells.add(frame, tick)?;
            return kept.renew(frame, tick, cells, companions);
        };
        let count = cells.add(frame, found.tick)?;
        sequentially_consistent();
        if kept.version.load(SeqCst) != found.version {
            return kept.renew(frame, found.tick, cells, companions);
        }
        Some(Glance { frame, sum: found.others + count, companions: found.companions, version: found.version })
    }

    /// Takes note that the companions were so many at least, over the window that a glance is of.
    pub(crate) fn raise(&self, glance: Glance, companions: u64) {
        let Some(Watched { kept, .. }) = self.0.get().map(Box::as_ref) else { return };
        if companions <= glance.companions {
            return;
        }
        // While it is held, nobody keeps anything else.
        let Ok(_keeping) = kept.keeping.try_lock() else { return };
        if kept.version.load(SeqCst) == glance.version && kept.companions.load(SeqCst) < companions {
            kept.companions.store(companions, SeqCst);
        }
    }

    /// As a [`Ring`](super::Ring)'s.
    pub(crate) fn sum(&self, frame: Frame, newest: u64) -> u64 {
        sequentially_consistent();
        self.0.get().map_or(0, |watched| watched.cells.sum(frame, newest))
    }
}

impl Kept {
    /// What is kept of the tick of a time, if it is.
    #[inline]
    fn find(&self, frame: Frame, now: Timestamp) -> Option<Found> {
        let version = self.version.load(SeqCst);
        if self.holds_for.load(SeqCst) != version || self.frame.load(SeqCst) != frame.bits() {
            return None;
        }
        let (tick, width) = (self.tick.load(SeqCst), self.width.load(SeqCst));
        // A time before the tick comes out as a very large one.
        if now.as_nanos().wrapping_sub(tick.wrapping_mul(width)) >= width {
            return None;
        }
        let (others, companions) = (self.others.load(SeqCst), self.companions.load(SeqCst));
        // Only if nobody began to keep something else are these of one version.
        (self.version.load(SeqCst) == version).then_some(Found { version, tick, others, companions })
    }

    /// Keeps what there is beside a tick, for whoever has just added to it.
    #[cold]
    fn renew(&self, frame: Frame, tick: u64, cells: &Cells, companions: impl FnOnce(u64) -> u64) -> Option<Glance> {
        let Ok(_keeping) = self.keeping.try_lock() else {
            sequentially_consistent();
            if self.frame.load(SeqCst) != frame.bits() || self.tick.load(SeqCst) != tick {
                self.version.fetch_add(1, SeqCst);
            }
            return None;
        };
        let version = self.version.fetch_add(1, SeqCst) + 1;
        self.frame.store(frame.bits(), SeqCst);
        self.tick.store(tick, SeqCst);
        self.width.store(frame.width(), SeqCst);
        sequentially_consistent();
        let others = cells.sum_of_others(frame, tick);
        let companions = companions(tick);
        self.others.store(others, SeqCst);
        self.companions.store(companions, SeqCst);
        self.holds_for.store(version, SeqCst);
        Some(Glance { frame, sum: others + cells.count(frame, tick, 0), companions, version })
    }
}
