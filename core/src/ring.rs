//! Counts of the last few ticks, each cell of which knows by itself what it counts.
//!
//! A window that slides needs its old buckets emptied. Whoever does that, a timer, a lock or the first writer of a new
//! bucket, races with the writers, and then counts are lost, counted twice or kept after an idle hour. So nobody does: a
//! [cell](cell) carries the tick that it counts and the [series](frame) that the tick belongs to. A writer of a newer tick
//! takes the cell over, a reader takes only the cells of the ticks that it asked for. There is no step between two ticks,
//! idle time needs no work, and a window is emptied by going on to another series.
//!
//! Counts come in two kinds:
//!
//! - A [`Ring`] is written by whoever comes, and all its accesses are sequentially consistent: of two threads that each
//!   [`add`](Ring::add) and then [`sum`](Ring::sum), one at least sees both. It is for what decides: failures, slow calls,
//!   withdrawals. A [`DecisiveRing`] is one that spares most of its writers the sum.
//! - A [`StripedRing`] has a row for each thread, in which adding is a load and a store. It is for what all calls do:
//!   successes, deposits. A sum sees all that was added before it; what it misses was added at the same time.
//!
//! A writer may come late, with a tick or a series that the cell has left behind. What it brings is outside of the window
//! by then, and is dropped rather than put in place of newer counts.

mod cell;
mod decisive;
mod frame;
mod striped;

pub(crate) use self::decisive::{DecisiveRing, Glance};
pub(crate) use self::frame::{Frame, LATE_SERIES, Scale, Shape};
pub(crate) use self::striped::StripedRing;

use self::cell::Cell;
use crate::sync::{OnceLock, sequentially_consistent};

/// Windows of fewer buckets than this take so many cells; larger ones take [`MANY`]. One more than the buckets at least:
/// a reader whose clock was read just before a tick ended still finds the tick that a writer of the next one is far from.
/// Fewer for loom, which tries a switch at each cell that a sum reads.
const FEW: usize = if cfg!(loom) { 4 } else { 16 };
const MANY: usize = if cfg!(loom) { 16 } else { 64 };

/// The counts of the last so many ticks, in common. It takes memory when it is first written to.
#[derive(Debug, Default)]
pub(crate) struct Ring(OnceLock<Box<Cells>>);

/// The cells of one ring or row, for windows of any size.
#[derive(Debug, Default)]
struct Cells {
    few: [Cell; FEW],
    many: OnceLock<Box<[Cell]>>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Counts one more at a tick; what is late is dropped.
    pub(crate) fn add(&self, frame: Frame, tick: u64) {
        self.cells().add(frame, tick);
    }

    /// The counts over the frame's buckets, of which `newest` is the last, and what was counted of later ticks already: of
    /// two that race as a tick ends, the one with the older clock may be the last to look.
    pub(crate) fn sum(&self, frame: Frame, newest: u64) -> u64 {
        // As a whole, so that no cell is read before what the caller has written.
        sequentially_consistent();
        self.0.get().map_or(0, |cells| cells.sum(frame, newest))
    }

    /// Counts one more at a tick if `admits` the window's sum without it. No two callers at the same tick are admitted
    /// on the same sum.
    pub(crate) fn add_if(&self, frame: Frame, tick: u64, admits: impl Fn(u64) -> bool) -> bool {
        let cells = self.cells();
        let Some(cell) = cells.at_for_writing(frame, tick) else { return false };
        let added = cell.add_if(frame.id(tick), |count| {
            let earlier = (1..frame.buckets()).map(|age| cells.count(frame, tick, age));
            admits(earlier.sum::<u64>() + count)
        });
        added.is_some()
    }

    /// Takes back one that was counted at a tick, if the cell still counts it.
    pub(crate) fn take_back(&self, frame: Frame, tick: u64) {
        if let Some(cell) = self.0.get().and_then(|cells| cells.at(frame, tick)) {
            cell.take_back(frame.id(tick));
        }
    }

    fn cells(&self) -> &Cells {
        self.0.get_or_init(Box::default)
    }
}

impl Cells {
    /// Counts one more at a tick, and says how many there are of it now. `None`: it comes too late, and is dropped.
    fn add(&self, frame: Frame, tick: u64) -> Option<u64> {
        self.at_for_writing(frame, tick)?.add(frame.id(tick))
    }

    fn sum(&self, frame: Frame, newest: u64) -> u64 {
        self.count(frame, newest, 0) + self.sum_of_others(frame, newest)
    }

    /// The same without the newest.
    fn sum_of_others(&self, frame: Frame, newest: u64) -> u64 {
        let earlier = (1..frame.buckets()).map(|age| self.count(frame, newest, age));
        let later = (1..=frame.spare()).filter_map(|ahead| Some(self.count(frame, newest.checked_add(ahead)?, 0)));
        earlier.chain(later).sum()
    }

    /// What is counted of a tick that is so many before the newest.
    fn count(&self, frame: Frame, newest: u64, age: u32) -> u64 {
        let Some(tick) = newest.checked_sub(u64::from(age)) else { return 0 };
        self.at(frame, tick).map_or(0, |cell| cell.count(frame.id(tick)))
    }

    /// The cell of a tick; `None` where none of such a window was ever written.
    fn at(&self, frame: Frame, tick: u64) -> Option<&Cell> {
        self.with_index(Self::index(frame, tick))
    }

    /// The number of a cell: first the few, then the many.
    fn index(frame: Frame, tick: u64) -> u64 {
        if frame.is_small() { tick % FEW as u64 } else { FEW as u64 + tick % MANY as u64 }
    }

    #[inline]
    fn with_index(&self, index: u64) -> Option<&Cell> {
        let index = index as usize;
        match self.few.get(index) {
            None => self.many.get()?.get(index.wrapping_sub(FEW)),
            cell => cell,
        }
    }

    fn at_for_writing(&self, frame: Frame, tick: u64) -> Option<&Cell> {
        if !frame.is_small() {
            self.many.get_or_init(|| (0..MANY).map(|_| Cell::default()).collect());
        }
        self.at(frame, tick)
    }
}

#[cfg(test)]
mod tests;
