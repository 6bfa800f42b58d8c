//! Counts of the last few ticks, each cell of which knows by itself what it counts.
//!
//! A window that slides needs its old buckets emptied. Whoever does that, a timer, a lock or the first writer of a new
//! bucket, races with the writers, and then counts are lost, counted twice or kept after an idle hour. So nobody does:
//! a cell is one word, `[generation 8 | tick 32 | count 24]`, and a writer whose generation and tick are not the cell's
//! replaces the whole word by its own in one compare-and-swap. A reader takes only the cells whose generation and tick
//! it asked for. There is no step between two ticks, idle time needs no work, and a window is emptied by asking for
//! another generation.
//!
//! A writer may come late, with a tick or a generation that the cell has left behind. What it brings is outside of the
//! window by then, and is dropped rather than put in place of newer counts. Late is what is up to [`LATE_TICKS`] or
//! [`LATE_GENERATIONS`] behind; a cell that is further ahead than that was written before the counters came round, and
//! is replaced.
//!
//! Every access is sequentially consistent: of two threads that each [`add`](Ring::add) and then [`sum`](Ring::sum)
//! the same tick, one at least sees both.

use crate::sync::{AtomicU64, Ordering::SeqCst};
use crate::time::Timestamp;
use std::time::Duration;

/// How far behind its cell a tick may be and still be taken for late.
const LATE_TICKS: u32 = 1 << 16;
/// How far behind its cell a generation may be and still be taken for late.
const LATE_GENERATIONS: u8 = 16;

const COUNT_BITS: u32 = 24;
/// The highest count of a cell, at which it stays.
const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;

/// The counts of the last so many ticks.
#[derive(Debug)]
pub(crate) struct Ring {
    cells: Box<[AtomicU64]>,
}

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    generation: u8,
    tick: u32,
    count: u32,
}

impl Ring {
    /// An empty ring for windows of up to so many ticks; at least one.
    pub(crate) fn new(buckets: usize) -> Self {
        Self { cells: (0..buckets.max(1)).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts `n` more at a tick of a generation. A cell stays at 16,777,215; what is late is dropped.
    pub(crate) fn add(&self, generation: u8, tick: u32, n: u32) {
        let slot = self.slot(tick);
        let mut word = slot.load(SeqCst);
        while let Some(cell) = Cell::unpack(word).at(generation, tick) {
            match slot.compare_exchange_weak(word, cell.plus(n).pack(), SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The counts of a generation over so many ticks, of which `newest` is the last; those of later ticks are left
    /// out. A window longer than the ring is cut to it.
    pub(crate) fn sum(&self, generation: u8, newest: u32, buckets: u32) -> u64 {
        let len = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        (0..buckets.min(len)).map(|age| u64::from(self.count(generation, newest.wrapping_sub(age)))).sum()
    }

    /// Counts one more at a tick if `admits` the window's sum without it. No two callers at the same tick are admitted
    /// on the same sum.
    pub(crate) fn add_if(&self, generation: u8, tick: u32, buckets: u32, admits: impl Fn(u64) -> bool) -> bool {
        let slot = self.slot(tick);
        loop {
            let word = slot.load(SeqCst);
            let Some(cell) = Cell::unpack(word).at(generation, tick) else {
                return false;
            };
            let rest = self.sum(generation, tick.wrapping_sub(1), buckets.saturating_sub(1));
            if cell.count == MAX_COUNT || !admits(rest + u64::from(cell.count)) {
                return false;
            }
            if slot.compare_exchange(word, cell.plus(1).pack(), SeqCst, SeqCst).is_ok() {
                return true;
            }
        }
    }

    /// Takes back one that was counted at a tick, if the cell still counts it.
    pub(crate) fn take_back(&self, generation: u8, tick: u32) {
        let slot = self.slot(tick);
        let mut word = slot.load(SeqCst);
        loop {
            let cell = Cell::unpack(word);
            if !cell.is_of(generation, tick) || cell.count == 0 {
                return;
            }
            let less = Cell { count: cell.count - 1, ..cell };
            match slot.compare_exchange_weak(word, less.pack(), SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    fn count(&self, generation: u8, tick: u32) -> u32 {
        let cell = Cell::unpack(self.slot(tick).load(SeqCst));
        if cell.is_of(generation, tick) { cell.count } else { 0 }
    }

    fn slot(&self, tick: u32) -> &AtomicU64 {
        &self.cells[tick as usize % self.cells.len()]
    }
}

impl Cell {
    fn unpack(word: u64) -> Self {
        Self { generation: (word >> 56) as u8, tick: (word >> COUNT_BITS) as u32, count: word as u32 & MAX_COUNT }
    }

    fn pack(self) -> u64 {
        u64::from(self.generation) << 56 | u64::from(self.tick) << COUNT_BITS | u64::from(self.count)
    }

    fn is_of(self, generation: u8, tick: u32) -> bool {
        self.generation == generation && self.tick == tick
    }

    /// The cell as a writer of a tick finds it: itself or empty. `None` where the writer is late.
    fn at(self, generation: u8, tick: u32) -> Option<Self> {
        if self.is_of(generation, tick) {
            return Some(self);
        }
        let generations_ahead = self.generation.wrapping_sub(generation);
        let ticks_ahead = self.tick.wrapping_sub(tick);
        let is_late = generations_ahead <= LATE_GENERATIONS && ticks_ahead <= LATE_TICKS && self.count > 0;
        (!is_late).then_some(Self { generation, tick, count: 0 })
    }

    fn plus(self, n: u32) -> Self {
        Self { count: self.count.saturating_add(n).min(MAX_COUNT), ..self }
    }
}

/// Turns time into ticks of a width that may change: each change begins a generation, so that ticks of two widths are
/// never taken for each other. Calls that still run under the old width change it back and forth for a while, which
/// costs counts, never adds any.
#[derive(Debug, Default)]
pub(crate) struct Scale(AtomicU64);

/// A generation of a [`Scale`] and a tick in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) generation: u8,
    pub(crate) tick: u32,
}

const WIDTH_BITS: u32 = 56;
const WIDTH_MASK: u64 = (1 << WIDTH_BITS) - 1;

impl Scale {
    /// The tick of a time, to write to.
    pub(crate) fn advance(&self, now: Timestamp, width: Duration) -> Tick {
        let width = width_nanos(width);
        let mut word = self.0.load(SeqCst);
        while word & WIDTH_MASK != width {
            let next = (word >> WIDTH_BITS).wrapping_add(1) << WIDTH_BITS | width;
            match self.0.compare_exchange(word, next, SeqCst, SeqCst) {
                Ok(_) => word = next,
                Err(now) => word = now,
            }
        }
        tick(word, now)
    }

    /// The tick of a time, to read from; `None` where nothing was written at this width.
    pub(crate) fn peek(&self, now: Timestamp, width: Duration) -> Option<Tick> {
        let word = self.0.load(SeqCst);
        (word & WIDTH_MASK == width_nanos(width)).then(|| tick(word, now))
    }
}

fn tick(word: u64, now: Timestamp) -> Tick {
    Tick { generation: (word >> WIDTH_BITS) as u8, tick: (now.as_nanos() / (word & WIDTH_MASK)) as u32 }
}

/// At least 1, at most what the word holds: two years.
fn width_nanos(width: Duration) -> u64 {
    u64::try_from(width.as_nanos()).unwrap_or(u64::MAX).clamp(1, WIDTH_MASK)
}

#[cfg(test)]
mod tests;
