//! A row of cells for each thread.

use super::Cells;
use super::frame::Frame;
use crate::stripe::{Stripe, Striped};
use crate::sync::{AtomicU64, Ordering::Relaxed, sequentially_consistent};
use crate::time::Timestamp;

/// The counts of the last so many ticks, by thread.
#[derive(Debug, Default)]
pub(crate) struct StripedRing {
    rows: Striped<Row>,
}

/// What one thread counted. Whole lines wide, two by two, for some processors fetch the neighbour of a line along with it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Row {
    present: Present,
    cells: Cells,
}

/// Where the owner of a row last counted: as long as time is within that tick, no division has to find it. Nobody else
/// reads or writes it.
#[derive(Debug, Default)]
struct Present {
    frame: AtomicU64,
    /// When the tick began, in nanoseconds.
    start: AtomicU64,
    /// How long it is; zero before the first call.
    width: AtomicU64,
    /// Which cell it is.
    index: AtomicU64,
}

impl StripedRing {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one more if that takes next to nothing: at the tick where this thread counted last. Otherwise says `false`,
    /// and [`add`](Self::add) is to be asked.
    #[inline]
    #[must_use]
    pub(crate) fn add_at_present(&self, frame: Frame, now: Timestamp) -> bool {
        self.rows.own().is_some_and(|row| row.get().add_at_present(frame, now))
    }

    /// Counts one more.
    #[cold]
    pub(crate) fn add(&self, frame: Frame, now: Timestamp) {
        match self.rows.mine() {
            Stripe::Own(row) => row.get().add(frame, now),
            Stripe::Shared(row) => {
                row.cells.add(frame, frame.tick(now));
            }
        }
    }

    /// The counts over the frame's buckets, of which `newest` is the last, and what was counted of later ticks already.
    pub(crate) fn sum(&self, frame: Frame, newest: u64) -> u64 {
        sequentially_consistent();
        self.rows.all().map(|row| row.cells.sum(frame, newest)).sum()
    }
}

/// Both to be asked by the row's owner alone.
impl Row {
    #[inline]
    fn add_at_present(&self, frame: Frame, now: Timestamp) -> bool {
        let present = &self.present;
        let since = now.as_nanos().wrapping_sub(present.start.load(Relaxed));
        if present.frame.load(Relaxed) != frame.bits() || since >= present.width.load(Relaxed) {
            return false;
        }
        let Some(cell) = self.cells.with_index(present.index.load(Relaxed)) else { return false };
        cell.add_to_own();
        true
    }

    fn add(&self, frame: Frame, now: Timestamp) {
        if self.add_at_present(frame, now) {
            return;
        }
        let (tick, width) = (frame.tick(now), frame.width());
        if self.cells.at_for_writing(frame, tick).is_some_and(|cell| cell.add_own(frame.id(tick))) {
            self.present.frame.store(frame.bits(), Relaxed);
            self.present.start.store(tick * width, Relaxed);
            self.present.width.store(width, Relaxed);
            self.present.index.store(Cells::index(frame, tick), Relaxed);
        }
    }
}
